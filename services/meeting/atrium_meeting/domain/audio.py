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


@dataclass(frozen=True, slots=True)
class AudioPiece:
    """Some minutes of a recording.

    Args:
        offset_ms: Where it begins in the recording.
        samples: Its sound; a whole number of milliseconds, but for the last piece.
        truncated: The recording breaks off at its end: bytes are missing or damaged. Only the last
            piece can be.
    """

    offset_ms: int
    samples: Samples
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class RecordingInfo:
    """What the header of a recording says.

    Args:
        container: Name of the format, such as "wav" or "matroska,webm".
        codec: How the sound is coded, such as "aac".
        sample_rate: In Hz.
        channels: Number of channels.
        duration_ms: 0 where the header does not say, or cannot be trusted.
    """

    container: str
    codec: str
    sample_rate: int
    channels: int
    duration_ms: int


def to_pcm16(samples: Samples) -> bytes:
    """Return samples as 16-bit integers, little endian; what is louder than full scale is cut."""
    levels = np.clip(np.rint(samples * 32768.0), -32768, 32767)
    return bytes(levels.astype("<i2").tobytes())


def from_pcm16(data: bytes) -> Samples:
    """Return the samples of 16-bit integers, little endian; an odd last byte is left out."""
    return np.frombuffer(data, "<i2", count=len(data) // 2).astype(np.float32) / 32768.0
