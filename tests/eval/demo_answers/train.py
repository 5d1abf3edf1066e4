"""Train the few weights of knowledge's extractive answers, and write them where they ship.

    python -m tests.eval.demo_answers.train --squad cmrc2018_trial.json.gz drcd_dev.json.gz

Data: questions with their paragraph (SQuAD style, the training half), the same questions with the
paragraph or its whole article taken away, and `dev.jsonl` over the sample handbook with its
sections taken away in the same manner. Never `test.jsonl`. The weights that go by a reader learn
from the handbook and from the sections that the reader has not seen. Needs encoder and reader
(`ATRIUM_MODELS_DIR`). The same data give the same weights. Five-fold results on `dev.jsonl` are
printed first; MODEL_CARD.md keeps them.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrium_documents.dispatch import DocumentReader
from atrium_documents.limits import ParseLimits
from atrium_gateway.domain.reading import Relation
from atrium_grounding.languages import detect_language
from atrium_grounding.lexicon import lexicon
from atrium_grounding.sentences import split_units
from atrium_grounding.tokens import fold
from atrium_knowledge.app.search_passages import LEG_DEPTH
from atrium_knowledge.domain.answering import extraction
from atrium_knowledge.domain.answering.evidence import (
    UNIT_FEATURES,
    Asked,
    Evidence,
    candidates_of,
    embedded_text,
)
from atrium_knowledge.domain.answering.extraction import (
    ANSWER_FEATURES,
    Prepared,
    Signal,
    Weights,
    shipped_weights,
)
from atrium_knowledge.domain.answering.questions import understand
from atrium_knowledge.domain.chunking import chunk_document
from atrium_knowledge.domain.fusion import Scored, fuse, ranked
from atrium_knowledge.domain.passages import Hit, Passage
from atrium_knowledge.domain.terms import index_terms, query_terms
from services.knowledge.training.holding_out import family_held_out, held_out
from services.knowledge.training.models import Encoder, Reader
from services.knowledge.training.prepare_reader import (
    NO_ANSWER_ELSEWHERE,
    as_parsed,
    json_lines,
    training_half,
)

from .handbook_text import HANDBOOK, labels_of_users, load_manifest
from .matching import holds_facts, mentions

OUT = Path(extraction.__file__).with_name("weights.json")
TRAINING = Path(__file__).parents[3] / "services" / "knowledge" / "training"
PARAGRAPHS = 400
QUESTIONS = 500
FOLDS = 5
HANDBOOK_RANKING = 4.0
HANDBOOK_ANSWERING = 8.0
POSITIVE_WEIGHT = 2.0
"""A question wrongly called unanswerable is worse than one wrongly answered."""
LEFT_OUT: dict[Signal, frozenset[str]] = {
    "with_reader": frozenset(),
    "with_encoder": frozenset({"reading", "reading_rank", "fits_and_reading"}),
    "without_encoder": frozenset(
        {
            *("cosine", "cosine_rank", "fits_and_cosine", "hit_cosine"),
            *("reading", "reading_rank", "fits_and_reading"),
        }
    ),
}
"""Features of a unit that are not there."""
DECIDED_BY = frozenset(
    {
        *("bias", "reading", "best_reading", "passage_reading", "reading_gap"),
        *("score", "fits", "hit_cosine"),
    }
)
"""What answers are decided by where there is a reader. Few features of words and vectors: with all
of them the folds were worse, without any plain questions were taken for unanswered."""


@dataclass
class Example:
    """A question with what a search found for it."""

    origin: str
    """Id of the question: folds are made by it."""
    evidence: Evidence
    answers: np.ndarray
    """(candidates,) 1 where the candidate holds the answer."""
    counts: np.ndarray
    """(candidates,) False where the candidate holds it by chance."""
    answerable: bool
    found: bool
    """Whether the right passage is among the hits."""
    handbook: bool


class Corpus:
    """Passages, and a search over those of a mask like that of the service."""

    def __init__(self, passages: Sequence[Passage], encode: Encoder) -> None:
        self.passages = list(passages)
        self._encode = encode
        texts = [_indexed(passage) for passage in self.passages]
        self._vectors = encode(texts, "passage")
        self._postings: dict[str, list[tuple[int, int]]] = defaultdict(list)
        counts = [index_terms(text) for text in texts]
        self._lengths = [sum(count.values()) for count in counts]
        for i, count in enumerate(counts):
            for term, times in count.items():
                self._postings[term].append((i, times))

    def search(self, question: str, mask: np.ndarray, limit: int) -> tuple[list[Hit], np.ndarray]:
        """Return the best hits and the question's vector."""
        scores = np.zeros(len(self.passages))
        typical = float(np.mean([n for n, seen in zip(self._lengths, mask, strict=True) if seen]))
        for term, weight in query_terms(question).items():
            seen = [(i, n) for i, n in self._postings.get(term, ()) if mask[i]]
            rarity = math.log(1 + (mask.sum() - len(seen) + 0.5) / (len(seen) + 0.5))
            for i, n in seen:
                norm = 1.2 * (0.25 + 0.75 * self._lengths[i] / typical)
                scores[i] += weight * rarity * n * 2.2 / (n + norm)
        vector = self._encode([question], "query")[0]
        cosines = self._vectors @ vector
        keyword = [Scored(i, float(score)) for i, score in enumerate(scores) if score > 0]
        nearest = [Scored(i, float(cosines[i])) for i in np.flatnonzero(mask).tolist()]
        best = fuse(ranked(keyword, LEG_DEPTH), ranked(nearest, LEG_DEPTH))[:limit]
        return [
            Hit(
                self.passages[one.point],
                one.score,
                one.keyword_rank,
                one.vector_rank,
                one.similarity,
            )
            for one in best
        ], vector

    def nearness(self, question: str) -> np.ndarray:
        """Return the cosine of each passage to the question."""
        return np.asarray(self._vectors @ self._encode([question], "query")[0])

    def evidence(self, question: str, mask: np.ndarray, limit: int) -> Evidence:
        """Search and weigh."""
        hits, vector = self.search(question, mask, limit)
        candidates = candidates_of(hits)
        texts = [embedded_text(candidate, hits) for candidate in candidates]
        cosines = self._encode(texts, "passage") @ vector if texts else None
        return Evidence(Asked(understand(question), lexicon()), hits, candidates, cosines)


def _indexed(passage: Passage) -> str:
    path = [passage.document_title]
    path += [heading for heading in passage.section_path if heading != passage.document_title]
    return " > ".join(part for part in path if part) + "\n" + passage.text


def squad_examples(file: Path, encode: Encoder) -> list[Example]:
    """Make examples of questions on paragraphs, with and without the paragraph."""
    passages: list[Passage] = []
    owners: list[tuple[int, int]] = []
    questions: list[tuple[str, list[str], int, int]] = []
    for article, entry in enumerate(json.loads(gzip.decompress(file.read_bytes()))["data"]):
        if not training_half(entry.get("title", "")):
            continue
        for paragraph in entry["paragraphs"]:
            number = len({owner[0] for owner in owners})
            if number == PARAGRAPHS:
                break
            for start, end in _chunks(paragraph["context"]):
                text = paragraph["context"][start:end]
                passages.append(
                    Passage(
                        f"p{len(passages)}", f"d{number}", entry["title"], (), text,
                        start, end, 0, 1, 1, "zh",
                    )
                )  # fmt: skip
                owners.append((number, article))
            for qa in paragraph["qas"]:
                answers = sorted({answer["text"] for answer in qa["answers"]})
                questions.append((qa["question"], answers, number, article))
    corpus = Corpus(passages, encode)
    paragraphs, articles = (np.array(column) for column in zip(*owners, strict=True))
    picked = random.Random(1)
    examples = []
    for question, answers, number, article in picked.sample(
        questions, min(QUESTIONS, len(questions))
    ):
        everything = np.ones(len(passages), bool)
        without = paragraphs != number if picked.random() < 0.5 else articles != article
        for mask, answerable in ((everything, True), (without, False)):
            evidence = corpus.evidence(question, mask, 8)
            held = np.array([
                any(_plain(one) in _plain(c.text) for one in answers) for c in evidence.candidates
            ])  # fmt: skip
            gold = np.array([
                evidence.hits[c.hit].passage.document == f"d{number}" for c in evidence.candidates
            ])  # fmt: skip
            examples.append(
                Example(
                    f"{file.name}-{number}", evidence, (held & gold).astype(float),
                    ~(held & ~gold), answerable, bool(gold.any()), False,
                )
            )  # fmt: skip
    return examples


def _chunks(text: str) -> list[tuple[int, int]]:
    chunks: list[tuple[int, int]] = []
    for unit in split_units(text):
        if chunks and unit.end - chunks[-1][0] <= 350:
            chunks[-1] = (chunks[-1][0], unit.end)
        else:
            chunks.append((unit.start, unit.end))
    return chunks


def _plain(text: str) -> str:
    return fold(text).replace(" ", "")


def development_questions() -> list[dict[str, Any]]:
    """Return all questions over the handbook that may be learned from."""
    folder = Path(__file__).parent / "data"
    return [*json_lines(folder / "dev.jsonl"), *json_lines(folder / "tune.jsonl")]


def handbook_examples(encode: Encoder) -> tuple[list[Example], dict[str, Callable[[str], bool]]]:
    """Make examples of `dev.jsonl`.

    Returns:
        The examples, first of each question the one that is asked in earnest; and for each
        answered question whether a text holds its facts.
    """
    manifest = load_manifest()
    users = labels_of_users(manifest)
    reader = DocumentReader()
    passages: list[Passage] = []
    clauses: list[list[set[str]]] = []
    files: list[str] = []
    for number, document in enumerate(manifest["documents"]):
        path = HANDBOOK / document["file"]
        parsed = reader.read(path.read_bytes(), path.name, "", ParseLimits())
        for chunk in chunk_document(parsed):
            passages.append(
                Passage(
                    f"p{len(passages)}", f"d{number}", document["title"], chunk.section_path,
                    parsed.text[chunk.start : chunk.end], chunk.start, chunk.end, chunk.page, 1,
                    chunk.paragraph, chunk.language,
                )
            )  # fmt: skip
            files.append(document["file"])
            needed = [set(document["labels"])]
            needed += [set(v) for k, v in document["sections"].items() if k in chunk.section_path]
            clauses.append(needed)
    corpus = Corpus(passages, encode)
    labels_of = {document["file"]: set(document["labels"]) for document in manifest["documents"]}

    def visible(user: str) -> np.ndarray:
        held = users[user]
        return np.array([all(not c or c & held for c in needed) for needed in clauses])

    examples: list[Example] = []
    checks: dict[str, Callable[[str], bool]] = {}
    for question in development_questions():
        source = question["source"]
        of_source = np.array([bool(source) and file == source["file"] for file in files])

        def add(mask: np.ndarray, answerable: bool, question: dict[str, Any] = question) -> None:
            evidence = corpus.evidence(question["question"], mask, 10)
            examples.append(_handbook_example(question, evidence, answerable, files))

        seen = visible(question["user"])
        if question["decision"] == "ANSWERED":
            facts = question["facts"]
            checks[question["id"]] = lambda text, facts=facts: holds_facts(text, facts)
            add(seen, True)
            told = np.array([
                of and (
                    not source["section"]
                    or source["section"] in passage.section_path
                    or any(mentions(passage.text, phrase) for fact in facts for phrase in fact)
                )
                for of, passage in zip(of_source, passages, strict=True)
            ])  # fmt: skip
            add(seen & ~told, False)
            add(seen & ~of_source, False)
            continue
        add(seen, False)
        readers = [u for u in users if source and labels_of[source["file"]] & users[u]]
        if question["decision"] == "REFUSED":
            readers = ["lin.hr"]
        for reader_of_it in readers[:1]:
            add(visible(reader_of_it), True)
    return examples, checks


def _handbook_example(
    question: dict[str, Any], evidence: Evidence, answerable: bool, files: list[str]
) -> Example:
    source, facts = question["source"], question["facts"]
    by_document = {f"d{i}": file for i, file in enumerate(dict.fromkeys(files))}
    own = [
        bool(source) and by_document[evidence.hits[c.hit].passage.document] == source["file"]
        for c in evidence.candidates
    ]
    texts = [candidate.text for candidate in evidence.candidates]
    whole = np.array([
        o and bool(facts) and holds_facts(text, facts)
        for o, text in zip(own, texts, strict=True)
    ], float)  # fmt: skip
    some = np.array([
        o and any(mentions(text, phrase) for fact in facts for phrase in fact)
        for o, text in zip(own, texts, strict=True)
    ], float)  # fmt: skip
    answers = whole if whole.any() else some
    return Example(
        question["id"], evidence, answers, np.ones(len(texts), bool), answerable, True, True
    )


def written_examples(encode: Encoder) -> list[Example]:
    """Make examples of the project's own texts that the reader has not learned from.

    Nobody has marked which sections of other organisations answer a question too: those about as
    near to it as its own are taken away.
    """
    passages: list[Passage] = []
    asked: list[tuple[str, dict[str, list[str]], int | None]] = []

    def add(title: str, section: Sequence[str], text: str) -> str:
        name = f"d{len(passages)}"
        passages.append(
            Passage(
                f"p{len(passages)}", name, title, tuple(section), text, 0, len(text), 0, 1, 1,
                detect_language(text),
            )
        )  # fmt: skip
        return name

    for file in sorted((TRAINING / "reading").glob("*.jsonl")):
        for section in json_lines(file):
            text, _ = as_parsed(section["text"], [])
            name = add(section["document"], section["section"], text)
            if held_out(text):
                for one in section["questions"]:
                    _, answers = as_parsed(section["text"], one["answers"])
                    quotes = {name: answers} if answers else {}
                    asked.append((one["question"], quotes, len(passages) - 1))
    for file in sorted((TRAINING / "siblings").glob("*.jsonl")):
        for family in json_lines(file):
            names = [add(passage["title"], (), passage["text"]) for passage in family["passages"]]
            if family_held_out(file, family["family"]):
                for one in family["questions"]:
                    quotes = defaultdict(list)
                    for answer in one["answered_by"]:
                        quotes[names[answer["passage"]]].append(answer["quote"])
                    asked.append((one["question"], quotes, None))
    corpus = Corpus(passages, encode)
    titles = np.array([passage.document_title for passage in passages])
    examples = []
    for question, answered_by, own in asked:
        seen = np.ones(len(passages), bool)
        if own is not None:
            near = corpus.nearness(question)
            seen = (titles == titles[own]) | (near <= near[own] - NO_ANSWER_ELSEWHERE)
        evidence = corpus.evidence(question, seen, 10)
        held = np.array([
            any(
                _plain(one) in _plain(candidate.text) or _plain(candidate.text) in _plain(one)
                for one in answered_by.get(evidence.hits[candidate.hit].passage.document, ())
            )
            for candidate in evidence.candidates
        ], float)  # fmt: skip
        examples.append(
            Example(
                f"written-{question}", evidence, held, np.ones(len(held), bool),
                bool(answered_by), bool(held.any()), False,
            )
        )  # fmt: skip
    return examples


def with_reader(examples: Sequence[Example], reader: Reader) -> list[Example]:
    """Return examples as the service weighs them when there is a reader."""
    prepared = [
        Prepared(one.evidence.asked.question, one.evidence.hits, shipped_weights("without_encoder"))
        for one in examples
    ]
    asked = [(one.asked.question.text, one.passages_to_read()) for one in prepared]
    reader.prepare(((text, one) for text, read in asked for one in read), Relation.ANSWERS)
    return [
        replace(example, evidence=_read(example.evidence, one, reader(*read, Relation.ANSWERS)))
        for example, one, read in zip(examples, prepared, asked, strict=True)
    ]


def _read(old: Evidence, prepared: Prepared, read: Sequence[NDArray[np.float64]]) -> Evidence:
    log_odds = prepared.log_odds(old.candidates, [row.tolist() for row in read])
    return Evidence(old.asked, old.hits, old.candidates, old.cosines, log_odds)


def without_vectors(example: Example) -> Example:
    """Return an example as a search without an encoder would give it."""
    old = example.evidence
    hits = [replace(hit, vector_rank=0, similarity=None) for hit in old.hits]
    return replace(example, evidence=Evidence(old.asked, hits, old.candidates, None))


def train(examples: Sequence[Example], signal: Signal) -> Weights:
    """Fit both models: a conditional logit over candidates, then a logistic regression."""
    left_out = {"bias", *LEFT_OUT[signal]}
    used = np.array([float(name not in left_out) for name in UNIT_FEATURES])
    ranking = _conditional_logit(
        [
            (
                one.evidence.features[one.counts] * used,
                one.answers[one.counts],
                HANDBOOK_RANKING if one.handbook else 1.0,
            )
            for one in examples
            if one.answerable and one.answers[one.counts].any()
        ]
    )
    rows = [
        one for one in examples if one.evidence.candidates and (one.found or not one.answerable)
    ]
    features = np.array([
        extraction.answer_features(one.evidence, one.evidence.features @ ranking) for one in rows
    ])  # fmt: skip
    if signal == "with_reader":
        features *= [float(name in DECIDED_BY) for name in ANSWER_FEATURES]
    right = np.array([one.answerable for one in rows])
    weights = np.array([HANDBOOK_ANSWERING if one.handbook else 1.0 for one in rows])
    own = np.array([one.handbook for one in rows])
    if own.any():
        weights[own & right] *= (own & ~right).sum() / (own & right).sum() * POSITIVE_WEIGHT
    return Weights(ranking, logistic(features, right.astype(float), weights))


def _conditional_logit(
    groups: Sequence[tuple[np.ndarray, np.ndarray, float]], penalty: float = 1.0
) -> np.ndarray:
    weights = np.zeros(len(UNIT_FEATURES))
    for _ in range(60):
        gradient = penalty * weights
        curvature = np.eye(len(weights)) * penalty
        for features, answers, weight in groups:
            scores = features @ weights
            shares = np.exp(scores - scores.max())
            shares /= shares.sum()
            wanted = shares * answers
            wanted /= wanted.sum()
            mean = features.T @ shares
            gradient = gradient + weight * (mean - features.T @ wanted)
            spread = (features * shares[:, None]).T @ features - np.outer(mean, mean)
            curvature += weight * spread
        step = np.linalg.solve(curvature, gradient)
        weights = weights - min(1.0, 3 / max(float(np.abs(step).max()), 1e-12)) * step
        if np.abs(step).max() < 1e-4:
            break
    return weights


def logistic(
    features: np.ndarray, right: np.ndarray, weights: np.ndarray, penalty: float = 2.0
) -> np.ndarray:
    """Fit a logistic regression by Newton's method; the first column is the bias."""
    found = np.zeros(features.shape[1])
    ridge = np.eye(len(found)) * penalty
    ridge[0, 0] = 1e-6
    for _ in range(60):
        share = 1 / (1 + np.exp(-np.clip(features @ found, -30, 30)))
        gradient = features.T @ (weights * (share - right)) + ridge @ found
        bend = (features * (weights * share * (1 - share) + 1e-9)[:, None]).T @ features + ridge
        step = np.linalg.solve(bend, gradient)
        found = found - step
        if np.abs(step).max() < 1e-6:
            break
    return found


def cross_validate(
    squad: Sequence[Example],
    handbook: Sequence[Example],
    checks: dict[str, Callable[[str], bool]],
    signal: Signal,
) -> None:
    """Print how the questions of each fold fare with weights that never saw them."""
    ids = sorted({one.origin for one in handbook})
    random.Random(0).shuffle(ids)
    judged: list[tuple[float, bool]] = []
    facts = 0
    for fold_number in range(FOLDS):
        set_aside = set(ids[fold_number::FOLDS])
        weights = train([*squad, *(one for one in handbook if one.origin not in set_aside)], signal)
        earnest: dict[str, Example] = {}
        for one in handbook:
            if one.origin in set_aside:
                earnest.setdefault(one.origin, one)
        for name, one in earnest.items():
            scores = one.evidence.features @ weights.ranking
            odds = float(extraction.answer_features(one.evidence, scores) @ weights.answering)
            judged.append((1 / (1 + math.exp(-odds)), one.answerable))
            if name in checks:
                chosen = extraction._choose(one.evidence, scores, "en")
                text = "\n".join(one.evidence.candidates[i].text for i in chosen)
                facts += checks[name](text)
    print(f"{signal}, five folds: fact in the quotes {facts / len(checks):.3f} of {len(checks)}")
    known = sum(answerable for _, answerable in judged)
    for threshold in (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65):
        kept = sum(share >= threshold for share, answerable in judged if answerable)
        told = sum(share < threshold for share, answerable in judged if not answerable)
        print(
            f"  threshold {threshold:.2f}: right {(kept + told) / len(judged):.3f} "
            f"of {len(judged)}, answered {kept / known:.3f}, "
            f"told {told / (len(judged) - known):.3f}"
        )


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--squad", type=Path, nargs="*", default=[])
    parser.add_argument(
        "--only", choices=sorted(LEFT_OUT), nargs="+", default=sorted(LEFT_OUT), help="which pairs"
    )
    parser.add_argument("--cache", type=Path, default=Path("var/eval/training-vectors.db"))
    chosen = parser.parse_args()
    encode, reader = Encoder(chosen.cache), Reader(chosen.cache)
    handbook, checks = handbook_examples(encode)
    squad = [one for file in chosen.squad for one in squad_examples(file, encode)]
    sets: dict[Signal, Callable[[], tuple[list[Example], list[Example]]]] = {
        "with_reader": lambda: (
            with_reader(handbook, reader),
            with_reader(written_examples(encode), reader),
        ),
        "with_encoder": lambda: (handbook, squad),
        "without_encoder": lambda: (
            [without_vectors(one) for one in handbook],
            [without_vectors(one) for one in squad],
        ),
    }
    stored = json.loads(OUT.read_text(encoding="utf-8"))
    for name in chosen.only:
        ours, theirs = sets[name]()
        cross_validate(theirs, ours, checks, name)
        weights = train([*theirs, *ours], name)
        stored[name] = {
            "ranking": _named(UNIT_FEATURES, weights.ranking),
            "answering": _named(ANSWER_FEATURES, weights.answering),
        }
    encode.close()
    reader.close()
    OUT.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


def _named(names: Sequence[str], weights: np.ndarray) -> dict[str, float]:
    return {n: round(float(w), 4) for n, w in zip(names, weights, strict=True) if abs(w) > 1e-6}


if __name__ == "__main__":
    main()
