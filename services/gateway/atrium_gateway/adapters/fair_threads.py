"""Threads that several models share, with a queue in which urgent work goes first.

A call brings pieces that can run apart: texts to encode, pairs to read. Urgent calls, for which
somebody waits, run before those of imports; calls of the same urgency take turns piece by piece, so
that a small one need not wait for a large one.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from atrium_gateway.domain.errors import EncoderQueueFull, ModelUnavailable

T = TypeVar("T")
R = TypeVar("R")


@dataclass(eq=False)
class _Call:
    """One call while its pieces run."""

    model: str
    work: Callable[[Any], Any]
    pieces: Sequence[Any]
    results: list[Any]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]
    left: int
    over: bool = False


@dataclass(order=True)
class _Item:
    """One piece in the queue, ordered by who should run first."""

    background: bool
    turn: int
    number: int
    call: _Call = field(compare=False)
    index: int = field(compare=False)


class FairThreads:
    """A queue and the threads that work it off; safe to use from many tasks.

    Args:
        threads: Pieces that run at the same time; best is one a core.
        queue_limit: Pieces that may wait. A call that finds the queue empty is always taken.
    """

    def __init__(self, threads: int, *, queue_limit: int = 8192) -> None:
        self._queue_limit = queue_limit
        self._queue: list[_Item] = []
        self._turns = {False: 0, True: 0}
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._closed: set[str] = set()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="models")

    async def run(
        self, model: str, work: Callable[[T], R], pieces: Sequence[T], *, background: bool
    ) -> list[R]:
        """Run ``work`` on each of ``pieces`` and return the results in their order.

        Args:
            model: For whom; named in errors.
            work: Runs in a thread.
            pieces: What to work on.
            background: Whether urgent calls go first.

        Raises:
            EncoderQueueFull: Too many pieces wait already; none of these was taken.
            ModelUnavailable: The model was closed, or ``work`` failed.
        """
        if not pieces:
            return []
        loop = asyncio.get_running_loop()
        results: list[Any] = [None] * len(pieces)
        done: asyncio.Future[None] = loop.create_future()
        call = _Call(model, work, pieces, results, loop, done, len(pieces))
        self._enqueue(call, background=background)
        try:
            await done
        except asyncio.CancelledError:
            self._forget(call)
            raise
        return results

    def close_model(self, model: str) -> None:
        """End what waits for ``model`` with ``ModelUnavailable`` and take no more for it."""
        with self._lock:
            self._closed.add(model)
            calls = {item.call for item in self._queue if item.call.model == model}
        for call in calls:
            self._fail(call, ModelUnavailable(model, "it was closed"))

    def open_model(self, model: str) -> None:
        """Take calls for ``model``, also after it was closed."""
        with self._lock:
            self._closed.discard(model)

    async def close(self) -> None:
        """Stop: pieces that run now finish, waiting calls end with ``ModelUnavailable``."""
        with self._lock:
            models = {item.call.model for item in self._queue}
        for model in models:
            self.close_model(model)
        await asyncio.to_thread(self._threads.shutdown)

    def _enqueue(self, call: _Call, *, background: bool) -> None:
        with self._lock:
            if call.model in self._closed:
                raise ModelUnavailable(call.model, "it was closed")
            waiting = len(self._queue)
            if waiting and waiting + len(call.pieces) > self._queue_limit:
                raise EncoderQueueFull(call.model, waiting)
            for index in range(len(call.pieces)):
                # The n-th piece of every call takes the n-th turn from when that call came.
                turn = self._turns[background] + index
                item = _Item(background, turn, next(self._numbers), call, index)
                heapq.heappush(self._queue, item)
        for _ in call.pieces:
            self._threads.submit(self._run_next)

    def _run_next(self) -> None:
        """Run the most urgent piece. One such task is submitted for each piece in the queue."""
        with self._lock:
            if not self._queue:
                return  # Its piece was taken out with a cancelled call.
            item = heapq.heappop(self._queue)
            self._turns[item.background] = item.turn
        call = item.call
        try:
            result = call.work(call.pieces[item.index])
        except Exception as exc:  # Whatever the engine raises must reach the waiting call.
            self._fail(call, ModelUnavailable(call.model, f"it failed on a text ({exc})"))
            return
        with self._lock:
            call.results[item.index] = result
            call.left -= 1
            finished = call.left == 0
        if finished:
            self._settle(call, None)

    def _fail(self, call: _Call, error: Exception) -> None:
        self._forget(call)
        self._settle(call, error)

    def _forget(self, call: _Call) -> None:
        """Take the rest of ``call`` out of the queue."""
        with self._lock:
            self._queue = [item for item in self._queue if item.call is not call]
            heapq.heapify(self._queue)

    def _settle(self, call: _Call, error: Exception | None) -> None:
        def settle() -> None:
            if not call.done.done():
                if error is None:
                    call.done.set_result(None)
                else:
                    call.done.set_exception(error)

        with self._lock:
            if call.over:
                return
            call.over = True
        call.loop.call_soon_threadsafe(settle)
