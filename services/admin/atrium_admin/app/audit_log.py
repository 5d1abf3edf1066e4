"""Appending to the audit logs, many callers to one transaction."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from atrium_admin.app.ports import Storage
from atrium_admin.domain.audit import AuditEvent, bounded
from atrium_admin.domain.errors import TenantNotFound
from atrium_shared.audit import AuditQueueFull

Entry = tuple[str, AuditEvent]
"""A tenant's id and an event of that tenant."""


class _Waiting:
    """One ``append`` call: its entries and who waits for them."""

    __slots__ = ("done", "entries")

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class AuditLog:
    """Appends with group commit.

    While one transaction is being made durable, further calls queue up; the next transaction takes
    them all. So the cost of a durable write is shared under load, and nobody waits without load.

    Args:
        storage: Where the logs are kept.
        max_waiting: Most events that may wait, those under way included.
        max_batch: Most events of one transaction, unless a single call brings more.
    """

    def __init__(
        self, storage: Storage, *, max_waiting: int = 50_000, max_batch: int = 2_000
    ) -> None:
        self._storage = storage
        self._max_waiting = max_waiting
        self._max_batch = max_batch
        self._queue: deque[_Waiting] = deque()
        self._waiting = 0
        self._writer: asyncio.Task[None] | None = None
        self._known_tenants: set[str] = set()

    async def append(self, entries: Sequence[Entry]) -> None:
        """Append events in their order; they are durable when it returns, all or none.

        Raises:
            TenantNotFound: An event names a tenant that does not exist. Nothing was appended.
            AuditQueueFull: Too many events wait. Nothing was appended.
        """
        if not entries:
            return
        await self._require_tenants(entries)
        if self._waiting + len(entries) > self._max_waiting:
            raise AuditQueueFull(self._max_waiting)
        waiting = _Waiting([(tenant, bounded(event)) for tenant, event in entries])
        self._queue.append(waiting)
        self._waiting += len(entries)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all(), name="audit writer")
        await waiting.done

    async def close(self) -> None:
        """Wait until everything queued is durable or has failed."""
        while self._writer is not None:
            await asyncio.wait([self._writer])

    async def _require_tenants(self, entries: Sequence[Entry]) -> None:
        # Before queueing: one caller's mistake must not fail the others of its transaction.
        # Tenants are never removed, so what was known once stays known.
        unknown = [
            (index, tenant)
            for index, (tenant, _) in enumerate(entries)
            if tenant not in self._known_tenants
        ]
        if not unknown:
            return
        async with self._storage.read() as uow:
            for index, tenant in unknown:
                if tenant in self._known_tenants:
                    continue
                if await uow.audit.head(tenant) is None:
                    raise TenantNotFound(tenant, field=f"entries[{index}].tenant")
                self._known_tenants.add(tenant)

    async def _write_all(self) -> None:
        try:
            while self._queue:
                batch = [self._queue.popleft()]
                size = len(batch[0].entries)
                while self._queue and size + len(self._queue[0].entries) <= self._max_batch:
                    batch.append(self._queue.popleft())
                    size += len(batch[-1].entries)
                try:
                    await self._write(batch)
                finally:
                    self._waiting -= size
        finally:
            self._writer = None

    async def _write(self, batch: Sequence[_Waiting]) -> None:
        by_tenant: dict[str, list[AuditEvent]] = {}
        for waiting in batch:
            for tenant, event in waiting.entries:
                by_tenant.setdefault(tenant, []).append(event)
        failure: BaseException | None = None
        try:
            async with self._storage.write() as uow:
                await uow.audit.append_all(by_tenant)
        except asyncio.CancelledError as error:
            failure = error
            raise
        except Exception as error:  # whatever it is, it belongs to those who wait
            failure = error
        finally:
            for waiting in batch:
                # Who was cancelled meanwhile waits no more; the event stands all the same.
                if not waiting.done.done():
                    if failure is None:
                        waiting.done.set_result(None)
                    else:
                        waiting.done.set_exception(failure)
