"""Utterances as arrays: places in the vocabulary and features, one row a word."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from atrium_meeting.domain.cleanup.features import GAP, Ints, repetition_sizes, repetitions
from atrium_meeting.domain.cleanup.units import Case, Mark, Unit

BETWEEN: Final = 4
"""Rows of gap before the first utterance and after each."""
FEATURE_SIZES: Final = (*repetition_sizes(), len(Mark), len(Case), 4)
"""How many values each feature has."""
DIGITS: Final = "<digits>"
LATIN: Final = "<latin>"
OTHER: Final = "<other>"
_AHEAD: Final = 3


@dataclass(frozen=True)
class Reading:
    """Utterances one after another, with gaps between.

    Args:
        ids: Places in the vocabulary, shape (n,).
        columns: Values of the features, (n, features).
        here: False in gaps, (n,).
        starts: Row of the first word of each utterance.
    """

    ids: Ints
    columns: Ints
    here: npt.NDArray[np.bool_]
    starts: list[int]


def read(
    utterances: Sequence[Sequence[Unit]],
    vocabulary: Mapping[str, int],
    looked_past: Collection[str],
) -> Reading:
    """Return utterances as arrays.

    Args:
        utterances: Words of each; may be empty.
        vocabulary: Place of each known word, and of the three classes of others.
        looked_past: Sounds between the two times of something said twice.
    """
    count = BETWEEN + sum(len(units) + BETWEEN for units in utterances)
    ids = np.zeros(count, dtype=np.int64)
    keys = np.full(count, GAP, dtype=np.int64)
    columns = np.zeros((count, len(FEATURE_SIZES)), dtype=np.int64)
    here = np.zeros(count, dtype=np.bool_)
    skipped = np.zeros(count, dtype=np.bool_)
    starts = []
    row = BETWEEN
    own: dict[tuple[int, str], int] = {}
    for number, units in enumerate(utterances):
        starts.append(row)
        end = row + len(units)
        if units:
            cores = [unit.core for unit in units]
            ids[row:end] = [_place(core, vocabulary) for core in cores]
            keys[row:end] = [own.setdefault((number, core), len(own)) for core in cores]
            skipped[row:end] = [core in looked_past for core in cores]
            columns[row:end, -3] = [unit.mark for unit in units]
            columns[row:end, -2] = [unit.case for unit in units]
            columns[row:end, -1] = _begun(cores)
            here[row:end] = True
        row = end + BETWEEN
    columns[:, :-3] = repetitions(keys, skipped)
    return Reading(ids, columns, here, starts)


def _place(core: str, vocabulary: Mapping[str, int]) -> int:
    found = vocabulary.get(core)
    if found is not None:
        return found
    first = core[:1]
    return vocabulary[DIGITS if first.isdigit() else LATIN if first.isascii() else OTHER]


def _begun(cores: Sequence[str]) -> list[int]:
    """Return how far ahead a longer word begins with the same letters; 0: not near."""
    found = []
    for place, core in enumerate(cores):
        distance = 0
        for step in range(1, _AHEAD + 1):
            if place + step < len(cores):
                other = cores[place + step]
                if len(other) > len(core) and other.startswith(core):
                    distance = step
                    break
        found.append(distance)
    return found
