"""Says whether a text mentions a fact, however its numbers, widths and spaces are written."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

_CHINESE = "\u3000-\u303f\u3400-\u9fff"


@lru_cache(maxsize=1024)
def fold(text: str) -> str:
    """Return a text without differences of case, width, markup and thousands separators."""
    text = unicodedata.normalize("NFKC", text).casefold()
    text = re.sub(r"(?<=\d)[,\u202f](?=\d{3}(?!\d))", "", text)
    text = re.sub(r"[*`_|\s]+", " ", text)
    return re.sub(rf" ?([{_CHINESE}]) ?", r"\1", text).strip()


def mentions(text: str, phrase: str) -> bool:
    """Say whether a phrase stands in a text as a whole: "5 days" is not in "15 days"."""
    wanted = fold(phrase)
    before = after = ""
    if wanted[0].isdigit():
        before = "(?<![0-9])(?<![0-9][.,:])"
    elif wanted[0].isascii() and wanted[0].isalpha():
        before = "(?<![a-z])"
    if wanted[-1].isdigit():
        after = "(?![0-9])(?![.,:][0-9])"
    elif wanted[-1].isascii() and wanted[-1].isalpha():
        after = "(?![a-z])"
    return re.search(before + re.escape(wanted) + after, fold(text)) is not None


def mentions_all(text: str, facts: Iterable[Iterable[str]]) -> bool:
    """Say whether a text mentions every fact in at least one of its spellings."""
    return all(any(mentions(text, spelling) for spelling in fact) for fact in facts)
