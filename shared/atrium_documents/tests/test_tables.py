from __future__ import annotations

import pytest

from atrium_documents.tables import (
    column_names,
    guess_header_rows,
    is_numberlike,
    row_text,
    table_lines,
)


def test_row_is_understandable_by_itself() -> None:
    assert row_text(["P5", "40,000", "", "55,000"], ["Grade", "Min", "Mid", "Max"]) == (
        "Grade: P5 | Min: 40,000 | Max: 55,000"
    )


def test_name_that_ends_in_a_colon_gets_no_second_one() -> None:
    assert row_text(["Ann", "30"], ["Name:", "年假："]) == "Name: Ann | 年假： 30"


def test_row_of_one_merged_cell_has_no_column_name() -> None:
    assert row_text(["Contractors", None, None], ["Grade", "Min", "Max"]) == "Contractors"


def test_header_of_two_rows_gives_combined_names() -> None:
    assert column_names([["Grade", "2024", None], ["", "Min", "Max"]]) == [
        "Grade",
        "2024 / Min",
        "2024 / Max",
    ]


def test_title_over_all_columns_names_none_of_them() -> None:
    rows = [["Pay bands", None], ["Domain:", "Eukaryota"], ["Kingdom:", "Animalia"]]
    assert table_lines(rows, 1) == ["Pay bands", "Domain: | Eukaryota", "Kingdom: | Animalia"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([["Grade", "Min"], ["P5", "40,000"], ["P6", "50,000"]], 1),
        ([["职级", "年薪", "岗位"], ["P5", "24万", "工程师"]], 1),
        ([["Name", "Ann"], ["City", "Berlin"]], 0),
        ([["Name:", "Ann", "City:"], ["Age:", "x", "Job:"]], 0),
        ([["", "North"], ["Sales", "many"]], 0),
        ([["Item", "2023", "2024"], ["Rent", "5", "6"]], 1),
        ([["1", "2", "3"], ["a", "b", "c"]], 0),
        ([["A", "A", "B"], ["1", "2", "3"]], 0),
        ([["Region", "Leave", None], ["", "Paid", "Sick"], ["Berlin", "30", "42"]], 2),
    ],
)
def test_header_is_told_from_the_content(rows: list[list[str | None]], expected: int) -> None:
    assert guess_header_rows(rows) == expected


def test_bold_first_row_is_a_header() -> None:
    assert guess_header_rows([["Name", "City"], ["Ann", "Berlin"]], bold_first_row=True) == 1


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("Shanghai max, yuan a month 上海上限（元/月）", True),
        ("x" * 60, True),
        ("x" * 61, False),
        ("限" * 30, True),
        ("限" * 31, False),
        ("x" * 40 + "限" * 11, False),
    ],
)
def test_name_of_a_column_may_be_as_wide_in_two_languages_as_in_one(name: str, named: bool) -> None:
    assert guess_header_rows([["Grade 职级", name], ["P5", "44,800"]]) == int(named)


def test_labels_and_values_are_no_header_where_a_table_is_only_guessed() -> None:
    rows = [["Policy", "IM-7", "Model"], ["Phone", "none", "Trim"]]
    assert guess_header_rows(rows, is_certain=False) == 0


@pytest.mark.parametrize(
    "cell", ["5", "-3.5", "40,000", "$800K", "12.5亿元", "2024-01-02", "10 %", "(1,200)", "USD 5"]
)
def test_amounts_shares_and_dates_are_numberlike(cell: str) -> None:
    assert is_numberlike(cell)


@pytest.mark.parametrize("cell", ["P5", "SKU-12", "Q1", "", "five", "ISO 9001"])
def test_names_with_digits_are_not_numberlike(cell: str) -> None:
    assert not is_numberlike(cell)
