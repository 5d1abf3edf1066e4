"""Sound, as every stage sees it: mono, 16 kHz, 32-bit floats from -1 to 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 16_000
"""Samples per second."""

Samples: TypeAlias = npt.NDArray[np.float32]
"""Mono sound, shape [samples], at :data:`SAMPLE_RATE`."""


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of time.

    Args:
        start_ms: Where it begins, in milliseconds.
        end_ms: Where it ends; after ``start_ms``.
    """

    start_ms: int
    end_ms: int

    @property
    def length_ms(self) -> int:
        """Its length, in milliseconds."""
        return self.end_ms - self.start_ms


def cut(samples: Samples, region: Region) -> Samples:
    """Return the samples of a region; the view shares memory with ``samples``."""
    per_ms = SAMPLE_RATE // 1000
    return samples[region.start_ms * per_ms : region.end_ms * per_ms]
