"""Turn texts with their questions into what the reader learns from.

    python -m services.knowledge.training.prepare_reader --squad FILE ... --out DIR

Sources: the sections and questions in ``reading/`` and the families of passages on the same kind of
thing in ``siblings/`` (both written for the project), the topics in ``topics/``, sentences of
minutes in ``claims/`` and in the talks by which minutes were trained, and the training half of
SQuAD-style files (articles are halved by the SHA-1 of their title, so that the other half can be
reported on). Each line of the output is one sheet: a text under its headings, its units, and many
questions about it, each with the units that answer. A question that nothing answers has none.
Questions are also read against the passages of other documents that share most words with them and
are far enough off in meaning not to answer them too. Needs the encoder (`ATRIUM_MODELS_DIR`).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, Literal

from atrium_grounding.sentences import split_units
from atrium_grounding.tokens import fold
from atrium_knowledge.domain.terms import index_terms, query_terms
from atrium_knowledge.domain.topics import TOPIC_HEADING, topic_text
from tests.eval.meeting_scripts import read
from tests.eval.meeting_scripts.build import build

from .holding_out import family_held_out, held_out
from .models import Encoder

HERE = Path(__file__).parent
TALKS = HERE.parents[1] / "meeting" / "training" / "minutes" / "talks"
TOPIC_VARIANTS = 2
"""How often a topic is shown, with other examples."""
FOREIGN_PASSAGES = 2
"""How many passages that do not answer it a question with an answer is read against: of other
documents, and in SQuAD-style files of any article."""
NO_ANSWER_ELSEWHERE = 0.1
"""By how much farther (cosine) from the question than its own section they are: nearer ones often
answer it too, as two organisations' rules on one matter do (false negatives: Qu et al. 2021)."""
TALK_HEADING = "talk"
"""Tells the reader that a sentence of minutes and talk follow."""
SLIPS = 0.12
"""How often a question about a topic gets a slip of typing."""
OF_OTHER_TOPICS = 2
"""How many questions of each other topic of an organisation a topic is asked about."""
SWAPPED = 0.5
"""How often a right sentence stands there with another speaker's name too, as a wrong one."""
FOREIGN_CLAIMS = 2
"""How many sentences about other talk are read against a piece of talk."""
TALK_VARIANTS = 2
"""How often a scripted meeting is cut into pieces."""
AROUND = 4
"""Most lines before those that a sentence cites."""
LINES_AT_ONCE = 16
NAMELESS = 0.2
"""How often speakers have numbers instead of names."""
CHUNK_CHARS = 420
"""Longest passage of a SQuAD-style paragraph, in code points."""


Relation = Literal["answers", "concerns", "states"]
"""How a unit may stand to what is asked: see ``ReadRequest.Relation``."""

Claim = tuple[str, list[int], bool]
"""A sentence of minutes, the lines that it cites, and whether it is right."""


@dataclass(frozen=True)
class Sheet:
    """A text and what is asked of it."""

    relation: Relation
    heading: str
    """Title and headings of the text."""
    text: str
    segments: list[tuple[int, int]]
    """Code points of each unit in ``text``."""
    questions: list[tuple[str, list[int]]]
    """Each with the indices of the units that answer."""
    held: bool = False
    """Whether nothing is learned from it."""


class Sheets:
    """Gathers the questions of each text of one source."""

    def __init__(self, relation: Relation) -> None:
        self._relation = relation
        self._sheets: dict[tuple[str, str], Sheet] = {}

    def add(self, heading: str, text: str, question: str, answers: list[int]) -> None:
        """Add a question with the units that answer it; a text without units is left out."""
        if (heading, text) not in self._sheets:
            self._sheets[heading, text] = Sheet(
                self._relation, heading, text, units(text), [], held_out(text)
            )
        self._sheets[heading, text].questions.append((question, answers))

    def all(self) -> list[Sheet]:
        """Return the texts that have units."""
        return [sheet for sheet in self._sheets.values() if sheet.segments]


class Shelf:
    """Passages of one source, found by their words (BM25, Robertson and Zaragoza 2009)."""

    def __init__(self, texts: Sequence[str]) -> None:
        counts = [index_terms(text) for text in texts]
        self._lengths = [sum(count.values()) for count in counts]
        self._typical = sum(self._lengths) / max(len(texts), 1)
        self._postings: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for number, count in enumerate(counts):
            for term, times in count.items():
                self._postings[term].append((number, times))

    def best(self, question: str) -> list[int]:
        """Return passages, the likeliest first."""
        scores: Counter[int] = Counter()
        for term, weight in query_terms(question).items():
            seen = self._postings.get(term, ())
            rarity = math.log(1 + (len(self._lengths) - len(seen) + 0.5) / (len(seen) + 0.5))
            for number, times in seen:
                norm = 1.2 * (0.25 + 0.75 * self._lengths[number] / self._typical)
                scores[number] += weight * rarity * times * 2.2 / (times + norm)
        return [number for number, _ in scores.most_common(20)]


def json_lines(file: Path) -> list[dict[str, Any]]:
    """Return what the lines of a file hold."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def training_half(title: str) -> bool:
    """Tell whether an article belongs to the half that may be learned from."""
    return hashlib.sha1(title.encode(), usedforsecurity=False).digest()[0] % 2 == 0


def units(text: str) -> list[tuple[int, int]]:
    """Return the units of a text that hold a letter or digit."""
    return [
        (unit.start, unit.end)
        for unit in split_units(text)
        if any(character.isalnum() for character in text[unit.start : unit.end])
    ]


def chunks(text: str) -> list[tuple[int, int]]:
    """Cut a paragraph into passages of whole sentences."""
    found: list[tuple[int, int]] = []
    for start, end in units(text):
        if found and end - found[-1][0] <= CHUNK_CHARS:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def squad(file: Path) -> list[Sheet]:
    """Return the training half of a SQuAD-style file."""
    passages: list[tuple[str, str, str]] = []
    asked: list[tuple[str, list[str], list[int], int]] = []
    for entry in json.loads(gzip.decompress(file.read_bytes()))["data"]:
        title = entry.get("title", "")
        if not training_half(title):
            continue
        for paragraph in entry["paragraphs"]:
            text = paragraph["context"]
            own = [(len(passages) + i, start, end) for i, (start, end) in enumerate(chunks(text))]
            passages.extend((title, text[start:end], text) for _, start, end in own)
            for qa in paragraph["qas"]:
                answers = sorted({answer["text"] for answer in qa["answers"]})
                at = qa["answers"][0]["answer_start"]
                gold = [number for number, start, end in own if start <= at < end]
                if gold:
                    asked.append((qa["question"], answers, gold, at - own[gold[0] - own[0][0]][1]))
    shelf, sheets = Shelf([text for _, text, _ in passages]), Sheets("answers")
    for question, answers, gold, at in asked:
        title, text, _ = passages[gold[0]]
        answering = [
            number
            for number, (start, end) in enumerate(units(text))
            if start <= at < end
            or any(len(one) > 3 and _plain(one) in _plain(text[start:end]) for one in answers)
        ]
        if answering:
            sheets.add(title, text, question, answering)
            if moved := in_another_year(question, f"{title}\n{text}"):
                sheets.add(title, text, moved, [])
        others = (
            other
            for other in shelf.best(question)
            if other != gold[0]
            and not any(_plain(one) in _plain(passages[other][2]) for one in answers)
        )
        for other in islice(others, FOREIGN_PASSAGES):
            title, text, _ = passages[other]
            sheets.add(title, text, question, [])
    return sheets.all()


_YEAR = re.compile(r"(?<![\d.])(?:1[5-9]|20)\d\d(?![\d.])")


def in_another_year(question: str, text: str) -> str:
    """Return a question that a text answers for a year that it does not speak of.

    Empty where the question names no year that stands in the text.
    """
    told = set(_YEAR.findall(text))
    for year in _YEAR.finditer(question):
        near = [str(int(year[0]) + by) for by in (1, -1, 2, -2, 3)]
        others = [one for one in near if one not in told]
        if year[0] in told and others:
            return question[: year.start()] + others[0] + question[year.end() :]
    return ""


def _plain(text: str) -> str:
    return fold(text).replace(" ", "")


def written(file: Path, encode: Encoder) -> list[Sheet]:
    """Return the project's own sections."""
    sections = json_lines(file)
    texts = [_headed(section) for section in sections]
    shelf, vectors = Shelf(texts), encode(texts, "passage")
    chance, sheets = random.Random(1), Sheets("answers")
    for number, section in enumerate(sections):
        asked = encode([one["question"] for one in section["questions"]], "query")
        for question, vector in zip(section["questions"], asked, strict=True):
            _ask(sheets, section, question["question"], question["answers"])
            near = vectors @ vector
            others = [
                other
                for other in shelf.best(question["question"])
                if sections[other]["document"] != section["document"]
                and near[other] <= near[number] - NO_ANSWER_ELSEWHERE
            ]
            most = FOREIGN_PASSAGES if question["answers"] else chance.choice((0, 1))
            for other in others[:most]:
                _ask(sheets, sections[other], question["question"], [])
    return sheets.all()


def siblings(file: Path) -> Iterator[Sheet]:
    """Yield passages that tell of the same kind of thing; each is asked all of its family."""
    for family in json_lines(file):
        held = family_held_out(file, family["family"])
        for number, passage in enumerate(family["passages"]):
            text = passage["text"]
            questions = []
            for one in family["questions"]:
                quotes = [a["quote"] for a in one["answered_by"] if a["passage"] == number]
                questions.append((one["question"], _answering(text, quotes)))
            yield Sheet("answers", passage["title"], text, units(text), questions, held)


_RULE = re.compile(r"\|?[\s:|-]+\|?")
_BULLET = re.compile(r"^\s*[-*•]\s+")


def as_parsed(text: str, answers: Sequence[str]) -> tuple[str, list[str]]:
    """Return a Markdown section, and slices of it, as the product's parser lays them out."""
    lines: list[str] = []
    found: list[str] = []
    columns: list[str] | None = None
    source = text.split("\n")
    for number, line in enumerate(source):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.lstrip().startswith("|"):
            columns = None
            laid_out = _BULLET.sub("", line)
        elif columns is None:
            following = source[number + 1] if number + 1 < len(source) else ""
            columns = cells
            if not (following.strip() and _RULE.fullmatch(following.strip())):
                columns = None
            laid_out = " | ".join(cells)
        elif _RULE.fullmatch(line.strip()):
            continue
        else:
            named = zip(columns, cells, strict=False)
            laid_out = " | ".join(f"{name}: {cell}" if name else cell for name, cell in named)
        for answer in answers:
            if line.lstrip().startswith("|"):
                if answer.strip() == line.strip() or (answer in line and "\n" not in answer):
                    found.append(laid_out)
            elif answer in line:
                found.append(_BULLET.sub("", answer))
        lines.append(laid_out)
    return "\n".join(lines), found


def _headed(section: dict[str, Any]) -> str:
    return " > ".join([section["document"], *section["section"]]) + "\n" + str(section["text"])


def _ask(sheets: Sheets, section: dict[str, Any], question: str, answers: Sequence[str]) -> None:
    text, answers = as_parsed(section["text"], answers)
    heading = " > ".join([section["document"], *section["section"]])
    sheets.add(heading, text, question, _answering(text, answers))


def _answering(text: str, answers: Sequence[str]) -> list[int]:
    """Return the units of a text that a slice of it overlaps by half of the shorter one."""
    spans = [(at, at + len(answer)) for answer in answers if (at := text.find(answer)) >= 0]
    return [
        number
        for number, (start, end) in enumerate(units(text))
        if any(min(end, b) - max(start, a) >= 0.5 * min(end - start, b - a) for a, b in spans)
    ]


def topics(file: Path) -> Iterator[Sheet]:
    """Yield restricted topics: each is a text of a single unit.

    Administrators write in one language or the other, and give few or more examples and
    counter-examples, or none of the latter: every topic is shown in some variants. It is asked
    about other topics of the same organisation too, where the file tells which these are.
    """
    all_topics = json_lines(file)
    siblings: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for topic in all_topics:
        if "organisation" in topic:
            siblings[topic["organisation"]].append(topic)
    for topic in all_topics:
        chance = random.Random(topic["id"])
        others = [one for one in siblings[topic.get("organisation", "")] if one is not topic]
        for _ in range(TOPIC_VARIANTS):
            yield _topic(topic, others, chance)


def _topic(topic: dict[str, Any], others: Sequence[dict[str, Any]], chance: random.Random) -> Sheet:
    counters = [one["question"] for one in topic["outside"]] + topic.get("counter_examples", [])
    most = chance.choice((0, 0, 1, 2, 3, 4)) if len(counters) >= 4 else 0
    shown = chance.sample(counters, most)
    text = topic_text(
        topic["description"][chance.choice(("en", "zh"))],
        chance.sample(topic["examples"], min(chance.randint(2, 4), len(topic["examples"]))),
        shown,
    )
    questions = [
        (_slipped(one, chance), answers)
        for kind, answers in (("inside", [0]), ("outside", []))
        for one in topic[kind]
        if one["question"] not in shown
    ]
    for other in others:
        some = chance.sample(other["inside"], min(OF_OTHER_TOPICS, len(other["inside"])))
        questions += [(one["question"], []) for one in some]
    chance.shuffle(questions)
    held = held_out(topic.get("organisation", "") or text)
    return Sheet("concerns", TOPIC_HEADING, text, [(0, len(text))], questions, held)


def _slipped(question: dict[str, Any], chance: random.Random) -> str:
    if question["language"] == "en" and chance.random() < SLIPS:
        return with_slip(question["question"], chance)
    return str(question["question"])


def with_slip(text: str, chance: random.Random) -> str:
    """Return an English text with one slip of typing: two letters swapped, or one left out."""
    words = list(re.finditer(r"[A-Za-z]{4,}", text))
    if not words:
        return text
    at = chance.choice(words)
    middle = chance.randrange(at.start() + 1, at.end() - 1)
    if chance.random() < 0.5:
        return text[:middle] + text[middle + 1] + text[middle] + text[middle + 2 :]
    return text[:middle] + text[middle + 1 :]


def claims(file: Path) -> Iterator[Sheet]:
    """Yield talk with sentences of minutes about it: right ones, and wrong ones."""
    pieces = json_lines(file)
    for number, piece in enumerate(pieces):
        chance = random.Random(piece["id"])
        said: list[Claim] = []
        for kind, mark in (("right", True), ("wrong", False)):
            for claim in piece[kind]:
                said.append((claim["text"], claim["lines"], mark))
                swap = mark and chance.random() < SWAPPED
                swapped = _of_another(claim["text"], piece["lines"], chance) if swap else None
                if swapped:
                    said.append((swapped, claim["lines"], False))
        foreign = pieces[number - 1]["right"][:FOREIGN_CLAIMS]
        said += [(claim["text"], claim["lines"], False) for claim in foreign]
        yield from _windows(piece["lines"], said, chance, held_out(_group(file, piece["lines"])))


def _of_another(text: str, lines: Sequence[Sequence[str]], chance: random.Random) -> str | None:
    """Return a sentence with another speaker in the place of the only one that it names."""
    speakers = list(dict.fromkeys(speaker for speaker, _ in lines))
    named = [one for one in speakers if one in text]
    others = [one for one in speakers if one not in named]
    if len(named) != 1 or not others:
        return None
    return text.replace(named[0], chance.choice(others))


def talks(file: Path) -> Iterator[Sheet]:
    """Yield the same of scripted meetings."""
    for meeting in read(build([file])):
        at = {one.id: number for number, one in enumerate(meeting.utterances)}
        names = {one.id: one.display_name for one in meeting.speakers}
        lines = [(names[one.speaker], one.text) for one in meeting.utterances]
        said = [(s.text, [at[one] for one in s.utterances], not s.kind) for s in meeting.sentences]
        held = held_out(_group(file, lines))
        for variant in range(TALK_VARIANTS):
            yield from _windows(lines, said, random.Random(f"{meeting.title}{variant}"), held)


def _group(file: Path, lines: Sequence[Sequence[str]]) -> str:
    return f"{file.name} {lines[0]}"


def _windows(
    lines: Sequence[Sequence[str]], claims: Sequence[Claim], chance: random.Random, held: bool
) -> Iterator[Sheet]:
    """Cut talk into pieces of few lines, each with the sentences that cite from it."""
    begun: dict[int, list[tuple[Claim, list[int]]]] = defaultdict(list)
    for claim in claims:
        cited = [min(one, len(lines) - 1) for one in claim[1]]
        first = max(0, min(cited) - chance.randint(1, AROUND))
        begun[first // AROUND * AROUND].append((claim, cited))
    for first, said in begun.items():
        highest = max(max(cited) for _, cited in said) + chance.randint(0, AROUND - 1)
        last = min(len(lines) - 1, max(highest, first + AROUND + 1), first + LINES_AT_ONCE - 1)
        shown = [(speaker, text) for speaker, text in lines[first : last + 1]]
        nameless = chance.random() < NAMELESS
        speakers = [speaker for speaker, _ in lines]
        questions = []
        laid_out = shown
        for (text, _, mark), cited in said:
            asked, laid_out = _nameless(text, shown, speakers) if nameless else (text, shown)
            inside = [one - first for one in cited if 0 <= one - first < len(shown)]
            questions.append((asked, inside if mark else []))
        passage, segments = _talk(laid_out)
        yield Sheet("states", TALK_HEADING, passage, segments, questions, held)


def _talk(lines: Sequence[tuple[str, str]]) -> tuple[str, list[tuple[int, int]]]:
    """Lay out lines as one passage, each a unit."""
    texts = [f"{speaker}: {said}" for speaker, said in lines]
    ends = list(accumulate(len(text) + 1 for text in texts))
    return "\n".join(texts), [
        (end - 1 - len(text), end - 1) for text, end in zip(texts, ends, strict=True)
    ]


def _nameless(
    text: str, lines: Sequence[tuple[str, str]], speakers: Sequence[str]
) -> tuple[str, list[tuple[str, str]]]:
    """Return a sentence and its talk as they are where nobody knows who speaks."""
    known = {name: f"S{number}" for number, name in enumerate(dict.fromkeys(speakers), 1)}
    shown = [(known[speaker], said) for speaker, said in lines]
    for name in sorted(known, key=len, reverse=True):
        text = re.sub(
            rf"\b{re.escape(name)}\b" if name.isascii() else re.escape(name), known[name], text
        )
    return text, shown


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--squad", type=Path, nargs="*", default=[])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("var/eval/training-vectors.db"))
    chosen = parser.parse_args()
    encode = Encoder(chosen.cache)
    chosen.out.mkdir(parents=True, exist_ok=True)
    sources: dict[str, Iterable[Sheet]] = {
        file.name.split(".")[0]: squad(file) for file in chosen.squad
    }
    for file in sorted((HERE / "reading").glob("*.jsonl")):
        sources[file.stem] = written(file, encode)
    for file in sorted((HERE / "siblings").glob("*.jsonl")):
        sources[file.stem] = siblings(file)
    for file in sorted((HERE / "topics").glob("*.jsonl")):
        sources[file.stem] = topics(file)
    for file in sorted((HERE / "claims").glob("*.jsonl")):
        sources[file.stem] = claims(file)
    for file in sorted(TALKS.glob("*_fit*.txt")):
        sources[f"talks_{file.stem}"] = talks(file)
    for name, sheets in sources.items():
        count = asked = answered = 0
        with (chosen.out / f"{name}.jsonl").open("w", encoding="utf-8") as out:
            for sheet in sheets:
                out.write(json.dumps(asdict(sheet), ensure_ascii=False) + "\n")
                count += 1
                asked += len(sheet.questions)
                answered += sum(bool(answers) for _, answers in sheet.questions)
        print(f"{name}: {count} texts, {asked} questions, {answered} answered")
    encode.close()


if __name__ == "__main__":
    main()
