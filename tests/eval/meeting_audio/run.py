"""Recordings to words, speakers, decisions and actions: how much is right.

`make eval EVAL=meeting_audio ARGS="--only zh-03"`. Every engine is the one that the service takes
(`open_engines`), on the settings of the environment; the model set `small` must have been pulled.

- The synthetic meetings (`make voices`): word and character error rates, the same by speaker
  (cpWER), recall of hotwords with and without telling them, diarization error rate, and decisions
  and actions found from the sound alone. Meetings 01 and 02 of either language were looked at when
  windows, prompt and thresholds were chosen: their figures stand apart, as `tuned.`.
- Clips of ATRIUM_DATA_DIR/audio with known words: a telephone talk, a speech, two channels.
- AMI clips, which have known speakers and no words: diarization error rate.
- What must stay empty: silence, tones and noise.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
import wave
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from atrium_meeting.app.mark_disfluencies import mark_disfluencies
from atrium_meeting.app.ports import RecognitionHints
from atrium_meeting.app.transcribe_recording import Engines
from atrium_meeting.bootstrap import open_engines
from atrium_meeting.domain.alignment import SpokenWord, align
from atrium_meeting.domain.analysis.meeting import analyse
from atrium_meeting.domain.audio import SAMPLE_RATE, AudioPiece, Region, Samples, to_pcm16
from atrium_meeting.domain.transcript import Span, SpeakerTurn, Transcript, Word
from atrium_meeting.settings import MeetingSettings
from tests.eval.diarization.scoring import DiarizationScore
from tests.eval.diarization.scoring import score as score_speakers
from tests.eval.meeting_voices import Recording, load
from tests.eval.minutes.matching import Score, score
from tests.figures import Figures

from .metrics import Errors, error_rate, error_rate_by_speaker, hotword_recall

TUNED = ("en-01", "en-02", "zh-01", "zh-02")
"""What prompt, windows and thresholds were chosen on."""
_DATA = Path(os.environ.get("ATRIUM_DATA_DIR", "../shared/data")) / "audio"
_JFK = (
    "And so my fellow Americans ask not what your country can do for you, ask what you can do for "
    "your country."
)
_TWO_CHANNELS = (
    "He began a confused complaint against the wizard, who had vanished behind the curtain on the "
    "left. The horizon seems extremely distant."
)
_LEAST_SHARE = 0.3
"""So much of the shorter of two stretches must be common, for them to be the same."""


@dataclass
class Totals:
    """What was counted over some meetings."""

    words: dict[str, Errors] = field(default_factory=lambda: defaultdict(Errors))
    fluent: dict[str, Errors] = field(default_factory=lambda: defaultdict(Errors))
    by_speaker: dict[str, Errors] = field(default_factory=lambda: defaultdict(Errors))
    recalled: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    mentioned: int = 0
    speakers: DiarizationScore = field(default_factory=DiarizationScore)
    found: dict[str, Score] = field(default_factory=lambda: defaultdict(Score))
    meetings: int = 0
    seconds: float = 0.0
    processor_seconds: float = 0.0

    def add(self, other: Totals) -> None:
        """Add what was counted elsewhere."""
        for mine, theirs in (
            (self.words, other.words),
            (self.fluent, other.fluent),
            (self.by_speaker, other.by_speaker),
            (self.found, other.found),
            (self.recalled, other.recalled),
        ):
            for key, value in theirs.items():
                mine[key] += value
        self.speakers += other.speakers
        self.mentioned += other.mentioned
        self.meetings += other.meetings
        self.seconds += other.seconds
        self.processor_seconds += other.processor_seconds


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", help="ids of meetings; nothing else is measured")
    parser.add_argument("--voices", type=Path, help="folder of the synthetic meetings")
    parser.add_argument("--jobs", type=int, default=1, help="meetings at the same time")
    parser.add_argument(
        "--quick", action="store_true", help="do not recognise without hotwords too"
    )
    parser.add_argument("--show", action="store_true", help="print what was recognised")
    args = parser.parse_args()
    figures = Figures("eval", "meeting_audio")
    reported, tuned = Totals(), Totals()
    recordings = [
        one for one in load(args.voices) if not args.only or one.meeting["id"] in args.only
    ]
    if not recordings:
        print("No synthetic meetings here: make voices makes them.")
    ordered = sorted(recordings, key=lambda one: one.meeting["id"] in TUNED)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.jobs, mp_context=spawn, initializer=_open) as workers:
        results = workers.map(partial(_measure, quick=args.quick), ordered)
        for one, (counted, text) in zip(ordered, results, strict=True):
            totals = tuned if one.meeting["id"] in TUNED else reported
            totals.add(counted)
            print(f"{one.meeting['id']}: {_rates(counted)}", flush=True)
            if args.show:
                print(text, flush=True)
    if reported.meetings:
        _report(figures, "", reported)
    if tuned.meetings:
        _report(figures, "tuned.", tuned)
    if args.only:
        return
    engines = _open()
    if _DATA.is_dir():
        _measure_clips(engines, figures)
        _measure_ami(engines, figures)
    else:
        print("No clips: set ATRIUM_DATA_DIR.")
    _measure_nothing(engines, figures)


_engines: list[Engines] = []


def _open() -> Engines:
    """Open the engines of this process, as the service does."""
    if not _engines:
        engines = open_engines(MeetingSettings())
        engines.transcriber.check()
        _engines.append(engines)
    return _engines[0]


def _measure(recording: Recording, *, quick: bool) -> tuple[Totals, str]:
    """Return what was counted over a meeting, and what was recognised."""
    engines, totals = _open(), Totals()
    path, meeting = recording.audio, recording.meeting
    language: str = meeting["language"]
    said = [utterance["text"] for utterance in meeting["utterances"]]
    pieces = list(engines.decoder.decode(path))
    started = time.process_time()
    told = RecognitionHints(hotwords=tuple(meeting["hotwords"]))
    spoken = _recognise(engines, pieces, told)
    totals.processor_seconds += time.process_time() - started
    totals.seconds += sum(len(piece.samples) for piece in pieces) / SAMPLE_RATE
    turns = _turns(engines, pieces)
    transcript = align(spoken, turns)
    if engines.cleaner is not None:
        utterances = mark_disfluencies(engines.cleaner, transcript.utterances)
        transcript = Transcript(1, transcript.speakers, tuple(utterances))
    text = " ".join(utterance.text for utterance in transcript.utterances)
    whole = " ".join(said)
    totals.words[language] += error_rate(whole, text)
    totals.fluent[language] += error_rate(whole, text, fillers=False)
    totals.by_speaker[language] += error_rate_by_speaker(
        _texts((one["speaker"], one["text"]) for one in meeting["utterances"]),
        _texts((one.speaker, one.text) for one in transcript.utterances),
    )
    totals.recalled["told"], totals.mentioned = hotword_recall(meeting["hotwords"], whole, text)
    if not quick:
        untold = " ".join(one.word.text for one in _recognise(engines, pieces, RecognitionHints()))
        totals.recalled["untold"] = hotword_recall(meeting["hotwords"], whole, untold)[0]
    reference = [
        SpeakerTurn(one["speaker"], one["start_ms"], one["end_ms"]) for one in meeting["utterances"]
    ]
    totals.speakers += score_speakers(reference, turns)
    _measure_findings(transcript, meeting, totals)
    totals.meetings = 1
    lines = [
        f"  {one.start_ms / 1000:6.1f} {one.speaker} {one.text}" for one in transcript.utterances
    ]
    return totals, "\n".join(lines)


def _measure_findings(transcript: Transcript, meeting: dict[str, Any], totals: Totals) -> None:
    analysis = analyse(
        transcript, day=date.fromisoformat(meeting["date"]), agenda=meeting["agenda"]
    )
    for kind, items in (("decisions", analysis.decisions), ("actions", analysis.actions)):
        cited = [
            _utterances_at(
                transcript,
                [span for index in item.sentences for span in analysis.sentences[index].spans],
                meeting,
            )
            for item in items
        ]
        totals.found[kind] += score(cited, [one["utterances"] for one in meeting[kind]])


def _utterances_at(
    transcript: Transcript, spans: Iterable[Span], meeting: dict[str, Any]
) -> list[str]:
    """Return the utterances of the script that were spoken at the times of the spans."""
    words = {one.id: one.words for one in transcript.utterances}
    times = [
        Region(words[span.utterance][span.start_word].start_ms,
               words[span.utterance][span.end_word - 1].end_ms)
        for span in spans
    ]  # fmt: skip
    return [
        one["id"]
        for one in meeting["utterances"]
        if any(_is_same(time_, Region(one["start_ms"], one["end_ms"])) for time_ in times)
    ]


def _is_same(one: Region, other: Region) -> bool:
    common = min(one.end_ms, other.end_ms) - max(one.start_ms, other.start_ms)
    return common > _LEAST_SHARE * max(1, min(one.length_ms, other.length_ms))


def _recognise(
    engines: Engines, pieces: Sequence[AudioPiece], hints: RecognitionHints
) -> list[SpokenWord]:
    spoken = []
    for piece in pieces:
        speech = engines.activity.find_speech(piece.samples)
        for segment in engines.transcriber.transcribe(piece.samples, speech, hints):
            for word in segment.words:
                start, end = word.start_ms + piece.offset_ms, word.end_ms + piece.offset_ms
                moved = Word(word.text, start, end, word.confidence)
                spoken.append(SpokenWord(moved, segment.language))
    return spoken


def _turns(engines: Engines, pieces: Sequence[AudioPiece]) -> list[SpeakerTurn]:
    if engines.diarizer is None:
        return []
    examined = [
        engines.diarizer.examine(
            piece.samples, engines.activity.find_speech(piece.samples), piece.offset_ms
        )
        for piece in pieces
    ]
    return engines.diarizer.assign(examined)


def _texts(spoken: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = defaultdict(list)
    for speaker, text in spoken:
        texts[speaker].append(text)
    return texts


def _rates(totals: Totals) -> str:
    errors = {name: round(one.rate, 3) for name, one in totals.words.items()}
    speakers = {name: round(one.rate, 3) for name, one in totals.by_speaker.items()}
    found = {name: (one.right, one.found, one.planted) for name, one in totals.found.items()}
    return (
        f"errors {errors}, by speaker {speakers}, DER {totals.speakers.rate:.3f}, hotwords "
        f"{dict(totals.recalled)} of {totals.mentioned}, right/found/planted {found}"
    )


def _report(figures: Figures, prefix: str, totals: Totals) -> None:
    aims = {"en": ("wer", 0.12), "zh": ("cer", 0.15)}
    for language in sorted(totals.words):
        name, aim = aims[language]
        for kind, errors, target in (
            (name, totals.words[language], aim),
            (f"{name}_without_fillers", totals.fluent[language], None),
            (f"cp{name}", totals.by_speaker[language], None),
        ):
            figures.add(
                f"{prefix}{language}.{kind}", errors.rate, "share", n=errors.units,
                target=target, at_most=True,
            )  # fmt: skip
    if totals.mentioned:
        untold = totals.recalled.get("untold")
        figures.add(
            f"{prefix}hotwords.recall",
            totals.recalled["told"] / totals.mentioned,
            "share",
            n=totals.mentioned,
            baseline=None if untold is None else untold / totals.mentioned,
        )
    figures.add(f"{prefix}der", totals.speakers.rate, "share", n=totals.meetings, at_most=True)
    both = Score()
    for kind, found in sorted(totals.found.items()):
        figures.add(f"{prefix}{kind}.f1", found.f1, "share", n=found.planted)
        both += found
    figures.add(f"{prefix}decisions_and_actions.f1", both.f1, "share", n=both.planted, target=0.85)
    figures.add(
        f"{prefix}recognition.processor_seconds_per_second",
        totals.processor_seconds / totals.seconds,
        "s/s",
        n=totals.meetings,
    )


def _measure_clips(engines: Engines, figures: Figures) -> None:
    talk = [line.split(" ", 5)[5] for line in _lines(_DATA / "ami_clips" / "sample.stm")]
    clips = {
        "telephone": (_DATA / "ami_clips" / "sample.wav", " ".join(talk)),
        "speech": (_DATA / "asr_clips" / "jfk.flac", _JFK),
        "two_channels": (_DATA / "asr_clips" / "stereo_diarization.wav", _TWO_CHANNELS),
    }
    for name, (path, said) in clips.items():
        pieces = list(engines.decoder.decode(path))
        spoken = _recognise(engines, pieces, RecognitionHints())
        errors = error_rate(said, " ".join(one.word.text for one in spoken))
        figures.add(f"clips.{name}.wer", errors.rate, "share", n=errors.units, at_most=True)


def _measure_ami(engines: Engines, figures: Figures) -> None:
    if engines.diarizer is None:
        return
    turns: dict[str, list[SpeakerTurn]] = defaultdict(list)
    for name in ("debug.train.rttm", "debug.development.rttm"):
        for line in _lines(_DATA / "ami_clips" / name):
            _, clip, _, start, length, _, _, speaker, *_ = line.split()
            begin, end = round(1000 * float(start)), round(1000 * (float(start) + float(length)))
            turns[clip].append(SpeakerTurn(speaker, begin, end))
    total, count = DiarizationScore(), 0
    for clip, reference in sorted(turns.items()):
        path = _DATA / "ami_clips" / f"{clip}.wav"
        if path.exists():
            pieces = list(engines.decoder.decode(path))
            end_ms = sum(len(piece.samples) for piece in pieces) * 1000 // SAMPLE_RATE
            total += score_speakers(reference, _turns(engines, pieces), end_ms=end_ms)
            count += 1
    figures.add("ami.der", total.rate, "share", n=count, at_most=True)


def _measure_nothing(engines: Engines, figures: Figures) -> None:
    """Decode, look for speech and recognise what holds none."""
    segments, minutes = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for name, sound in not_speech(60):
            path = Path(folder) / f"{name}.wav"
            _write(path, sound)
            for piece in engines.decoder.decode(path):
                speech = engines.activity.find_speech(piece.samples)
                hints = RecognitionHints()
                segments += len(engines.transcriber.transcribe(piece.samples, speech, hints))
            minutes += 1
    figures.add("no_speech.segments", segments, "segments", n=minutes, target=0, at_most=True)


def not_speech(seconds: int) -> Iterator[tuple[str, Samples]]:
    """Yield sounds in which nobody speaks, each of so many seconds, 60 of them."""
    count = seconds * SAMPLE_RATE
    clock = np.arange(count) / SAMPLE_RATE
    for number in range(12):
        chance = np.random.default_rng(number)
        spectrum = np.fft.rfft(chance.standard_normal(count))
        colour = np.arange(1, len(spectrum) + 1) ** -(0.5 * chance.integers(1, 3))
        noise = np.fft.irfft(spectrum * colour, count)
        level = 10 ** chance.uniform(-2.5, -0.5)
        hertz = chance.uniform(60, 3_000)
        sounds = {
            "silence": np.zeros(count),
            "tone": np.sin(2 * np.pi * hertz * clock),
            "ringing": np.sin(2 * np.pi * 425 * clock) * (clock % 5 < 1),
            "white": chance.standard_normal(count) / 4,
            "coloured": noise / np.abs(noise).max(),
        }
        for name, sound in sounds.items():
            yield f"{name}-{number}", (level * np.asarray(sound)).astype(np.float32)


def _write(path: Path, sound: Samples) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes(to_pcm16(sound))


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    main()
