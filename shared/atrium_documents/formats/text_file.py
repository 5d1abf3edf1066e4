"""Plain text: paragraphs, lists and numbered headings."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from atrium_documents.builder import DocumentBuilder
from atrium_documents.cleaning import HAN, display_width, join_lines, visible
from atrium_documents.decoding import decode
from atrium_documents.headings import (
    STRONG,
    is_list_marker,
    numbering_scheme,
    reads_as_title,
    scheme_levels,
    without_bullet,
)
from atrium_documents.model import BlockKind
from atrium_documents.reading import Reading

# Files of these names are kept line by line.
_CODE_SUFFIXES: Final = frozenset(
    ".c .cc .cfg .conf .cpp .cs .css .go .h .ini .java .js .json .jsonl .kt .log .php .proto .py "
    ".rb .rs .sh .sql .toml .ts .xml .yaml .yml".split()
)
_WIDEST_WRAP: Final = 120
_NARROWEST_WRAP: Final = 40
_SENTENCE_END: Final = tuple(".。!！?？:：;；")
_UNDERLINE: Final = re.compile(r"^\s*(=|-|~|\*|#)\1{2,}\s*$")


def read(reading: Reading) -> None:
    """Read a text file of any encoding."""
    text, encoding = decode(reading.data)
    reading.builder.used(f"text ({encoding})")
    if "\ufffd" in text:
        reading.builder.warn(
            f"Some bytes are not valid {encoding} and are shown as \N{REPLACEMENT CHARACTER}."
        )
    if PurePosixPath(reading.filename).suffix.lower() in _CODE_SUFFIXES:
        for chunk in re.split(r"\n[ \t]*\n", visible(text)):
            reading.builder.add(BlockKind.CODE, chunk)
    else:
        add_plain_text(reading.builder, text)


def add_plain_text(builder: DocumentBuilder, text: str, *, page: int | None = None) -> None:
    """Add the paragraphs of ``text``: lines that were wrapped by width are joined again."""
    lines = [line.rstrip() for line in visible(text).expandtabs(4).split("\n")]
    wrap = _wrap_width(lines)
    chunks = list(_chunks(lines))
    schemes = [
        scheme
        for chunk in chunks
        for line in chunk
        if (scheme := _heading_scheme(line.strip())) is not None
    ]
    levels = scheme_levels(schemes)
    for chunk in chunks:
        _add_chunk(builder, chunk, wrap, levels, page)


def _chunks(lines: list[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    for line in lines:
        if line.strip():
            chunk.append(line)
        elif chunk:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _add_chunk(
    builder: DocumentBuilder,
    chunk: list[str],
    wrap: _Wrap | None,
    levels: dict[str, int],
    page: int | None,
) -> None:
    first, *rest = chunk
    if rest and _UNDERLINE.match(rest[0]) and reads_as_title(first.strip()):
        level = 1 if rest[0].strip()[0] in "=#*" else 2
        builder.add(BlockKind.HEADING, first, level=level, page=page)
        chunk = rest[1:]
    open_lines: list[str] = []

    def flush() -> None:
        if not open_lines:
            return
        text = join_lines([line.strip() for line in open_lines])
        if is_list_marker(text) and numbering_scheme(text) not in STRONG:
            builder.add(BlockKind.LIST_ITEM, without_bullet(text), page=page)
        else:
            builder.add(BlockKind.PARAGRAPH, text, page=page)
        open_lines.clear()

    for line in chunk:
        stripped = line.strip()
        if _UNDERLINE.match(line):
            flush()
            continue
        scheme = _heading_scheme(stripped)
        if scheme is not None:
            flush()
            builder.add(BlockKind.HEADING, stripped, level=levels[scheme], page=page)
            continue
        if not (open_lines and _continues(open_lines[-1], line, wrap)):
            flush()
        open_lines.append(line)
    flush()


def _heading_scheme(line: str) -> str | None:
    """Only numbering that nothing but headings uses: text has no type size to confirm it."""
    scheme = numbering_scheme(line)
    if scheme in STRONG and reads_as_title(line):
        return scheme
    if scheme == "han" and reads_as_title(line) and len(line) <= 25:
        return scheme
    return None


@dataclass(frozen=True, slots=True)
class _Wrap:
    """The width at which lines were broken."""

    width: int
    is_sure: bool
    """Several lines are about as wide; one alone may just be the longest."""


def _wrap_width(lines: list[str]) -> _Wrap | None:
    """Find the width at which lines were broken, or ``None`` if each line is a paragraph."""
    widths = sorted(display_width(line) for line in lines if line.strip())
    if len(widths) < 2:
        return None
    widest = widths[math.ceil(0.99 * (len(widths) - 1))]
    if not _NARROWEST_WRAP <= widest <= _WIDEST_WRAP:
        return None
    return _Wrap(widest, sum(width >= 0.9 * widest for width in widths) >= 3)


def _continues(line: str, following: str, wrap: _Wrap | None) -> bool:
    """A line was broken by width if the next line's first word would not have fitted on it."""
    if wrap is None or is_list_marker(following.strip()):
        return False
    indent = len(line) - len(line.lstrip())
    next_indent = len(following) - len(following.lstrip())
    if next_indent > indent and not is_list_marker(line.strip()):
        return False
    if not wrap.is_sure and line.endswith(_SENTENCE_END):
        return False
    word = following.split(maxsplit=1)[0]
    if HAN.match(word):
        word = word[:2]
    return display_width(line) + 1 + display_width(word) > wrap.width
