"""Plain samples of any rate, as they come in live, to sound."""

from __future__ import annotations

import av
import numpy as np
from av.audio.resampler import AudioResampler

from atrium_meeting.domain.audio import SAMPLE_RATE, Samples, from_pcm16
from atrium_meeting.domain.errors import FrameBroken


class PcmFrames:
    """16-bit samples, little endian, one channel, to sound (`FrameDecoder`).

    Args:
        rate: In Hz.
    """

    def __init__(self, rate: int = SAMPLE_RATE) -> None:
        self._rate = rate
        self._resampler = AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)

    def decode(self, frame: bytes) -> Samples:
        """Return the sound that a frame adds. See `FrameDecoder`."""
        if len(frame) % 2:
            raise FrameBroken("16-bit PCM: it has an odd number of bytes")
        if self._rate == SAMPLE_RATE:
            return from_pcm16(frame)
        sound = av.AudioFrame.from_ndarray(
            np.frombuffer(frame, "<i2").reshape(1, -1), format="s16", layout="mono"
        )
        sound.sample_rate = self._rate
        parts = [part.to_ndarray()[0] for part in self._resampler.resample(sound)]
        return np.concatenate([*parts, np.zeros(0, np.float32)])
