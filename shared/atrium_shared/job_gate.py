"""Steps of durable jobs run while the service runs and its database answers, and only then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from tenacity import RetryCallState, retry, retry_if_exception_type, wait_exponential_jitter

from atrium_shared.database import DatabaseUnavailable
from atrium_shared.jobs import JSON

_log = structlog.get_logger(__name__)


class JobGate:
    """Lets steps begin when the service has started, and interrupts them when it stops.

    A step that was interrupted does not end; the runner of jobs, which closes later, drops it, and
    it runs again after the next start.

    A step during which the database goes away runs again, from its beginning, until the database
    is back, however long that takes: what the database does is no fault of what is worked on. So a
    step lets :class:`~atrium_shared.database.DatabaseUnavailable` pass.
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
        """Run a step to its end, again when a stop or an outage interrupted it."""
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


def _tell(attempt: RetryCallState) -> None:
    if attempt.attempt_number == 1:
        error = attempt.outcome.exception() if attempt.outcome else None
        _log.warning("a job waits for the database", exc_info=error)


@retry(
    retry=retry_if_exception_type(DatabaseUnavailable),
    wait=wait_exponential_jitter(multiplier=0.2, max=15.0),
    before_sleep=_tell,
)
async def _call(step: Callable[[], Awaitable[JSON]]) -> JSON:
    return await step()
