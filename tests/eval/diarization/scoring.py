"""Diarization error rate, exactly: no collar, no frames.

As the NIST evaluations define it (Fiscus et al. 2006): speech that nobody was given to (missed),
speakers where there are none (false alarm) and speech of the wrong speaker (confusion), over all
speech of the reference; with the mapping of speakers that leaves least. Time in which two speak
counts for both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from atrium_meeting.domain.transcript import SpeakerTurn


@dataclass(frozen=True, slots=True)
class DiarizationScore:
    """Milliseconds of each kind.

    Args:
        speech: Of the reference; overlapping speech counts for each speaker.
        missed: Speakers too few.
        false_alarm: Speakers too many.
        confusion: Another speaker.
    """

    speech: float = 0.0
    missed: float = 0.0
    false_alarm: float = 0.0
    confusion: float = 0.0

    @property
    def rate(self) -> float:
        """The error rate; without speech in the reference 0 or, with errors, 1."""
        wrong = self.missed + self.false_alarm + self.confusion
        return wrong / self.speech if self.speech else float(wrong > 0)

    def __add__(self, other: DiarizationScore) -> DiarizationScore:
        """Return the sums of both."""
        return DiarizationScore(
            self.speech + other.speech,
            self.missed + other.missed,
            self.false_alarm + other.false_alarm,
            self.confusion + other.confusion,
        )


def score(
    reference: Sequence[SpeakerTurn],
    found: Sequence[SpeakerTurn],
    *,
    start_ms: int = 0,
    end_ms: int | None = None,
    overlap: bool = True,
) -> DiarizationScore:
    """Compare turns with the ones of the reference.

    Args:
        reference: Who spoke when.
        found: Who is said to have spoken when, under other names.
        start_ms: Where scoring begins.
        end_ms: Where it ends; None: with the last turn of either.
        overlap: Whether time in which two speak in the reference is scored.
    """
    if end_ms is None:
        end_ms = max((turn.end_ms for turn in [*reference, *found]), default=0)
    edges = _edges([*reference, *found], start_ms, end_ms)
    lengths = np.diff(edges).astype(np.float64)
    _, true = _presence(reference, edges)
    _, said = _presence(found, edges)
    true_count, said_count = true.sum(0), said.sum(0)
    if not overlap:
        lengths = np.where(true_count > 1, 0.0, lengths)
    together = (true * lengths) @ said.T
    right = sum(together[pair] for pair in best_pairs(together))
    both = np.minimum(true_count, said_count)
    return DiarizationScore(
        float(lengths @ true_count),
        float(lengths @ np.maximum(0, true_count - said_count)),
        float(lengths @ np.maximum(0, said_count - true_count)),
        float(lengths @ both - right),
    )


def _edges(turns: Iterable[SpeakerTurn], start_ms: int, end_ms: int) -> np.ndarray:
    places = {start_ms, end_ms}
    for turn in turns:
        places |= {min(max(turn.start_ms, start_ms), end_ms)}
        places |= {min(max(turn.end_ms, start_ms), end_ms)}
    return np.array(sorted(places), np.int64)


def _presence(turns: Sequence[SpeakerTurn], edges: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Return the speakers and whether each speaks in each stretch, [speakers, stretches]."""
    names = sorted({turn.speaker for turn in turns})
    speaks = np.zeros((len(names), max(0, len(edges) - 1)))
    for turn in turns:
        first, last = np.searchsorted(edges, (turn.start_ms, turn.end_ms))
        speaks[names.index(turn.speaker), first:last] = 1.0
    return names, speaks


def best_pairs(gain: np.ndarray) -> list[tuple[int, int]]:
    """Return the pairs of rows and columns, each used once, with the greatest sum.

    The Hungarian method with potentials (Kuhn 1955; Munkres 1957), a row at a time.
    """
    if gain.shape[0] > gain.shape[1]:
        return [(row, column) for column, row in best_pairs(gain.T)]
    rows, columns = gain.shape
    cost = np.zeros((rows + 1, columns + 1))
    cost[1:, 1:] = -gain
    of_row, of_column = np.zeros(rows + 1), np.zeros(columns + 1)
    taken = np.zeros(columns + 1, np.int64)  # the row of each column; 0: none
    for row in range(1, rows + 1):
        taken[0] = row
        column = 0
        least = np.full(columns + 1, np.inf)
        came_from = np.zeros(columns + 1, np.int64)
        seen = np.zeros(columns + 1, bool)
        while taken[column]:
            seen[column] = True
            here = taken[column]
            spare = cost[here] - of_row[here] - of_column
            better = ~seen & (spare < least)
            least[better], came_from[better] = spare[better], column
            open_ = np.where(seen, np.inf, least)
            open_[0] = np.inf
            column = int(open_.argmin())
            step = open_[column]
            of_row[taken[seen]] += step
            of_column[seen] -= step
            least[~seen] -= step
        while column:
            before = int(came_from[column])
            taken[column] = taken[before]
            column = before
    return [
        (int(taken[column]) - 1, column - 1) for column in range(1, columns + 1) if taken[column]
    ]
