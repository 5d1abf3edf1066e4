"""What a parsed document is: one text, and where everything lies in it.

Every offset is a count of Unicode code points into :attr:`ParsedDocument.text`, so
``text[block.start:block.end]`` is the block, exactly. Nothing here imports a parser: services may
hold, store and slice parsed documents without loading one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class BlockKind(StrEnum):
    """What a block was on the page."""

    HEADING = "heading"
    PARAGRAPH = "paragraph"
    LIST_ITEM = "list_item"
    TABLE_ROW = "table_row"
    """One row of a table. Column names are repeated in it, so that it is understood alone."""
    CODE = "code"
    CAPTION = "caption"


@dataclass(frozen=True, slots=True)
class Block:
    """A heading, paragraph, list item, table row, piece of code or caption."""

    kind: BlockKind
    start: int
    """First code point of the block in the document's text."""
    end: int
    """One past its last code point; always greater than ``start``."""
    level: int | None
    """1 (highest) to 6 for a heading, otherwise ``None``."""
    page: int | None
    """Page or slide on which the block begins, from 1; ``None`` where a format has no pages."""
    number: int
    """Ordinal of the block in the document, from 1: its "paragraph number"."""
    sheet: str | None
    """Name of the worksheet, for spreadsheets."""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and all that stands under it, up to the next heading of its level or higher.

    Sections nest, and together they cover every block. Text before the first heading, or all of a
    document without headings, is one section of level 0 titled with the document's title (or "").
    """

    title: str
    level: int
    """1 to 6, or 0 for text that stands under no heading."""
    path: tuple[str, ...]
    """Titles from the outermost section to this one, included. Empty when level 0 has no title."""
    start: int
    end: int
    page: int | None
    """Page on which the section begins."""


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """The text of one file, with its structure."""

    text: str
    blocks: tuple[Block, ...]
    """In reading order; they do not overlap, and only line breaks lie between them."""
    sections: tuple[Section, ...]
    """In order of their start, an outer section before those inside it."""
    media_type: str
    """IANA media type found from the content (and the name where content does not tell)."""
    title: str | None
    page_count: int | None
    """Pages or slides of the file; ``None`` where a format has none."""
    language: str
    """``"zh"``, ``"en"``, or ``"und"`` for anything else and for too little text."""
    engine: str
    """The libraries that read it, such as ``"pypdfium2 5.15.2"``."""
    warnings: tuple[str, ...]
    """What a reader must know: pages read by OCR, parts left out. Plain sentences."""
