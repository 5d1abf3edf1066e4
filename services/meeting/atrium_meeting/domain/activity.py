"""From the probability of speech, window by window, to the stretches in which somebody speaks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from atrium_meeting.domain.audio import Region


@dataclass(frozen=True, slots=True)
class ActivityLimits:
    """What counts as speech.

    Args:
        begin_probability: From here on a window is speech.
        end_probability: Below it, a window after speech is none; in between it is as before.
        certain_probability: Speech in which no window reaches it is a noise.
        min_speech_ms: Less speech than this between two silences is a noise.
        min_silence_ms: A shorter silence belongs to the speech around it.
        padding_ms: How much a stretch is widened on either side, so that weak first and last
            sounds are in it; at most half of ``min_silence_ms``, so that stretches never touch.
    """

    begin_probability: float = 0.5
    end_probability: float = 0.35
    certain_probability: float = 0.7
    min_speech_ms: int = 250
    min_silence_ms: int = 400
    padding_ms: int = 200

    def __post_init__(self) -> None:
        rising = (0, self.end_probability, self.begin_probability, self.certain_probability)
        if self.end_probability <= 0 or sorted(rising) != list(rising) or rising[-1] >= 1:
            raise ValueError(
                f"The probabilities are {rising[1:]}; expected 0 < end <= begin <= certain < 1."
            )
        if 2 * self.padding_ms > self.min_silence_ms:
            raise ValueError(
                f"padding_ms is {self.padding_ms}; expected at most half of min_silence_ms, "
                f"{self.min_silence_ms}."
            )


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Somebody has begun to speak.

    Args:
        start_ms: Where, widened.
    """

    start_ms: int


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """Somebody has stopped.

    Args:
        region: What they spoke, widened.
    """

    region: Region


SpeechEvent = SpeechStarted | SpeechEnded


class ActivityTracker:
    """Follows the probabilities of one recording.

    Args:
        window_ms: Length of a window.
        limits: What counts as speech.
    """

    def __init__(self, window_ms: int, limits: ActivityLimits) -> None:
        self._window_ms = window_ms
        self._limits = limits
        self._now_ms = 0
        self._begin_ms: int | None = None
        self._speech_ms = 0
        self._highest = 0.0
        self._quiet_since_ms: int | None = None

    @property
    def speaking_since_ms(self) -> int | None:
        """Where the speech that goes on began, widened; ``None`` while nobody speaks."""
        if self._begin_ms is None or self._speech_ms < self._limits.min_speech_ms:
            return None
        if self._highest < self._limits.certain_probability:
            return None
        return max(0, self._begin_ms - self._limits.padding_ms)

    @property
    def quiet_since_ms(self) -> int | None:
        """Since when nothing is heard of the speech that goes on; ``None`` while it is heard."""
        return self._quiet_since_ms if self.speaking_since_ms is not None else None

    def accept(self, probabilities: Iterable[float]) -> list[SpeechEvent]:
        """Take the next windows; return what they decide, in order."""
        events: list[SpeechEvent] = []
        for probability in probabilities:
            events += self._step(probability)
            self._now_ms += self._window_ms
        return events

    def finish(self) -> list[SpeechEvent]:
        """Return what is still open at the end of the recording."""
        return self._end(self._quiet_since_ms or self._now_ms)

    def _step(self, probability: float) -> list[SpeechEvent]:
        limits = self._limits
        speaking = self._begin_ms is not None
        threshold = limits.end_probability if speaking else limits.begin_probability
        if probability >= threshold:
            if not speaking:
                self._begin_ms, self._speech_ms, self._highest = self._now_ms, 0, 0.0
            if probability >= limits.begin_probability:
                self._quiet_since_ms = None
            before = self.speaking_since_ms
            self._speech_ms += self._window_ms
            self._highest = max(self._highest, probability)
            after = self.speaking_since_ms
            return [SpeechStarted(after)] if before is None and after is not None else []
        if not speaking:
            return []
        if self._quiet_since_ms is None:
            self._quiet_since_ms = self._now_ms
        if self._now_ms + self._window_ms - self._quiet_since_ms >= limits.min_silence_ms:
            return self._end(self._quiet_since_ms)
        return []

    def _end(self, end_ms: int) -> list[SpeechEvent]:
        start_ms = self.speaking_since_ms
        self._begin_ms = self._quiet_since_ms = None
        if start_ms is None:
            return []
        return [SpeechEnded(Region(start_ms, end_ms + self._limits.padding_ms))]
