"""What a text names: people, places, products, codes."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from atrium_grounding import tokens
from atrium_grounding.languages import detect_language

if TYPE_CHECKING:
    import rjieba

_LATIN_NAME: Final = re.compile(
    r"[A-Za-z\u00c0-\u024f\d]+(?:[-_/][A-Za-z\u00c0-\u024f\d]+|(?<=[A-Z]) \d+(?!\w))*"
)
_NAME_TAGS: Final = frozenset({"nr", "nrfg", "nrt", "ns", "nt", "nz"})
# Capitalised words that name no thing that a text must mention.
_NO_NAMES: Final = frozenset(
    "monday tuesday wednesday thursday friday saturday sunday january february march april may "
    "june july august september october november december ok id faq pdf".split()
)


def names_in(text: str) -> tuple[str, ...]:
    """Return what ``text`` names, folded, each once: codes such as "p5", people, places, products.

    Chinese names are found by the segmenter's tags, Latin ones by capitals (inside a Chinese
    question every Latin word is one).
    """
    chinese = detect_language(text) == "zh"
    found: list[str] = []
    for match in _LATIN_NAME.finditer(text):
        word = match.group()
        plain = "".join(part for part in re.split(r"[-_/ ]", tokens.fold(word)) if part)
        if word[0].isdigit() or plain in tokens.ENGLISH_STOP_WORDS or plain in _NO_NAMES:
            continue
        code = any(c.isdigit() for c in word) or (len(word) > 1 and word.isupper())
        inner = word[0].isupper() and text[: match.start()].strip(" \"'“‘(") != ""
        if code or chinese or inner or any(c.isupper() for c in word[1:]):
            found.append(plain)
    if chinese:
        folded = tokens.fold(text)
        found.extend(
            word for word, tag in tagger().tag(folded) if tag in _NAME_TAGS and len(word) > 1
        )
    return tuple(dict.fromkeys(found))


@cache
def tagger() -> rjieba.Jieba:
    """Return the segmenter that tells names by their tags; it is read on the first call."""
    import rjieba  # here, as its dictionary takes 35 MB of a process that may never need it

    return rjieba.Jieba()
