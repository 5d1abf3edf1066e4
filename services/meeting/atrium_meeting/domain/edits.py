"""Edits of an utterance: words that stay keep their times."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Final

from atrium_meeting.domain.errors import WordsInvalid
from atrium_meeting.domain.transcript import Word, split_words

LONGEST_WORD: Final = 400
"""Most code points of a word."""


def new_words(text: str) -> list[str]:
    """Cut an edited text into words.

    Raises:
        WordsInvalid: A word is too long, or the text is neither empty nor has one.
    """
    words = split_words(text)
    if text and not words:
        raise WordsInvalid(
            "it holds nothing but white space; leave it empty to remove the utterance"
        )
    for word in words:
        if len(word) > LONGEST_WORD:
            raise WordsInvalid(
                f"the word that begins with {word[:20]!r} has {len(word)} code points, and a word "
                f"may have {LONGEST_WORD}"
            )
    return words


def edit_words(before: Sequence[Word], texts: Sequence[str]) -> tuple[Word, ...]:
    """Return the words of an edited utterance.

    Words that stay keep times and confidence; new ones share the time of those that they replace,
    by length. Words between two that stay share the pause between them, or have no length. Nobody
    doubts what a person wrote: its confidence is 1. No word is marked as a disfluency.

    Args:
        before: The words as they were, at least one.
        texts: The words as they are now.
    """
    matcher = SequenceMatcher(None, [word.text for word in before], list(texts), autojunk=False)
    edited: list[Word] = []
    for kind, first, last, new_first, new_last in matcher.get_opcodes():
        if kind == "equal":
            edited += [
                Word(word.text, word.start_ms, word.end_ms, word.confidence)
                for word in before[first:last]
            ]
        elif kind != "delete":
            start, end = _room(before, first, last)
            edited += _share(texts[new_first:new_last], start, end)
    return tuple(edited)


def _room(before: Sequence[Word], first: int, last: int) -> tuple[int, int]:
    """Return the time that is free where words ``first`` to ``last`` go away."""
    if first < last:
        return before[first].start_ms, max(word.end_ms for word in before[first:last])
    # Nothing goes away: between two words the pause is free, at either end nothing is.
    if first == 0:
        return before[0].start_ms, before[0].start_ms
    left = before[first - 1].end_ms
    return left, max(left, before[first].start_ms) if first < len(before) else left


def _share(texts: Sequence[str], start_ms: int, end_ms: int) -> list[Word]:
    total = sum(map(len, texts))
    words, done = [], 0
    for text in texts:
        begin = start_ms + (end_ms - start_ms) * done // total
        done += len(text)
        words.append(Word(text, begin, start_ms + (end_ms - start_ms) * done // total, 1.0))
    return words
