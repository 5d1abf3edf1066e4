"""Answer a question with the words of the permitted passages, or say that they do not answer it.

Two logistic models with a few weights each (``weights.json``, made by
``tests/eval/demo_answers/train.py``, described in ``MODEL_CARD.md``): one ranks the
sentences, rows and list items, the other says how likely the best of them answers. There is a pair
for use with encoder and reader, one for use with an encoder alone and one for use without either.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from atrium_grounding.lexicon import lexicon
from atrium_grounding.sentences import UnitKind
from atrium_knowledge.domain.answering.evidence import (
    UNIT_FEATURES,
    Asked,
    Candidate,
    Evidence,
    candidates_of,
    embedded_text,
    scaled_log_odds,
)
from atrium_knowledge.domain.answering.questions import AnswerType, Question
from atrium_knowledge.domain.passages import Hit, Passage

Signal = Literal["with_reader", "with_encoder", "without_encoder"]
"""What the weights were trained to go by."""

ANSWERABLE_THRESHOLDS: Final[dict[Signal, float]] = {
    "with_reader": 0.35,
    "with_encoder": 0.45,
    "without_encoder": 0.55,
}
"""From this probability on a question counts as answered."""

_MOST_QUOTES: Final = 4
_MOST_STEPS: Final = 6
_MOST_CHARS: Final = {"zh": 560, "en": 1200}
"""Longest answer, about."""
_ENOUGH: Final = 0.95
"""Sentences are added until they hold the answer with this probability."""
_MOST_CANDIDATES: Final = 60
"""Sentences that get a vector of their own."""
_MOST_READ: Final = 10
"""Passages that a reader reads."""

ANSWER_FEATURES: Final = (
    "bias",
    "score",
    "spread",
    "margin",
    "cover_context",
    "cover_near",
    "passage_cover",
    "all_cover",
    "missing",
    "fits",
    "names",
    "names_known",
    "names_lost",
    "pairs",
    "cosine",
    "best_cosine",
    "hit_cosine",
    "cosine_gap",
    "other_language",
    "slots",
    "reading",
    "best_reading",
    "passage_reading",
    "reading_gap",
)
"""Features of a question and its evidence, in the order of the model's weights."""


@dataclass(frozen=True, slots=True)
class Quote:
    """Words of a document that answer."""

    hit: int
    """Index into the hits."""
    start: int
    """First code point in the document's text."""
    end: int
    text: str
    """Exactly the document's text from ``start`` to ``end``."""
    score: float
    """Probability that it is the sentence that answers, given that one does."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """A verbatim answer."""

    answerable: float
    """Probability that the passages answer the question, 0 to 1."""
    answered: bool
    """Whether that is enough to answer with the quotes."""
    quotes: tuple[Quote, ...]
    """In the order of reading; empty when there are no passages."""
    text: str
    """The quotes with "[1]" behind each."""
    cited: tuple[int, ...]
    """Index of the hit that number 1, 2, ... stands for."""


@dataclass(frozen=True, slots=True)
class Weights:
    """A trained pair of models."""

    ranking: NDArray[np.float64]
    """One weight per ``UNIT_FEATURES``."""
    answering: NDArray[np.float64]
    """One weight per ``ANSWER_FEATURES``."""


@dataclass(frozen=True, slots=True)
class PassageToRead:
    """A passage as a reader sees it."""

    heading: str
    """Title and headings."""
    text: str
    segments: tuple[tuple[int, int], ...]
    """Code points of each unit in ``text``."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """What an encoder makes of a question and of what may answer it."""

    question: NDArray[np.float32]
    """(dimensions,)"""
    texts: NDArray[np.float32]
    """(texts, dimensions)"""


class Prepared:
    """A question and the units of its passages, ready to be weighed.

    Args:
        question: From `understand`.
        hits: Permitted passages, best first.
        without_encoder: Weights that choose among very many units.
    """

    def __init__(self, question: Question, hits: Sequence[Hit], without_encoder: Weights) -> None:
        self.asked = Asked(question, lexicon())
        self.hits = tuple(hits)
        self._all = candidates_of(hits)
        self._without_encoder = without_encoder
        self._likely: list[Candidate] | None = None

    @property
    def candidates(self) -> list[Candidate]:
        """Units in the order of hits and of text, the likelier ones when there are very many."""
        if self._likely is None:
            self._likely = self._choose()
        return self._likely

    def texts_to_embed(self) -> list[str]:
        """Return what is to be encoded as passages: the candidates."""
        return [embedded_text(candidate, self.hits) for candidate in self.candidates]

    def passages_to_read(self) -> list[PassageToRead]:
        """Return the first passages with their units."""
        passages = []
        for number, hit in enumerate(self.hits[:_MOST_READ]):
            passage = hit.passage
            segments = tuple(
                (unit.start - passage.start, unit.end - passage.start)
                for unit in self._all
                if unit.hit == number
            )
            passages.append(PassageToRead(heading(passage), passage.text, segments))
        return passages

    def weigh(
        self, vectors: Vectors | None = None, readings: Sequence[Sequence[float]] | None = None
    ) -> Evidence:
        """Return the candidates with their features.

        Args:
            vectors: Of the question and of `texts_to_embed`; ``None`` without an encoder.
            readings: For each of `passages_to_read` the log-odds of each of its segments; ``None``
                without a reader.
        """
        cosines = None if vectors is None else vectors.texts @ vectors.question
        log_odds = None if readings is None else self.log_odds(self.candidates, readings)
        return Evidence(self.asked, self.hits, self.candidates, cosines, log_odds)

    def log_odds(
        self, candidates: Sequence[Candidate], readings: Sequence[Sequence[float]]
    ) -> NDArray[np.float64]:
        """Return (candidates,): what was read of each, NaN where nothing was."""
        passages = [iter(passage) for passage in readings]
        read = {
            (unit.hit, unit.start): next(passages[unit.hit])
            for unit in self._all
            if unit.hit < len(passages)
        }
        return np.array([read.get((one.hit, one.start), math.nan) for one in candidates])

    def _choose(self) -> list[Candidate]:
        if len(self._all) <= _MOST_CANDIDATES:
            return self._all
        evidence = Evidence(self.asked, self.hits, self._all, None)
        scores = evidence.features @ self._without_encoder.ranking
        best = sorted(range(len(self._all)), key=lambda i: (-scores[i], i))[:_MOST_CANDIDATES]
        return [self._all[i] for i in sorted(best)]


def heading(passage: Passage) -> str:
    """Return the title and the headings of a passage on one line."""
    title = passage.document_title
    path = [title, *(part for part in passage.section_path if part != title)]
    return " > ".join(part for part in path if part)


class Extractor:
    """Finds verbatim answers.

    Args:
        weights: In place of those that ship.
    """

    def __init__(self, weights: Mapping[Signal, Weights] | None = None) -> None:
        self._weights = weights or {name: shipped_weights(name) for name in ANSWERABLE_THRESHOLDS}

    def prepare(self, question: Question, hits: Sequence[Hit]) -> Prepared:
        """Cut the passages into units.

        Args:
            question: From `understand`.
            hits: Permitted passages, best first.
        """
        return Prepared(question, hits, self._weights["without_encoder"])

    def extract(self, evidence: Evidence, language: Literal["zh", "en"]) -> Extraction:
        """Return the best verbatim answer.

        Args:
            evidence: From `Prepared.weigh`.
            language: Of the answer.
        """
        if not evidence.candidates:
            return Extraction(0.0, False, (), "", ())
        signal = _signal(evidence)
        weights = self._weights[signal]
        scores = evidence.features @ weights.ranking
        answerable = _sigmoid(float(answer_features(evidence, scores) @ weights.answering))
        chosen = _choose(evidence, scores, language)
        probabilities = _softmax(scores)
        quotes = tuple(
            Quote(c.hit, c.start, c.end, c.text, round(float(probabilities[i]), 6))
            for i, c in ((i, evidence.candidates[i]) for i in chosen)
        )
        cited = tuple(dict.fromkeys(quote.hit for quote in quotes))
        answered = answerable >= ANSWERABLE_THRESHOLDS[signal]
        return Extraction(round(answerable, 6), answered, quotes, _compose(quotes, cited), cited)


def _signal(evidence: Evidence) -> Signal:
    if evidence.cosines is None:
        return "without_encoder"
    return "with_encoder" if evidence.readings is None else "with_reader"


def answer_features(evidence: Evidence, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (len(ANSWER_FEATURES),): how well the passages answer the question."""
    column = {name: evidence.features[:, i] for i, name in enumerate(UNIT_FEATURES)}
    order = np.argsort(-scores, kind="stable")
    top = int(order[0])
    hit = evidence.candidates[top].hit
    same = [i for i, candidate in enumerate(evidence.candidates) if candidate.hit == hit]
    total = max(float(evidence.idf.sum()), 1e-9)
    in_passage = np.maximum.reduce(evidence.framed[same])
    anywhere = np.maximum.reduce(evidence.framed)
    rarest = max(float(evidence.idf.max(initial=0.0)), 1e-9)
    similarities = [one.similarity for one in evidence.hits if one.similarity is not None]
    gap = max(similarities) - float(np.mean(similarities)) if similarities else 0.0
    names = evidence.asked.question.names
    best, passage, further = _read_best(evidence)
    values = {
        "bias": 1.0,
        "score": scores[top] / 4,
        "spread": min(float(scores[top] - np.median(scores)), 12.0) / 4,
        "margin": min(float(scores[top] - scores[order[1]]), 3.0) if len(order) > 1 else 3.0,
        "cover_context": column["cover_context"][top],
        "cover_near": column["cover_near"][top],
        "passage_cover": float(in_passage @ evidence.idf) / total,
        "all_cover": float(anywhere @ evidence.idf) / total,
        "missing": float(np.max(evidence.idf * (1 - in_passage), initial=0.0)) / rarest,
        "fits": column["fits"][top],
        "names": column["names"][top],
        "names_known": float(evidence.names_known.mean()) if names else 1.0,
        "names_lost": float(bool(names) and not evidence.names_known.all()),
        "pairs": column["pairs"][top],
        "cosine": column["cosine"][top],
        "best_cosine": float(column["cosine"].max()),
        "hit_cosine": column["hit_cosine"][top],
        "cosine_gap": gap / 0.1,
        "other_language": column["other_language"][top],
        "slots": math.log1p(len(evidence.idf)),
        "reading": column["reading"][top],
        "best_reading": best,
        "passage_reading": passage,
        "reading_gap": passage - further,
    }
    return np.array([float(values[name]) for name in ANSWER_FEATURES])


def _read_best(evidence: Evidence) -> tuple[float, float, float]:
    """Return what the reader says of the best unit, the best passage and the second best."""
    if evidence.readings is None:
        return 0.0, 0.0, 0.0
    by_hit: dict[int, list[float]] = {}
    for candidate, value in zip(evidence.candidates, evidence.readings, strict=True):
        if not math.isnan(value):
            by_hit.setdefault(candidate.hit, []).append(float(value))
    passages = sorted((float(np.logaddexp.reduce(some)) for some in by_hit.values()), reverse=True)
    best = max((max(some) for some in by_hit.values()), default=-math.inf)
    padded = [*passages, -math.inf, -math.inf]
    first, second, third = scaled_log_odds(np.array([best, padded[0], padded[1]])).tolist()
    return first, second, third


@cache
def shipped_weights(name: str) -> Weights:
    """Return the weights that ship with the service for one of the signals."""
    folder = resources.files("atrium_knowledge.domain.answering")
    stored = json.loads(folder.joinpath("weights.json").read_text(encoding="utf-8"))[name]
    return Weights(
        np.array([stored["ranking"].get(feature, 0.0) for feature in UNIT_FEATURES]),
        np.array([stored["answering"].get(feature, 0.0) for feature in ANSWER_FEATURES]),
    )


def _choose(
    evidence: Evidence, scores: NDArray[np.float64], language: Literal["zh", "en"]
) -> list[int]:
    """Return the candidates to quote, in the order of reading."""
    question: Question = evidence.asked.question
    probabilities = _softmax(scores)
    order = [int(i) for i in np.argsort(-scores, kind="stable")]
    steps = question.expectation.type is AnswerType.STEPS
    chosen: list[int] = []
    length = 0
    gathered = 0.0
    for i in _with_list(evidence, order) if steps else order:
        candidate = evidence.candidates[i]
        if candidate.text.rstrip().endswith(("?", "？")) and chosen:
            continue
        said = any(candidate.text == evidence.candidates[j].text for j in chosen)
        limit = _MOST_CHARS["zh" if candidate.language == "zh" else "en"]
        if said or (chosen and length + len(candidate.text) > limit):
            continue
        chosen.append(i)
        length += len(candidate.text)
        gathered += float(probabilities[i])
        if len(chosen) == (_MOST_STEPS if steps else _MOST_QUOTES) or (
            gathered >= _ENOUGH and not steps
        ):
            break
    first = evidence.candidates[chosen[0]].hit
    return sorted(chosen, key=lambda i: (evidence.candidates[i].hit != first, i))


def _with_list(evidence: Evidence, order: Sequence[int]) -> list[int]:
    """For a question on how to do something: the best unit, then the list that follows it."""
    best = order[0]
    hit = evidence.candidates[best].hit
    following = [
        i
        for i, candidate in enumerate(evidence.candidates)
        if candidate.hit == hit and i > best and candidate.kind is not UnitKind.TABLE_ROW
    ]
    items = [i for i in following if evidence.candidates[i].kind is UnitKind.LIST_ITEM]
    rest = [i for i in order[1:] if i not in items]
    return [best, *items, *rest]


def _compose(quotes: Sequence[Quote], cited: Sequence[int]) -> str:
    number = {hit: n for n, hit in enumerate(cited, 1)}
    return "\n".join(f"{quote.text} [{number[quote.hit]}]" for quote in quotes)


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(scores - scores.max())
    return np.asarray(powers / powers.sum())


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-max(min(value, 40.0), -40.0)))
