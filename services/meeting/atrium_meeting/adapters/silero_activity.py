"""Voice activity by Silero's network, which ships inside faster-whisper, on ONNX Runtime."""

from __future__ import annotations

from importlib import resources
from typing import Final

import numpy as np
import onnxruntime as ort

from atrium_meeting.adapters.onnx_sessions import open_session
from atrium_meeting.domain.activity import (
    ActivityLimits,
    ActivityTracker,
    SpeechEnded,
    SpeechEvent,
)
from atrium_meeting.domain.audio import SAMPLE_RATE, Region, Samples

_WINDOW: Final = 512
_CONTEXT: Final = 64
"""Each window is seen together with so many samples before it."""
_WINDOW_MS: Final = 1000 * _WINDOW // SAMPLE_RATE
_STATE: Final = (1, 1, 128)
_WINDOWS_AT_ONCE: Final = 512


class SileroActivity:
    """Finds speech (`VoiceActivityDetector`); one session may serve many threads.

    Source: Silero VAD v6, https://github.com/snakers4/silero-vad (MIT). The network looks at 32 ms
    at a time and remembers what came before.

    Args:
        limits: What counts as speech.
    """

    def __init__(self, limits: ActivityLimits | None = None) -> None:
        self._limits = limits or ActivityLimits()
        model = resources.files("faster_whisper").joinpath("assets/silero_vad_v6.onnx").read_bytes()
        self._session = open_session(model)

    def find_speech(self, samples: Samples) -> list[Region]:
        """Return where somebody speaks. See `VoiceActivityDetector`."""
        stream = self.stream()
        events = [*stream.accept(samples), *stream.finish()]
        return [event.region for event in events if isinstance(event, SpeechEnded)]

    def stream(self) -> SileroStream:
        """Return what follows one live stream."""
        return SileroStream(self._session, self._limits)


class SileroStream:
    """Finds speech in sound that arrives bit by bit (`SpeechStream`).

    Args:
        session: The network.
        limits: What counts as speech.
    """

    def __init__(self, session: ort.InferenceSession, limits: ActivityLimits) -> None:
        self._session = session
        self._tracker = ActivityTracker(_WINDOW_MS, limits)
        self._held = np.zeros(_CONTEXT, np.float32)
        self._h = np.zeros(_STATE, np.float32)
        self._c = np.zeros(_STATE, np.float32)
        self._length = 0

    @property
    def speaking_since_ms(self) -> int | None:
        """See `ActivityTracker.speaking_since_ms`."""
        return self._tracker.speaking_since_ms

    @property
    def quiet_since_ms(self) -> int | None:
        """See `ActivityTracker.quiet_since_ms`."""
        return self._tracker.quiet_since_ms

    def accept(self, samples: Samples) -> list[SpeechEvent]:
        """Take more sound, of any length; return what it decides."""
        self._length += len(samples)
        sound = np.concatenate([self._held, samples])
        windows = (len(sound) - _CONTEXT) // _WINDOW
        self._held = sound[windows * _WINDOW :].copy()
        return self._tracker.accept(self._probabilities(sound, windows))

    def finish(self) -> list[SpeechEvent]:
        """Return what is open at the end; nothing reaches beyond the sound."""
        end_ms = self._length * 1000 // SAMPLE_RATE
        lacking = -(len(self._held) - _CONTEXT) % _WINDOW
        events = self.accept(np.zeros(lacking, np.float32))
        return [
            SpeechEnded(Region(event.region.start_ms, min(end_ms, event.region.end_ms)))
            if isinstance(event, SpeechEnded)
            else event
            for event in [*events, *self._tracker.finish()]
        ]

    def _probabilities(self, sound: Samples, windows: int) -> list[float]:
        found: list[float] = []
        for start in range(0, windows, _WINDOWS_AT_ONCE):
            places = np.arange(start, min(windows, start + _WINDOWS_AT_ONCE)) * _WINDOW
            part = sound[places[:, None] + np.arange(_CONTEXT + _WINDOW)]
            probabilities, self._h, self._c = self._session.run(
                None, {"input": part, "h": self._h, "c": self._c}
            )
            found += np.ravel(probabilities).tolist()
        return found
