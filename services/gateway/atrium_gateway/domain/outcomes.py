"""What became of replies, and how sure their share is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from math import sqrt

_Z_95 = 1.959963984540054


class Outcome(StrEnum):
    """What became of a reply."""

    ACCEPTED = "accepted"
    EDITED = "edited"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Generation:
    """One reply, as its name tells it.

    Attributes:
        id: Tells it from all others of the tenant.
        task: What it was for.
        model: Resource name of the model that wrote it.
        day: When, in UTC.
    """

    id: str
    task: str
    model: str
    day: date


@dataclass(frozen=True, slots=True)
class OutcomeCount:
    """Replies by what became of them."""

    accepted: int = 0
    edited: int = 0
    rejected: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.accepted + self.edited + self.rejected

    @property
    def accepted_share(self) -> float:
        """Share taken as they were, 0 to 1; 0 without outcomes."""
        return self.accepted / self.total if self.total else 0.0

    @property
    def accepted_interval(self) -> tuple[float, float]:
        """95 % interval of :attr:`accepted_share`; both ends 0 without outcomes."""
        return wilson_interval(self.accepted, self.total)


NO_OUTCOMES = OutcomeCount()


def wilson_interval(hits: int, total: int) -> tuple[float, float]:
    """Return the 95 % score interval of a share (E. B. Wilson, JASA 22, 1927).

    Args:
        hits: 0 to ``total``.
        total: 0 gives (0, 0).
    """
    if not total:
        return 0.0, 0.0
    share, square = hits / total, _Z_95 * _Z_95 / total
    middle = share + square / 2
    width = _Z_95 * sqrt(share * (1 - share) / total + square / (4 * total))
    low, high = (middle - width) / (1 + square), (middle + width) / (1 + square)
    # At the ends rounding may lead out of the interval by its last digit.
    return (0.0 if hits == 0 else max(low, 0.0)), (1.0 if hits == total else min(high, 1.0))
