"""Words as the tagger reads them: without punctuation, without case, in simplified Chinese."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from enum import IntEnum
from typing import Final, NamedTuple


class Mark(IntEnum):
    """What follows a word."""

    NONE = 0
    COMMA = 1
    STOP = 2
    QUESTION = 3
    BREAK = 4
    """A dash, dots: the speaker breaks off or hesitates."""
    OTHER = 5


class Case(IntEnum):
    """How a word is written."""

    PLAIN = 0
    CAPITAL = 1
    """It begins with a capital letter."""
    UPPER = 2
    """It holds more capitals: an abbreviation, a product."""
    BROKEN = 3
    """It ends in a hyphen: broken off."""
    DIGITS = 4
    """It holds a digit."""


class Unit(NamedTuple):
    """A word as the tagger reads it.

    Args:
        core: Its letters and digits, lower case; the word itself where it has none.
        mark: What follows it.
        case: How it is written.
        capital: Whether it begins with a capital letter, also when it is broken off.
    """

    core: str
    mark: Mark
    case: Case
    capital: bool = False


_MARKS: Final[Mapping[str, Mark]] = {
    **dict.fromkeys(",，、;；:：", Mark.COMMA),
    **dict.fromkeys(".。", Mark.STOP),
    **dict.fromkeys("?？!！", Mark.QUESTION),
    **dict.fromkeys("-–—…~～", Mark.BREAK),
}
_APOSTROPHES: Final = str.maketrans({"’": "'", "ʼ": "'", "‘": "'", "＇": "'"})


def read_word(word: str) -> Unit:
    """Return a word as the tagger reads it."""
    if word.isalpha() and word.islower():
        return Unit(word, Mark.NONE, Case.PLAIN)
    begin, end = 0, len(word)
    while end > begin and not _counts(word[end - 1]):
        end -= 1
    while begin < end and not _counts(word[begin]):
        begin += 1
    if begin == end:
        return Unit(word, _MARKS.get(word[-1:], Mark.OTHER), Case.PLAIN)
    core, tail = word[begin:end], word[end:].strip()
    mark = Mark.NONE
    if tail:
        mark = next((_MARKS[sign] for sign in tail if sign in _MARKS), Mark.OTHER)
        if "..." in tail or "…" in tail:
            mark = Mark.BREAK
    return Unit(core.lower().translate(_APOSTROPHES), mark, _case(core, tail), core[0].isupper())


def _counts(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character)[0] == "M"


def _case(core: str, tail: str) -> Case:
    if any(character.isdigit() for character in core):
        return Case.DIGITS
    if tail.startswith(("-", "–", "—")):
        return Case.BROKEN
    if not core[0].isupper():
        return Case.PLAIN
    return Case.UPPER if any(letter.isupper() for letter in core[1:]) else Case.CAPITAL
