"""Words, terms and the lexicon."""

from __future__ import annotations

import pytest

from atrium_grounding.languages import detect_language, is_in_another
from atrium_grounding.lexicon import Lexicon, lexicon
from atrium_grounding.tokens import fold, fold_keeping_length, words
from atrium_knowledge.domain.terms import index_terms, query_terms


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("年假規定", "年假规定"),
        ("ＰＹＴＨＯＮ", "python"),
        ("an SEV-1 incident", "a SEV 1 incident"),
        ("20,000 yuan", "20000 yuan"),
        ("deploying services", "deployed service"),
        ("P5 级", "p5级"),
    ],
)
def test_spellings_of_one_thing_have_the_same_terms(one: str, other: str) -> None:
    assert index_terms(one) == index_terms(other)


def test_small_words_are_no_terms() -> None:
    assert words("What is the lead time of it?") == ["lead", "time"]
    assert words("我的年假是多少") == ["年", "假"]


def test_codes_and_decimals_stay_whole() -> None:
    terms = index_terms("Grade P5 earns a factor of 1.25 in sev-1 cases")
    assert {"p5", "1.25", "sev1"} <= set(terms)


def test_folding_in_place_keeps_every_offset() -> None:
    text = "㈱ ﬁ 年假規定 ＡＢＣ"
    folded = fold_keeping_length(text)
    assert len(folded) == len(text)
    assert folded.endswith("年假规定 abc")
    assert fold("規") == "规"


def test_a_query_brings_translations_in_both_directions() -> None:
    assert "年假" in query_terms("How much annual leave do I have?")
    assert {"annual", "leav"} <= set(query_terms("年假有几天"))
    assert "rotterdam" in query_terms("鹿特丹的酒店")


def test_a_term_of_the_query_weighs_more_than_a_translation() -> None:
    weights = query_terms("annual leave")
    assert weights["leav"] >= 1 > weights["年假"] > 0


def test_a_passage_brings_no_translations() -> None:
    assert all(term.isascii() for term in index_terms("annual leave"))


def test_nothing_has_no_terms() -> None:
    assert not index_terms("")
    assert query_terms("？！ ...") == {}


def test_phrases_of_the_thesaurus_are_one_slot() -> None:
    small = Lexicon([("dog", [("狗", 9)])], [(["annual leave", "holiday"], ["年假"])])
    (leave, dog) = small.slots("annual leave for dogs")
    assert leave.surface == "annual leav"
    assert leave.chinese == {"年假": 0.9}
    assert ("holiday",) in leave.english
    assert dog.translations == ("狗",)


def test_chinese_phrases_are_found_wherever_the_segmenter_would_cut() -> None:
    surfaces = [slot.surface for slot in lexicon().slots("每年有多少天年假")]
    assert "年假" in surfaces


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("P5 的 bonus 是多少", "zh"),
        ("What does 年假 mean?", "en"),
        ("年假几天", "zh"),
        ("2 + 2", "en"),
        ("", "en"),
        ("VPN 怎么连", "zh"),
    ],
)
def test_the_language_of_a_question_is_that_of_its_grammar(text: str, language: str) -> None:
    assert detect_language(text) == language


@pytest.mark.parametrize(
    ("text", "language", "another"),
    [
        ("Every employee has 30 days of leave.", "zh", True),
        ("每位员工有 30 天年假。", "en", True),
        ("每位员工有 30 天年假。", "zh", False),
        ("Wu Jia, 24 h", "zh", False),
        ("15", "zh", False),
        ("15", "en", False),
        ("先用 Skiff 的 rollback 命令。", "zh", False),
        ("Shen Ruolan (沈若澜) decides on it.", "en", False),
    ],
)
def test_a_sentence_is_clearly_in_another_language_or_not(text, language, another):
    assert is_in_another(text, language) is another
