"""What the stores share: rows to domain and back, and the first version of a transcript."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_meeting.adapters import tables
from atrium_meeting.app.stores import Purge
from atrium_meeting.domain.errors import MeetingNotFound
from atrium_meeting.domain.meetings import (
    ChineseScript,
    Meeting,
    MeetingState,
    SpeakerSummary,
)
from atrium_meeting.domain.recordings import Origin
from atrium_meeting.domain.speaker_names import still_suggested
from atrium_meeting.domain.transcript import Speaker, Utterance
from atrium_meeting.domain.transcript_codec import words_from_json, words_to_json

_MEETINGS: Final = tables.meetings
_UTTERANCES: Final = tables.utterances
_ROWS_PER_INSERT: Final = 500
_UTTERANCE: Final = re.compile(r"u(0|[1-9][0-9]{0,8})")


def to_meeting(row: sa.Row[Any]) -> Meeting:
    """Return the meeting of a row."""
    return Meeting(
        tenant=row.tenant,
        uid=row.uid,
        id=row.id,
        title=row.title,
        start_time=row.start_time,
        languages=tuple(row.languages),
        chinese_script=ChineseScript(row.chinese_script),
        hotwords=tuple(row.hotwords),
        agenda=tuple(row.agenda),
        labels=frozenset(row.labels),
        speaker_count=row.speaker_count,
        create_time=row.create_time,
        creator=row.creator,
        state=MeetingState(row.state),
        duration_ms=row.duration_ms,
        speakers=tuple(SpeakerSummary(*one) for one in row.speakers),
        transcript_version=row.transcript_version,
        failure_reason=row.failure_reason,
        failure_message=row.failure_message,
        truncated=row.truncated,
    )


def described(meeting: Meeting) -> dict[str, Any]:
    """Return the columns that people set."""
    return {
        "title": meeting.title,
        "start_time": meeting.start_time,
        "languages": list(meeting.languages),
        "chinese_script": meeting.chinese_script,
        "hotwords": list(meeting.hotwords),
        "agenda": list(meeting.agenda),
        "labels": sorted(meeting.labels),
        "speaker_count": meeting.speaker_count,
    }


async def locked_meeting(session: AsyncSession, uid: str) -> Meeting:
    """Return a meeting that nobody else changes before the transaction ends.

    Raises:
        MeetingNotFound: It is gone.
    """
    query = sa.select(_MEETINGS).where(_MEETINGS.c.uid == uid).with_for_update()
    row = (await session.execute(query)).one_or_none()
    if row is None:
        raise MeetingNotFound("meetings/-")
    return to_meeting(row)


async def set_meeting(session: AsyncSession, uid: str, **values: Any) -> None:
    """Change columns of a meeting."""
    await session.execute(sa.update(_MEETINGS).where(_MEETINGS.c.uid == uid).values(**values))


async def add_version(
    session: AsyncSession,
    meeting: Meeting,
    version: int,
    speakers: Iterable[Speaker],
    *,
    origin: Origin,
    author: str,
    change: str,
    now: datetime,
    **values: Any,
) -> None:
    """Record a version whose utterances are there, and what follows from it for the meeting.

    Args:
        session: The transaction.
        meeting: Of which meeting.
        version: Its number.
        speakers: What they are called; those who say nothing any more are left out.
        origin: What made it.
        author: Who made it.
        change: What was done.
        now: When.
        **values: Further columns of the meeting that change.
    """
    summaries, duration_ms = await summarize(session, meeting.uid, speakers)
    await session.execute(
        sa.insert(tables.transcript_versions).values(
            meeting_uid=meeting.uid,
            version=version,
            author=author,
            change=change,
            speakers=[[one.id, one.display_name, one.suggested_name] for one in summaries],
            origin=asdict(origin),
            create_time=now,
        )
    )
    await set_meeting(
        session,
        meeting.uid,
        transcript_version=version,
        speakers=[
            [one.id, one.display_name, one.speaking_ms, one.suggested_name] for one in summaries
        ],
        duration_ms=duration_ms,
        **values,
    )


async def summarize(
    session: AsyncSession, meeting_uid: str, speakers: Iterable[Speaker]
) -> tuple[list[SpeakerSummary], int]:
    """Return the speakers of the newest version in order of their first words, and its length."""
    columns = _UTTERANCES.c
    query = (
        sa.select(
            columns.speaker,
            sa.func.sum(columns.end_ms - columns.start_ms),
            sa.func.max(columns.end_ms),
        )
        .where(columns.meeting_uid == meeting_uid, columns.until_version.is_(None))
        .group_by(columns.speaker)
        .order_by(sa.func.min(columns.start_ms), sa.func.min(columns.number))
    )
    rows = (await session.execute(query)).all()
    known = {one.id: one for one in speakers}
    names = still_suggested([known.get(row[0], Speaker(row[0])) for row in rows])
    return (
        [
            SpeakerSummary(one.id, one.display_name, int(row[1]), one.suggested_name)
            for one, row in zip(names, rows, strict=True)
        ],
        max((row[2] for row in rows), default=0),
    )


async def insert_utterances(
    session: AsyncSession, meeting_uid: str, version: int, utterances: Sequence[Utterance]
) -> None:
    """Add utterances from a version on."""
    rows = [utterance_columns(meeting_uid, version, one) for one in utterances]
    for first in range(0, len(rows), _ROWS_PER_INSERT):
        await session.execute(sa.insert(_UTTERANCES), rows[first : first + _ROWS_PER_INSERT])


def utterance_columns(meeting_uid: str, version: int, utterance: Utterance) -> dict[str, Any]:
    """Return the row of an utterance from a version on."""
    number = utterance_number(utterance.id)
    if number is None:
        raise ValueError(f"Utterance {utterance.id!r}: expected u and a number")
    return {
        "meeting_uid": meeting_uid,
        "number": number,
        "from_version": version,
        "until_version": None,
        "speaker": utterance.speaker,
        "language": utterance.language,
        "start_ms": utterance.start_ms,
        "end_ms": utterance.end_ms,
        "word_count": len(utterance.words),
        "words": json.dumps(
            words_to_json(utterance.words), ensure_ascii=False, separators=(",", ":")
        ),
    }


def to_utterance(row: sa.Row[Any]) -> Utterance:
    """Return the utterance of a row."""
    return Utterance(
        f"u{row.number}", row.speaker, row.language, words_from_json(json.loads(row.words))
    )


def utterance_number(utterance: str) -> int | None:
    """Return the number in an identifier, "u12"; ``None``: it is none."""
    found = _UTTERANCE.fullmatch(utterance)
    return int(found[1]) if found else None


def to_speakers(data: Sequence[Sequence[str]]) -> tuple[Speaker, ...]:
    """Return the speakers of a version."""
    return tuple(Speaker(*one) for one in data)


async def insert_purge(session: AsyncSession, folder: str) -> Purge:
    """Note that a folder of the file store has to go."""
    result = await session.execute(
        sa.insert(tables.purges).values(folder=folder).returning(tables.purges.c.id)
    )
    return Purge(result.scalar_one(), folder)
