"""Diarization whose networks are loaded by the first recording, or the first live stream."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from atrium_meeting.app.ports import Diarizer, SpeakerEncoder, SpeakerPiece
from atrium_meeting.domain.audio import Region, Samples
from atrium_meeting.domain.transcript import SpeakerTurn


class LateDiarizer:
    """Opens a diarizer when it is first needed; implements ``ports.Diarizer``.

    Args:
        model: Name of the pipeline.
        open_diarizer: Makes it.
    """

    def __init__(self, model: str, open_diarizer: Callable[[], Diarizer]) -> None:
        self._model = model
        self._open_diarizer = open_diarizer
        self._opened: Diarizer | None = None
        self._lock = threading.Lock()

    @property
    def model(self) -> str:
        """Name of the pipeline."""
        return self._model

    def examine(self, samples: Samples, speech: Sequence[Region], offset_ms: int) -> SpeakerPiece:
        """Return what a piece tells of its speakers. See `Diarizer`."""
        return self._diarizer().examine(samples, speech, offset_ms)

    def assign(self, pieces: Sequence[SpeakerPiece], speakers: int = 0) -> list[SpeakerTurn]:
        """Return who spoke when. See `Diarizer`."""
        return self._diarizer().assign(pieces, speakers)

    def _diarizer(self) -> Diarizer:
        with self._lock:
            if self._opened is None:
                self._opened = self._open_diarizer()
            return self._opened


class LateSpeakerEncoder:
    """Opens an encoder when it is first needed; implements ``ports.SpeakerEncoder``.

    Args:
        model: Name of the model.
        open_encoder: Makes it.
    """

    def __init__(self, model: str, open_encoder: Callable[[], SpeakerEncoder]) -> None:
        self._model = model
        self._open_encoder = open_encoder
        self._opened: SpeakerEncoder | None = None
        self._lock = threading.Lock()

    @property
    def model(self) -> str:
        """Name of the model."""
        return self._model

    def encode(self, samples: Samples) -> npt.NDArray[np.float32] | None:
        """Return the embedding of one speaker's speech. See `SpeakerEncoder`."""
        with self._lock:
            if self._opened is None:
                self._opened = self._open_encoder()
            opened = self._opened
        return opened.encode(samples)
