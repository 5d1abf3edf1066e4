"""Tasks that run beside the calls of a service."""

from __future__ import annotations

import asyncio
from contextlib import suppress


async def cancel_and_wait(task: asyncio.Task[None]) -> None:
    """Cancel a task and return when it has ended.

    Raises:
        Exception: What the task had failed with.
    """
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
