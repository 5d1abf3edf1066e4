"""The process that decodes: ``python -m atrium_meeting.adapters.pyav_worker MODE LIMIT_MS``.

The recording is its standard input, a regular file; what it finds goes to its standard output as
frames (see `atrium_documents.frames`): READY, then INFO, then SOUND frames and DONE, or ERROR. It
confines itself before it looks at the first byte.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Final

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer

from atrium_documents import confinement, frames
from atrium_meeting.domain.audio import SAMPLE_RATE, Samples, to_pcm16
from atrium_meeting.domain.downmix import Downmix

EXAMINE: Final = "examine"
DECODE: Final = "decode"

INFO: Final = b"I"
"""What the header says, a JSON object."""
SOUND: Final = b"S"
"""About a second of sound: mono, 16 kHz, 16-bit integers, little endian."""

_MEMORY_BYTES: Final = 1 << 30
_CPU_SECONDS: Final = 300.0
_CPU_PER_SECOND: Final = 0.1
"""Processor seconds per second of a recording of the greatest length."""
_BLOCK_SECONDS: Final = 1.0
_JITTER_SECONDS: Final = 0.1
"""Times of frames may be off by so much before it means that sound is missing."""
_GAP_SECONDS: Final = 600.0
"""A longer gap is a clock that was set anew, not sound that is missing."""
_SHORT_SHARE: Final = 0.01
_SHORT_SECONDS: Final = 2.0

_PROTECTED_TAGS: Final = frozenset({"enca", "drms", "aavd"})
_PROTECTED_SIDE_DATA: Final = ("encryption_info", "encryption_init_info")
_GUESSED_LENGTHS: Final = frozenset({"mp3", "aac"})
"""Formats whose length is an estimate from the first frame's bit rate."""
_UNKNOWN_LENGTH: Final = 0xFFFFFF00
"""Programs that write into a pipe put this or a little more."""
_SIGNATURES: Final = (
    (0, b"RIFF"), (0, b"RF64"), (0, b"FORM"), (0, b"fLaC"), (0, b"OggS"), (0, b"ID3"),
    (4, b"ftyp"), (4, b"moov"), (4, b"mdat"), (0, b"\x1a\x45\xdf\xa3"), (0, b"caff"),
    (0, b"#!AMR"), (0, b"\x30\x26\xb2\x75"), (0, b"FLV"), (0, b"wvpk"),
)  # fmt: skip


class Refusal(Exception):
    """Why a recording cannot be used.

    Args:
        kind: Name of the class in `atrium_meeting.domain.errors`.
        **values: What its constructor takes.
    """

    def __init__(self, kind: str, **values: object) -> None:
        super().__init__(kind)
        self.kind = kind
        self.values = values


def main() -> None:
    """Read the recording at standard input."""
    mode, limit_ms = sys.argv[1], int(sys.argv[2])
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    # Libraries that print must not break the protocol.
    os.dup2(2, 1)
    av.logging.set_level(None)
    means = confinement.confine()
    confinement.allow_memory(_MEMORY_BYTES)
    confinement.allow_cpu(_CPU_SECONDS + _CPU_PER_SECOND * limit_ms / 1000)

    def send(kind: bytes, payload: bytes = b"") -> None:
        view = memoryview(frames.pack(kind, payload))
        while view:
            view = view[out.write(view) :]

    send(frames.READY, frames.to_payload(means))
    file = os.fdopen(0, "rb", buffering=0)
    try:
        truncated = _read(file, mode, limit_ms, send)
        send(frames.DONE, frames.to_payload({"truncated": truncated}))
    except Refusal as refusal:
        send(frames.ERROR, frames.to_payload({"kind": refusal.kind, "values": refusal.values}))
    except MemoryError:
        send(frames.ERROR, frames.to_payload({"kind": "RecordingBroken", "values": {}}))


def _read(file: BinaryIO, mode: str, limit_ms: int, send: Callable[..., None]) -> bool:
    """Send what the recording holds; return whether it breaks off."""
    with _open(file) as container:
        stream = _sound_of(container)
        info = _info(container, stream)
        if info["duration_ms"] > limit_ms:
            raise Refusal("RecordingTooLong", seconds=info["duration_ms"] / 1000)
        send(INFO, frames.to_payload(info))
        reading = _Reading(container, stream)
        if mode == EXAMINE:
            reading.check()
            return False
        sent = 0
        for samples in reading.sound():
            sent += len(samples)
            if sent * 1000 > limit_ms * SAMPLE_RATE:
                raise Refusal("RecordingTooLong", seconds=sent / SAMPLE_RATE)
            send(SOUND, to_pcm16(samples))
        if sent == 0:
            raise reading.nothing_heard()
        promised = info["duration_ms"] / 1000
        missing = promised - sent / SAMPLE_RATE
        return (
            reading.broke_off
            or missing > max(_SHORT_SECONDS, _SHORT_SHARE * promised)
            or _is_cut_wav(file)
        )


def _is_cut_wav(file: BinaryIO) -> bool:
    """Tell whether a WAV file ends before its data do; FFmpeg takes what is there for all."""
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    if file.read(12)[8:] != b"WAVE":
        return False
    while len(header := file.read(8)) == 8:
        length = int.from_bytes(header[4:], "little")
        if header[:4] == b"data":
            return length < _UNKNOWN_LENGTH and file.tell() + length > size
        file.seek(length + length % 2, os.SEEK_CUR)
    return True


def _open(file: BinaryIO) -> InputContainer:
    try:
        # Without protocols, a playlist cannot make this process open further files.
        return av.open(
            file,
            "r",
            options={"protocol_whitelist": ""},
            metadata_errors="ignore",
            buffer_size=1 << 18,
        )
    except (av.FFmpegError, ValueError, OverflowError) as error:
        file.seek(0)
        begin = file.read(16)
        known = any(begin[at : at + len(mark)] == mark for at, mark in _SIGNATURES)
        raise Refusal("RecordingBroken" if known else "RecordingNotAudio") from error


def _sound_of(container: InputContainer) -> AudioStream:
    """Return the track to listen to: the one that the format prefers."""
    name = container.format.name
    stream = container.streams.best("audio")
    if stream is None and container.streams.audio:
        stream = container.streams.audio[0]
    if not isinstance(stream, AudioStream):
        if any(track.type == "audio" for track in container.streams):
            raise Refusal("RecordingCodecUnknown", container=name, codec="unknown")
        picture = name.endswith("_pipe") or name in ("image2", "tty")
        if container.streams.video and not picture:
            raise Refusal("RecordingHasNoSound", container=name)
        raise Refusal("RecordingNotAudio")
    context = stream.codec_context
    protected = "ASF_Protection_Type" in container.metadata
    if protected or (context is not None and context.codec_tag in _PROTECTED_TAGS):
        raise Refusal("RecordingEncrypted", container=name)
    if context is None:
        raise Refusal("RecordingCodecUnknown", container=name, codec="unknown")
    context.thread_count = 1
    return stream


def _info(container: InputContainer, stream: AudioStream) -> dict[str, Any]:
    duration = container.duration or 0
    name = container.format.name
    return {
        "container": name,
        "codec": stream.codec_context.name,
        "sample_rate": stream.codec_context.sample_rate,
        "channels": stream.codec_context.channels,
        "duration_ms": 0 if name in _GUESSED_LENGTHS else max(0, duration // 1000),
    }


class _Reading:
    """Reads one track from beginning to end."""

    def __init__(self, container: InputContainer, stream: AudioStream) -> None:
        self._container = container
        self._stream = stream
        self._damaged = 0
        self._protected = False
        self.broke_off = False

    def check(self) -> None:
        """Decode until something is heard.

        Raises:
            Refusal: Nothing can be heard.
        """
        if next(self._frames(), None) is None:
            raise self.nothing_heard()

    def nothing_heard(self) -> Refusal:
        """Return why not a single sample could be decoded."""
        name = self._container.format.name
        if self._protected:
            return Refusal("RecordingEncrypted", container=name)
        if self._damaged:
            guessed = name in _GUESSED_LENGTHS
            return Refusal("RecordingNotAudio" if guessed else "RecordingBroken")
        return Refusal("RecordingHasNoSound", container=name)

    def sound(self) -> Iterator[Samples]:
        """Yield mono sound at 16 kHz, about a second at a time."""
        rate, mixer, resampler = 0, Downmix(1), _Resampler(SAMPLE_RATE)
        channels = 0
        held: list[npt.NDArray[np.float32]] = []
        clock = _Clock(self._container.start_time)
        for frame in self._frames():
            block = _to_floats(frame)
            if frame.sample_rate != rate or len(block) != channels:
                if held:
                    yield from resampler.accept(mixer.mix(np.concatenate(held, axis=1)))
                    yield from resampler.finish()
                    held = []
                rate, channels = frame.sample_rate, len(block)
                mixer, resampler = Downmix(channels), _Resampler(rate)
            missing = clock.missing_seconds(frame.time, block.shape[1] / rate)
            while missing > 0:  # bit by bit, for a gap may be long
                part = min(missing, _BLOCK_SECONDS)
                missing -= part
                held.append(np.zeros((channels, round(part * rate)), np.float32))
                if missing > 0:
                    yield from resampler.accept(mixer.mix(np.concatenate(held, axis=1)))
                    held = []
            held.append(block)
            if sum(part.shape[1] for part in held) >= _BLOCK_SECONDS * rate:
                yield from resampler.accept(mixer.mix(np.concatenate(held, axis=1)))
                held = []
        if held:
            yield from resampler.accept(mixer.mix(np.concatenate(held, axis=1)))
        yield from resampler.finish()

    def _frames(self) -> Iterator[AudioFrame]:
        """Yield what can be decoded; a damaged packet is left out, a broken end ends it."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:
                self.broke_off = True
                self._damaged += 1
                return
            if packet is None:
                return
            if any(packet.has_sidedata(kind) for kind in _PROTECTED_SIDE_DATA):
                self._protected = True
                return
            try:
                decoded = packet.decode()
            except (av.FFmpegError, ValueError):
                self._damaged += 1
                continue
            for frame in decoded:
                if isinstance(frame, AudioFrame) and frame.samples and frame.sample_rate > 0:
                    yield frame


class _Clock:
    """Compares the times of frames with the sound so far.

    Args:
        start: Where the container begins, in microseconds.
    """

    def __init__(self, start: int | None) -> None:
        self._begin = (start or 0) / 1_000_000
        self._heard = 0.0

    def missing_seconds(self, time: float | None, length: float) -> float:
        """Return how much silence belongs before a frame.

        Args:
            time: Where the frame begins, in seconds; ``None`` when it does not say.
            length: Its length, in seconds.
        """
        missing = 0.0 if time is None else time - self._begin - self._heard
        if not -_JITTER_SECONDS <= missing <= _GAP_SECONDS:
            self._begin += missing
            missing = 0.0
        elif missing <= _JITTER_SECONDS:
            missing = 0.0
        self._heard += missing + length
        return missing


class _Resampler:
    """Any rate to 16 kHz."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._resampler = (
            None
            if rate == SAMPLE_RATE
            else AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
        )

    def accept(self, samples: Samples) -> Iterator[Samples]:
        if self._resampler is None:
            yield samples
            return
        frame = AudioFrame.from_ndarray(
            np.ascontiguousarray(samples[None, :]), format="flt", layout="mono"
        )
        frame.sample_rate = self._rate
        for part in self._resampler.resample(frame):
            yield part.to_ndarray()[0]

    def finish(self) -> Iterator[Samples]:
        if self._resampler is not None:
            for part in self._resampler.resample(None):
                yield part.to_ndarray()[0]


def _to_floats(frame: AudioFrame) -> npt.NDArray[np.float32]:
    """Return a frame as floats from -1 to 1, shape [channels, samples]."""
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, frame.layout.nb_channels).T
    if values.dtype == np.uint8:
        return np.asarray((values.astype(np.float32) - 128.0) / 128.0)
    if values.dtype.kind == "i":
        return np.asarray(values.astype(np.float32) / float(1 << (8 * values.itemsize - 1)))
    sound = np.nan_to_num(values.astype(np.float32), posinf=0.0, neginf=0.0)
    return np.clip(sound, -1.0, 1.0)


if __name__ == "__main__":
    main()
