from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from atrium_meeting.adapters.silero_activity import SileroActivity
from atrium_meeting.adapters.whisper_transcriber import WhisperTranscriber
from atrium_meeting.app.ports import RecognitionHints, RecognizedSegment, Transcriber
from atrium_meeting.domain.audio import SAMPLE_RATE, Region, Samples
from atrium_meeting.domain.errors import RecognitionUnavailable
from atrium_meeting.testing import FakeTranscriber, silence, tone, voice
from atrium_models.store import ModelStore


@pytest.fixture(scope="module")
def whisper() -> WhisperTranscriber:
    return WhisperTranscriber(ModelStore.from_environment().path("whisper-base"))


@pytest.fixture(
    params=[FakeTranscriber, pytest.param(WhisperTranscriber, marks=pytest.mark.models)]
)
def transcriber(request: pytest.FixtureRequest) -> Transcriber:
    if request.param is FakeTranscriber:
        return FakeTranscriber()
    real: Transcriber = request.getfixturevalue("whisper")
    return real


def _sane(segments: list[RecognizedSegment], regions: list[Region]) -> bool:
    words = [word for segment in segments for word in segment.words]
    return (
        all(segment.words and segment.language for segment in segments)
        and all(word.start_ms <= word.end_ms for word in words)
        and all(one.start_ms <= other.start_ms for one, other in pairwise(words))
        and all(0 <= word.confidence <= 1 and word.text.strip() == word.text for word in words)
        and all(
            any(region.start_ms <= word.start_ms and word.end_ms <= region.end_ms
                for region in regions)
            for word in words
        )
    )  # fmt: skip


def test_words_lie_in_the_regions_in_order(transcriber: Transcriber) -> None:
    sound = np.concatenate([voice(4), silence(1), voice(35, 200.0, 4), silence(2), voice(0.3)])
    regions = [Region(0, 4_000), Region(5_000, 40_000), Region(42_000, 42_300)]
    for hints in (
        RecognitionHints(),
        RecognitionHints(languages=("zh",), hotwords=("星桥", "Nimbus") * 200),
    ):
        assert _sane(transcriber.transcribe(sound, regions, hints), regions)


def test_without_speech_there_are_no_words(transcriber: Transcriber) -> None:
    assert transcriber.transcribe(silence(3), [], RecognitionHints()) == []
    assert transcriber.model


def test_regions_beyond_the_sound_do_no_harm(transcriber: Transcriber) -> None:
    regions = [Region(0, 1), Region(1_500, 9_000), Region(60_000, 61_000)]
    assert _sane(transcriber.transcribe(voice(2), regions, RecognitionHints()), regions)


@pytest.mark.models
def test_nothing_is_made_up_over_what_is_no_speech(whisper: WhisperTranscriber) -> None:
    chance = np.random.default_rng(0)
    notes = np.repeat(220 * 2 ** (chance.integers(0, 24, 24) / 12), SAMPLE_RATE // 2)
    phase = 2 * np.pi * np.cumsum(notes) / SAMPLE_RATE
    melody = sum(np.sin(k * phase) / k for k in range(1, 6)) * 0.1
    sounds: dict[str, Samples] = {
        "silence": silence(12),
        "tone": tone(12),
        "noise": (0.05 * chance.standard_normal(12 * SAMPLE_RATE)).astype(np.float32),
        "melody": np.asarray(melody, np.float32),
    }
    for name, sound in sounds.items():
        for hints in (RecognitionHints(languages=("en",)), RecognitionHints(languages=("zh",))):
            # As if voice activity detection had erred.
            segments = whisper.transcribe(sound, [Region(0, 12_000)], hints)
            assert segments == [], (name, hints.languages)
        found = SileroActivity().find_speech(sound)
        assert whisper.transcribe(sound, found, RecognitionHints()) == [], name


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    for attempt in (WhisperTranscriber(tmp_path).check, WhisperTranscriber(tmp_path).load):
        with pytest.raises(RecognitionUnavailable, match="atrium models pull small") as caught:
            attempt()
    assert caught.value.reason == "RECOGNITION_UNAVAILABLE"


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    for name in ("model.bin", "config.json", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(RecognitionUnavailable, match="cannot be loaded"):
        WhisperTranscriber(tmp_path).transcribe(voice(1), [Region(0, 1_000)], RecognitionHints())
