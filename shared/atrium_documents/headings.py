"""Headings by their wording: numbers such as "3.2", "第三章", "一、" and "Article 5".

Files without heading styles (plain text, most PDF files, contracts typed by hand) still say what
their headings are by numbering them. A numbered line counts only when it reads like a title.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from atrium_documents.cleaning import HAN

_DIGITS: Final = "0-9０-９〇零一二三四五六七八九十百千两"
# Ordered from the outermost: a document uses some of these, and their order gives the levels.
_SCHEMES: Final = (
    ("part", re.compile(rf"^(?:第[{_DIGITS}]+(?:编|部分|篇|卷)|(?:PART|Part)\s+[IVXLC\d]+\b)")),
    (
        "chapter",
        re.compile(
            rf"^(?:第\s?[{_DIGITS}]+\s?章|(?:CHAPTER|Chapter)\s+[IVXLC\d]+\b"
            rf"|(?:APPENDIX|Appendix|ANNEX|Annex|SCHEDULE|Schedule|EXHIBIT|Exhibit)\s+[A-Z\d]+\b"
            rf"|附[件录表]\s?[{_DIGITS}A-Z]*(?:[:：、\s]|$))"
        ),
    ),
    ("section", re.compile(rf"^(?:第\s?[{_DIGITS}]+\s?节|(?:SECTION|Section)\s+[IVXLC\d.]+\b)")),
    ("article", re.compile(rf"^(?:第\s?[{_DIGITS}]+\s?条|(?:ARTICLE|Article)\s+[IVXLC\d]+\b)")),
    ("han", re.compile("^[一二三四五六七八九十]{1,3}、")),
    ("han_in_brackets", re.compile("^[（(][一二三四五六七八九十]{1,3}[）)]")),
    ("roman", re.compile(r"^[IVXL]{1,6}\.\s")),
    ("number", re.compile(r"^\d{1,2}(?:[.．、]\s*|\s+|[.．、]?(?=[\u4e00-\u9fff]))(?=\D)")),
    ("number_2", re.compile(r"^\d{1,2}[.．]\d{1,2}[.．、]?\s*(?=[^\d\s.%])")),
    ("number_3", re.compile(r"^\d{1,2}(?:[.．]\d{1,2}){2}[.．、]?\s*(?=[^\d\s.%])")),
    ("number_4", re.compile(r"^\d{1,2}(?:[.．]\d{1,2}){3,5}[.．、]?\s*(?=[^\d\s.%])")),
)
RANK: Final = {name: rank for rank, (name, _) in enumerate(_SCHEMES)}
# These say by themselves that a line is a heading; bare numbers also begin list items.
STRONG: Final = frozenset({"part", "chapter", "section", "article"})

_LIST_MARKER: Final = re.compile(
    r"^(?:[•‣⁃∙●○◦▪▫■□➢➤✓✔\uf0b7\uf0a7\uf0d8\uf06c·–—*+\-]\s+|[•●▪■➢➤✓✔\uf0b7\uf0a7\uf0d8\uf06c](?=\S)"
    r"|\(?(?:\d{1,2}|[a-zA-Z]|[ivx]{1,5})[.)]\s+|\d{3}[.)]\s+"
    r"|[（(](?:[a-zA-Z]{1,2}|\d{1,2}|[一二三四五六七八九十]{1,3})[）)]"
    r"|\d{1,2}[）)、]|[①-⑳㈠-㈩⑴-⒇])"
)
BULLET: Final = re.compile(r"^(?:[•‣⁃∙●○◦▪▫■□➢➤✓✔\uf0b7\uf0a7\uf0d8\uf06c]\s*|[·–—*+\-]\s+)")
_SENTENCE_END: Final = tuple("。；;,，.!！?？、…")
_INNER_SENTENCE: Final = re.compile(r"[。；;]|[.!?]\s+[A-Z]")
_LONGEST_HAN: Final = 40
_LONGEST: Final = 110


def numbering_scheme(text: str) -> str | None:
    """Return which way of numbering headings ``text`` begins with, or ``None``."""
    for name, pattern in _SCHEMES:
        if pattern.match(text):
            return name
    return None


def reads_as_title(text: str) -> bool:
    """Tell whether a line is short and no sentence."""
    han = len(HAN.findall(text))
    if han > _LONGEST_HAN or len(text) > _LONGEST or not any(c.isalpha() for c in text):
        return False
    if text.endswith(_SENTENCE_END) and not re.search(r"(?:[A-Z]\.|\betc\.|\bInc\.|[?？])$", text):
        return False
    return _INNER_SENTENCE.search(text) is None


def is_list_marker(text: str) -> bool:
    """Tell whether a line begins with a bullet, a number or a letter of a list."""
    return _LIST_MARKER.match(text) is not None


def without_bullet(text: str) -> str:
    """Take the bullet off; numbers and letters stay, for they are referred to."""
    return BULLET.sub("", text, count=1)


def scheme_levels(schemes: Sequence[str], first: int = 1) -> dict[str, int]:
    """Give each numbering scheme that occurs its level: the outermost gets ``first``."""
    used = sorted(set(schemes), key=RANK.__getitem__)
    return {scheme: min(first + place, 6) for place, scheme in enumerate(used)}
