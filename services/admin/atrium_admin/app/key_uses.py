"""When keys were last used, to the minute, at almost no cost."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime

import structlog

from atrium_admin.app.ports import Storage
from atrium_admin.domain.api_keys import ApiKey
from atrium_shared.clock import Clock

_log = structlog.get_logger(__name__)


class KeyUses:
    """Collects uses in memory and writes them together.

    A use that a crash takes with it is lost: it tells an administrator which keys are idle, and
    decides nothing. What was done with a key stands in the audit log.

    Args:
        storage: Where keys are kept.
        clock: Tells the minute.
        flush_seconds: How often to write.
    """

    def __init__(self, storage: Storage, clock: Clock, *, flush_seconds: float = 30.0) -> None:
        self._storage = storage
        self._clock = clock
        self._flush_seconds = flush_seconds
        self._pending: dict[str, datetime] = {}
        self._flusher: asyncio.Task[None] | None = None

    def note(self, key: ApiKey) -> None:
        """Remember that a key is used now."""
        minute = self._clock.now().replace(second=0, microsecond=0)
        if key.last_use_time is None or key.last_use_time < minute:
            self._pending[key.id] = minute

    async def start(self) -> None:
        """Write from time to time from now on."""
        self._flusher = asyncio.create_task(self._flush_often(), name="key uses")

    async def stop(self) -> None:
        """Write what is left."""
        if self._flusher is not None:
            self._flusher.cancel()
            with suppress(asyncio.CancelledError):
                await self._flusher
            self._flusher = None
        await self.flush()

    async def flush(self) -> None:
        """Write what was collected."""
        if not self._pending:
            return
        pending, self._pending = self._pending, {}
        try:
            async with self._storage.write() as uow:
                await uow.api_keys.record_uses(sorted(pending.items()))
        except BaseException:
            self._pending = pending | self._pending
            raise

    async def _flush_often(self) -> None:
        while True:
            await asyncio.sleep(self._flush_seconds)
            try:
                await self.flush()
            except Exception:
                # Whatever ails the database is told by the calls that depend on it; this
                # convenience must only not die of it.
                _log.exception("last uses of keys were not written")
