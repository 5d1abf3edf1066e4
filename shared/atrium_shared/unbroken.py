"""Work that goes on to its end although the one who waits for it is cancelled.

A server cancels a call whose caller hangs up, at whatever it awaits just then. Between two steps
that belong together that would leave half of them, so such steps run unbroken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def unbroken(work: Coroutine[Any, Any, T]) -> T:
    """Await ``work`` to its end, even when the waiting task is cancelled meanwhile.

    What was done is whole, then, whichever way this is left.

    Raises:
        asyncio.CancelledError: The waiting task was cancelled; raised once the work has ended,
            instead of its result or error.
    """
    return await _ended(asyncio.create_task(work))


class Unbroken:
    """Unbroken work of one owner, which can wait for all of it before what it needs is closed."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T], *, name: str | None = None) -> asyncio.Task[T]:
        """Begin work that nobody need wait for.

        Args:
            work: What to do.
            name: Name of its task.
        """
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do work and return what it returns, as :func:`unbroken` does."""
        return await _ended(self.start(work))

    async def close(self) -> None:
        """Wait for all work that was begun, and for what it begins."""
        while self._tasks:
            await asyncio.wait(self._tasks)


async def _ended(task: asyncio.Task[T]) -> T:
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # seen, so that asyncio does not report it as lost
    raise cancelled
