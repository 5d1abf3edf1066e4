"""Edited words keep or share times."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atrium_meeting.domain.edits import edit_words, new_words
from atrium_meeting.domain.errors import WordsInvalid
from atrium_meeting.domain.transcript import Disfluency, Word

BEFORE = [
    Word("Um", 0, 200, 0.5, Disfluency.FILLER),
    Word("we", 300, 400, 0.9),
    Word("meat", 400, 800, 0.4),
    Word("today.", 900, 1300, 0.9),
]


def times(text: str) -> list[tuple[str, int, int]]:
    return [(one.text, one.start_ms, one.end_ms) for one in edit_words(BEFORE, new_words(text))]


def test_words_that_stay_keep_their_times_and_lose_their_marks():
    edited = edit_words(BEFORE, new_words("Um we meet today."))
    assert edited == (
        Word("Um", 0, 200, 0.5),
        Word("we", 300, 400, 0.9),
        Word("meet", 400, 800, 1.0),
        Word("today.", 900, 1300, 0.9),
    )


def test_new_words_share_the_time_of_those_that_they_replace():
    assert times("Um we will all meet today.")[2:5] == [
        ("will", 400, 545),
        ("all", 545, 654),
        ("meet", 654, 800),
    ]


def test_words_that_are_added_take_the_pause_or_no_time():
    assert times("Um we meat again today.")[3] == ("again", 800, 900)
    assert times("Well Um we meat today.")[0] == ("Well", 0, 0)
    assert times("Um we meat today. Bye.")[-1] == ("Bye.", 1300, 1300)


def test_words_may_go():
    assert times("we today.") == [("we", 300, 400), ("today.", 900, 1300)]
    assert edit_words(BEFORE, []) == ()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["Um", "we", "meat", "today.", "new", "好"]), max_size=10))
def test_times_never_run_backwards_or_leave_the_utterance(texts: list[str]):
    edited = edit_words(BEFORE, texts)
    assert [one.text for one in edited] == texts
    starts = [one.start_ms for one in edited]
    assert starts == sorted(starts)
    assert all(0 <= one.start_ms <= one.end_ms <= 1300 for one in edited)


def test_what_no_word_can_be_is_refused():
    with pytest.raises(WordsInvalid, match="401 code points"):
        new_words("a" * 401)
    with pytest.raises(WordsInvalid, match="white space"):
        new_words(" \n ")
    assert new_words("") == []
