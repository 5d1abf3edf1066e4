"""Tell what somebody missed who came late, left early or was away; also while it is live.

Decisions and actions belong to the stretch in which they were made: all that were missed are told,
and none that came before or after. What comes after is not even read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from atrium_meeting.app.analyse_meeting import AnalysedMeeting, AnalyseMeeting
from atrium_meeting.app.ports import MeetingReader, ReadableMeeting
from atrium_meeting.app.write_modes import EXTRACTIVE, WriteMode, degraded
from atrium_meeting.app.write_sentences import CATCH_UP_TASK, TooSlow, WriteSentences
from atrium_meeting.domain.analysis.summarize import catch_up
from atrium_meeting.domain.errors import LanguageNeedsGenerator, NothingMissed, SpeakerNotFound
from atrium_meeting.domain.minutes import ActionItem, CitedSentence, Decision, Stretch
from atrium_meeting.domain.writing.meeting_text import spans_of, speaker_of
from atrium_meeting.domain.writing.prompts import ask_for
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.engines import Engine, Usage
from atrium_shared.errors import Unavailable
from atrium_shared.principal import Principal

_WRITTEN_SENTENCES: Final = 5


@dataclass(frozen=True, slots=True)
class Missed:
    """What somebody missed.

    Args:
        meeting: What was said, for citations.
        stretches: The times that it tells, in order.
        titles: What each of them was about.
        sentences: What was said, in a few sentences, in order of time.
        decisions: All that were made meanwhile, in order of time.
        actions: All that came up meanwhile; the caller's own first, then in order of time.
        known_until_ms: Up to where the meeting is known.
        language: Language of the sentences.
        engine: What wrote them.
        usage: Tokens spent.
    """

    meeting: AnalysedMeeting
    stretches: tuple[Stretch, ...]
    titles: tuple[str, ...]
    sentences: tuple[CitedSentence, ...]
    decisions: tuple[Decision, ...]
    actions: tuple[ActionItem, ...]
    known_until_ms: int
    language: str
    engine: Engine
    usage: Usage


class CatchUp:
    """The use case.

    Args:
        meetings: Reads meetings.
        analyse: Finds what was said.
        write: Writes sentences.
        audit: Records calls.
        seconds: How long a model may write; beyond that, the words as they were said are told.
    """

    def __init__(
        self,
        meetings: MeetingReader,
        analyse: AnalyseMeeting,
        write: WriteSentences,
        audit: AuditTrail,
        *,
        seconds: float = 4.0,
    ) -> None:
        self._meetings = meetings
        self._analyse = analyse
        self._write = write
        self._audit = audit
        self._seconds = seconds

    async def __call__(
        self,
        principal: Principal,
        meeting: str,
        *,
        joined_at_ms: int | None,
        left_at_ms: int | None,
        speaker: str = "",
        language: str = "",
        mode: WriteMode = WriteMode.AUTO,
    ) -> Missed:
        """Return what somebody missed.

        Args:
            principal: Who asks.
            meeting: Resource name, "meetings/m1".
            joined_at_ms: When they came; ``None``: they were there from the beginning.
            left_at_ms: When they left; ``None``: they stayed. Before ``joined_at_ms``: they were
                away in between.
            speaker: Who they are among the speakers, "S2"; empty: not said.
            language: "zh" or "en"; empty: that of the meeting.
            mode: How the sentences are made.

        Raises:
            MeetingNotFound: There is none, or it is not theirs to read.
            MeetingHasNoTranscript: Nothing was said yet.
            SpeakerNotFound: Nobody in the meeting is ``speaker``.
            NothingMissed: They were there all the time, or nobody spoke while they were away.
            LanguageNeedsGenerator: Another language than the meeting's, and nothing writes.
            Unavailable: ``mode`` is GENERATIVE, and nothing writes, or not in time.
        """
        async with self._audit.call(principal, "CatchUp", meeting):
            readable = await self._meetings.read(principal, meeting)
            stretches = missed_stretches(joined_at_ms, left_at_ms, readable.known_until_ms)
            return await self._catch_up(principal, readable, stretches, speaker, language, mode)

    async def _catch_up(
        self,
        principal: Principal,
        readable: ReadableMeeting,
        stretches: tuple[Stretch, ...],
        speaker: str,
        language: str,
        mode: WriteMode,
    ) -> Missed:
        known = readable.known_until_ms
        names = {one.id: one.display_name for one in readable.transcript.speakers}
        if speaker and speaker not in names:
            raise SpeakerNotFound(f"meetings/{readable.id}", speaker, names)
        analysed = await self._analyse(principal, readable)
        lines = analysed.text.lines_in(stretches)
        if not lines:
            raise NothingMissed(known)
        spoken = analysed.text.language
        language = language or spoken
        sentences, decisions, actions = await asyncio.to_thread(_told, analysed, stretches)
        titles = await asyncio.to_thread(lambda: tuple(map(analysed.title_of, stretches)))
        engine, usage = EXTRACTIVE, Usage()
        if mode is WriteMode.EXTRACTIVE and language != spoken:
            raise LanguageNeedsGenerator(language, spoken)
        if mode is not WriteMode.EXTRACTIVE:
            try:
                wrote = await self._rewrite(principal, analysed, sentences, decisions, language)
            except Unavailable as error:
                if mode is WriteMode.GENERATIVE:
                    raise
                if language != spoken:
                    raise LanguageNeedsGenerator(language, spoken) from error
                engine = degraded(EXTRACTIVE, error.message)
            else:
                sentences, engine, usage = wrote
        return Missed(
            analysed,
            stretches,
            titles,
            _numbered(sentences, "s"),
            tuple(
                replace(one, sentence=replace(one.sentence, id=f"d{i}"))
                for i, one in enumerate(decisions, 1)
            ),
            tuple(
                replace(one, sentence=replace(one.sentence, id=f"a{i}"))
                for i, one in enumerate(own_first(actions, speaker), 1)
            ),
            known,
            language,
            engine,
            usage,
        )

    async def _rewrite(
        self,
        principal: Principal,
        analysed: AnalysedMeeting,
        sentences: Sequence[CitedSentence],
        decisions: Sequence[Decision],
        language: str,
    ) -> tuple[tuple[CitedSentence, ...], Engine, Usage]:
        """Return sentences in a model's words; as they are where nothing that it wrote holds."""
        spans = [span for one in sentences for span in one.spans]
        spans += [span for one in decisions for span in one.sentence.spans]
        lines = analysed.text.lines_of_spans(spans)
        request = ask_for("catch_up", lines, analysed.text.names, language, _WRITTEN_SENTENCES)
        try:
            async with asyncio.timeout(self._seconds):
                written = await self._write(
                    principal, CATCH_UP_TASK, analysed.text, request, language
                )
        except TimeoutError:
            raise TooSlow(self._seconds) from None
        assert written.engine is not None
        found = []
        for kept in written.sentences:
            carrying = analysed.text.numbered(kept.lines)
            found.append(
                CitedSentence("", kept.text, spans_of(carrying), speaker=speaker_of(carrying))
            )
        return tuple(found) or tuple(sentences), written.engine, written.usage


def missed_stretches(
    joined_at_ms: int | None, left_at_ms: int | None, known_until_ms: int
) -> tuple[Stretch, ...]:
    """Return when somebody was away, in order, as far as the meeting is known.

    Raises:
        NothingMissed: They were there all the time.
    """
    if joined_at_ms is not None and left_at_ms is not None and left_at_ms < joined_at_ms:
        wanted = [(left_at_ms, joined_at_ms)]
    else:
        wanted = []
        if joined_at_ms is not None:
            wanted.append((0, joined_at_ms))
        if left_at_ms is not None:
            wanted.append((left_at_ms, known_until_ms))
    found = tuple(
        Stretch(start, min(end, known_until_ms))
        for start, end in wanted
        if start < min(end, known_until_ms)
    )
    if not found:
        raise NothingMissed(known_until_ms)
    return found


def own_first(actions: Iterable[ActionItem], speaker: str) -> tuple[ActionItem, ...]:
    """Return actions with those of a speaker first, else in the order given."""
    return tuple(sorted(actions, key=lambda one: not speaker or one.owner_speaker != speaker))


def _told(
    analysed: AnalysedMeeting, stretches: Sequence[Stretch]
) -> tuple[tuple[CitedSentence, ...], tuple[Decision, ...], tuple[ActionItem, ...]]:
    """Return what was said, decided and to be done in stretches, in order of time."""
    meeting = analysed.meeting
    found = [catch_up(meeting.transcript, one, day=meeting.day) for one in stretches]
    return (
        tuple(sentence for one in found for sentence in one.sentences),
        tuple(decision for one in found for decision in one.decisions),
        tuple(action for one in found for action in one.actions),
    )


def _numbered(sentences: Iterable[CitedSentence], letter: str) -> tuple[CitedSentence, ...]:
    return tuple(replace(one, id=f"{letter}{i}") for i, one in enumerate(sentences, 1))
