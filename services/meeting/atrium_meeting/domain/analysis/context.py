"""Features of a sentence from the scores of the sentences around it.

Whether a sentence decides shows in what is beside it: proposals follow one another until one of
them is taken, and who sums up says again what was agreed. So scores of single sentences are
weighed a second time, beside those of their neighbours (Cohen and Carvalho, "Stacked Sequential
Learning", 2005).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

_BESIDE: Final = 8
"""Sentences on each side whose scores count one by one."""
_MOST: Final = 8.0
"""Log odds beyond which surer is not surer."""
_ORDINARY: Final = -4.0
"""Log odds of most sentences, and of what is beyond the ends: a live meeting may go on."""
_SLOPE: Final = 0.2
"""Of log odds of others, to make them as long as shares."""

Floats = npt.NDArray[np.float64]


def in_context(decision: Floats, action: Floats) -> Floats:
    """Return the features of each sentence.

    Args:
        decision: Log odds of each sentence, by itself, that it decides; shape (sentences,).
        action: That it gives somebody something to do, the same shape.

    Returns:
        Shape (sentences, features); the second and the third are the log odds themselves.
    """
    both = np.clip(decision, -_MOST, _MOST), np.clip(action, -_MOST, _MOST)
    columns = [np.ones(len(decision)), *both, _share(both[0]) * _share(both[1])]
    for scores in both:
        columns += _beside(scores)
    return np.stack(columns, axis=1)


def _share(log_odds: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-log_odds)))


def _beside(scores: Floats) -> Iterator[Floats]:
    padded = np.pad(scores, _BESIDE, constant_values=_ORDINARY)
    for step in range(2 * _BESIDE + 1):
        if step != _BESIDE:
            other = padded[step : step + len(scores)]
            yield _share(other)
            yield _SLOPE * other
