"""Threads for work that computes or blocks, so that the event loop never does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Workers:
    """A fixed number of threads; what comes while all are busy waits its turn.

    Args:
        threads: How many.
        name: What they do, for whoever looks at the process.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"meeting {name}")

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``work`` returns. Work that has begun ends even when the caller gives up."""
        return await asyncio.get_running_loop().run_in_executor(
            self._pool, lambda: work(*args, **kwargs)
        )

    async def close(self) -> None:
        """Wait for work that has begun, and drop what has not."""
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)
