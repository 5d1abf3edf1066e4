"""Reports as Word documents (python-docx)."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

import docx
import docx.table
from docx.document import Document
from docx.enum.style import WD_STYLE_TYPE
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.shared import Emu, Pt, RGBColor
from docx.text.paragraph import Paragraph

from atrium_meeting.domain.report import Block, Fact, Heading, Line, Place, Point, Table
from atrium_meeting.domain.transcript import clock

_LINK = RGBColor(0x1F, 0x5F, 0xBF)
_QUIET = RGBColor(0x70, 0x70, 0x70)
_AUTHOR = "Atrium"
_CHINESE_FONT = "Noto Sans CJK SC"
# ISO 29500-1, 17.4.56: conditional formats of the first row, none of columns.
_HEADED_BY_ROW = "0420"


def write_docx(blocks: Iterable[Block]) -> bytes:
    """Return a report; each sentence links to the line of the transcript that it rests on."""
    document = docx.Document()
    document.core_properties.author = document.core_properties.last_modified_by = _AUTHOR
    document.core_properties.comments = ""
    normal = document.styles["Normal"]
    assert normal.type == WD_STYLE_TYPE.PARAGRAPH
    normal.font.name, normal.font.size = "Calibri", Pt(11)
    # Word takes the font of Chinese from an attribute of its own.
    normal.element.get_or_add_rPr().get_or_add_rFonts().set(qn("w:eastAsia"), _CHINESE_FONT)
    bookmarks = 0
    for block in blocks:
        match block:
            case Heading(level, text):
                document.add_heading(_safe(text), level=level - 1)
                if level == 1:
                    document.core_properties.title = _safe(text)[:255]
            case Fact(label, value):
                fact = document.add_paragraph()
                fact.paragraph_format.space_after = Pt(0)
                fact.add_run(f"{label}: ").bold = True
                fact.add_run(_safe(value))
            case Point(text, places, label):
                point = document.add_paragraph(style="List Bullet")
                if label:
                    point.add_run(label).bold = True
                point.add_run(_safe(text))
                _add_links(point, places)
            case Table(header, rows, places):
                _add_table(document, header, rows, places)
            case Line(place, parts):
                bookmarks += 1
                _add_line(document, place, parts, bookmarks)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def _add_table(
    document: Document,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    places: Sequence[Sequence[Place]],
) -> None:
    table = document.add_table(rows=1, cols=len(header), style="Light Grid Accent 1")
    for cell, text in zip(table.rows[0].cells, header, strict=True):
        cell.text = _safe(text)
    for row, where in zip(rows, places, strict=True):
        cells = table.add_row().cells
        for cell, text in zip(cells, row, strict=False):
            cell.text = _safe(text)
        _add_links(cells[-1].paragraphs[0], where)
    _lay_out(document, table)
    document.add_paragraph()


def _lay_out(document: Document, table: docx.table.Table) -> None:
    """Give the first column, which holds sentences, half of the width; it is no heading."""
    look: Any = table._tbl.tblPr.find(qn("w:tblLook"))
    look.set(qn("w:firstColumn"), "0")
    look.set(qn("w:val"), _HEADED_BY_ROW)
    section = document.sections[0]
    margins = (section.left_margin or 0) + (section.right_margin or 0)
    room = (section.page_width or 0) - margins
    others = len(table.columns) - 1
    for number, column in enumerate(table.columns):
        width = Emu(room // 2 if number == 0 else room // 2 // others)
        column.width = width
        # Word goes by the columns, others by the cells.
        for cell in column.cells:
            cell.width = width


def _add_line(
    document: Document, place: Place, parts: Sequence[tuple[str, bool]], number: int
) -> None:
    line = document.add_paragraph()
    start = OxmlElement("w:bookmarkStart")
    start.set(qn("w:id"), str(number))
    start.set(qn("w:name"), _anchor(place))
    end = OxmlElement("w:bookmarkEnd")
    end.set(qn("w:id"), str(number))
    line._p.append(start)
    line.add_run(_safe(place.speaker)).bold = True
    line._p.append(end)
    when = line.add_run(f"  {clock(place.start_ms)}")
    when.font.color.rgb, when.font.size = _QUIET, Pt(9)
    when.add_break()
    for text, struck in parts:
        run = line.add_run(_safe(text))
        if struck:
            run.font.strike = True
            run.font.color.rgb = _QUIET


def _add_links(paragraph: Paragraph, places: Iterable[Place]) -> None:
    """Append a link to each place, by the bookmark of its line."""
    for place in places:
        paragraph.add_run(" ")
        link: Any = OxmlElement("w:hyperlink")
        link.set(qn("w:anchor"), _anchor(place))
        run = paragraph.add_run(f"[{clock(place.start_ms)}]")
        run.font.color.rgb, run.font.size = _LINK, Pt(9)
        link.append(run._r)  # moves the run into the link
        paragraph._p.append(link)


def _anchor(place: Place) -> str:
    return f"utterance_{place.utterance}"


def _safe(text: str) -> str:
    """Return text without the characters that XML 1.0 cannot hold."""
    return "".join(
        character
        for character in text
        if character in "\t\n\r"
        or "\x20" <= character <= "\ud7ff"
        or "\ue000" <= character <= "\ufffd"
        or character >= "\U00010000"
    )
