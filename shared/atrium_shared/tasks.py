"""Tasks that run beside the calls of a service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Never

import structlog

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


async def repeat(work: Callable[[], Awaitable[object]], seconds: float, *, failed: str) -> Never:
    """Do a piece of upkeep from time to time, until cancelled.

    It goes on whatever the piece throws: what ails a database is told by the calls that depend on
    it. Of failures in a row the first is logged.

    Args:
        work: The piece; it is done at once, and again after each pause.
        seconds: How long the pause is.
        failed: What the log says when it fails.
    """
    failing = False
    while True:
        try:
            await work()
            failing = False
        except Exception:
            if not failing:
                _log.exception(failed)
            failing = True
        await asyncio.sleep(seconds)
