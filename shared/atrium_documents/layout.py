"""Lines at places on pages -> headings, paragraphs, list items and table rows in reading order.

PDF files and OCR give lines and where they lie, nothing more. The steps: take out what repeats at
the margins; find tables; order the rest by columns (a variant of the recursive XY-cut of Nagy and
Seth, 1984, that keeps columns whole); join lines to paragraphs; tell headings by outline, numbers
and type; join paragraphs that a page break divides.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from atrium_documents.builder import DocumentBuilder
from atrium_documents.cleaning import HAN, join_lines
from atrium_documents.headings import (
    RANK,
    STRONG,
    is_list_marker,
    numbering_scheme,
    reads_as_title,
    without_bullet,
)
from atrium_documents.model import BlockKind
from atrium_documents.page_tables import (
    Line,
    Table,
    aligned_tables,
    continued,
    median_size,
    visual_rows,
)

__all__ = ["Line", "OutlineEntry", "Page", "add_pages"]

_MARGIN: Final = 0.12
"""Share of a page's height, at top and bottom, in which running heads and page numbers stand."""
_DIGITS: Final = re.compile(r"\d+")
_PAGE_NUMBER: Final = re.compile(
    r"^[\W_]*(?:(?:page|seite|p\.)\s*\d{1,4}(?:\s*(?:of|/|von)\s*\d{1,4})?"
    r"|第\s*\d{1,4}\s*页(?:\W*共\s*\d{1,4}\s*页)?|\d{1,4}\s*(?:/|of)\s*\d{1,4}(?:\s*页)?)[\W_]*$",
    re.IGNORECASE,
)
_BARE_NUMBER: Final = re.compile(r"^[-–—·.\s]*(\d{1,4})[-–—·.\s]*$")
_CAPTION: Final = re.compile(
    r"^(?:(?:Figure|Fig\.|Table|Chart|Exhibit)\s+[\dIVX]+[.:\-–—\s]|[图表]\s?\d+(?:[-–.]\d+)*[\s:：.、])"
)
_TERMINAL: Final = tuple(".。!！?？:：;；”\"'）)")
_NUMBER_ALONE: Final = re.compile(
    r"^[(（]?(?:[\d.]{1,8}|[IVX一二三四五六七八九十]{1,4}|[A-Za-z])[.)）、]?$|^[^\w\s]$"
)
_CAPITALS: Final = re.compile(r"(?=(?:.*[A-Z]{2}){2})[A-Z][A-Z0-9 ,.&/'’()–-]{4,59}")
_FEW_LINES: Final = 5
_HYPHENATED: Final = re.compile(r"\w+-\w+")


@dataclass(frozen=True, slots=True)
class OutlineEntry:
    """A bookmark of a PDF file."""

    title: str
    level: int
    """From 1."""
    page: int | None


@dataclass(slots=True)
class Page:
    """A page of lines."""

    number: int | None
    width: float
    height: float
    lines: list[Line]
    tables: list[Table] = field(default_factory=list)
    by_ocr: bool = False


@dataclass(slots=True)
class _Paragraph:
    page: int | None
    lines: list[Line]
    kind: BlockKind = BlockKind.PARAGRAPH
    level: int | None = None
    rows: tuple[str, ...] = ()
    is_indented: bool = False
    is_cut: bool = False
    """The last line runs to the column's edge and ends no sentence: it may go on elsewhere."""
    gap: float = 0.0
    """Space above, in type sizes."""
    by_ocr: bool = False

    @property
    def size(self) -> float:
        return self.lines[0].size if self.lines else 0.0

    @property
    def bold(self) -> bool:
        return all(line.bold for line in self.lines)

    @property
    def text(self) -> str:
        return join_lines([line.text for line in self.lines])


def add_pages(
    builder: DocumentBuilder, pages: Sequence[Page], outline: Sequence[OutlineEntry] = ()
) -> None:
    """Add everything on ``pages`` to the document."""
    _forget_typewriter(pages)
    _drop_running_heads(pages)
    _name_continued_rows(pages)
    body = _body_size(pages)
    paragraphs: list[_Paragraph] = []
    for page in pages:
        for column in _page_columns(page, body):
            _join_over_break(paragraphs, column, body)
            paragraphs.extend(column)
    _find_headings(paragraphs, body, outline)
    whole_words = _hyphenated_words(pages)
    for paragraph in paragraphs:
        _emit(builder, paragraph, whole_words)


def _name_continued_rows(pages: Sequence[Page]) -> None:
    """Give the columns of a table their names on the next page, too."""
    for before, page in itertools.pairwise(pages):
        if not before.tables or not page.tables:
            continue
        last = max(before.tables, key=lambda table: table.bottom)
        first = min(page.tables, key=lambda table: table.top)
        is_last = all(line.middle < last.bottom for line in before.lines)
        if is_last and all(line.middle > first.top for line in page.lines):
            place = page.tables.index(first)
            page.tables[place] = continued(last, first)


def _forget_typewriter(pages: Sequence[Page]) -> None:
    """Where most is set in letters of one width, they do not tell code from text."""
    lines = [line for page in pages for line in page.lines]
    code = sum(len(line.text) for line in lines if line.is_code)
    if code > 0.5 * sum(len(line.text) for line in lines):
        for line in lines:
            line.is_code = False


def _emit(builder: DocumentBuilder, paragraph: _Paragraph, whole_words: set[str]) -> None:
    for row in paragraph.rows:
        builder.add(BlockKind.TABLE_ROW, row, page=paragraph.page)
    if paragraph.kind is BlockKind.CODE:
        builder.add(BlockKind.CODE, _code(paragraph.lines), page=paragraph.page)
    elif paragraph.lines:
        text = join_lines([line.text for line in paragraph.lines], whole_words)
        if paragraph.kind is BlockKind.LIST_ITEM:
            text = without_bullet(text)
        builder.add(paragraph.kind, text, level=paragraph.level, page=paragraph.page)


def _code(lines: Sequence[Line]) -> str:
    """Keep the lines, and their indentation in units of a letter's width."""
    left = min(line.x0 for line in lines)
    widest = max(lines, key=lambda line: len(line.text))
    letter = max((widest.x1 - widest.x0) / max(len(widest.text), 1), 0.1)
    return "\n".join(" " * min(round((line.x0 - left) / letter), 80) + line.text for line in lines)


def _hyphenated_words(pages: Sequence[Page]) -> set[str]:
    """Words that stand with a hyphen inside a line: at a line's end theirs is no division."""
    return {
        word.lower()
        for page in pages
        for line in page.lines
        if "-" in line.text
        for word in _HYPHENATED.findall(line.text)
    }


# -- margins ----------------------------------------------------------------------------------


def _drop_running_heads(pages: Sequence[Page]) -> None:
    """Take out what stands at the same place of many pages, and page numbers.

    Only lines between the page's edge and its own text count: from the edge inwards, up to the
    first line that neither repeats nor is a page number.
    """
    places: Counter[tuple[str, int, str]] = Counter()
    for page in pages:
        rows = [row for edge in _margins(page) for row in edge]
        places.update({_place(page, line) for row in rows for line in row})
    least = len(pages) if len(pages) <= 3 else 3
    for page in pages:
        dropped: set[int] = set()
        every = visual_rows(page.lines)
        for edge, inwards in zip(_margins(page), (every, every[::-1]), strict=True):
            repeated: list[Line] = []
            for place, row in enumerate(edge):
                # Four pieces side by side are the head of a table that goes on.
                repeats = len(pages) > 1 and len(row) < 4
                repeats = repeats and all(places[_place(page, i)] >= least for i in row)
                if all(_is_page_number(i, len(pages), place) for i in row):
                    dropped.update(id(line) for line in row)
                elif repeats:
                    repeated.extend(row)
                else:
                    break
            if repeated and _stands_off(repeated, inwards):
                dropped.update(id(line) for line in repeated)
        if len(dropped) < len(page.lines):
            page.lines = [line for line in page.lines if id(line) not in dropped]


def _stands_off(head: Sequence[Line], inwards: Sequence[Sequence[Line]]) -> bool:
    """A running head keeps its distance; a text that merely repeats goes on right after it."""
    known = {id(line) for line in head}
    following = next((row for row in inwards if not known & {id(i) for i in row}), None)
    if following is None:
        return True
    above, below = sorted((list(head), list(following)), key=lambda lines: lines[0].top)
    gap = min(line.top for line in below) - max(line.bottom for line in above)
    return gap > 0.6 * head[0].size


def _margins(page: Page) -> tuple[list[list[Line]], list[list[Line]]]:
    """Rows of lines near the top and near the bottom, each from the edge inwards."""
    top = [line for line in page.lines if line.bottom < _MARGIN * page.height]
    bottom = [line for line in page.lines if line.top > (1 - _MARGIN) * page.height]
    return visual_rows(top), visual_rows(bottom)[::-1]


def _is_page_number(line: Line, pages: int, place: int) -> bool:
    if _PAGE_NUMBER.match(line.text):
        return True
    return place == 0 and pages > 1 and _BARE_NUMBER.match(line.text) is not None


def _place(page: Page, line: Line) -> tuple[str, int, str]:
    edge = "top" if line.middle < page.height / 2 else "bottom"
    return edge, round(line.middle / page.height * 100), _DIGITS.sub("#", line.text)


# -- order ------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Item:
    """A line or a table, as a box to be ordered."""

    x0: float
    top: float
    x1: float
    bottom: float
    size: float
    line: Line | None
    table: Table | None


def _ordered(page: Page) -> list[list[_Item]]:
    """Return the page's columns in reading order, each from top to bottom."""
    items = [_Item(one.x0, one.top, one.x1, one.bottom, one.size, one, None) for one in page.lines]
    size = median_size(page.lines)
    items += [_Item(t.x0, t.top, t.x1, t.bottom, size, None, t) for t in page.tables]
    out: list[list[_Item]] = []
    _cut(items, page.width, size, out, 0)
    return out


def _cut(items: list[_Item], width: float, size: float, out: list[list[_Item]], depth: int) -> None:
    if not items:
        return
    bands = _bands(items, width, size) if depth < 12 else [(items, None)]
    for band, gutter in bands:
        if gutter is None:
            if out and len(bands) > 1 and depth == 0 and _is_same_column(out[-1], band):
                out[-1].extend(sorted(band, key=lambda i: (i.top, i.x0)))
            else:
                out.append(sorted(band, key=lambda i: (i.top, i.x0)))
        else:
            for side in (
                [i for i in band if (i.x0 + i.x1) / 2 < gutter],
                [i for i in band if (i.x0 + i.x1) / 2 >= gutter],
            ):
                _cut(side, width, size, out, depth + 1)


def _is_same_column(column: Sequence[_Item], band: Sequence[_Item]) -> bool:
    """Bands of one column that follow one another are read, and measured, together."""
    return max(i.bottom for i in column) <= min(i.top for i in band) + 2 * band[0].size


def _bands(items: list[_Item], width: float, size: float) -> list[tuple[list[_Item], float | None]]:
    """Cut across at every gap, then join neighbours that share a gutter, or have none."""
    strips: list[list[_Item]] = []
    bottom = float("-inf")
    for item in sorted(items, key=lambda i: i.top):
        if not strips or item.top > bottom + 0.05 * size:
            strips.append([])
        strips[-1].append(item)
        bottom = max(bottom, item.bottom)
    bands: list[tuple[list[_Item], float | None]] = []
    start = 0
    while start < len(strips):
        band: list[_Item] = []
        best: tuple[int, float] | None = None
        for end in range(start, len(strips)):
            band = band + strips[end]
            gaps = _gaps(band, size)
            if not gaps and len(band) > 1:
                break
            gutter = _gutter(band, gaps, width, size)
            if gutter is not None:
                best = (end + 1, gutter)
        if best is None:
            best_end = start + 1
            if bands and bands[-1][1] is None:
                bands[-1][0].extend(strips[start])
            else:
                bands.append((list(strips[start]), None))
            start = best_end
        else:
            bands.append(([i for strip in strips[start : best[0]] for i in strip], best[1]))
            start = best[0]
    return bands


def _gaps(items: Sequence[_Item], size: float) -> list[tuple[float, float]]:
    """Ranges of x that no item touches."""
    gaps: list[tuple[float, float]] = []
    reach = float("inf")
    for item in sorted(items, key=lambda i: i.x0):
        if item.x0 - reach > size:
            gaps.append((reach, item.x0))
        reach = item.x1 if reach == float("inf") else max(reach, item.x1)
    return gaps


def _gutter(
    items: Sequence[_Item], gaps: Sequence[tuple[float, float]], width: float, size: float
) -> float | None:
    """The middle of the widest gap that has columns of text on both sides."""
    for start, end in sorted(gaps, key=lambda gap: gap[0] - gap[1]):
        left = [i for i in items if i.x1 <= start + 0.1]
        right = [i for i in items if i.x0 >= end - 0.1]
        if min(len(left), len(right)) < 3:
            continue
        if min(_extent(left), _extent(right)) < max(0.12 * width, 6 * size):
            continue
        highest = max(min(i.top for i in side) for side in (left, right))
        lowest = min(max(i.top for i in side) for side in (left, right))
        if lowest <= highest or _reads_across(left, right):
            continue
        return (start + end) / 2
    return None


def _extent(items: Sequence[_Item]) -> float:
    return max(i.x1 for i in items) - min(i.x0 for i in items)


def _reads_across(left: Sequence[_Item], right: Sequence[_Item]) -> bool:
    """Tell whether rows go on over the gap: labels and values, or columns of a table.

    Columns of a page hold lines of text. Where most of them stand beside one another, only their
    length tells them from cells; where they do not, they must fill their column.
    """
    if any(i.table is not None for i in (*left, *right)):
        return False
    few, many = sorted((left, right), key=len)
    middles = [(i.top + i.bottom) / 2 for i in many]
    beside = sum(
        any(abs((i.top + i.bottom) / 2 - middle) < 0.3 * i.size for middle in middles) for i in few
    )
    if beside >= 0.5 * len(few):
        return not (_is_prose(left) and _is_prose(right))
    return not (_is_filled(left) and _is_filled(right))


def _is_prose(side: Sequence[_Item]) -> bool:
    texts = [i.line.text for i in side if i.line is not None]
    return bool(texts) and median(map(len, texts)) >= (12 if HAN.search("".join(texts)) else 25)


def _is_filled(side: Sequence[_Item]) -> bool:
    extent = _extent(side)
    return sum(i.x1 - i.x0 > 0.5 * extent for i in side) >= 0.5 * len(side)


# -- paragraphs -------------------------------------------------------------------------------


def _page_columns(page: Page, body: float) -> Iterator[list[_Paragraph]]:
    """Paragraphs and tables of each column of the page, in reading order."""
    columns = _ordered(page)
    for column in columns:
        lines = [item.line for item in column if item.line is not None]
        measures = _Measures(lines, page, body, is_alone=len(columns) == 1) if lines else None
        paragraphs: list[_Paragraph] = []
        run: list[Line] = []
        for item in _with_aligned_tables(column, lines):
            if item.line is not None:
                run.append(item.line)
                continue
            paragraphs.extend(_run_paragraphs(run, page, measures))
            run = []
            if item.table is not None:
                rows = item.table.rows
                paragraphs.append(_Paragraph(page.number, [], rows=rows, by_ocr=page.by_ocr))
        paragraphs.extend(_run_paragraphs(run, page, measures))
        yield paragraphs


def _with_aligned_tables(column: Sequence[_Item], lines: Sequence[Line]) -> Sequence[_Item]:
    tables, rest = aligned_tables(lines)
    if not tables:
        return column
    left = {id(line) for line in rest}
    items = [i for i in column if i.line is None or id(i.line) in left]
    items += [_Item(t.x0, t.top, t.x1, t.bottom, 0.0, None, t) for t in tables]
    return sorted(items, key=lambda i: (i.top, i.x0))


def _run_paragraphs(
    pieces: Sequence[Line], page: Page, measures: _Measures | None
) -> Iterator[_Paragraph]:
    rows = visual_rows(pieces)
    if not rows or measures is None:
        return
    above: Line | None = None
    current: _Paragraph | None = None
    for place, row in enumerate(rows):
        if _is_row(rows, place):
            if current is not None:
                yield _closed(current, measures)
            text = " | ".join(line.text for line in row)
            yield _Paragraph(page.number, [], rows=(text,), by_ocr=page.by_ocr)
            above = current = None
            continue
        line = _one_line(row)
        if above is None or current is None:
            current = _Paragraph(page.number, [line], by_ocr=page.by_ocr, gap=99.0)
            current.is_indented = measures.is_indented(line)
        elif measures.begins_paragraph(current.lines, above, line):
            yield _closed(current, measures)
            gap = (line.top - above.bottom) / max(line.size, 1)
            current = _Paragraph(page.number, [line], by_ocr=page.by_ocr, gap=gap)
            current.is_indented = measures.is_indented(line)
        else:
            current.lines.append(line)
        above = line
    if current is not None:
        yield _closed(current, measures)


def _is_row(rows: Sequence[Sequence[Line]], place: int) -> bool:
    """Pieces side by side that are no part of a sentence: labels, values, a small table."""
    row = rows[place]
    if len(row) < 2 or (len(row) == 2 and _NUMBER_ALONE.match(row[0].text)):
        return False
    neighbours = [*rows[max(place - 1, 0) : place], *rows[place + 1 : place + 2]]
    return any(len(near) == len(row) for near in neighbours) or all(
        len(line.text) <= 40 for line in row
    )


def _closed(paragraph: _Paragraph, measures: _Measures) -> _Paragraph:
    last = paragraph.lines[-1]
    paragraph.is_cut = not last.text.endswith(_TERMINAL) and not measures.is_short(last, None)
    text = paragraph.lines[0].text
    if all(line.is_code for line in paragraph.lines):
        paragraph.kind = BlockKind.CODE
    elif _CAPTION.match(text) and sum(len(line.text) for line in paragraph.lines) < 300:
        paragraph.kind = BlockKind.CAPTION
    elif is_list_marker(text):
        paragraph.kind = BlockKind.LIST_ITEM
    return paragraph


def _one_line(row: Sequence[Line]) -> Line:
    if len(row) == 1:
        return row[0]
    widest = max(row, key=lambda line: line.x1 - line.x0)
    return Line(
        " ".join(line.text for line in row),
        row[0].x0,
        min(line.top for line in row),
        row[-1].x1,
        max(line.bottom for line in row),
        widest.size,
        all(line.bold for line in row),
        all(line.is_code for line in row),
    )


class _Measures:
    """What is usual in a column: its edges and the distance of its lines."""

    def __init__(self, lines: Sequence[Line], page: Page, body: float, *, is_alone: bool) -> None:
        starts = sorted(line.x0 for line in lines)
        ends = sorted(line.x1 for line in lines)
        self._left = starts[len(starts) // 10]
        self._right = ends[math.ceil(0.95 * (len(ends) - 1))]
        self._is_edge_known = not (
            is_alone and (len(lines) < _FEW_LINES or self._right < 0.65 * page.width)
        )
        if not self._is_edge_known:
            # Too few or too short to show the edge: margins are usually alike.
            self._right = max(self._right, page.width - self._left)
        self._by_ocr = by_ocr = page.by_ocr
        self._body = body
        pitches: dict[float, list[float]] = {}
        firsts = [row[0] for row in visual_rows(lines)]
        for above, below in itertools.pairwise(firsts):
            distance = below.middle - above.middle
            alike = abs(below.size - above.size) < 0.15 * above.size
            if alike and 0 < distance < 2.2 * above.size:
                pitches.setdefault(_rounded(above.size, by_ocr), []).append(distance)
        self._pitches = {size: _usual_pitch(found) for size, found in pitches.items()}
        every = [distance for found in pitches.values() for distance in found]
        self._pitch = _usual_pitch(every) if every else None

    def is_indented(self, line: Line) -> bool:
        return line.x0 - self._left > 0.8 * line.size

    def is_short(self, line: Line, following: Line | None) -> bool:
        """The first word of the next line would still have fitted."""
        if following is None:
            room = (2.2 if HAN.match(line.text[-1]) else 6) * line.size
        elif HAN.match(following.text):
            room = 2.2 * line.size
        else:
            word = following.text.split(" ", 1)[0]
            share = (following.x1 - following.x0) / max(len(following.text), 1)
            room = (min(len(word), 30) + 1) * share + 0.3 * line.size
        return line.x1 + room < self._right

    def begins_paragraph(self, lines: Sequence[Line], above: Line, line: Line) -> bool:
        if line.is_code or above.is_code:
            return not (line.is_code and above.is_code) or line.top - above.bottom > 2 * line.size
        if above.text.endswith(("-", "\u2010")) and line.text[0].islower():
            return False
        tolerance = 0.4 if self._by_ocr else 0.12
        if abs(line.size - above.size) > tolerance * max(line.size, above.size):
            return True
        distance = line.middle - above.middle
        pitch = self._pitches.get(_rounded(above.size, self._by_ocr))
        if self._by_ocr or pitch is None:
            pitch = self._pitch
        limit = 1.3 * pitch + 0.05 * line.size if pitch else 1.9 * line.size
        if distance > (limit * 1.1 if self._by_ocr else limit):
            return True
        if is_list_marker(line.text):
            return True
        is_short = self.is_short(above, line)
        if line.bold != above.bold and (is_short or len(lines) == 1 or line.bold):
            return not (not is_short and line.text[0].islower())
        if line.size > 1.2 * self._body:
            # Titles are broken where they read well, not where the line is full.
            return False
        scheme = numbering_scheme(line.text)
        if scheme in STRONG and (is_short or above.text.endswith(_TERMINAL)):
            return True
        first = lines[0]
        if is_list_marker(first.text):
            if line.x0 < first.x0 - 0.5 * line.size:
                return True
            return is_short and line.x0 <= first.x0 + 0.5 * line.size
        if line.x0 - above.x0 > 0.8 * line.size and self.is_indented(line):
            # After one full line it is a hanging indent.
            return len(lines) > 1 or is_short or above.text.endswith(_TERMINAL)
        if is_short and HAN.match(line.text):
            # Chinese has no small letters to tell by: only a known edge does.
            return self._is_edge_known or above.text.endswith(_TERMINAL)
        return is_short and (above.text.endswith(_TERMINAL) or not line.text[0].islower())


def _usual_pitch(distances: Sequence[float]) -> float:
    """Lines of a paragraph lie closer than paragraphs do, so the lower part is asked."""
    return median(sorted(distances)[: max(len(distances) * 2 // 3, 1)])


def _join_over_break(before: Sequence[_Paragraph], after: list[_Paragraph], body: float) -> None:
    """Join a paragraph that the end of a page or column cuts, past footnotes in smaller type."""
    if not before or not after:
        return
    last = next((p for p in reversed(before[-6:]) if p.rows or p.size > 0.92 * body), None)
    first = after[0]
    if last is None or last.rows or first.rows:
        return
    if (
        last.is_cut
        and last.kind in (BlockKind.PARAGRAPH, BlockKind.LIST_ITEM)
        and first.kind is BlockKind.PARAGRAPH
        and abs(last.size - first.size) < 0.08 * body
        and abs(first.size - body) < 0.15 * body
        and last.bold == first.bold
        and not first.is_indented
        and (first.text[:1].islower() or HAN.match(first.text) is not None)
        and numbering_scheme(first.text) is None
    ):
        last.lines.extend(first.lines)
        last.is_cut = first.is_cut
        del after[0]


# -- headings ---------------------------------------------------------------------------------


def _body_size(pages: Sequence[Page]) -> float:
    """The type size that most characters are set in."""
    chars: Counter[float] = Counter()
    for page in pages:
        for line in page.lines:
            chars[_rounded(line.size, page.by_ocr)] += len(line.text)
    return chars.most_common(1)[0][0] if chars else 10.0


def _rounded(size: float, by_ocr: bool) -> float:
    """Group sizes: to half points, or by steps of a fifth for OCR, whose heights are rough."""
    if by_ocr:
        return round(1.2 ** round(math.log(max(size, 1.0), 1.2)), 1)
    return round(size * 2) / 2


def _find_headings(
    paragraphs: Sequence[_Paragraph], body: float, outline: Sequence[OutlineEntry]
) -> None:
    bold_chars = sum(len(p.text) for p in paragraphs if p.lines and p.bold)
    all_chars = sum(len(p.text) for p in paragraphs if p.lines)
    bold_tells = bold_chars < 0.4 * all_chars
    by_outline = _match_outline(paragraphs, outline)
    chosen = [
        p
        for place, p in enumerate(paragraphs)
        if id(p) in by_outline or _looks_like_heading(paragraphs, place, body, bold_tells)
    ]
    levels = _style_levels(chosen, body)
    title = _title(paragraphs, chosen, levels, body)
    deepest = max(by_outline.values(), default=0)
    by_style = {_style(p, body): by_outline[id(p)] for p in chosen if id(p) in by_outline}
    for p in chosen:
        p.kind = BlockKind.HEADING
        if id(p) in by_outline:
            p.level = by_outline[id(p)]
        elif deepest and p is paragraphs[0]:
            p.level = 1  # Bookmarks seldom name the title.
        elif deepest:
            p.level = by_style.get(_style(p, body), min(deepest + 1, 6))
        elif title is not None:
            p.level = 1 if p is title else min(levels[_style(p, body)] + 1, 6)
        else:
            p.level = levels[_style(p, body)]


def _title(
    paragraphs: Sequence[_Paragraph],
    chosen: Sequence[_Paragraph],
    levels: Mapping[tuple[float, bool, int], int],
    body: float,
) -> _Paragraph | None:
    """A heading at the very top in a type of its own is the title, even if it is no larger."""
    if len(chosen) < 3 or chosen[0] is not paragraphs[0]:
        return None
    style = _style(chosen[0], body)
    is_alone = all(_style(p, body) != style for p in chosen[1:])
    return chosen[0] if is_alone and levels[style] > 1 else None


def _match_outline(
    paragraphs: Sequence[_Paragraph], outline: Sequence[OutlineEntry]
) -> dict[int, int]:
    """Bookmarks name headings: find the paragraph on the page that each points to."""
    wanted: dict[str, list[OutlineEntry]] = {}
    for entry in outline:
        wanted.setdefault(_squeezed(entry.title), []).append(entry)
    found: dict[int, int] = {}
    if not wanted:
        return found
    for p in paragraphs:
        if not p.lines or len(p.lines) > 4:
            continue
        text = _squeezed(p.text)
        entries = wanted.get(text) or wanted.get(re.sub(r"^[\d.]+", "", text))
        for entry in entries or ():
            if entry.page is None or p.page is None or entry.page == p.page:
                found[id(p)] = min(entry.level, 6)
                break
    return found


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text).lower()


def _looks_like_heading(
    paragraphs: Sequence[_Paragraph], place: int, body: float, bold_tells: bool
) -> bool:
    p = paragraphs[place]
    if not p.lines or len(p.lines) > 3 or p.kind in (BlockKind.CAPTION, BlockKind.CODE):
        return False
    text = p.text
    if not reads_as_title(text):
        return False
    scheme = numbering_scheme(text)
    if p.kind is BlockKind.LIST_ITEM and scheme is None:
        return False
    if p.size >= (1.35 if p.by_ocr else 1.13) * body:
        return True
    if p.bold and bold_tells and p.size > 0.95 * body and len(p.lines) <= 2 and len(text) > 3:
        return True
    if scheme in STRONG:
        return len(p.lines) == 1
    if _CAPITALS.fullmatch(text) and len(p.lines) == 1 and p.size > 0.95 * body:
        return p.gap > 0.4 and p.kind is BlockKind.PARAGRAPH
    if scheme in ("han", "number_2", "number_3") and len(p.lines) == 1 and len(text) <= 60:
        # In a list the neighbours are numbered the same way.
        near = [*paragraphs[max(place - 1, 0) : place], *paragraphs[place + 1 : place + 2]]
        return p.gap > 0.4 and all(numbering_scheme(n.text) != scheme for n in near if n.lines)
    return False


def _style(p: _Paragraph, body: float) -> tuple[float, bool, int]:
    scheme = numbering_scheme(p.text)
    size = _rounded(p.size, p.by_ocr) if p.size > 1.05 * body else _rounded(body, p.by_ocr)
    return size, p.bold, RANK[scheme] if scheme else -1


def _style_levels(chosen: Sequence[_Paragraph], body: float) -> dict[tuple[float, bool, int], int]:
    """Larger before smaller, bold before regular, outer numbers before inner ones."""
    styles = {_style(p, body) for p in chosen}
    outermost: dict[tuple[float, bool], int] = {}
    for size, bold, rank in styles:
        if rank >= 0:
            known = outermost.get((size, bold))
            outermost[(size, bold)] = rank if known is None else min(known, rank)

    def order(style: tuple[float, bool, int]) -> tuple[float, bool, int]:
        size, bold, rank = style
        # Without a number a heading ranks with the outermost of its type.
        return -size, not bold, outermost.get((size, bold), 0) if rank < 0 else rank

    ranks = sorted({order(style) for style in styles})
    return {style: min(ranks.index(order(style)) + 1, 6) for style in styles}
