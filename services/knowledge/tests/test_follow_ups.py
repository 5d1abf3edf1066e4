"""Follow-up questions made to stand alone, by rules and by a model that is not trusted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from atrium_knowledge.app.interpret_question import InterpretQuestion
from atrium_knowledge.domain.answers import Decision
from atrium_knowledge.domain.conversations import Turn
from atrium_knowledge.domain.follow_ups import depends, stand_alone
from atrium_knowledge.testing import EMPLOYEE, ScriptedGenerator
from atrium_shared.models import ChatMessage, Generated
from atrium_shared.testing_models import NoGenerator

DATA = Path(__file__).parent / "data" / "follow_ups.tsv"
RIGHT_AT_LEAST = 0.93
"""Share of the development set; 59 of 60 when the rules were written."""


def rows() -> list[list[str]]:
    lines = DATA.read_text(encoding="utf-8").splitlines()
    return [(line + "\t").split("\t")[:4] for line in lines if not line.startswith("#")]


def understood(text: str, must: str, must_not: str) -> bool:
    folded = text.lower()
    needed = all(
        any(one in folded for one in choice.split("/")) for choice in must.lower().split("|")
    )
    return needed and not any(one in folded for one in must_not.lower().split("|") if one)


def turn(question: str) -> Turn:
    return Turn(
        1, question, question, "answers/a", Decision.ANSWERED, datetime(2026, 1, 1, tzinfo=UTC)
    )


def test_most_follow_ups_of_the_development_set_mean_what_they_should():
    wrong = [
        (before, question, told)
        for before, question, must, must_not in rows()
        if not understood(told := stand_alone(question, [before]), must, must_not)
    ]
    assert len(rows()) == 60
    assert 1 - len(wrong) / 60 >= RIGHT_AT_LEAST, wrong


@pytest.mark.parametrize(
    "question", ["那德国呢？", "And in Germany?", "Why?", "为什么？", "它多少钱？"]
)
def test_a_follow_up_without_a_question_before_is_asked_as_it_stands(question: str):
    assert stand_alone(question, []) == question
    assert depends(question)


@pytest.mark.parametrize(
    "question",
    [
        "How many days of annual leave do I get?",
        "Where is the Rotterdam office?",
        "What is the password policy for laptops?",
        "Wie viele Urlaubstage habe ich?",
        "年假有几天？",
        "出差住宿的报销标准是多少？",
        "公司邮箱密码忘了怎么办？",
        "",
        "???",
        "呢",
    ],
)
def test_a_question_that_stands_alone_is_left_as_it_is(question: str):
    assert stand_alone(question, ["What is the pay band of P5?", "P5的薪资是多少？"]) == question


def test_what_a_chain_of_follow_ups_is_about_is_kept():
    first = "How many days of annual leave do employees get in France?"
    second = stand_alone("And in Germany?", [first])
    third = stand_alone("How do I apply for it?", [second, first])
    assert understood(third, "apply|annual leave|germany", "france")


def test_a_greeting_between_is_passed_over():
    assert "年假" in stand_alone("怎么申请？", ["你好", "年假有几天？"])


class Writer(NoGenerator):
    """Never asked."""

    def stream(self, *given: Any, **named: Any) -> AsyncIterator[str | Generated]:
        raise AssertionError("the model was asked")


async def interpret(
    generator: Any, question: str, asked: Sequence[str], *, write: bool = True
) -> str:
    use_case = InterpretQuestion(generator)
    return await use_case(EMPLOYEE, question, [turn(one) for one in asked], write=write)


ASKED = ["How many days of annual leave do employees get in France?"]


async def test_a_model_may_say_it_with_words_of_the_conversation():
    better = "How many days of annual leave do employees in Germany get?"
    assert await interpret(ScriptedGenerator(better), "And in Germany?", ASKED) == better


@pytest.mark.parametrize(
    "written",
    [
        "How many days of paid parental leave do employees get in Germany?",
        "Employees in Germany get 30 days.",
        "How many days of annual leave do employees get?",
        "And in Germany?",
        "How many days do employees get in Germany?\nThey get 30.",
        "",
    ],
)
async def test_what_a_model_adds_or_leaves_out_makes_the_rules_decide(written: str):
    by_rules = "How many days of annual leave do employees get in Germany?"
    assert await interpret(ScriptedGenerator(written), "And in Germany?", ASKED) == by_rules


async def test_without_a_model_the_rules_decide():
    assert "Germany" in await interpret(NoGenerator(), "And in Germany?", ASKED)


async def test_a_model_sees_questions_and_nothing_else():
    model = ScriptedGenerator("x")
    await interpret(model, "And in Germany?", ASKED)
    (messages,) = model.asked
    seen: list[ChatMessage] = list(messages)
    assert seen[-1].content.splitlines() == [*ASKED, "And in Germany?"]


async def test_a_question_that_stands_alone_costs_no_call_of_a_model():
    question = "What is the dress code?"
    assert await interpret(Writer(), question, ASKED) == question
    assert await interpret(Writer(), "And in Germany?", [], write=True) == "And in Germany?"
    assert "Germany" in await interpret(Writer(), "And in Germany?", ASKED, write=False)
    long = "And in Germany? " * 50
    assert await interpret(Writer(), long, ASKED) == long
