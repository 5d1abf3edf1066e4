from __future__ import annotations

from .matching import Score, pair, same_owner, score, total


def test_the_pair_that_shares_most_is_matched_first() -> None:
    found = [["u1", "u2", "u3", "u9"], ["u1"]]
    assert pair(found, [["u1"]]) == [(1, 0)]


def test_an_item_found_twice_is_wrong_once() -> None:
    result = score([["u1"], ["u1", "u2"]], [["u1", "u2"]])
    assert (result.right, result.found, result.planted) == (1, 2, 1)
    assert result.precision == 0.5
    assert result.recall == 1.0


def test_nothing_found_where_nothing_is_planted_is_right() -> None:
    assert score([], []).f1 == 1.0


def test_scores_of_meetings_are_added() -> None:
    assert total([Score(1, 2, 3), Score(2, 2, 2)]) == Score(3, 4, 5)


def test_an_owner_may_be_named_in_part() -> None:
    assert same_owner("Brandt", "Mr Brandt")
    assert same_owner("", "")
    assert not same_owner("", "Anna")
    assert not same_owner("Ben", "Anna")
