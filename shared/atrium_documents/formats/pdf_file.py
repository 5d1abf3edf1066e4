"""PDF: text with its places through pypdfium2, scanned pages through OCR.

pdfium gives a page's text in one call, in the order of the content stream, with line breaks where
text moves to another line. Places are asked only for the first and last character of each word, so
that a page costs a few milliseconds; `atrium_documents.layout` makes paragraphs of the lines.
"""

from __future__ import annotations

import ctypes
import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any, Final

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from atrium_documents.cleaning import needs_cleaning, one_line, plain_forms, visible
from atrium_documents.errors import DocumentBroken, DocumentEncrypted
from atrium_documents.headings import is_list_marker
from atrium_documents.layout import OutlineEntry, Page, add_pages
from atrium_documents.ocr import ENGINE as OCR_ENGINE
from atrium_documents.page_tables import Line, Stroke, Word, ruled_tables
from atrium_documents.reading import Reading

_ENGINE: Final = f"pypdfium2 {version('pypdfium2')}"
# pdfium writes a hyphen at a line's end as U+FFFE (or U+0002) and leaves out the line break.
_LINE: Final = re.compile("[^\r\n\ufffe\x02]+[\ufffe\x02]?")
_WORD: Final = re.compile(r"[^\s\x00]+")
_LETTER: Final = re.compile(r"[^\W_]")
_UNMAPPED: Final = re.compile("[\x00-\x08\x0b\x0e-\x1f\ufffd\ue000-\uf8ff\U000f0000-\U0010ffff]")
_BOLD: Final = re.compile(r"bold|black|heavy|demi(?!light)|semibold|simhei|heiti|黑体", re.I)
_JUNK_TITLE: Final = re.compile(
    r"^(?:untitled|microsoft (?:word|powerpoint|excel)\b.*|powerpoint presentation|document\d*"
    r"|.*\.(?:docx?|pptx?|xlsx?|pdf|indd|tex|dvi|html?|qxd|wpd|odt|ods|odp))$",
    re.IGNORECASE,
)
_ONE_WIDTH: Final = re.compile(r"courier|consolas|menlo|monaco|mono(?!type)|cmtt|typewriter", re.I)
_FORCED_BOLD: Final = 1 << 18
_WIDE_GAP: Final = 1.0
"""Type sizes: what stands further apart belongs to different cells or columns."""
_OCR_PIXELS: Final = 1650
"""Longer side of a rendered page: A4 at 140 dots per inch, enough for 8 point type."""
_FEW_CHARS: Final = 40
_MOST_OBJECTS: Final = 30_000
_MOST_STROKES: Final = 4_000
_MOST_PATH_SEGMENTS: Final = 400
_MOST_OUTLINE_ENTRIES: Final = 5_000
_THIN: Final = 2.5
_SHORTEST_STROKE: Final = 6.0


def read(reading: Reading) -> None:
    """Read a PDF file; pages without usable text are read by OCR."""
    builder = reading.builder
    builder.used(_ENGINE)
    document = _open(reading.data)
    try:
        builder.count_pages(len(document))
        pages: list[Page] = []
        by_ocr: list[int] = []
        left_out: list[int] = []
        unreadable: list[int] = []
        for index in range(len(document)):
            try:
                pdf_page = document[index]
            except pdfium.PdfiumError:
                unreadable.append(index + 1)
                continue
            try:
                page, needs_ocr = _read_page(pdf_page, index + 1)
                if needs_ocr and reading.budget.take_ocr_page():
                    by_ocr.append(index + 1)
                    page = _recognize(reading, pdf_page, index + 1) or page
                elif needs_ocr:
                    left_out.append(index + 1)
                pages.append(page)
            finally:
                pdf_page.close()
        if by_ocr:
            builder.used(OCR_ENGINE)
            builder.warn(f"{_pages(by_ocr)} without usable text and read by OCR, which may err.")
        if left_out:
            limit = builder.limits.ocr_max_pages
            builder.warn(
                f"{_pages(left_out)} without usable text and left out: OCR is limited to {limit} "
                "pages a file."
            )
        if unreadable:
            builder.warn(f"{_pages(unreadable)} broken and left out.")
        first = len(builder.pieces)
        add_pages(builder, pages, list(_outline(document)))
        _set_title(reading, document, first)
    finally:
        document.close()


def _open(data: bytes) -> Any:
    try:
        document = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        code = getattr(error, "err_code", None)
        if code in (pdfium_c.FPDF_ERR_PASSWORD, pdfium_c.FPDF_ERR_SECURITY):
            raise DocumentEncrypted(
                "The PDF is protected by a password. Remove the password and send it again."
            ) from error
        raise DocumentBroken(
            f"The PDF cannot be opened ({error}). It may be cut off. Send it again, or print it "
            "anew to PDF."
        ) from error
    if len(document) == 0:
        document.close()
        raise DocumentBroken("The PDF has no pages. Print the document anew to PDF.")
    return document


def _pages(numbers: list[int]) -> str:
    """Name pages as "Pages 1-3, 7 are"."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    names = [f"{a}" if a == b else f"{a}-{b}" for a, b in runs[:40]]
    if len(runs) > 40:
        names.append("others")
    return f"Page {names[0]} is" if len(numbers) == 1 else f"Pages {', '.join(names)} are"


def _set_title(reading: Reading, document: Any, first: int) -> None:
    """The stated title, unless it is a leftover: it should stand on the page, or be all we have."""
    try:
        title = one_line(document.get_metadata_value("Title"))
    except (pdfium.PdfiumError, UnicodeError):
        return
    if not title or _JUNK_TITLE.match(title):
        return
    head = "".join(piece.text for piece in reading.builder.pieces[first : first + 12])
    stands_there = re.sub(r"\s", "", title).lower() in re.sub(r"\s", "", head).lower()
    has_heading = any(piece.level for piece in reading.builder.pieces[first : first + 8])
    if stands_there or not has_heading:
        reading.builder.title = title


def _outline(document: Any) -> Iterator[OutlineEntry]:
    """Bookmarks; a malformed tree gives what can be read of it."""
    try:
        for count, bookmark in enumerate(document.get_toc(max_depth=8)):
            if count >= _MOST_OUTLINE_ENTRIES:
                return
            dest = bookmark.get_dest()
            index = dest.get_index() if dest is not None else None
            page = index + 1 if index is not None else None
            yield OutlineEntry(one_line(bookmark.get_title()), bookmark.level + 1, page)
    except (pdfium.PdfiumError, UnicodeError, ValueError):
        return


# -- a page -----------------------------------------------------------------------------------


def _read_page(page: Any, number: int) -> tuple[Page, bool]:
    """Return a page's lines and tables, and whether OCR must read it instead."""
    text_page = page.get_textpage()
    try:
        turn = page.get_rotation() // 90
        left, bottom, right, top = page.get_bbox()
        view = _View(left, bottom, right, top, turn)
        chars = _characters(text_page)
        lines, view = _lines(text_page, chars, view)
    finally:
        text_page.close()
    result = Page(number, view.width, view.height, lines)
    if _needs_ocr(page, chars, lines):
        return result, True
    across, down = _strokes(page, view)
    if len(across) >= 2 and down:
        result.tables, result.lines = ruled_tables(lines, across, down)
    return result, False


class _View:
    """Turns places on the sheet (y up, unturned) into places as seen (y down, upright)."""

    def __init__(self, left: float, bottom: float, right: float, top: float, turn: int) -> None:
        self._box = (left, bottom, right, top)
        self.turn = turn % 4
        width, height = right - left, top - bottom
        self.width, self.height = (height, width) if self.turn % 2 else (width, height)

    def turned(self, quarters: int) -> _View:
        """The same sheet, turned further clockwise."""
        return _View(*self._box, self.turn + quarters)

    def rectangle(
        self, left: float, bottom: float, right: float, top: float
    ) -> tuple[float, float, float, float]:
        """Return (x0, top, x1, bottom) as seen."""
        from_left, to_left = left - self._box[0], right - self._box[0]
        from_bottom, to_bottom = bottom - self._box[1], top - self._box[1]
        from_right, to_right = self._box[2] - right, self._box[2] - left
        from_top, to_top = self._box[3] - top, self._box[3] - bottom
        match self.turn:
            case 0:
                return from_left, from_top, to_left, to_top
            case 1:
                return from_bottom, from_left, to_bottom, to_left
            case 2:
                return from_right, from_bottom, to_right, to_bottom
            case _:
                return from_top, from_right, to_top, to_right


def _characters(text_page: Any) -> str:
    """The page's text with one code point per place that pdfium counts.

    A character beyond the basic plane takes two places, as surrogates; `_clean` joins them.
    """
    count = text_page.count_chars()
    text: str = text_page.get_text_range()
    if len(text) == count:
        return text
    raw = text_page.raw
    codes = (pdfium_c.FPDFText_GetUnicode(raw, index) for index in range(count))
    return "".join(chr(code) if code <= 0x10FFFF else "\ufffd" for code in codes)


def _lines(text_page: Any, chars: str, view: _View) -> tuple[list[Line], _View]:
    """Lines of text; a page whose text mostly runs sideways is turned upright."""
    spans = [match.span() for match in _LINE.finditer(chars)]
    raw = text_page.raw
    directions: list[int | None] = []
    for start, end in spans:
        first = next((i for i in range(start, end) if not chars[i].isspace()), start)
        angle = math.degrees(pdfium_c.FPDFText_GetCharAngle(raw, first)) % 360
        quarter = round(angle / 90)
        directions.append(quarter % 4 if abs(angle - 90 * quarter) < 8 else None)
    weights: Counter[int] = Counter()
    for (start, end), direction in zip(spans, directions, strict=True):
        if direction is not None:
            weights[direction] += end - start
    main = weights.most_common(1)[0][0] if weights else 0
    # pdfium measures angles clockwise on the unturned sheet.
    upright = view.turned((-main - view.turn) % 4 if main != (-view.turn) % 4 else 0)
    probe = _Probe(text_page, chars, upright)
    lines: list[Line] = []
    sideways: list[Line] = []
    for (start, end), direction in zip(spans, directions, strict=True):
        if direction == main:
            lines.extend(probe.lines(start, end))
        elif direction is not None:
            # Text along an edge is kept, after the rest; slanted text is a watermark.
            sideways.extend(probe.whole(start, end))
    return lines + sideways, upright


class _Probe:
    """Asks pdfium about single characters of one page."""

    def __init__(self, text_page: Any, chars: str, view: _View) -> None:
        self._raw = text_page.raw
        self._chars = chars
        self._view = view
        self._box = pdfium_c.FS_RECTF()
        self._matrix = pdfium_c.FS_MATRIX()
        self._name = ctypes.create_string_buffer(128)
        self._flags = ctypes.c_int()
        self._is_clean = not needs_cleaning(chars)
        self._fonts: dict[tuple[bytes, int], tuple[bool, bool]] = {}

    def lines(self, start: int, end: int) -> Iterator[Line]:
        """The pieces of one line of the page that hold visible text.

        Wide gaps divide it; so does another height, since pdfium leaves out the line break before
        a line of one letter.
        """
        return (line for line in self._pieces(start, end) if line.text)

    def _pieces(self, start: int, end: int) -> Iterator[Line]:
        words = [match.span() for match in _WORD.finditer(self._chars, start, end)]
        piece: list[tuple[str, float, float, float, float]] = []
        size = self._size(words) if words else 0.0
        first = 0
        for place, (word_start, word_end) in enumerate(words):
            x0, top, x1, bottom = self._place(word_start, word_end)
            text = self._chars[word_start:word_end]
            if piece and (
                _is_elsewhere(piece[-1], top, bottom)
                or (x0 - piece[-1][3] > _WIDE_GAP * size and not _is_marker(piece))
            ):
                yield self._line(piece, size, words[first][0], words[place - 1][0])
                piece = []
                first = place
                size = self._size(words[place:])
            piece.append((text, x0, top, x1, bottom))
        if piece:
            yield self._line(piece, size, words[first][0], words[-1][0])

    def whole(self, start: int, end: int) -> Iterator[Line]:
        """A line that runs another way than the page, as one piece."""
        text = _clean(self._chars[start:end])
        if text.strip():
            x0, top, x1, bottom = self._place(start, end)
            size = self._size([(start, end)])
            yield Line(text.strip(), x0, top, x1, bottom, size)

    def _line(
        self,
        piece: list[tuple[str, float, float, float, float]],
        size: float,
        first: int,
        last: int,
    ) -> Line:
        words = [Word(text, x0, x1) for text, x0, _, x1, _ in piece]
        if not self._is_clean:
            words = [Word(_clean(word.text), word.x0, word.x1) for word in words]
            words = [word for word in words if word.text]
        first_bold, first_code = self._font(first)
        last_bold, last_code = self._font(last)
        return Line(
            " ".join(word.text for word in words),
            piece[0][1],
            min(top for _, _, top, _, _ in piece),
            max(x1 for _, _, _, x1, _ in piece),
            max(bottom for _, _, _, _, bottom in piece),
            size or 1.0,
            first_bold and last_bold,
            first_code and last_code,
            words,
        )

    def _place(self, start: int, end: int) -> tuple[float, float, float, float]:
        box = self._box
        pdfium_c.FPDFText_GetLooseCharBox(self._raw, start, box)
        left, bottom, right, top = box.left, box.bottom, box.right, box.top
        if end - start > 1:
            pdfium_c.FPDFText_GetLooseCharBox(self._raw, end - 1, box)
            left, right = min(left, box.left), max(right, box.right)
            bottom, top = min(bottom, box.bottom), max(top, box.top)
        return self._view.rectangle(left, bottom, right, top)

    def _size(self, words: list[tuple[int, int]]) -> float:
        """Type size as seen; the middle of three samples, for bullets and notes differ."""
        last = len(words) - 1
        sizes = sorted(self._char_size(words[place][0]) for place in {0, last // 2, last})
        return sizes[len(sizes) // 2]

    def _char_size(self, index: int) -> float:
        """The font's size, scaled by the text matrix."""
        size = float(pdfium_c.FPDFText_GetFontSize(self._raw, index))
        if pdfium_c.FPDFText_GetMatrix(self._raw, index, self._matrix):
            size *= math.hypot(self._matrix.c, self._matrix.d)
        return abs(size)

    def _font(self, index: int) -> tuple[bool, bool]:
        """Whether the font of a character is bold, and whether its letters have one width."""
        length = pdfium_c.FPDFText_GetFontInfo(self._raw, index, self._name, 128, self._flags)
        name = self._name.raw[: max(min(length, 128) - 1, 0)]
        key = (name, self._flags.value)
        known = self._fonts.get(key)
        if known is None:
            text = name.decode("utf-8", "replace")
            flags = self._flags.value
            known = self._fonts[key] = (
                bool(flags & _FORCED_BOLD) or _BOLD.search(text) is not None,
                _ONE_WIDTH.search(text) is not None,
            )
        is_heavy = bool(pdfium_c.FPDFText_GetFontWeight(self._raw, index) >= 600)
        return known[0] or is_heavy, known[1]


def _is_elsewhere(word: tuple[str, float, float, float, float], top: float, bottom: float) -> bool:
    """The next word stands at another height; a raised letter shares half of its own, or more."""
    _, _, before_top, _, before_bottom = word
    shared = min(bottom, before_bottom) - max(top, before_top)
    return shared < 0.5 * min(bottom - top, before_bottom - before_top)


def _is_marker(piece: list[tuple[str, float, float, float, float]]) -> bool:
    """A bullet or number stands before its text at any distance."""
    return len(piece) == 1 and len(piece[0][0]) <= 5 and is_list_marker(f"{piece[0][0]} x")


def _clean(text: str) -> str:
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return plain_forms(visible(whole.replace("\ufffe", "-").replace("\x02", "-")))


# -- scanned pages ----------------------------------------------------------------------------


def _needs_ocr(page: Any, chars: str, lines: list[Line]) -> bool:
    """A picture with next to no text over it, or text whose font does not say its letters."""
    if _UNMAPPED.search(chars):
        unmapped = len(_UNMAPPED.findall(chars))
        if unmapped > 20 and unmapped > 0.4 * (len(_LETTER.findall(chars)) + unmapped):
            return True
    if sum(1 for _ in itertools.islice(_LETTER.finditer(chars), _FEW_CHARS)) == _FEW_CHARS:
        return False
    width, height = page.get_size()
    # Without any text, a small picture may hold it all.
    least = 0.5 if lines else 0.02
    return bool(_largest_picture(page) > least * width * height)


def _largest_picture(page: Any) -> float:
    """Area of the largest picture on the page, in square points."""
    largest = 0.0
    for (left, bottom, right, top), _ in _objects(page, want=pdfium_c.FPDF_PAGEOBJ_IMAGE):
        largest = max(largest, (right - left) * (top - bottom))
    return largest


def _recognize(reading: Reading, page: Any, number: int) -> Page | None:
    width, height = page.get_size()
    scale = min(_OCR_PIXELS / max(width, height, 1.0), 6.0)
    bitmap = page.render(scale=scale, rev_byteorder=True, may_draw_forms=False)
    try:
        pixels = np.array(bitmap.to_numpy())
    finally:
        bitmap.close()
    if pixels.ndim == 2:
        pixels = np.stack([pixels] * 3, axis=2)
    if min(pixels.shape[:2]) < 24:
        return None
    found = reading.recognize(pixels[:, :, :3])
    return Page(number, found.width, found.height, found.lines, by_ocr=True)


# -- strokes ----------------------------------------------------------------------------------


def _strokes(page: Any, view: _View) -> tuple[list[Stroke], list[Stroke]]:
    """Horizontal and vertical strokes, edges of rectangles included, as seen."""
    across: list[Stroke] = []
    down: list[Stroke] = []
    sheet = view.width * view.height

    def add(left: float, bottom: float, right: float, top: float) -> None:
        x0, y0, x1, y1 = view.rectangle(left, bottom, right, top)
        if y1 - y0 <= _THIN and x1 - x0 >= _SHORTEST_STROKE:
            across.append(Stroke((y0 + y1) / 2, x0, x1))
        elif x1 - x0 <= _THIN and y1 - y0 >= _SHORTEST_STROKE:
            down.append(Stroke((x0 + x1) / 2, y0, y1))

    paths = _objects(page, want=pdfium_c.FPDF_PAGEOBJ_PATH)
    for (left, bottom, right, top), segments in paths:
        if len(across) + len(down) > _MOST_STROKES:
            return [], []
        if min(right - left, top - bottom) <= _THIN:
            add(left, bottom, right, top)
        elif (right - left) * (top - bottom) < 0.6 * sheet:
            for x0, y0, x1, y1 in segments():
                add(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    return across, down


_Box = tuple[float, float, float, float]
_Matrix = tuple[float, float, float, float, float, float]
_IDENTITY: Final[_Matrix] = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)


def _objects(page: Any, want: int) -> Iterator[tuple[_Box, Callable[[], Iterator[_Box]]]]:
    """Objects of one kind on the page and in its forms: box on the sheet, straight lines."""
    budget = _MOST_OBJECTS
    stack: list[tuple[Any, int, int, _Matrix, bool]] = [
        (page.raw, 0, pdfium_c.FPDFPage_CountObjects(page.raw), _IDENTITY, True)
    ]
    edges = [ctypes.c_float() for _ in range(4)]
    while stack and budget > 0:
        holder, index, count, matrix, is_page = stack.pop()
        if index >= count:
            continue
        stack.append((holder, index + 1, count, matrix, is_page))
        budget -= 1
        get = pdfium_c.FPDFPage_GetObject if is_page else pdfium_c.FPDFFormObj_GetObject
        item = get(holder, index)
        kind = pdfium_c.FPDFPageObj_GetType(item)
        if kind == want:
            if pdfium_c.FPDFPageObj_GetBounds(item, *edges):
                left, bottom, right, top = (edge.value for edge in edges)
                box = _transformed((left, bottom, right, top), matrix)
                yield box, _segment_reader(item, matrix)
        elif kind == pdfium_c.FPDF_PAGEOBJ_FORM and len(stack) < 6:
            inner = _times(_matrix_of(item), matrix)
            stack.append((item, 0, pdfium_c.FPDFFormObj_CountObjects(item), inner, False))


def _segment_reader(item: Any, matrix: _Matrix) -> Callable[[], Iterator[_Box]]:
    return lambda: _segments(item, matrix)


def _segments(item: Any, outer: _Matrix) -> Iterator[_Box]:
    count = pdfium_c.FPDFPath_CountSegments(item)
    if not 2 <= count <= _MOST_PATH_SEGMENTS:
        return
    matrix = _times(_matrix_of(item), outer)
    x, y = ctypes.c_float(), ctypes.c_float()
    start = last = (0.0, 0.0)
    for index in range(count):
        segment = pdfium_c.FPDFPath_GetPathSegment(item, index)
        pdfium_c.FPDFPathSegment_GetPoint(segment, x, y)
        point = _point(x.value, y.value, matrix)
        kind = pdfium_c.FPDFPathSegment_GetType(segment)
        if kind == pdfium_c.FPDF_SEGMENT_MOVETO:
            start = point
        elif kind == pdfium_c.FPDF_SEGMENT_LINETO:
            yield (*last, *point)
        last = point
        if pdfium_c.FPDFPathSegment_GetClose(segment):
            yield (*last, *start)


def _matrix_of(item: Any) -> _Matrix:
    matrix = pdfium_c.FS_MATRIX()
    if not pdfium_c.FPDFPageObj_GetMatrix(item, matrix):
        return _IDENTITY
    return matrix.a, matrix.b, matrix.c, matrix.d, matrix.e, matrix.f


def _times(first: _Matrix, second: _Matrix) -> _Matrix:
    a, b, c, d, e, f = first
    p, q, r, s, t, u = second
    return (
        a * p + b * r, a * q + b * s, c * p + d * r, c * q + d * s,
        e * p + f * r + t, e * q + f * s + u,
    )  # fmt: skip


def _point(x: float, y: float, matrix: _Matrix) -> tuple[float, float]:
    a, b, c, d, e, f = matrix
    return a * x + c * y + e, b * x + d * y + f


def _transformed(box: _Box, matrix: _Matrix) -> _Box:
    if matrix == _IDENTITY:
        return box
    left, bottom, right, top = box
    corners = [_point(x, y, matrix) for x in (left, right) for y in (bottom, top)]
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return min(xs), min(ys), max(xs), max(ys)
