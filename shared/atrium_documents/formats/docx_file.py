"""DOCX: paragraphs, headings, lists with their numbers, tables, text boxes and notes.

The text is what stands on the page with all changes accepted: insertions are in, deletions and
hidden text are not. Headers, footers, comments and the generated table of contents are left out.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

import docx
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.opc.exceptions import OpcError
from docx.oxml.parser import parse_xml
from lxml import etree

from atrium_documents.builder import DocumentBuilder, Piece
from atrium_documents.cleaning import flowing, one_line
from atrium_documents.containers import check_office_archive
from atrium_documents.errors import DocumentBroken
from atrium_documents.formats.docx_styles import (
    W_VAL,
    Numbering,
    StyleFacts,
    Styles,
    numbering_properties,
    outline_level,
    qn,
    run_bold,
    run_size,
)
from atrium_documents.formats.image_file import read_pictures
from atrium_documents.headings import STRONG, numbering_scheme, reads_as_title, scheme_levels
from atrium_documents.model import BlockKind
from atrium_documents.reading import Reading
from atrium_documents.tables import Cell, guess_header_rows, row_text, table_lines

_ENGINE: Final = f"python-docx {version('python-docx')}"
_MATH: Final = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_COMPAT: Final = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_ID: Final = qn("w:id")
_MOST_COLUMNS: Final = 500
_SKIPPED: Final = frozenset(
    qn(tag)
    for tag in (
        "w:del", "w:moveFrom", "w:pPr", "w:rPr", "w:instrText", "w:delText", "w:delInstrText",
        "w:rt", "w:sdtPr", "w:annotationRef", "w:softHyphen",
    )
)  # fmt: skip
_CHARACTERS: Final = {
    qn("w:tab"): " ",
    qn("w:ptab"): " ",
    qn("w:cr"): "\n",
    qn("w:noBreakHyphen"): "-",
}
_OFF: Final = ("0", "false", "off")


def read(reading: Reading) -> None:
    """Read a Word document."""
    builder = reading.builder
    builder.used(_ENGINE)
    archive = check_office_archive(reading.data, builder.limits)
    try:
        document = docx.Document(io.BytesIO(archive.data))
        title = document.core_properties.title
        walker = _Walker(document, builder)
        walker.add_blocks(document.element.body)
        walker.finish()
    except (
        OpcError, KeyError, ValueError, AttributeError, TypeError, IndexError, zipfile.BadZipFile,
        etree.LxmlError,
    ) as error:  # fmt: skip
        raise DocumentBroken(
            f"The Word document cannot be read ({type(error).__name__}: {error}). Open it in a "
            "word processor, save it anew as DOCX, and send that."
        ) from error
    builder.title = builder.title or title or None
    if not builder.pieces:
        read_pictures(reading, archive.data, "word/media/")


@dataclass(slots=True)
class _Look:
    """How a body paragraph looks, in case headings must be told by their looks."""

    piece: Piece
    bold: bool
    centred: bool
    size: float


class _Walker:
    def __init__(self, document: Any, builder: DocumentBuilder) -> None:
        self._builder = builder
        part = document.part
        self._styles = Styles(_related(part, RELATIONSHIP_TYPE.STYLES))
        self._numbering = Numbering(_related(part, RELATIONSHIP_TYPE.NUMBERING), self._styles)
        self._notes = {
            "footnote": _notes(_related(part, RELATIONSHIP_TYPE.FOOTNOTES)),
            "endnote": _notes(_related(part, RELATIONSHIP_TYPE.ENDNOTES)),
        }
        self._note_count = 0
        self._pending_notes: list[tuple[int, Any]] = []
        self._endnotes: list[tuple[int, Any]] = []
        self._boxes: list[Any] = []
        self._code: list[str] = []
        self._looks: list[_Look] = []
        self._has_headings = False
        self._table_depth = 0

    # -- blocks ---------------------------------------------------------------------------------

    def add_blocks(self, container: Any) -> None:
        for element in _blocks(container):
            if element.tag == qn("w:p"):
                self._add_paragraph(element)
            else:
                self._flush_code()
                self._add_table(element)

    def finish(self) -> None:
        self._flush_code()
        for number, note in self._endnotes:
            self._add_note(number, note)
        if not self._has_headings:
            _promote_headings(self._looks)

    def _add_paragraph(self, paragraph: Any) -> None:
        properties = paragraph.find(qn("w:pPr"))
        style_id = _style_id(properties)
        facts = self._styles.facts(style_id)
        if facts.role == "toc":
            return
        level = facts.level
        if properties is not None and (own := properties.find(qn("w:outlineLvl"))) is not None:
            level = outline_level(own)
        is_title = facts.role == "title"
        marker = self._marker(properties, facts, style_id)
        text = self._text(paragraph)
        boxes, self._boxes = self._boxes, []
        notes, self._pending_notes = self._pending_notes, []
        if facts.role == "code" and not notes:
            self._code.append(flowing_code(text))
        else:
            self._flush_code()
            cleaned = flowing(text)
            if cleaned:
                self._add_text(paragraph, facts, cleaned, marker, 1 if is_title else level)
                if is_title and self._builder.title is None:
                    self._builder.title = one_line(cleaned)
        for box in boxes:
            self.add_blocks(box)
        for number, note in notes:
            self._add_note(number, note)

    def _add_text(
        self, paragraph: Any, facts: StyleFacts, text: str, marker: str | None, level: int | None
    ) -> None:
        if marker:
            text = marker + text
        if level is not None:
            self._has_headings = True
            self._builder.add(BlockKind.HEADING, text, level=level)
            return
        if facts.role == "caption":
            self._builder.add(BlockKind.CAPTION, text)
            return
        kind = BlockKind.PARAGRAPH if marker is None else BlockKind.LIST_ITEM
        before = len(self._builder.pieces)
        self._builder.add(kind, text)
        if len(self._builder.pieces) > before and self._table_depth == 0:
            piece = self._builder.pieces[-1]
            self._looks.append(_look(piece, paragraph, facts))

    def _flush_code(self) -> None:
        if self._code:
            self._builder.add(BlockKind.CODE, "\n".join(self._code))
            self._code.clear()

    def _add_note(self, number: int, note: Any) -> None:
        text = " ".join(filter(None, (flowing(self._text(p)) for p in note.iter(qn("w:p")))))
        if text:
            self._builder.add(BlockKind.PARAGRAPH, f"[{number}] {text}")

    def _marker(self, properties: Any, facts: StyleFacts, style_id: str | None) -> str | None:
        """The automatic number of a paragraph, "" for a bullet, ``None`` outside lists."""
        own = properties.find(qn("w:numPr")) if properties is not None else None
        direct = numbering_properties(own) if own is not None else None
        inherited = facts.numbering
        if direct is None and inherited is None:
            return None
        num_id = (direct[0] if direct else "") or (inherited[0] if inherited else "")
        level = direct[1] if direct else None
        if level is None and inherited is not None:
            level = inherited[1]
        return self._numbering.number(num_id, level, style_id or self._styles.default_id)

    # -- tables ---------------------------------------------------------------------------------

    def _add_table(self, table: Any) -> None:
        rows = [row for row in _rows(table) if not _is_deleted_row(row)]
        cells = [list(_cells(row)) for row in rows]
        if all(len(row) < 2 for row in cells):
            # A frame around text, not a table.
            self._table_depth += 1
            for row in cells:
                for cell in row:
                    self.add_blocks(cell)
            self._flush_code()
            self._table_depth -= 1
            return
        grid = self._grid(rows, cells)
        boxes, self._boxes = self._boxes, []
        notes, self._pending_notes = self._pending_notes, []
        header = 0
        for row in rows:
            if row.find(f"{qn('w:trPr')}/{qn('w:tblHeader')}") is None:
                break
            header += 1
        if header in (0, len(rows)):
            bold = bool(rows) and _is_bold_row(rows[0])
            header = guess_header_rows(grid, bold_first_row=bold)
        for line in table_lines(grid, header):
            self._builder.add(BlockKind.TABLE_ROW, line)
        for box in boxes:
            self.add_blocks(box)
        for number, note in notes:
            self._add_note(number, note)

    def _grid(self, rows: Sequence[Any], cells: Sequence[Sequence[Any]]) -> list[list[Cell]]:
        grid: list[list[Cell]] = []
        above: list[Cell] = []
        for row, row_cells in zip(rows, cells, strict=True):
            places: list[Cell] = [""] * _count(row.find(f"{qn('w:trPr')}/{qn('w:gridBefore')}"), 0)
            for cell in row_cells:
                properties = cell.find(qn("w:tcPr"))
                width, merge = 1, None
                if properties is not None:
                    width = max(_count(properties.find(qn("w:gridSpan")), 1), 1)
                    merge = properties.find(qn("w:vMerge"))
                if merge is not None and merge.get(W_VAL) != "restart" and len(places) < len(above):
                    text = above[len(places)]
                else:
                    text = self._cell_text(cell)
                places.append(text)
                places.extend([None] * (width - 1))
            above = places[:_MOST_COLUMNS]
            grid.append(above)
        return grid

    def _cell_text(self, cell: Any) -> str:
        parts: list[str] = []
        for element in _blocks(cell):
            if element.tag == qn("w:p"):
                properties = element.find(qn("w:pPr"))
                style_id = _style_id(properties)
                marker = self._marker(properties, self._styles.facts(style_id), style_id) or ""
                text = one_line(self._text(element))
                parts.append(marker + text if text else "")
            else:
                rows = [row for row in _rows(element) if not _is_deleted_row(row)]
                grid = self._grid(rows, [list(_cells(row)) for row in rows])
                parts.extend(row_text(row) for row in grid)
        return " ".join(filter(None, parts))

    # -- text -----------------------------------------------------------------------------------

    def _text(self, element: Any) -> str:
        parts: list[str] = []
        self._collect(element, parts)
        return "".join(parts)

    def _collect(self, element: Any, parts: list[str]) -> None:
        for child in element:
            tag = child.tag
            if tag == qn("w:t"):
                parts.append(child.text or "")
            elif tag in _SKIPPED or not isinstance(tag, str):
                continue
            elif tag in _CHARACTERS:
                parts.append(_CHARACTERS[tag])
            elif tag == qn("w:r"):
                if not _is_hidden(child):
                    self._collect(child, parts)
            elif tag == qn("w:br"):
                parts.append("\n" if child.get(qn("w:type")) in (None, "textWrapping") else " ")
            elif tag == qn("w:sym"):
                parts.append(_symbol(child))
            elif tag in (qn("w:footnoteReference"), qn("w:endnoteReference")):
                parts.append(self._note_mark(child))
            elif tag in (qn("w:drawing"), qn("w:pict"), qn("w:object")):
                self._boxes.extend(_outermost(child, qn("w:txbxContent")))
            elif tag == f"{_COMPAT}AlternateContent":
                # Both branches show the same; the second is for older programs.
                choice = child.find(f"{_COMPAT}Choice")
                branch = choice if choice is not None else child.find(f"{_COMPAT}Fallback")
                if branch is not None:
                    self._collect(branch, parts)
            elif tag == f"{_MATH}oMath":
                before = child.getprevious()
                parts.append("\n" if before is not None and before.tag == tag else "")
                parts.append(_formula(child))
            elif tag == qn("w:sdt"):
                content = child.find(qn("w:sdtContent"))
                if content is not None:
                    self._collect(content, parts)
            else:
                self._collect(child, parts)

    def _note_mark(self, reference: Any) -> str:
        kind = "footnote" if reference.tag == qn("w:footnoteReference") else "endnote"
        note = self._notes[kind].get(reference.get(_ID))
        if note is None:
            return ""
        self._note_count += 1
        target = self._pending_notes if kind == "footnote" else self._endnotes
        target.append((self._note_count, note))
        return f"[{self._note_count}]"


def flowing_code(text: str) -> str:
    """Keep the indentation of a line of code."""
    return text.replace("\u00a0", " ").rstrip()


def _related(part: Any, relationship: str) -> Any | None:
    """The root element of a part that the document refers to, parsed without entities."""
    for rel in part.rels.values():
        if rel.reltype == relationship and not rel.is_external:
            target = rel.target_part
            element = getattr(target, "element", None)
            return element if element is not None else parse_xml(target.blob)
    return None


def _notes(element: Any | None) -> dict[str | None, Any]:
    if element is None:
        return {}
    return {note.get(_ID): note for note in element if note.get(qn("w:type")) in (None, "normal")}


def _blocks(container: Any) -> Iterator[Any]:
    """Paragraphs and tables in order, through content controls, insertions and wrappers."""
    for child in container:
        tag = child.tag
        if tag in (qn("w:p"), qn("w:tbl")):
            yield child
        elif tag == qn("w:sdt"):
            if _is_contents_table(child):
                continue
            content = child.find(qn("w:sdtContent"))
            if content is not None:
                yield from _blocks(content)
        elif tag in (qn("w:customXml"), qn("w:ins"), qn("w:moveTo"), qn("w:smartTag")):
            yield from _blocks(child)
        elif tag == f"{_COMPAT}AlternateContent":
            choice = child.find(f"{_COMPAT}Choice")
            if choice is not None:
                yield from _blocks(choice)


def _is_contents_table(control: Any) -> bool:
    gallery = control.find(f"{qn('w:sdtPr')}/{qn('w:docPartObj')}/{qn('w:docPartGallery')}")
    return gallery is not None and gallery.get(W_VAL) == "Table of Contents"


def _rows(table: Any) -> Iterator[Any]:
    yield from _unwrapped(table, qn("w:tr"))


def _cells(row: Any) -> Iterator[Any]:
    yield from _unwrapped(row, qn("w:tc"))


def _unwrapped(container: Any, wanted: str) -> Iterator[Any]:
    for child in container:
        if child.tag == wanted:
            yield child
        elif child.tag == qn("w:sdt"):
            content = child.find(qn("w:sdtContent"))
            if content is not None:
                yield from _unwrapped(content, wanted)
        elif child.tag in (qn("w:customXml"), qn("w:ins")):
            yield from _unwrapped(child, wanted)


def _outermost(element: Any, wanted: str) -> Iterator[Any]:
    """Text boxes of a drawing; those nested in another are read with it."""
    for child in element:
        if child.tag == wanted:
            yield child
        elif child.tag == f"{_COMPAT}AlternateContent":
            choice = child.find(f"{_COMPAT}Choice")
            branch = choice if choice is not None else child
            yield from _outermost(branch, wanted)
        else:
            yield from _outermost(child, wanted)


def _count(element: Any, default: int) -> int:
    value = element.get(W_VAL, "") if element is not None else ""
    return min(int(value), _MOST_COLUMNS) if value.isdigit() else default


def _style_id(properties: Any) -> str | None:
    style = properties.find(qn("w:pStyle")) if properties is not None else None
    return style.get(W_VAL) if style is not None else None


def _is_deleted_row(row: Any) -> bool:
    return row.find(f"{qn('w:trPr')}/{qn('w:del')}") is not None


def _is_hidden(run: Any) -> bool:
    properties = run.find(qn("w:rPr"))
    vanish = properties.find(qn("w:vanish")) if properties is not None else None
    return vanish is not None and vanish.get(W_VAL, "1") not in _OFF


def _symbol(element: Any) -> str:
    """A character of a symbol font; those in the private area only draw bullets and boxes."""
    try:
        code = int(element.get(qn("w:char"), ""), 16)
    except ValueError:
        return ""
    marks = {0xF0FE: "☑", 0xF0A8: "☐", 0xF06F: "☐", 0xF0FC: "✓", 0xF0FB: "✗", 0xF052: "☑"}
    if code in marks:
        return marks[code]
    return chr(code) if 0x20 <= code < 0xD800 else ""


def _is_bold_row(row: Any) -> bool:
    runs = [run for run in row.iter(qn("w:r")) if run.find(qn("w:t")) is not None]
    return bool(runs) and all(
        (properties := run.find(qn("w:rPr"))) is not None and run_bold(properties) for run in runs
    )


# -- headings by their looks ------------------------------------------------------------------


def _look(piece: Piece, paragraph: Any, facts: StyleFacts) -> _Look:
    runs = [
        run
        for run in paragraph.iter(qn("w:r"))
        if any((t.text or "").strip() for t in run.findall(qn("w:t")))
    ]
    properties = [run.find(qn("w:rPr")) for run in runs]
    bolds = [None if p is None else run_bold(p) for p in properties]
    sizes = [None if p is None else run_size(p) for p in properties]
    alignment = paragraph.find(f"{qn('w:pPr')}/{qn('w:jc')}")
    return _Look(
        piece,
        bold=bool(runs) and all(facts.bold if bold is None else bold for bold in bolds),
        centred=alignment is not None and alignment.get(W_VAL) == "center",
        size=max((size or facts.size or 0.0 for size in sizes), default=0.0),
    )


def _promote_headings(looks: Sequence[_Look]) -> None:
    """Make headings of paragraphs that look like headings, in a document that styles none."""
    usual = _usual_size(looks)
    titles = [look for look in looks if reads_as_title(look.piece.text)]
    first = 1
    for look in titles:
        if look in looks[:3] and (
            (look.centred and look.bold) or (usual and look.size >= 1.3 * usual)
        ):
            _make_heading(look.piece, 1)
            first = 2
            break
    by_number = [(look, numbering_scheme(look.piece.text)) for look in titles]
    chosen = [
        (look, scheme)
        for look, scheme in by_number
        if look.piece.kind is not BlockKind.HEADING
        and scheme is not None
        and (scheme in STRONG or look.bold)
    ]
    levels = scheme_levels([scheme for _, scheme in chosen if scheme], first)
    for look, scheme in chosen:
        _make_heading(look.piece, levels[scheme])
    bold = [
        look
        for look in titles
        if look.piece.kind is BlockKind.PARAGRAPH and (look.bold or look.size >= 1.25 * usual > 0)
    ]
    # Where most is bold, bold says nothing.
    if len(bold) <= 0.4 * len(looks):
        for look in bold:
            _make_heading(look.piece, first)


def _usual_size(looks: Iterable[_Look]) -> float:
    chars: dict[float, int] = {}
    for look in looks:
        chars[look.size] = chars.get(look.size, 0) + len(look.piece.text)
    return max(chars, key=chars.__getitem__, default=0.0)


def _make_heading(piece: Piece, level: int) -> None:
    piece.kind = BlockKind.HEADING
    piece.level = level
    piece.text = one_line(piece.text)


# -- formulas ---------------------------------------------------------------------------------


def _formula(element: Any) -> str:
    """A formula on one line: a/b, x^2, √(x). Enough to find and to quote it."""
    return "".join(_formula_part(child) for child in element)


def _formula_part(element: Any) -> str:
    def part(name: str) -> str:
        child = element.find(f"{_MATH}{name}")
        return _formula(child) if child is not None else ""

    match str(element.tag).removeprefix(_MATH):
        case "t":
            return element.text or ""
        case "f":
            return f"{_group(part('num'))}/{_group(part('den'))}"
        case "sSup":
            return f"{part('e')}^{_group(part('sup'))}"
        case "sSub":
            return f"{part('e')}_{_group(part('sub'))}"
        case "sSubSup":
            return f"{part('e')}_{_group(part('sub'))}^{_group(part('sup'))}"
        case "rad":
            degree = part("deg")
            return f"{degree}√({part('e')})"
        case "nary":
            sign = element.find(f"{_MATH}naryPr/{_MATH}chr")
            symbol = sign.get(f"{_MATH}val", "∫") if sign is not None else "∫"
            lower, upper = part("sub"), part("sup")
            limits = (f"_{_group(lower)}" if lower else "") + (f"^{_group(upper)}" if upper else "")
            return f"{symbol}{limits} {part('e')}"
        case "d":
            inner = ", ".join(_formula(child) for child in element.findall(f"{_MATH}e"))
            return f"{_bracket(element, 'begChr', '(')}{inner}{_bracket(element, 'endChr', ')')}"
        case "limLow":
            return f"{part('e')}_{_group(part('lim'))}"
        case "limUpp":
            return f"{part('e')}^{_group(part('lim'))}"
        case "func":
            return f"{part('fName')} {part('e')}"
        case "m":
            rows = element.findall(f"{_MATH}mr")
            return "; ".join(", ".join(_formula(cell) for cell in row) for row in rows)
        case tag if tag.endswith("Pr"):
            return ""
        case _:
            text = element.text if element.tag == qn("w:t") else ""
            return (text or "") + _formula(element)


def _bracket(element: Any, name: str, default: str) -> str:
    child = element.find(f"{_MATH}dPr/{_MATH}{name}")
    return child.get(f"{_MATH}val", default) if child is not None else default


def _group(text: str) -> str:
    return text if len(text) < 2 or text.isalnum() else f"({text})"
