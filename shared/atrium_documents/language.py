"""Tell Chinese and English apart from everything else, by script and by common words."""

from __future__ import annotations

import re
from typing import Final

from atrium_documents.cleaning import HAN

_SAMPLE: Final = 20_000
_KANA_OR_HANGUL: Final = re.compile("[\u3040-\u30ff\uac00-\ud7af]")
_LATIN_WORD: Final = re.compile("[A-Za-z\u00c0-\u024f]+")
_LETTERS: Final = re.compile(r"[^\W\d_]+")
_FEW_WORDS: Final = 20
# Function words that are common in English and rare in other languages in Latin script.
_ENGLISH: Final = frozenset(
    "the of and to is that for it was on are as with be this by from at or have an not which "
    "has their were been will would can all you your if we our they what when who may shall must "
    "should each after before more than only no one per please see use".split()
)


def detect_language(text: str) -> str:
    """Return ``"zh"``, ``"en"`` or ``"und"`` for the language that most of ``text`` is in.

    A Han character counts as much as two thirds of a Latin word, which is about what it says.
    """
    sample = text if len(text) <= _SAMPLE else _spread(text)
    han = len(HAN.findall(sample))
    other_east_asian = len(_KANA_OR_HANGUL.findall(sample))
    words = _LATIN_WORD.findall(sample)
    letters = sum(map(len, _LETTERS.findall(sample)))
    if not letters:
        return "und"
    if other_east_asian > 0.1 * (han + other_east_asian) and other_east_asian > 5:
        return "und"
    if han * 2 / 3 > len(words):
        return "zh"
    latin = sum(map(len, words))
    if latin < 0.5 * letters:
        return "und"
    known = sum(word.lower() in _ENGLISH for word in words)
    if len(words) < _FEW_WORDS:
        return "en" if known or sample.isascii() else "und"
    return "en" if known >= 0.06 * len(words) else "und"


def _spread(text: str) -> str:
    """Take four pieces from all over a long text."""
    piece = _SAMPLE // 4
    step = (len(text) - piece) // 3
    return "\n".join(text[i * step : i * step + piece] for i in range(4))
