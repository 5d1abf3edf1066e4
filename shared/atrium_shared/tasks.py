"""Tasks that run beside the calls of a service."""

from __future__ import annotations

import asyncio


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
