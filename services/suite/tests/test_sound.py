from __future__ import annotations

import os
import sys
import wave
from pathlib import Path

import pytest

from atrium_suite.terminal.sound import PipedSound, PlayedSound, SoundInvalid, open_sound


def write_wav(file: Path, *, channels: int = 1, width: int = 2, frames: bytes = b"") -> Path:
    with wave.open(str(file), "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(8_000)
        out.writeframes(frames)
    return file


async def piped(*writes: bytes) -> list[bytes]:
    reading, writing = os.pipe()
    for each in writes:
        os.write(writing, each)
    os.close(writing)
    try:
        return [frame async for frame in PipedSound(reading).frames()]
    finally:
        os.close(reading)


async def test_a_recorders_pipe_comes_whole_and_never_in_half_samples() -> None:
    recorded = os.urandom(16_001)
    frames = await piped(recorded[:7], recorded[7:])
    assert b"".join(frames) == recorded[:16_000]
    assert all(len(frame) % 2 == 0 for frame in frames)


async def test_a_pipe_that_brings_a_file_with_a_header_is_refused() -> None:
    with pytest.raises(SoundInvalid, match="-t raw"):
        await piped(b"RIFF\x24\x00\x00\x00WAVEfmt ")


async def test_a_file_is_sent_whole_at_its_own_rate(tmp_path: Path) -> None:
    sound = os.urandom(8_000)
    file = write_wav(tmp_path / "meeting.wav", frames=sound)
    with open_sound(str(file), stdin=sys.stdin, speed=20) as opened:
        assert isinstance(opened, PlayedSound)
        assert opened.hertz == 8_000
        assert b"".join([frame async for frame in opened.frames()]) == sound


def test_what_is_no_plain_sound_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    text = tmp_path / "README.md"
    text.write_text("# Atrium")
    empty = tmp_path / "empty.wav"
    empty.touch()
    stereo = write_wav(tmp_path / "stereo.wav", channels=2)
    for file, said in ((text, "no WAV file"), (empty, "no WAV file"), (stereo, "channels: 2")):
        with (
            pytest.raises(SoundInvalid, match=said),
            open_sound(str(file), stdin=sys.stdin, speed=1),
        ):
            pass
    with (
        pytest.raises(FileNotFoundError),
        open_sound(str(tmp_path / "none.wav"), stdin=sys.stdin, speed=1),
    ):
        pass


def test_a_terminal_without_a_recorder_before_it_is_told_how_to_pipe() -> None:
    controller, terminal = os.openpty()
    try:
        with (
            os.fdopen(terminal) as stdin,
            pytest.raises(SoundInvalid, match="Pipe a recorder"),
            open_sound("-", stdin=stdin, speed=1),
        ):
            pass
    finally:
        os.close(controller)
