"""Recordings and live frames to sound, by FFmpeg's libraries (PyAV)."""

from __future__ import annotations

import json
import os
import selectors
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.resampler import AudioResampler

from atrium_documents import confinement, frames
from atrium_meeting.adapters import pyav_worker
from atrium_meeting.domain.audio import (
    SAMPLE_RATE,
    AudioPiece,
    RecordingInfo,
    Samples,
    from_pcm16,
)
from atrium_meeting.domain.errors import (
    DecoderUnavailable,
    FrameBroken,
    RecordingBroken,
    RecordingCodecUnknown,
    RecordingEmpty,
    RecordingEncrypted,
    RecordingHasNoSound,
    RecordingNotAudio,
    RecordingRefused,
    RecordingTooLong,
)
from atrium_meeting.domain.pieces import PieceCutter

_START_SECONDS: Final = 600.0
"""Until a worker is ready: a second of a free core, minutes on a busy machine; who ends before says
so at once, so it only ends what hangs."""
_HOUR_MS: Final = 3_600_000
_OPUS_RATE: Final = 48_000
_OPUS_LARGEST_FRAME: Final = 1275 * 6 + 128


class PyavDecoder:
    """Decodes recordings, each in a process of its own.

    The process has no network, may start nothing and write nothing, and takes at most 1 GiB; one
    that crashes or hangs over hostile bytes fails that recording alone. 6 h take about a minute,
    and one piece of memory here.

    Args:
        limit_ms: Longest recording, in milliseconds.
        piece_ms: Length of a piece, in milliseconds.
        slack_ms: How far from its mark a piece may be cut.
        stall_seconds: How long the process may be silent before it counts as hanging.
    """

    def __init__(
        self,
        *,
        limit_ms: int = 6 * _HOUR_MS,
        piece_ms: int = 300_000,
        slack_ms: int = 10_000,
        stall_seconds: float = 60.0,
    ) -> None:
        self._limit_ms = limit_ms
        self._piece_ms = piece_ms
        self._slack_ms = slack_ms
        self._stall_seconds = stall_seconds

    def examine(self, path: Path) -> RecordingInfo:
        """Read the header of a recording, and its first sound. See `RecordingDecoder`."""
        with self._process(path, pyav_worker.EXAMINE) as process:
            info = RecordingInfo(**json.loads(process.read(pyav_worker.INFO)))
            process.read(frames.DONE)
            return info

    def decode(self, path: Path) -> Iterator[AudioPiece]:
        """Yield the pieces of a recording. See `RecordingDecoder`."""
        cutter = PieceCutter(self._piece_ms, self._slack_ms)
        with self._process(path, pyav_worker.DECODE) as process:
            process.read(pyav_worker.INFO)
            while True:
                kind, payload = process.read_any(pyav_worker.SOUND, frames.DONE)
                if kind == frames.DONE:
                    break
                yield from cutter.accept(from_pcm16(payload))
            last = cutter.finish(truncated=bool(json.loads(payload)["truncated"]))
            if len(last.samples) or last.truncated:
                yield last

    @contextmanager
    def _process(self, path: Path, mode: str) -> Iterator[_Process]:
        if path.stat().st_size == 0:
            raise RecordingEmpty
        with path.open("rb") as file, tempfile.TemporaryFile() as errors:
            command = [sys.executable, "-P", "-m", pyav_worker.__name__, mode, str(self._limit_ms)]
            try:
                child = subprocess.Popen(  # noqa: S603 - our own module, fixed words
                    command,
                    stdin=file,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=confinement.environment(),
                    cwd="/",
                    start_new_session=True,
                )
            except OSError as error:
                raise DecoderUnavailable(
                    f"The process that decodes recordings cannot be started: {error}."
                ) from error
            process = _Process(child, self._limit_ms, self._stall_seconds)
            try:
                if not process.is_ready():
                    errors.seek(0)
                    printed = errors.read()[-500:].decode("utf-8", "replace").strip()
                    raise DecoderUnavailable(
                        "The process that decodes recordings did not start. It printed: "
                        f"{printed or 'nothing'}"
                    )
                yield process
            finally:
                process.end()


class _Process:
    """A decoding process and what it says."""

    def __init__(self, child: subprocess.Popen[bytes], limit_ms: int, stall_seconds: float) -> None:
        assert child.stdout is not None
        self._child = child
        self._out = child.stdout
        self._limit_ms = limit_ms
        self._stall_seconds = stall_seconds
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._out, selectors.EVENT_READ)

    def is_ready(self) -> bool:
        """Wait until the process has confined itself; return whether it did."""
        try:
            return self._frame(_START_SECONDS)[0] == frames.READY
        except (EOFError, TimeoutError):
            return False

    def read(self, kind: bytes) -> bytes:
        """Return the payload of the next frame, which must be of a kind."""
        return self.read_any(kind)[1]

    def read_any(self, *kinds: bytes) -> frames.Frame:
        """Return the next frame.

        Raises:
            RecordingRefused: The process refuses the recording, or died or hangs over it.
        """
        try:
            kind, payload = self._frame(self._stall_seconds)
            if kind == frames.ERROR:
                raise self._refusal(json.loads(payload))
            if kind not in kinds:
                raise EOFError
        except TimeoutError as error:
            raise RecordingBroken(
                f"Decoding the recording came to a halt for {self._stall_seconds:g} s. It is "
                "damaged, or made to do harm. Convert it to WAV, FLAC or MP4 and send that."
            ) from error
        except (EOFError, ValueError) as error:
            how = self._how_it_ended()
            raise RecordingBroken(
                f"The process that decoded the recording ended with {how}. The recording is "
                "damaged, or made to do harm. Convert it to WAV, FLAC or MP4 and send that.",
                exit=how,
            ) from error
        return kind, payload

    def end(self) -> None:
        """End the process, whatever it does."""
        self._selector.close()
        self._out.close()
        self._child.kill()
        self._child.wait()

    def _frame(self, seconds: float) -> frames.Frame:
        deadline = time.monotonic() + seconds
        kind, length = frames.HEADER.unpack(self._bytes(frames.HEADER.size, deadline))
        if length > frames.LARGEST_FRAME:
            raise EOFError
        return kind, self._bytes(length, deadline)

    def _bytes(self, size: int, deadline: float) -> bytes:
        data = bytearray()
        while len(data) < size:
            if not self._selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            part = os.read(self._out.fileno(), size - len(data))
            if not part:
                raise EOFError
            data += part
        return bytes(data)

    def _how_it_ended(self) -> str:
        try:
            code = self._child.wait(2.0)
        except subprocess.TimeoutExpired:
            return "a reply that makes no sense"
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def _refusal(self, fields: dict[str, Any]) -> RecordingRefused:
        values = fields["values"]
        match fields["kind"]:
            case "RecordingTooLong":
                return RecordingTooLong(values["seconds"], self._limit_ms / 1000)
            case "RecordingHasNoSound":
                return RecordingHasNoSound(values["container"])
            case "RecordingEncrypted":
                return RecordingEncrypted(values["container"])
            case "RecordingCodecUnknown":
                return RecordingCodecUnknown(values["container"], values["codec"])
            case "RecordingNotAudio":
                return RecordingNotAudio()
            case _:
                return RecordingBroken(
                    "The recording is cut off or damaged so that nothing of it can be heard. Open "
                    "it in the program that made it, save it anew, and send that."
                )


class OpusFrames:
    """Frames of one live Opus stream (RFC 6716), mono or stereo, to sound.

    Decoded in this process: a process for each stream would cost more than the stream, and frames
    of at most 120 ms leave a hostile client little room.

    Args:
        channels: 1 or 2; decoding mixes them.
    """

    def __init__(self, channels: int = 1) -> None:
        context = av.CodecContext.create("opus", "r")
        assert isinstance(context, AudioCodecContext)
        # RFC 7845, section 5.1: version 1, no samples to skip, gain 0, mapping family 0.
        context.extradata = b"OpusHead" + struct.pack("<BBHIhB", 1, channels, 0, _OPUS_RATE, 0, 0)
        self._context = context
        self._resampler = AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)

    def decode(self, frame: bytes) -> Samples:
        """Return the sound that a frame adds. See `FrameDecoder`."""
        if not 0 < len(frame) <= _OPUS_LARGEST_FRAME:
            raise FrameBroken("Opus")
        try:
            decoded = self._context.decode(av.Packet(frame))
        except av.FFmpegError as error:
            raise FrameBroken("Opus") from error
        parts = []
        for sound in decoded:
            sound.pts = None  # the resampler is to trust the samples, not times
            parts += [part.to_ndarray()[0] for part in self._resampler.resample(sound)]
        return np.concatenate([*parts, np.zeros(0, np.float32)])
