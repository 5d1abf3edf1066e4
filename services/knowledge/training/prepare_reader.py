"""Turn questions with their passages into what the reader learns from.

    python -m services.knowledge.training.prepare_reader --squad FILE ... --out DIR

Sources: the sections and questions in ``reading/`` (written for the project), the topics in
``topics/``, sentences of minutes in ``claims/`` and in the talks by which minutes were trained, and
the training half of SQuAD-style files (articles are halved by the SHA-1 of their
title, so that the other half can be reported on). Each line of the output is one reading: a
question, a passage under its headings, the units of the passage, and which of them answer. A
question that nothing answers has none. Questions are also read against the passages of the same
collection that look most like them and do not answer.
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
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from atrium_grounding.sentences import split_units
from atrium_grounding.tokens import fold
from atrium_knowledge.domain.terms import index_terms, query_terms
from atrium_knowledge.domain.topics import TOPIC_HEADING, topic_text
from tests.eval.meeting_scripts import read
from tests.eval.meeting_scripts.build import build

HERE = Path(__file__).parent
TALKS = HERE.parents[1] / "meeting" / "training" / "minutes" / "talks"
TOPIC_VARIANTS = 2
"""How often each question is read against its topic, with other examples."""
FOREIGN_PASSAGES = 2
"""How many passages of other documents a question with an answer is read against."""
TALK_HEADING = "talk"
"""Tells the reader that a sentence of minutes and talk follow."""
SLIPS = 0.12
"""How often a question about a topic gets a slip of typing."""
CLAIM_VARIANTS = 3
"""How often each sentence of minutes is read, with more or less talk around what it cites."""
FOREIGN_TALK = 0.3
"""How often a right sentence is read against talk of something else too."""
AROUND = 4
"""Most lines before and after those that a sentence cites."""
LINES_AT_ONCE = 16
NAMELESS = 0.2
"""How often speakers have numbers instead of names."""
CHUNK_CHARS = 420
"""Longest passage of a SQuAD-style paragraph, in code points."""


@dataclass(frozen=True)
class Reading:
    """A question and a passage."""

    question: str
    context: str
    """Title and headings of the passage."""
    text: str
    segments: list[tuple[int, int]]
    """Code points of each unit in ``text``."""
    answers: list[int]
    """1 for each unit that answers."""
    origin: str
    group: str = ""
    """Readings of one group are learned from or held out together; empty: those of one text."""


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


def squad(file: Path) -> Iterator[Reading]:
    """Yield readings of the training half of a SQuAD-style file."""
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
    shelf = Shelf([text for _, text, _ in passages])
    for question, answers, gold, at in asked:
        title, text, _ = passages[gold[0]]
        segments = units(text)
        marks = [
            int(
                start <= at < end
                or any(len(one) > 3 and _plain(one) in _plain(text[start:end]) for one in answers)
            )
            for start, end in segments
        ]
        if any(marks):
            yield Reading(question, title, text, segments, marks, file.name)
        for other in shelf.best(question):
            title, text, whole = passages[other]
            if other != gold[0] and not any(_plain(one) in _plain(whole) for one in answers):
                segments = units(text)
                yield Reading(question, title, text, segments, [0] * len(segments), file.name)
                break


def _plain(text: str) -> str:
    return fold(text).replace(" ", "")


def written(file: Path, seed: int) -> Iterator[Reading]:
    """Yield readings of the project's own sections."""
    sections = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line]
    shelf = Shelf([_headed(section) for section in sections])
    chance = random.Random(seed)
    for number, section in enumerate(sections):
        for question in section["questions"]:
            yield _reading(section, question, file.name)
            others = [
                other
                for other in shelf.best(question["question"])
                if other != number and sections[other]["document"] != section["document"]
            ]
            most = FOREIGN_PASSAGES if question["answers"] else chance.choice((0, 1))
            for other in others[:most]:
                yield _reading(sections[other], {**question, "answers": []}, file.name)


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


def _reading(section: dict[str, Any], question: dict[str, Any], origin: str) -> Reading:
    text, answers = as_parsed(section["text"], question["answers"])
    segments = units(text)
    spans = [(at, at + len(answer)) for answer in answers if (at := text.find(answer)) >= 0]
    marks = [
        int(any(min(end, b) - max(start, a) >= 0.5 * min(end - start, b - a) for a, b in spans))
        for start, end in segments
    ]
    context = " > ".join([section["document"], *section["section"]])
    return Reading(question["question"], context, text, segments, marks, origin)


def topics(file: Path) -> Iterator[Reading]:
    """Yield questions against restricted topics: the topic is the passage, a single unit.

    Questions about a topic are read against another one of the same organisation too, where the
    file tells which topics those are.
    """
    all_topics = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    siblings: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for topic in all_topics:
        if "organisation" in topic:
            siblings[topic["organisation"]].append(topic)
    for topic in all_topics:
        chance = random.Random(topic["id"])
        others = [one for one in siblings[topic.get("organisation", "")] if one is not topic]
        for kind, mark in (("inside", 1), ("outside", 0)):
            for question in topic[kind]:
                for _ in range(TOPIC_VARIANTS):
                    yield _of_topic(question, topic, mark, chance, file.name)
                if others:
                    yield _of_topic(question, chance.choice(others), 0, chance, file.name)


def _of_topic(
    question: dict[str, Any], topic: dict[str, Any], mark: int, chance: random.Random, origin: str
) -> Reading:
    # Administrators write in one language or the other, and give few or more examples and
    # counter-examples, or none of the latter.
    counters = [one["question"] for one in topic["outside"] if one is not question]
    counters += topic.get("counter_examples", [])
    text = topic_text(
        topic["description"][chance.choice(("en", "zh"))],
        chance.sample(topic["examples"], min(chance.randint(2, 4), len(topic["examples"]))),
        chance.sample(counters, chance.choice((0, 0, 1, 2, 3, 4))),
    )
    asked = question["question"]
    if question["language"] == "en" and chance.random() < SLIPS:
        asked = with_slip(asked, chance)
    group = topic.get("organisation", "")
    return Reading(asked, TOPIC_HEADING, text, [(0, len(text))], [mark], origin, group)


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


def claims(file: Path) -> Iterator[Reading]:
    """Yield sentences of minutes against the talk that they cite: right ones, and wrong ones."""
    pieces = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for number, piece in enumerate(pieces):
        chance = random.Random(piece["id"])
        foreign = pieces[number - 1]["lines"]
        for kind, mark in (("right", 1), ("wrong", 0)):
            for claim in piece[kind]:
                for _ in range(CLAIM_VARIANTS):
                    yield _claim(claim["text"], piece["lines"], claim["lines"], mark, chance, file)
                swapped = _of_another(claim["text"], piece["lines"], chance) if mark else None
                if swapped is not None:
                    yield _claim(swapped, piece["lines"], claim["lines"], 0, chance, file)
                if mark and chance.random() < FOREIGN_TALK:
                    yield _claim(claim["text"], foreign, claim["lines"], 0, chance, file)


def _of_another(text: str, lines: Sequence[Sequence[str]], chance: random.Random) -> str | None:
    """Return a sentence with another speaker in the place of the only one that it names."""
    speakers = list(dict.fromkeys(speaker for speaker, _ in lines))
    named = [one for one in speakers if one in text]
    others = [one for one in speakers if one not in named]
    if len(named) != 1 or not others:
        return None
    return text.replace(named[0], chance.choice(others))


def talks(file: Path) -> Iterator[Reading]:
    """Yield the same of scripted meetings."""
    for meeting in read(build([file])):
        at = {one.id: number for number, one in enumerate(meeting.utterances)}
        names = {one.id: one.display_name for one in meeting.speakers}
        lines = [(names[one.speaker], one.text) for one in meeting.utterances]
        chance = random.Random(meeting.title)
        for sentence in meeting.sentences:
            cited = [at[one] for one in sentence.utterances]
            mark = int(not sentence.kind)
            for _ in range(CLAIM_VARIANTS):
                yield _claim(sentence.text, lines, cited, mark, chance, file)


def _claim(
    text: str,
    lines: Sequence[Sequence[str]],
    cited: Sequence[int],
    mark: int,
    chance: random.Random,
    file: Path,
) -> Reading:
    cited = [min(one, len(lines) - 1) for one in cited]
    first = max(min(cited) - chance.randint(0, AROUND), 0)
    last = min(max(max(cited) + chance.randint(0, AROUND), first), first + LINES_AT_ONCE - 1)
    shown = [(speaker, said) for speaker, said in lines[first : last + 1]]
    if chance.random() < NAMELESS:
        text, shown = _nameless(text, shown, [speaker for speaker, _ in lines])
    passage, segments = _talk(shown)
    marks = [int(mark and first + i in cited) for i in range(len(shown))]
    return Reading(
        text, TALK_HEADING, passage, segments, marks, file.name, f"{file.name} {lines[0]}"
    )


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
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    sources = {file.name.split(".")[0]: squad(file) for file in chosen.squad}
    for file in sorted((HERE / "reading").glob("*.jsonl")):
        sources[file.stem] = written(file, 1)
    for file in sorted((HERE / "topics").glob("*.jsonl")):
        sources[file.stem] = topics(file)
    for file in sorted((HERE / "claims").glob("*.jsonl")):
        sources[file.stem] = claims(file)
    for file in sorted(TALKS.glob("*_fit*.txt")):
        sources[f"talks_{file.stem}"] = talks(file)
    for name, readings in sources.items():
        count = answered = 0
        with (chosen.out / f"{name}.jsonl").open("w", encoding="utf-8") as out:
            for reading in readings:
                out.write(json.dumps(asdict(reading), ensure_ascii=False) + "\n")
                count += 1
                answered += any(reading.answers)
        print(f"{name}: {count} readings, {answered} answered")


if __name__ == "__main__":
    main()
