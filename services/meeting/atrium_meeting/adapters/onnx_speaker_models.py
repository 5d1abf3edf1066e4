"""The two networks that tell speakers apart, as they ship: ONNX Runtime, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from atrium_meeting.adapters.onnx_sessions import open_session
from atrium_meeting.domain.audio import Samples
from atrium_meeting.domain.diarization import (
    FRAME_SAMPLES,
    WINDOW_FRAMES,
    WINDOW_SAMPLES,
    Frames,
)
from atrium_meeting.domain.filter_bank import filter_bank

MODELS: Final = Path(__file__).parent / "speaker_models"
DIMENSIONS: Final = 192
"""Numbers of an embedding."""
LEAST_FRAMES: Final = 40
"""Frames of 10 ms that an embedding needs."""
_MOST_FRAMES: Final = 600
_WINDOWS_AT_ONCE: Final = 4


class Segmentation:
    """segmentation-3.0: who of at most three speaks in each frame of ten seconds."""

    def __init__(self, threads: int = 1) -> None:
        self._session = _session("segmentation-3.0.onnx", threads)

    def classes(self, samples: Samples, starts: Sequence[int]) -> Frames:
        """Return the powerset class of each frame of each window, [windows, 589].

        Args:
            samples: Sound; what a window lacks at the end is silence.
            starts: Where the windows begin, in frames.
        """
        found = [np.zeros((0, WINDOW_FRAMES), np.uint8)]
        for first in range(0, len(starts), _WINDOWS_AT_ONCE):
            some = starts[first : first + _WINDOWS_AT_ONCE]
            windows = np.zeros((len(some), WINDOW_SAMPLES), np.float32)
            for window, start in zip(windows, some, strict=True):
                part = samples[start * FRAME_SAMPLES :][:WINDOW_SAMPLES]
                window[: len(part)] = part
            (likely,) = self._session.run(None, {"samples": windows})
            found.append(likely.argmax(-1).astype(np.uint8))
        return np.concatenate(found)


class OnnxSpeakerEncoder:
    """CAM++: a voice as a direction in 192 dimensions."""

    model = "campplus"

    def __init__(self, threads: int = 1) -> None:
        self._session = _session("campplus.onnx", threads)

    def encode(self, samples: Samples) -> npt.NDArray[np.float32] | None:
        """Return the embedding of one speaker's speech, or None under .4 s."""
        return self.embed(filter_bank(samples))

    def embed(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
        """Return the embedding of features [frames, 80], or None for too few of them.

        Of more than six seconds, six seconds from the middle count.
        """
        if len(features) < LEAST_FRAMES:
            return None
        spare = max(0, len(features) - _MOST_FRAMES) // 2
        features = features[spare : spare + _MOST_FRAMES]
        centred = (features - features.mean(0))[None]
        embedding: npt.NDArray[np.float32] = self._session.run(None, {"features": centred})[0][0]
        return embedding / np.linalg.norm(embedding)


@cache
def _session(name: str, threads: int) -> ort.InferenceSession:
    """Return the one session of a model; any number of threads may run it at once."""
    return open_session(MODELS / name, threads=threads)
