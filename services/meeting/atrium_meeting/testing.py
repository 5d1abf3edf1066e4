"""What tests of meetings need: fakes of its ports."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from atrium_meeting.app.ports import RecognitionHints, RecognizedSegment, SpeakerPiece
from atrium_meeting.domain.activity import ActivityLimits, ActivityTracker, SpeechEvent
from atrium_meeting.domain.audio import SAMPLE_RATE, Region, Samples
from atrium_meeting.domain.transcript import SpeakerTurn, Word, is_unspaced, split_words


class FakeTranscriber:
    """Says what it was told to say, one text for each region with speech.

        fake = FakeTranscriber()
        fake.enqueue("Good morning.", "早上好。")

    A region takes the next text; the words share its time evenly. A region for which no text is
    left says how long it is ("region 1200 ms"), so that any audio gives words that are always the
    same. An empty text stands for a region in which nothing was understood.

    Attributes:
        calls: What each call was given: number of samples, regions and hints.
        failure: Raised instead of an answer, while it is set.
    """

    model = "scripted"

    def __init__(self, *texts: str) -> None:
        self._texts = deque(texts)
        self.calls: list[tuple[int, tuple[Region, ...], RecognitionHints]] = []
        self.failure: Exception | None = None

    def enqueue(self, *texts: str) -> None:
        """Add texts for the regions to come."""
        self._texts.extend(texts)

    def check(self) -> None:
        """Raise the failure, while one is set."""
        if self.failure is not None:
            raise self.failure

    def transcribe(
        self, samples: Samples, speech: Sequence[Region], hints: RecognitionHints
    ) -> list[RecognizedSegment]:
        """Return one segment for each region whose text is not empty."""
        self.calls.append((len(samples), tuple(speech), hints))
        if self.failure is not None:
            raise self.failure
        segments = []
        for region in speech:
            text = self._texts.popleft() if self._texts else f"region {region.length_ms} ms"
            if words := timed_words(text, region):
                segments.append(RecognizedSegment(language_of(text), words))
        return segments


class FakeActivity:
    """Finds speech where it is loud.

    Sound above 1 % of full scale is speech; silences shorter than 300 ms belong to it.

    Attributes:
        regions: Returned instead, while it is set.
    """

    def __init__(self, regions: Sequence[Region] | None = None) -> None:
        self.regions = regions

    def find_speech(self, samples: Samples) -> list[Region]:
        """Return where it is loud, in steps of 10 ms."""
        if self.regions is not None:
            return list(self.regions)
        step = SAMPLE_RATE // 100
        frames = len(samples) // step
        loud = np.abs(samples[: frames * step]).reshape(frames, step).max(axis=1) > 0.01
        found: list[Region] = []
        for place in np.flatnonzero(loud).tolist():
            start, end = 10 * place, 10 * place + 10
            if found and start - found[-1].end_ms < 300:
                start = found.pop().start_ms
            found.append(Region(start, end))
        return found


class FakeSpeechStream:
    """Hears speech where it is loud, as `FakeActivity` does, while it arrives.

    Args:
        limits: What counts as speech.
    """

    _WINDOW = 320

    def __init__(self, limits: ActivityLimits | None = None) -> None:
        self._tracker = ActivityTracker(20, limits or ActivityLimits(min_silence_ms=600))
        self._held = np.zeros(0, np.float32)

    @property
    def speaking_since_ms(self) -> int | None:
        """Where the speech that goes on began."""
        return self._tracker.speaking_since_ms

    @property
    def quiet_since_ms(self) -> int | None:
        """Since when nothing is heard of it."""
        return self._tracker.quiet_since_ms

    def accept(self, samples: Samples) -> list[SpeechEvent]:
        """Take more sound."""
        sound = np.concatenate([self._held, samples])
        windows = len(sound) // self._WINDOW
        self._held = sound[windows * self._WINDOW :]
        loud = np.abs(sound[: windows * self._WINDOW]).reshape(-1, self._WINDOW).max(axis=1) > 0.01
        return self._tracker.accept(np.where(loud, 0.95, 0.0).tolist())

    def finish(self) -> list[SpeechEvent]:
        """Return what is open."""
        return self._tracker.finish()


class FakeDiarizer:
    """Knows who speaks when: the turns that it was given, as far as they were examined.

    Without turns, every region with speech is a turn, and two speakers take turns. With a number of
    speakers, those beyond it are taken for the first ones again.

    Attributes:
        examined: What was examined: offset and length of each piece, in milliseconds.
        failure: Raised instead of an answer, while it is set.
    """

    model = "scripted"

    def __init__(self, turns: Sequence[SpeakerTurn] = ()) -> None:
        self._turns = tuple(turns)
        self.examined: list[tuple[int, int]] = []
        self.failure: Exception | None = None

    def examine(self, samples: Samples, speech: Sequence[Region], offset_ms: int) -> SpeakerPiece:
        """Return the regions of a piece."""
        if self.failure is not None:
            raise self.failure
        length_ms = len(samples) * 1000 // SAMPLE_RATE
        self.examined.append((offset_ms, length_ms))
        known = {
            "length_ms": length_ms,
            "speech": [(region.start_ms, region.end_ms) for region in speech],
        }
        return SpeakerPiece(offset_ms, json.dumps(known).encode())

    def assign(self, pieces: Sequence[SpeakerPiece], speakers: int = 0) -> list[SpeakerTurn]:
        """Return the turns that lie within the pieces; "S1" is who speaks first."""
        if self.failure is not None:
            raise self.failure
        turns: list[SpeakerTurn] = []
        for piece in pieces:
            known, start = json.loads(piece.data), piece.offset_ms
            end = start + known["length_ms"]
            if self._turns:
                turns += [turn for turn in self._turns if start <= turn.start_ms < end]
                continue
            for region_start, region_end in known["speech"]:
                speaker = f"S{len(turns) % 2 + 1}"
                turns.append(SpeakerTurn(speaker, start + region_start, start + region_end))
        turns.sort(key=lambda turn: (turn.start_ms, turn.end_ms))
        heard = list(dict.fromkeys(turn.speaker for turn in turns))
        names = {name: f"S{n % (speakers or len(heard)) + 1}" for n, name in enumerate(heard)}
        return [SpeakerTurn(names[turn.speaker], turn.start_ms, turn.end_ms) for turn in turns]


class FakeSpeakerEncoder:
    """Hears speakers by their loudness: each tenth of full scale is a voice of its own.

    Attributes:
        calls: How many samples each call was given.
    """

    model = "loudness"

    def __init__(self) -> None:
        self.calls: list[int] = []

    def encode(self, samples: Samples) -> npt.NDArray[np.float32] | None:
        """Return a direction for the loudness, or None under 400 ms."""
        self.calls.append(len(samples))
        if len(samples) < SAMPLE_RATE * 2 // 5:
            return None
        voice = np.zeros(10, np.float32)
        voice[min(9, int(10 * np.abs(samples).max()))] = 1.0
        return voice


def timed_words(text: str, region: Region, confidence: float = 0.9) -> tuple[Word, ...]:
    """Return the words of a text, which share the time of a region evenly."""
    words = split_words(text)
    step = region.length_ms / max(1, len(words))
    return tuple(
        Word(
            word,
            region.start_ms + round(place * step),
            region.start_ms + round((place + 1) * step),
            confidence,
        )
        for place, word in enumerate(words)
    )


def language_of(text: str) -> str:
    """Return "zh" for a text with Chinese characters, else "en"."""
    return "zh" if any(is_unspaced(character) for character in text) else "en"


def tone(seconds: float, hertz: float = 440.0, level: float = 0.3) -> Samples:
    """Return a sine tone."""
    time = np.arange(round(seconds * SAMPLE_RATE), dtype=np.float64) / SAMPLE_RATE
    return (level * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def silence(seconds: float) -> Samples:
    """Return silence."""
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


_VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480))
_FORMANTS = ((1.0, 60.0), (0.5, 90.0), (0.25, 120.0))
_SYLLABLE_SECONDS = 0.2


def voice(seconds: float, hertz: float = 120.0, seed: int = 2) -> Samples:
    """Return babble that voice activity detection takes for speech; it says nothing.

    Harmonics of a wavering pitch, each as loud as the formants of changing vowels make it.

    Args:
        seconds: Its length.
        hertz: Pitch: 100 to 130 a man, 180 to 220 a woman.
        seed: Another one makes other vowels.
    """
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    pitch = hertz * (1 + 0.15 * np.sin(4.4 * time) + 0.05 * np.sin(14.5 * time))
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    syllables = (time / _SYLLABLE_SECONDS).astype(int)
    chance = np.random.default_rng(seed)
    vowels = np.array(_VOWELS)[chance.integers(0, len(_VOWELS), round(seconds * 5) + 2)]
    glide = np.exp(-np.abs(np.arange(-800, 801)) / 250.0)
    formants = [
        np.convolve(np.pad(track[syllables], 800, mode="edge"), glide / glide.sum(), "valid")
        for track in vowels.T.astype(float)
    ]
    sound = np.zeros(len(time))
    for harmonic in range(1, 30):
        tones = harmonic * pitch
        gain = sum(
            strength / (1 + ((tones - centre) / width) ** 2)
            for centre, (strength, width) in zip(formants, _FORMANTS, strict=True)
        )
        sound += gain * np.sin(harmonic * phase) * (tones < 7500)
    loudness = np.sqrt(np.abs(np.sin(np.pi * time / _SYLLABLE_SECONDS)))
    sound = sound * loudness + 0.06 * chance.standard_normal(len(time)) * (1 - loudness)
    return np.asarray(0.3 * sound / np.abs(sound).max(), np.float32)


def encode(
    path: Path,
    sound: npt.NDArray[np.float32],
    codec: str = "pcm_s16le",
    *,
    rate: int = SAMPLE_RATE,
    options: Mapping[str, str] | None = None,
) -> Path:
    """Write a recording; the ending of the name decides the container.

    Args:
        path: Where to.
        sound: Shape [samples], or [2, samples], at ``rate``.
        codec: FFmpeg's name of an encoder: "pcm_s16le", "aac", "libopus", "flac", "libmp3lame".
        rate: In Hz.
        options: Of the container.
    """
    channels = np.atleast_2d(sound)
    layout = "mono" if len(channels) == 1 else "stereo"
    with av.open(str(path), "w", options=dict(options or {})) as container:
        stream = container.add_stream(codec, rate=rate)
        assert isinstance(stream, av.AudioStream)
        stream.layout = layout
        resampler = av.AudioResampler(
            format=stream.codec_context.format, layout=layout, rate=rate, frame_size=960
        )
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(channels, np.float32), format="fltp", layout=layout
        )
        frame.sample_rate, frame.pts = rate, 0
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            container.mux(stream.encode(part))
    return path
