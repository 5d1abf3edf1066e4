"""Versions of transcripts in the relational database.

An utterance that an edit changes gets a row of its own from the new version on; all others are
shared by the versions, so an edit costs one row however long the meeting is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_meeting.adapters import rows, tables
from atrium_meeting.app.stores import UtteranceCursor, VersionInfo
from atrium_meeting.domain.errors import TranscriptChanged
from atrium_meeting.domain.meetings import Meeting, MeetingState
from atrium_meeting.domain.recordings import Origin
from atrium_meeting.domain.speaker_names import joined
from atrium_meeting.domain.transcript import Speaker, Transcript, Utterance
from atrium_shared.clock import Clock
from atrium_shared.database import Database

_UTTERANCES: Final = tables.utterances
_VERSIONS: Final = tables.transcript_versions


class SqlTranscripts:
    """Implements ``stores.TranscriptStore``.

    Args:
        database: The service's database.
        clock: Tells the time.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def publish(
        self,
        meeting_uid: str,
        transcript: Transcript,
        origin: Origin,
        *,
        author: str,
        change: str,
    ) -> Meeting:
        """Make a transcript the first version of its meeting."""
        async with self._database.write() as session:
            meeting = await rows.locked_meeting(session, meeting_uid)
            meeting.check_free()
            await rows.insert_utterances(session, meeting_uid, 1, transcript.utterances)
            await rows.add_version(
                session,
                meeting,
                1,
                transcript.speakers,
                origin=origin,
                author=author,
                change=change,
                now=self._clock.now(),
                state=MeetingState.READY,
                failure_reason="",
                failure_message="",
            )
            return await rows.locked_meeting(session, meeting_uid)

    async def version(self, meeting_uid: str, version: int) -> VersionInfo | None:
        """Return a version without its words."""
        async with self._database.read() as session:
            return await _version(session, meeting_uid, version)

    async def versions(
        self, meeting_uid: str, before: int | None, limit: int
    ) -> Sequence[VersionInfo]:
        """Return versions, newest first."""
        query = sa.select(_VERSIONS).where(_VERSIONS.c.meeting_uid == meeting_uid)
        if before is not None:
            query = query.where(_VERSIONS.c.version < before)
        query = query.order_by(_VERSIONS.c.version.desc()).limit(limit)
        async with self._database.read() as session:
            return [_to_version(row) for row in await session.execute(query)]

    async def load(self, meeting_uid: str, version: int = 0) -> Transcript | None:
        """Return a whole version."""
        async with self._database.read() as session:
            info = await _version(session, meeting_uid, version)
            if info is None:
                return None
            found = await session.execute(_in_order(_of_version(meeting_uid, info.version)))
            utterances = tuple(rows.to_utterance(row) for row in found)
        return Transcript(info.version, info.speakers, utterances)

    async def page(
        self,
        meeting_uid: str,
        version: int,
        after: UtteranceCursor | None,
        *,
        limit: int,
        words: int,
    ) -> tuple[Sequence[Utterance], UtteranceCursor | None]:
        """Return utterances of a version in order of time."""
        query = _of_version(meeting_uid, version)
        if after is not None:
            columns = _UTTERANCES.c
            query = query.where(
                sa.or_(
                    columns.start_ms > after.start_ms,
                    sa.and_(columns.start_ms == after.start_ms, columns.number > after.number),
                )
            )
        async with self._database.read() as session:
            found = (await session.execute(_in_order(query).limit(limit + 1))).all()
        room, count = words, 0
        while count < min(limit, len(found)) and (count == 0 or found[count].word_count <= room):
            room -= found[count].word_count
            count += 1
        page = [rows.to_utterance(row) for row in found[:count]]
        if count == len(found):
            return page, None
        return page, UtteranceCursor(found[count - 1].start_ms, found[count - 1].number)

    async def utterance(
        self, meeting_uid: str, utterance: str
    ) -> tuple[VersionInfo, Utterance] | None:
        """Return an utterance of the newest version."""
        number = rows.utterance_number(utterance)
        async with self._database.read() as session:
            info = await _version(session, meeting_uid, 0)
            if info is None or number is None:
                return None
            query = _of_version(meeting_uid, info.version).where(_UTTERANCES.c.number == number)
            row = (await session.execute(query)).one_or_none()
        return None if row is None else (info, rows.to_utterance(row))

    async def replace(
        self,
        meeting: Meeting,
        version: int,
        utterance: str,
        edited: Utterance | None,
        *,
        author: str,
        change: str,
    ) -> Meeting:
        """Make the next version, in which an utterance is another, or gone."""

        async def apply(session: AsyncSession, speakers: dict[str, Speaker]) -> None:
            await _end_rows(
                session,
                meeting.uid,
                version + 1,
                _UTTERANCES.c.number == rows.utterance_number(utterance),
            )
            if edited is not None:
                await rows.insert_utterances(session, meeting.uid, version + 1, [edited])

        return await self._edit(meeting, version, apply, author=author, change=change)

    async def name_speaker(
        self,
        meeting: Meeting,
        version: int,
        speaker: str,
        display_name: str,
        *,
        author: str,
        change: str,
    ) -> Meeting:
        """Make the next version, in which a speaker has another name."""

        async def apply(session: AsyncSession, speakers: dict[str, Speaker]) -> None:
            speakers[speaker] = Speaker(speaker, display_name)

        return await self._edit(meeting, version, apply, author=author, change=change)

    async def merge_speakers(
        self,
        meeting: Meeting,
        version: int,
        speaker: str,
        same_as: str,
        *,
        author: str,
        change: str,
    ) -> Meeting:
        """Make the next version, in which one speaker says what two said."""

        async def apply(session: AsyncSession, speakers: dict[str, Speaker]) -> None:
            columns = _UTTERANCES.c
            await _end_rows(session, meeting.uid, version + 1, columns.speaker == speaker)
            taken: dict[str, Any] = {
                "from_version": sa.literal(version + 1),
                "until_version": sa.null(),
                "speaker": sa.literal(same_as),
            }
            await session.execute(
                sa.insert(_UTTERANCES).from_select(
                    list(columns),
                    sa.select(*(taken.get(one.name, one) for one in columns)).where(
                        columns.meeting_uid == meeting.uid,
                        columns.until_version == version + 1,
                        columns.speaker == speaker,
                    ),
                )
            )
            speakers[same_as] = joined(speakers[same_as], speakers[speaker])

        return await self._edit(meeting, version, apply, author=author, change=change)

    async def _edit(
        self,
        meeting: Meeting,
        version: int,
        apply: Callable[[AsyncSession, dict[str, Speaker]], Any],
        *,
        author: str,
        change: str,
    ) -> Meeting:
        async with self._database.write() as session:
            now = await rows.locked_meeting(session, meeting.uid)
            if now.transcript_version != version:
                raise TranscriptChanged(meeting.name, now.transcript_version)
            info = await _version(session, meeting.uid, version)
            assert info is not None, "a version is only removed with its meeting"
            speakers = {one.id: one for one in info.speakers}
            await apply(session, speakers)
            await rows.add_version(
                session,
                now,
                version + 1,
                speakers.values(),
                origin=info.origin,
                author=author,
                change=change,
                now=self._clock.now(),
            )
            return await rows.locked_meeting(session, meeting.uid)


async def _version(session: AsyncSession, meeting_uid: str, version: int) -> VersionInfo | None:
    query = sa.select(_VERSIONS).where(_VERSIONS.c.meeting_uid == meeting_uid)
    if version:
        query = query.where(_VERSIONS.c.version == version)
    query = query.order_by(_VERSIONS.c.version.desc()).limit(1)
    row = (await session.execute(query)).one_or_none()
    return None if row is None else _to_version(row)


def _to_version(row: sa.Row[Any]) -> VersionInfo:
    origin: Mapping[str, Any] = row.origin
    return VersionInfo(
        version=row.version,
        author=row.author,
        change=row.change,
        speakers=rows.to_speakers(row.speakers),
        origin=Origin(**origin),
        create_time=row.create_time,
    )


def _of_version(meeting_uid: str, version: int) -> sa.Select[Any]:
    columns = _UTTERANCES.c
    return sa.select(_UTTERANCES).where(
        columns.meeting_uid == meeting_uid,
        columns.from_version <= version,
        sa.or_(columns.until_version.is_(None), columns.until_version > version),
    )


def _in_order(query: sa.Select[Any]) -> sa.Select[Any]:
    return query.order_by(_UTTERANCES.c.start_ms, _UTTERANCES.c.number)


async def _end_rows(
    session: AsyncSession, meeting_uid: str, version: int, condition: sa.ColumnElement[bool]
) -> None:
    """Let utterances be no more from a version on."""
    await session.execute(
        sa.update(_UTTERANCES)
        .where(
            _UTTERANCES.c.meeting_uid == meeting_uid,
            _UTTERANCES.c.until_version.is_(None),
            condition,
        )
        .values(until_version=version)
    )
