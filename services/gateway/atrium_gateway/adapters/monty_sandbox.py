"""Runs a program of a calculation in pydantic-monty, an interpreter without files or sockets.

Every run has a worker process of its own for its time, from a small pool. The interpreter stops a
program at its limits of time, memory and depth; a worker that does not stop is killed from here, as
is one that crashes, and the pool starts another. The gateway's own process runs nothing of a
program.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from atrium_gateway.domain.errors import CalculationQueueFull
from atrium_gateway.domain.programs import ProgramFailed

if TYPE_CHECKING:
    from pydantic_monty import AsyncMonty, MontyError, ResourceLimits

_MOST_PRINTED_BYTES: Final = 10_000
_LONGEST_REASON: Final = 200
_RUNS_PER_WORKER: Final = 1_000
_GRACE_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """How much a program may take.

    Attributes:
        seconds: Time of one program.
        memory_bytes: Memory of its values.
        depth: Calls inside each other.
    """

    seconds: float = 1.0
    memory_bytes: int = 32 * 1024 * 1024
    depth: int = 100


class MontySandbox:
    """A pool of interpreters.

    Args:
        limits: How much a program may take.
        processes: Programs that run at the same time.
        wait_seconds: Longest wait for a free process.
    """

    def __init__(
        self,
        limits: SandboxLimits | None = None,
        *,
        processes: int = 2,
        wait_seconds: float = 5.0,
    ) -> None:
        self._limits = limits or SandboxLimits()
        self._processes = processes
        self._wait_seconds = wait_seconds
        self._pool: AsyncMonty | None = None
        self._starting = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._prelude = _prelude()

    async def run(self, program: str) -> Sequence[Any]:
        """Run a program and return what its last expression says.

        Args:
            program: Rewritten to exact arithmetic; see :mod:`atrium_gateway.domain.programs`.

        Returns:
            A kind and its value; see ``_shown`` in ``exact_numbers.py``.

        Raises:
            ProgramFailed: It failed, or went over a limit.
            CalculationQueueFull: No process became free.
        """
        import pydantic_monty as monty  # with the first program: most gateways never need it

        pool = await self._start()
        printed = monty.CollectString(max_bytes=_MOST_PRINTED_BYTES)
        try:
            async with pool.checkout(limits=self._resource_limits()) as session:
                await session.feed_run(self._prelude, print_callback=printed)
                shown = await session.feed_run(program, print_callback=printed)
        except TimeoutError as error:
            raise CalculationQueueFull(self._processes) from error
        except monty.MontyCrashedError as error:
            why = self._too_long() if error.timed_out else "it brought its interpreter down"
            raise ProgramFailed(why) from error
        except monty.MontyError as error:
            raise ProgramFailed(self._why(error)) from error
        if not isinstance(shown, list):
            raise ProgramFailed("it has no result")
        return shown

    async def close(self) -> None:
        """End the processes."""
        self._pool = None
        await self._stack.aclose()

    async def _start(self) -> AsyncMonty:
        """Return the pool; its first process starts with the first program."""
        from pydantic_monty import AsyncMonty

        async with self._starting:
            if self._pool is None:
                pool = AsyncMonty(
                    min_processes=1,
                    max_processes=self._processes,
                    checkout_timeout=self._wait_seconds,
                    request_timeout=self._limits.seconds + 2 * _GRACE_SECONDS,
                    max_checkouts_per_worker=_RUNS_PER_WORKER,
                    feed_duration_limit_grace=_GRACE_SECONDS,
                )
                self._pool = await self._stack.enter_async_context(pool)
            return self._pool

    def _resource_limits(self) -> ResourceLimits:
        limits = self._limits
        return {
            "max_feed_duration_secs": limits.seconds,
            "max_memory": limits.memory_bytes,
            "max_recursion_depth": limits.depth,
            "max_suspensions": 1,
            "max_total_sleep_secs": 0.0,
        }

    def _too_long(self) -> str:
        return f"it took longer than {self._limits.seconds:g} s"

    def _why(self, error: MontyError) -> str:
        inner = error.exception()
        match inner:
            case TimeoutError():
                return self._too_long()
            case MemoryError():
                return f"it needs more than {self._limits.memory_bytes >> 20} MiB of memory"
            case RecursionError():
                return f"it calls itself more than {self._limits.depth} times"
        return f"{type(inner).__name__}: {inner}"[:_LONGEST_REASON]


def _prelude() -> str:
    return resources.files(__package__).joinpath("exact_numbers.py").read_text(encoding="utf-8")
