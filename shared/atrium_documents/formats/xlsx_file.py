"""XLSX: a section per worksheet, a line per row, cell values as the sheet shows them."""

from __future__ import annotations

import io
import itertools
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final
from xml.etree.ElementTree import ParseError

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from atrium_documents.builder import DocumentBuilder
from atrium_documents.containers import check_office_archive
from atrium_documents.errors import DocumentBroken
from atrium_documents.model import BlockKind
from atrium_documents.number_format import format_value
from atrium_documents.reading import Reading
from atrium_documents.tables import column_names, guess_header_rows, row_text

_ENGINE: Final = f"openpyxl {version('openpyxl')}"
_SAMPLE_ROWS: Final = 20
# A formula that Excel never calculated has no value; openpyxl shows errors as these texts.
_ERRORS: Final = frozenset({"#REF!", "#N/A", "#VALUE!", "#NAME?", "#DIV/0!", "#NULL!", "#NUM!"})


def read(reading: Reading) -> None:
    """Read a workbook. Hidden sheets are left out, and named in a warning."""
    builder = reading.builder
    builder.used(_ENGINE)
    archive = check_office_archive(reading.data, reading.builder.limits)
    try:
        book = openpyxl.load_workbook(
            io.BytesIO(archive.data), read_only=True, data_only=True, keep_links=False
        )
    except (
        InvalidFileException, KeyError, ValueError, TypeError, AttributeError, IndexError,
        zipfile.BadZipFile, ParseError, OSError,
    ) as error:  # fmt: skip
        raise _broken(error) from error
    try:
        if book.properties is not None and book.properties.title:
            builder.title = str(book.properties.title)
        hidden = [s.title for s in book.worksheets if s.sheet_state != "visible"]
        sheets = [s for s in book.worksheets if s.sheet_state == "visible"]
        builder.count_pages(len(book.worksheets))
        builder.page_count = None
        for sheet in sheets:
            _add_sheet(builder, sheet)
        if hidden:
            builder.warn(f"Hidden worksheets were left out: {', '.join(hidden[:10])}.")
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, ParseError) as error:
        raise _broken(error) from error
    finally:
        book.close()


def _broken(error: Exception) -> DocumentBroken:
    return DocumentBroken(
        f"The workbook cannot be read ({type(error).__name__}: {error}). Open it in a spreadsheet "
        "program, save it anew as XLSX, and send that."
    )


def _add_sheet(builder: DocumentBuilder, sheet: Any) -> None:
    # The stated dimension may be wrong; reading on until the last row is always right.
    sheet.reset_dimensions()
    first = len(builder.pieces)
    for rows in _tables(_rows(sheet)):
        _add_table(builder, rows, sheet.title)
    if len(builder.pieces) > first:
        added = builder.pieces[first:]
        del builder.pieces[first:]
        builder.add(BlockKind.HEADING, sheet.title, level=1, sheet=sheet.title)
        builder.pieces.extend(added)


@dataclass(frozen=True, slots=True)
class _Row:
    cells: list[str]
    is_bold: bool
    """All filled cells are set in bold; asked only where a header may stand."""

    @property
    def filled(self) -> list[str]:
        return [cell for cell in self.cells if cell]


def _rows(sheet: Any) -> Iterator[_Row]:
    may_be_header = True
    for row in sheet.iter_rows():
        texts = [
            "" if cell.value is None else format_value(cell.value, cell.number_format)
            for cell in row
        ]
        texts = ["" if text in _ERRORS else text for text in texts]
        count = sum(map(bool, texts))
        is_bold = (may_be_header and count > 1) and all(
            cell.font is not None and cell.font.b for cell in row if cell.value is not None
        )
        may_be_header = count < 2
        yield _Row(texts, is_bold)


def _tables(rows: Iterable[_Row]) -> Iterator[Iterator[_Row]]:
    """Split a sheet at its empty rows, lazily: a sheet may hold a million rows."""
    source = iter(rows)

    def table(first: _Row) -> Iterator[_Row]:
        yield first
        for row in source:
            if not row.filled:
                return
            yield row

    for row in source:
        if row.filled:
            part = table(row)
            yield part
            for _ in part:  # What the reader left unread belongs to this table.
                pass


def _add_table(builder: DocumentBuilder, rows: Iterator[_Row], sheet: str) -> None:
    sample: list[_Row] = []
    for row in rows:
        if not sample and len(row.filled) == 1:
            # Single cells above a table are its title and notes.
            builder.add(BlockKind.PARAGRAPH, row.filled[0], sheet=sheet)
            continue
        sample.append(row)
        if len(sample) == _SAMPLE_ROWS:
            break
    names = _names(sample)
    for number, row in enumerate(itertools.chain(sample, rows)):
        line = row_text(row.cells, names if number else None)
        builder.add(BlockKind.TABLE_ROW, line, sheet=sheet)


def _names(sample: Sequence[_Row]) -> list[str] | None:
    """Column names by place, if the first row has them.

    Only the columns from its first cell to its last are asked: notes may stand beside a table.
    """
    if not sample:
        return None
    header = sample[0]
    places = [place for place, cell in enumerate(header.cells) if cell]
    first, last = places[0], places[-1] + 1
    grid = [row.cells[first:last] for row in sample]
    grid = [row + [""] * (last - first - len(row)) for row in grid if any(row)]
    if not guess_header_rows(grid, bold_first_row=header.is_bold):
        # The corner above row names is often empty.
        beside = [row.cells[first - 1 : last] for row in sample] if first else []
        if not beside or not guess_header_rows(beside, bold_first_row=header.is_bold):
            return None
    return [*header.cells[:first], *column_names([header.cells[first:]])]
