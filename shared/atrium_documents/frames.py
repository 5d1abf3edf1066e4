"""What parent and worker process say to each other over a pair of pipes.

A frame is a letter, a length (4 bytes, big endian) and a payload. Results cross as JSON and UTF-8,
never as pickle: a worker that a hostile file took over must not run anything in its parent. Long
documents are cut into many frames, so that neither side holds the interpreter for long.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from atrium_documents.model import Block, ParsedDocument
from atrium_documents.schema import (
    block_rows,
    blocks_from_rows,
    from_fields,
    head_fields,
    section_rows,
)

HEADER: Final = struct.Struct(">cI")
READY: Final = b"R"
"""Worker: imports are done. Payload: which means of confinement hold, a JSON list."""
PARSE: Final = b"P"
"""Parent: read a file. Payload: a JSON object; its ``size`` bytes of data follow the frame."""
OCR: Final = b"O"
"""Worker: a page is about to be read by OCR, which gives it more time."""
ERROR: Final = b"E"
"""Worker: the file cannot be read. Payload: the error as a JSON object."""
HEAD: Final = b"H"
TEXT: Final = b"T"
BLOCKS: Final = b"B"
SECTIONS: Final = b"S"
DONE: Final = b"D"
"""Worker: result or error is complete. Payload: ``{"retire": bool}``."""

LARGEST_FRAME: Final = 16 << 20
_TEXT_CHARS: Final = 1 << 18
_ROWS: Final = 2_000

Frame = tuple[bytes, bytes]


def pack(kind: bytes, payload: bytes = b"") -> bytes:
    """Return a frame's bytes."""
    return HEADER.pack(kind, len(payload)) + payload


def to_payload(value: object) -> bytes:
    """Return ``value`` as JSON bytes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def document_frames(document: ParsedDocument) -> Iterator[Frame]:
    """Yield a document as frames that each are quick to decode."""
    yield HEAD, to_payload(head_fields(document))
    for start in range(0, len(document.text), _TEXT_CHARS):
        yield TEXT, document.text[start : start + _TEXT_CHARS].encode("utf-8")
    yield from _rows(BLOCKS, block_rows(document.blocks))
    yield from _rows(SECTIONS, section_rows(document.sections))


def _rows(kind: bytes, rows: Iterator[list[Any]]) -> Iterator[Frame]:
    while part := list(islice(rows, _ROWS)):
        yield kind, to_payload(part)


def document_from_frames(frames: Sequence[Frame]) -> ParsedDocument:
    """Put a document together again.

    Raises:
        ValueError: Frames are missing, malformed, or do not fit together.
    """
    head: dict[str, Any] | None = None
    text: list[str] = []
    blocks: list[Block] = []
    sections: list[Sequence[Any]] = []
    try:
        for kind, payload in frames:
            if kind == HEAD:
                head = json.loads(payload)
            elif kind == TEXT:
                text.append(payload.decode("utf-8"))
            elif kind == BLOCKS:
                blocks.extend(blocks_from_rows(json.loads(payload), len(blocks) + 1))
            elif kind == SECTIONS:
                sections.extend(json.loads(payload))
        if head is None:
            raise ValueError("no head frame")
        return from_fields(head, "".join(text), blocks, sections)
    except (KeyError, TypeError) as error:
        raise ValueError(f"malformed result: {error!r}") from error


def read_frame(read: Callable[[int], bytes]) -> Frame | None:
    """Read a frame with a blocking ``read``; ``None`` at the end of the stream."""
    header = read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    kind, length = HEADER.unpack(header)
    payload = read(length)
    return (kind, payload) if len(payload) == length else None
