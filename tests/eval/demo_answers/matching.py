"""Says whether a text mentions a fact, however its numbers and spaces are written."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

_CHINESE = "\u3400-\u9fff\u3000-\u303f"


@lru_cache(maxsize=4096)
def normalise(text: str) -> str:
    """Folds case, width, thousands separators and the spaces around Chinese characters.

    So `15 天`, `15天` and `１５ 天` are the same, and so are `30,400` and `30400`.
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    text = re.sub(r"(?<=\d)[,\u202f](?=\d{3}(?!\d))", "", text)
    text = re.sub(r"[*`_|]+", " ", text)
    text = re.sub(r"\s+", " ", text)
    return re.sub(rf"(?<=[{_CHINESE}]) | (?=[{_CHINESE}])", "", text).strip()


def mentions(text: str, phrase: str) -> bool:
    """Returns whether `phrase` occurs in `text` as a whole: `5 days` is not in `15 days`."""
    wanted = normalise(phrase)
    before = r"(?<![0-9])(?<![0-9][.,:])" if wanted[0].isdigit() else ""
    after = r"(?![0-9])(?![.,:][0-9])" if wanted[-1].isdigit() else ""
    if wanted[0].isascii() and wanted[0].isalpha():
        before = "(?<![a-z])"
    if wanted[-1].isascii() and wanted[-1].isalpha():
        after = "(?![a-z])"
    return re.search(before + re.escape(wanted) + after, normalise(text)) is not None


def holds_facts(text: str, facts: Iterable[Iterable[str]]) -> bool:
    """Returns whether every fact occurs in `text` in at least one of its spellings."""
    return all(any(mentions(text, spelling) for spelling in fact) for fact in facts)


def shown_forbidden(text: str, forbidden: Iterable[str]) -> list[str]:
    """Returns those of the forbidden phrases that `text` mentions."""
    return [phrase for phrase in forbidden if mentions(text, phrase)]
