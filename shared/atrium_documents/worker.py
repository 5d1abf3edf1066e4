"""The process that parses: ``python -m atrium_documents.worker``.

It imports all readers, confines itself, and then reads one file after another from its standard
input. Nothing it reads is kept.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from atrium_documents import confinement, frames
from atrium_documents.dispatch import DocumentReader
from atrium_documents.errors import DocumentBroken, DocumentTooLarge, error_to_fields
from atrium_documents.limits import MIB, ParseLimits, check_size
from atrium_shared.errors import AtriumError

_CPU_PER_SECOND: Final = 1.5
"""Processor seconds per second of the clock; only the last resort, so some more than one."""
_LARGEST_IDLE_PROCESS: Final = 1200 * MIB
"""A worker that holds more memory than this after a file is replaced."""


def main() -> None:
    """Serve until standard input ends."""
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    # Libraries that print must not break the protocol.
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    # Broken files nest deeply; readers walk trees whose depth XML parsers bound at 256.
    sys.setrecursionlimit(3000)
    reader = DocumentReader()
    means = confinement.confine()
    gc.freeze()

    def send(kind: bytes, payload: bytes = b"") -> None:
        view = memoryview(frames.pack(kind, payload))
        while view:
            view = view[out.write(view) :]

    send(frames.READY, frames.to_payload(means))
    source = sys.stdin.buffer
    while (frame := frames.read_frame(source.read)) is not None:
        request = json.loads(frame[1])
        data = source.read(request["size"]) if request["path"] is None else None
        retire = _serve(reader, request, data, send)
        del data
        send(frames.DONE, frames.to_payload({"retire": retire}))
        if retire:
            return


def _serve(
    reader: DocumentReader,
    request: dict[str, Any],
    data: bytes | None,
    send: Callable[..., None],
) -> bool:
    """Read one file and send the result; return whether this process should be replaced."""
    limits = ParseLimits(**request["limits"])
    confinement.allow_memory(limits.memory_bytes)
    confinement.allow_cpu(_CPU_PER_SECOND * limits.timeout_seconds + 5)

    def before_ocr() -> None:
        confinement.allow_cpu(
            _CPU_PER_SECOND * (limits.timeout_seconds + limits.ocr_page_seconds) + 5
        )
        send(frames.OCR)

    retire = True
    try:
        if data is None:
            data = _load(Path(request["path"]), limits)
        document = reader.read(data, request["filename"], request["media_type"], limits, before_ocr)
        for kind, payload in frames.document_frames(document):
            send(kind, payload)
        retire = False
    except AtriumError as error:
        _send_error(send, error)
        retire = False
    except MemoryError:
        limit = limits.memory_bytes
        _send_error(
            send,
            DocumentTooLarge(
                f"Reading the document takes more than {limit / MIB:,.0f} MiB of memory, the most "
                "that one file may use. Split it, or save it in a simpler format.",
                limit=limit,
            ),
        )
    except RecursionError:
        _send_error(
            send,
            DocumentBroken(
                "The document nests its parts too deeply to be read. Save it anew, or as PDF."
            ),
        )
    except Exception as error:
        # Parsers meet broken input in ways they do not foresee; whatever they raise, this one
        # file is broken for them, and its text must not travel in a message.
        _send_error(
            send,
            DocumentBroken(
                f"The document cannot be read: its parser stopped with {type(error).__name__}. It "
                "may be damaged. Open it in the program that made it, save it anew, and send that."
            ),
        )
    return retire or confinement.resident_bytes() > _LARGEST_IDLE_PROCESS


def _send_error(send: Callable[..., None], error: AtriumError) -> None:
    send(frames.ERROR, frames.to_payload(error_to_fields(error)))


def _load(path: Path, limits: ParseLimits) -> bytes:
    with path.open("rb") as file:
        check_size(os.fstat(file.fileno()).st_size, limits)
        return file.read(limits.max_bytes + 1)


if __name__ == "__main__":
    main()
