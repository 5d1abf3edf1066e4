"""Where the frames of a live stream belong, by what their sender says and what came before."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from atrium_meeting.domain.audio import SAMPLE_RATE
from atrium_meeting.domain.errors import LiveFrameInvalid

_PER_MS: Final = SAMPLE_RATE // 1000
_ROUNDING: Final = 40 * _PER_MS
"""Senders round, and resampling holds some samples back: so much is no gap."""
_REMEMBERED: Final = 2048


@dataclass(frozen=True, slots=True)
class Place:
    """Where the sound of a frame belongs.

    Args:
        silence: Samples of silence before it.
        skipped: How many of its first samples were received before.
    """

    silence: int
    skipped: int


class FramePlaces:
    """Places frames one after the other, so that no sound is lost and none is heard twice.

    What was received before is left out, a gap is silence. A sender whose clock goes back says
    something new about a time that is over; that cannot be placed, and is refused.

    Args:
        start_ms: From where sound is expected.
        limit_ms: Longest meeting.
    """

    def __init__(self, start_ms: int, limit_ms: int) -> None:
        self._start = start_ms * _PER_MS
        self._limit = limit_ms * _PER_MS
        self._sender = self._start
        self._seen: OrderedDict[tuple[int, int], int] = OrderedDict()
        self.received = self._start
        """Up to where sound was received, in samples from the beginning of the meeting."""

    def is_repeated(self, offset_ms: int | None, frame: bytes) -> bool:
        """Tell whether this very frame came before. It needs no place then."""
        if offset_ms is None:
            return False
        end = self._seen.get((offset_ms, zlib.crc32(frame)))
        if end is not None:
            self._sender = end
        return end is not None

    def place(self, offset_ms: int | None, frame: bytes, samples: int) -> Place:
        """Return where a frame belongs that is ``samples`` long once decoded.

        Raises:
            LiveFrameInvalid: It begins after the longest meeting has ended, or it lies before what
                was received and is not what came there.
        """
        start = self._sender if offset_ms is None else offset_ms * _PER_MS
        if start > self._limit:
            raise LiveFrameInvalid(
                f"it begins at {start // _PER_MS} ms; a meeting is at most "
                f"{self._limit // _PER_MS} ms long",
            )
        if abs(start - self.received) <= _ROUNDING:
            start = self.received
        end = start + samples
        if samples and end <= self.received and self.received > self._start:
            raise LiveFrameInvalid(
                f"it begins at {start // _PER_MS} ms, other sound up to "
                f"{self.received // _PER_MS} ms was received before; the clock of the sender has "
                "gone back",
            )
        if offset_ms is not None:
            self._seen[offset_ms, zlib.crc32(frame)] = end
            if len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
        self._sender = end
        silence = max(0, start - self.received)
        skipped = min(samples, max(0, self.received - start))
        self.received = max(self.received, end)
        return Place(silence, skipped)
