"""The engines that an operator chooses."""

from __future__ import annotations

from pathlib import Path

import pytest

from atrium_meeting.adapters.late_diarizer import LateDiarizer
from atrium_meeting.adapters.pyannote_diarizer import PyannoteDiarizer
from atrium_meeting.adapters.stored_transcriber import NoTranscriber, StoredTranscriber
from atrium_meeting.app.ports import RecognitionHints
from atrium_meeting.bootstrap import open_engines
from atrium_meeting.domain.audio import Region
from atrium_meeting.domain.errors import RecognitionUnavailable
from atrium_meeting.domain.transcript import SpeakerTurn
from atrium_meeting.testing import FakeDiarizer, FakeTranscriber, silence
from atrium_meeting.testing_service import settings_in
from atrium_shared.settings import SettingsInvalid


def test_a_model_of_the_store_that_is_not_pulled_says_so(tmp_path: Path):
    engines = open_engines(settings_in(tmp_path, ATRIUM_MODELS_DIR=tmp_path / "models"))
    assert engines.transcriber.model == "whisper-base"
    with pytest.raises(RecognitionUnavailable, match="atrium models pull whisper-base"):
        engines.transcriber.check()


def test_a_folder_that_holds_no_model_says_what_is_missing(tmp_path: Path):
    engines = open_engines(settings_in(tmp_path, recognition_model_dir=tmp_path / "large-v3"))
    assert engines.transcriber.model == "large-v3"
    with pytest.raises(RecognitionUnavailable, match=r"model\.bin"):
        engines.transcriber.check()


def test_recognition_and_diarization_can_be_switched_off(tmp_path: Path):
    engines = open_engines(settings_in(tmp_path, recognition_model="none", diarization="none"))
    assert isinstance(engines.transcriber, NoTranscriber)
    with pytest.raises(RecognitionUnavailable):
        engines.transcriber.transcribe(silence(1), [Region(0, 10)], RecognitionHints())
    assert engines.diarizer is None


def test_pyannote_needs_its_python_and_a_pipeline(tmp_path: Path):
    with pytest.raises(SettingsInvalid, match="MEETING_PYANNOTE_PYTHON"):
        open_engines(settings_in(tmp_path, diarization="pyannote"))
    engines = open_engines(
        settings_in(
            tmp_path,
            diarization="pyannote",
            pyannote_python=tmp_path / "python",
            pyannote_dir=tmp_path / "pipeline",
        )
    )
    assert isinstance(engines.diarizer, PyannoteDiarizer)


def test_a_model_is_opened_once_and_when_it_is_needed(tmp_path: Path):
    opened = []

    def open_model(folder: Path) -> FakeTranscriber:
        opened.append(folder)
        return FakeTranscriber("One.", "Two.")

    stored = StoredTranscriber("whisper-base", lambda: tmp_path, open_model)
    assert opened == []
    for _ in range(2):
        assert stored.transcribe(silence(1), [Region(0, 1000)], RecognitionHints())
    assert opened == [tmp_path]


def test_networks_of_diarization_are_loaded_by_the_first_recording():
    opened = []

    def open_diarizer() -> FakeDiarizer:
        opened.append(True)
        return FakeDiarizer([SpeakerTurn("S1", 0, 1000)])

    late = LateDiarizer("networks", open_diarizer)
    assert (late.model, opened) == ("networks", [])
    piece = late.examine(silence(1), [Region(0, 1000)], 0)
    assert late.assign([piece]) == [SpeakerTurn("S1", 0, 1000)]
    assert opened == [True]
