"""HTML: what a reader of the page reads. No scripts, navigation, forms or hidden parts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

from lxml import etree, html

from atrium_documents.builder import DocumentBuilder
from atrium_documents.cleaning import collapse_markup_space, flowing
from atrium_documents.decoding import decode
from atrium_documents.errors import DocumentBroken
from atrium_documents.model import BlockKind
from atrium_documents.reading import Reading
from atrium_documents.tables import Cell, guess_header_rows, table_lines

_ENGINE: Final = f"lxml {version('lxml')}"
_CHARSET: Final = re.compile(
    rb"<(?:meta[^>]+charset|\?xml[^>]+encoding)\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]+)", re.IGNORECASE
)
_XML_DECLARATION: Final = re.compile(r"^\s*<\?xml[^>]*\?>")

_DROPPED: Final = frozenset(
    "script style noscript template head nav aside form select option button input textarea svg "
    "iframe object embed canvas audio video map area dialog menu annotation annotation-xml "
    "rp rt".split()
)
_DROPPED_ROLES: Final = frozenset(
    "navigation banner contentinfo search complementary menu menubar toolbar dialog "
    "alertdialog".split()
)
# Class and id words that page templates give to what is not the page's own text.
_BOILERPLATE: Final = re.compile(
    r"(?:^|[\s_-])(?:nav|navbar|navigation|navbox|menu|sidebar|breadcrumbs?|cookie|cookies|banner|"
    r"footer|site-?header|masthead|share|social|related|newsletter|subscribe|advert(?:isement)?|"
    r"ads?|pagination|pager|toc|skip-?link|noprint|mw-editsection|mw-jump-link|catlinks|"
    r"printfooter|sr-only|visually-hidden|comments?-form)(?:$|[\s_-])",
    re.IGNORECASE,
)
_HIDDEN_STYLE: Final = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_BLOCKS: Final = frozenset(
    "address article blockquote body caption center dd details div dl dt fieldset figcaption "
    "figure footer h1 h2 h3 h4 h5 h6 header hgroup hr html legend li main ol p pre section "
    "summary table tbody td tfoot th thead tr ul".split()
)
_LEVELS: Final = {f"h{level}": level for level in range(1, 7)}
_MOST_COLUMNS: Final = 1000
_MOST_CELLS: Final = 2_000_000


def read(reading: Reading) -> None:
    """Read an HTML page. The title is its first main heading, or else its ``<title>``."""
    builder = reading.builder
    builder.used(_ENGINE)
    root = _parse(decode_html(reading.data))
    if root is None:
        return
    main = _main_part(root)
    title = root.findtext(".//title")
    before = len(builder.pieces)
    _Walker(builder).walk(main)
    if title and not any(p.kind is BlockKind.HEADING for p in builder.pieces[before:]):
        builder.title = builder.title or collapse_markup_space(title)


def decode_html(data: bytes, default: str | None = None) -> str:
    """Decode a page by the encoding it states, or else by ``default``, or else by its content."""
    declared = _CHARSET.search(data[:4096])
    return decode(data, declared.group(1).decode("ascii") if declared else default)[0]


def add_html(builder: DocumentBuilder, text: str) -> None:
    """Add the blocks of an HTML fragment, such as the body of a mail."""
    root = _parse(text)
    if root is not None:
        _Walker(builder, is_page=False).walk(root)


def _parse(text: str) -> Any:
    """Parse leniently, as browsers do; without network, external entities or size tricks."""
    text = _XML_DECLARATION.sub("", text.replace("\0", ""))
    if not text.strip():
        return None
    parser = html.HTMLParser(encoding="utf-8", no_network=True, remove_pis=True, huge_tree=True)
    try:
        root = html.document_fromstring(text.encode("utf-8", "replace"), parser=parser)
    except etree.ParserError:
        # Only comments or white space: a page without text, which the builder reports.
        return None
    except etree.LxmlError as error:
        raise DocumentBroken(
            f"The HTML cannot be read: {error}. Save the page anew, or as PDF."
        ) from error
    if any("Excessive depth" in entry.message for entry in parser.error_log):
        raise DocumentBroken(
            "The HTML nests elements deeper than 2,048 levels, which no honest page does. "
            "Save the page as PDF or plain text."
        )
    return root


def _main_part(root: Any) -> Any:
    """The element that the page marks as its content, if it holds a good part of the text."""
    body = root.find("body")
    body = root if body is None else body
    for path in (".//main", ".//*[@role='main']", ".//article"):
        found = body.findall(path)
        if len(found) == 1 and _text_size(found[0]) >= 0.3 * _text_size(body):
            return found[0]
    return body


def _text_size(element: Any) -> int:
    return sum(
        len(part.strip())
        for part in element.itertext(tag=etree.Element)
        if part and not part.isspace()
    )


class _Walker:
    """Walks a tree without recursion, so that deep nesting is no attack."""

    def __init__(self, builder: DocumentBuilder, *, is_page: bool = True) -> None:
        self._builder = builder
        self._is_page = is_page
        self._inline: list[str] = []
        self._kinds: list[tuple[BlockKind, int | None]] = [(BlockKind.PARAGRAPH, None)]
        self._lists: list[int | None] = []
        self._prefix = ""
        self._verbatim_until: Any = None

    def walk(self, root: Any) -> None:
        walker = etree.iterwalk(root, events=("start", "end", "comment"))
        skipped: Any = None
        for event, element in walker:
            if event == "comment":
                self._inline.append(element.tail or "")
            elif event == "start":
                if self._start(element, element is root):
                    skipped = element
                    walker.skip_subtree()
            else:
                if element is skipped:
                    skipped = None
                else:
                    self._end(element)
                if element is not root:
                    self._inline.append(element.tail or "")
        self._flush()

    def _start(self, element: Any, is_root: bool) -> bool:
        """Take an element in; ``True`` when its subtree is done with."""
        tag = element.tag
        if not isinstance(tag, str) or (not is_root and self._is_dropped(element, tag)):
            return True
        if tag in _BLOCKS:
            self._flush()
        match tag:
            case "table" if not _is_layout(element):
                self._add_table(element)
                return True
            case "pre":
                self._builder.add(BlockKind.CODE, _pre_text(element))
                return True
            case "br":
                self._inline.append("\v")
            case "ul" | "menu":
                self._lists.append(None)
            case "ol":
                self._lists.append(_integer(element.get("start"), 1))
            case "li":
                self._kinds.append((BlockKind.LIST_ITEM, None))
                self._prefix = self._next_number()
            case "dt" | "dd":
                self._kinds.append((BlockKind.LIST_ITEM, None))
            case "figcaption" | "caption":
                self._kinds.append((BlockKind.CAPTION, None))
            case _ if tag in _LEVELS:
                self._kinds.append((BlockKind.HEADING, _LEVELS[tag]))
        if element.text:
            self._inline.append(element.text)
        return False

    def _end(self, element: Any) -> None:
        tag = element.tag
        if tag not in _BLOCKS:
            return
        self._flush()
        if tag in ("ul", "ol", "menu"):
            self._lists.pop()
        elif tag in ("li", "dt", "dd", "figcaption", "caption") or tag in _LEVELS:
            self._kinds.pop()
            self._prefix = ""

    def _next_number(self) -> str:
        if not self._lists or self._lists[-1] is None:
            return ""
        number = self._lists[-1]
        self._lists[-1] = number + 1
        return f"{number}. "

    def _flush(self) -> None:
        if not self._inline:
            return
        text = flowing(collapse_markup_space("".join(self._inline)).replace("\v", "\n"))
        self._inline.clear()
        if text:
            kind, level = self._kinds[-1]
            self._builder.add(kind, self._prefix + text, level=level)
            self._prefix = ""

    def _is_dropped(self, element: Any, tag: str) -> bool:
        if tag in _DROPPED or element.get("hidden") is not None:
            return True
        if element.get("aria-hidden") == "true" or element.get("role") in _DROPPED_ROLES:
            return True
        style = element.get("style")
        if style and _HIDDEN_STYLE.search(style):
            return True
        if not self._is_page:
            return False
        if tag in ("footer", "header"):
            # Inside an article they hold its title and notes; on the page, the site's.
            ancestors = {ancestor.tag for ancestor in element.iterancestors()}
            if not ancestors & {"article", "main", "section", "blockquote"}:
                return tag == "footer" or element.find(".//h1") is None
        names = f"{element.get('class') or ''} {element.get('id') or ''}"
        return len(names) > 1 and tag != "body" and _BOILERPLATE.search(names) is not None

    def _add_table(self, table: Any) -> None:
        caption = table.find("caption")
        if caption is not None:
            self._builder.add(BlockKind.CAPTION, _cell_text(caption, self))
        grid, header = _grid(table, self)
        for line in table_lines(grid, header):
            self._builder.add(BlockKind.TABLE_ROW, line)


def _integer(text: str | None, default: int) -> int:
    try:
        return int(text or default)
    except ValueError:
        return default


def _pre_text(element: Any) -> str:
    for line_break in element.iter("br"):
        line_break.text = "\n"
    return "".join(element.itertext(tag=etree.Element))


def _is_layout(table: Any) -> bool:
    """A table that only arranges the page: nested tables, one cell in a row, or block content."""
    if table.get("role") in ("presentation", "none"):
        return True
    if all(len(row.findall("td") + row.findall("th")) < 2 for row in _own_rows(table)):
        return True
    if table.find(".//th") is not None:
        return False
    return any(True for _ in table.iterdescendants("table", "h1", "h2", "h3"))


def _grid(table: Any, walker: _Walker) -> tuple[list[list[Cell]], int]:
    """Lay the cells out on a grid (HTML standard, 4.9.12); tell how many rows are header."""
    grid: list[list[Cell]] = []
    spans: dict[int, tuple[int, Cell]] = {}
    header_rows = 0
    has_row_names = False
    bold_first_row = False
    has_merged = False
    total = 0
    for row in _own_rows(table):
        elements = [cell for cell in row if cell.tag in ("td", "th")]
        cells, spans = _grid_row(elements, spans, walker)
        total += len(cells)
        if len(cells) > _MOST_COLUMNS or total > _MOST_CELLS:
            raise DocumentBroken(
                f"An HTML table has more than {_MOST_COLUMNS:,} columns or {_MOST_CELLS:,} cells. "
                "Save it as XLSX or CSV."
            )
        names = sum(cell.tag == "th" for cell in elements)
        has_row_names = has_row_names or names > 0
        # A second row of names belongs to the header only below merged cells: elsewhere it is
        # the first row of a table whose rows are named too.
        is_named = bool(elements) and names == len(elements) and (not grid or has_merged)
        if header_rows == len(grid) and (is_named or (elements and row.getparent().tag == "thead")):
            header_rows += 1
        has_merged = any(cell.get("colspan") or cell.get("rowspan") for cell in elements)
        if not grid:
            bold_first_row = bool(elements) and all(_is_bold(cell) for cell in elements)
        grid.append(cells)
    if header_rows == len(grid):
        # All cells are marked as header: a list of names, or a misuse that the content may tell.
        header_rows = guess_header_rows(grid)
    elif header_rows == 0 and not has_row_names:
        header_rows = guess_header_rows(grid, bold_first_row=bold_first_row)
    return grid, header_rows


def _own_rows(table: Any) -> Iterator[Any]:
    """Rows of the table itself, not of tables inside its cells."""
    for child in table:
        if child.tag == "tr":
            yield child
        elif child.tag in ("thead", "tbody", "tfoot"):
            yield from child.findall("tr")


def _grid_row(
    elements: Sequence[Any], spans: Mapping[int, tuple[int, Cell]], walker: _Walker
) -> tuple[list[Cell], dict[int, tuple[int, Cell]]]:
    """Place one row's cells beside those that reach down from above (column -> rows, text)."""
    cells: list[Cell] = []
    below: dict[int, tuple[int, Cell]] = {}

    def place(part: Cell, rows: int) -> None:
        if rows > 1:
            below[len(cells)] = (rows - 1, part)
        cells.append(part)

    for element in elements:
        while len(cells) in spans:
            rows, part = spans[len(cells)]
            place(part, rows)
        text = _cell_text(element, walker)
        height = _integer(element.get("rowspan"), 1)
        width = min(max(_integer(element.get("colspan"), 1), 1), _MOST_COLUMNS)
        place(text, height)
        for _ in range(width - 1):
            place(None, height)
    while len(cells) in spans:
        rows, part = spans[len(cells)]
        place(part, rows)
    return cells, below


def _is_bold(cell: Any) -> bool:
    return cell.find(".//b") is not None or cell.find(".//strong") is not None


def _cell_text(cell: Any, walker: _Walker) -> str:
    parts: list[str] = []
    elements = etree.iterwalk(cell, events=("start", "end", "comment"))
    for event, element in elements:
        tag = element.tag
        if event == "start":
            if element is not cell and (
                not isinstance(tag, str) or walker._is_dropped(element, tag)
            ):
                elements.skip_subtree()
                continue
            if tag in _BLOCKS or tag == "br":
                parts.append(" ")
            parts.append(element.text or "")
        else:
            if tag in _BLOCKS:
                parts.append(" ")
            if element is not cell:
                parts.append(element.tail or "")
    return flowing(collapse_markup_space("".join(parts)))
