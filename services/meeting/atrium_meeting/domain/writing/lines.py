"""A meeting as numbered lines: what a model reads, and what its sentences cite."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from atrium_grounding.sentences import split_units
from atrium_meeting.domain.analysis.sentences import Sentence
from atrium_meeting.domain.faithfulness.checking import Said
from atrium_meeting.domain.transcript import Span, join

_LONGEST: Final = {"zh": 120, "en": 300}
"""Code points of a line; a longer sentence is a line of its own."""


@dataclass(frozen=True, slots=True)
class Line:
    """Sentences that one speaker says in one go.

    Args:
        number: Its place in the meeting, from 0.
        speaker: Who speaks, "S1".
        text: The clean view.
        spans: Where it stands.
        start_ms: Where its first word begins.
        end_ms: Where its last word ends.
        sentences: Indices of its first sentence and of the one after its last.
    """

    number: int
    speaker: str
    text: str
    spans: tuple[Span, ...]
    start_ms: int
    end_ms: int
    sentences: tuple[int, int]

    @property
    def said(self) -> Said:
        """The line as what a sentence is checked against, without orders to a model."""
        return Said(self.number, self.speaker, without_orders(self.text))


_ORDERS: Final = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass)\b.{0,40}\b(?:instructions?|prompts?|guidelines)\b"
    r"|\b(?:system prompt|you are (?:now )?an? (?:ai|assistant|language model|chatbot))\b"
    r"|(?:忽略|无视|忘记|忘掉|不要理会|绕过).{0,12}(?:指令|提示词|系统提示|说明)|系统提示词",
    re.IGNORECASE,
)


def without_orders(text: str) -> str:
    """Return a text without sentences that speak to a model instead of to people.

    They stay in the transcript, and may be quoted; they carry nothing that a model writes.
    """
    if not _ORDERS.search(text):
        return text
    units = [text[unit.start : unit.end] for unit in split_units(text)]
    return " ".join(unit for unit in units if not _ORDERS.search(unit))


def lines_of(sentences: Sequence[Sentence]) -> tuple[Line, ...]:
    """Put the sentences of a meeting into lines; a line lies within one utterance, or is one."""
    lines: list[Line] = []
    begin = 0
    for i in range(1, len(sentences) + 1):
        if i < len(sentences) and _goes_on(sentences[begin:i], sentences[i]):
            continue
        lines.append(_line(len(lines), sentences[begin:i]))
        begin = i
    return tuple(lines)


def _goes_on(before: Sequence[Sentence], sentence: Sentence) -> bool:
    if sentence.utterance != before[-1].utterance or sentence.speaker != before[-1].speaker:
        return False
    length = sum(len(one.text) for one in before) + len(sentence.text)
    return length <= _LONGEST["zh" if sentence.language == "zh" else "en"]


def _line(number: int, sentences: Sequence[Sentence]) -> Line:
    return Line(
        number,
        sentences[0].speaker,
        join(sentence.text for sentence in sentences),
        merged(span for sentence in sentences for span in sentence.spans),
        sentences[0].start_ms,
        max(sentence.end_ms for sentence in sentences),
        (sentences[0].index, sentences[-1].index + 1),
    )


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return spans with those that follow each other in one utterance made one."""
    found: list[Span] = []
    for span in spans:
        if (
            found
            and found[-1].utterance == span.utterance
            and found[-1].end_word <= span.start_word
        ):
            found[-1] = Span(span.utterance, found[-1].start_word, span.end_word)
        elif span not in found:
            found.append(span)
    return tuple(found)


def is_copied(sentence: str, lines: Iterable[Line]) -> bool:
    """Tell whether a sentence is a whole line as it was said, or several, and nothing else."""
    said = [_letters(line.text) for line in lines]
    written = _letters(sentence)
    return written in "".join(said) and any(line in written for line in said)


def _letters(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())
