"""Cutting a long recording into pieces of some minutes, where nobody speaks."""

from __future__ import annotations

import numpy as np

from atrium_meeting.domain.audio import SAMPLE_RATE, AudioPiece, Samples

_PER_MS = SAMPLE_RATE // 1000
_STEP = 10 * _PER_MS
_WINDOW_STEPS = 30


class PieceCutter:
    """Cuts sound that arrives bit by bit into pieces of about one length.

    A cut lies in the middle of the quietest 300 ms within ``slack_ms`` of the mark; of equally
    quiet places, at the one nearest to it. Pieces begin at whole milliseconds, and put together
    they are exactly what was given.

    Args:
        piece_ms: Length of a piece, in milliseconds.
        slack_ms: How far from the mark a cut may lie; less than half of ``piece_ms``.
    """

    def __init__(self, piece_ms: int = 300_000, slack_ms: int = 10_000) -> None:
        if not 0 <= 2 * slack_ms < piece_ms:
            raise ValueError(f"slack_ms is {slack_ms}; expected 0 to half of {piece_ms}.")
        self._mark = piece_ms * _PER_MS
        self._slack = slack_ms * _PER_MS
        self._held: list[Samples] = []
        self._length = 0
        self._offset = 0

    def accept(self, samples: Samples) -> list[AudioPiece]:
        """Take more sound; return the pieces that are complete with it."""
        self._held.append(samples)
        self._length += len(samples)
        pieces = []
        while self._length >= self._mark + self._slack:
            sound = np.concatenate(self._held)
            cut = self._quietest(sound)
            pieces.append(AudioPiece(self._offset // _PER_MS, sound[:cut].copy()))
            self._held = [sound[cut:].copy()]
            self._length -= cut
            self._offset += cut
        return pieces

    def finish(self, *, truncated: bool = False) -> AudioPiece:
        """Return the last piece; it may be empty.

        Args:
            truncated: The recording breaks off here.
        """
        rest = np.concatenate([*self._held, np.zeros(0, np.float32)])
        self._held = []
        return AudioPiece(self._offset // _PER_MS, rest, truncated)

    def _quietest(self, sound: Samples) -> int:
        first = (self._mark - self._slack) // _STEP
        last = (self._mark + self._slack) // _STEP
        window = sound[first * _STEP : last * _STEP].astype(np.float64)
        power = np.square(window).reshape(-1, _STEP).mean(axis=1)
        if len(power) <= _WINDOW_STEPS:
            return self._mark
        smooth = np.convolve(power, np.full(_WINDOW_STEPS, 1 / _WINDOW_STEPS), "valid")
        places = (first + np.arange(len(smooth)) + _WINDOW_STEPS // 2) * _STEP
        # What differs by less than the least that 16 bits can hold is equally quiet.
        equal = np.flatnonzero(smooth <= smooth.min() + 1e-10)
        return int(places[equal[np.abs(places[equal] - self._mark).argmin()]])
