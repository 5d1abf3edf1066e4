"""A model server in a child process, started, watched and restarted; llama.cpp unless told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential_jitter

from atrium_gateway.adapters.llama_worker import KEY_VARIABLE
from atrium_gateway.domain.errors import ModelUnavailable
from atrium_gateway.domain.models import READY, ModelState, ModelStatus

_log = structlog.get_logger(__name__)

_LOG_LINE_BYTES = 300


@dataclass(frozen=True)
class WatchTimes:
    """How patiently a worker is watched; all in seconds.

    Attributes:
        start: Longest time from the start of the process to its first answer.
        check: Pause between two health checks.
        answer: Longest time that a health check may take. Three failures in a row end the worker.
        first_pause: Pause before the first restart of a worker that died young; it doubles.
        longest_pause: Longest pause before a restart.
        stable: A worker that lived this long is restarted at once.
        stop: Time that a worker is given to end by itself.
    """

    start: float = 180.0
    check: float = 5.0
    answer: float = 10.0
    first_pause: float = 0.5
    longest_pause: float = 30.0
    stable: float = 60.0
    stop: float = 5.0


class _DiedYoung(Exception):
    """The worker ended soon after it was started: something may be wrong with it."""


class LlamaServer:
    """One GGUF model behind llama.cpp's OpenAI HTTP API, in a process of its own.

    The process listens on 127.0.0.1 and wants :attr:`api_key`. It dies with this one, whatever
    kills it. When it dies alone it is started again, after a pause that grows while that repeats.

    Args:
        name: The model's name, for messages.
        model: The GGUF file, or the folder that ``command`` serves.
        context_tokens: Prompt plus reply of one request.
        parallel: Requests that are answered at the same time; each needs memory for a context.
        threads: Threads of computation. None: one a core.
        command: Another worker to run, in place of
            :mod:`atrium_gateway.adapters.llama_worker` with the options above.
        times: How patiently the worker is watched.
    """

    def __init__(
        self,
        name: str,
        model: Path,
        *,
        context_tokens: int = 8192,
        parallel: int = 1,
        threads: int | None = None,
        command: Sequence[str] | None = None,
        times: WatchTimes | None = None,
    ) -> None:
        self.name = name
        self.context_tokens = context_tokens
        self.api_key = secrets.token_urlsafe(24)
        self.restarts = 0
        self._model = model
        self._command = command or (
            *(sys.executable, "-m", "atrium_gateway.adapters.llama_worker"),
            *("--model", str(model)),
            *("--ctx", str(context_tokens)),
            *("--parallel", str(parallel)),
            *("--threads", str(threads or os.cpu_count() or 1)),
        )
        self._times = times or WatchTimes()
        self._status = ModelStatus(ModelState.UNAVAILABLE, "it was not started")
        self._changed = asyncio.Condition()
        self._address = ""
        self._process: asyncio.subprocess.Process | None = None
        self._log_tail: deque[str] = deque(maxlen=20)
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def status(self) -> ModelStatus:
        """Whether the model answers now, and if not, why."""
        return self._status

    @property
    def state(self) -> ModelState:
        """The state of :attr:`status`."""
        return self._status.state

    @property
    def base_url(self) -> str:
        """Where the API answers now, with ``/v1``; another port after each restart.

        Raises:
            ModelUnavailable: It does not answer now.
        """
        if self._status.state is not ModelState.READY:
            raise ModelUnavailable(self.name, self._status.reason)
        return self._address + "/v1"

    @property
    def process_id(self) -> int | None:
        """The worker's process id while one runs."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start the worker and return; :meth:`ready` waits for it.

        Raises:
            ModelUnavailable: The model's file or folder does not exist.
        """
        if not self._model.exists():
            reason = f"{self._model} does not exist"
            await self._set_status(ModelStatus(ModelState.UNAVAILABLE, reason))
            raise ModelUnavailable(self.name, reason)
        # The status must not wait for the task's first turn: ready() may be called before.
        await self._set_status(ModelStatus(ModelState.STARTING, "it is being loaded"))
        self._supervisor = asyncio.create_task(self._supervise(), name=f"llama {self.name}")

    async def ready(self, timeout_seconds: float = 180.0) -> None:
        """Wait until the model answers.

        Raises:
            ModelUnavailable: It does not within ``timeout_seconds``, or died meanwhile.
        """
        try:
            async with asyncio.timeout(timeout_seconds), self._changed:
                await self._changed.wait_for(lambda: self.state is not ModelState.STARTING)
        except TimeoutError as exc:
            reason = f"it was not loaded within {timeout_seconds:g} s"
            raise ModelUnavailable(self.name, reason) from exc
        if self.state is not ModelState.READY:
            raise ModelUnavailable(self.name, self._status.reason)

    async def close(self) -> None:
        """Stop the worker. Requests that it is answering break off."""
        if self._supervisor:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
            self._supervisor = None
        await self._set_status(ModelStatus(ModelState.UNAVAILABLE, "it was stopped"))

    async def _supervise(self) -> None:
        try:
            await self._keep_running()
        except Exception as exc:
            # Nothing known leads here; whatever did, nobody may wait for the model for ever.
            _log.exception("llama_supervisor_failed", model=self.name)
            reason = f"its supervisor failed ({exc!r})"
            await self._set_status(ModelStatus(ModelState.UNAVAILABLE, reason))

    async def _keep_running(self) -> None:
        times = self._times
        pause = wait_exponential_jitter(
            multiplier=times.first_pause, max=times.longest_pause, jitter=times.first_pause
        )
        while True:
            # Every worker that lived long starts this afresh: the first pause is short again.
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(_DiedYoung), wait=pause
            ):
                with attempt:
                    await self._run_worker()

    async def _run_worker(self) -> None:
        """Run one worker to its end; returns when it lived long.

        Raises:
            _DiedYoung: It did not.
        """
        born = time.monotonic()
        self._log_tail.clear()
        await self._set_status(ModelStatus(ModelState.STARTING, "it is being loaded"))
        try:
            why = await self._live_and_die()
        except OSError as exc:  # Too many processes, no memory for another one, no such program.
            why = f"its process could not be started ({exc})"
        self.restarts += 1
        if tail := " / ".join(list(self._log_tail)[-3:]):
            why = f"{why} ({tail})"
        _log.warning("llama_worker_ended", model=self.name, why=why, restarts=self.restarts)
        await self._set_status(ModelStatus(ModelState.UNAVAILABLE, f"{why}; it is restarted"))
        if time.monotonic() - born < self._times.stable:
            raise _DiedYoung

    async def _live_and_die(self) -> str:
        """Start a worker and watch it until it has ended; returns why it did."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, KEY_VARIABLE: self.api_key},
            # Ctrl-C in a terminal is for the parent, which then stops this one in its turn.
            start_new_session=True,
        )
        self._process = process
        reader = asyncio.create_task(self._read_log(process))
        try:
            return await self._watch(process)
        finally:
            await self._end(process)
            await reader
            self._process = None

    async def _watch(self, process: asyncio.subprocess.Process) -> str:
        """Wait for the worker, then until it dies or hangs; returns what happened."""
        try:
            async with asyncio.timeout(self._times.start):
                address = await self._read_address(process)
                if address is None:
                    return f"its process ended with status {await process.wait()}"
                await self._warm_up(address)
        except TimeoutError:
            return f"its process did not answer within {self._times.start:g} s"
        except httpx.HTTPError as exc:
            return f"its process did not answer a first request ({exc!r})"
        self._address = address
        await self._set_status(READY)
        _log.info("llama_worker_ready", model=self.name, address=address, pid=process.pid)
        exited = asyncio.create_task(process.wait())
        try:
            return await self._check_until_end(address, exited)
        finally:
            exited.cancel()

    async def _read_address(self, process: asyncio.subprocess.Process) -> str | None:
        assert process.stdout
        line = await process.stdout.readline()
        try:
            address: str = json.loads(line)["address"]
        except (ValueError, KeyError, TypeError):
            return None
        return address

    async def _warm_up(self, address: str) -> None:
        """Ask for one token, so that no caller pays for reading the weights from disk."""
        body = {"messages": [{"role": "user", "content": "."}], "max_tokens": 1}
        async with self._client(self._times.start) as client:
            reply = await client.post(f"{address}/v1/chat/completions", json=body)
            reply.raise_for_status()

    async def _check_until_end(self, address: str, exited: asyncio.Task[int]) -> str:
        misses = 0
        async with self._client(self._times.answer) as client:
            while True:
                done, _ = await asyncio.wait({exited}, timeout=self._times.check)
                if done:
                    return f"its process ended with status {exited.result()}"
                try:
                    (await client.get(f"{address}/health")).raise_for_status()
                    misses = 0
                except httpx.HTTPError:
                    misses += 1
                    if misses == 3:
                        return "its process stopped answering"

    def _client(self, timeout: float) -> httpx.AsyncClient:
        # No proxy of the environment may come between this process and its own child.
        headers = {"authorization": f"Bearer {self.api_key}"}
        return httpx.AsyncClient(headers=headers, timeout=timeout, trust_env=False)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """End the worker: close its input, then kill it if that does not help."""
        assert process.stdin
        process.stdin.close()
        try:
            async with asyncio.timeout(self._times.stop):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            await process.wait()

    async def _read_log(self, process: asyncio.subprocess.Process) -> None:
        """Keep the log's last lines; it must be read to its end, or the worker would block."""
        assert process.stderr
        rest = b""
        while chunk := await process.stderr.read(1 << 16):
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest[-_LOG_LINE_BYTES:]
            for line in lines:
                if text := line[:_LOG_LINE_BYTES].decode(errors="replace").strip():
                    self._log_tail.append(text)
                    _log.debug("llama_worker_log", model=self.name, line=text)

    async def _set_status(self, status: ModelStatus) -> None:
        async with self._changed:
            self._status = status
            self._changed.notify_all()
