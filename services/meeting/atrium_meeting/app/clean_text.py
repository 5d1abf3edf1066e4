"""Clean a text that is no meeting: what is left out, and what stays."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from atrium_meeting.app.ports import Cleaner
from atrium_meeting.app.workers import Workers
from atrium_meeting.domain.errors import TextTooLong
from atrium_meeting.domain.transcript import (
    Disfluency,
    capitalised,
    handed_on,
    is_unspaced,
    split_words,
)

MOST_CHARACTERS: Final = 200_000
"""The longest text, in Unicode code points."""
_SENTENCE: Final = re.compile(r"[^\n.?!。？！]*(?:[\n。？！]+|[.?!]+(?=\s|$)|[.?!]+|$)")


@dataclass(frozen=True, slots=True)
class Removal:
    """A part of a text that the clean text leaves out.

    Args:
        start: First code point.
        end: The code point after the last one.
        disfluency: Why.
    """

    start: int
    end: int
    disfluency: Disfluency


@dataclass(frozen=True, slots=True)
class CleanedText:
    """A text and what is left out of it.

    Args:
        clean_text: The text without its removals; a sentence keeps the capital it began with.
        removals: In order, without overlap.
        model: What marked them.
    """

    clean_text: str
    removals: tuple[Removal, ...]
    model: str


@dataclass(frozen=True, slots=True)
class _Sentence:
    language: str
    words: list[str]
    starts: list[int]
    """Where each word begins in the text; one more at the end: where what follows begins."""


class CleanText:
    """The use case.

    Args:
        cleaner: Marks disfluencies.
        workers: Threads that do it.
    """

    def __init__(self, cleaner: Cleaner, workers: Workers) -> None:
        self._cleaner = cleaner
        self._workers = workers

    async def __call__(self, text: str, language: str = "") -> CleanedText:
        """Return the text without disfluencies, and what they are.

        Args:
            text: At most 200,000 code points.
            language: "zh" or "en"; empty: found out sentence by sentence.

        Raises:
            TextTooLong: The text is longer.
        """
        if len(text) > MOST_CHARACTERS:
            raise TextTooLong(len(text), MOST_CHARACTERS)
        return await self._workers.run(clean, self._cleaner, text, language)


def clean(cleaner: Cleaner, text: str, language: str = "") -> CleanedText:
    """Do what :class:`CleanText` does, in this thread."""
    sentences = list(_sentences(text, language))
    labels: list[list[Disfluency | None]] = [[] for _ in sentences]
    for each in ("zh", "en"):
        own = [place for place, one in enumerate(sentences) if one.language == each]
        marked = cleaner.mark(each, [sentences[place].words for place in own])
        for place, found in zip(own, marked, strict=True):
            labels[place] = found
    removals: list[Removal] = []
    capitals: list[tuple[int, str]] = []
    for sentence, found in zip(sentences, labels, strict=True):
        removals += _removals(sentence, found)
        for place in handed_on(sentence.words, [label is not None for label in found]):
            capitals.append((sentence.starts[place], capitalised(sentence.words[place])))
    left = list(text)
    for start, word in capitals:
        left[start : start + len(word)] = word
    for removal in reversed(removals):
        del left[removal.start : removal.end]
    return CleanedText("".join(left), tuple(removals), cleaner.model)


def _removals(sentence: _Sentence, labels: Sequence[Disfluency | None]) -> list[Removal]:
    found: list[Removal] = []
    for place, label in enumerate(labels):
        if label is None:
            continue
        start, end = sentence.starts[place], sentence.starts[place + 1]
        if found and found[-1].end == start and found[-1].disfluency is label:
            found[-1] = Removal(found[-1].start, end, label)
        else:
            found.append(Removal(start, end, label))
    return found


def _sentences(text: str, language: str) -> Iterator[_Sentence]:
    for match in _SENTENCE.finditer(text):
        words = split_words(match.group())
        if not words:
            continue
        starts = _places(text, match.start(), match.end(), words)
        yield _Sentence(language or language_of(words), words, starts)


def _places(text: str, begin: int, end: int, words: Sequence[str]) -> list[int]:
    """Return where words begin in a part of a text; white space belongs to the one before."""
    starts = []
    place = begin
    for word in words:
        while text[place].isspace():
            place += 1
        starts.append(place)
        left = len(word)
        while left:
            left -= not text[place].isspace()
            place += 1
    after = place
    while after < end and text[after].isspace() and text[after] != "\n":
        after += 1
    return [*starts, after]


def language_of(words: Sequence[str]) -> str:
    """Return "zh" where at least as many words are Chinese characters as are others, else "en"."""
    unspaced = sum(is_unspaced(word[0]) for word in words)
    return "zh" if 2 * unspaced >= len(words) else "en"
