"""Sound to send while people speak: from a recorder's pipe, or a file played at its own speed."""

from __future__ import annotations

import os
import time
import wave
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

import anyio
import anyio.to_thread

from atrium_shared.errors import Invalid

PIPE_HERTZ: Final = 16_000
_FRAME_MS: Final = 200
_SAMPLE_BYTES: Final = 2
_CONVERT: Final = "ffmpeg -i FILE -ac 1 -ar 16000 -sample_fmt s16 sound.wav"


class SoundInvalid(Invalid):
    """What was given holds no sound that can be sent as it is."""

    reason = "SOUND_INVALID"


@dataclass(frozen=True)
class PipedSound:
    """Samples as a recorder writes them: 16 bits, little end first, one channel.

    Args:
        file: Descriptor to read from.
    """

    file: int
    hertz: int = PIPE_HERTZ

    async def frames(self) -> AsyncIterator[bytes]:
        """Yield what comes, whole samples at a time, until the recorder ends.

        Raises:
            SoundInvalid: A file with a header comes instead of bare samples.
            OSError: It cannot be read.
        """
        size = self.hertz * _FRAME_MS // 1000 * _SAMPLE_BYTES
        rest, first = b"", True
        # Not through a buffered reader: a thread left inside of one would keep the process.
        while got := await anyio.to_thread.run_sync(
            os.read, self.file, size, abandon_on_cancel=True
        ):
            sound = rest + got
            whole = len(sound) - len(sound) % _SAMPLE_BYTES
            rest = sound[whole:]
            if first and sound.startswith((b"RIFF", b"OggS", b"fLaC", b"ID3")):
                raise SoundInvalid(
                    "A sound file comes in, where bare samples were expected: 16 bits, "
                    f"{self.hertz} a second, one channel. Let the recorder write these (arecord "
                    "-f S16_LE -r 16000 -t raw), or give the name of a .wav file in place of -."
                )
            first = False
            if whole:
                yield sound[:whole]


@dataclass(frozen=True)
class PlayedSound:
    """A WAV file of one channel and 16 bits a sample, sent as fast as it would be heard.

    Args:
        file: The file, open.
        speed: How much faster than life.
    """

    file: wave.Wave_read
    speed: float = 1.0

    @property
    def hertz(self) -> int:
        """Samples a second."""
        return self.file.getframerate()

    async def frames(self) -> AsyncIterator[bytes]:
        """Yield the sound, each frame when its end would have been heard."""
        begun, played_ms = time.monotonic(), 0
        while sound := self.file.readframes(self.hertz * _FRAME_MS // 1000):
            played_ms += _FRAME_MS
            await anyio.sleep(max(0.0, begun + played_ms / 1000 / self.speed - time.monotonic()))
            yield sound


@contextmanager
def open_sound(source: str, *, stdin: TextIO, speed: float) -> Iterator[PipedSound | PlayedSound]:
    """Yield the sound of a .wav file, or of the standard input.

    Args:
        source: A file, or "-".
        stdin: The standard input.
        speed: How much faster than life a file is played.

    Raises:
        SoundInvalid: It is no such file, or nothing is piped in.
        OSError: The file cannot be read.
    """
    if source == "-":
        if stdin.isatty():
            raise SoundInvalid(
                "No sound comes in. Pipe a recorder into this command: arecord -f S16_LE -r 16000 "
                "-t raw | atrium meeting live -"
            )
        yield PipedSound(stdin.fileno())
        return
    try:
        file = wave.open(str(Path(source)), "rb")  # noqa: SIM115 - closed below, errors told apart
    except (wave.Error, EOFError) as error:
        raise SoundInvalid(
            f"{source} is no WAV file with plain samples. Convert it: {_CONVERT}. Or transcribe it "
            "whole: atrium meeting transcribe FILE"
        ) from error
    with file:
        if file.getnchannels() != 1 or file.getsampwidth() != _SAMPLE_BYTES:
            raise SoundInvalid(
                f"{source} has channels: {file.getnchannels()}, bits a sample: "
                f"{8 * file.getsampwidth()}; 1 and 16 were expected. Convert it: {_CONVERT}"
            )
        yield PlayedSound(file, speed)
