"""A bounded queue before a backend in which no tenant can crowd out another."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque


class QueueFull(Exception):
    """Too many wait already.

    Args:
        waiting: How many.
    """

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} wait already")
        self.waiting = waiting


class FairQueue:
    """Slots of a backend, given to waiting tenants in turn.

    Tenants with waiting calls are served round robin, so a burst of one delays another by one call
    at most. When the queue is full, the tenant with the longest queue gives up its newest place.

    Args:
        slots: Calls that run at once.
        capacity: Calls that wait at most.
    """

    def __init__(self, slots: int, capacity: int) -> None:
        self._free = slots
        self._capacity = capacity
        self._count = 0
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """Calls that wait now."""
        return self._count

    def try_acquire(self) -> bool:
        """Take a slot without waiting, or return False when none is free."""
        if not self._free:
            return False
        self._free -= 1
        return True

    async def acquire(self, tenant: str) -> None:
        """Wait for a slot; the caller gives it back with :meth:`release`.

        Raises:
            QueueFull: Too many wait, and this tenant has no claim before them.
        """
        if self.try_acquire():
            return
        if self._count >= self._capacity:
            self._make_room(tenant)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(turn)
        self._count += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(tenant, turn)
            elif turn.exception() is None:
                self.release()  # it was handed over in the moment in which the caller gave up
            raise

    def release(self) -> None:
        """Give a slot back: to the next tenant in turn, if one waits."""
        while self._waiting:
            tenant, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self._waiting[tenant] = turns
            self._count -= 1
            if not turn.done():  # done: cancelled, and its task has not run since
                turn.set_result(None)
                return
        self._free += 1

    def _make_room(self, tenant: str) -> None:
        longest = max(self._waiting, key=lambda name: len(self._waiting[name]), default=tenant)
        own = len(self._waiting.get(tenant, ()))
        if len(self._waiting.get(longest, ())) <= own + 1:
            raise QueueFull(self._count)
        turn = self._waiting[longest].pop()
        self._count -= 1
        if not turn.done():
            turn.set_exception(QueueFull(self._capacity))

    def _forget(self, tenant: str, turn: asyncio.Future[None]) -> None:
        turns = self._waiting.get(tenant)
        if turns is None or turn not in turns:
            return
        turns.remove(turn)
        self._count -= 1
        if not turns:
            del self._waiting[tenant]
