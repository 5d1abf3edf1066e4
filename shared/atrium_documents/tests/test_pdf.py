from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from atrium_documents import (
    BlockKind,
    DocumentBroken,
    DocumentEncrypted,
    DocumentTooLarge,
    ParseLimits,
)

from .conftest import Read, outline, texts
from .making import PdfPage, pdf, picture

PROSE = [
    "Every employee has thirty days of paid leave in a calendar year, and may carry",
    "unused days over until the end of March, unless illness kept the employee from",
    "taking them in time.",
]


def test_lines_become_paragraphs_under_headings(read: Read) -> None:
    page = PdfPage().text(72, 120, "Leave policy", 18, bold=True).lines(72, 160, PROSE)
    page.text(72, 230, "Carry over", 14, bold=True).lines(72, 260, PROSE)
    document = read(pdf([page]), "leave.pdf")
    assert outline(document) == [(1, "Leave policy"), (2, "Carry over")]
    assert texts(document, BlockKind.PARAGRAPH) == [" ".join(PROSE)] * 2
    assert document.title == "Leave policy"
    assert document.page_count == 1
    assert document.engine.startswith("pypdfium2")


def test_chinese_lines_are_joined_without_spaces(read: Read) -> None:
    page = PdfPage().chinese(72, 120, "第一章 总则", 16)
    for number, line in enumerate(["员工每年享有三十天带薪年假，须提前两周向主管提出申请，经批准",
                                   "后方可休假。"]):  # fmt: skip
        page.chinese(72, 160 + 16 * number, line)
    document = read(pdf([page]), "a.pdf")
    assert outline(document) == [(1, "第一章 总则")]
    assert texts(document)[1] == (
        "员工每年享有三十天带薪年假，须提前两周向主管提出申请，经批准后方可休假。"
    )
    assert document.language == "zh"


def test_characters_beyond_the_basic_plane_keep_words_in_place(read: Read) -> None:
    page = PdfPage().rare(72, 120, "ABC AB").text(72, 134, "and the rest of the paragraph.")
    page.grid([72, 200, 330], [150, 170, 190])
    for x, y, cell in [(76, 164, "AB"), (204, 164, "C"), (76, 184, "C"), (204, 184, "BA")]:
        page.rare(x, y, cell)
    document = read(pdf([page]), "a.pdf")
    assert document.text.startswith("𠮷家😀 𠮷家")
    assert texts(document, BlockKind.TABLE_ROW) == ["𠮷家 | 😀", "😀 | 家𠮷"]


def test_lines_of_invisible_characters_are_passed_over(read: Read) -> None:
    page = (
        PdfPage().rare(72, 100, "DD").lines(72, 120, PROSE).rare(72, 170, "D D").rare(72, 190, "D")
    )
    assert texts(read(pdf([page, page]), "a.pdf")) == [" ".join(PROSE)] * 2


def test_divided_words_are_made_whole_and_compounds_kept(read: Read) -> None:
    lines = [
        "The well-known rule grants thirty days of paid leave in every full calen-",
        "dar year; a week of it is taken in one piece, which is the long and well-",
        "known habit of this company.",
    ]
    document = read(pdf([PdfPage().lines(72, 120, lines)]), "a.pdf")
    assert "calendar year" in document.text
    assert "well-known habit" in document.text


def test_running_heads_and_page_numbers_are_left_out(read: Read) -> None:
    pages = []
    for number in range(1, 5):
        page = PdfPage().text(72, 40, "ACME handbook, internal")
        page.lines(
            72, 120, [f"Page {number} begins here and says something of its own, at length."]
        )
        pages.append(page.text(280, 810, f"- {number} -"))
    document = read(pdf(pages), "a.pdf")
    assert "ACME" not in document.text
    assert "- 2 -" not in document.text
    assert [block.page for block in document.blocks] == [1, 2, 3, 4]


def test_paragraph_over_a_page_break_is_one(read: Read) -> None:
    first = PdfPage().lines(72, 640, PROSE).lines(72, 700, PROSE[:2])
    second = PdfPage().lines(72, 120, PROSE[2:])
    document = read(pdf([first, second]), "a.pdf")
    assert texts(document) == [" ".join(PROSE)] * 2
    assert [block.page for block in document.blocks] == [1, 1]


def test_ruled_table_becomes_rows_that_carry_names(read: Read) -> None:
    page = PdfPage().lines(72, 120, ["Pay bands are reviewed in March."])
    page.grid([72, 200, 330, 460], [150, 170, 190, 210])
    for row, cells in enumerate([["Grade", "Min", "Max"], ["P5", "40,000", "55,000"],
                                 ["P6", "50,000", "70,000"]]):  # fmt: skip
        for x, cell in zip([76, 204, 334], cells, strict=True):
            page.text(x, 164 + 20 * row, cell)
    document = read(pdf([page]), "a.pdf")
    assert texts(document, BlockKind.TABLE_ROW) == [
        "Grade | Min | Max",
        "Grade: P5 | Min: 40,000 | Max: 55,000",
        "Grade: P6 | Min: 50,000 | Max: 70,000",
    ]
    assert texts(document)[0] == "Pay bands are reviewed in March."


def page_with_table(
    top: float, rows: list[list[str]], *, bold: bool = False, xs: Sequence[float] = (72, 200, 330)
) -> PdfPage:
    """Draw a ruled table; ``bold`` sets its first row."""
    page = PdfPage().grid([*xs, 460], [top + 20 * n for n in range(len(rows) + 1)])
    for number, row in enumerate(rows):
        for x, cell in zip(xs, row, strict=True):
            page.text(x + 4, top + 14 + 20 * number, cell, bold=bold and number == 0)
    return page


@pytest.mark.parametrize("first", ["8", "A", "-"])
def test_a_row_that_begins_with_one_letter_does_not_join_the_one_above(
    read: Read, first: str
) -> None:
    rows = [["City", "Class", "Name"], ["Kiel", "new", "Ulm"], [first, "old", "Bonn"]]
    assert texts(read(pdf([page_with_table(150, rows)]), "a.pdf"), BlockKind.TABLE_ROW) == [
        "City | Class | Name",
        "City: Kiel | Class: new | Name: Ulm",
        f"City: {first} | Class: old | Name: Bonn",
    ]


def test_a_raised_letter_stays_in_its_line(read: Read) -> None:
    page = PdfPage().text(72, 100, "The area is 30 m").text(160, 96, "2", 7)
    assert texts(read(pdf([page]), "a.pdf")) == ["The area is 30 m 2"]


def test_rows_after_a_page_break_carry_the_names_before_it(read: Read) -> None:
    bands = [["Grade", "Role", "Share"], ["P5", "Engineer", "yes"]]
    pages = [
        page_with_table(700, bands, bold=True),
        page_with_table(80, [["P6", "Lead", "yes"], ["P7", "Head", "car"]]),
        page_with_table(80, [["P8", "Director", ""]]).lines(72, 200, ["All yearly."]),
    ]
    assert texts(read(pdf(pages), "a.pdf"), BlockKind.TABLE_ROW) == [
        "Grade | Role | Share",
        "Grade: P5 | Role: Engineer | Share: yes",
        "Grade: P6 | Role: Lead | Share: yes",
        "Grade: P7 | Role: Head | Share: car",
        "Grade: P8 | Role: Director",
    ]


def test_header_that_a_page_repeats_names_its_rows_too(read: Read) -> None:
    pages = [
        page_with_table(top, [["City", "Class", "Days"], *rows])
        for top, rows in [(700, [["Kiel", "A", "2"]]), (80, [["Ulm", "B", "3"]])]
    ]
    assert texts(read(pdf(pages), "a.pdf"), BlockKind.TABLE_ROW) == [
        "City | Class | Days",
        "City: Kiel | Class: A | Days: 2",
        "City | Class | Days",
        "City: Ulm | Class: B | Days: 3",
    ]


@pytest.mark.parametrize(
    "following",
    [
        page_with_table(80, [["Site", "City", "Rank"], ["North", "Kiel", "low"]], bold=True),
        page_with_table(80, [["Site", "City", "Rank"], ["North", "Kiel", "35"]]),
        page_with_table(80, [["x", "y", "z"], ["o", "p", "q"]], xs=(72, 180, 330)),
        page_with_table(180, [["x", "y", "z"], ["o", "p", "q"]]).lines(72, 120, ["Between."]),
    ],
    ids=["bold header of its own", "header over numbers", "other columns", "text between"],
)
def test_another_table_after_a_page_break_takes_no_names(read: Read, following: PdfPage) -> None:
    first = page_with_table(700, [["Grade", "Role", "Share"], ["P5", "Engineer", "yes"]], bold=True)
    rows = texts(read(pdf([first, following]), "a.pdf"), BlockKind.TABLE_ROW)
    assert rows[:2] == ["Grade | Role | Share", "Grade: P5 | Role: Engineer | Share: yes"]
    assert not [row for row in rows[2:] if "Grade" in row]


def test_a_text_below_a_table_ends_it(read: Read) -> None:
    first = page_with_table(600, [["Grade", "Role", "Share"], ["P5", "Engineer", "yes"]], bold=True)
    pages = [first.lines(72, 700, ["It ends here."]), page_with_table(80, [["x", "y", "z"]])]
    rows = texts(read(pdf(pages), "a.pdf"), BlockKind.TABLE_ROW)
    assert rows[-1] == "x | y | z"


def test_cell_over_several_rows_is_repeated_in_each(read: Read) -> None:
    page = PdfPage()
    for y in (150, 170, 210):
        page.stroke(72, y, 460, y)
    page.stroke(200, 190, 460, 190)
    for x in (72, 200, 330, 460):
        page.stroke(x, 150, x, 210)
    for x, y, cell in [(76, 164, "Region"), (204, 164, "Kind"), (334, 164, "Days"),
                       (76, 194, "Berlin"), (204, 184, "paid"), (334, 184, "30"),
                       (204, 204, "sick"), (334, 204, "42")]:  # fmt: skip
        page.text(x, y, cell)
    assert texts(read(pdf([page]), "a.pdf"))[1:] == [
        "Region: Berlin | Kind: paid | Days: 30",
        "Region: Berlin | Kind: sick | Days: 42",
    ]


def test_table_without_strokes_is_told_by_its_alignment(read: Read) -> None:
    page = PdfPage()
    rows = [["Product", "Cost", "Stock"], ["Bolt", "1.20", "450"], ["Nut", "0.80", "780"],
            ["Washer", "0.10", "12"]]  # fmt: skip
    for number, row in enumerate(rows):
        for x, cell in zip([72, 240, 340], row, strict=True):
            page.text(x, 150 + 20 * number, cell)
    assert texts(read(pdf([page]), "a.pdf"), BlockKind.TABLE_ROW) == [
        "Product | Cost | Stock",
        "Product: Bolt | Cost: 1.20 | Stock: 450",
        "Product: Nut | Cost: 0.80 | Stock: 780",
        "Product: Washer | Cost: 0.10 | Stock: 12",
    ]


def test_columns_of_a_page_are_read_one_after_the_other(read: Read) -> None:
    page = PdfPage().text(72, 90, "A paper in two columns", 18, bold=True)
    left = [f"left column line number {n} of the running text" for n in range(8)]
    right = [f"right column line number {n} of the running text" for n in range(8)]
    for number, (one, two) in enumerate(zip(left, right, strict=True)):
        page.text(60, 130 + 13 * number, one, 10).text(320, 130 + 13 * number, two, 10)
    document = read(pdf([page]), "a.pdf")
    places = [document.text.index(line) for line in [*left, *right]]
    assert places == sorted(places)
    assert outline(document)[0] == (1, "A paper in two columns")


def test_bookmarks_give_headings_their_levels(read: Read) -> None:
    page = PdfPage().text(72, 120, "Scope").lines(72, 150, PROSE).text(72, 230, "Terms")
    page.lines(72, 260, PROSE)
    document = read(pdf([page], outline=[("Scope", 1), ("Terms", 1)]), "a.pdf")
    assert outline(document) == [(1, "Scope"), (1, "Terms")]


def test_numbered_headings_nest_by_their_numbers(read: Read) -> None:
    page = PdfPage()
    for y, text in [(120, "1 Scope"), (220, "1.1 Terms"), (320, "2 Duties")]:
        page.text(72, y, text, 13, bold=True).lines(72, y + 25, PROSE)
    document = read(pdf([page]), "a.pdf")
    assert outline(document) == [(1, "1 Scope"), (2, "1.1 Terms"), (1, "2 Duties")]
    assert document.sections[1].path == ("1 Scope", "1.1 Terms")


def test_list_items_keep_their_wrapped_lines(read: Read) -> None:
    page = PdfPage().text(72, 120, "1. Hand in the request at least two weeks in advance through")
    page.text(86, 134, "the portal.").text(72, 148, "2. Wait for the answer of your manager.")
    assert texts(read(pdf([page]), "a.pdf"), BlockKind.LIST_ITEM) == [
        "1. Hand in the request at least two weeks in advance through the portal.",
        "2. Wait for the answer of your manager.",
    ]


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_turned_pages_are_read_upright(read: Read, quarters: int) -> None:
    """The sheet is turned one way and its text the other, as scanners and printers do."""
    matrix = {1: "0 1 -1 0 {y} {x}", 2: "-1 0 0 -1 {mx} {y}", 3: "0 -1 1 0 {my} {mx}"}[quarters]
    page = PdfPage(rotate=90 * quarters)
    for number, line in enumerate(["The first line of the page.", "The second line below."]):
        place = 100 + 60 * number
        tm = matrix.format(x=80, y=place, mx=500, my=595 - place)
        page.operators.append(f"BT /F1 11 Tf {tm} Tm ({line}) Tj ET")
    assert texts(read(pdf([page]), "a.pdf")) == [
        "The first line of the page.",
        "The second line below.",
    ]


def test_scanned_pages_are_read_by_ocr_and_named(read: Read) -> None:
    asked = itertools.count()
    pages = [
        PdfPage().lines(72, 120, PROSE),
        PdfPage().picture(picture(["Annual leave is thirty days.", "Ask your manager first."])),
    ]
    document = read(pdf(pages), "a.pdf", before_ocr=lambda: next(asked) and None)
    assert "Annual leave is thirty days" in document.text
    assert document.blocks[-1].page == 2
    assert document.warnings == ("Page 2 is without usable text and read by OCR, which may err.",)
    assert "rapidocr" in document.engine
    assert next(asked) == 1


def test_scanned_page_above_the_limit_is_left_out_and_named(read: Read) -> None:
    pages = [PdfPage().lines(72, 120, PROSE), PdfPage().picture(picture(["Scanned."]))]
    document = read(pdf(pages), "a.pdf", limits=ParseLimits(ocr_max_pages=0))
    assert document.warnings == (
        "Page 2 is without usable text and left out: OCR is limited to 0 pages a file.",
    )


def test_stated_title_counts_unless_it_is_a_leftover(read: Read) -> None:
    page = PdfPage().lines(72, 120, PROSE)
    assert read(pdf([page], title="年假 Leave"), "a.pdf").title == "年假 Leave"
    assert read(pdf([page], title="Microsoft Word - leave.doc"), "a.pdf").title is None


def test_protected_pdf_is_named_so(read: Read) -> None:
    with pytest.raises(DocumentEncrypted, match="password"):
        read(pdf([PdfPage().text(72, 90, "x")], encrypted=True), "a.pdf")


@pytest.mark.parametrize("data", [b"%PDF-1.7\n", b"%PDF-1.4 garbage" * 50])
def test_broken_pdf_is_named_so(read: Read, data: bytes) -> None:
    with pytest.raises(DocumentBroken, match="PDF cannot be opened"):
        read(data, "a.pdf")


def test_pdf_with_too_many_pages_is_refused(read: Read) -> None:
    pages = [PdfPage().text(72, 90, "x")] * 3
    with pytest.raises(DocumentTooLarge, match="3 pages; at most 2"):
        read(pdf(pages), "a.pdf", limits=ParseLimits(max_pages=2))
