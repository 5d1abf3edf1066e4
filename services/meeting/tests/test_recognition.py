from __future__ import annotations

from itertools import pairwise

import pytest

from atrium_grounding.scripts import Script, in_script
from atrium_meeting.domain.recognition import Piece, choose_languages, widen_marks, words_of


def _texts(*pieces: tuple[str, float, float]) -> list[tuple[str, int, int]]:
    words = words_of([Piece(text, start, end, 0.5) for text, start, end in pieces])
    return [(word.text, word.start_ms, word.end_ms) for word in words]


def test_english_pieces_become_words_with_their_marks() -> None:
    assert _texts((" Good", 0, 200), (" morn", 200, 300), ("ing", 300, 400), (".", 400, 900)) == [
        ("Good", 0, 200),
        ("morning.", 200, 400),
    ]


def test_chinese_pieces_become_characters_that_share_the_time() -> None:
    assert _texts(("今天", 100, 300), ("，", 300, 800), ("开会", 800, 1000)) == [
        ("今", 100, 200),
        ("天，", 200, 300),
        ("开", 800, 900),
        ("会", 900, 1000),
    ]


def test_latin_letters_in_chinese_are_one_word() -> None:
    found = _texts(("用", 0, 100), ("Kub", 100, 200), ("ernetes", 200, 400), ("部署", 400, 600))
    assert [text for text, *_ in found] == ["用", "Kubernetes", "部", "署"]


def test_times_that_run_backwards_are_put_in_order() -> None:
    words = words_of(
        [Piece(" a", 500, 400, 0.9), Piece(" b", 100, 50, 0.9), Piece(" c", -9, 700, 1.7)]
    )
    assert all(word.start_ms <= word.end_ms for word in words)
    assert all(one.start_ms <= other.start_ms for one, other in pairwise(words))
    assert words[-1].confidence == 1.0


def test_marks_without_a_word_are_no_words() -> None:
    assert _texts((" ...", 0, 100), ("-", 100, 200)) == []
    assert _texts((" yes", 0, 100), (" -", 100, 200), (" no", 200, 300)) == [
        ("yes-", 0, 100),
        ("no", 200, 300),
    ]


def test_rewriting_keeps_times_also_where_it_changes_the_length() -> None:
    pieces = [Piece("這個", 0, 200, 1.0), Piece("體", 200, 300, 1.0)]
    simplified = words_of(pieces, lambda text: in_script(text, Script.ZH))
    assert [(word.text, word.start_ms) for word in simplified] == [
        ("这", 0),
        ("个", 100),
        ("体", 200),
    ]
    doubled = words_of(pieces, lambda text: text.replace("體", "一体"))
    assert [(word.text, word.start_ms) for word in doubled] == [
        ("這", 0),
        ("個", 100),
        ("一", 200),
        ("体", 250),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("好,我们走.", "好，我们走。"),
        ("涨了3.5,对吗?", "涨了3.5,对吗？"),
        ("Yes, we do.", "Yes, we do."),
        ("版本:二.五", "版本：二。五"),
    ],
)
def test_marks_in_chinese_are_wide(text: str, expected: str) -> None:
    assert widen_marks(text) == expected


def test_long_stretches_keep_the_language_they_sound_like() -> None:
    chances = [[0.02, 0.98], [0.97, 0.03], [0.01, 0.99], [0.01, 0.99], [0.01, 0.99]]
    assert choose_languages(chances, [4_000] * 5) == [1, 0, 1, 1, 1]


def test_a_short_sound_is_of_the_language_around_it() -> None:
    lengths = [4_000, 700, 5_000]
    assert choose_languages([[0.01, 0.99], [0.9, 0.1], [0.02, 0.98]], lengths) == [1, 1, 1]
    assert choose_languages([[0.99, 0.01], [0.1, 0.9], [0.98, 0.02]], lengths) == [0, 0, 0]
    assert choose_languages([[0.9, 0.1]], [700]) == [0]


def test_what_is_doubtful_is_of_the_language_of_most() -> None:
    chances = [[0.01, 0.99]] * 4 + [[0.55, 0.45]]
    assert choose_languages(chances, [4_000] * 5) == [1] * 5
    assert choose_languages([], []) == []
