"""What a recording costs beside the recognition of its words, and what silence is taken for.

Decoding, voice activity, diarization, cleanup and minutes are the real ones, through the running
service; recognition is scripted, so that its own cost does not hide the rest. Shares are seconds of
one core for each second of the recording, upload and client included; `wall_` are seconds of the
clock, which other work on the machine lengthens. `--engine small` measures real recognition too.
Sound is babble that voice activity takes for speech, or real speech: `--audio FILE` (repeated to
the length that is asked for).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import resource
import tempfile
import threading
import time
from collections import Counter
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


class Metered:
    """An engine whose calls are metered: seconds of this process's cores.

    One recording is worked on at a time, so what the process spends meanwhile is the call's.
    """

    def __init__(self, engine: Any, name: str, spent: Counter[str]) -> None:
        self._engine, self._name, self._spent = engine, name, spent

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(self._engine, attribute)
        if not callable(value):
            return value

        def call(*arguments: Any, **more: Any) -> Any:
            began = time.process_time()
            try:
                return value(*arguments, **more)
            finally:
                self._spent[self._name] += time.process_time() - began

        return call


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
async def service(folder: Path, spent: Counter[str], *, real: bool) -> AsyncIterator[House]:
    """Run the service with its real engines; recognition is scripted unless ``real``."""
    folder.mkdir()  # noqa: ASYNC240 - a moment, and nothing else runs
    engines = open_engines(settings_in(folder))
    transcriber = engines.transcriber if real else FluentTranscriber()
    fakes = Fakes(
        decoder=engines.decoder,
        activity=Metered(engines.activity, "activity", spent),
        transcriber=Metered(transcriber, "recognition", spent),
        diarizer=Metered(engines.diarizer, "diarization", spent),
        cleaner=Metered(engines.cleaner, "cleanup", spent) if engines.cleaner else None,
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
    spent: Counter[str] = Counter()
    short, long = talk(folder, min(6.0, minutes), audio), talk(folder, minutes, audio)
    async with service(folder / "scripted", spent, real=False) as house:
        # The first ones load networks and make room for pieces.
        for _ in range(2):
            with watched_memory() as before:
                await transcribe(house, short, minutes=True)
        with watched_memory() as during:
            await metered(figures, "", house, long, spent)
        growth = during.most_mb - before.most_mb
        figures.add("memory_growth", growth, "MB", n=1, target=RSS_GROWTH_MB, at_most=True)
    async with service(folder / "quiet", spent, real=real) as house:
        meeting, _ = await transcribe(house, quiet(folder, 60.0), minutes=False)
        segments = (await house.transcript(meeting.name)).utterances
        figures.add("quiet.segments", len(segments), "segments", n=60, target=0, at_most=True)
    if real:
        async with service(folder / "real", spent, real=True) as house:
            await metered(figures, "real.", house, long, spent)


async def metered(
    figures: Figures, prefix: str, house: House, path: Path, spent: Counter[str]
) -> None:
    """Transcribe a recording and add what each stage took of its length."""
    spent.clear()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.process_time()
    _, progress = await transcribe(house, path, minutes=True)
    whole = time.process_time() - began
    spent["rest"] = whole - spent.total()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent["decoding"] = after.ru_utime + after.ru_stime - children.ru_utime - children.ru_stime
    length = progress.duration_ms / 1000
    shares = {name: seconds / length for name, seconds in sorted(spent.items())}
    beside = sum(share for name, share in shares.items() if name != "recognition")
    for name, share in shares.items():
        figures.add(f"{prefix}share_{name}", share, "share", n=round(length))
    for one in progress.stage_times:
        wall = one.seconds / length
        figures.add(f"{prefix}wall_{_STAGES[one.stage]}", wall, "share", n=round(length))
    for name, share, target in (
        ("recognition", beside, SHARE_BESIDE_ASR),
        (
            "recognition_and_diarization",
            beside - shares["diarization"],
            SHARE_BESIDE_ASR_AND_DIARIZATION,
        ),
    ):
        figures.add(
            f"{prefix}share_beside_{name}", share, "share", n=round(length), target=target,
            at_most=True,
        )  # fmt: skip


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
