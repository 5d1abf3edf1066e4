"""Minutes under way and their operations in the relational database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import sqlalchemy as sa
from google.protobuf.message import Message
from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_meeting.adapters import rows, tables
from atrium_meeting.app.stores import MinutesRequest, WrittenMinutes
from atrium_meeting.app.write_minutes import MinutesWanted
from atrium_shared.clock import Clock
from atrium_shared.database import Database
from atrium_shared.errors import AtriumError
from atrium_shared.jobs import JSON
from atrium_shared.operations import Operation, OperationStore

_MEETINGS: Final = tables.meetings
_REQUESTS: Final = tables.minutes_requests
_PARTS: Final = tables.minutes_parts
_WANTED: Final = TypeAdapter(MinutesWanted)
_ROWS: Final = sa.select(
    _REQUESTS, _MEETINGS.c.tenant.label("tenant"), _MEETINGS.c.id.label("meeting_id")
).join(_MEETINGS, _MEETINGS.c.uid == _REQUESTS.c.meeting_uid)


class SqlMinutesRequests:
    """Implements ``stores.MinutesRequestStore``.

    Args:
        database: The service's database.
        operations: Operations of the requests, in the same database.
        progress_message: Makes an operation's metadata of a meeting's name, parts done and in all.
        minutes_message: Makes an operation's response of minutes.
        clock: Tells the time.
    """

    def __init__(
        self,
        database: Database,
        operations: OperationStore,
        *,
        progress_message: Callable[[str, int, int], Message],
        minutes_message: Callable[[WrittenMinutes], Message],
        clock: Clock,
    ) -> None:
        self._database = database
        self._operations = operations
        self._progress_message = progress_message
        self._minutes_message = minutes_message
        self._clock = clock

    async def begin(self, request: MinutesRequest, request_key: str | None) -> Operation:
        """Record a request."""
        async with self._database.write() as session:
            meeting = await rows.locked_meeting(session, request.meeting_uid)
            earlier = await self._of_request(session, meeting.uid, request_key)
            if earlier is None:
                await session.execute(
                    sa.insert(_REQUESTS).values(
                        operation_id=request.operation_id,
                        meeting_uid=meeting.uid,
                        minutes_id=request.minutes_id,
                        actor=request.actor,
                        on_behalf_of=request.on_behalf_of,
                        wanted=_WANTED.dump_json(request.wanted).decode(),
                        done=False,
                        request_key=request_key,
                        create_time=self._clock.now(),
                    )
                )
                return await self._operations.create(
                    session,
                    op_id=request.operation_id,
                    tenant=meeting.tenant,
                    owner=request.on_behalf_of or request.actor,
                    metadata=self._progress_message(meeting.name, 0, 0),
                )
        return await self._operations.get(self._operations.name(earlier), tenant=meeting.tenant)

    async def of_request(self, meeting_uid: str, request_key: str) -> Operation | None:
        """Return the operation that an earlier request with this key got."""
        query = _ROWS.where(
            _REQUESTS.c.meeting_uid == meeting_uid, _REQUESTS.c.request_key == request_key
        )
        async with self._database.read() as session:
            row = (await session.execute(query)).one_or_none()
        if row is None:
            return None
        forget = sa.update(_REQUESTS).where(_REQUESTS.c.operation_id == row.operation_id)
        return await self._operations.of_request(
            row.operation_id, tenant=row.tenant, forget=forget.values(request_key=None)
        )

    async def get(self, operation_id: str) -> MinutesRequest | None:
        """Return a request."""
        query = _ROWS.where(_REQUESTS.c.operation_id == operation_id)
        async with self._database.read() as session:
            row = (await session.execute(query)).one_or_none()
        return None if row is None else _to_request(row)

    async def unfinished(self) -> Sequence[MinutesRequest]:
        """Return every request that is being worked on."""
        query = _ROWS.where(_REQUESTS.c.done.is_(False)).order_by(_REQUESTS.c.create_time)
        async with self._database.read() as session:
            return [_to_request(row) for row in await session.execute(query)]

    async def report(self, request: MinutesRequest, done: int, total: int) -> None:
        """Tell how far it is."""
        await self._operations.update(
            self._operations.name(request.operation_id),
            self._progress_message(request.meeting, done, total),
        )

    async def finish(self, request: MinutesRequest, written: WrittenMinutes) -> None:
        """End the operation with the minutes."""
        async with self._database.write() as session:
            await _set_done(session, request)
            await self._operations.finish(
                self._operations.name(request.operation_id),
                self._minutes_message(written),
                session=session,
            )

    async def fail(
        self, request: MinutesRequest, error: AtriumError, *, end_operation: bool = True
    ) -> None:
        """End the operation with an error."""
        async with self._database.write() as session:
            await _set_done(session, request)
            if end_operation:
                name = self._operations.name(request.operation_id)
                await self._operations.fail(name, error, session=session)

    async def part(self, meeting_uid: str, minutes_id: str, part: str) -> JSON | None:
        """Return what a part of minutes came to."""
        query = sa.select(_PARTS.c.result).where(
            _PARTS.c.meeting_uid == meeting_uid,
            _PARTS.c.minutes_id == minutes_id,
            _PARTS.c.part == part,
        )
        async with self._database.read() as session:
            found: JSON | None = (await session.execute(query)).scalar_one_or_none()
        return found

    async def save_part(self, meeting_uid: str, minutes_id: str, part: str, result: JSON) -> None:
        """Remember what a part of minutes came to."""
        async with self._database.write() as session:
            await rows.locked_meeting(session, meeting_uid)
            await session.execute(
                sa.insert(_PARTS).values(
                    meeting_uid=meeting_uid, minutes_id=minutes_id, part=part, result=dict(result)
                )
            )

    async def forget_parts(self, meeting_uid: str, minutes_id: str) -> None:
        """Forget the parts."""
        async with self._database.write() as session:
            await session.execute(
                sa.delete(_PARTS).where(
                    _PARTS.c.meeting_uid == meeting_uid, _PARTS.c.minutes_id == minutes_id
                )
            )

    async def _of_request(
        self, session: AsyncSession, meeting_uid: str, request_key: str | None
    ) -> str | None:
        if request_key is None:
            return None
        query = sa.select(_REQUESTS.c.operation_id).where(
            _REQUESTS.c.meeting_uid == meeting_uid, _REQUESTS.c.request_key == request_key
        )
        return (await session.execute(query)).scalar_one_or_none()


async def _set_done(session: AsyncSession, request: MinutesRequest) -> None:
    await session.execute(
        sa.update(_REQUESTS)
        .where(_REQUESTS.c.operation_id == request.operation_id)
        .values(done=True)
    )


def _to_request(row: sa.Row[Any]) -> MinutesRequest:
    return MinutesRequest(
        operation_id=row.operation_id,
        tenant=row.tenant,
        meeting_uid=row.meeting_uid,
        meeting=f"meetings/{row.meeting_id}",
        minutes_id=row.minutes_id,
        actor=row.actor,
        on_behalf_of=row.on_behalf_of,
        wanted=_WANTED.validate_json(row.wanted),
        done=row.done,
    )
