"""Lines at any places become a document that keeps every word of them."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from atrium_documents import DocumentHasNoText, ParseLimits
from atrium_documents.builder import DocumentBuilder
from atrium_documents.layout import Line, Page, add_pages
from atrium_documents.page_tables import Stroke, ruled_tables

from .conftest import check

WORDS = st.lists(
    st.sampled_from(["alpha", "Beta", "休假", "三十天。", "40,000", "1.", "Section", "end-", "x."]),
    min_size=1,
    max_size=6,
).map(" ".join)


@st.composite
def lines(draw: st.DrawFn) -> Line:
    text = draw(WORDS)
    size = draw(st.sampled_from([8.0, 10.0, 10.0, 10.0, 14.0, 20.0]))
    x0 = draw(st.sampled_from([60.0, 72.0, 200.0, 320.0, 400.0]))
    top = draw(st.integers(2, 62)) * 13.0
    width = len(text) * size * 0.5
    return Line(text, x0, top, x0 + width, top + size, size, draw(st.booleans()))


def letters(text: str) -> Counter[str]:
    return Counter(char for char in text if char.isalnum())


@settings(max_examples=200, deadline=None)
@given(st.lists(lines(), min_size=1, max_size=40), st.booleans())
def test_any_page_keeps_every_letter(found: list[Line], by_ocr: bool) -> None:
    expected = letters(" ".join(line.text for line in found))
    builder = DocumentBuilder(ParseLimits())
    add_pages(builder, [Page(1, 595, 842, found, by_ocr=by_ocr)])
    document = builder.build("application/pdf")
    check(document)
    # Column names are repeated in their rows, so there may be more, never less.
    assert not expected - letters(document.text)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(lines(), min_size=1, max_size=25),
    st.lists(st.integers(60, 520), min_size=2, max_size=6),
    st.lists(st.integers(20, 820), min_size=2, max_size=8),
)
def test_any_strokes_keep_every_letter(
    found: list[Line], columns: list[int], rows: list[int]
) -> None:
    expected = letters(" ".join(line.text for line in found))
    across = [Stroke(y, min(columns), max(columns)) for y in rows]
    down = [Stroke(x, min(rows), max(rows)) for x in columns]
    tables, rest = ruled_tables(found, across, down)
    inside = " ".join(row for table in tables for row in table.rows)
    assert not expected - letters(" ".join([inside, *(line.text for line in rest)]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(lines(), max_size=12), min_size=2, max_size=5))
def test_any_pages_are_laid_out(found: list[list[Line]]) -> None:
    builder = DocumentBuilder(ParseLimits())
    add_pages(builder, [Page(n, 595, 842, page) for n, page in enumerate(found, 1)])
    try:
        check(builder.build("application/pdf"))
    except DocumentHasNoText:
        assert not any(found)
