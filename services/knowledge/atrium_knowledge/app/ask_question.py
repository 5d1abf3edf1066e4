"""Answer a question from what the asker may read.

A restricted topic is matched against the question alone. Then the permitted passages are searched,
a calibrated score (never a model's words) decides whether they answer, and the answer is quoted
from them, or written by a model and checked sentence by sentence.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from atrium_grounding.languages import Language, detect_language, is_in_another
from atrium_grounding.lexicon import lexicon
from atrium_grounding.matching import Folded, mentions
from atrium_grounding.quantities import find_quantities, supported_by
from atrium_grounding.verification import SentenceVerifier, Source, plain
from atrium_knowledge.app.consult_reader import ConsultReader
from atrium_knowledge.app.encode import is_absence
from atrium_knowledge.app.ports import AnswerLog, PassageSearch, SearchOutcome, TopicSource
from atrium_knowledge.domain.answering.evidence import Evidence
from atrium_knowledge.domain.answering.extraction import (
    Extraction,
    Extractor,
    Prepared,
    Quote,
    Vectors,
)
from atrium_knowledge.domain.answering.prompting import (
    MAX_ANSWER_TOKENS,
    SentenceStream,
    cited_numbers,
    heading_of,
    prompt,
)
from atrium_knowledge.domain.answering.questions import AnswerType, Question, understand
from atrium_knowledge.domain.answers import AnswerRecord, Decision, Exchange
from atrium_knowledge.domain.collections import Collection
from atrium_knowledge.domain.passages import Hit, Passage
from atrium_knowledge.domain.topics import CompiledTopic, TopicMatcher
from atrium_shared.audit import AuditEvent, AuditSink
from atrium_shared.audit import Decision as AuditDecision
from atrium_shared.clock import Clock, Ids
from atrium_shared.engines import Engine, EngineKind, Usage
from atrium_shared.errors import AtriumError
from atrium_shared.models import ChatMessage, Embedder, Finish, Generated, Generator, Role
from atrium_shared.principal import Principal

TASK: Final = "knowledge.answer"
_HITS: Final = 12
"""Passages that are looked at for an answer."""
_PROMPT_PASSAGES: Final = 3
_ADDED_QUOTES: Final = 2
"""Quotes that may be added to what a model wrote, when it left out what they state."""
_LIKELY_QUOTE: Final = 0.2
_CHECKED_QUANTITIES: Final = 3
_EXTRACTIVE: Final = Engine(EngineKind.EXTRACTIVE, "atrium")
_RULES: Final = Engine(EngineKind.RULES, "atrium")
_NOT_FOUND: Final = {
    "zh": "在您可以查阅的资料中没有找到答案。",
    "en": "No answer was found in the documents that you may read.",
}
_QUOTED: Final = {"zh": "\n原文：“{}” [{}]", "en": "\nThe source says: “{}” [{}]"}
_AUDIT: Final = {
    Decision.ANSWERED: AuditDecision.ALLOWED,
    Decision.REFUSED: AuditDecision.REFUSED,
    Decision.NOT_FOUND: AuditDecision.NOT_FOUND,
}


class AskMode(StrEnum):
    """How an answer is to be made."""

    AUTO = "auto"
    """Written by a model where there is one, else quoted."""
    EXTRACTIVE = "extractive"
    """Quoted from the sources, word for word."""
    GENERATIVE = "generative"
    """Written by a model, or not at all."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What an answer is made from."""

    hits: tuple[Hit, ...]
    """In the order of their numbers in the answer."""


@dataclass(frozen=True, slots=True)
class Delta:
    """The next characters of the answer. Only what its sources support is sent."""

    text: str


@dataclass(frozen=True, slots=True)
class Citation:
    """Where a part of an answer comes from."""

    number: int
    """As in "[1]"."""
    passage: Passage
    quote: str
    """Exactly the code points ``start:end`` of the document's stored text."""
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of an answer."""

    name: str
    decision: Decision
    text: str
    citations: tuple[Citation, ...]
    restricted_topic: str
    engine: Engine
    usage: Usage
    dropped_sentences: int


AskEvent = Sources | Delta | Answer


@dataclass
class _Draft:
    """An answer in the making."""

    hits: tuple[Hit, ...] = ()
    """The passages that may be cited, in the order of their numbers."""
    text: str = ""
    citations: list[Citation] = field(default_factory=list)
    engine: Engine = _EXTRACTIVE
    usage: Usage = field(default_factory=Usage)
    dropped: int = 0

    def cite(self, number: int, start: int, end: int) -> None:
        """Cite the code points ``start:end`` of the document; what is cited already is left."""
        passage = self.hits[number - 1].passage
        if any((c.number, c.start, c.end) == (number, start, end) for c in self.citations):
            return
        quote = passage.text[start - passage.start : end - passage.start]
        self.citations.append(Citation(number, passage, quote, start, end))

    def add(self, text: str, language: Language) -> Delta:
        """Append a sentence and return what a reader has to be sent."""
        spaced = bool(self.text) and language == "en" and not text.startswith("\n")
        gap = " " if spaced else ""
        self.text += gap + text
        return Delta(gap + text)


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A written sentence that a passage supports."""

    words: str
    number: int
    """Of its source."""
    start: int
    """Where in the document its support begins and ends."""
    end: int


class _Writing:
    """Takes what a model writes into an answer, as far as it is supported and to the point.

    A small model may write down what a source says of something else. So its sentences wait until
    one of them rests on what most likely answers; if none ever does, none is shown.

    Args:
        verifier: Knows the passages.
        draft: Takes the sentences.
        anchors: What most likely answers: (number of the source, start and end in the document).
        language: Of the answer.
    """

    def __init__(
        self,
        verifier: SentenceVerifier,
        draft: _Draft,
        anchors: Sequence[tuple[int, int, int]],
        language: Language,
    ) -> None:
        self._verifier = verifier
        self._draft = draft
        self._anchors = anchors
        self._language: Language = language
        self._waiting: list[_Sentence] = []
        self._to_the_point = False

    def take(self, sentence: str) -> list[Delta]:
        """Take the next sentence; return what a reader has to be sent now."""
        words = plain(sentence)
        cited = [number - 1 for number in cited_numbers(sentence)]
        for hit in self._draft.hits:
            words = words.removeprefix(heading_of(hit.passage)).lstrip(" :：")
        if not words or words in self._draft.text:
            return []
        support = self._verifier.support(sentence, cited)
        # A small model may copy a source in its language; quoted, it would be seen for what it is.
        if support is None or is_in_another(words, self._language):
            self._draft.dropped += 1
            return []
        start = self._draft.hits[support.source].passage.start
        kept = _Sentence(
            words, support.source + 1, start + support.unit.start, start + support.unit.end
        )
        if any(kept.words == other.words for other in self._waiting):
            return []
        self._waiting.append(kept)
        self._to_the_point |= any(
            number == kept.number and first < kept.end and kept.start < last
            for number, first, last in self._anchors
        )
        return self._show() if self._to_the_point else []

    def end(self) -> None:
        """Drop what still waits."""
        self._draft.dropped += len(self._waiting)
        self._waiting.clear()

    def _show(self) -> list[Delta]:
        shown = []
        for one in self._waiting:
            self._draft.cite(one.number, one.start, one.end)
            shown.append(self._draft.add(f"{one.words} [{one.number}]", self._language))
        self._waiting.clear()
        return shown


class AskQuestion:
    """Answers questions.

    Args:
        search: Finds permitted passages.
        topics: Restricted topics of a collection.
        embedder: Makes vectors of sentences.
        reader: Says which topics a question is about.
        generator: Writes.
        answers: Keeps what feedback needs.
        audit: Records how each question was decided.
        clock: Tells the time.
        ids: Makes the names of answers.
    """

    def __init__(
        self,
        *,
        search: PassageSearch,
        topics: TopicSource,
        embedder: Embedder,
        reader: ConsultReader,
        generator: Generator,
        answers: AnswerLog,
        audit: AuditSink,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._search = search
        self._topics = topics
        self._embedder = embedder
        self._reader = reader
        self._generator = generator
        self._answers = answers
        self._audit = audit
        self._clock = clock
        self._ids = ids
        self._matcher = TopicMatcher()
        self._extractor = Extractor()

    async def ask(
        self,
        principal: Principal,
        collection: Collection,
        question: str,
        mode: AskMode,
        language: str,
    ) -> AsyncGenerator[AskEvent, None]:
        """Yield the sources, the text as it is made, then the answer.

        Args:
            principal: Who asks.
            collection: What is asked.
            question: At most 4,000 code points.
            mode: How the answer is to be made.
            language: Of the answer, "zh" or "en"; empty: that of the question.

        Raises:
            QuestionTooLong: The question is longer.
            Unavailable: ``mode`` is GENERATIVE, and there is no generator or it failed.
        """
        spoken: Language = "zh" if (language or detect_language(question)) == "zh" else "en"
        try:
            found = await self._search.search(principal, collection, question, _HITS)
            draft = _Draft(usage=Usage(encoder_tokens=found.encoder_tokens))
            understood = await asyncio.to_thread(understand, question)
            refusing = await self._restricted(principal, collection, understood, found, draft)
            extraction = None
            if refusing is None:
                extraction = await self._extract(principal, understood, found, spoken, draft)
        except AtriumError as error:
            await self._record(principal, collection, AuditDecision.FAILED, error.reason)
            raise
        if refusing is not None:
            draft.engine, draft.text = _RULES, refusing.refusal(spoken)
            yield Delta(draft.text)
            yield await self._end(
                principal, collection, question, Decision.REFUSED, draft, refusing.id
            )
            return
        if extraction is None:
            draft.engine, draft.text = self._degraded(_EXTRACTIVE, found), _NOT_FOUND[spoken]
            yield Delta(draft.text)
            yield await self._end(principal, collection, question, Decision.NOT_FOUND, draft, "")
            return
        draft.hits = _numbered(extraction, found.hits)
        draft.engine = self._degraded(_EXTRACTIVE, found)
        yield Sources(draft.hits)
        if mode is AskMode.EXTRACTIVE:
            yield self._quote(extraction, draft, spoken)
        else:
            writing = self._write(principal, understood, extraction, found, draft, mode, spoken)
            try:
                async with aclosing(writing):
                    async for delta in writing:
                        yield delta
            except AtriumError as error:
                await self._record(principal, collection, AuditDecision.FAILED, error.reason)
                raise
        yield await self._end(principal, collection, question, Decision.ANSWERED, draft, "")

    async def _restricted(
        self,
        principal: Principal,
        collection: Collection,
        question: Question,
        found: SearchOutcome,
        draft: _Draft,
    ) -> CompiledTopic | None:
        """Return the topic for which the question is refused, or ``None``."""
        topics = await self._topics.compiled(collection)
        if not topics:
            return None
        considered = await asyncio.to_thread(
            self._matcher.consider, question, found.query_vector, topics
        )
        read = await self._reader.of_topics(principal, question.text, considered.topics)
        log_odds = None
        if read is not None:
            log_odds, tokens = read
            draft.usage += Usage(encoder_tokens=tokens)
        match = considered.match(log_odds)
        if match is None or principal.allow_set.may_read(match.topic.labels):
            return None
        return match.topic

    async def _extract(
        self,
        principal: Principal,
        question: Question,
        found: SearchOutcome,
        language: Language,
        draft: _Draft,
    ) -> Extraction | None:
        """Return what answers the question, or ``None`` when nothing does."""
        prepared = await asyncio.to_thread(self._extractor.prepare, question, found.hits)
        evidence = await self._weigh(principal, prepared, found, draft)
        extraction = await asyncio.to_thread(self._extractor.extract, evidence, language)
        return extraction if extraction.answered else None

    async def _weigh(
        self,
        principal: Principal,
        prepared: Prepared,
        found: SearchOutcome,
        draft: _Draft,
    ) -> Evidence:
        """Weigh what may answer: by a reader and vectors, by vectors alone, or by words."""
        texts = await asyncio.to_thread(prepared.texts_to_embed)
        if found.query_vector is None or not texts:
            return await asyncio.to_thread(prepared.weigh)
        try:
            embedding = await self._embedder.embed(principal, texts, "passage")
        except AtriumError as error:
            if not is_absence(error):
                raise
            return await asyncio.to_thread(prepared.weigh)
        draft.usage += Usage(encoder_tokens=embedding.tokens)
        vectors = Vectors(found.query_vector, embedding.vectors)
        passages = await asyncio.to_thread(prepared.passages_to_read)
        asked = prepared.asked.question.text
        readings = await self._reader.of_passages(principal, asked, passages)
        if readings is None:
            return await asyncio.to_thread(prepared.weigh, vectors)
        draft.usage += Usage(encoder_tokens=readings.tokens)
        return await asyncio.to_thread(prepared.weigh, vectors, readings.log_odds)

    def _quote(self, extraction: Extraction, draft: _Draft, language: Language) -> Delta:
        """Answer in the words of the sources."""
        for quote in extraction.quotes:
            draft.cite(extraction.cited.index(quote.hit) + 1, quote.start, quote.end)
        return draft.add(extraction.text, language)

    async def _write(
        self,
        principal: Principal,
        question: Question,
        extraction: Extraction,
        found: SearchOutcome,
        draft: _Draft,
        mode: AskMode,
        language: Language,
    ) -> AsyncGenerator[Delta, None]:
        """Yield what a model writes as far as the passages support it, else quotes."""
        passages = [hit.passage for hit in draft.hits]
        sources = [
            Source(each.text, (each.document_title, *each.section_path)) for each in passages
        ]
        verifier = await asyncio.to_thread(SentenceVerifier, question.text, sources, lexicon())
        asked = prompt(question.text, passages, _focus(extraction, draft.hits), language)
        messages = [ChatMessage(Role.SYSTEM, asked.system), ChatMessage(Role.USER, asked.user)]
        sentences = SentenceStream()
        writing = _Writing(verifier, draft, _anchors(question, extraction), language)
        failure: AtriumError | None = None
        generated: Generated | None = None
        stream = self._generator.stream(principal, TASK, messages, MAX_ANSWER_TOKENS)
        try:
            async for part in stream:
                if isinstance(part, Generated):
                    generated = part
                    continue
                for sentence in sentences.feed(part):
                    for delta in await asyncio.to_thread(writing.take, sentence):
                        yield delta
        except AtriumError as error:
            if mode is AskMode.GENERATIVE and not draft.text:
                raise
            failure = error
        finally:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()
        cut = generated is not None and generated.finish is Finish.LENGTH
        for sentence in sentences.end(cut=cut) if failure is None else ():
            for delta in await asyncio.to_thread(writing.take, sentence):
                yield delta
        writing.end()
        if generated is not None:
            draft.usage += generated.usage
        wrote = bool(draft.text)
        if not wrote:
            yield self._quote(extraction, draft, language)
        else:
            for quote in await asyncio.to_thread(_uncovered, question, extraction, draft.text):
                number = extraction.cited.index(quote.hit) + 1
                draft.cite(number, quote.start, quote.end)
                yield draft.add(_QUOTED[language].format(quote.text.strip(), number), language)
        draft.engine = self._engine(generated, failure, wrote, found)

    def _engine(
        self,
        generated: Generated | None,
        failure: AtriumError | None,
        wrote: bool,
        found: SearchOutcome,
    ) -> Engine:
        if failure is not None:
            reason = f"Quoted from the sources: {failure.message}"
            return replace(_EXTRACTIVE, degraded=True, degraded_reason=reason)
        if not wrote:
            reason = "Quoted from the sources: nothing that the model wrote answers."
            return replace(_EXTRACTIVE, degraded=True, degraded_reason=reason)
        engine = generated.engine if generated is not None else Engine(EngineKind.GENERATIVE, "")
        return self._degraded(engine, found)

    def _degraded(self, engine: Engine, found: SearchOutcome) -> Engine:
        """Mark an engine whose passages were found by a lesser search."""
        if not found.degraded or engine.degraded:
            return engine
        return replace(engine, degraded=True, degraded_reason=found.degraded_reason)

    async def _end(
        self,
        principal: Principal,
        collection: Collection,
        question: str,
        decision: Decision,
        draft: _Draft,
        topic: str,
    ) -> Answer:
        """Keep, record and return the answer."""
        record = AnswerRecord(
            tenant=principal.tenant,
            id=self._ids.new("answers"),
            subject=principal.subject,
            collection_uid=collection.uid,
            decision=decision,
            engine=draft.engine,
            passages=tuple(dict.fromkeys(c.passage.name for c in draft.citations)),
            policy_version=principal.allow_set.policy_version,
            create_time=self._clock.now(),
        )
        await self._answers.save(record, Exchange(question, draft.text))
        tokens = draft.usage.prompt_tokens + draft.usage.completion_tokens
        await self._record(
            principal, collection, _AUDIT[decision], topic, draft.engine.model, tokens
        )
        return Answer(
            name=record.name,
            decision=decision,
            text=draft.text,
            citations=tuple(sorted(draft.citations, key=lambda c: (c.number, c.start))),
            restricted_topic=topic,
            engine=draft.engine,
            usage=draft.usage,
            dropped_sentences=draft.dropped,
        )

    async def _record(
        self,
        principal: Principal,
        collection: Collection,
        decision: AuditDecision,
        detail: str,
        model: str = "",
        tokens: int = 0,
    ) -> None:
        event = AuditEvent.of(
            principal,
            "knowledge.Ask",
            collection.name,
            decision,
            detail=detail,
            model=model,
            tokens=tokens,
        )
        await self._audit.record(event)


def _numbered(extraction: Extraction, hits: Sequence[Hit]) -> tuple[Hit, ...]:
    """Return the passages in the order of their numbers: the quoted ones, then the best others."""
    rest = [i for i in range(len(hits)) if i not in extraction.cited]
    room = max(_PROMPT_PASSAGES - len(extraction.cited), 0)
    return tuple(hits[i] for i in (*extraction.cited, *rest[:room]))


def _focus(extraction: Extraction, hits: Sequence[Hit]) -> list[int]:
    """Return where the best quote of each passage begins, 0 for passages without one."""
    first: dict[int, Quote] = {}
    for quote in extraction.quotes:
        kept = first.get(quote.hit)
        if kept is None or quote.score > kept.score:
            first[quote.hit] = quote
    found = []
    for number, hit in enumerate(hits):
        quote_of = first.get(extraction.cited[number]) if number < len(extraction.cited) else None
        found.append(quote_of.start - hit.passage.start if quote_of else 0)
    return found


def _likely(question: Question, extraction: Extraction) -> Sequence[Quote]:
    """Return the quotes of which one most likely answers, the likeliest first."""
    # A how-to is answered by all of its steps, in their order.
    if question.expectation.type is AnswerType.STEPS:
        return extraction.quotes
    best, *others = sorted(extraction.quotes, key=lambda quote: -quote.score)
    enough = max(_LIKELY_QUOTE, best.score * _LIKELY_QUOTE)
    return [best, *(quote for quote in others if quote.score >= enough)]


def _anchors(question: Question, extraction: Extraction) -> list[tuple[int, int, int]]:
    """Return source, start and end of what a written answer has to rest on."""
    return [
        (extraction.cited.index(quote.hit) + 1, quote.start, quote.end)
        for quote in _likely(question, extraction)
    ]


def _uncovered(question: Question, extraction: Extraction, text: str) -> list[Quote]:
    """Return the likely quotes that state what the written text lacks, the likeliest first."""
    likely = _likely(question, extraction)
    kinds = question.expectation.kinds
    steps = question.expectation.type is AnswerType.STEPS
    written, folded = find_quantities(text), Folded(text)
    missing: list[Quote] = []
    for quote in likely if steps else likely[:_ADDED_QUOTES]:
        stated = find_quantities(quote.text)
        asked_for = [one for one in stated if one.kind in kinds] or stated
        if asked_for:
            covered = all(supported_by(one, written) for one in asked_for[:_CHECKED_QUANTITIES])
        else:
            slots = lexicon().slots(quote.text)
            shared = sum(mentions(slot, folded) > 0 for slot in slots)
            covered = shared >= len(slots) / 2
        if not covered:
            missing.append(quote)
    return missing
