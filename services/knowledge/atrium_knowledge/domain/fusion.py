"""Put the legs of a search together by their scores.

Each leg's standard scores are weighed and added. Bruch, Gai & Ingber ("An Analysis of Fusion
Functions for Hybrid Retrieval", ACM TOIS 2024) find such sums better than reciprocal ranks, which
forget by how much a passage leads. Nothing but the two legs is looked at, and these hold permitted
passages alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Final

KEYWORD_WEIGHT: Final = 0.45
"""Share of the keyword leg; the rest is the vector leg's."""
SCORE_DIGITS: Final = 6
"""Scores are rounded: the last bits of a sum may differ with what else the index holds."""
_LEAST: Final = 8
"""So many scores make a mean; the keyword leg of a rare word has fewer, and zeros stand in."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A point of one leg."""

    point: int
    score: float


@dataclass(frozen=True, slots=True)
class Fused:
    """A point of all legs."""

    point: int
    score: float
    keyword_rank: int
    """From 1; 0 when the keyword leg did not find it."""
    vector_rank: int
    """From 1; 0 when the vector leg did not find it."""
    similarity: float | None
    """Cosine, where the vector leg found it."""


def ranked(leg: Sequence[Scored], depth: int) -> list[Scored]:
    """Return the best ``depth`` points with rounded scores; equal scores stand by point."""
    rounded = [Scored(one.point, round(one.score, SCORE_DIGITS)) for one in leg]
    return sorted(rounded, key=lambda one: (-one.score, one.point))[:depth]


def fuse(keyword: Sequence[Scored], vector: Sequence[Scored]) -> list[Fused]:
    """Fuse two ranked legs into one list, best first.

    A score counts by its standard score in its leg: three deviations below the mean as 0, three
    above it as 1, and one that stands out further as more. Where all are equal, each counts half.
    A short keyword leg is made up to 8 with zeros, for passages without any of the words: the
    only one that holds an identifier stands out, also where its vector is far from the question's.
    What a leg did not find gets nothing of it.

    Equal sums stand by the better place in any leg, then by point.
    """
    keyword_ranks = {one.point: rank for rank, one in enumerate(keyword, 1)}
    vector_ranks = {one.point: rank for rank, one in enumerate(vector, 1)}
    by_keyword, by_vector = _scaled(keyword, least=_LEAST), _scaled(vector)
    similarities = {one.point: one.score for one in vector}
    fused: list[tuple[tuple[float, int, int], Fused]] = []
    for point in keyword_ranks.keys() | vector_ranks.keys():
        ranks = [r for r in (keyword_ranks.get(point), vector_ranks.get(point)) if r is not None]
        total = KEYWORD_WEIGHT * by_keyword.get(point, 0.0)
        total += (1 - KEYWORD_WEIGHT) * by_vector.get(point, 0.0)
        score = round(total, SCORE_DIGITS)
        fused.append(
            (
                (-score, min(ranks), point),
                Fused(
                    point,
                    score,
                    keyword_ranks.get(point, 0),
                    vector_ranks.get(point, 0),
                    similarities.get(point),
                ),
            )
        )
    return [one for _, one in sorted(fused, key=lambda pair: pair[0])]


def _scaled(leg: Sequence[Scored], *, least: int = 0) -> dict[int, float]:
    """Return the standard scores of a leg, six deviations wide from 0 to 1, none below 0."""
    if not leg:
        return {}
    scores = [one.score for one in leg] + [0.0] * (least - len(leg))
    mean, deviation = fmean(scores), pstdev(scores)
    if deviation == 0:
        return {one.point: 0.5 for one in leg}
    return {one.point: max(0.5 + (one.score - mean) / deviation / 6, 0.0) for one in leg}
