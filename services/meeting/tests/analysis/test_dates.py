from __future__ import annotations

from datetime import date

import pytest

from atrium_meeting.domain.analysis.dates import due_phrases

MONDAY = date(2026, 3, 9)


@pytest.mark.parametrize(
    ("said", "phrase", "day"),
    [
        ("I'll send it by Friday.", "by Friday", "2026-03-13"),
        ("Let's say next Wednesday.", "next Wednesday", "2026-03-18"),
        ("by Thursday next week, please", "by Thursday next week", "2026-03-19"),
        ("It's due by the end of the month.", "due by the end of the month", "2026-03-31"),
        ("before the end of next week", "before the end of next week", "2026-03-20"),
        ("Do it before March 14th.", "before March 14th", "2026-03-14"),
        ("on the 2nd of April", "on the 2nd of April", "2026-04-02"),
        ("by the twenty-third", "by the twenty-third", "2026-03-23"),
        ("by the fifth", "by the fifth", "2026-04-05"),
        ("in two weeks", "in two weeks", "2026-03-23"),
        ("within three working days", "within three working days", "2026-03-12"),
        ("tomorrow morning", "tomorrow morning", "2026-03-10"),
        ("by end of day", "by end of day", "2026-03-09"),
        ("right after this call", "right after this call", "2026-03-09"),
        ("by mid April", "by mid April", "2026-04-15"),
        ("on January 5", "on January 5", "2027-01-05"),
        ("on 2026-05-04", "on 2026-05-04", "2026-05-04"),
        ("我下周三之前发", "下周三之前", "2026-03-18"),
        ("月底前搞定", "月底前", "2026-03-31"),
        ("下个月底前", "下个月底前", "2026-04-30"),
        ("12月5号", "12月5号", "2026-12-05"),
        ("十二月五号之前", "十二月五号之前", "2026-12-05"),
        ("这周五下班前", "这周五下班前", "2026-03-13"),
        ("最晚周四", "最晚周四", "2026-03-12"),
        ("三天内", "三天内", "2026-03-12"),
        ("二十号之前", "二十号之前", "2026-03-20"),
        ("明天下午三点前", "明天下午三点前", "2026-03-10"),
        ("本周内", "本周内", "2026-03-13"),
        ("大后天", "大后天", "2026-03-12"),
        ("季度末", "季度末", "2026-03-31"),
        ("下週三之前", "下週三之前", "2026-03-18"),
    ],
)
def test_a_day_is_found_and_resolved(said: str, phrase: str, day: str) -> None:
    [found] = due_phrases(said, MONDAY)
    assert found.text == phrase
    assert said[found.start : found.end] == phrase
    assert str(found.day) == day


@pytest.mark.parametrize(
    "said",
    [
        "We sent it last Friday.",
        "That was three weeks ago.",
        "I may do it.",
        "the second option",
        "上周五已经发了",
        "第三个方案",
        "三号楼",
    ],
)
def test_what_is_past_or_no_day_is_not_found(said: str) -> None:
    assert due_phrases(said, MONDAY) == []


def test_a_month_is_a_due_phrase_without_a_day() -> None:
    [found] = due_phrases("I'll book it for June.", MONDAY)
    assert (found.text, found.day) == ("for June", None)


def test_without_the_day_of_the_meeting_the_words_are_kept() -> None:
    [found] = due_phrases("by Friday", None)
    assert (found.text, found.day) == ("by Friday", None)


def test_a_day_that_no_month_has_is_not_resolved() -> None:
    assert all(phrase.day is None for phrase in due_phrases("by February 30", MONDAY))
