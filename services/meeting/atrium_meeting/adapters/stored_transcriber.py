"""Speech recognition with a model that may not be there yet."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from atrium_meeting.app.ports import RecognitionHints, RecognizedSegment, Transcriber
from atrium_meeting.domain.audio import Region, Samples
from atrium_meeting.domain.errors import RecognitionUnavailable
from atrium_shared.errors import AtriumError


class StoredTranscriber:
    """Opens a transcriber over a folder when it is first needed; implements ``ports.Transcriber``.

    Files that are missing are looked for again at each call, so a model that is pulled while the
    service runs works without a restart.

    Args:
        model: Name of the model.
        locate: Returns its folder; raises AtriumError while its files are missing.
        open_model: Makes a transcriber over the folder.
    """

    def __init__(
        self, model: str, locate: Callable[[], Path], open_model: Callable[[Path], Transcriber]
    ) -> None:
        self._model = model
        self._locate = locate
        self._open_model = open_model
        self._opened: Transcriber | None = None
        self._lock = threading.Lock()

    @property
    def model(self) -> str:
        """Name of the model."""
        return self._model

    def check(self) -> None:
        """Look whether the files are there."""
        self._transcriber().check()

    def transcribe(
        self, samples: Samples, speech: Sequence[Region], hints: RecognitionHints
    ) -> list[RecognizedSegment]:
        """Return what is said. See `Transcriber`."""
        return self._transcriber().transcribe(samples, speech, hints)

    def _transcriber(self) -> Transcriber:
        with self._lock:
            if self._opened is None:
                self._opened = self._open_model(self._folder())
            return self._opened

    def _folder(self) -> Path:
        try:
            return self._locate()
        except AtriumError as error:
            raise RecognitionUnavailable(
                f"The speech recognition model {self._model!r} is not here. Run `atrium models "
                f"pull {self._model}`, or import a transcript.",
                model=self._model,
            ) from error


class NoTranscriber:
    """No speech recognition, by the operator's choice; implements ``ports.Transcriber``."""

    model = ""

    def check(self) -> None:
        """Raise: there is none."""
        raise RecognitionUnavailable(
            "Speech recognition is switched off here. Import a transcript, or ask the operator to "
            "run `atrium models pull small` and to start again without `--models none` (the suite) "
            "or with MEETING_RECOGNITION_MODEL set to the model."
        )

    def transcribe(
        self, samples: Samples, speech: Sequence[Region], hints: RecognitionHints
    ) -> list[RecognizedSegment]:
        """Raise: there is none."""
        self.check()
        return []
