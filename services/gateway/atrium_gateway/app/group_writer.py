"""Writes what calls leave behind in groups, soon after, off the path of the calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from atrium_shared.errors import AtriumError

_log = structlog.get_logger(__name__)


class GroupWriter:
    """Calls a writer after something was left to write, at most every ``interval_seconds``.

    A write that fails is logged and tried again at the next turn; what it would have written is
    the owner's to keep.

    Args:
        name: For the log.
        write: Writes everything that is left to write.
        interval_seconds: Longest wait from :meth:`wake` to the write.
    """

    def __init__(
        self, name: str, write: Callable[[], Awaitable[None]], *, interval_seconds: float = 0.5
    ) -> None:
        self._name = name
        self._write = write
        self._interval = interval_seconds
        self._left = asyncio.Event()
        self._stopping = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Say that something is left to write."""
        self._left.set()

    async def start(self) -> None:
        """Start writing in the background."""
        self._stopping.clear()
        self._task = asyncio.create_task(self._run(), name=f"{self._name} writer")

    async def stop(self) -> None:
        """Stop, and write what is left.

        Raises:
            AtriumError: It could not be written.
        """
        if self._task is not None:
            self._stopping.set()
            self._left.set()
            await self._task
            self._task = None
        await self.flush()

    async def flush(self) -> None:
        """Write now. A caller who gives up does not stop the write.

        Raises:
            AtriumError: It could not be written.
        """
        await asyncio.shield(asyncio.create_task(self._write_alone()))

    async def _write_alone(self) -> None:
        async with self._one_at_a_time:
            self._left.clear()
            await self._write()

    async def _run(self) -> None:
        while True:
            await self._left.wait()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._interval)
            if self._stopping.is_set():
                return
            try:
                await self.flush()
            except AtriumError as error:
                _log.warning("write_failed", writer=self._name, reason=error.reason)
                self._left.set()
            except Exception:  # the loop must outlive any failure of the store
                _log.exception("write_failed", writer=self._name)
                self._left.set()
