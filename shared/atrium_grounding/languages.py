"""Which language a question is in, for texts of a few words that may mix both."""

from __future__ import annotations

import re
from typing import Final, Literal

Language = Literal["zh", "en"]

_HAN: Final = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_LATIN_WORD: Final = re.compile("[A-Za-z\u00c0-\u024f]{2,}")
# Small words carry the grammar, so they tell the language even among foreign terms.
_CHINESE_GRAMMAR: Final = re.compile(
    "[的了吗呢是在有和哪谁几么何怎请能我你您被把与及从对]|多少|如何|是否|可以"
)
_ENGLISH_GRAMMAR: Final = re.compile(
    r"\b(?:the|an?|is|are|was|were|do|does|did|how|what|when|where|which|who|whom|whose|why|can|"
    r"could|may|must|shall|should|will|would|of|to|for|in|on|at|by|from|with|and|or|my|i|we|you|"
    r"our|your|it|there|please|tell|has|have|had|am|be|if|not)\b",
    re.IGNORECASE,
)

_MOST_WORDS_OF_A_NAME: Final = 3


def detect_language(text: str) -> Language:
    """Return the language that a question is asked in; ``"en"`` when there is nothing to tell by.

    A Chinese word is about one and a half characters. Small words decide between equals: "P5 的
    bonus 是多少" is Chinese, 'What does "年假" mean?' is English.
    """
    han = len(_HAN.findall(text))
    if not han:
        return "en"
    latin = len(_LATIN_WORD.findall(text))
    if not latin:
        return "zh"
    chinese = han / 1.5 + 3 * len(_CHINESE_GRAMMAR.findall(text))
    english = latin + 3 * len(_ENGLISH_GRAMMAR.findall(text))
    return "zh" if chinese >= english else "en"


def is_in_another(text: str, language: Language) -> bool:
    """Tell whether a text is clearly not in ``language``; names and numbers alone are in any."""
    if detect_language(text) == language:
        return False
    return language == "en" or len(_LATIN_WORD.findall(text)) >= _MOST_WORDS_OF_A_NAME + 1


def other_language(language: Language) -> Language:
    """Return English for Chinese, and Chinese for English."""
    return "en" if language == "zh" else "zh"
