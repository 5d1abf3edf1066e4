"""Which found decisions and actions are the planted ones.

A found item and a planted one may be the same when they share an utterance. Each is matched once at
most, pairs that share a larger part of their utterances first; so a recap that is found a second
time counts as wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """Counts of one or many meetings.

    Attributes:
        right: Found items that are planted.
        found: All found.
        planted: All planted.
    """

    right: int = 0
    found: int = 0
    planted: int = 0

    @property
    def precision(self) -> float:
        """Share of the found that is right; 1 when nothing was found."""
        return self.right / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """Share of the planted that was found; 1 when nothing was planted."""
        return self.right / self.planted if self.planted else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 when nothing was found nor planted."""
        both = self.found + self.planted
        return 2 * self.right / both if both else 1.0

    def __add__(self, other: Score) -> Score:
        return Score(
            self.right + other.right, self.found + other.found, self.planted + other.planted
        )


def pair(
    found: Sequence[Collection[str]], planted: Sequence[Collection[str]]
) -> list[tuple[int, int]]:
    """Return pairs (number of a found item, number of a planted one), by shared utterances.

    Args:
        found: The utterances that each found item cites.
        planted: The utterances that support each planted one.
    """
    worth = []
    for i, cited in enumerate(map(set, found)):
        for j, supporting in enumerate(map(set, planted)):
            if shared := len(cited & supporting):
                worth.append((-shared / len(cited | supporting), i, j))
    pairs: list[tuple[int, int]] = []
    for _, i, j in sorted(worth):
        if all(i != a and j != b for a, b in pairs):
            pairs.append((i, j))
    return sorted(pairs)


def score(found: Sequence[Collection[str]], planted: Sequence[Collection[str]]) -> Score:
    """Return how many found items are planted ones."""
    return Score(len(pair(found, planted)), len(found), len(planted))


def total(scores: Iterable[Score]) -> Score:
    """Return the sum over meetings."""
    result = Score()
    for one in scores:
        result += one
    return result


def same_owner(found: str, planted: str) -> bool:
    """Tell whether an owner is the planted one: the same name, or a part of it ("Mr Brandt")."""
    a, b = found.casefold().strip(), planted.casefold().strip()
    return a == b or (bool(a) and bool(b) and (a in b or b in a))
