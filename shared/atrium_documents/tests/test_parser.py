"""The pool of worker processes: what crosses, what kills, what survives."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from atrium_documents import (
    DocumentBroken,
    DocumentEmpty,
    DocumentParser,
    DocumentTimedOut,
    DocumentTooLarge,
    ParsedDocument,
    ParseLimits,
    ParserCrashed,
    ParserUnavailable,
    from_json,
)
from atrium_documents import frames as frames_module
from atrium_documents import parser as parser_module
from atrium_documents.frames import document_frames, document_from_frames
from atrium_shared.testing import eventually

from .conftest import check
from .making import PdfPage, image_bytes, paragraph_xml, pdf, picture, raw_docx

SLOW = ("x" * 70 + " word\n\n").encode() * 60_000


@pytest.fixture
async def parser() -> AsyncIterator[DocumentParser]:
    async with DocumentParser(workers=1) as running:
        yield running


def worker_pid() -> int:
    (worker,) = worker_processes()
    return worker.pid


def worker_processes() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [child for child in children if "atrium_documents.worker" in child.cmdline()]


async def being_read(parser: DocumentParser) -> asyncio.Task[ParsedDocument]:
    """Have the worker given a file that it does not finish, as it is stopped."""
    os.kill(worker_pid(), signal.SIGSTOP)
    reading = asyncio.create_task(parser.parse(b"never read", "a.txt"))
    await eventually(lambda: not all(slot.is_usable for slot in parser._slots))
    return reading


def die(pid: int, how: signal.Signals) -> None:
    """Kill a stopped worker."""
    os.kill(pid, how)
    if how != signal.SIGKILL:
        os.kill(pid, signal.SIGCONT)


async def test_document_crosses_whole(parser: DocumentParser) -> None:
    document = await parser.parse("# 年假 😀\n\nThirty 𠮷 days.".encode(), "a.md")
    check(document)
    assert document.text == "年假 😀\n\nThirty 𠮷 days."
    assert document.title == "年假 😀"


async def test_file_is_read_from_its_path(parser: DocumentParser, tmp_path: Path) -> None:
    path = tmp_path / "policy"
    path.write_bytes(b"# Leave")
    assert (await parser.parse(path, "a.md")).title == "Leave"
    with pytest.raises(FileNotFoundError):
        await parser.parse(tmp_path / "absent", "a.md")


async def test_long_document_crosses_whole(parser: DocumentParser) -> None:
    text = "".join(f"## 第{n}章 标题\n\nParagraph {n} 😀\n\n" for n in range(5000))
    document = await parser.parse(text.encode(), "a.md")
    check(document)
    assert len(document.sections) == 5000
    assert document.text.endswith("Paragraph 4999 😀")


async def test_error_of_a_file_crosses_with_its_data(parser: DocumentParser) -> None:
    pages = pdf([PdfPage().text(72, 90, "x")] * 3)
    with pytest.raises(DocumentTooLarge) as caught:
        await parser.parse(pages, "a.pdf", limits=ParseLimits(max_pages=2))
    assert caught.value.reason == "DOCUMENT_TOO_LARGE"
    assert caught.value.field == "document"
    assert caught.value.metadata == {"limit": "2", "pages": "3"}
    assert (await parser.parse(b"next", "a.txt")).text == "next"


async def test_empty_and_too_large_files_are_refused(
    parser: DocumentParser, tmp_path: Path
) -> None:
    with pytest.raises(DocumentEmpty, match="0 bytes"):
        await parser.parse(b"", "a.txt")
    path = tmp_path / "big"
    path.write_bytes(b"x" * 11)
    for data in (b"x" * 11, path):
        with pytest.raises(DocumentTooLarge, match="at most"):
            await parser.parse(data, "a.txt", limits=ParseLimits(max_bytes=10))


async def test_text_above_the_limit_is_refused(parser: DocumentParser) -> None:
    with pytest.raises(DocumentTooLarge, match="longer than 100 characters"):
        await parser.parse(b"word " * 50, "a.txt", limits=ParseLimits(max_text_chars=100))


async def test_file_that_takes_too_long_is_given_up(parser: DocumentParser) -> None:
    started = time.monotonic()
    with pytest.raises(DocumentTimedOut, match=r"longer than 0\.1 seconds"):
        await parser.parse(SLOW, "a.txt", limits=ParseLimits(timeout_seconds=0.1))
    assert time.monotonic() - started < 60
    assert (await parser.parse(b"next", "a.txt")).text == "next"


async def test_file_that_needs_too_much_memory_is_refused(parser: DocumentParser) -> None:
    limits = ParseLimits(memory_bytes=30 << 20)
    with pytest.raises(DocumentTooLarge, match="MiB of memory"):
        await parser.parse(SLOW, "a.txt", limits=limits)
    assert (await parser.parse(b"next", "a.txt")).text == "next"


async def test_each_page_of_ocr_extends_the_time(
    parser: DocumentParser, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = ParseLimits(timeout_seconds=2, ocr_page_seconds=60)
    read, kinds = parser_module._Process.read_frame, [b""]

    async def slow(worker: parser_module._Process) -> frames_module.Frame:
        if kinds[-1] == frames_module.OCR:
            await asyncio.sleep(limits.timeout_seconds)  # longer than there was before the page
        kind, payload = await read(worker)
        kinds.append(kind)
        return kind, payload

    monkeypatch.setattr(parser_module._Process, "read_frame", slow)
    page = image_bytes(picture(["Annual leave is thirty days."]))
    assert "thirty days" in (await parser.parse(page, "a.png", limits=limits)).text
    assert kinds.count(frames_module.OCR) == 1


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGSEGV])
async def test_crash_fails_only_the_file_being_read(
    parser: DocumentParser, kill: signal.Signals
) -> None:
    reading = await being_read(parser)
    die(worker_pid(), kill)
    with pytest.raises(ParserCrashed, match=kill.name) as caught:
        await reading
    assert caught.value.reason == "PARSER_CRASHED"
    assert (await parser.parse(b"next", "a.txt")).text == "next"


async def test_processor_time_out_reads_as_a_time_out(parser: DocumentParser) -> None:
    reading = await being_read(parser)
    die(worker_pid(), signal.SIGXCPU)
    with pytest.raises(DocumentTimedOut, match="processor time"):
        await reading


async def test_worker_that_dies_idle_is_replaced_unnoticed(parser: DocumentParser) -> None:
    pid = worker_pid()
    os.kill(pid, signal.SIGKILL)
    while psutil.pid_exists(pid):  # noqa: ASYNC110 - no event
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)  # the parser hears of it from another thread
    assert (await parser.parse(b"next", "a.txt")).text == "next"


async def test_cancelled_call_frees_its_worker(parser: DocumentParser) -> None:
    reading = await being_read(parser)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert (await parser.parse(b"next", "a.txt")).text == "next"


async def test_calls_wait_for_a_free_worker(parser: DocumentParser) -> None:
    files = [f"file {n}".encode() for n in range(20)]
    documents = await asyncio.gather(*(parser.parse(data, "a.txt") for data in files))
    assert [document.text for document in documents] == [data.decode() for data in files]


async def test_long_results_are_decoded_off_the_event_loop(
    parser: DocumentParser, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoders: list[threading.Thread] = []

    def decode(received: list[frames_module.Frame]) -> ParsedDocument:
        decoders.append(threading.current_thread())
        return document_from_frames(received)

    monkeypatch.setattr(frames_module, "document_from_frames", decode)
    document = await parser.parse(SLOW[: len(SLOW) // 6], "a.txt")
    assert len(document.blocks) == 10_000
    assert decoders[0] is not threading.main_thread()
    # Each piece is short enough not to hold the interpreter while it is decoded.
    pieces = [len(payload) for _, payload in document_frames(document)]
    assert len(pieces) > 5
    assert max(pieces) < 1 << 20


async def test_closed_parser_refuses() -> None:
    parser = DocumentParser(workers=1)
    with pytest.raises(ParserUnavailable, match="closed"):
        await parser.parse(b"x", "a.txt")
    await parser.start()
    reading = await being_read(parser)
    waiting = asyncio.create_task(parser.parse(b"x", "a.txt"))
    await asyncio.sleep(0.05)
    await parser.close()
    for call in (reading, waiting):
        with pytest.raises(ParserUnavailable, match="closed"):
            await call


async def test_parser_may_be_started_again() -> None:
    parser = DocumentParser(workers=1)
    for _ in range(2):
        await parser.start()
        assert (await parser.parse(b"x", "a.txt")).text == "x"
        await parser.close()


async def test_worker_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        parser_module.confinement, "environment", lambda: {"PYTHONHOME": "/nowhere"}
    )
    with pytest.raises(ParserUnavailable, match="did not start") as caught:
        await DocumentParser(workers=1).start()
    assert "It printed: " in caught.value.message
    assert "nothing" not in caught.value.message


async def test_workers_see_no_secrets_of_their_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATRIUM_SECRET", "s3cret")
    async with DocumentParser(workers=1) as parser:
        await parser.parse(b"x", "a.txt")
        (worker,) = worker_processes()
        environment = worker.environ()
    assert "PYTHONPATH" in environment
    assert "s3cret" not in environment.values()


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    script = (
        "import asyncio, os, signal, psutil\n"
        "from atrium_documents import DocumentParser\n"
        "async def main():\n"
        "    await DocumentParser(workers=1).start()\n"
        "    print(psutil.Process().children()[0].pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    worker = int(result.stdout)
    deadline = time.monotonic() + 60
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(worker)


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_hostile_office_file_is_refused_and_the_next_is_read(parser: DocumentParser) -> None:
    deep = raw_docx("<w:sdt><w:sdtContent>" * 300 + "</w:sdtContent></w:sdt>" * 300)
    with pytest.raises(DocumentBroken):
        await parser.parse(deep, "a.docx")
    assert (await parser.parse(raw_docx(paragraph_xml("fine")), "a.docx")).text == "fine"


@pytest.mark.parametrize(
    "drop",
    [frames_module.HEAD, frames_module.TEXT],
)
def test_incomplete_result_is_refused(drop: bytes) -> None:
    document = from_json(
        '{"schema":"atrium.document/1","media_type":"text/plain","title":null,"page_count":null,'
        '"language":"en","engine":"","warnings":[],"text":"ab","blocks":[["paragraph",0,2,null,'
        'null,null]],"sections":[]}'
    )
    sent = list(document_frames(document))
    assert document_from_frames(sent) == document
    with pytest.raises(ValueError, match=r"head frame|blocks end"):
        document_from_frames([frame for frame in sent if frame[0] != drop])


@pytest.mark.parametrize("field", ["max_bytes", "timeout_seconds", "memory_bytes", "max_pages"])
def test_limits_that_let_nothing_through_are_refused(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} is 0; expected more than 0"):
        ParseLimits(**{field: 0})
