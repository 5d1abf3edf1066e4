"""Meetings in the relational database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from atrium_meeting.adapters import rows, tables
from atrium_meeting.app.stores import MeetingCursor, Purge
from atrium_meeting.domain.errors import MeetingExists, MeetingNotFound
from atrium_meeting.domain.meetings import Meeting
from atrium_meeting.domain.recordings import RecordingState
from atrium_shared.database import Database
from atrium_shared.operations import OperationStore

_MEETINGS: Final = tables.meetings
_RECORDINGS: Final = tables.recordings
_REQUESTS: Final = tables.minutes_requests


class SqlMeetings:
    """Implements ``stores.MeetingStore``.

    Args:
        database: The service's database.
        operations: Ends what is under way for a meeting that is deleted.
    """

    def __init__(self, database: Database, operations: OperationStore) -> None:
        self._database = database
        self._operations = operations

    async def create(self, meeting: Meeting, request_key: str | None) -> Meeting:
        """Add a meeting."""
        try:
            async with self._database.write() as session:
                await session.execute(
                    sa.insert(_MEETINGS).values(
                        uid=meeting.uid,
                        tenant=meeting.tenant,
                        id=meeting.id,
                        **rows.described(meeting),
                        state=meeting.state,
                        duration_ms=0,
                        speakers=[],
                        transcript_version=0,
                        failure_reason="",
                        failure_message="",
                        truncated=False,
                        creator=meeting.creator,
                        request_key=request_key,
                        create_time=meeting.create_time,
                    )
                )
        except IntegrityError as error:
            if request_key is not None:
                earlier = await self.of_request(meeting.tenant, request_key)
                if earlier is not None:
                    return earlier
            raise MeetingExists(meeting.name) from error
        return meeting

    async def get(self, tenant: str, meeting_id: str) -> Meeting:
        """Return a meeting of a tenant."""
        found = await self._one(_MEETINGS.c.tenant == tenant, _MEETINGS.c.id == meeting_id)
        if found is None:
            raise MeetingNotFound(f"meetings/{meeting_id}")
        return found

    async def by_uid(self, uid: str) -> Meeting | None:
        """Return a meeting."""
        return await self._one(_MEETINGS.c.uid == uid)

    async def of_request(self, tenant: str, request_key: str) -> Meeting | None:
        """Return the meeting that was made with a request key."""
        return await self._one(_MEETINGS.c.tenant == tenant, _MEETINGS.c.request_key == request_key)

    async def list(
        self, tenant: str, after: MeetingCursor | None, limit: int
    ) -> Sequence[tuple[Meeting, MeetingCursor]]:
        """Return meetings, newest first."""
        columns = _MEETINGS.c
        query = (
            sa.select(_MEETINGS)
            .where(columns.tenant == tenant)
            .order_by(columns.create_time.desc(), columns.uid.desc())
            .limit(limit)
        )
        if after is not None:
            query = query.where(
                sa.or_(
                    columns.create_time < after.create_time,
                    sa.and_(columns.create_time == after.create_time, columns.uid < after.uid),
                )
            )
        async with self._database.read() as session:
            return [
                (rows.to_meeting(row), MeetingCursor(row.create_time, row.uid))
                for row in await session.execute(query)
            ]

    async def change(self, uid: str, change: Callable[[Meeting], Meeting]) -> Meeting:
        """Change a meeting."""
        async with self._database.write() as session:
            before = await rows.locked_meeting(session, uid)
            after = change(before)
            await rows.set_meeting(session, uid, **rows.described(after))
            return after

    async def delete(self, uid: str) -> tuple[Sequence[Purge], Sequence[str]]:
        """Remove a meeting."""
        async with self._database.write() as session:
            meeting = await rows.locked_meeting(session, uid)
            under_way = await session.execute(
                sa.union_all(
                    sa.select(_RECORDINGS.c.operation_id).where(
                        _RECORDINGS.c.meeting_uid == uid,
                        _RECORDINGS.c.state == RecordingState.PROCESSING,
                    ),
                    sa.select(_REQUESTS.c.operation_id).where(
                        _REQUESTS.c.meeting_uid == uid, _REQUESTS.c.done.is_(False)
                    ),
                )
            )
            operations = list(under_way.scalars())
            for operation_id in operations:
                name = self._operations.name(operation_id)
                await self._operations.fail(name, MeetingNotFound(meeting.name), session=session)
            await session.execute(sa.delete(_MEETINGS).where(_MEETINGS.c.uid == uid))
            return [await rows.insert_purge(session, meeting.folder)], operations

    async def _one(self, *conditions: sa.ColumnElement[bool]) -> Meeting | None:
        async with self._database.read() as session:
            row = (await session.execute(sa.select(_MEETINGS).where(*conditions))).one_or_none()
        return None if row is None else rows.to_meeting(row)
