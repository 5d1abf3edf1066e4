"""Collect blocks in reading order and make a `ParsedDocument` of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from atrium_documents.cleaning import WORD, flowing, one_line, verbatim
from atrium_documents.errors import DocumentHasNoText, DocumentTooLarge
from atrium_documents.language import detect_language
from atrium_documents.limits import ParseLimits
from atrium_documents.model import Block, BlockKind, ParsedDocument, Section

# Blocks of these kinds stand on neighbouring lines; all others have an empty line between them.
_CLOSE: Final = frozenset({BlockKind.LIST_ITEM, BlockKind.TABLE_ROW})
_MOST_WARNINGS: Final = 50


@dataclass(slots=True)
class Piece:
    """A block before its place in the text is known."""

    kind: BlockKind
    text: str
    level: int | None
    page: int | None
    sheet: str | None


@dataclass(slots=True)
class DocumentBuilder:
    """Takes what a format reader finds; cleans it, bounds it and assembles the document."""

    limits: ParseLimits
    pieces: list[Piece] = field(default_factory=list)
    title: str | None = None
    """Title that the file states; without one, the first heading of the highest level is used."""
    page_count: int | None = None
    chars: int = 0
    warnings: list[str] = field(default_factory=list)
    engines: list[str] = field(default_factory=list)

    def add(
        self,
        kind: BlockKind,
        text: str,
        *,
        level: int | None = None,
        page: int | None = None,
        sheet: str | None = None,
    ) -> None:
        """Append a block; text without a visible character adds nothing.

        Raises:
            DocumentTooLarge: The text outgrew ``limits.max_text_chars``.
        """
        if kind is BlockKind.CODE:
            text = verbatim(text)
        elif kind is BlockKind.PARAGRAPH:
            text = flowing(text)
        else:
            text = one_line(text)
        if not text or text.isspace():
            return
        if kind is BlockKind.HEADING:
            level = min(max(level or 1, 1), 6)
        self.append(Piece(kind, text, level, page, sheet))

    def append(self, piece: Piece) -> None:
        """Append a piece that is clean already."""
        self.chars += len(piece.text) + 2
        if self.chars > self.limits.max_text_chars:
            raise DocumentTooLarge(
                f"The document's text is longer than {self.limits.max_text_chars:,} characters, "
                "the most that is read from one file. Split it into several files.",
                limit=self.limits.max_text_chars,
            )
        self.pieces.append(piece)

    def count_pages(self, count: int) -> None:
        """Note the number of pages.

        Raises:
            DocumentTooLarge: There are more than ``limits.max_pages``.
        """
        if count > self.limits.max_pages:
            raise DocumentTooLarge(
                f"The document has {count:,} pages; at most {self.limits.max_pages:,} are read. "
                "Split it into several files.",
                limit=self.limits.max_pages,
                pages=count,
            )
        self.page_count = count

    def warn(self, message: str) -> None:
        """Add a sentence for the reader, once."""
        if message not in self.warnings and len(self.warnings) < _MOST_WARNINGS:
            self.warnings.append(message)

    def used(self, engine: str) -> None:
        """Name a library (with its version) that took part."""
        if engine not in self.engines:
            self.engines.append(engine)

    def build(self, media_type: str) -> ParsedDocument:
        """Assemble the document.

        Raises:
            DocumentHasNoText: No block holds a letter or digit.
        """
        if not any(WORD.search(piece.text) for piece in self.pieces):
            raise DocumentHasNoText(
                "The document holds no words. Expected text, or pictures on which text can be "
                "read. Check that the right file was sent." + _because(self.warnings),
                media_type=media_type,
            )
        text, blocks = _lay_out(self.pieces)
        title = one_line(self.title or "") or _first_title(self.pieces)
        return ParsedDocument(
            text=text,
            blocks=blocks,
            sections=find_sections(text, blocks, title),
            media_type=media_type,
            title=title,
            page_count=self.page_count,
            language=detect_language(text),
            engine=" + ".join(self.engines),
            warnings=tuple(self.warnings),
        )


def _because(warnings: Sequence[str]) -> str:
    return f" ({' '.join(warnings[:3])})" if warnings else ""


def _lay_out(pieces: Iterable[Piece]) -> tuple[str, tuple[Block, ...]]:
    parts: list[str] = []
    blocks: list[Block] = []
    position = 0
    previous: BlockKind | None = None
    for number, piece in enumerate(pieces, 1):
        if previous is not None:
            gap = "\n" if piece.kind is previous and piece.kind in _CLOSE else "\n\n"
            parts.append(gap)
            position += len(gap)
        end = position + len(piece.text)
        blocks.append(
            Block(piece.kind, position, end, piece.level, piece.page, number, piece.sheet)
        )
        parts.append(piece.text)
        position = end
        previous = piece.kind
    return "".join(parts), tuple(blocks)


def _first_title(pieces: Sequence[Piece]) -> str | None:
    """The first heading of the highest level, if the document begins with one (or nearly so)."""
    for place, piece in enumerate(pieces[:8]):
        if piece.kind is BlockKind.HEADING:
            rest = [p for p in pieces[place:8] if p.kind is BlockKind.HEADING]
            return min(rest, key=lambda p: p.level or 1).text
    return None


def find_sections(
    text: str, blocks: Sequence[Block], title: str | None = None
) -> tuple[Section, ...]:
    """Return the sections that the headings among ``blocks`` open."""
    headings = [block for block in blocks if block.kind is BlockKind.HEADING]
    ends: list[int] = [blocks[-1].end] * len(headings) if blocks else []
    open_headings: list[int] = []
    paths: list[tuple[str, ...]] = []
    for index, heading in enumerate(headings):
        level = heading.level or 1
        while open_headings and (headings[open_headings[-1]].level or 1) >= level:
            ends[open_headings.pop()] = heading.start
        outer = paths[open_headings[-1]] if open_headings else ()
        paths.append((*outer, text[heading.start : heading.end]))
        open_headings.append(index)
    sections: list[Section] = []
    if blocks and (not headings or headings[0].start > blocks[0].start):
        end = headings[0].start if headings else blocks[-1].end
        path = (title,) if title else ()
        sections.append(Section(title or "", 0, path, blocks[0].start, end, blocks[0].page))
    sections.extend(
        Section(path[-1], heading.level or 1, path, heading.start, end, heading.page)
        for heading, path, end in zip(headings, paths, ends, strict=True)
    )
    return tuple(sections)
