"""PPTX: a section per slide, with its tables, chart figures, diagrams and speaker notes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any, Final

import pptx
from lxml import etree
from pptx.enum.shapes import PP_PLACEHOLDER
from pptx.exc import PythonPptxError
from pptx.oxml.ns import qn
from pptx.shapes.group import GroupShape

from atrium_documents.builder import DocumentBuilder
from atrium_documents.cleaning import one_line
from atrium_documents.containers import check_office_archive
from atrium_documents.errors import DocumentBroken
from atrium_documents.formats.image_file import read_pictures
from atrium_documents.headings import is_list_marker, without_bullet
from atrium_documents.list_numbers import format_list_number
from atrium_documents.model import BlockKind
from atrium_documents.number_format import format_value
from atrium_documents.reading import Reading
from atrium_documents.tables import Cell, guess_header_rows, row_text, table_lines

_ENGINE: Final = f"python-pptx {version('python-pptx')}"
_FURNITURE: Final = frozenset(
    {
        PP_PLACEHOLDER.SLIDE_NUMBER,
        PP_PLACEHOLDER.DATE,
        PP_PLACEHOLDER.FOOTER,
        PP_PLACEHOLDER.HEADER,
    }
)
_TITLES: Final = frozenset(
    {PP_PLACEHOLDER.TITLE, PP_PLACEHOLDER.CENTER_TITLE, PP_PLACEHOLDER.VERTICAL_TITLE}
)
_BODIES: Final = frozenset(
    {PP_PLACEHOLDER.BODY, PP_PLACEHOLDER.OBJECT, PP_PLACEHOLDER.VERTICAL_BODY}
)
_ROW_HEIGHT: Final = 300_000
"""EMU (a third of an inch): shapes whose tops differ by less stand side by side."""
_DIAGRAM_URI: Final = "http://schemas.openxmlformats.org/drawingml/2006/diagram"
_DIAGRAM: Final = f"{{{_DIAGRAM_URI}}}"
_AUTO_NUMBERS: Final = {
    "arabic": "decimal",
    "alphaLc": "lowerLetter",
    "alphaUc": "upperLetter",
    "romanLc": "lowerRoman",
    "romanUc": "upperRoman",
    "ea1Chs": "chineseCounting",
    "ea1Cht": "chineseCounting",
    "circleNumDb": "decimalEnclosedCircle",
    "circleNumWd": "decimalEnclosedCircle",
}
_MOST_NESTED_GROUPS: Final = 20
_MOST_CHART_POINTS: Final = 2000


def read(reading: Reading) -> None:
    """Read a presentation. Hidden slides are left out, and named in a warning."""
    builder = reading.builder
    builder.used(_ENGINE)
    archive = check_office_archive(reading.data, builder.limits)
    try:
        presentation = pptx.Presentation(io.BytesIO(archive.data))
        builder.title = presentation.core_properties.title or None
        builder.count_pages(len(presentation.slides))
        hidden: list[str] = []
        for number, slide in enumerate(presentation.slides, 1):
            if slide.element.get("show") in ("0", "false"):
                hidden.append(str(number))
                continue
            _add_slide(builder, slide, number)
        if hidden:
            builder.warn(f"Hidden slides were left out: {', '.join(hidden[:50])}.")
    except (
        PythonPptxError, KeyError, ValueError, AttributeError, TypeError, IndexError,
        zipfile.BadZipFile, etree.LxmlError,
    ) as error:  # fmt: skip
        raise DocumentBroken(
            f"The presentation cannot be read ({type(error).__name__}: {error}). Open it in a "
            "presentation program, save it anew as PPTX, and send that."
        ) from error
    if builder.title in ("PowerPoint Presentation", "PowerPoint 演示文稿"):
        builder.title = None
    if not builder.pieces:
        read_pictures(reading, archive.data, "ppt/media/")


def _add_slide(builder: DocumentBuilder, slide: Any, page: int) -> None:
    shapes = [shape for shape in _leaves(slide.shapes) if not _is_furniture(shape)]
    if len(shapes) > 2:
        # A title and one more need no order, and places are slow to ask for: layouts hold them.
        shapes.sort(key=_reading_order)
    title = next((shape for shape in shapes if _placeholder(shape) in _TITLES), None)
    if title is not None:
        builder.add(BlockKind.HEADING, title.text_frame.text.replace("\v", " "), level=1, page=page)
    for shape in shapes:
        if shape is title:
            continue
        if getattr(shape, "has_table", False):
            _add_table(builder, shape.table, page)
        elif getattr(shape, "has_chart", False):
            _add_chart(builder, shape.chart, page)
        elif shape.has_text_frame:
            _add_text(builder, shape, page)
        else:
            _add_diagram(builder, shape, page)
    if slide.has_notes_slide:
        notes = slide.notes_slide.notes_text_frame
        for paragraph in notes.paragraphs if notes is not None else ():
            builder.add(BlockKind.PARAGRAPH, paragraph.text.replace("\v", "\n"), page=page)


def _leaves(shapes: Any, depth: int = 0) -> Iterator[Any]:
    for shape in shapes:
        if isinstance(shape, GroupShape):
            if depth < _MOST_NESTED_GROUPS:
                yield from _leaves(shape.shapes, depth + 1)
        else:
            yield shape


def _placeholder(shape: Any) -> Any:
    return shape.placeholder_format.type if shape.is_placeholder else None


def _is_furniture(shape: Any) -> bool:
    return _placeholder(shape) in _FURNITURE


def _reading_order(shape: Any) -> tuple[int, int]:
    return (shape.top or 0) // _ROW_HEIGHT, shape.left or 0


def _add_text(builder: DocumentBuilder, shape: Any, page: int) -> None:
    is_body = _placeholder(shape) in _BODIES
    counters: dict[int, int] = {}
    for paragraph in shape.text_frame.paragraphs:
        text = paragraph.text.replace("\v", "\n").strip()
        if not text:
            continue
        number, is_item = _bullet(paragraph, counters, is_body=is_body)
        if number or is_item or is_list_marker(text):
            builder.add(BlockKind.LIST_ITEM, number + without_bullet(text), page=page)
        else:
            builder.add(BlockKind.PARAGRAPH, text, page=page)


def _bullet(paragraph: Any, counters: dict[int, int], *, is_body: bool) -> tuple[str, bool]:
    """The automatic number of a paragraph, and whether it is an item of a list."""
    level = paragraph.level
    for deeper in [n for n in counters if n > level]:
        del counters[deeper]
    properties = paragraph._p.find(qn("a:pPr"))
    if properties is not None:
        if properties.find(qn("a:buNone")) is not None:
            return "", False
        auto = properties.find(qn("a:buAutoNum"))
        if auto is not None:
            start = auto.get("startAt", "1")
            first = int(start) if start.isdigit() else 1
            counters[level] = counters.get(level, first - 1) + 1
            return _auto_number(auto.get("type", ""), counters[level]), True
        counters.pop(level, None)
        if properties.find(qn("a:buChar")) is not None:
            return "", True
    return "", is_body or level > 0


def _auto_number(kind: str, number: int) -> str:
    name = next((n for n in _AUTO_NUMBERS if kind.startswith(n)), "arabic")
    text = format_list_number(number, _AUTO_NUMBERS[name])
    if kind.endswith("ParenBoth"):
        return f"({text}) "
    if kind.endswith("ParenR"):
        return f"{text}) "
    return f"{text} " if kind.endswith("Plain") or "circle" in kind else f"{text}. "


def _add_table(builder: DocumentBuilder, table: Any, page: int) -> None:
    grid: list[list[Cell]] = []
    for row in table.rows:
        cells: list[Cell] = []
        for place, cell in enumerate(row.cells):
            if not cell.is_spanned:
                cells.append(cell.text.replace("\v", " "))
            elif cell._tc.vMerge and grid and place < len(grid[-1]):
                cells.append(grid[-1][place])
            else:
                cells.append(None)
        grid.append(cells)
    has_header = table.first_row and len(grid) > 1
    header = 1 if has_header and len(grid[0]) > 1 else guess_header_rows(grid)
    for line in table_lines(grid, header):
        builder.add(BlockKind.TABLE_ROW, line, page=page)


def _add_chart(builder: DocumentBuilder, chart: Any, page: int) -> None:
    """The figures behind a chart of any type, a row per category."""
    if chart.has_title and chart.chart_title.has_text_frame:
        builder.add(BlockKind.CAPTION, chart.chart_title.text_frame.text, page=page)
    names = [""]
    columns: list[dict[int, str]] = []
    categories: dict[int, str] = {}
    for series in chart._chartSpace.iter(qn("c:ser")):
        name = series.find(f"{qn('c:tx')}//{qn('c:v')}")
        names.append(name.text or "" if name is not None else "")
        categories = categories or _points(series, qn("c:cat")) or _points(series, qn("c:xVal"))
        columns.append(_points(series, qn("c:val")) or _points(series, qn("c:yVal")))
    places = sorted({place for column in (categories, *columns) for place in column})
    for place in places[:_MOST_CHART_POINTS]:
        cells = [categories.get(place, ""), *(column.get(place, "") for column in columns)]
        builder.add(BlockKind.TABLE_ROW, row_text(cells, names), page=page)


def _points(series: Any, tag: str) -> dict[int, str]:
    """Cached values of a series by their place, as their number format shows them."""
    values = series.find(tag)
    if values is None:
        return {}
    pattern = values.find(f".//{qn('c:formatCode')}")
    number_format = (pattern.text if pattern is not None else None) or "General"
    points: dict[int, str] = {}
    for point in values.iter(qn("c:pt")):
        value = point.findtext(qn("c:v")) or ""
        place = point.get("idx", "")
        if place.isdigit() and int(place) not in points:
            points[int(place)] = _shown(value, number_format)
    return points


def _shown(value: str, number_format: str) -> str:
    try:
        return format_value(float(value), number_format)
    except ValueError:
        return value


def _add_diagram(builder: DocumentBuilder, shape: Any, page: int) -> None:
    """The texts of a SmartArt diagram, a list item per point."""
    relation = shape.element.find(f".//{_DIAGRAM}relIds")
    if relation is None:
        return
    part = shape.part.related_part(relation.get(qn("r:dm")))
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    root = etree.fromstring(part.blob, parser)
    for point in root.iter(f"{_DIAGRAM}pt"):
        for paragraph in point.iter(qn("a:p")):
            text = "".join(t.text or "" for t in paragraph.iter(qn("a:t")))
            builder.add(BlockKind.LIST_ITEM, one_line(text), page=page)
