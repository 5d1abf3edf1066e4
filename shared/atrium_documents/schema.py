"""Store a parsed document as JSON, and read it back.

The schema is versioned: this release writes version 1 and reads it for ever; a later version gets
a later number. Blocks are rows of ``[kind, start, end, level, page, sheet]``; a block's number is
its place in the list.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from atrium_documents.errors import StoredDocumentUnreadable
from atrium_documents.model import Block, BlockKind, ParsedDocument, Section

SCHEMA: Final = "atrium.document/1"

_KINDS: Final = {kind.value: kind for kind in BlockKind}


def to_json(document: ParsedDocument) -> str:
    """Return ``document`` as one line of JSON (a few % larger than its text)."""
    return json.dumps(
        {
            **head_fields(document),
            "text": document.text,
            "blocks": list(block_rows(document.blocks)),
            "sections": list(section_rows(document.sections)),
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )


def from_json(stored: str | bytes) -> ParsedDocument:
    """Read what `to_json` wrote.

    Raises:
        StoredDocumentUnreadable: Not JSON, another schema version, or offsets that do not fit.
    """
    try:
        fields = json.loads(stored)
    except ValueError as error:
        raise StoredDocumentUnreadable(
            f"A stored document is not JSON ({error}); expected {SCHEMA!r}. Parse the file again."
        ) from error
    if not isinstance(fields, dict) or fields.get("schema") != SCHEMA:
        found = fields.get("schema") if isinstance(fields, dict) else type(fields).__name__
        raise StoredDocumentUnreadable(
            f"A stored document has schema {found!r}; this release reads {SCHEMA!r}. "
            "Parse the file again, or use the release that wrote it.",
            schema=found,
        )
    try:
        blocks = blocks_from_rows(fields["blocks"])
        return from_fields(fields, fields["text"], blocks, fields["sections"])
    except (KeyError, TypeError, ValueError) as error:
        raise StoredDocumentUnreadable(
            f"A stored document breaks schema {SCHEMA!r} ({error!r}). Parse the file again."
        ) from error


def head_fields(document: ParsedDocument) -> dict[str, Any]:
    """Return all but text, blocks and sections, as JSON values."""
    return {
        "schema": SCHEMA,
        "media_type": document.media_type,
        "title": document.title,
        "page_count": document.page_count,
        "language": document.language,
        "engine": document.engine,
        "warnings": list(document.warnings),
    }


def section_rows(sections: Iterable[Section]) -> Iterator[list[Any]]:
    """Yield each section as a row of JSON values."""
    for s in sections:
        yield [s.title, s.level, list(s.path), s.start, s.end, s.page]


def block_rows(blocks: Iterable[Block]) -> Iterator[list[Any]]:
    """Yield each block as a row of JSON values."""
    for b in blocks:
        yield [b.kind.value, b.start, b.end, b.level, b.page, b.sheet]


def blocks_from_rows(rows: Iterable[Sequence[Any]], first_number: int = 1) -> list[Block]:
    """Rebuild blocks from rows, numbered from ``first_number``."""
    return [
        Block(_KINDS[kind], int(start), int(end), level, page, number, sheet)
        for number, (kind, start, end, level, page, sheet) in enumerate(rows, first_number)
    ]


def from_fields(
    fields: dict[str, Any], text: str, blocks: Sequence[Block], sections: Iterable[Sequence[Any]]
) -> ParsedDocument:
    """Put a document together from `head_fields`, its text, its blocks and rows of sections.

    Raises:
        ValueError: Offsets overlap, run backwards or leave the text.
    """
    if not isinstance(text, str):
        raise ValueError(f"text is {type(text).__name__}")
    position = 0
    for block in blocks:
        if not position <= block.start < block.end:
            raise ValueError(f"block {block.number} lies at {block.start}:{block.end}")
        position = block.end
    if position > len(text):
        raise ValueError(f"blocks end at {position}, the text at {len(text)}")
    found = tuple(
        Section(title, int(level), tuple(path), int(start), int(end), page)
        for title, level, path, start, end, page in sections
    )
    if any(not 0 <= s.start <= s.end <= len(text) for s in found):
        raise ValueError("a section leaves the text")
    return ParsedDocument(
        text=text,
        blocks=tuple(blocks),
        sections=found,
        media_type=fields["media_type"],
        title=fields["title"],
        page_count=fields["page_count"],
        language=fields["language"],
        engine=fields["engine"],
        warnings=tuple(fields["warnings"]),
    )
