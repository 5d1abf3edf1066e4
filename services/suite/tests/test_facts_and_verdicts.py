from __future__ import annotations

import pytest

from atrium_suite.demo.facts import mentions, mentions_all
from atrium_suite.demo.handbook import load_handbook
from atrium_suite.demo.verdicts import Shown, judge

HANDBOOK = load_handbook()
QUESTIONS = {question.id: question for question in HANDBOOK.questions}


def shown(decision: str, text: str = "", *, topic: str = "", document: str = "") -> Shown:
    return Shown(decision, topic, text, (document,) if document else (), text)


@pytest.mark.parametrize(
    ("text", "phrase", "found"),
    [
        ("每年享有 15 个工作日的年假", "15个工作日", True),
        ("You get 15 days.", "5 days", False),
        ("from ¥30,400 to ¥44,800", "30400", True),
        ("run `skiff rollback beacon`", "skiff rollback", True),
        ("１０ 天", "10 天", True),
        ("networks", "two", False),
        ("at most 2,5", "25", False),
    ],
)
def test_a_phrase_is_found_whole_and_however_it_is_written(
    text: str, phrase: str, found: bool
) -> None:
    assert mentions(text, phrase) is found


def test_of_each_fact_one_spelling_is_enough() -> None:
    assert mentions_all("30 days, from the fourth day", [("30 天", "30 days"), ("fourth day",)])
    assert not mentions_all("30 days", [("30 天", "30 days"), ("fourth day",)])


def test_what_only_others_may_read_is_forbidden_and_shared_numbers_are_not() -> None:
    pay = QUESTIONS["pay-band"]
    assert "30400" in HANDBOOK.forbidden_to("anna.de", pay)
    assert HANDBOOK.forbidden_to("lin.hr", pay) == ()
    leave = QUESTIONS["annual-leave"]
    assert HANDBOOK.forbidden_to("chen.cn", leave) == ("30 working days",)


def test_keywords_cannot_answer_in_another_language_than_the_document() -> None:
    leave = QUESTIONS["annual-leave"]
    assert HANDBOOK.needs_encoder("anna.de", leave, "zh")
    assert not HANDBOOK.needs_encoder("anna.de", leave, "en")
    assert not HANDBOOK.needs_encoder("lin.hr", leave, "zh")


def test_the_expected_answer_has_no_fault() -> None:
    answer = shown("ANSWERED", "30 working days [1]", document="leave-germany")
    verdict = judge(HANDBOOK, QUESTIONS["annual-leave"], "anna.de", "en", answer, encoder=True)
    assert verdict.faults == ()
    assert verdict.remarks == ()


def test_another_decision_is_a_fault() -> None:
    question = QUESTIONS["pay-band"]
    verdict = judge(HANDBOOK, question, "anna.de", "en", shown("NOT_FOUND"), encoder=True)
    assert verdict.faults == ("NOT_FOUND, expected was REFUSED",)


def test_a_refusal_for_another_topic_is_a_fault() -> None:
    refusal = shown("REFUSED", "...", topic="restructuring")
    verdict = judge(HANDBOOK, QUESTIONS["pay-band"], "anna.de", "en", refusal, encoder=True)
    assert "restructuring" in verdict.faults[0]


def test_a_forbidden_fact_in_a_source_is_a_fault_even_when_the_decision_is_right() -> None:
    leak = Shown("REFUSED", "pay", "Ask HR.", (), "Ask HR.\nP5: 30,400 to 44,800")
    verdict = judge(HANDBOOK, QUESTIONS["pay-band"], "anna.de", "en", leak, encoder=True)
    assert any("30400" in fault for fault in verdict.faults)


def test_other_words_and_other_sources_are_remarks() -> None:
    question = QUESTIONS["annual-leave"]
    vague = shown("ANSWERED", "A whole lot of them.", document="leave-germany")
    assert judge(HANDBOOK, question, "anna.de", "en", vague, encoder=True).remarks
    other = shown("ANSWERED", "30 working days", document="benefits")
    verdict = judge(HANDBOOK, question, "anna.de", "en", other, encoder=True)
    assert verdict.faults == ()
    assert "benefits" in verdict.remarks[0]


def test_without_an_encoder_an_answer_in_another_language_may_be_missing() -> None:
    question = QUESTIONS["annual-leave"]
    missing = shown("NOT_FOUND")
    assert judge(HANDBOOK, question, "anna.de", "zh", missing, encoder=False).faults == ()
    assert judge(HANDBOOK, question, "anna.de", "zh", missing, encoder=True).faults
    assert judge(HANDBOOK, question, "anna.de", "en", missing, encoder=False).faults
