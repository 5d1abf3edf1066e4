"""Regions of speech put together into windows of the length that recognition takes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from atrium_meeting.domain.audio import SAMPLE_RATE, Region, Samples, cut
from atrium_meeting.domain.transcript import Word

_STEP_MS = 20
_QUIET_STEPS = 10
_LEAST_REGION_MS = 700


@dataclass(frozen=True, slots=True)
class Window:
    """Regions one after the other, with no more than a short pause between two.

    Args:
        regions: At least one, in order of time.
        pause_ms: Longest pause that is kept; of a longer one so much.
    """

    regions: tuple[Region, ...]
    pause_ms: int

    @property
    def length_ms(self) -> int:
        """Its length, in milliseconds."""
        return self._starts()[-1] + self.regions[-1].length_ms

    def sound(self, samples: Samples) -> Samples:
        """Return what is heard in the window."""
        ends = [*(region.start_ms for region in self.regions[1:]), self.regions[-1].end_ms]
        return np.concatenate(
            [
                cut(samples, Region(region.start_ms, min(end, region.end_ms + self.pause_ms)))
                for region, end in zip(self.regions, ends, strict=True)
            ]
        )

    def place(self, window_ms: float) -> tuple[int, int]:
        """Return which region a time in the window lies in, and what time of the recording it is.

        Times in a pause, and beyond the ends, become the nearest edge of the region before.
        """
        starts = self._starts()
        index = max(0, bisect_right(starts, window_ms) - 1)
        region = self.regions[index]
        at = region.start_ms + max(0, round(window_ms - starts[index]))
        return index, min(at, region.end_ms)

    def _starts(self) -> list[int]:
        starts = [0]
        for before, after in zip(self.regions, self.regions[1:], strict=False):
            pause = min(self.pause_ms, after.start_ms - before.end_ms)
            starts.append(starts[-1] + before.length_ms + pause)
        return starts


def split(samples: Samples, regions: Iterable[Region], longest_ms: int) -> list[Region]:
    """Divide what is too long where it is quietest, in its second half; cut to the samples."""
    end_ms = len(samples) * 1000 // SAMPLE_RATE
    parts = []
    for region in regions:
        start, end = max(0, region.start_ms), min(end_ms, region.end_ms)
        while end - start > longest_ms:
            at = _quietest(samples, Region(start + longest_ms // 2, start + longest_ms))
            parts.append(Region(start, at))
            start = at
        if end > start:
            parts.append(Region(start, end))
    return parts


def pack(regions: Sequence[Region], longest_ms: int, pause_ms: int) -> list[Window]:
    """Put neighbours together, as many as a window holds.

    Args:
        regions: In order of time, none longer than ``longest_ms``.
        longest_ms: Longest window.
        pause_ms: Longest pause that is kept between two regions.
    """
    windows: list[Window] = []
    for region in regions:
        if windows:
            longer = Window((*windows[-1].regions, region), pause_ms)
            if longer.length_ms <= longest_ms:
                windows[-1] = longer
                continue
        windows.append(Window((region,), pause_ms))
    return windows


def uncovered(
    regions: Iterable[Region], words: Sequence[Word], least_ms: int, longest_word_ms: int = 800
) -> list[Region]:
    """Return the stretches of speech in which no word was recognised.

    Args:
        regions: Where somebody speaks.
        words: What was recognised, in order of time.
        least_ms: Shorter stretches are pauses.
        longest_word_ms: A word that lasts longer than this is one that was badly placed.
    """
    missed = []
    for region in regions:
        covered = region.start_ms
        own = [word for word in words if region.start_ms <= word.start_ms < region.end_ms]
        for word in own:
            if word.start_ms - covered >= least_ms:
                missed.append(Region(covered, word.start_ms))
            covered = max(covered, min(word.end_ms, word.start_ms + longest_word_ms))
        if region.end_ms - covered >= (least_ms if own else min(least_ms, _LEAST_REGION_MS)):
            missed.append(Region(covered, region.end_ms))
    return missed


def _quietest(samples: Samples, where: Region) -> int:
    step = _STEP_MS * SAMPLE_RATE // 1000
    sound = cut(samples, where).astype(np.float64)
    steps = len(sound) // step
    power = np.square(sound[: steps * step]).reshape(steps, step).mean(axis=1)
    width = min(_QUIET_STEPS, steps)
    smooth = np.convolve(power, np.full(width, 1 / width), "valid")
    return where.start_ms + _STEP_MS * (int(smooth.argmin()) + width // 2)
