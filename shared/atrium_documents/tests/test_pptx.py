from __future__ import annotations

import io

import pptx
import pytest
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.oxml import parse_xml
from pptx.util import Inches

from atrium_documents import BlockKind, DocumentBroken

from .conftest import Read, outline, texts
from .making import archive


def saved(presentation: pptx.presentation.Presentation) -> bytes:
    out = io.BytesIO()
    presentation.save(out)
    return out.getvalue()


def test_slides_are_sections_with_bullets_and_notes(read: Read) -> None:
    presentation = pptx.Presentation()
    for title, body in [("Leave", "Thirty days\nAsk first"), ("Pay", "See bands")]:
        slide = presentation.slides.add_slide(presentation.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = body
        slide.notes_slide.notes_text_frame.text = f"Notes on {title}."
    parsed = read(saved(presentation), "a.pptx")
    assert outline(parsed) == [(1, "Leave"), (1, "Pay")]
    assert [(b.page, t) for b, t in zip(parsed.blocks, texts(parsed), strict=True)] == [
        (1, "Leave"), (1, "Thirty days"), (1, "Ask first"), (1, "Notes on Leave."),
        (2, "Pay"), (2, "See bands"), (2, "Notes on Pay."),
    ]  # fmt: skip
    assert parsed.page_count == 2
    assert [s.page for s in parsed.sections] == [1, 2]
    assert parsed.title == "Leave"


def test_shapes_are_read_from_the_top_left(read: Read) -> None:
    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[6])
    for left, top, text in [(5, 3, "third"), (5, 1, "second"), (1, 1, "first")]:
        slide.shapes.add_textbox(
            Inches(left), Inches(top), Inches(2), Inches(0.5)
        ).text_frame.text = text
    assert texts(read(saved(presentation), "a.pptx")) == ["first", "second", "third"]


def test_tables_and_charts_become_rows(read: Read) -> None:
    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[6])
    table = slide.shapes.add_table(3, 3, 0, 0, Inches(6), Inches(1)).table
    for place, text in enumerate(["Grade", "Min", "Max", "P5", "40", "55", "P6", "", ""]):
        table.cell(place // 3, place % 3).text = text
    table.cell(2, 1).merge(table.cell(2, 2))
    table.cell(2, 1).text = "ask"
    data = CategoryChartData(number_format="0%")
    data.categories = ["Q1", "Q2"]
    data.add_series("Share", (0.25, 0.5))
    slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, 0, Inches(3), Inches(5), Inches(3), data)
    assert texts(read(saved(presentation), "a.pptx"), BlockKind.TABLE_ROW) == [
        "Grade | Min | Max",
        "Grade: P5 | Min: 40 | Max: 55",
        "Grade: P6 | Min: ask",
        "Q1 | Share: 25%",
        "Q2 | Share: 50%",
    ]


def test_groups_and_numbered_lists_are_read(read: Read) -> None:
    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[6])
    group = slide.shapes.add_group_shape()
    frame = group.shapes.add_textbox(0, 0, Inches(2), Inches(1)).text_frame
    frame.text = "one\ntwo"
    for paragraph in frame.paragraphs:
        paragraph._p.get_or_add_pPr().append(
            parse_xml(
                '<a:buAutoNum xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
                'type="arabicParenR" startAt="3"/>'
            )
        )
    assert texts(read(saved(presentation), "a.pptx"), BlockKind.LIST_ITEM) == ["3) one", "4) two"]


def test_hidden_slides_are_left_out_and_named(read: Read) -> None:
    presentation = pptx.Presentation()
    for text in ("shown", "hidden"):
        slide = presentation.slides.add_slide(presentation.slide_layouts[5])
        slide.shapes.title.text = text
    slide.element.set("show", "0")
    parsed = read(saved(presentation), "a.pptx")
    assert texts(parsed) == ["shown"]
    assert parsed.warnings == ("Hidden slides were left out: 2.",)


def test_broken_presentation_is_named_so(read: Read) -> None:
    data = archive({"[Content_Types].xml": "<Types/>", "ppt/presentation.xml": "<x/>"})
    with pytest.raises(DocumentBroken, match="presentation cannot be read"):
        read(data, "a.pptx")
