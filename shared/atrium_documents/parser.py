"""`DocumentParser`: reads files in worker processes that a hostile file cannot escape."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from atrium_documents import confinement, frames
from atrium_documents.errors import (
    DocumentTimedOut,
    ParserCrashed,
    ParserUnavailable,
    error_from_fields,
)
from atrium_documents.limits import ParseLimits, check_size
from atrium_documents.model import ParsedDocument

_log = logging.getLogger(__name__)

_START_SECONDS: Final = 600.0
"""Until a worker is ready; no limit of parsing counts before that. A start costs a second of a free
core, but minutes on a machine that is busy, and who ends before says so at once: it only ends what
hangs."""
_DYING_SECONDS: Final = 2.0
_CHUNK: Final = 1 << 18
_QUICK_BYTES: Final = 1 << 16
"""Results up to this size are decoded at once; larger ones in a thread."""
_STDERR_TAIL: Final = 2_000


class DocumentParser:
    """Parses documents in a bounded pool of worker processes.

    Each worker reads one file at a time, under limits of time and memory, without network, and
    without the right to start programs or write files. A worker that dies or hangs fails only the
    file it was reading; another takes its place.

        async with DocumentParser() as parser:
            document = await parser.parse(data, "handbook.pdf")

    Safe to use from many tasks of one event loop; further calls wait for a free worker.

    Args:
        workers: Number of processes; each holds about 120 MB, and 500 MB once it has read by OCR.
        limits: Used where `parse` is given none.
    """

    def __init__(self, *, workers: int = 2, limits: ParseLimits | None = None) -> None:
        if workers < 1:
            raise ValueError(f"workers is {workers}; expected 1 or more.")
        self._limits = limits or ParseLimits()
        self._slots = [_Slot() for _ in range(workers)]
        self._free: asyncio.LifoQueue[_Slot] = asyncio.LifoQueue()
        self._is_open = False

    async def start(self) -> None:
        """Start all workers and wait until they can read (about a second).

        Raises:
            ParserUnavailable: A worker does not start; the message says what it printed.
        """
        if self._is_open:
            return
        self._is_open = True
        self._free = asyncio.LifoQueue()
        try:
            await asyncio.gather(*(slot.start() for slot in self._slots))
        except BaseException:
            await self.close()
            raise
        for slot in self._slots:
            self._free.put_nowait(slot)

    async def close(self) -> None:
        """End all workers; calls still running fail with `ParserUnavailable`."""
        self._is_open = False
        await asyncio.gather(*(slot.stop() for slot in self._slots))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def parse(
        self,
        data: bytes | Path,
        filename: str,
        media_type: str = "",
        limits: ParseLimits | None = None,
    ) -> ParsedDocument:
        """Read a file.

        Args:
            data: Its bytes, or the path of a file that the worker may read.
            filename: Its name; decides the type only where the content does not.
            media_type: Declared media type, if known; counts less than the name.
            limits: What it may cost.

        Raises:
            DocumentError: The file cannot be read; the subclass and its ``reason`` say why.
            ParserUnavailable: The parser is closed, or no worker can be started.
            OSError: There is no file at the path ``data``.
        """
        limits = limits or self._limits
        if isinstance(data, Path):
            path, size = await asyncio.to_thread(_locate, data)
        else:
            path, size = None, len(data)
        check_size(size, limits)
        request = frames.to_payload(
            {
                "filename": filename,
                "media_type": media_type,
                "limits": asdict(limits),
                "path": path,
                "size": size,
            }
        )
        async with self._worker() as slot:
            return await slot.parse(request, b"" if isinstance(data, Path) else data, limits)

    @contextlib.asynccontextmanager
    async def _worker(self) -> AsyncIterator[_Slot]:
        if not self._is_open:
            raise ParserUnavailable("The document parser is closed. Start it before use.")
        slot = await self._free.get()
        try:
            if not self._is_open:
                raise ParserUnavailable("The document parser was closed.")
            await slot.ready()
            yield slot
        except ParserCrashed as error:
            if not self._is_open:
                raise ParserUnavailable("The document parser was closed.") from error
            raise
        finally:
            if self._is_open and not slot.is_usable:
                slot.restart()
            self._free.put_nowait(slot)


@dataclass(slots=True)
class _Process:
    """A worker process that is ready, and the task that keeps the end of what it prints."""

    process: asyncio.subprocess.Process
    errors: asyncio.Task[bytes]

    async def read_frame(self) -> frames.Frame:
        """Read a frame.

        Raises:
            EOFError: The process ended, or sends what no worker sends.
        """
        assert self.process.stdout is not None
        try:
            header = await self.process.stdout.readexactly(frames.HEADER.size)
            kind, length = frames.HEADER.unpack(header)
            if length > frames.LARGEST_FRAME:
                raise EOFError
            return kind, await self.process.stdout.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise EOFError from error

    async def send(self, request: bytes, data: bytes) -> None:
        """Send a request and the file after it, a piece at a time."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(frames.pack(frames.PARSE, request))
            for start in range(0, len(data), _CHUNK):
                self.process.stdin.write(data[start : start + _CHUNK])
                await self.process.stdin.drain()
            await self.process.stdin.drain()
        except (BrokenPipeError, ConnectionError) as error:
            raise EOFError from error

    def kill(self) -> None:
        """Kill the process, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    async def end(self, *, is_dying: bool = False) -> int:
        """See to it that the process ends, and return its exit code.

        One that is dying is first left to it: to kill it in that moment would make the standard
        library collect its exit code away from asyncio, and with it the reason of its death.
        """
        if is_dying:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.process.wait(), _DYING_SECONDS)
        if self.process.returncode is None:
            self.kill()
        # Reading to the end closes the pipes.
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        with contextlib.suppress(ConnectionError):
            await self.process.stdin.wait_closed()
        while await self.process.stdout.read(_CHUNK):
            pass
        await self.errors
        return await self.process.wait()


class _Slot:
    """A place for one worker process, which is replaced when it dies."""

    def __init__(self) -> None:
        self._starting: asyncio.Task[_Process] | None = None
        self._ending: set[asyncio.Task[int]] = set()
        self._is_quiet = asyncio.Event()
        self._is_quiet.set()
        self.is_usable = False

    async def start(self) -> None:
        self.restart()
        await self.ready()

    def restart(self) -> None:
        """Begin to start a new process; `ready` waits for it."""
        self._starting = asyncio.create_task(_start_process())
        self.is_usable = True

    async def ready(self) -> None:
        """Wait until a process is there and alive.

        Raises:
            ParserUnavailable: It does not start.
        """
        for _ in range(2):
            if self._starting is None:
                self.restart()
            assert self._starting is not None
            try:
                worker = await asyncio.shield(self._starting)
            except ParserUnavailable:
                self.is_usable = False
                raise
            if worker.process.returncode is None:
                return
            # It died while idle, by no fault of a file.
            await self._dispose(worker)
            self.restart()
        raise ParserUnavailable("The worker process for documents keeps dying when idle.")

    async def stop(self) -> None:
        self.is_usable = False
        starting = self._starting
        if starting is not None and not self._is_quiet.is_set():
            # The call that is reading sees its process end, and clears up after it.
            starting.result().kill()
            await self._is_quiet.wait()
        elif starting is not None:
            self._starting = None
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError, ParserUnavailable):
                await (await starting).end()
        if self._ending:
            await asyncio.gather(*self._ending)

    async def parse(self, request: bytes, data: bytes, limits: ParseLimits) -> ParsedDocument:
        """Have the process read one file; on any failure but a clear error it is ended."""
        assert self._starting is not None
        worker = self._starting.result()
        self.is_usable = False
        self._is_quiet.clear()
        received: list[frames.Frame] = []
        try:
            async with asyncio.timeout(limits.timeout_seconds) as clock:
                await worker.send(request, data)
                retire = await _receive(worker, received, limits, clock)
        except TimeoutError as error:
            await self._dispose(worker)
            raise DocumentTimedOut(
                f"Reading the document took longer than {limits.timeout_seconds:g} seconds, the "
                "most that one file may take. If the machine was busy, add it again; else split "
                "it, or save it in a simpler format.",
                limit=limits.timeout_seconds,
            ) from error
        except EOFError as error:
            raise _crash(await self._dispose(worker, is_dying=True), limits) from error
        except BaseException:
            # Cancelled: the process is in the middle of a file that nobody waits for.
            self._discard(worker)
            raise
        finally:
            self._is_quiet.set()
        if retire:
            self._discard(worker, is_dying=True)
        else:
            self.is_usable = True
        return await _decode(received)

    async def _dispose(self, worker: _Process, *, is_dying: bool = False) -> int:
        return await asyncio.shield(self._discard(worker, is_dying=is_dying))

    def _discard(self, worker: _Process, *, is_dying: bool = False) -> asyncio.Task[int]:
        self._starting = None
        task = asyncio.create_task(worker.end(is_dying=is_dying))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task


async def _receive(
    worker: _Process,
    received: list[frames.Frame],
    limits: ParseLimits,
    clock: asyncio.Timeout,
) -> bool:
    """Collect the frames of a reply; return whether the process wants to be replaced."""
    # A result is its text, and a few numbers for each block and section of it.
    budget = 16 * limits.max_text_chars + frames.LARGEST_FRAME
    while True:
        kind, payload = await worker.read_frame()
        if kind == frames.OCR:
            deadline = clock.when()
            if deadline is not None:
                clock.reschedule(deadline + limits.ocr_page_seconds)
        elif kind == frames.DONE:
            return bool(json.loads(payload).get("retire"))
        else:
            budget -= len(payload)
            if budget < 0:
                raise EOFError
            received.append((kind, payload))


async def _decode(received: list[frames.Frame]) -> ParsedDocument:
    if received and received[-1][0] == frames.ERROR:
        raise error_from_fields(json.loads(received[-1][1]))
    try:
        if sum(len(payload) for _, payload in received) <= _QUICK_BYTES:
            return frames.document_from_frames(received)
        return await asyncio.to_thread(frames.document_from_frames, received)
    except ValueError as error:
        raise ParserCrashed(
            "The process that read the document sent a malformed result. Save the document anew, "
            "or in another format."
        ) from error


def _crash(code: int, limits: ParseLimits) -> DocumentTimedOut | ParserCrashed:
    if code == -signal.SIGXCPU:
        return DocumentTimedOut(
            "Reading the document used more processor time than one file may. Split it, or save "
            "it in a simpler format.",
            limit=limits.timeout_seconds,
        )
    try:
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    except ValueError:
        how = f"signal {-code}"
    return ParserCrashed(
        f"The process that read the document ended with {how}. The document may be damaged or "
        "made to do harm. Save it anew in the program that made it, or as PDF.",
        exit=how,
    )


def _locate(path: Path) -> tuple[str, int]:
    return str(path.absolute()), path.stat().st_size


async def _start_process() -> _Process:
    """Start a worker with an environment that holds no secrets, and wait until it is ready."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "atrium_documents.worker",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=confinement.environment(),
        cwd="/",
        # A Ctrl-C at the terminal is for the parent, which then ends its workers.
        start_new_session=True,
    )
    assert process.stderr is not None
    worker = _Process(process, asyncio.create_task(_tail(process.stderr)))
    try:
        async with asyncio.timeout(_START_SECONDS):
            kind, payload = await worker.read_frame()
        if kind != frames.READY:
            raise EOFError
    except (EOFError, TimeoutError) as error:
        code = await worker.end(is_dying=isinstance(error, EOFError))
        printed = worker.errors.result().decode("utf-8", "replace").strip()
        raise ParserUnavailable(
            f"The worker process for documents did not start (exit code {code}). It printed: "
            f"{printed[-500:] or 'nothing'}"
        ) from error
    except BaseException:
        await asyncio.shield(worker.end())
        raise
    means = json.loads(payload)
    if sys.platform == "linux" and "seccomp" not in means:
        _log.warning("No system call filter here: document workers are confined by %s.", means)
    return worker


async def _tail(stream: asyncio.StreamReader) -> bytes:
    """Read a stream to its end and return the last of it."""
    tail = b""
    while chunk := await stream.read(4096):
        tail = (tail + chunk)[-_STDERR_TAIL:]
    return tail
