"""Diarization whose networks are loaded by the first recording."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from atrium_meeting.app.ports import Diarizer, SpeakerPiece
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
