"""Write minutes of a meeting: found by rules, told in a model's words where there is one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from atrium_meeting.app.analyse_meeting import AnalyseMeeting
from atrium_meeting.app.ports import MeetingReader, MinutesStore, ReadableMeeting
from atrium_meeting.app.rewrite_minutes import JSON, RewriteMinutes, Step
from atrium_meeting.app.write_modes import EXTRACTIVE, WriteMode, degraded
from atrium_meeting.domain.errors import LanguageNeedsGenerator
from atrium_meeting.domain.minutes import Grouping, MinutesType
from atrium_meeting.domain.minutes_records import MinutesRecord
from atrium_shared.clock import Clock
from atrium_shared.database import DatabaseUnavailable
from atrium_shared.engines import Usage
from atrium_shared.errors import Unavailable
from atrium_shared.models import Embedder
from atrium_shared.principal import Principal

Progress = Callable[[int, int], Awaitable[None]]
"""Told how many parts are written, of how many."""


@dataclass(frozen=True, slots=True)
class MinutesWanted:
    """What minutes shall be like.

    Args:
        type: What kind of meeting it was; ``None``: found out.
        grouping: What the sections are; ``None``: as fits the type.
        language: "zh" or "en"; empty: that of the meeting.
        mode: How the sentences are made.
    """

    type: MinutesType | None = None
    grouping: Grouping | None = None
    language: str = ""
    mode: WriteMode = WriteMode.AUTO


async def _at_once(_: str, work: Callable[[], Awaitable[JSON]]) -> JSON:
    return await work()


async def _untold(_: int, __: int) -> None:
    return None


class WriteMinutes:
    """The use case.

    Args:
        meetings: Reads meetings.
        minutes: Keeps minutes.
        analyse: Finds what was said.
        embedder: Makes sentence vectors.
        rewrite: Writes in a model's words.
        clock: Tells the time.
    """

    def __init__(
        self,
        meetings: MeetingReader,
        minutes: MinutesStore,
        analyse: AnalyseMeeting,
        embedder: Embedder,
        rewrite: RewriteMinutes,
        clock: Clock,
    ) -> None:
        self._meetings = meetings
        self._minutes = minutes
        self._analyse = analyse
        self._embedder = embedder
        self._rewrite = rewrite
        self._clock = clock

    async def __call__(
        self,
        principal: Principal,
        meeting: str,
        wanted: MinutesWanted,
        minutes_id: str,
        *,
        step: Step = _at_once,
        progress: Progress = _untold,
    ) -> MinutesRecord:
        """Write and store minutes.

        Args:
            principal: Who asks.
            meeting: Resource name, "meetings/m1".
            wanted: What they shall be like.
            minutes_id: Their identifier; the same again replaces nothing.
            step: Runs a piece of work, or returns what it returned before a crash; pieces come in
                the same order each time.
            progress: Told how far it is.

        Raises:
            MeetingNotFound: There is no such meeting, or it is not theirs to read.
            MeetingHasNoTranscript: Nothing was said yet.
            LanguageNeedsGenerator: Another language than the meeting's, and nothing writes.
            Unavailable: ``mode`` is GENERATIVE, and nothing writes.
        """
        readable = await self._meetings.read(principal, meeting)
        record = await self.write(
            principal, readable, wanted, minutes_id, step=step, progress=progress
        )
        await self._minutes.save(record)
        return record

    async def write(
        self,
        principal: Principal,
        meeting: ReadableMeeting,
        wanted: MinutesWanted,
        minutes_id: str,
        *,
        step: Step = _at_once,
        progress: Progress = _untold,
    ) -> MinutesRecord:
        """Write minutes and store nothing; arguments and errors as of a call."""
        analysed = await self._analyse(principal, meeting)
        await analysed.embed(principal, self._embedder)
        spoken = analysed.text.language
        language = wanted.language or spoken
        if wanted.mode is WriteMode.EXTRACTIVE and language != spoken:
            raise LanguageNeedsGenerator(language, spoken)
        minutes = await asyncio.to_thread(analysed.minutes, wanted.type, wanted.grouping)
        usage, dropped = Usage(encoder_tokens=analysed.encoder_tokens), 0
        if wanted.mode is not WriteMode.EXTRACTIVE:
            try:
                rewritten = await self._rewrite(
                    principal, analysed.text, minutes, language, step, progress
                )
            except DatabaseUnavailable:
                raise  # no absence of a model: the parts are kept there
            except Unavailable as error:
                if wanted.mode is WriteMode.GENERATIVE:
                    raise
                if language != spoken:
                    raise LanguageNeedsGenerator(language, spoken) from error
                minutes = replace(minutes, engine=degraded(EXTRACTIVE, error.message))
            else:
                minutes, dropped = rewritten.minutes, rewritten.dropped
                usage += rewritten.usage
        return MinutesRecord(
            tenant=principal.tenant,
            meeting=meeting.id,
            id=minutes_id,
            author=principal.subject,
            minutes=minutes,
            type_detected=wanted.type is None,
            usage=usage,
            sentences_dropped=dropped,
            create_time=self._clock.now(),
        )
