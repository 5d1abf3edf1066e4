"""Steps of durable jobs run while the service runs, and only then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from atrium_shared.jobs import JSON


class JobGate:
    """Lets steps begin when the service has started, and interrupts them when it stops.

    A step that was interrupted does not end; the runner of jobs, which closes later, drops it, and
    it runs again after the next start.
    """

    def __init__(self) -> None:
        self._ready = asyncio.Event()
        self._steps: set[asyncio.Task[JSON]] = set()

    def open(self) -> None:
        """Let steps begin."""
        self._ready.set()

    async def close(self) -> None:
        """Interrupt steps and let none begin."""
        self._ready.clear()
        for step in self._steps:
            step.cancel()
        if self._steps:
            await asyncio.wait(self._steps)

    async def run(self, step: Callable[[], Awaitable[JSON]]) -> JSON:
        """Run a step to its end, again when a stop interrupted it."""
        while True:
            while not self._ready.is_set():  # it may have been closed since it woke us
                await self._ready.wait()
            task = asyncio.ensure_future(_call(step))
            self._steps.add(task)
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                if self._ready.is_set() or not task.cancelled():
                    task.cancel()
                    raise
                # Interrupted because the service stops: wait for the end of the process, or for
                # the service to start again in it.
            finally:
                self._steps.discard(task)


async def _call(step: Callable[[], Awaitable[JSON]]) -> JSON:
    return await step()
