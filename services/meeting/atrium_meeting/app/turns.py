"""Who goes next where only some may go at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Turns:
    """Lets a number in at a time; who is urgent goes first, else who came first.

    Args:
        count: How many at a time.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    @asynccontextmanager
    async def take(self, urgent: Callable[[], bool]) -> AsyncIterator[None]:
        """Wait for a turn and hold it for the block.

        Args:
            urgent: Asked whenever a turn becomes free: what waits may become urgent.
        """
        if self._free:
            self._free -= 1
        else:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiting = (urgent, turn)
            self._waiting.append(waiting)
            try:
                await turn
            except asyncio.CancelledError:
                if waiting in self._waiting:
                    self._waiting.remove(waiting)
                else:
                    self._give()
                raise
        try:
            yield
        finally:
            self._give()

    def _give(self) -> None:
        if not self._waiting:
            self._free += 1
            return
        place = next((at for at, (urgent, _) in enumerate(self._waiting) if urgent()), 0)
        self._waiting.pop(place)[1].set_result(None)
