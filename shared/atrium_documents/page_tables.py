"""Tables on a page that only has lines of text and strokes at places.

Two kinds are found. Ruled tables: strokes that cross each other make a grid, and words fall into
its cells. Aligned tables: three or more neighbouring rows whose pieces of text keep to the same
columns. Both become grids of cells (see `atrium_documents.tables`).

All places are in points (or pixels, for OCR) from the top left of the upright page.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Final

from atrium_documents.cleaning import HAN, join_lines
from atrium_documents.headings import is_list_marker, without_bullet
from atrium_documents.tables import (
    Cell,
    column_names,
    guess_header_rows,
    row_text,
    table_lines,
)

_TOLERANCE: Final = 3.0
_MOST_CELLS: Final = 20_000
_LONGEST_REPEATED: Final = 80
"""A cell over several rows is repeated in each of them if it is no longer than this."""


@dataclass(slots=True)
class Word:
    """A piece of a line without white space."""

    text: str
    x0: float
    x1: float


@dataclass(slots=True)
class Line:
    """A piece of text on one base line, without wide gaps."""

    text: str
    x0: float
    top: float
    x1: float
    bottom: float
    size: float
    """Type size."""
    bold: bool = False
    is_code: bool = False
    """Set in a font whose letters are all of one width."""
    words: list[Word] = field(default_factory=list)
    """The words of the line with their places; may be empty where only the line's is known."""

    @property
    def middle(self) -> float:
        """Height of the line's middle on the page."""
        return (self.top + self.bottom) / 2


@dataclass(frozen=True, slots=True)
class Stroke:
    """A straight line, horizontal or vertical."""

    place: float
    """y of a horizontal stroke, x of a vertical one."""
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Table:
    """A table, its rows as text, and where it lies."""

    rows: tuple[str, ...]
    x0: float
    top: float
    x1: float
    bottom: float
    ruling: Ruling | None = None
    """Of a table that strokes draw."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What tells whether a table goes on over a page break."""

    columns: tuple[float, ...]
    """x of the stroke at the left of each column that holds text."""
    names: tuple[str, ...]
    """Of these columns; empty where none are known."""
    cells: tuple[tuple[Cell, ...], ...]
    """Rows of these columns."""
    is_headed: bool
    """Whether numbers under words tell that the first row names the columns."""
    may_be_headed: bool
    """Whether the first row may name the columns."""
    is_bold: bool
    """Whether the first row is set in bold."""
    follows_bold: bool
    """Whether the row that names the columns is set in bold, on this page or before."""


# -- ruled tables -----------------------------------------------------------------------------


def ruled_tables(
    lines: Sequence[Line], across: Iterable[Stroke], down: Iterable[Stroke]
) -> tuple[list[Table], list[Line]]:
    """Return the tables that strokes draw, and the lines outside them."""
    tables: list[Table] = []
    rest = list(lines)
    for rows, columns in _grids(_merge(across), _merge(down)):
        found = _ruled_table(rest, rows, columns)
        if found is not None:
            table, inside = found
            tables.append(table)
            rest = [line for line in rest if id(line) not in inside]
    return tables, rest


def _merge(strokes: Iterable[Stroke]) -> list[Stroke]:
    """Put pieces of one stroke together; pieces closer than a tolerance are one."""
    merged: list[Stroke] = []
    group: list[Stroke] = []

    def flush() -> None:
        if not group:
            return
        place = sum(s.place for s in group) / len(group)
        pieces = sorted((s.start, s.end) for s in group)
        start, end = pieces[0]
        for piece_start, piece_end in pieces[1:]:
            if piece_start > end + _TOLERANCE:
                merged.append(Stroke(place, start, end))
                start, end = piece_start, piece_end
            end = max(end, piece_end)
        merged.append(Stroke(place, start, end))

    for stroke in sorted(strokes, key=lambda s: s.place):
        if group and stroke.place - group[-1].place > _TOLERANCE:
            flush()
            group = []
        group.append(stroke)
    flush()
    return merged


def _grids(
    across: Sequence[Stroke], down: Sequence[Stroke]
) -> list[tuple[list[Stroke], list[Stroke]]]:
    """Group strokes that cross or touch one another."""
    parent = list(range(len(across) + len(down)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for j, vertical in enumerate(down):
        for i, horizontal in enumerate(across):
            if (
                horizontal.start - _TOLERANCE <= vertical.place <= horizontal.end + _TOLERANCE
                and vertical.start - _TOLERANCE <= horizontal.place <= vertical.end + _TOLERANCE
            ):
                parent[root(i)] = root(len(across) + j)
    groups: dict[int, tuple[list[Stroke], list[Stroke]]] = {}
    for i, stroke in enumerate([*across, *down]):
        group = groups.setdefault(root(i), ([], []))
        group[0 if i < len(across) else 1].append(stroke)
    found = [g for g in groups.values() if len(g[0]) >= 2 and g[1]]
    return sorted(found, key=lambda g: g[0][0].place)


def _ruled_table(
    lines: Sequence[Line], across: list[Stroke], down: list[Stroke]
) -> tuple[Table, set[int]] | None:
    left = min(s.start for s in across)
    right = max(s.end for s in across)
    top = min(s.start for s in down)
    bottom = max(s.end for s in down)
    # Many tables leave out their outer strokes.
    xs = _places([s.place for s in down], left, right)
    ys = _places([s.place for s in across], top, bottom)
    if len(xs) < 3 or len(ys) < 2 or (len(xs) - 1) * (len(ys) - 1) > _MOST_CELLS:
        return None
    inside = [
        line
        for line in lines
        if ys[0] - 1 <= line.middle <= ys[-1] + 1
        and line.x0 < xs[-1]
        and line.x1 > xs[0]
        and xs[0] - _TOLERANCE <= (line.x0 + line.x1) / 2 <= xs[-1] + _TOLERANCE
    ]
    if not inside:
        return None
    roots = _merged_cells(xs, ys, across, down)
    contents = _fill_cells(inside, xs, ys, roots)
    texts = {cell: without_bullet(join_lines(parts)) for cell, parts in contents.items()}
    chars = sum(map(len, texts.values()))
    longest = max(map(len, texts.values()), default=0)
    # A frame around a page, its columns or a figure is no table: its few cells hold whole texts.
    if len(texts) < 2 or longest > 2000 or chars > 500 * len(texts):
        return None
    if chars > 600 and longest > 0.7 * chars:
        return None
    if _holds_columns(inside, xs, ys, roots):
        return None
    grid, places = _grid(roots, texts)
    if len(grid) == 0 or max(map(len, grid)) < 2 or not _is_mostly_filled(grid):
        return None
    bold = all(line.bold for line in inside if line.middle < ys[1])
    filled = _nonempty(grid)
    header = guess_header_rows(filled, bold_first_row=bold)
    ruling = Ruling(
        columns=tuple(xs[place] for place in places),
        names=tuple(column_names(filled[:header])),
        cells=tuple(map(tuple, filled)),
        is_headed=guess_header_rows(filled, is_certain=False) > 0,
        may_be_headed=header > 0,
        is_bold=bold,
        follows_bold=bold,
    )
    rows = tuple(table_lines(grid, header))
    table = Table(rows, xs[0], ys[0], xs[-1], ys[-1], ruling)
    return table, {id(line) for line in inside}


def continued(before: Table, table: Table) -> Table:
    """Return the first table of a page as it reads after the last one of the page before it.

    Where it has columns of that table and no header of its own, its rows carry that table's names.
    Words over words are no header if they are not set in bold like the one before.
    """
    above, below = before.ruling, table.ruling
    if above is None or below is None or not any(above.names):
        return table
    own = below.is_bold or not above.follows_bold
    if below.is_headed or (below.may_be_headed and own):
        return table
    if abs(before.x0 - table.x0) > _TOLERANCE or abs(before.x1 - table.x1) > _TOLERANCE:
        return table
    names: list[str] = []
    for column in below.columns:
        nearest = min(range(len(above.columns)), key=lambda i: abs(above.columns[i] - column))
        if abs(above.columns[nearest] - column) > _TOLERANCE:
            return table
        names.append(above.names[nearest])
    rows = (row_text(row, names) for row in below.cells)
    ruling = replace(above, cells=below.cells)
    return replace(table, rows=tuple(filter(None, rows)), ruling=ruling)


def _places(places: Sequence[float], low: float, high: float) -> list[float]:
    out: list[float] = []
    for place in sorted([*places, low, high]):
        if not out or place - out[-1] > 2 * _TOLERANCE:
            out.append(place)
    return out


def _merged_cells(
    xs: Sequence[float], ys: Sequence[float], across: Sequence[Stroke], down: Sequence[Stroke]
) -> list[list[int]]:
    """For each place of the grid the number of its cell: no stroke between means one cell."""
    columns = len(xs) - 1
    rows = len(ys) - 1
    parent = list(range(rows * columns))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    def is_cut(strokes: Sequence[Stroke], place: float, at: float) -> bool:
        return any(
            abs(s.place - place) <= 2 * _TOLERANCE and s.start - 1 <= at <= s.end + 1
            for s in strokes
        )

    for row in range(rows):
        for column in range(columns):
            here = row * columns + column
            x, y = (xs[column] + xs[column + 1]) / 2, (ys[row] + ys[row + 1]) / 2
            if column + 1 < columns and not is_cut(down, xs[column + 1], y):
                parent[root(here + 1)] = root(here)
            if row + 1 < rows and not is_cut(across, ys[row + 1], x):
                parent[root(here + columns)] = root(here)
    return [[root(row * columns + column) for column in range(columns)] for row in range(rows)]


def _fill_cells(
    lines: Sequence[Line], xs: Sequence[float], ys: Sequence[float], roots: list[list[int]]
) -> dict[int, list[str]]:
    """Put each word into the cell that its middle lies in; words of one line stay together."""
    cells: dict[int, list[tuple[float, float, list[str]]]] = {}
    for line in lines:
        row = min(max(bisect.bisect(ys, line.middle) - 1, 0), len(ys) - 2)
        words = line.words or [Word(line.text, line.x0, line.x1)]
        for word in words:
            column = min(max(bisect.bisect(xs, (word.x0 + word.x1) / 2) - 1, 0), len(xs) - 2)
            pieces = cells.setdefault(roots[row][column], [])
            last = pieces[-1] if pieces else None
            if last is not None and abs(last[0] - line.middle) < 0.5 * line.size:
                last[2].append(word.text)
            else:
                pieces.append((line.middle, word.x0, [word.text]))
    return {
        cell: [" ".join(words) for _, _, words in sorted(pieces, key=lambda p: (p[0], p[1]))]
        for cell, pieces in cells.items()
    }


def _holds_columns(
    lines: Sequence[Line], xs: Sequence[float], ys: Sequence[float], roots: list[list[int]]
) -> bool:
    """A cell of several rows and columns of its own: the strokes frame forms, not cells."""
    by_cell: dict[int, list[Line]] = {}
    for line in lines:
        row = min(max(bisect.bisect(ys, line.middle) - 1, 0), len(ys) - 2)
        column = min(max(bisect.bisect(xs, (line.x0 + line.x1) / 2) - 1, 0), len(xs) - 2)
        by_cell.setdefault(roots[row][column], []).append(line)
    return any(
        sum(len(row) > 1 for row in visual_rows(inside)) >= 3
        for inside in by_cell.values()
        if len(inside) >= 6
    )


def _grid(roots: list[list[int]], texts: dict[int, str]) -> tuple[list[list[Cell]], list[int]]:
    """Return the rows, and which columns of ``roots`` they keep."""
    grid: list[list[Cell]] = []
    previous: list[int] = []
    for row in roots:
        if row == previous:
            continue
        cells: list[Cell] = []
        for place, cell in enumerate(row):
            text = texts.get(cell, "")
            if place > 0 and row[place - 1] == cell:
                cells.append(None)
            elif len(text) > _LONGEST_REPEATED and cell in previous:
                cells.append("")
            else:
                cells.append(text)
        grid.append(cells)
        previous = row
    # A column without any text is the space between double strokes.
    keep = [i for i in range(len(roots[0])) if any(row[i] for row in grid)]
    return [[row[i] for i in keep] for row in grid], keep


def _nonempty(grid: Sequence[Sequence[Cell]]) -> list[Sequence[Cell]]:
    return [row for row in grid if any(row)]


def _is_mostly_filled(grid: Sequence[Sequence[Cell]]) -> bool:
    cells = [cell for row in grid for cell in row if cell is not None]
    return sum(bool(cell) for cell in cells) >= 0.3 * len(cells)


# -- aligned tables ---------------------------------------------------------------------------


def aligned_tables(lines: Sequence[Line]) -> tuple[list[Table], list[Line]]:
    """Return the tables that alignment shows, and the lines outside them."""
    rows = visual_rows(lines)
    tables: list[Table] = []
    used: set[int] = set()
    start = 0
    while start < len(rows):
        if len(rows[start]) < 2:
            start += 1
            continue
        end = _run_end(rows, start)
        found = _aligned_table(rows[start:end]) if end - start >= 3 else None
        if found is None:
            start += 1
            continue
        tables.append(found)
        used.update(id(line) for row in rows[start:end] for line in row)
        start = end
    return tables, [line for line in lines if id(line) not in used]


def visual_rows(lines: Sequence[Line]) -> list[list[Line]]:
    """Group lines that stand beside one another, each row from left to right."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda one: (one.middle, one.x0)):
        row = rows[-1] if rows else None
        if row is not None and abs(row[0].middle - line.middle) < 0.4 * min(row[0].size, line.size):
            row.append(line)
        else:
            rows.append([line])
    for row in rows:
        row.sort(key=lambda one: one.x0)
    return rows


def _run_end(rows: Sequence[Sequence[Line]], start: int) -> int:
    """End of a run of close rows with several pieces; rows of one piece may lie between."""
    end = start + 1
    singles = 0
    last = start
    while end < len(rows):
        above, here = rows[end - 1], rows[end]
        size = max(line.size for line in above)
        if min(line.top for line in here) - max(line.bottom for line in above) > 2.2 * size:
            break
        if not 0.6 < here[0].size / rows[start][0].size < 1.6:
            break
        singles = singles + 1 if len(here) == 1 else 0
        if singles > 2:
            break
        if len(here) > 1:
            last = end
        end += 1
    return last + 1


def _aligned_table(rows: Sequence[Sequence[Line]]) -> Table | None:
    several = [row for row in rows if len(row) > 1]
    if len(several) < 3 or len(several) < 0.6 * len(rows):
        return None
    columns = _columns(several)
    if len(columns) < 2:
        return None
    grid = _with_headed_columns([_spread(row, columns) for row in rows])
    if len(grid[0]) < 2:
        return None
    if _is_list(grid) or _is_prose(several, columns) or _is_wordy(grid):
        return None
    filled = sum(bool(cell) for row in grid for cell in row)
    if filled < 0.5 * len(grid) * len(grid[0]):
        return None
    grid = _join_wrapped(grid)
    bold = all(line.bold for line in rows[0]) and not all(line.bold for line in rows[-1])
    header = guess_header_rows(grid, bold_first_row=bold, is_certain=False)
    table_rows = tuple(table_lines(grid, header))
    every = [line for row in rows for line in row]
    return Table(
        table_rows,
        min(line.x0 for line in every),
        min(line.top for line in every),
        max(line.x1 for line in every),
        max(line.bottom for line in every),
    )


def _columns(rows: Sequence[Sequence[Line]]) -> list[tuple[float, float]]:
    """Ranges of x that text keeps to: they end where at most one row in eight has text."""
    events = sorted(
        [(line.x0, 1) for row in rows for line in row]
        + [(line.x1, -1) for row in rows for line in row]
    )
    allowed = len(rows) // 8
    columns: list[tuple[float, float]] = []
    covered = 0
    start: float | None = None
    for x, change in events:
        before = covered
        covered += change
        if before <= allowed < covered:
            start = x
        elif covered <= allowed < before and start is not None:
            columns.append((start, x))
            start = None
    return columns


def _spread(row: Sequence[Line], columns: Sequence[tuple[float, float]]) -> list[Cell]:
    cells: list[Cell] = [""] * len(columns)
    for line in row:
        overlaps = [min(line.x1, end) - max(line.x0, start) for start, end in columns]
        first = next((i for i, overlap in enumerate(overlaps) if overlap > 0), None)
        place = overlaps.index(max(overlaps)) if first is None else first
        cells[place] = f"{cells[place]} {line.text}".strip()
    return cells


def _with_headed_columns(grid: list[list[Cell]]) -> list[list[Cell]]:
    """Numbers stand right under a name on the left: a column with a name only joins the next."""
    column = 0
    while column + 1 < len(grid[0]):
        pairs = [(row[column], row[column + 1]) for row in grid]
        (first, second), body = pairs[0], pairs[1:]
        only_names = [not any(cells) for cells in zip(*body, strict=True)]
        if (first and not second and only_names[0]) or (second and not first and only_names[1]):
            for row, pair in zip(grid, pairs, strict=True):
                row[column : column + 2] = [pair[0] or pair[1]]
        else:
            column += 1
    return grid


def _is_list(grid: Sequence[Sequence[Cell]]) -> bool:
    """Bullets or numbers in a column before their texts."""
    first = [row[0] for row in grid if row[0]]
    return len(grid[0]) == 2 and all(len(c) <= 4 and is_list_marker(f"{c} x") for c in first)


def _is_prose(rows: Sequence[Sequence[Line]], columns: Sequence[tuple[float, float]]) -> bool:
    """Columns of running text fill their width line by line; cells of a table seldom do."""
    if len(columns) > 3:
        return False
    full = 0
    pieces = 0
    for row in rows:
        for line in row:
            middle = (line.x0 + line.x1) / 2
            for start, end in columns:
                if start <= middle <= end:
                    pieces += 1
                    full += line.x1 - line.x0 > 0.85 * (end - start) > 8 * line.size
    return pieces > 0 and full > 0.5 * pieces


def _is_wordy(grid: Sequence[Sequence[Cell]]) -> bool:
    """Two or more columns of sentences beside one another are columns of a page."""
    wordy = 0
    for column in zip(*grid, strict=True):
        cells = [cell for cell in column if cell]
        long = sum(len(cell) > (18 if HAN.search(cell) else 40) for cell in cells)
        wordy += long > 0.4 * len(cells)
    return wordy >= 2


def _join_wrapped(grid: list[list[Cell]]) -> list[list[Cell]]:
    """A row with nothing but one cell right of the first column continues the row above."""
    out: list[list[Cell]] = []
    for row in grid:
        filled = [i for i, cell in enumerate(row) if cell]
        if out and len(filled) == 1 and filled[0] > 0 and out[-1][filled[0]]:
            place = filled[0]
            out[-1][place] = join_lines([out[-1][place] or "", row[place] or ""])
        else:
            out.append(row)
    return out


def median_size(lines: Sequence[Line]) -> float:
    """Median type size of lines; 10 where there are none."""
    return median(line.size for line in lines) if lines else 10.0
