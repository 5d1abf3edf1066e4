"""Find the sentences, table rows and list items that answer a question, and say how sure it is.

Each unit of the permitted passages gets a handful of features (words covered, closeness of
vectors, whether it holds the kind of answer asked for, ...), and a logistic model weighs them. All
statistics, word weights among them, come from the given passages alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from atrium_grounding import tokens
from atrium_grounding.languages import detect_language
from atrium_grounding.lexicon import Lexicon, Slot
from atrium_grounding.matching import Folded, mentions
from atrium_grounding.quantities import Quantity, find_quantities
from atrium_grounding.sentences import UnitKind, split_units
from atrium_knowledge.domain.answering.questions import Question, holds_expected
from atrium_knowledge.domain.passages import Hit

UNIT_FEATURES: Final = (
    "bias",
    "cosine",
    "cosine_rank",
    "cover",
    "cover_context",
    "cover_near",
    "cover_heading",
    "pairs",
    "fits",
    "fits_and_covers",
    "fits_and_cosine",
    "names",
    "hit_rank",
    "hit_cosine",
    "keyword_rank",
    "long",
    "short",
    "row",
    "asks",
    "other_language",
    "other_language_cover",
    "reading",
    "reading_rank",
    "fits_and_reading",
)
"""Features of a unit, in the order of the model's weights."""

_MIDDLE_COSINE: Final = 0.45
_COSINE_SCALE: Final = 0.12
_MOST_LOG_ODDS: Final = 12.0
_LOG_ODDS_SCALE: Final = 4.0
_USUAL_LENGTH: Final = {"zh": 40.0, "en": 110.0}

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence, table row or list item that may answer."""

    hit: int
    """Index of its passage among the hits."""
    start: int
    """First code point in the document's text."""
    end: int
    text: str
    kind: UnitKind
    line: int
    """Its line within the passage; see :class:`~atrium_grounding.sentences.Unit`."""
    language: str
    quantities: tuple[Quantity, ...]


def candidates_of(hits: Sequence[Hit]) -> list[Candidate]:
    """Return the units of the passages, in order of hits and of text; repeated passages once."""
    found: list[Candidate] = []
    seen: set[tuple[str, int, int]] = set()
    for number, hit in enumerate(hits):
        passage = hit.passage
        for unit in split_units(passage.text):
            key = (passage.document, passage.start + unit.start, passage.start + unit.end)
            text = passage.text[unit.start : unit.end]
            if key in seen or not any(character.isalnum() for character in text):
                continue
            seen.add(key)
            found.append(
                Candidate(
                    hit=number,
                    start=key[1],
                    end=key[2],
                    text=text,
                    kind=unit.kind,
                    line=unit.line,
                    language=detect_language(text),
                    quantities=tuple(find_quantities(text)),
                )
            )
    return found


def embedded_text(candidate: Candidate, hits: Sequence[Hit]) -> str:
    """Return what is embedded for a candidate: its words under their heading."""
    path = hits[candidate.hit].passage.section_path
    return f"{path[-1]}: {candidate.text}" if path and path[-1] else candidate.text


def scaled_log_odds(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what a reader says as a feature: bounded, about -3 to 3."""
    return np.clip(values, -_MOST_LOG_ODDS, _MOST_LOG_ODDS) / _LOG_ODDS_SCALE


class Asked:
    """A question with all that may stand for its words."""

    def __init__(self, question: Question, lexicon: Lexicon) -> None:
        self.question = question
        slots = lexicon.slots(question.content)
        self.slots = tuple({slot.surface: slot for slot in slots}.values())
        self.pairs = _pairs(question.text) if question.language == "zh" else frozenset()
        self._names = [
            next(iter(lexicon.slots(name)), Slot(name, (name,))) for name in question.names
        ]

    def matches(self, folded: Folded) -> NDArray[np.float64]:
        """Return for each slot of the question how far ``folded`` mentions it, 0 to 1."""
        return np.array([mentions(slot, folded) for slot in self.slots])

    def names_mentioned(self, folded: Folded) -> list[bool]:
        """Return for each name of the question whether ``folded`` mentions it."""
        return [
            folded.mentions(name) or mentions(slot, folded) > 0
            for name, slot in zip(self.question.names, self._names, strict=True)
        ]


class Evidence:
    """The candidates of a question with their features."""

    def __init__(
        self,
        asked: Asked,
        hits: Sequence[Hit],
        candidates: Sequence[Candidate],
        cosines: NDArray[np.float32] | None,
        readings: NDArray[np.float64] | None = None,
    ) -> None:
        """Compute the features.

        Args:
            asked: The question.
            hits: Permitted passages, best first.
            candidates: From :func:`candidates_of` these hits.
            cosines: (candidates,) similarity of question and candidate, NaN where unknown, or
                ``None`` without an encoder.
            readings: (candidates,) log-odds that a candidate answers, against that nothing in its
                passage does, NaN where unread; ``None`` without a reader.
        """
        self.asked = asked
        self.hits = tuple(hits)
        self.candidates = tuple(candidates)
        self.cosines = None if cosines is None else np.asarray(cosines, dtype=np.float64)
        self.readings = None if readings is None else np.asarray(readings, dtype=np.float64)
        self._compute()

    def _compute(self) -> None:
        question = self.asked.question
        units = [Folded(candidate.text) for candidate in self.candidates]
        headings = [Folded(" ".join(hit.passage.section_path)) for hit in self.hits]
        titles = [Folded(hit.passage.document_title) for hit in self.hits]
        count = len(self.candidates)
        self.matched = np.array([self.asked.matches(unit) for unit in units]).reshape(
            count, len(self.asked.slots)
        )
        heading_matches = [self.asked.matches(heading) for heading in headings]
        title_matches = [self.asked.matches(title) for title in titles]
        of_hit = [candidate.hit for candidate in self.candidates]
        framed = np.array(
            [
                np.maximum.reduce([self.matched[i], heading_matches[h], title_matches[h]])
                for i, h in enumerate(of_hit)
            ]
        ).reshape(self.matched.shape)
        # How rare a word is among these units tells how much it says.
        document_frequency = (framed > 0).sum(axis=0)
        self.idf = np.log(1 + (count - document_frequency + 0.5) / (document_frequency + 0.5))
        self.framed = framed
        total = max(float(self.idf.sum()), 1e-9)
        cover = self.matched @ self.idf / total
        cover_context = framed @ self.idf / total
        heading_cover = np.array(
            [
                np.maximum(heading_matches[h], title_matches[h]) @ self.idf / total
                for h in range(len(self.hits))
            ]
        )
        near = np.zeros(count)
        for i in range(count):
            around = [
                framed[j] for j in (i - 1, i, i + 1) if 0 <= j < count and of_hit[j] == of_hit[i]
            ]
            near[i] = np.maximum.reduce(around) @ self.idf / total
        passage_names = self._names_by_hit(units, headings, titles)
        features = np.zeros((count, len(UNIT_FEATURES)))
        column = {name: features[:, i] for i, name in enumerate(UNIT_FEATURES)}
        column["bias"][:] = 1
        column["cover"][:] = cover
        column["cover_context"][:] = cover_context
        column["cover_near"][:] = near
        for i, candidate in enumerate(self.candidates):
            hit = self.hits[candidate.hit]
            fits = holds_expected(
                question.expectation,
                candidate.text,
                list(candidate.quantities),
                list(question.quantities),
            )
            column["cover_heading"][i] = heading_cover[candidate.hit]
            column["pairs"][i] = _overlap(self.asked.pairs, candidate)
            column["fits"][i] = fits
            column["fits_and_covers"][i] = fits * near[i]
            column["names"][i] = passage_names[candidate.hit]
            column["hit_rank"][i] = 1 / (1 + candidate.hit)
            column["keyword_rank"][i] = 1 / hit.keyword_rank if hit.keyword_rank else 0
            length = len(candidate.text) / _USUAL_LENGTH[candidate.language]
            column["long"][i] = max(math.log(max(length, 1e-3)), 0)
            column["short"][i] = max(-math.log(max(length, 1e-3)), 0)
            column["row"][i] = candidate.kind is UnitKind.TABLE_ROW
            column["asks"][i] = candidate.text.rstrip().endswith(("?", "？"))
            other = candidate.language != question.language
            column["other_language"][i] = other
            column["other_language_cover"][i] = other * near[i]
        if self.cosines is not None and count:
            cosines = np.nan_to_num(self.cosines, nan=float(np.nanmin(self.cosines)))
            order = np.empty(count)
            order[np.argsort(-cosines, kind="stable")] = np.arange(count)
            column["cosine"][:] = (cosines - _MIDDLE_COSINE) / _COSINE_SCALE
            column["cosine_rank"][:] = 1 / (1 + order)
            column["fits_and_cosine"][:] = column["fits"] * column["cosine"]
        if self.cosines is not None or self.readings is not None:
            similar = [hit.similarity for hit in self.hits]
            known = [value for value in similar if value is not None]
            top = max(known, default=0.0)
            for i, h in enumerate(of_hit):
                value = similar[h]
                column["hit_cosine"][i] = (
                    (value if value is not None else min(known, default=top)) - top
                ) / _COSINE_SCALE
        if self.readings is not None and count:
            unread = float(np.nanmin(self.readings, initial=0.0))
            log_odds = np.nan_to_num(self.readings, nan=unread)
            order = np.empty(count)
            order[np.argsort(-log_odds, kind="stable")] = np.arange(count)
            column["reading"][:] = scaled_log_odds(log_odds)
            column["reading_rank"][:] = 1 / (1 + order)
            column["fits_and_reading"][:] = column["fits"] * column["reading"]
        self.features: Matrix = features
        self.units = units
        self.names_by_hit = passage_names

    def _names_by_hit(
        self, units: Sequence[Folded], headings: Sequence[Folded], titles: Sequence[Folded]
    ) -> list[float]:
        """Return which share of the question's names each passage (with its titles) mentions."""
        names = self.asked.question.names
        self.names_known = np.zeros(len(names), dtype=bool)
        if not names:
            return [1.0] * len(self.hits)
        shares = []
        for h in range(len(self.hits)):
            texts = [headings[h], titles[h]]
            texts += [units[i] for i, c in enumerate(self.candidates) if c.hit == h]
            mentioned = np.zeros(len(names), dtype=bool)
            for text in texts:
                mentioned |= np.array(self.asked.names_mentioned(text))
            self.names_known |= mentioned
            shares.append(float(mentioned.mean()))
        return shares


def _pairs(text: str) -> frozenset[str]:
    folded = re.sub(r"[^\u3400-\u9fff]+", " ", tokens.fold(text))
    return frozenset(
        folded[i : i + 2] for i in range(len(folded) - 1) if " " not in folded[i : i + 2]
    )


def _overlap(pairs: frozenset[str], candidate: Candidate) -> float:
    if not pairs or candidate.language != "zh":
        return 0.0
    folded = tokens.fold(candidate.text)
    return sum(pair in folded for pair in pairs) / len(pairs)
