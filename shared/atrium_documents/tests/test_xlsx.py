from __future__ import annotations

import datetime as dt
import io

import openpyxl
import pytest
from openpyxl.styles import Font

from atrium_documents import BlockKind, DocumentBroken

from .conftest import Read, outline, texts
from .making import archive


def saved(book: openpyxl.Workbook) -> bytes:
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def workbook(*rows: list[object]) -> openpyxl.Workbook:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Pay bands"
    for row in rows:
        sheet.append(row)
    return book


def test_rows_carry_names_and_values_as_shown(read: Read) -> None:
    book = workbook(
        ["Pay bands 2024"],
        [],
        ["Grade", "Min", "Since", "Share"],
        ["P5", 40000, dt.datetime(2024, 3, 5), 0.125],
        ["P6", 50000.5, None, 1],
    )
    sheet = book["Pay bands"]
    for row in sheet.iter_rows(min_row=4):
        row[1].number_format = "#,##0.00"
        row[2].number_format = "yyyy-mm-dd"
        row[3].number_format = "0.0%"
    parsed = read(saved(book), "bands.xlsx")
    assert outline(parsed) == [(1, "Pay bands")]
    assert texts(parsed, BlockKind.PARAGRAPH) == ["Pay bands 2024"]
    assert texts(parsed, BlockKind.TABLE_ROW) == [
        "Grade | Min | Since | Share",
        "Grade: P5 | Min: 40,000.00 | Since: 2024-03-05 | Share: 12.5%",
        "Grade: P6 | Min: 50,000.50 | Share: 100.0%",
    ]
    assert {block.sheet for block in parsed.blocks} == {"Pay bands"}


def test_rows_carry_names_in_two_languages(read: Read) -> None:
    book = workbook(["Grade 职级", "Shanghai max, yuan a month 上海上限（元/月）"], ["P5", 44800])
    assert texts(read(saved(book), "bands.xlsx"))[-1] == (
        "Grade 职级: P5 | Shanghai max, yuan a month 上海上限（元/月）: 44800"
    )


def test_each_table_of_a_sheet_has_its_own_header(read: Read) -> None:
    book = workbook(["A", "B"], [1, 2], [], ["C", "D"], [3, 4])
    assert texts(read(saved(book), "a.xlsx"), BlockKind.TABLE_ROW) == [
        "A | B", "A: 1 | B: 2", "C | D", "C: 3 | D: 4",
    ]  # fmt: skip


def test_table_that_begins_further_right_keeps_its_names(read: Read) -> None:
    book = workbook([None, None, "职级", "年薪"], [None, "注", "P5", 40000])
    assert texts(read(saved(book), "a.xlsx"), BlockKind.TABLE_ROW) == [
        "职级 | 年薪",
        "注 | 职级: P5 | 年薪: 40000",
    ]


def test_bold_header_is_known_without_numbers(read: Read) -> None:
    book = workbook(["Name", "City"], ["Ann", "Berlin"])
    for cell in book["Pay bands"][1]:
        cell.font = Font(bold=True)
    assert texts(read(saved(book), "a.xlsx"))[-1] == "Name: Ann | City: Berlin"


def test_labels_and_values_stay_side_by_side(read: Read) -> None:
    book = workbook(["Name", "Ann"], ["City", "Berlin"])
    assert texts(read(saved(book), "a.xlsx"), BlockKind.TABLE_ROW) == [
        "Name | Ann",
        "City | Berlin",
    ]


def test_hidden_sheets_and_error_values_are_left_out(read: Read) -> None:
    book = workbook(["Item", "Cost"], ["Rent", "#REF!"], ["Food", 5])
    hidden = book.create_sheet("Secret")
    hidden.append(["x", "y"])
    hidden.sheet_state = "hidden"
    parsed = read(saved(book), "a.xlsx")
    assert "x" not in texts(parsed)
    assert parsed.warnings == ("Hidden worksheets were left out: Secret.",)
    assert texts(parsed)[-2:] == ["Item: Rent", "Item: Food | Cost: 5"]


def test_broken_workbook_is_named_so(read: Read) -> None:
    data = archive({"[Content_Types].xml": "<Types/>", "xl/workbook.xml": "<x/>"})
    with pytest.raises(DocumentBroken, match="workbook cannot be read"):
        read(data, "a.xlsx")


def test_csv_gets_names_whatever_its_separator(read: Read) -> None:
    for separator in ",;\t|":
        data = "\n".join(separator.join(row) for row in [["职级", "最低"], ["P5", "40000"]])
        parsed = read(data, "a.csv")
        assert texts(parsed) == ["职级 | 最低", "职级: P5 | 最低: 40000"]
        assert parsed.media_type == "text/csv"


def test_quoted_csv_cells_may_hold_separators_and_lines(read: Read) -> None:
    parsed = read('Name,Note,Age\n"Ann, B.","first\nsecond",30\n', "a.csv")
    assert texts(parsed)[-1] == "Name: Ann, B. | Note: first second | Age: 30"


def test_csv_with_an_endless_cell_is_broken(read: Read) -> None:
    with pytest.raises(DocumentBroken, match="no readable CSV"):
        read('"' + "a" * 200_000, "a.csv")
