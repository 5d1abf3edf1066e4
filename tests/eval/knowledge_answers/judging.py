"""Says whether a passage is the right one, and whether a reply holds the answer.

* A **passage** is right when it is a part of the paragraph that answers and holds an answer of the
  set; where the set quotes sentences instead, when it holds half of a quote's runs of three words.
* A **reply** holds the fact when it mentions an answer of the set (whatever the script, width,
  case and spaces; numbers as a whole), or, for an answer of at least 10 letters, four fifths of
  its pairs of letters; where the set quotes sentences, also when it repeats a quote, judged as a
  passage is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from atrium_grounding.tokens import fold
from atrium_suite.demo.facts import mentions_all

if TYPE_CHECKING:
    from .sets import Question

LONG_ANSWER_LETTERS = 10
LONG_ANSWER_SHARE = 0.8
QUOTE_SHARE = 0.5
_WORDS_A_RUN = 3
_FEW_RUNS = 4
"""A quote with fewer runs must be found whole: half of it would say little."""
_CITATION = re.compile(r"\[\d+\]")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_WORD = re.compile(r"[^\W_]+")


@lru_cache(maxsize=20_000)
def letters(text: str) -> str:
    """Return the letters and digits of a text, in simplified characters and lower case."""
    return "".join(character for character in fold(text) if character.isalnum())


def is_right_passage(passage: str, question: Question) -> bool:
    """Say whether a passage is one that answers the question."""
    if not question.paragraph:
        return any(_repeats(passage, quote) for quote in question.quotes)
    shown = letters(passage)
    return shown in letters(question.paragraph) and any(
        letters(spelling) in shown for group in question.facts for spelling in group
    )


def holds_fact(reply: str, question: Question) -> bool:
    """Say whether a reply states what the question asks for."""
    reply = _CITATION.sub("", reply)
    return (
        mentions_in([reply], question.facts)
        or all(any(_mostly(reply, one) for one in group) for group in question.facts)
        or any(_repeats(reply, quote) for quote in question.quotes)
    )


def mentions_in(texts: Iterable[str], facts: Sequence[Sequence[str]]) -> bool:
    """Say whether one of the texts mentions every fact in one of its spellings."""
    wanted = [[fold(spelling.strip(" 。，；、.,;")) for spelling in group] for group in facts]
    plain = [[letters(spelling) for spelling in group] for group in facts]
    for text in texts:
        # Most texts hold none of it: look for the bare letters before looking closely.
        shown = letters(text)
        if all(any(one in shown for one in group) for group in plain) and mentions_all(
            fold(text), wanted
        ):
            return True
    return False


def _mostly(reply: str, answer: str) -> bool:
    wanted, shown = letters(answer), letters(reply)
    if len(wanted) < LONG_ANSWER_LETTERS:
        return False
    pairs = {wanted[at : at + 2] for at in range(len(wanted) - 1)}
    return sum(pair in shown for pair in pairs) >= LONG_ANSWER_SHARE * len(pairs)


def _repeats(text: str, quote: str) -> bool:
    """Say whether a text repeats a quote from Markdown; a table's cells are compared each."""
    cells = _LINK.sub(r"\1", quote).split("|")
    runs = {run for cell in cells for run in _runs(cell)}
    found = " " + " ".join(_WORD.findall(fold(text))) + " "
    share = 1.0 if len(runs) < _FEW_RUNS else QUOTE_SHARE
    return bool(runs) and sum(f" {run} " in found for run in runs) >= share * len(runs)


def _runs(text: str) -> Iterable[str]:
    words = _WORD.findall(fold(text))
    size = min(_WORDS_A_RUN, len(words))
    return (" ".join(words[at : at + size]) for at in range(len(words) - size + 1) if size)
