"""Rows of a table -> lines that can be understood one by one.

A grid is a list of rows, each a list of cells. ``None`` marks a place that the cell to its left
(a merged cell) also covers; a cell merged over several rows is repeated in each of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from atrium_documents.cleaning import display_width, one_line

Cell = str | None
Row = Sequence[Cell]

_CURRENCY: Final = "(?:USD|EUR|CNY|RMB|GBP|JPY|HKD|CHF|SGD)"
_NUMBERLIKE: Final = re.compile(
    rf"[\s(（~≈<>≤≥+\-−–]*(?:{_CURRENCY}\s?)?[$€£¥￥₩]?"
    r"\s*\d[\d.,'/:\-–—年月日时分秒\s]*"
    rf"(?:[%‰）)元万亿年月日天个次人美°]|[kKmMBgGtTC](?![a-z])|{_CURRENCY})*\s*"
)
_YEAR: Final = re.compile(r"(?:19|20)\d\d年?")
_WIDEST_NAME: Final = 60
"""In columns of a terminal."""
_SENTENCE_END: Final = "。.;；！!"


def row_text(cells: Row, names: Sequence[str] | None = None) -> str:
    """Return one row as ``"Grade: P5 | Min: 40,000"``, or ``"P5 | 40,000"`` without names.

    Empty cells are left out. A row that is one merged cell stands without a column name.
    """
    filled = [(i, one_line(cell)) for i, cell in enumerate(cells) if cell is not None]
    filled = [(i, cell) for i, cell in filled if cell]
    spans_all = len(cells) > 1 and len([c for c in cells if c is not None]) == 1
    if names is None or spans_all:
        return " | ".join(cell for _, cell in filled)
    return " | ".join(_named(names[i] if i < len(names) else "", cell) for i, cell in filled)


def _named(name: str, cell: str) -> str:
    if not name or name == cell:
        return cell
    return f"{name} {cell}" if name[-1] in ":：" else f"{name}: {cell}"


def column_names(header: Sequence[Row]) -> list[str]:
    """Merge one or more header rows into a name per column, such as ``"Q1 / Sales"``."""
    width = max(map(len, header), default=0)
    names: list[list[str]] = [[] for _ in range(width)]
    for row in header:
        if width > 1 and sum(cell is not None for cell in row) == 1:
            continue  # One cell over all columns is the table's title, and names none of them.
        last = ""
        for column in range(width):
            cell = row[column] if column < len(row) else ""
            last = last if cell is None else one_line(cell)
            if last and last not in names[column]:
                names[column].append(last)
    return [" / ".join(parts) for parts in names]


def table_lines(grid: Sequence[Row], header_rows: int | None = None) -> list[str]:
    """Return a line per row; the header row itself comes first, as its cells.

    Args:
        grid: All rows of the table.
        header_rows: How many rows at the top are header; ``None`` guesses from the content.
    """
    rows = [row for row in grid if any(cell and cell.strip() for cell in row)]
    count = guess_header_rows(rows) if header_rows is None else min(header_rows, len(rows))
    names = column_names(rows[:count]) if 0 < count < len(rows) else None
    if names is not None and not any(names):
        names = None
    lines = [row_text(row) for row in rows[:count]]
    lines += [row_text(row, names) for row in rows[count:]]
    return [line for line in lines if line]


def guess_header_rows(
    rows: Sequence[Row], *, bold_first_row: bool = False, is_certain: bool = True
) -> int:
    """Tell from the content how many rows at the top name the columns: 0, 1 or 2.

    The first row must hold short, distinct names, and the rows below must differ from it: numbers
    under words, or (where the first row is set in bold, or there are three columns) anything. A
    second row of names belongs to the header when the first has merged cells.

    Args:
        rows: The rows of the table.
        bold_first_row: Whether the first row is set in bold.
        is_certain: ``False`` where it is only guessed that this is a table: labels and values side
            by side look the same.
    """
    if len(rows) < 2:
        return 0
    width = max(map(len, rows))
    first = [one_line(cell or "") for cell in rows[0]]
    filled = [cell for cell in first if cell]
    covered = sum(cell is None or bool(cell) for cell in rows[0])
    # Only the corner above row names may be empty.
    if width < 2 or covered < max(2, width - 1) or len(filled) < 2:
        return 0
    if len(set(filled)) < len(filled) or not all(is_name(cell) for cell in filled):
        return 0
    if width > 2 and sum(_YEAR.fullmatch(cell) is not None for cell in filled) == 1:
        return 0  # Several years may name columns; one among words is a value.
    count = 1
    if None in rows[0] and len(rows) > 2:
        second = [one_line(cell) for cell in rows[1] if cell and cell.strip()]
        is_names = len(second) >= 2 and all(is_name(cell) for cell in second)
        if is_names and _has_number_column(rows[2:22], width):
            count = 2
    if _has_number_column(rows[count : count + 20], width) or bold_first_row:
        return count
    if width == 2 and not first[0]:
        return count
    # Label and value side by side look alike in each row; a header is not answered in its column.
    labels = any(cell.endswith((":", "：")) for cell in filled)
    return count if is_certain and width >= 3 and not labels else 0


def _has_number_column(rows: Sequence[Row], width: int) -> bool:
    for column in range(width):
        cells = [one_line(row[column] or "") for row in rows if column < len(row)]
        cells = [cell for cell in cells if cell]
        if cells and sum(is_numberlike(cell) for cell in cells) > 0.6 * len(cells):
            return True
    return False


def is_name(cell: str) -> bool:
    """Tell whether a cell may name a column: short, no number, no sentence."""
    if is_numberlike(cell) and not _YEAR.fullmatch(cell):
        return False
    return display_width(cell) <= _WIDEST_NAME and cell[-1] not in _SENTENCE_END


def is_numberlike(cell: str) -> bool:
    """Tell whether a cell is a number, an amount, a share, a date or a time."""
    return len(cell) <= 40 and _NUMBERLIKE.fullmatch(cell) is not None
