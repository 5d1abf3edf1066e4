"""Write minutes anew in a model's words, over the minutes that were taken from what was said.

Type, chapters, sections, decisions, actions, owners and dates are those that were found by rules.
A model writes the sentences of sections and the overview, and may say decisions and actions more
clearly; every sentence is checked. What it leaves empty keeps the words that were said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from atrium_meeting.app.write_sentences import (
    MINUTES_TASK,
    TooSlow,
    WriteSentences,
    Written,
)
from atrium_meeting.domain.minutes import CitedSentence, Minutes, Role, Section
from atrium_meeting.domain.transcript import Span
from atrium_meeting.domain.writing.lines import Line, is_copied
from atrium_meeting.domain.writing.meeting_text import MeetingText, spans_of, speaker_of
from atrium_meeting.domain.writing.prompts import PART_CHARACTERS, Request, ask_for
from atrium_shared.database import DatabaseUnavailable
from atrium_shared.engines import Engine, Usage
from atrium_shared.errors import Unavailable
from atrium_shared.principal import Principal

JSON: TypeAlias = Mapping[str, Any]
Step: TypeAlias = Callable[[str, Callable[[], Awaitable[JSON]]], Awaitable[JSON]]
"""Runs a piece of work, or returns what it returned before a crash (``JobContext.step``)."""

_SENTENCE_CHARACTERS: Final = {"zh": 160, "en": 420}
"""So much talk is worth one sentence."""
_MOST_OF_A_PART: Final = 5
_OVERVIEW: Final = 3
_REWORDED_AT_ONCE: Final = 6


@dataclass(frozen=True, slots=True)
class Rewritten:
    """Minutes in a model's words.

    Args:
        minutes: The minutes.
        usage: Tokens spent.
        dropped: Sentences that were not carried.
    """

    minutes: Minutes
    usage: Usage
    dropped: int


@dataclass(frozen=True, slots=True)
class _Part:
    """What one call of the model is for: a section by its index, or -1 for the overview."""

    section: int
    request: Request


class RewriteMinutes:
    """Writes minutes in a model's words.

    Args:
        write: Writes sentences.
        at_once: Calls of the model that run beside each other; their results are one step.
        seconds: How long writing may take in all; what is not reached keeps the words as said.
    """

    def __init__(self, write: WriteSentences, *, at_once: int = 2, seconds: float = 1800.0) -> None:
        self._write = write
        self._at_once = at_once
        self._seconds = seconds

    async def __call__(
        self,
        principal: Principal,
        text: MeetingText,
        minutes: Minutes,
        language: str,
        step: Step,
        progress: Callable[[int, int], Awaitable[None]],
    ) -> Rewritten:
        """Return minutes in a model's words.

        Args:
            principal: On whose account.
            text: The meeting.
            minutes: Minutes as they were taken from what was said.
            language: Language to write in.
            step: Keeps what is done, through a crash.
            progress: Told how many parts are done, of how many.

        Raises:
            Unavailable: Nothing writes: not one part could be written.
        """
        parts = _parts(text, minutes, language)
        items = _items(text, minutes, language)
        work = [*parts, *items]
        done: list[Written] = []
        deadline = asyncio.get_running_loop().time() + self._seconds
        failure: Unavailable | None = None
        for first in range(0, len(work), self._at_once):
            batch = work[first : first + self._at_once]

            async def run(batch: Sequence[_Part] = batch) -> JSON:
                wrote = await asyncio.gather(
                    *(self._one(principal, text, part, language, deadline) for part in batch)
                )
                return {"parts": [one.to_json() for one in wrote]}

            if failure is None:
                try:
                    result = await step(f"parts-{first}", run)
                    done += [Written.from_json(one) for one in result["parts"]]
                except DatabaseUnavailable:
                    raise  # no absence of a model: the parts are kept there
                except Unavailable as error:
                    if not any(one.engine for one in done):
                        raise
                    failure = error
            if failure is not None:
                done += [Written(failure=failure.message) for _ in batch]
            await progress(len(done), len(work))
        if not any(one.engine for one in done):
            raise TooSlow(self._seconds)
        return _assemble(text, minutes, language, work, done)

    async def _one(
        self, principal: Principal, text: MeetingText, part: _Part, language: str, deadline: float
    ) -> Written:
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            return Written(failure="Writing took longer than it may.")
        try:
            async with asyncio.timeout(left):
                return await self._write(principal, MINUTES_TASK, text, part.request, language)
        except TimeoutError:
            return Written(failure="Writing took longer than it may.")


def pack(lines: Sequence[Line], language: str) -> list[list[Line]]:
    """Return lines in parts that a small model can read at once."""
    room = PART_CHARACTERS[language]
    parts: list[list[Line]] = []
    used = 0
    for line in lines:
        if parts and used + len(line.text) <= room:
            parts[-1].append(line)
            used += len(line.text)
        else:
            parts.append([line])
            used = len(line.text)
    return parts


def _parts(text: MeetingText, minutes: Minutes, language: str) -> list[_Part]:
    found: list[_Part] = []
    spoken = text.language
    for index, section in enumerate(minutes.sections):
        lines = text.lines_in(section.stretches, section.speaker)
        for part in pack(lines, spoken):
            characters = sum(len(line.text) for line in part)
            most = min(_MOST_OF_A_PART, max(1, round(characters / _SENTENCE_CHARACTERS[spoken])))
            request = ask_for("part", part, text.names, language, most, type=minutes.type)
            found.append(_Part(index, request))
    key = text.lines_of_spans(
        span
        for sentence in (*minutes.overview, *(one.sentence for one in minutes.decisions))
        for span in sentence.spans
    )
    if key:
        lines = pack(key, spoken)[0]
        found.append(_Part(-1, ask_for("overview", lines, text.names, language, _OVERVIEW)))
    return found


def _items(text: MeetingText, minutes: Minutes, language: str) -> list[_Part]:
    """Return what asks for decisions and actions in clear words."""
    sentences = [
        *(one.sentence for one in minutes.decisions),
        *(one.sentence for one in minutes.actions),
    ]
    lines = [line for one in sentences for line in text.lines_of_spans(one.spans)]
    unique = list({line.number: line for line in lines}.values())
    return [
        _Part(-2, ask_for("reword", part, text.names, language, len(part)))
        for first in range(0, len(unique), _REWORDED_AT_ONCE)
        for part in [unique[first : first + _REWORDED_AT_ONCE]]
    ]


def _assemble(
    text: MeetingText,
    minutes: Minutes,
    language: str,
    work: Sequence[_Part],
    done: Sequence[Written],
) -> Rewritten:
    roles = _roles(text, minutes)
    sections: list[list[CitedSentence]] = [[] for _ in minutes.sections]
    overview: list[CitedSentence] = []
    reworded: list[CitedSentence] = []
    for part, written in zip(work, done, strict=True):
        for kept in written.sentences:
            lines = text.numbered(kept.lines)
            if part.section == -2 and is_copied(kept.text, lines):
                # No clearer than what the rules chose to quote, and longer.
                continue
            sentence = CitedSentence(
                "", kept.text, spans_of(lines), _role(lines, roles), speaker_of(lines)
            )
            if part.section >= 0:
                sections[part.section].append(sentence)
            else:
                (overview if part.section == -1 else reworded).append(sentence)
    complete = [
        replace(section, sentences=tuple(new) or section.sentences)
        for section, new in zip(minutes.sections, sections, strict=True)
    ]
    engine = _engine(done, any(not new for new in sections), language, text.language)
    result = replace(
        minutes,
        language=language,
        overview=tuple(overview) or minutes.overview,
        sections=tuple(complete),
        decisions=tuple(
            replace(one, sentence=_clearer(text, one.sentence, reworded))
            for one in minutes.decisions
        ),
        actions=tuple(
            replace(one, sentence=_clearer(text, one.sentence, reworded)) for one in minutes.actions
        ),
        engine=engine,
    )
    usage = sum((one.usage for one in done), start=Usage())
    return Rewritten(renumbered(result), usage, sum(one.dropped for one in done))


def _clearer(
    text: MeetingText, sentence: CitedSentence, reworded: Iterable[CitedSentence]
) -> CitedSentence:
    """Return a decision or action in a model's words, where all of its lines carry them."""
    mine = {line.number for line in text.lines_of_spans(sentence.spans)}
    for other in reworded:
        theirs = {line.number for line in text.lines_of_spans(other.spans)}
        if theirs and theirs <= mine:
            return replace(sentence, text=other.text)
    return sentence


def _roles(text: MeetingText, minutes: Minutes) -> dict[int, Role]:
    """Return what lines are to the meeting, as far as the rules found out."""
    found: dict[int, Role] = {}
    for section in minutes.sections:
        for sentence in section.sentences:
            for line in text.lines_of_spans(sentence.spans):
                if sentence.role is not Role.POINT:
                    found.setdefault(line.number, sentence.role)
    return found


def _role(lines: Iterable[Line], roles: Mapping[int, Role]) -> Role:
    found = {roles.get(line.number, Role.POINT) for line in lines}
    return next(iter(found)) if len(found) == 1 else Role.POINT


def _engine(done: Sequence[Written], filled: bool, language: str, spoken: str) -> Engine:
    engine = next(one.engine for one in done if one.engine is not None)
    failure = next((one.failure for one in done if one.failure), "")
    if not failure and filled and language != spoken:
        failure = "Where nothing that was written held, the words stand as they were said."
    if failure:
        return replace(engine, degraded=True, degraded_reason=failure)
    return engine


def renumbered(minutes: Minutes) -> Minutes:
    """Return minutes whose sentences are s1, s2, ... in the order of reading."""
    numbers = iter(range(1, 1 + sum(1 for _ in minutes.sentences())))

    def named(sentence: CitedSentence) -> CitedSentence:
        return replace(sentence, id=f"s{next(numbers)}")

    def section_of(section: Section) -> Section:
        return replace(section, sentences=tuple(named(one) for one in section.sentences))

    overview = tuple(named(one) for one in minutes.overview)
    sections = tuple(section_of(section) for section in minutes.sections)
    decisions = tuple(replace(one, sentence=named(one.sentence)) for one in minutes.decisions)
    actions = tuple(replace(one, sentence=named(one.sentence)) for one in minutes.actions)
    return replace(
        minutes, overview=overview, sections=sections, decisions=decisions, actions=actions
    )


def valid(spans: Iterable[Span], text: MeetingText) -> bool:
    """Tell whether spans point to words of the transcript."""
    lengths = {one.id: len(one.words) for one in text.transcript.utterances}
    spans = list(spans)
    return bool(spans) and all(
        0 <= span.start_word < span.end_word <= lengths.get(span.utterance, 0) for span in spans
    )
