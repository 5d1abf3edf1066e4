"""Many channels to one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from atrium_meeting.domain.audio import Samples

_SILENT_SHARE = 1e-4
_INVERTED = -0.9


class Downmix:
    """Mixes the channels of one recording, block after block.

    It is the mean of the channels that carry sound: one microphone among 24 channels does not
    become 24 times quieter. A channel that mirrors the loudest one (a cable with its poles swapped)
    is turned over first, for the two would cancel out. Both are judged by all sound so far.

    Args:
        channels: Their number.
    """

    def __init__(self, channels: int) -> None:
        self._products = np.zeros((channels, channels))

    def mix(self, block: npt.NDArray[np.float32]) -> Samples:
        """Return one channel, shape [samples], of a block, shape [channels, samples]."""
        if len(block) == 1:
            return np.asarray(block[0])
        self._products += block.astype(np.float64) @ block.astype(np.float64).T
        energy = self._products.diagonal()
        loudest = int(energy.argmax())
        if energy[loudest] == 0:
            return np.zeros(block.shape[1], np.float32)
        heard = energy >= _SILENT_SHARE * energy[loudest]
        scale = np.sqrt(np.maximum(energy, 1e-300) * energy[loudest])
        inverted = self._products[loudest] / scale < _INVERTED
        weights = np.where(heard, np.where(inverted, -1.0, 1.0), 0.0) / heard.sum()
        return np.asarray(weights @ block, np.float32)
