"""Answer a question with the words of the permitted passages, or say that they do not answer it.

Two logistic models with a few weights each (``weights.json``, made by
``tests/eval/demo_answers/train.py``, described in ``MODEL_CARD.md``): one ranks the
sentences, rows and list items, the other says how likely the best of them answers. There is a pair
for use with an encoder and one for use without.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from atrium_knowledge.domain.answering.evidence import (
    UNIT_FEATURES,
    Asked,
    Candidate,
    Evidence,
    candidates_of,
    embedded_text,
)
from atrium_knowledge.domain.answering.questions import AnswerType, Question, understand
from atrium_knowledge.domain.lexicon import lexicon
from atrium_knowledge.domain.passages import Hit
from atrium_knowledge.domain.sentences import UnitKind

ANSWERABLE_THRESHOLD: Final = 0.45
"""From this on a question counts as answered, with an encoder."""
ANSWERABLE_THRESHOLD_WITHOUT_ENCODER: Final = 0.55
"""The same without one."""

_MOST_QUOTES: Final = 4
_MOST_STEPS: Final = 6
_MOST_CHARS: Final = {"zh": 560, "en": 1200}
"""Longest answer, about."""
_ENOUGH: Final = 0.95
"""Sentences are added until they hold the answer with this probability."""
_MOST_CANDIDATES: Final = 60
"""Sentences that get a vector of their own."""

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


class Extractor:
    """Finds verbatim answers."""

    def __init__(
        self, with_encoder: Weights | None = None, without_encoder: Weights | None = None
    ) -> None:
        self._with = with_encoder or shipped_weights("with_encoder")
        self._without = without_encoder or shipped_weights("without_encoder")

    def texts_to_embed(self, question: str, hits: Sequence[Hit]) -> list[str]:
        """Return the texts whose vectors `extract` wants, as passages, in its order."""
        return [embedded_text(candidate, hits) for candidate in self._chosen(question, hits)]

    def extract(
        self,
        question: str,
        hits: Sequence[Hit],
        query_vector: NDArray[np.float32] | None,
        text_vectors: NDArray[np.float32] | None,
        language: Literal["zh", "en"],
    ) -> Extraction:
        """Return the best verbatim answer.

        Args:
            question: The words of the question.
            hits: Permitted passages, best first.
            query_vector: (dimensions,) of the question; ``None`` without an encoder.
            text_vectors: (texts, dimensions) of ``texts_to_embed``; ``None`` without an encoder.
            language: Of the answer.
        """
        evidence = self.evidence(question, hits, query_vector, text_vectors)
        if not evidence.candidates:
            return Extraction(0.0, (), "", ())
        weights = self._without if evidence.cosines is None else self._with
        scores = evidence.features @ weights.ranking
        answerable = _sigmoid(float(answer_features(evidence, scores) @ weights.answering))
        chosen = _choose(evidence, scores, language)
        probabilities = _softmax(scores)
        quotes = tuple(
            Quote(c.hit, c.start, c.end, c.text, round(float(probabilities[i]), 6))
            for i, c in ((i, evidence.candidates[i]) for i in chosen)
        )
        cited = tuple(dict.fromkeys(quote.hit for quote in quotes))
        return Extraction(round(answerable, 6), quotes, _compose(quotes, cited), cited)

    def evidence(
        self,
        question: str,
        hits: Sequence[Hit],
        query_vector: NDArray[np.float32] | None,
        text_vectors: NDArray[np.float32] | None,
    ) -> Evidence:
        """Return the candidates with their features; arguments as for `extract`."""
        asked = Asked(understand(question), lexicon())
        candidates = self._chosen(question, hits)
        cosines = None
        if query_vector is not None and text_vectors is not None and len(candidates):
            cosines = np.asarray(text_vectors, np.float32) @ np.asarray(query_vector, np.float32)
        return Evidence(asked, hits, candidates, cosines)

    def _chosen(self, question: str, hits: Sequence[Hit]) -> list[Candidate]:
        """Return the candidates of the hits, the likelier ones when there are very many."""
        candidates = candidates_of(hits)
        if len(candidates) <= _MOST_CANDIDATES:
            return candidates
        evidence = Evidence(Asked(understand(question), lexicon()), hits, candidates, None)
        scores = evidence.features @ self._without.ranking
        best = sorted(range(len(candidates)), key=lambda i: (-scores[i], i))[:_MOST_CANDIDATES]
        return [candidates[i] for i in sorted(best)]


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
    }
    return np.array([float(values[name]) for name in ANSWER_FEATURES])


@cache
def shipped_weights(name: str) -> Weights:
    """Return the weights that ship with the service: "with_encoder" or "without_encoder"."""
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
