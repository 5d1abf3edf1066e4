"""Answer a question from what was said in a meeting, sentence by sentence with citations.

Lines are found by words (across Chinese and English) and, where there is an encoder, by meaning. A
question for what somebody said is answered from their words alone, one for decisions or tasks from
those that were found. A score, never a model's words, decides whether anything answers; the answer
is what was said, or is written by a model and checked sentence by sentence.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from atrium_grounding.languages import detect_language
from atrium_grounding.lexicon import lexicon
from atrium_meeting.app.analyse_meeting import AnalysedMeeting, AnalyseMeeting
from atrium_meeting.app.ports import MeetingReader
from atrium_meeting.app.write_modes import EXTRACTIVE, WriteMode, degraded
from atrium_meeting.app.write_sentences import ASK_TASK
from atrium_meeting.domain.asking import (
    MOST_QUESTION_CHARACTERS,
    Asked,
    Intent,
    understand,
)
from atrium_meeting.domain.errors import LanguageNeedsGenerator, QuestionTooLong
from atrium_meeting.domain.minutes import CitedSentence
from atrium_meeting.domain.writing.lines import Line
from atrium_meeting.domain.writing.meeting_text import spans_of, speaker_of
from atrium_meeting.domain.writing.prompts import Proposed, ReplyReader, ask_for, schema
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.engines import Engine, EngineKind, Usage
from atrium_shared.errors import AtriumError, Unavailable
from atrium_shared.models import ChatMessage, Embedder, Generated, Role, WholeTextGenerator
from atrium_shared.principal import Principal

_QUOTED: Final = 3
"""Most lines of an answer as it was said."""
_LISTED: Final = 12
"""Most decisions or actions of an answer."""
_READ: Final = 8
"""Lines that a model reads."""
_WRITTEN: Final = 3
"""Most sentences that a model writes."""
_MATCHES: Final = 0.5
"""Weighed share of the question's words that a decision or action must meet."""
_RULES: Final = Engine(EngineKind.RULES, "atrium")


class Outcome(StrEnum):
    """How a question was decided."""

    ANSWERED = "answered"
    NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of an answer.

    Args:
        outcome: How it was decided.
        sentences: All of it; empty when nothing was found.
        engine: What wrote it.
        usage: Tokens spent.
        meeting: What was said, for citations.
    """

    outcome: Outcome
    sentences: tuple[CitedSentence, ...]
    engine: Engine
    usage: Usage
    meeting: AnalysedMeeting


@dataclass(frozen=True, slots=True)
class Told:
    """The next sentence of an answer. Only what its citations support is told.

    Args:
        sentence: The sentence.
        meeting: What was said, for citations.
    """

    sentence: CitedSentence
    meeting: AnalysedMeeting


AskEvent = Told | Answer


@dataclass
class _Draft:
    sentences: list[CitedSentence] = field(default_factory=list)
    engine: Engine = EXTRACTIVE
    usage: Usage = field(default_factory=Usage)

    def add(self, sentence: CitedSentence) -> CitedSentence:
        named = replace(sentence, id=f"s{len(self.sentences) + 1}")
        self.sentences.append(named)
        return named


class AskMeeting:
    """The use case.

    Args:
        meetings: Reads meetings.
        analyse: Finds what was said.
        embedder: Makes sentence vectors.
        generator: Writes.
        audit: Records calls.
    """

    def __init__(
        self,
        meetings: MeetingReader,
        analyse: AnalyseMeeting,
        embedder: Embedder,
        generator: WholeTextGenerator,
        audit: AuditTrail,
    ) -> None:
        self._meetings = meetings
        self._analyse = analyse
        self._embedder = embedder
        self._generator = generator
        self._audit = audit

    async def __call__(
        self,
        principal: Principal,
        meeting: str,
        question: str,
        *,
        language: str = "",
        mode: WriteMode = WriteMode.AUTO,
    ) -> AsyncGenerator[AskEvent, None]:
        """Yield sentences as they are ready, then the answer.

        Args:
            principal: Who asks.
            meeting: Resource name, "meetings/m1".
            question: At most 4,000 code points.
            language: Of the answer, "zh" or "en"; empty: that of the question, or as it was said
                where nothing writes.
            mode: How the answer is made.

        Raises:
            QuestionTooLong: The question is longer.
            MeetingNotFound: There is no such meeting, or it is not theirs to read.
            MeetingHasNoTranscript: Nothing was said yet.
            LanguageNeedsGenerator: A language other than the meeting's was asked for, and nothing
                writes.
            Unavailable: ``mode`` is GENERATIVE, and nothing writes.
        """
        if len(question) > MOST_QUESTION_CHARACTERS:
            raise QuestionTooLong(len(question), MOST_QUESTION_CHARACTERS)
        async with self._audit.call(principal, "AskMeeting", meeting):
            readable = await self._meetings.read(principal, meeting)
            analysed = await self._analyse(principal, readable)
            draft = _Draft()
            asked = await asyncio.to_thread(understand, question, analysed.finder.people, lexicon())
            if asked.intent in (Intent.DECISION, Intent.ACTION):
                await analysed.embed(principal, self._embedder, while_waited_for=True)
            likeness = await self._likeness(principal, analysed, question, draft)
            quotes = await asyncio.to_thread(_quotes, analysed, asked, likeness)
            if quotes:
                spoken = language or detect_language(question)
                writing = self._tell(
                    principal,
                    analysed,
                    asked,
                    likeness,
                    quotes,
                    spoken,
                    bool(language),
                    mode,
                    draft,
                )
                async with aclosing(writing):
                    async for sentence in writing:
                        yield Told(sentence, analysed)
                outcome = Outcome.ANSWERED
            else:
                draft.engine, outcome = _RULES, Outcome.NOT_FOUND
            answer = Answer(outcome, tuple(draft.sentences), draft.engine, draft.usage, analysed)
        yield answer

    async def _likeness(
        self, principal: Principal, analysed: AnalysedMeeting, question: str, draft: _Draft
    ) -> npt.NDArray[np.float32] | None:
        """Return the cosine of the question to every line; ``None`` without an encoder."""
        rows = await analysed.line_vectors(principal, self._embedder)
        if rows is None:
            return None
        try:
            embedded = await self._embedder.embed(principal, [question], "query")
        except Unavailable:
            return None
        draft.usage += Usage(encoder_tokens=embedded.tokens)
        likeness: npt.NDArray[np.float32] = rows @ embedded.vectors[0]
        return likeness

    async def _tell(
        self,
        principal: Principal,
        analysed: AnalysedMeeting,
        asked: Asked,
        likeness: npt.NDArray[np.float32] | None,
        quotes: Sequence[CitedSentence],
        language: str,
        demanded: bool,
        mode: WriteMode,
        draft: _Draft,
    ) -> AsyncGenerator[CitedSentence, None]:
        spoken = analysed.text.language
        other = demanded and language != spoken
        if mode is WriteMode.EXTRACTIVE:
            if other:
                raise LanguageNeedsGenerator(language, spoken)
            for quote in quotes:
                yield draft.add(quote)
            return
        try:
            writing = self._write(principal, analysed, asked, likeness, quotes, language, draft)
            async with aclosing(writing):
                async for sentence in writing:
                    yield sentence
        except AtriumError as error:
            if mode is WriteMode.GENERATIVE and not draft.sentences:
                raise
            if other and not draft.sentences:
                raise LanguageNeedsGenerator(language, spoken) from error
            if not isinstance(error, Unavailable):
                raise
            draft.engine = degraded(draft.engine, error.message)
        if not draft.sentences:
            # Nothing that was written held: what was said does.
            reason = draft.engine.degraded_reason or "What the model wrote was not said."
            draft.engine = degraded(EXTRACTIVE, reason)
            for quote in quotes:
                yield draft.add(quote)

    async def _write(
        self,
        principal: Principal,
        analysed: AnalysedMeeting,
        asked: Asked,
        likeness: npt.NDArray[np.float32] | None,
        quotes: Sequence[CitedSentence],
        language: str,
        draft: _Draft,
    ) -> AsyncGenerator[CitedSentence, None]:
        """Yield what a model writes as far as the lines carry it."""
        text = analysed.text
        lines = await asyncio.to_thread(_read, analysed, asked, likeness, quotes)
        request = ask_for("answer", lines, text.names, language, _WRITTEN, question=asked.text)
        messages = [
            ChatMessage(Role.SYSTEM, request.system),
            ChatMessage(Role.USER, request.user),
        ]
        reader = ReplyReader(request)
        stream = self._generator.stream(
            principal, ASK_TASK, messages, request.max_tokens, response_schema=schema(_WRITTEN)
        )
        try:
            async for part in stream:
                if isinstance(part, Generated):
                    draft.usage += part.usage
                    draft.engine = part.engine
                    continue
                for proposed in reader.feed(part):
                    kept = await asyncio.to_thread(_kept, analysed, proposed)
                    if kept is not None and all(kept.text != one.text for one in draft.sentences):
                        yield draft.add(kept)
        finally:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()


def _kept(analysed: AnalysedMeeting, proposed: Proposed) -> CitedSentence | None:
    verdict = analysed.text.check(proposed.text, proposed.lines)
    if verdict.fault is not None:
        return None
    lines = analysed.text.numbered(verdict.support)
    return CitedSentence("", proposed.text, spans_of(lines), speaker=speaker_of(lines))


def _quotes(
    analysed: AnalysedMeeting, asked: Asked, likeness: npt.NDArray[np.float32] | None
) -> list[CitedSentence]:
    """Return what was said that answers, in order of time; none where nothing does."""
    if asked.intent is Intent.DECISION:
        found = _matching(analysed, asked, [one.sentence for one in analysed.decisions])
        if found:
            return found
    if asked.intent is Intent.ACTION:
        actions = [
            one for one in analysed.actions if not asked.people or one.owner_speaker in asked.people
        ]
        found = _matching(analysed, asked, [one.sentence for one in actions])
        if found:
            return found
    best = analysed.finder.find(asked, likeness, _QUOTED)
    return [
        CitedSentence("", line.text, line.spans, speaker=line.speaker)
        for line in sorted(best, key=lambda line: line.number)
    ]


def _matching(
    analysed: AnalysedMeeting, asked: Asked, sentences: Iterable[CitedSentence]
) -> list[CitedSentence]:
    """Return decisions or actions that the question is about; all, when it names no subject."""
    scored = []
    for sentence in sentences:
        numbers = [line.number for line in analysed.text.lines_of_spans(sentence.spans)]
        scored.append((analysed.finder.share(asked, numbers), sentence))
    best = max((score for score, _ in scored), default=0.0)
    if best < _MATCHES:
        return []
    most = _LISTED if not asked.slots else _QUOTED
    return [sentence for score, sentence in scored if score >= 0.8 * best][:most]


def _read(
    analysed: AnalysedMeeting,
    asked: Asked,
    likeness: npt.NDArray[np.float32] | None,
    quotes: Sequence[CitedSentence],
) -> list[Line]:
    """Return the lines that a model reads: those that answer, then others that may, in order.

    With each comes the question that it answers: "Yes, ten." says nothing without it.
    """
    numbers = {
        line.number for quote in quotes for line in analysed.text.lines_of_spans(quote.spans)
    }
    for line in analysed.finder.find(asked, likeness, _READ):
        if len(numbers) >= _READ:
            break
        numbers.add(line.number)
    return analysed.finder.with_questions(analysed.text.numbered(numbers))
