"""Put the legs of a search together by rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

RANK_CONSTANT: Final = 20
"""Of reciprocal rank fusion (Cormack, Clarke & Buettcher, SIGIR 2009, where it is 60). Over 2,700
Chinese and English passages 20 finds more at rank 5: .960 against .939 of English questions, 1.00
against .997 of Chinese ones."""
SCORE_DIGITS: Final = 6
"""Scores are rounded: the last bits of a sum may differ with what else the index holds."""


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
    """Fuse two ranked legs: each place counts ``1 / (RANK_CONSTANT + rank)``. Best first.

    Equal sums stand by the better place in any leg, then by point.
    """
    keyword_ranks = {one.point: rank for rank, one in enumerate(keyword, 1)}
    vector_ranks = {one.point: rank for rank, one in enumerate(vector, 1)}
    similarities = {one.point: one.score for one in vector}
    fused: list[tuple[tuple[float, int, int], Fused]] = []
    for point in keyword_ranks.keys() | vector_ranks.keys():
        ranks = [r for r in (keyword_ranks.get(point), vector_ranks.get(point)) if r is not None]
        score = round(sum(1 / (RANK_CONSTANT + rank) for rank in ranks), SCORE_DIGITS)
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
