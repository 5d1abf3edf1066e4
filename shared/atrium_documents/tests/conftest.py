"""Readers in this process for tests of formats; tests of the worker start real ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import pytest

from atrium_documents import Block, BlockKind, ParsedDocument, ParseLimits
from atrium_documents.dispatch import DocumentReader


class Read(Protocol):
    def __call__(
        self,
        data: bytes | str,
        filename: str,
        media_type: str = "",
        limits: ParseLimits | None = None,
        before_ocr: Callable[[], None] = ...,
    ) -> ParsedDocument: ...


@pytest.fixture(scope="session")
def read() -> Read:
    reader = DocumentReader()

    def read_file(
        data: bytes | str,
        filename: str,
        media_type: str = "",
        limits: ParseLimits | None = None,
        before_ocr: Callable[[], None] = lambda: None,
    ) -> ParsedDocument:
        raw = data.encode() if isinstance(data, str) else data
        document = reader.read(raw, filename, media_type, limits or ParseLimits(), before_ocr)
        check(document)
        return document

    return read_file


def check(document: ParsedDocument) -> None:
    """What holds for every document, whatever it was read from."""
    position = 0
    for number, block in enumerate(document.blocks, 1):
        assert position <= block.start < block.end <= len(document.text)
        assert document.text[position : block.start].strip("\n") == ""
        assert document.text[block.start : block.end].strip() != ""
        assert block.number == number
        assert (block.level is not None) == (block.kind is BlockKind.HEADING)
        position = block.end
    assert position == len(document.text)
    assert document.blocks[0].start == 0
    for block in document.blocks:
        assert any(s.start <= block.start and block.end <= s.end for s in document.sections)
    starts = [section.start for section in document.sections]
    assert starts == sorted(starts)


def texts(document: ParsedDocument, kind: BlockKind | None = None) -> list[str]:
    return [of(document, block) for block in document.blocks if kind in (None, block.kind)]


def of(document: ParsedDocument, block: Block) -> str:
    return document.text[block.start : block.end]


def outline(document: ParsedDocument) -> list[tuple[int, str]]:
    return [(b.level, of(document, b)) for b in document.blocks if b.level is not None]
