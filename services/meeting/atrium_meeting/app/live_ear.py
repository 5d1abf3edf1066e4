"""From the frames of a live stream to sound in its place, and who speaks when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from atrium_meeting.app.ports import FrameDecoder, SpeakerEncoder, SpeechStream
from atrium_meeting.domain.activity import SpeechEnded, SpeechEvent, SpeechStarted
from atrium_meeting.domain.audio import SAMPLE_RATE, Region, Samples
from atrium_meeting.domain.errors import LiveFrameInvalid
from atrium_meeting.domain.frame_places import FramePlaces

_PER_MS: Final = SAMPLE_RATE // 1000
_SLICE: Final = SAMPLE_RATE
_LONGEST_FRAME: Final = 10 * SAMPLE_RATE
_LONG_SILENCE: Final = 3 * SAMPLE_RATE
"""After so much silence whatever was said before has ended."""


class Encoding(StrEnum):
    """How the sound of a live stream is written."""

    PCM_S16LE = "pcm_s16le"
    OPUS = "opus"


@dataclass(frozen=True, slots=True)
class LiveFrame:
    """Sound as it came.

    Args:
        audio: At most 10 s.
        offset_ms: Where it begins, by the sender; ``None``: where the frame before ended.
    """

    audio: bytes
    offset_ms: int | None = None


@dataclass(frozen=True, slots=True)
class LiveEngines:
    """What live streams need beside the engines of recordings.

    Args:
        open_decoder: Makes the decoder of one stream, for its encoding and rate in Hz.
        open_speech: Makes what follows the speech of one stream.
        voices: Tells speakers apart; ``None``: nobody does.
    """

    open_decoder: Callable[[Encoding, int], FrameDecoder]
    open_speech: Callable[[], SpeechStream]
    voices: SpeakerEncoder | None


@dataclass(frozen=True, slots=True)
class Heard:
    """Sound in its place.

    Args:
        start: Where it begins, in samples from the beginning of the meeting.
        sound: At most a second.
        events: What it decides; times from the beginning of the meeting.
        quiet_since_ms: Since when nothing is heard of the speech that goes on; ``None``: it is.
    """

    start: int
    sound: Samples
    events: tuple[SpeechEvent, ...]
    quiet_since_ms: int | None

    @property
    def end_ms(self) -> int:
        """Where it ends, in milliseconds."""
        return (self.start + len(self.sound)) // _PER_MS


class LiveEar:
    """Hears one live stream. Its methods block for some milliseconds; call them in a thread.

    Args:
        decoder: Of its frames.
        speech: Tells speech from everything else.
        start_ms: From where sound is expected.
        limit_ms: Longest meeting.
    """

    def __init__(
        self, decoder: FrameDecoder, speech: SpeechStream, start_ms: int, limit_ms: int
    ) -> None:
        self._decoder = decoder
        self._speech = speech
        self._places = FramePlaces(start_ms, limit_ms)
        self._now = start_ms * _PER_MS
        self._base_ms = start_ms

    @property
    def received_ms(self) -> int:
        """Up to where sound was received."""
        return self._places.received // _PER_MS

    def hear(self, frame: LiveFrame) -> list[Heard]:
        """Return what a frame adds; nothing when it came before.

        Raises:
            FrameBroken: It cannot be decoded.
            LiveFrameInvalid: It is too long, or has no place.
        """
        if self._places.is_repeated(frame.offset_ms, frame.audio):
            return []
        sound = self._decoder.decode(frame.audio)
        if len(sound) > _LONGEST_FRAME:
            raise LiveFrameInvalid(
                f"it is {len(sound) / SAMPLE_RATE:g} s long; expected at most 10 s"
            )
        place = self._places.place(frame.offset_ms, frame.audio, len(sound))
        heard = []
        if place.silence:
            heard += self._listen(np.zeros(min(place.silence, _LONG_SILENCE), np.float32))
            self._pass_over(place.silence - min(place.silence, _LONG_SILENCE))
        return heard + self._listen(sound[place.skipped :])

    def finish(self) -> list[Heard]:
        """Return what is open at the end."""
        return [self._heard(np.zeros(0, np.float32), self._speech.finish())]

    def _listen(self, sound: Samples) -> list[Heard]:
        return [
            self._heard(part, self._speech.accept(part))
            for part in (sound[at : at + _SLICE] for at in range(0, len(sound), _SLICE))
        ]

    def _pass_over(self, samples: int) -> None:
        """Let time pass in which nothing is to be heard."""
        self._base_ms += samples // _PER_MS
        self._now += samples

    def _heard(self, sound: Samples, events: list[SpeechEvent]) -> Heard:
        start = self._now
        self._now += len(sound)
        quiet = self._speech.quiet_since_ms
        return Heard(
            start,
            sound,
            tuple(self._moved(event) for event in events),
            None if quiet is None else quiet + self._base_ms,
        )

    def _moved(self, event: SpeechEvent) -> SpeechEvent:
        by = self._base_ms
        match event:
            case SpeechStarted(start_ms):
                return SpeechStarted(start_ms + by)
            case SpeechEnded(region):
                return SpeechEnded(Region(region.start_ms + by, region.end_ms + by))
