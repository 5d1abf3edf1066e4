"""Tasks that run beside the calls of a service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Never

import structlog

from atrium_shared.errors import Unavailable

_log = structlog.get_logger(__name__)


async def cancel_and_wait(task: asyncio.Task[None]) -> None:
    """Cancel a task and return when it has ended.

    Raises:
        Exception: What the task had failed with.
        asyncio.CancelledError: The caller was cancelled meanwhile; the task may still be ending.
    """
    task.cancel()
    # Awaiting the task itself could not tell its cancellation from the caller's.
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()


async def repeat(
    work: Callable[[], Awaitable[object]],
    seconds: float,
    *,
    failed: str,
    wake: asyncio.Event | None = None,
) -> Never:
    """Do a piece of upkeep from time to time, until cancelled.

    It goes on whatever the piece throws: what ails a database is told by the calls that depend on
    it. Of failures in a row the first is logged; where something is only away, the second, as
    services of an installation start one after the other.

    Args:
        work: The piece; it is done at once, and again after each pause.
        seconds: How long the pause is.
        failed: What the log says when it fails.
        wake: Ends the pause when it is set, and is cleared then.
    """
    failures, told = 0, False
    while True:
        try:
            await work()
            failures, told = 0, False
        except Unavailable as error:
            failures += 1
            if failures > 1 and not told:
                _log.warning(failed, reason=error.reason, error=error.message)
                told = True
        except Exception:
            failures += 1
            if not told:
                _log.exception(failed)
                told = True
        if wake is None:
            await asyncio.sleep(seconds)
            continue
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await wake.wait()
        wake.clear()
