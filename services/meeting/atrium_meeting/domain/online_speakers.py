"""Tell speakers apart while they speak: one decision an utterance, none taken back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from atrium_meeting.domain.clustering import unit

SAME_SPEAKER: Final = 0.50
"""Least similarity to a speaker's mean of an utterance that is taken for theirs."""
NEW_SPEAKER_MS: Final = 1500
"""Shorter utterances found no new speaker: their embeddings say too little."""
MOST_SPEAKERS: Final = 64
_MOST_MS: Final = 60_000
"""What a mean remembers, so that it can follow a voice for hours."""


@dataclass(slots=True)
class _Known:
    mean: npt.NDArray[np.float32]
    heard_ms: float


class OnlineSpeakers:
    """Gives each utterance its speaker, "S1" being who spoke first.

    Online clustering by the nearest mean. Memory is bounded: one vector for each of at most
    ``MOST_SPEAKERS`` speakers; whoever comes after them is taken for the nearest one.

    Args:
        threshold: Least similarity to what was heard of a speaker.
    """

    def __init__(self, threshold: float = SAME_SPEAKER) -> None:
        self._threshold = threshold
        self._known: list[_Known] = []
        self._last = 0

    @property
    def count(self) -> int:
        """How many speakers there have been."""
        return len(self._known)

    def assign(self, embedding: npt.NDArray[np.float32] | None, length_ms: int) -> str:
        """Return the speaker of an utterance.

        Args:
            embedding: Of its voice; None where it was too short, which goes to who spoke last.
            length_ms: How much speech it stands for.
        """
        if embedding is None:
            if not self._known:
                return "S1"
            return f"S{self._last + 1}"
        voice = unit(embedding)
        alike = [float(voice @ unit(known.mean)) for known in self._known]
        nearest = int(np.argmax(alike)) if alike else -1
        new = nearest < 0 or alike[nearest] < self._threshold
        if new and self._known and (length_ms < NEW_SPEAKER_MS or self.count >= MOST_SPEAKERS):
            self._last = nearest
            return f"S{nearest + 1}"  # and the mean stays: this may be somebody else
        if new:
            self._known.append(_Known(voice * length_ms, float(length_ms)))
            nearest = self.count - 1
        else:
            known = self._known[nearest]
            known.mean = known.mean + voice * length_ms
            known.heard_ms += length_ms
            if known.heard_ms > _MOST_MS:
                known.mean *= _MOST_MS / known.heard_ms
                known.heard_ms = _MOST_MS
        self._last = nearest
        return f"S{nearest + 1}"

    def dump(self) -> list[tuple[float, list[float]]]:
        """Return what is known of the speakers, in their order; it survives JSON."""
        return [(known.heard_ms, known.mean.tolist()) for known in self._known]

    @classmethod
    def restore(
        cls, dumped: list[tuple[float, list[float]]], threshold: float = SAME_SPEAKER
    ) -> OnlineSpeakers:
        """Return the speakers as they were when :meth:`dump` was called."""
        speakers = cls(threshold)
        speakers._known = [
            _Known(np.asarray(mean, np.float32), heard_ms) for heard_ms, mean in dumped
        ]
        return speakers
