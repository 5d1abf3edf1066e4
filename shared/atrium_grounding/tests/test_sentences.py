"""Units of a text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atrium_grounding.sentences import SentenceCutter, UnitKind, split_units


def pieces(text: str) -> list[str]:
    return [text[unit.start : unit.end] for unit in split_units(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("享有15天。“好吗？”他问。", ["享有15天。", "“好吗？”", "他问。"]),
        (
            "You have 3.5 days. Ask Dr. Smith, e.g. in Berlin.",
            ["You have 3.5 days.", "Ask Dr. Smith, e.g. in Berlin."],
        ),
        ("It is 9:30 a.m. Then go!", ["It is 9:30 a.m.", "Then go!"]),
        ("See No. 5 of J. R. Smith. Done.", ["See No. 5 of J. R. Smith.", "Done."]),
        (
            "Mail hr@x.example. URL https://a.b/c?d=e. Done",
            ["Mail hr@x.example.", "URL https://a.b/c?d=e.", "Done"],
        ),
        ("Yes? No!", ["Yes?", "No!"]),
        ("Yahoo!7 and a?b stay", ["Yahoo!7 and a?b stay"]),
        ("中文。English here. 又是中文。", ["中文。", "English here.", "又是中文。"]),
        ("", []),
        (" \n\n ", []),
    ],
)
def test_sentences_end_where_a_reader_would_end_them(text: str, expected: list[str]) -> None:
    assert pieces(text) == expected


def test_rows_and_list_items_are_units_of_their_own() -> None:
    text = "Grade: P5 | Min: 40,000. Net\n1. Open it. Then wait.\n- close it"
    units = split_units(text)
    assert [unit.kind for unit in units] == [
        UnitKind.TABLE_ROW,
        UnitKind.LIST_ITEM,
        UnitKind.LIST_ITEM,
    ]
    assert pieces(text)[1] == "1. Open it. Then wait."


def test_a_wrapped_line_goes_on_and_a_new_block_does_not() -> None:
    assert pieces("The rule holds for\nall offices.\n\nno capital here") == [
        "The rule holds for\nall offices.",
        "no capital here",
    ]


@given(st.text(alphabet='ab A.!?。！？…\n |-1、“”"中文', max_size=80))
def test_units_cover_all_but_white_space_and_never_overlap(text: str) -> None:
    units = split_units(text)
    position = 0
    for unit in units:
        assert not text[position : unit.start].strip()
        assert text[unit.start : unit.end] == text[unit.start : unit.end].strip() != ""
        position = unit.end
    assert not text[position:].strip()


@pytest.mark.parametrize(
    "text",
    [
        "享有15天。“好吗？”他问。",
        "You have 3.5 days. Ask Dr. Smith, e.g. in Berlin. Then go.",
        "Two rules:\n1. Be early.\n2. Be polite.\n\nThat is all!",
        "no end at all",
        "",
    ],
)
@pytest.mark.parametrize("step", [1, 3, 100])
def test_a_text_that_grows_is_cut_as_a_whole_one_and_nothing_is_lost(text: str, step: int) -> None:
    cutter, found = SentenceCutter(), []
    for start in range(0, len(text), step):
        found += cutter.feed(text[start : start + step])
    found += cutter.end()
    assert [each.strip() for each in found] == pieces(text)
    assert "".join(found) == text.rstrip()


def test_a_sentence_is_given_when_the_next_one_begins() -> None:
    cutter = SentenceCutter()
    assert cutter.feed("It costs 3.") == []
    assert cutter.feed("5 yuan. ") == []
    assert cutter.feed("So") == ["It costs 3.5 yuan."]
    assert cutter.end() == [" So"]
