"""Numbers, dates and times in both languages."""

from __future__ import annotations

import pytest

from atrium_grounding.quantities import (
    QuantityKind,
    find_quantities,
    supported_by,
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("15 个工作日", "fifteen working days"),
        ("三天", "3 days"),
        ("百分之三", "3 per cent"),
        ("3 万元", "30,000 yuan"),
        ("2026 年 3 月 2 日", "2 March 2026"),
        ("2026-03-02", "March 2, 2026"),
        ("下午 1 点半", "13:30"),
        ("1:30 pm", "13:30"),
        ("两次", "twice"),
        ("周三", "Wednesday"),
        ("半天", "half a day"),
        ("1.5 million euros", "150 万欧元"),
        ("十五個工作日", "15 working days"),
    ],
)
def test_one_quantity_in_two_languages_is_the_same(one: str, other: str) -> None:
    (first,), (second,) = find_quantities(one), find_quantities(other)
    assert (first.kind, first.value, first.unit) == (second.kind, second.value, second.unit)
    assert supported_by(first, [second])


@pytest.mark.parametrize(
    ("claim", "source"),
    [
        ("15 days", "30 days"),
        ("15 days", "15 weeks"),
        ("3%", "3 euros"),
        ("2 March 2026", "2 April 2026"),
        ("13:30", "14:30"),
        ("300 yuan", "300 euros"),
    ],
)
def test_another_value_or_unit_supports_nothing(claim: str, source: str) -> None:
    (quantity,) = find_quantities(claim)
    assert not supported_by(quantity, find_quantities(source))


def test_a_bare_number_supports_one_with_a_unit() -> None:
    (days,) = find_quantities("15 days")
    assert supported_by(days, find_quantities("Days: 15"))


@pytest.mark.parametrize("said", ["on Thursday", "in April", "周四", "四月"])
def test_a_weekday_or_a_month_supports_no_bare_number(said: str) -> None:
    (four,) = find_quantities("number 4")
    assert not supported_by(four, find_quantities(said))


def test_codes_and_words_that_look_like_numbers_are_none() -> None:
    assert find_quantities("Grade P5, may I, one of us, 一个人") == []


def test_spans_are_those_of_the_text() -> None:
    text = "享有 15 个工作日，最多 20 天"
    assert [text[q.start : q.end] for q in find_quantities(text)] == ["15 个工作日", "20 天"]
    assert {q.kind for q in find_quantities(text)} == {QuantityKind.DURATION}


def test_runs_of_digits_that_are_no_numbers_take_no_time() -> None:
    for run in ("9" * 50_000, "一" * 50_000, "two hundred and " * 1_000):
        assert find_quantities(f"{run} and 3 days")[-1].value == 3
