"""Cut a document into passages, section by section.

A passage is a run of whole blocks of one section, about 250 encoder tokens long (some 350 Chinese
characters or 1,000 Latin ones). Sections are never mixed, so that a passage has one heading path
and one access rule; passages do not overlap; rows of a table are not cut. Headings are not part of
a passage but of its path, which is indexed with it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from atrium_documents.model import Block, BlockKind, ParsedDocument, Section
from atrium_grounding.languages import detect_language
from atrium_grounding.sentences import split_units

TARGET_TOKENS: Final = 250
_LONGEST_TOKENS: Final = 330
"""A paragraph over this is cut between its sentences."""
_LONGEST_ROW_TOKENS: Final = 1000
"""A table row over this is cut after all."""

_HAN: Final = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_WIDE: Final = re.compile("[\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]")
_LATIN: Final = re.compile("[A-Za-z]")
_TOKENS_PER_WIDE_CHAR: Final = 0.71
_TOKENS_PER_CHAR: Final = 0.25


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage before it belongs to a stored version."""

    section_path: tuple[str, ...]
    start: int
    end: int
    page: int
    """From 1; 0 where the format has none."""
    paragraph: int
    language: str


@dataclass(frozen=True, slots=True)
class _Piece:
    start: int
    end: int
    tokens: float
    block: Block


def chunk_document(document: ParsedDocument) -> list[Chunk]:
    """Return the passages of a document in reading order."""
    chunks: list[Chunk] = []
    placed = zip(document.blocks, _innermost_sections(document), strict=True)
    for section, run in groupby(placed, key=lambda pair: pair[1]):
        blocks = [block for block, _ in run]
        body = [block for block in blocks if block.kind is not BlockKind.HEADING]
        if not body and _has_parts(section, document.sections):
            continue
        path = section.path if section is not None else ()
        pieces = [piece for block in body or blocks for piece in _pieces(document.text, block)]
        for group in _packed(pieces):
            first, start, end = group[0].block, group[0].start, group[-1].end
            language = _language(document.text[start:end], document.language)
            chunks.append(Chunk(path, start, end, first.page or 0, first.number, language))
    return chunks


def estimate_tokens(text: str) -> float:
    """Return about how many tokens an encoder makes of ``text``."""
    wide = len(_WIDE.findall(text))
    return wide * _TOKENS_PER_WIDE_CHAR + (len(text) - wide) * _TOKENS_PER_CHAR


def _innermost_sections(document: ParsedDocument) -> Iterator[Section | None]:
    """Yield the innermost section around each block."""
    waiting = list(reversed(document.sections))
    around: list[Section] = []
    for block in document.blocks:
        while waiting and waiting[-1].start <= block.start:
            around.append(waiting.pop())
        while around and around[-1].end <= block.start:
            around.pop()
        yield around[-1] if around else None


def _has_parts(section: Section | None, sections: Sequence[Section]) -> bool:
    """Say whether another section lies inside; a heading alone is then no passage of its own."""
    return section is not None and any(
        section.start < other.start < section.end for other in sections
    )


def _pieces(text: str, block: Block) -> Iterator[_Piece]:
    tokens = estimate_tokens(text[block.start : block.end])
    is_row = block.kind is BlockKind.TABLE_ROW
    if tokens <= (_LONGEST_ROW_TOKENS if is_row else _LONGEST_TOKENS):
        yield _Piece(block.start, block.end, tokens, block)
        return
    for start, end in _sentence_spans(text[block.start : block.end], is_row):
        for first, last in _bounded(text, block.start + start, block.start + end):
            yield _Piece(first, last, estimate_tokens(text[first:last]), block)


def _sentence_spans(text: str, is_row: bool) -> list[tuple[int, int]]:
    units = [] if is_row else split_units(text)
    return [(unit.start, unit.end) for unit in units] or [(0, len(text))]


def _bounded(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut what has no sentence end for a long way (a log, an encoded file) between words."""
    tokens = estimate_tokens(text[start:end])
    if tokens <= _LONGEST_TOKENS:
        yield start, end
        return
    width = max(1, int((end - start) / math.ceil(tokens / TARGET_TOKENS)))
    while end - start > width:
        gap = text.rfind(" ", start + width // 2, start + width)
        cut = gap if gap > start else start + width
        yield start, cut
        start = cut + 1 if gap > start else cut
    yield start, end


def _packed(pieces: Sequence[_Piece]) -> Iterator[list[_Piece]]:
    """Group pieces into passages of about equal size, near the target."""
    total = sum(piece.tokens for piece in pieces)
    target = total / max(1, round(total / TARGET_TOKENS))
    group: list[_Piece] = []
    size = 0.0
    for piece in pieces:
        new_page = group and piece.block.page != group[-1].block.page and size >= target / 2
        if group and (new_page or size + piece.tokens / 2 > target):
            yield group
            group, size = [], 0.0
        group.append(piece)
        size += piece.tokens
    if group:
        yield group


def _language(text: str, document_language: str) -> str:
    if _HAN.search(text):
        return detect_language(text)
    if document_language == "zh" and _LATIN.search(text):
        return "en"
    return document_language
