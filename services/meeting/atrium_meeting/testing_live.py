"""Live streams for tests: words that are tones, who understands them, and a client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import av
import grpc
import numpy as np
from av.audio.codeccontext import AudioCodecContext

from atrium.meeting.v1 import meeting_service_pb2
from atrium_meeting.app.ports import RecognitionHints, RecognizedSegment
from atrium_meeting.domain.audio import SAMPLE_RATE, Region, Samples, cut, to_pcm16
from atrium_meeting.domain.transcript import Word

Request = meeting_service_pb2.TranscribeLiveRequest
Response = meeting_service_pb2.TranscribeLiveResponse

WORD_MS: Final = 200
_TONE_MS: Final = 80
_LOWEST_HERTZ: Final = 400
_STEP_HERTZ: Final = 100
_TONES: Final = 30
_FRAME: Final = SAMPLE_RATE // 100


def say(words: Iterable[int], level: float = 0.3, rate: int = SAMPLE_RATE) -> Samples:
    """Return words, numbers under 900, as sound of 200 ms each: two tones and a short silence.

    A part of a word is another word, or none; so it shows when a word is cut.
    """
    times = np.arange(_TONE_MS * rate // 1000) / rate
    quiet = np.zeros((WORD_MS - 2 * _TONE_MS) * rate // 1000)
    parts = [np.zeros(0)]
    for word in words:
        for digit in divmod(word, _TONES):
            hertz = _LOWEST_HERTZ + _STEP_HERTZ * digit
            parts.append(level * np.sin(2 * np.pi * hertz * times))
        parts.append(quiet)
    return np.concatenate(parts).astype(np.float32)


class ToneTranscriber:
    """Understands what `say` says.

    Args:
        seconds: How long each call takes.
        share: How much longer, as a share of the sound.

    Attributes:
        calls: How many samples each call was given.
        busy: Calls under way.
        most_busy: Most calls that were ever under way at once.
        failure: Raised instead of an answer, while it is set.
    """

    model = "scripted-tones"

    def __init__(self, seconds: float = 0.0, share: float = 0.0) -> None:
        self.calls: list[int] = []
        self.busy = self.most_busy = 0
        self.failure: Exception | None = None
        self._seconds = seconds
        self._share = share

    def check(self) -> None:
        """Do nothing: it is there."""

    def transcribe(
        self, samples: Samples, speech: Sequence[Region], hints: RecognitionHints
    ) -> list[RecognizedSegment]:
        """Return the words of each region; "..." is one that cannot be understood."""
        self.calls.append(len(samples))
        self.busy += 1
        self.most_busy = max(self.busy, self.most_busy)
        if self._seconds or self._share:
            time.sleep(self._seconds + self._share * len(samples) / SAMPLE_RATE)
        self.busy -= 1
        if self.failure is not None:
            raise self.failure
        found = [(one.start_ms, word) for one in speech for word in _understood(cut(samples, one))]
        words = tuple(word.moved(by_ms) for by_ms, word in found)
        return [RecognizedSegment("en", words)] if words else []


def _understood(sound: Samples) -> list[Word]:
    frames = len(sound) // _FRAME
    loud = np.abs(sound[: frames * _FRAME]).reshape(frames, _FRAME).max(axis=1) > 0.05
    edges = np.flatnonzero(np.diff(np.concatenate([[0], loud.astype(np.int8), [0]])))
    words = []
    for first, last in edges.reshape(-1, 2).tolist():
        run = sound[first * _FRAME : last * _FRAME]
        whole = 2 * _TONE_MS - 25 <= 10 * (last - first) <= 2 * _TONE_MS + 25
        half = len(run) // 2
        text = f"w{_digit(run[:half]) * _TONES + _digit(run[half:])}" if whole else "..."
        words.append(Word(text, 10 * first, 10 * last, 0.9))
    return words


def _digit(run: Samples) -> int:
    trimmed = run[len(run) // 6 : len(run) - len(run) // 6]
    power = np.abs(np.fft.rfft(trimmed * np.hanning(len(trimmed)), 4096))
    return round((power.argmax() * SAMPLE_RATE / 4096 - _LOWEST_HERTZ) / _STEP_HERTZ)


def opus_packets(sound: Samples) -> list[bytes]:
    """Return Opus packets of 20 ms."""
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, AudioCodecContext)
    encoder.sample_rate, encoder.format, encoder.layout = 48_000, "s16", "mono"
    encoder.bit_rate = 32_000
    resampler = av.AudioResampler("s16", "mono", 48_000, frame_size=960)
    frame = av.AudioFrame.from_ndarray(
        np.frombuffer(to_pcm16(sound), "<i2").reshape(1, -1), format="s16", layout="mono"
    )
    frame.sample_rate, frame.pts = SAMPLE_RATE, 0
    packets = []
    for part in [*resampler.resample(frame), *resampler.resample(None), None]:
        packets += [bytes(packet) for packet in encoder.encode(part)]
    return packets


@dataclass
class LiveClient:
    """One open stream, as its client sees it.

    Attributes:
        call: The call.
        events: All that was received.
        times: When, by the monotonic clock.
    """

    call: Any
    events: list[Response] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    async def config(self, meeting: str, **fields: Any) -> None:
        """Send the config."""
        config = {
            "meeting": meeting,
            "encoding": Request.Config.PCM_S16LE,
            "partial_results": True,
            **fields,
        }
        await self.call.write(Request(config=Request.Config(**config)))

    async def send(self, audio: bytes, offset_ms: int | None = None) -> None:
        """Send a frame."""
        # Once the server has ended the call, whoever reads is told why.
        with suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
            await self.call.write(Request(frame=Request.Frame(audio=audio, offset_ms=offset_ms)))

    async def play(
        self,
        sound: Samples,
        frame_ms: int = 100,
        *,
        offset_ms: int | None = None,
        pace: float = 0.0,
    ) -> None:
        """Send sound as PCM of 16 kHz in frames.

        Args:
            sound: What to send.
            frame_ms: Length of a frame.
            offset_ms: Where it begins; ``None``: offsets are not told.
            pace: How long to wait after a frame, as a share of its length.
        """
        step = frame_ms * SAMPLE_RATE // 1000
        for at in range(0, len(sound), step):
            where = None if offset_ms is None else offset_ms + at * 1000 // SAMPLE_RATE
            await self.send(to_pcm16(sound[at : at + step]), where)
            await asyncio.sleep(pace * frame_ms / 1000)

    async def end(self) -> None:
        """Say that the meeting is over."""
        with suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
            await self.call.write(Request(end=Request.End()))

    async def next(self, kind: str = "") -> Response:
        """Return the next event, or the next of a kind.

        Raises:
            EOFError: There is none.
        """
        while True:
            async with asyncio.timeout(20):
                event = await self.call.read()
            if not isinstance(event, Response):
                raise EOFError(kind)
            self.events.append(event)
            self.times.append(time.monotonic())
            if not kind or event.WhichOneof("event") == kind:
                return event

    async def rest(self) -> list[Response]:
        """Return all events once there are no more."""
        try:
            while True:
                await self.next()
        except EOFError:
            return self.events

    @property
    def final_words(self) -> list[str]:
        """The words of all finals."""
        return [
            word.text
            for event in self.events
            if event.HasField("final")
            for word in event.final.utterance.words
        ]


@asynccontextmanager
async def live(stub: Any, meeting: str = "", **config: Any) -> AsyncIterator[LiveClient]:
    """Open a stream, with a config where a meeting is named; it is cancelled at the end."""
    client = LiveClient(stub.TranscribeLive())
    try:
        if meeting:
            await client.config(meeting, **config)
        yield client
    finally:
        client.call.cancel()


def spoken(words: Iterable[int]) -> list[str]:
    """Return the words as `ToneTranscriber` writes them."""
    return [f"w{word}" for word in words]
