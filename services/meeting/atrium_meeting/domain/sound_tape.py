"""The last sound of a live stream, as long as somebody may need it."""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

from atrium_meeting.domain.audio import SAMPLE_RATE, Samples

_PER_MS: Final = SAMPLE_RATE // 1000
_STEP: Final = 10 * _PER_MS
_QUIET_STEPS: Final = 4


class SoundTape:
    """Keeps sound by its time; what was never put in is silence."""

    def __init__(self) -> None:
        self._parts: deque[tuple[int, Samples]] = deque()

    def append(self, start: int, samples: Samples) -> None:
        """Add sound that begins at ``start``, in samples; after all that is there."""
        if len(samples):
            self._parts.append((start, samples))

    def forget_before(self, time_ms: int) -> None:
        """Drop what lies before a time."""
        first = time_ms * _PER_MS
        while self._parts and self._parts[0][0] + len(self._parts[0][1]) <= first:
            self._parts.popleft()

    def between(self, start_ms: int, end_ms: int) -> Samples:
        """Return the sound from one time to another."""
        first, last = start_ms * _PER_MS, end_ms * _PER_MS
        sound = np.zeros(max(0, last - first), np.float32)
        for start, samples in self._parts:
            low, high = max(first, start), min(last, start + len(samples))
            if low < high:
                sound[low - first : high - first] = samples[low - start : high - start]
        return sound


def quietest_ms(samples: Samples, from_ms: int) -> int:
    """Return the middle of the quietest 40 ms from a time on, in milliseconds."""
    steps = np.square(samples[: len(samples) // _STEP * _STEP].astype(np.float64))
    power = steps.reshape(-1, _STEP).mean(axis=1)[from_ms // 10 :]
    if len(power) < _QUIET_STEPS:
        return len(samples) // _PER_MS
    smooth = np.convolve(power, np.full(_QUIET_STEPS, 1 / _QUIET_STEPS), "valid")
    return int(from_ms // 10 + smooth.argmin() + _QUIET_STEPS // 2) * 10
