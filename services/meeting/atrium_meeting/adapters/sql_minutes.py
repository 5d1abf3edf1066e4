"""Minutes and what readers think of them in the relational database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_meeting.adapters import tables
from atrium_meeting.domain.errors import MeetingNotFound, MinutesNotFound
from atrium_meeting.domain.minutes import Minutes
from atrium_meeting.domain.minutes_records import Feedback, MinutesRecord
from atrium_shared.database import Database
from atrium_shared.engines import Usage

_MEETINGS: Final = tables.meetings
_MINUTES: Final = tables.minutes
_FEEDBACK: Final = tables.feedback


@dataclass(frozen=True, slots=True)
class _Content:
    """What is kept of minutes as one JSON value."""

    minutes: Minutes
    type_detected: bool
    usage: Usage
    sentences_dropped: int


_CONTENT: Final = TypeAdapter(_Content)


class SqlMinutes:
    """Implements ``ports.MinutesStore``.

    Args:
        database: The service's database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, record: MinutesRecord) -> None:
        """Store minutes."""
        content = _Content(
            record.minutes, record.type_detected, record.usage, record.sentences_dropped
        )
        async with self._database.write() as session:
            uid = await _meeting_uid(session, record.tenant, record.meeting)
            if uid is None:
                raise MeetingNotFound(f"meetings/{record.meeting}")
            columns = _MINUTES.c
            found = await session.execute(
                sa.select(columns.number, columns.id).where(columns.meeting_uid == uid)
            )
            numbers = {row.id: row.number for row in found}
            if record.id in numbers:
                return
            await session.execute(
                sa.insert(_MINUTES).values(
                    meeting_uid=uid,
                    id=record.id,
                    number=max(numbers.values(), default=0) + 1,
                    author=record.author,
                    content=_CONTENT.dump_json(content).decode(),
                    create_time=record.create_time,
                )
            )

    async def get(self, tenant: str, meeting: str, minutes: str) -> MinutesRecord:
        """Return minutes."""
        query = _rows(tenant, meeting).where(_MINUTES.c.id == minutes)
        async with self._database.read() as session:
            row = (await session.execute(query)).one_or_none()
        if row is None:
            raise MinutesNotFound(f"meetings/{meeting}/minutes/{minutes}")
        return _to_record(row)

    async def list(
        self, tenant: str, meeting: str, *, before: str, limit: int
    ) -> Sequence[MinutesRecord]:
        """Return minutes of a meeting, newest first."""
        query = _rows(tenant, meeting)
        if before:
            last = _rows(tenant, meeting).where(_MINUTES.c.id == before)
            query = query.where(
                _MINUTES.c.number
                < last.with_only_columns(_MINUTES.c.number).correlate(None).scalar_subquery()
            )
        query = query.order_by(_MINUTES.c.number.desc()).limit(limit)
        async with self._database.read() as session:
            return [_to_record(row) for row in await session.execute(query)]


class SqlFeedback:
    """Implements ``ports.FeedbackStore``.

    Args:
        database: The service's database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, feedback: Feedback) -> Feedback:
        """Store feedback in place of the same user's on the same sentence."""
        async with self._database.write() as session:
            uid = await _meeting_uid(session, feedback.tenant, feedback.meeting)
            columns = _FEEDBACK.c
            there = await session.execute(
                sa.select(_MINUTES.c.id).where(
                    _MINUTES.c.meeting_uid == uid, _MINUTES.c.id == feedback.minutes
                )
            )
            if uid is None or there.one_or_none() is None:
                raise MinutesNotFound(f"meetings/{feedback.meeting}/minutes/{feedback.minutes}")
            same = sa.and_(
                columns.meeting_uid == uid,
                columns.minutes_id == feedback.minutes,
                columns.sentence == feedback.sentence,
                columns.subject == feedback.subject,
            )
            first = (await session.execute(sa.select(columns.id).where(same))).scalar_one_or_none()
            kept = replace(feedback, id=first or feedback.id)
            await session.execute(sa.delete(_FEEDBACK).where(same))
            await session.execute(
                sa.insert(_FEEDBACK).values(
                    meeting_uid=uid,
                    minutes_id=kept.minutes,
                    sentence=kept.sentence,
                    subject=kept.subject,
                    id=kept.id,
                    rating=kept.rating,
                    comment=kept.comment,
                    correction=kept.correction,
                    create_time=kept.create_time,
                )
            )
        return kept


async def _meeting_uid(session: AsyncSession, tenant: str, meeting: str) -> str | None:
    """Return the uid of a meeting that nobody else changes before the transaction ends."""
    query = sa.select(_MEETINGS.c.uid).where(
        _MEETINGS.c.tenant == tenant, _MEETINGS.c.id == meeting
    )
    return (await session.execute(query.with_for_update())).scalar_one_or_none()


def _rows(tenant: str, meeting: str) -> sa.Select[Any]:
    return (
        sa.select(_MINUTES, _MEETINGS.c.tenant.label("tenant"), _MEETINGS.c.id.label("meeting_id"))
        .join(_MEETINGS, _MEETINGS.c.uid == _MINUTES.c.meeting_uid)
        .where(_MEETINGS.c.tenant == tenant, _MEETINGS.c.id == meeting)
    )


def _to_record(row: sa.Row[Any]) -> MinutesRecord:
    content = _CONTENT.validate_json(row.content)
    return MinutesRecord(
        tenant=row.tenant,
        meeting=row.meeting_id,
        id=row.id,
        author=row.author,
        minutes=content.minutes,
        type_detected=content.type_detected,
        usage=content.usage,
        sentences_dropped=content.sentences_dropped,
        create_time=row.create_time,
    )
