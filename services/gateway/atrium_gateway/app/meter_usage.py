"""Counts what calls cost, by tenant, day, task and model."""

from __future__ import annotations

from collections.abc import Callable

from atrium_gateway.app.caller import Caller
from atrium_gateway.app.group_writer import GroupWriter
from atrium_gateway.app.ports import UsageStore
from atrium_gateway.domain.usage import UsageCount, UsageKey
from atrium_shared.clock import Clock
from atrium_shared.engines import NO_USAGE, Usage


class MeterUsage:
    """Adds up calls in memory and stores the sums in groups.

    What was not stored when the process dies is lost: half a second of counts. Budgets need more
    and do not build on this.

    Args:
        store: Keeps the sums.
        clock: Says which day it is.
        observe: Told of each call at once, for metrics: its model, and its count.
        interval_seconds: Longest wait before a count is stored.
    """

    def __init__(
        self,
        store: UsageStore,
        clock: Clock,
        *,
        observe: Callable[[str, UsageCount], None] | None = None,
        interval_seconds: float = 0.5,
    ) -> None:
        self._store = store
        self._clock = clock
        self._observe = observe
        self._counts: dict[UsageKey, UsageCount] = {}
        self._writer = GroupWriter("usage", self._write, interval_seconds=interval_seconds)

    def answered(self, caller: Caller, model: str, usage: Usage) -> None:
        """Count a call that was answered, wholly or until its caller left."""
        self._add(caller, model, UsageCount(requests=1, usage=usage))

    def failed(self, caller: Caller, model: str, usage: Usage = NO_USAGE) -> None:
        """Count a call that failed, and what it cost until then."""
        self._add(caller, model, UsageCount(failures=1, usage=usage))

    def cached(self, caller: Caller, model: str) -> None:
        """Count a call that was answered from the cache."""
        self._add(caller, model, UsageCount(requests=1, cached=1))

    async def start(self) -> None:
        """Start storing."""
        await self._writer.start()

    async def stop(self) -> None:
        """Stop, and store what is left."""
        await self._writer.stop()

    async def flush(self) -> None:
        """Store what was counted until now."""
        await self._writer.flush()

    def _add(self, caller: Caller, model: str, count: UsageCount) -> None:
        credential = caller.principal.credential
        key = UsageKey(caller.tenant, self._clock.now().date(), caller.task, model, credential)
        before = self._counts.get(key)
        self._counts[key] = count if before is None else before + count
        if self._observe is not None:
            self._observe(model, count)
        self._writer.wake()

    async def _write(self) -> None:
        counts, self._counts = self._counts, {}
        if not counts:
            return
        try:
            await self._store.add(counts)
        except BaseException:
            for key, count in counts.items():
                before = self._counts.get(key)
                self._counts[key] = count if before is None else before + count
            raise
