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
    before, after = _edge(wanted[0]), _edge(wanted[-1])
    found = re.search(
        (f"(?<!{before})" if before else "")
        + re.escape(wanted)
        + (f"(?!{after})" if after else ""),
        fold(text),
    )
    return found is not None


def mentions_all(text: str, facts: Iterable[Iterable[str]]) -> bool:
    """Say whether a text mentions every fact in at least one of its spellings."""
    return all(any(mentions(text, spelling) for spelling in fact) for fact in facts)


def _edge(character: str) -> str:
    """Return what may not stand beside this character, were it at the end of a phrase."""
    if character.isdigit():
        return "[0-9]"
    return "[a-z]" if character.isascii() and character.isalpha() else ""
