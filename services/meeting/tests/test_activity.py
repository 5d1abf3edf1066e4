from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from atrium_meeting.adapters.silero_activity import SileroActivity
from atrium_meeting.app.ports import VoiceActivityDetector
from atrium_meeting.domain.activity import (
    ActivityLimits,
    ActivityTracker,
    SpeechEnded,
    SpeechEvent,
    SpeechStarted,
)
from atrium_meeting.domain.audio import SAMPLE_RATE, Region, Samples
from atrium_meeting.testing import FakeActivity, silence, tone, voice

_LIMITS = ActivityLimits(min_speech_ms=200, min_silence_ms=400, padding_ms=200)


def _follow(*runs: tuple[float, int]) -> list[SpeechEvent]:
    tracker = ActivityTracker(100, _LIMITS)
    events = tracker.accept(probability for probability, count in runs for _ in range(count))
    return events + tracker.finish()


def test_speech_between_silences_is_one_stretch_widened_on_both_sides() -> None:
    events = _follow((0.0, 10), (0.9, 5), (0.0, 10))
    assert events == [SpeechStarted(800), SpeechEnded(Region(800, 1700))]


def test_a_short_silence_belongs_to_the_speech_and_a_long_one_divides_it() -> None:
    events = _follow((0.9, 5), (0.0, 3), (0.9, 5), (0.0, 4), (0.9, 5))
    regions = [event.region for event in events if isinstance(event, SpeechEnded)]
    assert regions == [Region(0, 1500), Region(1500, 2400)]


def test_a_click_is_no_speech_and_neither_is_what_stays_doubtful() -> None:
    assert _follow((0.0, 5), (0.9, 1), (0.0, 10)) == []
    assert _follow((0.6, 40), (0.0, 10)) == []


def test_speech_that_fades_goes_on_until_it_is_silence() -> None:
    events = _follow((0.9, 5), (0.4, 5), (0.0, 10))
    assert events[-1] == SpeechEnded(Region(0, 1200))


def test_speech_goes_on_until_it_has_ended() -> None:
    tracker = ActivityTracker(100, _LIMITS)
    assert tracker.accept([0.9]) == []
    assert tracker.speaking_since_ms is None
    assert tracker.accept([0.9]) == [SpeechStarted(0)]
    assert tracker.speaking_since_ms == 0
    assert tracker.accept([0.0] * 4) == [SpeechEnded(Region(0, 400))]
    assert tracker.speaking_since_ms is None


@pytest.mark.parametrize(
    "values",
    [
        {"begin_probability": 1.0},
        {"end_probability": 0.6},
        {"end_probability": 0.0},
        {"certain_probability": 0.4},
        {"padding_ms": 201},
    ],
)
def test_limits_that_contradict_each_other_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        ActivityLimits(**values)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def silero() -> SileroActivity:
    return SileroActivity()


@pytest.fixture(scope="module")
def talk() -> Samples:
    return np.concatenate([silence(1.5), voice(3.0), silence(2.0), voice(2.0), silence(1.0)])


@pytest.mark.parametrize("make", [FakeActivity, SileroActivity])
def test_detectors_keep_the_contract(
    make: Callable[[], VoiceActivityDetector], talk: Samples
) -> None:
    detector = make()
    first, second = detector.find_speech(talk)
    assert abs(first.start_ms - 1500) <= 400
    assert abs(first.end_ms - 4500) <= 400
    assert abs(second.start_ms - 6500) <= 400
    assert abs(second.end_ms - 8500) <= 400
    assert detector.find_speech(silence(0)) == []
    assert detector.find_speech(silence(2)) == []
    (cut_off,) = detector.find_speech(talk[: 3 * SAMPLE_RATE + 5])
    assert cut_off.end_ms <= 3000


def test_sound_that_arrives_bit_by_bit_gives_the_same_regions(
    silero: SileroActivity, talk: Samples
) -> None:
    whole = silero.find_speech(talk)
    for size in (160, 777, 8_000):
        stream = silero.stream()
        events = [
            event
            for start in range(0, len(talk), size)
            for event in stream.accept(talk[start : start + size])
        ]
        events += stream.finish()
        assert [event.region for event in events if isinstance(event, SpeechEnded)] == whole


def test_streams_do_not_disturb_each_other(silero: SileroActivity, talk: Samples) -> None:
    one, other = silero.stream(), silero.stream()
    events = []
    for start in range(0, len(talk), 1600):
        events += one.accept(talk[start : start + 1600])
        other.accept(tone(0.1))
    events += one.finish()
    assert [event.region for event in events if isinstance(event, SpeechEnded)] == (
        silero.find_speech(talk)
    )


def test_silence_tones_and_noise_are_no_speech(silero: SileroActivity) -> None:
    chance = np.random.default_rng(0)
    count = 12 * SAMPLE_RATE
    time = np.arange(count) / SAMPLE_RATE
    spectrum = np.fft.rfft(chance.standard_normal(count))
    spectrum /= np.sqrt(np.arange(len(spectrum)) + 1.0)
    pink = np.fft.irfft(spectrum, count)
    sweep = np.sin(2 * np.pi * (50 * time + 160 * time * time))
    sounds = {
        "silence": silence(12),
        "tone": tone(12),
        "ringing": tone(12, 425.0) * (time % 5 < 1),
        "white noise": 0.1 * chance.standard_normal(count),
        "pink noise": 0.3 * pink / np.abs(pink).max(),
        "hum": sum(0.1 * np.sin(2 * np.pi * 50 * k * time) / k for k in range(1, 8)),
        "clicks": 0.8 * (chance.random(count) < 0.0005),
        "sweep": 0.3 * sweep,
        "chord": 0.1 * sum(np.sin(2 * np.pi * hertz * time) for hertz in (262, 330, 392)),
    }
    for name, sound in sounds.items():
        for level in (1.0, 0.01):
            heard = silero.find_speech((level * np.asarray(sound)).astype(np.float32))
            assert heard == [], (name, level)
