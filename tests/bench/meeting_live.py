"""What live transcription adds to the recognition of words, and whether hours of it change that.

Recognition is scripted: it hears a word every 200 ms, and takes a fixed time. Everything else is
the running service: frames over gRPC, voice activity (Silero's network runs for its cost; what is
loud decides, so that the end of speech is known exactly), local agreement, durable storage.

`added`: from sending the frame with which the silence after an utterance is long enough, to
receiving its final result, at real-time pace. Recognition in that time counts too; it mostly
happens during the silence. Other work on the machine lengthens it; the baseline, a `GetMeeting`
from time to time in the same run, tells by how much. `hours`: from the last frame of an utterance,
in one meeting that is played as fast as it is taken; the last quarter against the first.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from atrium.meeting.v1 import meeting_service_pb2
from atrium_meeting.adapters.silero_activity import SileroActivity, SileroStream
from atrium_meeting.app.ports import RecognitionHints, RecognizedSegment
from atrium_meeting.domain.activity import SpeechEvent
from atrium_meeting.domain.audio import Region, Samples, to_pcm16
from atrium_meeting.domain.transcript import Word
from atrium_meeting.testing import FakeSpeechStream, silence
from atrium_meeting.testing_live import LiveClient, Response, live, say
from atrium_meeting.testing_service import Fakes, House, open_house
from atrium_shared.telemetry import configure_logging
from atrium_shared.testing import memory_folder
from tests.figures import Figures

TARGET_ADDED_MS = 50.0
TARGET_RSS_GROWTH_MB = 50.0
_FRAME_MS = 200
_SILENCE_MS = 600
_PAUSE_MS = 1_200
_HOUR_MS = 3_600_000
_UTTERANCE_MS = 14_000


class EvenTranscriber:
    """Hears a word every 200 ms, after a fixed time; it costs next to nothing.

    Args:
        seconds: How long each call takes.
    """

    model = "scripted"

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def check(self) -> None:
        """Do nothing: it is there."""

    def transcribe(
        self, samples: Samples, speech: Sequence[Region], hints: RecognitionHints
    ) -> list[RecognizedSegment]:
        """Return words from the first loud sample to the last."""
        if self._seconds:
            time.sleep(self._seconds)
        loud = np.flatnonzero(np.abs(samples) > 0.05)
        first, last = int(loud[0]) // 16, int(loud[-1]) // 16
        words = [
            Word(f"w{number}", at, min(last, at + 160), 0.9)
            for number, at in enumerate(range(first, last, 200))
        ]
        return [RecognizedSegment("en", tuple(words))]


class HeardBySilero(FakeSpeechStream):
    """Lets Silero's network hear everything too, for what that costs."""

    def __init__(self, network: SileroStream) -> None:
        super().__init__()
        self._network = network

    def accept(self, samples: Samples) -> list[SpeechEvent]:
        """Take more sound."""
        self._network.accept(samples)
        return super().accept(samples)


@contextlib.asynccontextmanager
async def _service(recognition_seconds: float) -> Any:
    activity = SileroActivity()
    fakes = Fakes(
        transcriber=EvenTranscriber(recognition_seconds),
        open_speech=lambda: HeardBySilero(activity.stream()),
    )
    with memory_folder() as folder:
        async with open_house(folder, fakes=fakes, live_threads=4) as house:
            yield house


async def _lags_of_stream(house: House, seconds: float, number: int) -> list[float]:
    """Play one stream at real-time pace; return how late each final came, in ms."""
    meeting = (await house.meeting()).name
    await asyncio.sleep(number * 0.37)
    frame = _FRAME_MS * 16
    async with live(house.as_(), meeting) as client:
        await client.next("started")
        due: dict[int, float] = {}  # when the frame was sent that ends the utterance, by its end

        async def play() -> None:
            begun, at_ms, turn = time.monotonic(), 0, number
            while at_ms < seconds * 1000:
                words = 12 + 7 * (turn % 4)
                sound = np.concatenate([say(range(words)), silence(_PAUSE_MS / 1000)])
                said_ms = at_ms + 200 * words
                for at in range(0, len(sound), frame):
                    at_ms += _FRAME_MS
                    await asyncio.sleep(max(0.0, begun + at_ms / 1000 - time.monotonic()))
                    await client.send(to_pcm16(sound[at : at + frame]))
                    if at_ms - _FRAME_MS < said_ms + _SILENCE_MS <= at_ms:
                        due[said_ms] = time.monotonic()
                turn += 1
            await client.end()

        playing = asyncio.create_task(play())
        lags = []
        for event, received in await _finals(client):
            end_ms = min(due, key=lambda said: abs(said - event.final.utterance.end_ms))
            lags.append(1000 * (received - due[end_ms]))
        await playing
    return lags


async def _finals(client: LiveClient) -> list[tuple[Response, float]]:
    events = await client.rest()
    return [
        (event, received)
        for event, received in zip(events, client.times, strict=True)
        if event.HasField("final")
    ]


async def measure_added(
    figures: Figures, streams: int, seconds: float, recognition_seconds: float
) -> None:
    """Measure how late finals come with one stream and with many."""
    async with _service(recognition_seconds) as house:
        await _lags_of_stream(house, 5, 0)
        alone = await _lags_of_stream(house, seconds, 0)
        cpu, begun = time.process_time(), time.monotonic()
        calls: list[float] = []
        calling = asyncio.create_task(_call_now_and_then(house, calls))
        many = await asyncio.gather(
            *(_lags_of_stream(house, seconds, number) for number in range(streams))
        )
        calling.cancel()
        cpu, wall = time.process_time() - cpu, time.monotonic() - begun
    lags = [lag for one in many for lag in one]
    for name, share, target in (("p50", 50, None), ("p95", 95, TARGET_ADDED_MS)):
        figures.add(
            f"added.{name}",
            float(np.percentile(lags, share)),
            "ms",
            n=len(lags),
            target=target,
            at_most=True,
            baseline=float(np.percentile(calls, share)),
        )
        figures.add(f"alone.{name}", float(np.percentile(alone, share)), "ms", n=len(alone))
    figures.add("added.streams", streams, "streams", n=streams)
    # Of one core, for each second of each stream; the client's part is in it.
    figures.add("added.cpu", cpu / (streams * seconds), "share", n=streams)
    figures.add("added.wall", wall / seconds, "share", n=streams)


async def _call_now_and_then(house: House, times: list[float]) -> None:
    """Add how long calls take that have nothing to do with live streams, in ms."""
    meeting, stub = (await house.meeting()).name, house.as_()
    while True:
        begun = time.monotonic()
        await stub.GetMeeting(meeting_service_pb2.GetMeetingRequest(name=meeting))
        times.append(1000 * (time.monotonic() - begun))
        await asyncio.sleep(0.25)


async def measure_hours(figures: Figures, hours: float) -> None:
    """Play one long meeting as fast as it is taken; look at lag and memory."""
    lags: list[tuple[int, float]] = []
    memory: list[tuple[int, float]] = []
    sound = np.concatenate([say(range(_UTTERANCE_MS // 200)), silence(_PAUSE_MS / 1000)])
    frames = [to_pcm16(sound[at : at + 32_000]) for at in range(0, len(sound), 32_000)]
    async with _service(0.0) as house:
        meeting = (await house.meeting()).name
        async with live(house.as_(), meeting) as client:
            at_ms = 0
            while at_ms < hours * _HOUR_MS:
                for frame in frames:
                    await client.send(frame)
                sent = time.monotonic()
                await client.next("final")
                lags.append((at_ms, 1000 * (time.monotonic() - sent)))
                memory.append((at_ms, _rss_mb()))
                client.events.clear()
                client.times.clear()
                at_ms += len(sound) // 16
            await client.end()
            finished = await client.next("finished")
        words = finished.finished.meeting.duration.ToMilliseconds()
    assert abs(words - at_ms) <= _PAUSE_MS + 200, "words were lost"
    quarter = hours * _HOUR_MS / 4
    first = [lag for at, lag in lags if at < quarter]
    last = [lag for at, lag in lags if at >= 3 * quarter]
    for name, share in (("p50", 50), ("p95", 95)):
        figures.add(
            f"hours.last_quarter_lag_{name}",
            float(np.percentile(last, share)),
            "ms",
            n=len(last),
            baseline=float(np.percentile(first, share)),
        )
    warm = next(rss for at, rss in memory if at >= quarter / 6)
    figures.add(
        "hours.rss_growth",
        memory[-1][1] - warm,
        "MB",
        n=len(memory),
        target=TARGET_RSS_GROWTH_MB,
        at_most=True,
    )
    figures.add("hours.simulated", at_ms / _HOUR_MS, "h", n=len(lags))


def _rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each stream")
    parser.add_argument("--recognition", type=float, default=0.1, help="seconds of each call")
    parser.add_argument("--hours", type=float, default=4.0, help="simulated; 0: not at all")
    options = parser.parse_args(arguments)
    configure_logging(json=False, level="WARNING")
    figures = Figures("bench", "meeting_live")
    if options.streams:
        asyncio.run(measure_added(figures, options.streams, options.seconds, options.recognition))
    if options.hours:
        asyncio.run(measure_hours(figures, options.hours))


if __name__ == "__main__":
    main()
