from __future__ import annotations

import numpy as np
import pytest

from atrium_meeting.app.ports import RecognitionHints
from atrium_meeting.domain.audio import Region, from_pcm16, to_pcm16
from atrium_meeting.domain.errors import RecognitionUnavailable
from atrium_meeting.domain.transcript import join
from atrium_meeting.testing import FakeActivity, FakeTranscriber, silence, tone

_REGIONS = [Region(500, 1500), Region(2000, 3200)]


def test_the_fake_says_one_text_for_each_region_in_its_time() -> None:
    fake = FakeTranscriber("早上好。", "Good morning, all.")
    chinese, english = fake.transcribe(silence(4), _REGIONS, RecognitionHints())
    assert (chinese.language, english.language) == ("zh", "en")
    assert [word.text for word in chinese.words] == ["早", "上", "好。"]
    assert (chinese.words[0].start_ms, chinese.words[-1].end_ms) == (500, 1500)
    assert (english.words[0].start_ms, english.words[-1].end_ms) == (2000, 3200)


def test_the_fake_names_the_length_of_regions_without_a_text_and_leaves_out_empty_texts() -> None:
    fake = FakeTranscriber("")
    (segment,) = fake.transcribe(silence(4), _REGIONS, RecognitionHints())
    assert join(word.text for word in segment.words) == "region 1200 ms"


def test_the_fake_fails_when_told() -> None:
    fake = FakeTranscriber()
    fake.failure = RecognitionUnavailable("No model.")
    with pytest.raises(RecognitionUnavailable):
        fake.transcribe(silence(4), _REGIONS, RecognitionHints())
    assert fake.calls[0][0] == 64_000


def test_the_fake_detector_finds_what_is_loud() -> None:
    sound = np.concatenate([silence(1), tone(1), silence(0.2), tone(1), silence(1), tone(0.5)])
    assert FakeActivity().find_speech(sound) == [Region(1000, 3200), Region(4200, 4700)]
    assert FakeActivity([Region(1, 2)]).find_speech(sound) == [Region(1, 2)]


def test_pcm_keeps_samples_to_16_bits_and_cuts_what_is_too_loud() -> None:
    sound = tone(0.1)
    assert np.abs(from_pcm16(to_pcm16(sound)) - sound).max() <= 0.5 / 32768 + 1e-7
    assert from_pcm16(to_pcm16(np.array([2.0, -2.0], np.float32))).tolist() == [32767 / 32768, -1.0]
    assert len(from_pcm16(b"\x00\x01\x02")) == 1
