"""Words to JSON and back, for files and rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from atrium_meeting.domain.transcript import Disfluency, Word

_CODES: Final[dict[Disfluency | None, int]] = {
    None: 0,
    Disfluency.FILLER: 1,
    Disfluency.REPETITION: 2,
    Disfluency.REPAIR: 3,
    Disfluency.FALSE_START: 4,
}
_DISFLUENCIES: Final = {code: label for label, code in _CODES.items()}


def words_to_json(words: Iterable[Word]) -> list[list[Any]]:
    """Return each word as [text, start_ms, end_ms, confidence, disfluency]."""
    return [
        [word.text, word.start_ms, word.end_ms, round(word.confidence, 3), _CODES[word.disfluency]]
        for word in words
    ]


def words_from_json(data: Iterable[Sequence[Any]]) -> tuple[Word, ...]:
    """Return what `words_to_json` was given; confidences have three digits."""
    return tuple(
        Word(text, start_ms, end_ms, confidence, _DISFLUENCIES[code])
        for text, start_ms, end_ms, confidence, code in data
    )
