"""Long-running work as ``google.longrunning.Operation`` (AIP-151): get, wait, cancel, list.

An operation's row lives in the database of the service that does the work, so that making it and
the work's own first record are one transaction. Names read ``operations/<service>.<id>``; one
servicer answers for all services of a process and finds the store by that name.
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from weakref import WeakValueDictionary

import sqlalchemy as sa
from alembic.operations import Operations as AlembicOperations
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, status_pb2
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_shared.clock import Clock, SystemClock
from atrium_shared.database import Database, UtcDateTime
from atrium_shared.errors import AtriumError, Conflict, NotFound
from atrium_shared.rpc.status import error_to_status

OPERATION_NAME = re.compile(r"operations/(?P<service>[a-z]+)[.](?P<id>[A-Za-z0-9_-]{1,64})")
_POLL_SECONDS = 0.5


class OperationNotFound(NotFound):
    """No operation of the caller has this name."""

    reason = "OPERATION_NOT_FOUND"

    def __init__(self, name: str) -> None:
        super().__init__(f"Operation {name!r} does not exist.", field="name", operation=name)


class OperationNotDone(Conflict):
    """It cannot be deleted while it runs."""

    reason = "OPERATION_NOT_DONE"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Operation {name!r} still runs. Cancel it first, or wait until it is done.",
            operation=name,
        )


@dataclass(frozen=True)
class Operation:
    """Work that goes on after its request.

    Attributes:
        name: ``operations/knowledge.8f2c``.
        tenant: The tenant that it belongs to.
        owner: The user who asked for it; others of the tenant see it as absent.
        metadata: Progress, packed.
        done: True when ``response`` or ``error`` is set.
        response: The result, packed.
        error: ``google.rpc.Status`` of the failure, packed.
    """

    name: str
    tenant: str
    owner: str
    metadata: any_pb2.Any
    done: bool
    response: any_pb2.Any | None
    error: any_pb2.Any | None
    create_time: datetime


def operations_table(metadata: sa.MetaData) -> sa.Table:
    """Return the table of operations for a service's metadata."""
    return sa.Table("operations", metadata, *_columns())


def create_operations_table(op: AlembicOperations) -> None:
    """Make the table in a service's migration."""
    op.create_table("operations", *_columns())
    op.create_index("operations_by_owner", "operations", ["tenant", "owner", "id"])


def _columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(140), nullable=False),
        sa.Column("metadata", sa.LargeBinary, nullable=False),
        sa.Column("done", sa.Boolean, nullable=False),
        sa.Column("response", sa.LargeBinary),
        sa.Column("error", sa.LargeBinary),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.Column("update_time", UtcDateTime, nullable=False),
    ]


_TABLE = operations_table(sa.MetaData())


class OperationStore:
    """The operations of one service.

    Args:
        database: The service's database; its migrations made the table.
        service: Name of the service, the first part of every id.
        clock: Tells the time.
    """

    def __init__(self, database: Database, service: str, *, clock: Clock | None = None) -> None:
        self.service = service
        self._database = database
        self._clock = clock or SystemClock()
        self._cancel: Callable[[str], Awaitable[None]] | None = None
        # An event lives as long as somebody waits for it.
        self._changed: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()

    def on_cancel(self, cancel: Callable[[str], Awaitable[None]]) -> None:
        """Set what stops the work of an operation; it gets the operation's name."""
        self._cancel = cancel

    def name(self, op_id: str) -> str:
        """Return the resource name of an id."""
        return f"operations/{self.service}.{op_id}"

    async def create(
        self, session: AsyncSession, *, op_id: str, tenant: str, owner: str, metadata: Message
    ) -> Operation:
        """Record an operation in the caller's transaction."""
        now = self._clock.now()
        packed = _pack(metadata)
        await session.execute(
            sa.insert(_TABLE).values(
                id=op_id,
                tenant=tenant,
                owner=owner,
                metadata=packed.SerializeToString(),
                done=False,
                create_time=now,
                update_time=now,
            )
        )
        return Operation(self.name(op_id), tenant, owner, packed, False, None, None, now)

    async def get(self, name: str, *, tenant: str, owner: str | None = None) -> Operation:
        """Return an operation of a tenant, and of one owner where given.

        Raises:
            OperationNotFound: There is none, or it is somebody else's.
        """
        query = sa.select(_TABLE).where(_TABLE.c.id == self._id(name), _TABLE.c.tenant == tenant)
        if owner is not None:
            query = query.where(_TABLE.c.owner == owner)
        async with self._database.read() as session:
            row = (await session.execute(query)).one_or_none()
        if row is None:
            raise OperationNotFound(name)
        return self._from_row(row)

    async def of_request(self, op_id: str, *, tenant: str, forget: sa.Update) -> Operation | None:
        """Return the operation that an earlier request with the same id got (AIP-155).

        Who deleted it has seen its end: the request id is then free, and used again it is a
        request like any other.

        Args:
            op_id: Id of the operation.
            tenant: That it belongs to.
            forget: Takes the request id from what the earlier request made.
        """
        try:
            return await self.get(self.name(op_id), tenant=tenant)
        except OperationNotFound:
            async with self._database.write() as session:
                await session.execute(forget)
            return None

    async def list(self, *, tenant: str, owner: str, after: str, limit: int) -> Sequence[Operation]:
        """Return the operations of an owner whose ids follow ``after``, in the order of ids."""
        query = (
            sa.select(_TABLE)
            .where(_TABLE.c.tenant == tenant, _TABLE.c.owner == owner, _TABLE.c.id > after)
            .order_by(_TABLE.c.id)
            .limit(limit)
        )
        async with self._database.read() as session:
            return [self._from_row(row) for row in await session.execute(query)]

    async def wait(
        self, name: str, *, tenant: str, owner: str | None = None, timeout_seconds: float
    ) -> Operation:
        """Return the operation when it is done, or as it is when the time is over."""
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        while True:
            changed = self._changed.setdefault(name, asyncio.Event())
            operation = await self.get(name, tenant=tenant, owner=owner)
            left = deadline - asyncio.get_running_loop().time()
            if operation.done or left <= 0:
                return operation
            try:
                # Another process may do the work, so the event alone is not enough.
                async with asyncio.timeout(min(left, _POLL_SECONDS)):
                    await changed.wait()
            except TimeoutError:
                continue

    async def update(
        self, name: str, metadata: Message, *, session: AsyncSession | None = None
    ) -> None:
        """Replace the progress of an operation that is not done."""
        await self._set(name, session=session, metadata=_pack(metadata).SerializeToString())

    async def finish(
        self, name: str, response: Message, *, session: AsyncSession | None = None
    ) -> None:
        """Mark as done with a result, in the caller's transaction where one is given."""
        await self._set(
            name, session=session, done=True, response=_pack(response).SerializeToString()
        )

    async def fail(
        self, name: str, error: AtriumError, *, session: AsyncSession | None = None
    ) -> None:
        """Mark as done with an error, in the caller's transaction where one is given."""
        packed = _pack(error_to_status(error))
        await self._set(name, session=session, done=True, error=packed.SerializeToString())

    async def cancel(self, name: str, *, tenant: str, owner: str | None = None) -> None:
        """Ask the work to stop; the operation then ends as cancelled."""
        operation = await self.get(name, tenant=tenant, owner=owner)
        if operation.done:
            return
        if self._cancel is not None:
            await self._cancel(name)
        await self._set(name, done=True, error=_pack(_CANCELLED).SerializeToString())

    async def delete(self, name: str, *, tenant: str, owner: str | None = None) -> None:
        """Forget an operation that is done.

        Raises:
            OperationNotDone: It still runs.
        """
        operation = await self.get(name, tenant=tenant, owner=owner)
        if not operation.done:
            raise OperationNotDone(name)
        async with self._database.write() as session:
            await session.execute(sa.delete(_TABLE).where(_TABLE.c.id == self._id(name)))

    async def _set(
        self, name: str, *, session: AsyncSession | None = None, **values: object
    ) -> None:
        # What is done stays as it is: a cancelled operation does not finish later.
        change = (
            sa.update(_TABLE)
            .where(_TABLE.c.id == self._id(name), _TABLE.c.done.is_(False))
            .values(update_time=self._clock.now(), **values)
        )
        if session is not None:
            await session.execute(change)
            # Who waits would read the state from before the caller's commit.
            wake = functools.partial(self._wake, name)
            sa.event.listen(session.sync_session, "after_commit", wake, once=True)
        else:
            async with self._database.write() as own:
                await own.execute(change)
            self._wake(name)

    def _wake(self, name: str, _committed: object = None) -> None:
        if (changed := self._changed.pop(name, None)) is not None:
            changed.set()

    def _id(self, name: str) -> str:
        match = OPERATION_NAME.fullmatch(name)
        if match is None or match["service"] != self.service:
            raise OperationNotFound(name)
        return match["id"]

    def _from_row(self, row: sa.Row[Any]) -> Operation:
        def unpack(data: bytes | None) -> any_pb2.Any | None:
            return None if data is None else any_pb2.Any.FromString(data)

        return Operation(
            name=self.name(row.id),
            tenant=row.tenant,
            owner=row.owner,
            metadata=any_pb2.Any.FromString(row.metadata),
            done=row.done,
            response=unpack(row.response),
            error=unpack(row.error),
            create_time=row.create_time,
        )


def _pack(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


_CANCELLED = status_pb2.Status(code=code_pb2.CANCELLED, message="The operation was cancelled.")
