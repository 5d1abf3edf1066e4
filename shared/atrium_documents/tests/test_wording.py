"""Languages, list numbers, heading numbers and the joining of lines."""

from __future__ import annotations

import pytest

from atrium_documents.cleaning import join_lines, plain_forms
from atrium_documents.headings import (
    is_list_marker,
    numbering_scheme,
    reads_as_title,
    without_bullet,
)
from atrium_documents.language import detect_language
from atrium_documents.list_numbers import format_list_number, han_number


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("员工每年享有三十天带薪年假。", "zh"),
        ("公司使用 Kubernetes 和 PostgreSQL 部署服务，值班工程师负责处理告警。", "zh"),
        ("Employees have thirty days of paid leave in each calendar year, and more if ill.", "en"),
        ("Leave policy", "en"),
        ("Die Mitarbeiter haben dreißig Tage Urlaub im Jahr und müssen ihn rechtzeitig bei der "
         "Leitung beantragen, sonst verfällt er am Ende des Monats März.", "und"),
        ("社員は年に三十日の有給休暇を取ることができます。", "und"),
        ("직원은 매년 삼십 일의 유급 휴가를 사용할 수 있다.", "und"),
        ("12.5 % 40,000", "und"),
    ],
)  # fmt: skip
def test_language_is_told(text: str, language: str) -> None:
    assert detect_language(text) == language


def test_language_of_a_long_text_is_asked_all_over() -> None:
    assert detect_language("目录 " * 3000 + "the rules of the house are these. " * 4000) == "en"


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "零"), (5, "五"), (10, "十"), (12, "十二"), (20, "二十"), (101, "一百零一"),
     (110, "一百一十"), (205, "二百零五"), (1001, "一千零一"), (2010, "二千零一十"),
     (10_000, "一万"), (10_005, "一万零五")],
)  # fmt: skip
def test_numbers_are_written_in_chinese(number: int, text: str) -> None:
    assert han_number(number) == text


@pytest.mark.parametrize(
    ("number", "number_format", "text"),
    [(4, "lowerRoman", "iv"), (1999, "upperRoman", "MCMXCIX"), (3, "lowerLetter", "c"),
     (28, "upperLetter", "BB"), (7, "decimalZero", "07"), (22, "ordinal", "22nd"),
     (12, "ordinal", "12th"), (3, "chineseCounting", "三"),
     (12, "chineseLegalSimplified", "壹拾贰"), (2, "ideographTraditional", "乙"),
     (11, "decimalEnclosedCircle", "⑪"), (10, "decimalFullWidth", "１０"),
     (20, "ideographDigital", "二〇"), (5, "unheardOf", "5"), (5, "none", ""),
     (-1, "lowerRoman", "-1")],
)  # fmt: skip
def test_list_numbers_are_written_as_word_does(number: int, number_format: str, text: str) -> None:
    assert format_list_number(number, number_format) == text


@pytest.mark.parametrize(
    ("text", "scheme"),
    [("第三章 休假", "chapter"), ("第十二条 租金", "article"), ("Article 5 Term", "article"),
     ("Appendix B", "chapter"), ("附件一：清单", "chapter"), ("一、目的", "han"),
     ("（二）范围", "han_in_brackets"), ("1. Scope", "number"), ("3.2 Terms", "number_2"),
     ("3.2.1 条款", "number_3"), ("3.5 % of sales", None), ("2024 was good", None),
     ("Scope", None)],
)  # fmt: skip
def test_heading_numbers_are_known(text: str, scheme: str | None) -> None:
    assert numbering_scheme(text) == scheme


def test_titles_are_short_and_no_sentences() -> None:
    assert reads_as_title("第三条 租金及支付方式")
    assert not reads_as_title("第三条 乙方应当按月支付租金。")
    assert not reads_as_title("1. Hand in the request. Then wait for the answer")
    assert not reads_as_title("12 - 34")


@pytest.mark.parametrize(
    "text", ["• a", "- a", "1) a", "(a) b", "（一）甲", "①甲", "iv. a", "10. a"]
)
def test_list_markers_are_known(text: str) -> None:
    assert is_list_marker(text)


@pytest.mark.parametrize("text", ["(415) 555-0199", "2024 was", "-5 degrees", "a-b", "e.g. this"])
def test_what_only_looks_like_a_marker_is_none(text: str) -> None:
    assert not is_list_marker(text)


def test_only_bullets_are_taken_off() -> None:
    assert without_bullet("• item") == "item"
    assert without_bullet("1. item") == "1. item"


@pytest.mark.parametrize(
    ("lines", "joined"),
    [
        (["员工每年", "享有年假"], "员工每年享有年假"),
        (["the por-", "tal"], "the portal"),
        (["a well-", "known rule"], "a well-known rule"),
        (["use Atrium-", "Suite"], "use Atrium-Suite"),
        (["使用", "Atrium 平台"], "使用Atrium 平台"),
        (["one", "", "two"], "one two"),
        (["read/", "write"], "read/write"),
        (["he said “yes”", "“no” she said"], "he said “yes” “no” she said"),
    ],
)
def test_lines_of_a_page_are_joined(lines: list[str], joined: str) -> None:
    assert join_lines(lines, {"well-known"}) == joined


def test_a_hyphen_stays_where_words_are_not_divided() -> None:
    assert join_lines(["a well-", "known rule"]) == "a well-known rule"


def test_ligatures_and_radicals_become_plain_characters() -> None:
    assert plain_forms("ﬁle ⼀⽉") == "file 一月"
