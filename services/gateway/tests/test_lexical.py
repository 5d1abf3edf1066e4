from __future__ import annotations

import pytest

from atrium_gateway.domain.lexical import coverage, likeness, terms
from atrium_gateway.domain.similarity import SimilarityScale
from atrium_gateway.domain.tokens import estimate_tokens, most_prompt_tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Annual LEAVE, 20 days!", ["annual", "leave", "20", "days"]),
        ("年假二十天", ["年假", "假二", "二十", "十天"]),
        ("ＡＢＣ１２", ["abc12"]),
        ("用Python写", ["用", "python", "写"]),
        ("カタカナ", ["カタ", "タカ", "カナ"]),
        ("_ - !", []),
    ],
)
def test_terms_are_words_or_pairs_of_characters(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


def test_coverage_counts_rare_words_of_the_query_more() -> None:
    texts = ["the leave policy", "the the the", "policy of the house", ""]
    leave, the, policy, nothing = coverage("the leave", texts)
    assert leave == pytest.approx(1)
    assert leave > the == policy > nothing == 0


def test_coverage_of_a_query_without_words_is_nothing() -> None:
    assert coverage("?!", ["a", "b"]) == [0, 0]


def test_likeness_is_one_for_the_same_words_and_nothing_for_others() -> None:
    assert likeness("How many days?", "how many DAYS") == 1
    assert likeness("pay", "leave") == 0
    assert likeness("", "") == 0
    assert 0 < likeness("工资多少", "工资条") < 1


def test_fit_is_a_half_in_the_middle_of_an_encoders_scale() -> None:
    scale = SimilarityScale(0.78, 0.89)
    assert scale.fit(0.835) == pytest.approx(0.5)
    assert scale.fit(0.78) == pytest.approx(0.119, abs=1e-3)
    assert scale.fit(0.89) == pytest.approx(0.881, abs=1e-3)
    assert 0 < scale.fit(-1) < scale.fit(1) < 1


def test_estimates_of_tokens_hold_for_both_languages() -> None:
    english = "The annual leave of full-time employees is twenty days a year."
    assert estimate_tokens(english) == 16
    assert estimate_tokens("全职员工每年享有二十天年假。") == 11
    assert estimate_tokens("") == 0
    assert most_prompt_tokens(()) == 0
