"""One spelling for what people write in many: full width, other digits, characters unseen."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_DASHES = "‐‑‒–—―−﹘﹣－⁃"
_DOTS = "•・‧∙⋅●．。｡"
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)


class _Spellings(dict[int, str]):
    """Each character in plain spelling, one for one; worked out when first met."""

    def __missing__(self, code: int) -> str:
        plain = _plain(chr(code))
        self[code] = plain
        return plain


def _plain(char: str) -> str:
    if char in _DASHES:
        return "-"
    if char in _DOTS:
        # A full stop of Chinese ends sentences; the others stand between parts of numbers.
        return char if char == "。" else "." if char in "．｡" else "·"
    if char in "\n\r\x0b\x0c\x85\u2028\u2029":
        return "\n"
    if char.isspace():
        return " "
    if char < "\x80" or "\u4e00" <= char <= "\u9fff":
        return char
    digit = unicodedata.digit(char, None)
    if digit is not None:
        return str(digit)
    folded = unicodedata.normalize("NFKC", char)
    return folded if len(folded) == 1 and (folded < "\x80" or folded.isalnum()) else char


_SPELLINGS = _Spellings()


class Normalised:
    """A text in plain spelling, and where each of its characters stood.

    Args:
        original: Any text.
    """

    __slots__ = ("_places", "text")

    def __init__(self, original: str) -> None:
        self._places: Sequence[int] | None = None
        if not original.isascii() and _UNSEEN.search(original):
            places = [at for at, char in enumerate(original) if not _UNSEEN.match(char)]
            original = "".join([original[at] for at in places])
            self._places = places
        self.text = original.translate(_SPELLINGS)

    def where(self, start: int, end: int) -> tuple[int, int]:
        """Return the place of ``text[start:end]``, not empty, in the original."""
        if self._places is None:
            return start, end
        return self._places[start], self._places[end - 1] + 1
