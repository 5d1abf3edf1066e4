"""Log mel filter bank features as Kaldi computes them, which speaker encoders are trained on."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from atrium_meeting.domain.audio import SAMPLE_RATE, Samples

BINS = 80
"""Numbers of a frame."""
FRAME_SAMPLES = 400
"""Samples that a frame looks at: 25 ms."""
STEP_SAMPLES = 160
"""Samples from one frame to the next: 10 ms."""

_FFT = 512
_LOWEST_HZ = 20.0
_PREEMPHASIS = 0.97
_FLOOR = float(np.finfo(np.float32).eps)
_FRAMES_AT_ONCE = 1000


def filter_bank(samples: Samples) -> npt.NDArray[np.float32]:
    """Return the logarithm of the energy in each band, shape [frames, 80].

    The recipe of Kaldi's ``compute-fbank-feats`` with 80 bins and without dither (Povey et al.
    2011): the mean is taken off each frame, then pre-emphasis, a Povey window, the power spectrum,
    triangular filters evenly spaced in mel. Only whole frames: fewer than 400 samples give none.
    """
    frames = max(0, 1 + (len(samples) - FRAME_SAMPLES) // STEP_SAMPLES)
    features = np.empty((frames, BINS), np.float32)
    if not frames:
        return features
    views = np.lib.stride_tricks.sliding_window_view(samples, FRAME_SAMPLES)[::STEP_SAMPLES]
    window, filters = _window(), _filters()
    for first in range(0, frames, _FRAMES_AT_ONCE):
        part = views[first : first + _FRAMES_AT_ONCE].astype(np.float32)
        part -= part.mean(1, keepdims=True)
        before = np.concatenate([part[:, :1], part[:, :-1]], 1)
        part -= np.float32(_PREEMPHASIS) * before
        spectrum = np.fft.rfft(part * window, _FFT)[:, : _FFT // 2]
        power = spectrum.real**2 + spectrum.imag**2
        features[first : first + len(part)] = np.log(np.maximum(power @ filters, _FLOOR))
    return features


@cache
def _window() -> npt.NDArray[np.float32]:
    """Return the Povey window: Hann to the power of .85, [400]."""
    return (np.hanning(FRAME_SAMPLES) ** 0.85).astype(np.float32)


@cache
def _filters() -> npt.NDArray[np.float32]:
    """Return the triangles, [256, 80]."""

    def mel(hertz: npt.NDArray[np.float64] | float) -> npt.NDArray[np.float64]:
        return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)

    edges = np.linspace(mel(_LOWEST_HZ), mel(SAMPLE_RATE / 2), BINS + 2)
    place = mel(np.arange(_FFT // 2) * SAMPLE_RATE / _FFT)[:, None]
    rising = (place - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - place) / (edges[2:] - edges[1:-1])
    return np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)
