"""What the tagger sees of a word beside the word itself: what is said again, where and how.

Words are numbers here (equal words, equal numbers), utterances lie one after another with gaps
between them. All features are small counts, so that the tagger keeps a row of numbers for each
value of each. That what is said again gives disfluencies away is an old finding (the "rough copy"
of Johnson and Charniak, 2004).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

REACH: Final = 12
"""How far a word is compared, in words; also the length of the gap between two utterances."""
GAP: Final = -1
"""Number in a gap: equal to nothing."""
_MOST_RUN: Final = 6
_PATTERNS: Final = (*(_MOST_RUN + 1, REACH + 1) * 2, *(REACH + 1,) * 3)

Ints = npt.NDArray[np.int64]


def repetition_sizes() -> tuple[int, ...]:
    """Return how many values each column of :func:`repetitions` has."""
    return _PATTERNS * 2


def repetitions(keys: Ints, skipped: npt.NDArray[np.bool_]) -> Ints:
    """Tell for each word what of it and around it is said again.

    Args:
        keys: Numbers of the words, shape (n,); :data:`GAP` where there is none.
        skipped: Which words are sounds that the second half of the features looks past, (n,).

    Returns:
        Small counts, shape (n, 14): length and distance of the longest run of words around this
        one that is said again ahead, the same behind, the period when the run is said again at
        once, and how far ahead begins the second time of something (a word, two words) whose
        first time began at this word or before it; all of it once more without ``skipped``.
    """
    found = np.zeros((len(keys), 2 * len(_PATTERNS)), dtype=np.int64)
    if not len(keys):
        return found
    found[:, : len(_PATTERNS)] = _patterns(keys)
    if skipped.any():
        kept = np.flatnonzero(~skipped)
        found[kept, len(_PATTERNS) :] = _patterns(keys[kept])
    else:
        found[:, len(_PATTERNS) :] = found[:, : len(_PATTERNS)]
    return found


def _patterns(keys: Ints) -> Ints:
    count = len(keys)
    found = np.zeros((count, len(_PATTERNS)), dtype=np.int64)
    if not count:
        return found
    places = np.arange(count)
    steps = np.arange(1, REACH + 1)[:, None]
    padded = np.concatenate([keys, np.full(REACH, GAP)])
    ahead = padded[places[None, :] + steps]
    same = (ahead == keys) & (keys != GAP)  # (REACH, n): this word is said again in `step` words
    if not same.any():
        return found
    before = np.maximum.accumulate(np.where(same, -1, places), axis=1)
    after = np.minimum.accumulate(np.where(same, count, places)[:, ::-1], axis=1)[:, ::-1]
    runs = np.where(same, after - before - 1, 0)
    # Ahead: of the longest runs that hold this word, the nearest.
    best = runs.argmax(axis=0)
    length = runs[best, places]
    found[:, 0] = np.minimum(length, _MOST_RUN)
    found[:, 1] = np.where(length > 0, best + 1, 0)
    # Behind: the same runs, seen from the second time.
    back = places[None, :] - steps
    behind = np.where(back >= 0, np.take_along_axis(runs, np.maximum(back, 0), axis=1), 0)
    best = behind.argmax(axis=0)
    length = behind[best, places]
    found[:, 2] = np.minimum(length, _MOST_RUN)
    found[:, 3] = np.where(length > 0, best + 1, 0)
    # Said again at once: the run is at least as long as its distance.
    found[:, 4] = _first(runs >= steps)
    # Between the two times of something, or in the first of them.
    starts = same & (before == places - 1)
    for column, shortest in ((5, 1), (6, 2)):
        begun = np.cumsum(starts & (runs >= shortest), axis=1)
        earlier = np.where(back >= 0, np.take_along_axis(begun, np.maximum(back, 0), axis=1), 0)
        found[:, column] = _first(begun > earlier)
    return found


def _first(rows: npt.NDArray[np.bool_]) -> Ints:
    """Return the number of the first row that holds, from 1; 0 where none does."""
    return np.where(rows.any(axis=0), rows.argmax(axis=0) + 1, 0)
