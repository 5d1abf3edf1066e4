"""What a recording costs beside the recognition of its words, and what silence is taken for.

Decoding, voice activity, diarization, cleanup and minutes are the real ones, through the running
service; recognition is scripted, about as fast as people speak, so that its own cost does not hide
the rest. `--engine small` measures real recognition beside it. Sound is babble that voice activity
takes for speech, or real speech: `--audio FILE` (repeated to the length that is asked for).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atrium.meeting.v1 import meeting_pb2, meeting_service_pb2
from atrium_meeting.adapters.pyav_audio import PyavDecoder
from atrium_meeting.app.ports import RecognitionHints, RecognizedSegment
from atrium_meeting.bootstrap import open_engines
from atrium_meeting.domain.audio import SAMPLE_RATE, Region, Samples
from atrium_meeting.testing import encode, silence, timed_words, voice
from atrium_meeting.testing_service import Fakes, House, open_house, settings_in
from atrium_shared.telemetry import configure_logging
from tests.figures import Figures

SHARE_BESIDE_ASR = 0.12
SHARE_BESIDE_ASR_AND_DIARIZATION = 0.03
RSS_GROWTH_MB = 50.0
_WORDS_PER_SECOND = 2.7
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_SAID = itertools.cycle(
    "so um we should move the the budget review to Friday because Anna sends the numbers on "
    "Thursday and then I I mean we decide about the second supplier .".split()
)
_STAGES = {
    meeting_service_pb2.UploadRecordingMetadata.DECODING: "decoding_and_activity",
    meeting_service_pb2.UploadRecordingMetadata.RECOGNIZING: "recognition",
    meeting_service_pb2.UploadRecordingMetadata.DIARIZING: "diarization",
    meeting_service_pb2.UploadRecordingMetadata.CLEANING: "cleanup",
    meeting_service_pb2.UploadRecordingMetadata.WRITING: "minutes",
}


class FluentTranscriber:
    """Says as many words as fit into the time of each region."""

    model = "scripted"

    def check(self) -> None:
        """It is always there."""

    def transcribe(
        self, samples: Samples, speech: Sequence[Region], hints: RecognitionHints
    ) -> list[RecognizedSegment]:
        """Return one segment for each region."""
        segments = []
        for region in speech:
            count = max(1, round(_WORDS_PER_SECOND * region.length_ms / 1000))
            text = " ".join(itertools.islice(_SAID, count)).replace(" .", ".")
            segments.append(RecognizedSegment("en", timed_words(text, region)))
        return segments


@dataclass
class Memory:
    """Most memory of this process while it is watched, in MB."""

    most_mb: float = 0.0


@contextlib.contextmanager
def watched_memory() -> Iterator[Memory]:
    """Look at the memory of this process ten times a second."""
    memory, over = Memory(), threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            memory.most_mb = max(memory.most_mb, resident_mb())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield memory
    finally:
        over.set()
        thread.join()


def resident_mb() -> float:
    """Return the memory of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * _PAGE_BYTES / 1e6


@contextlib.asynccontextmanager
async def service(folder: Path, *, real: bool) -> AsyncIterator[House]:
    """Run the service with its real engines; recognition is scripted unless ``real``."""
    folder.mkdir()  # noqa: ASYNC240 - a moment, and nothing else runs
    engines = open_engines(settings_in(folder))
    fakes = Fakes(
        decoder=engines.decoder,
        activity=engines.activity,
        transcriber=engines.transcriber if real else FluentTranscriber(),
        diarizer=engines.diarizer,
        cleaner=engines.cleaner,
    )
    async with open_house(folder, fakes=fakes) as house:
        yield house


async def transcribe(house: House, path: Path, *, minutes: bool) -> tuple[meeting_pb2.Meeting, Any]:
    """Return the meeting of a recording and what its operation says."""
    meeting = await house.meeting(languages=["en"])
    data = await asyncio.to_thread(path.read_bytes)
    operation = await house.upload(meeting.name, data, write_minutes=minutes, chunk_bytes=1 << 20)
    operation = await house.done(operation, seconds=7200.0)
    if operation.HasField("error"):
        raise SystemExit(f"{path.name} was not transcribed: {operation.error.message}")
    operation.response.Unpack(meeting)
    progress = meeting_service_pb2.UploadRecordingMetadata()
    operation.metadata.Unpack(progress)
    return meeting, progress


def talk(folder: Path, minutes: float, audio: Path | None) -> Path:
    """Return a recording of so many minutes: four voices by turns, or what ``audio`` holds."""
    length = round(minutes * 60 * SAMPLE_RATE)
    if audio is not None:
        sound = np.concatenate([piece.samples for piece in PyavDecoder().decode(audio)])
    else:
        parts: list[Samples] = []
        for turn, hertz in enumerate((110.0, 205.0, 125.0, 185.0) * 4):
            parts += [voice(4.0 + turn % 3, hertz, seed=turn), silence(0.4 + 0.2 * (turn % 4))]
        sound = np.concatenate(parts)
    return encode(folder / f"talk-{minutes:g}.ogg", np.resize(sound, length), "libopus")


def quiet(folder: Path, minutes: float) -> Path:
    """Return a recording in which nobody speaks: silence, tones, noise, a third each."""
    count = round(minutes * 20 * SAMPLE_RATE)
    at = np.arange(count) / SAMPLE_RATE
    chance = np.random.default_rng(1)
    steps = 110 * 2 ** (np.floor(at / 2) % 37 / 12)
    tones = 0.3 * np.sin(2 * np.pi * np.cumsum(steps) / SAMPLE_RATE)
    noise = 0.1 * chance.standard_normal(count)
    sound = np.concatenate([np.zeros(count), tones, noise]).astype(np.float32)
    return encode(folder / "quiet.flac", sound, "flac")


async def measure(
    figures: Figures, folder: Path, minutes: float, audio: Path | None, *, real: bool
) -> None:
    """Measure the stages, memory, and what silence is taken for."""
    async with service(folder / "scripted", real=False) as house:
        with watched_memory() as before:
            await transcribe(house, talk(folder, min(6.0, minutes), audio), minutes=True)
        with watched_memory() as during:
            _, progress = await transcribe(house, talk(folder, minutes, audio), minutes=True)
        add_shares(figures, "", progress)
        growth = during.most_mb - before.most_mb
        figures.add("memory_growth", growth, "MB", n=1, target=RSS_GROWTH_MB, at_most=True)
    async with service(folder / "quiet", real=real) as house:
        begun = time.monotonic()
        meeting, progress = await transcribe(house, quiet(folder, 60.0), minutes=False)
        segments = (await house.transcript(meeting.name)).utterances
        figures.add("quiet.segments", len(segments), "segments", n=60, target=0, at_most=True)
        figures.add("quiet.seconds", time.monotonic() - begun, "s", n=60)
    if real:
        async with service(folder / "real", real=True) as house:
            _, progress = await transcribe(house, talk(folder, minutes, audio), minutes=True)
            add_shares(figures, "real.", progress)


def add_shares(figures: Figures, prefix: str, progress: Any) -> None:
    """Add what each stage took of the recording's length."""
    length = progress.duration_ms / 1000
    shares = {_STAGES[one.stage]: one.seconds / length for one in progress.stage_times}
    for stage, share in shares.items():
        figures.add(f"{prefix}share_{stage}", share, "share", n=round(length))
    beside = sum(share for stage, share in shares.items() if stage != "recognition")
    figures.add(
        f"{prefix}share_beside_recognition",
        beside,
        "share",
        n=round(length),
        target=SHARE_BESIDE_ASR,
        at_most=True,
    )
    figures.add(
        f"{prefix}share_beside_recognition_and_diarization",
        beside - shares.get("diarization", 0.0),
        "share",
        n=round(length),
        target=SHARE_BESIDE_ASR_AND_DIARIZATION,
        at_most=True,
    )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="make bench BENCH=meeting", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="length of the recording")
    parser.add_argument("--audio", type=Path, help="a recording of real speech")
    parser.add_argument("--engine", choices=("scripted", "small"), default="scripted")
    chosen = parser.parse_args()
    figures = Figures("bench", "meeting")
    with tempfile.TemporaryDirectory() as folder:
        log = (Path(folder) / "service.log").open("w", encoding="utf-8")
        with log, contextlib.redirect_stderr(log):
            configure_logging(json=False)
            asyncio.run(
                measure(
                    figures,
                    Path(folder),
                    chosen.minutes,
                    chosen.audio,
                    real=chosen.engine == "small",
                )
            )


if __name__ == "__main__":
    main()
