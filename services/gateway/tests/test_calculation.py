"""Calculations: when one is made, what a program may say, what it gives, what is named missing."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf import struct_pb2

from atrium.gateway.v1 import gateway_pb2
from atrium_gateway.adapters.monty_sandbox import MontySandbox, SandboxLimits
from atrium_gateway.domain.calculation import needs_calculation, read_draft, show
from atrium_gateway.domain.programs import (
    Guessed,
    ProgramFailed,
    ProgramRefused,
    exact,
    given_by,
)
from atrium_gateway.testing import ServedGateway, refusal

# When one is made


@pytest.mark.parametrize(
    "question",
    [
        "What is 17.5% of 240?",
        "Calculate 12 * (3 + 4.5)",
        "A shirt costs 120 yuan with 15% off. How much are 3 shirts?",
        "How many days are there from 5 January 2024 to 1 March 2024?",
        "What is the average of 3, 8 and 13?",
        "If sales grew from 1.2 million to 1.5 million, what percent change is that?",
        "Split 90 euros equally among 4 people. How much does each pay?",
        "一件衣服 200 元，打八五折，买 3 件一共多少钱？",
        "从2024年1月5日到2024年3月1日有多少天？",
        "年利率 3.5%，存 10000 元，三年后的利息是多少？",
        "12 乘以 8 等于多少？",
        "2026年3月2日的45天之后是哪一天？",
        "每箱 24 瓶，5 箱多少瓶？",
        "一箱苹果分给 8 个人，每人几个？",
    ],
)
def test_a_question_that_needs_a_calculation_is_told(question: str) -> None:
    assert needs_calculation(question)


@pytest.mark.parametrize(
    "question",
    [
        "What does section 3 say about leave?",
        "Who approved version 2.1 of the handbook?",
        "How many days of annual leave do I have?",
        "Summarise the 3 main points of the meeting of 2 March 2026.",
        "Translate 'we sold 20 units' into Chinese.",
        "第3条规定了什么？",
        "我有多少天年假？",
        "总结一下 2026 年 3 月 2 日的会议。",
        "P7 级的奖金是多少？",
        "Hello!",
        "",
    ],
)
def test_other_questions_cost_nothing(question: str) -> None:
    assert not needs_calculation(question)


def test_numbers_may_stand_in_earlier_messages() -> None:
    assert needs_calculation("What is the total?", ["We bought 3 chairs at 80 each."])
    assert not needs_calculation("What is the total?")


# What a program may say


GIVEN = given_by(["3 shirts at 120 yuan, 15% off, since 2 March 2026, 1,250.50 in all"])


@pytest.mark.parametrize(
    "program",
    [
        "import os\nresult = 1",
        "from socket import socket\nresult = 1",
        "result = open('x')",
        "result = eval('1')",
        "result = __import__('os')",
        "result = (3).__class__",
        "result = [].__len__",
        "result = getattr(3, 'real')",
        "class A: pass",
        "result = (lambda: 3)()",
        "try:\n    result = 3\nexcept Exception:\n    pass",
        "with open('x') as f: pass",
        "raise SystemExit",
        "global x",
        "async def f(): pass",
        "_shown = 3",
        "def _add(a, b): return 3",
        "def f(*a): return 3",
        "@print\ndef f(): return 3",
        "result = f'{3!r}'",
        "result = '%s' % 3 if (y := 3) else 1",
        "result = int",
        "result = 3 is 3",
        "result = 3j",
        "result = b'x'",
        "x = sum\nresult = x([3])",
        "result = date.fromordinal(3)",
        "print = 3\nresult = print(3)",
        "del x",
        "assert 3",
        "while 3:\n    pass\nelse:\n    pass",
        "result = ((((3",
        "(" * 250 + "3" + ")" * 250,
        "-" * 3000 + "3",
        "+".join(["3"] * 1500),
        "result = 3 # " + "x" * 5000,
        "\0",
        "",
        "pass",
        "result = None",
    ],
)
def test_what_a_program_may_not_say_is_refused_with_the_reason(program: str) -> None:
    with pytest.raises(ProgramRefused) as caught:
        exact(program, GIVEN)
    assert str(caught.value)


@pytest.mark.parametrize(
    ("program", "names"),
    [
        ("price = 99\nresult = price * 3", ["price"]),
        ("result = 120 * 7", ["7"]),
        ("result = 120 * 0.9", ["0.9"]),
        ("result = unit_price * 3", ["unit price"]),
        ("rate = 0\nresult = 120 * rate", ["rate"]),
        ("weight = None\nresult = 3 * weight", ["weight"]),
        ("height = input()\nresult = 3 * height", ["height"]),
        ("result = days_between(date(2026, 3, 2), date(2026, 4, 9))", ["4", "9"]),
        (
            "from datetime import date\nresult = (date.today() - date(2026, 3, 2)).days",
            ["today's date"],
        ),
        ("result = days_between('2026-03-02', '2027-03-02')", ["'2027-03-02'"]),
    ],
)
def test_a_number_that_is_not_given_is_a_guess(program: str, names: list[str]) -> None:
    with pytest.raises(Guessed) as caught:
        exact(program, GIVEN)
    assert list(caught.value.names) == names


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1,250.50 元", ["1250.50"]),
        ("15% off", ["15", "0.15", "0.85", "1.15", "100"]),
        ("百分之三点五", ["3.5", "0.035"]),
        ("打八五折", ["0.85", "8.5"]),
        ("涨了三成", ["0.3", "1.3"]),
        ("3.5 万元", ["35000", "3.5"]),
        ("1.2 million", ["1200000"]),
        ("十五个人", ["15"]),
        ("twenty-five people", ["25"]),
        ("2 March 2026", ["2", "3", "2026"]),
        ("how many minutes are 3 hours", ["60"]),
        ("每月 300 元，一年", ["12"]),
        ("两周", ["7", "2"]),
        ("half of it", ["2", "0.5"]),
    ],
)
def test_what_a_question_gives_may_be_written_in_many_ways(text: str, numbers: list[str]) -> None:
    from fractions import Fraction

    assert {Fraction(number) for number in numbers} <= given_by([text]).numbers


def test_a_date_does_not_bring_the_constants_of_its_units() -> None:
    assert 12 not in given_by(["from 2 March 2026 on"]).numbers
    assert 12 not in given_by(["2026年3月2日起"]).numbers


# What it gives


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[MontySandbox]:
    sandbox = MontySandbox(SandboxLimits(seconds=0.5), processes=2)
    yield sandbox
    await sandbox.close()


async def run(sandbox: MontySandbox, program: str, question: str = "", unit: str = "") -> str:
    given = given_by([program, question, "half, %, 60 minutes"])
    return show(await sandbox.run(exact(program, given)), question, unit)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("program", "result"),
    [
        ("result = 0.1 + 0.2", "0.3"),
        ("result = 1 / 3 * 3", "1"),
        ("result = 10 / 4", "2.5"),
        ("result = 1 / 3", "about 0.333333"),
        ("result = round(2.675, 2)", "2.68"),
        ("result = round(2.5)", "3"),
        ("result = round(-2.5)", "-3"),
        ("result = round_half_even(2.5)", "2"),
        ("result = round(1234567.891, 1)", "1,234,567.9"),
        ("result = 7 // 2 + -7 // 2", "-1"),
        ("result = -7 % 3", "2"),
        ("result = 2 ** 10", "1,024"),
        ("result = 4 ** 0.5", "2"),
        ("result = 1.331 ** (1 / 3)", "1.1"),
        ("result = 2 ** -2", "0.25"),
        ("result = int(7.9) + float('1.5')", "8.5"),
        ("result = sum([1.1, 2.2]) + max(1, 2.5) + min([3, 4])", "8.8"),
        ("result = sorted([3, 1.5, 2])", "1.5, 2, 3"),
        ("result = average(1, 2)", "1.5"),
        ("result = percent_of(30, 120)", "25"),
        ("result = percent_change(80, 100)", "25"),
        ("result = round(compound(10000, 3.5, 3), 2)", "11,087.18"),
        ("x = 1\nfor i in range(5):\n    x *= 2\nresult = x", "32"),
        ("def f(x):\n    return x * 1.5\nprint(f(3))", "4.5"),
        ("result = f'{1234.5:,.2f}'", "1,234.50"),
        ("result = [x for x in [1, 2, 3] if x > 1][0]", "2"),
        ("if 3 > 2.5:\n    result = 'yes'\nelse:\n    result = 'no'", "yes"),
        ("result = 3 > 2.5 > 1", "yes"),
        ("result = date(2024, 2, 28) + timedelta(days=2)", "2024-03-01"),
        ("result = (date(2024, 3, 1) - date(2024, 2, 1)).days", "29"),
        ("result = add_months(date(2024, 1, 31), 1)", "2024-02-29"),
        ("result = workdays_between(date(2024, 1, 1), date(2024, 1, 7))", "5"),
        ("result = add_workdays(date(2024, 1, 5), 1)", "2024-01-08"),
        ("result = weekday(date(2024, 1, 1))", "Monday"),
        ("result = age(date(2000, 2, 29), date(2024, 2, 28))", "23"),
        ("import math\nresult = math.ceil(7 / 2) + math.floor(2.5)", "6"),
        ("from decimal import Decimal\nresult = Decimal('0.1') * 3", "0.3"),
        ("120 * 3", "360"),
        ("total = 1\nnumber = 2\nday = 3\nresult = sum([total, number, day]) * 0.5", "3"),
        ("def total(x, number):\n    return x + number\nresult = total(1.5, number=2)", "3.5"),
        ("result = sorted([1, 2], reverse=True)", "2, 1"),
    ],
)
async def test_results_are_exact(sandbox: MontySandbox, program: str, result: str) -> None:
    assert await run(sandbox, program) == result


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("result = 1\nwhile True:\n    pass", "longer than 0.5 s"),
        ("def f(x):\n    return f(x)\nresult = f(3)", "calls itself"),
        ("result = 9 ** 9 ** 9", "too large"),
        ("x = 9\nwhile True:\n    x = x * x", "too large|longer than"),
        ("result = 10 ** 100", "too large"),
        ("result = 1 / 0", "division by zero"),
        ("result = date(2024, 2, 30)", "day"),
        ("result = 'a' + 1", "TypeError"),
        ("result = sqrt(-1)", "negative"),
        ("result = [1][5]", "IndexError"),
        ("result = []", "1 to 50 parts"),
        ("result = workdays_between(date(1, 1, 1), date(9999, 1, 1))", "100 years"),
    ],
)
async def test_a_program_that_goes_wrong_is_stopped_with_the_reason(
    sandbox: MontySandbox, program: str, why: str
) -> None:
    with pytest.raises(ProgramFailed, match=why):
        await run(sandbox, program)
    assert await run(sandbox, "result = 1") == "1"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "program",
    [
        "x = [1]\nwhile True:\n    x = x + x",
        "x = 'a'\nfor i in range(60):\n    x = x + x\nresult = x",
    ],
)
async def test_a_program_that_takes_too_much_memory_is_stopped(program: str) -> None:
    # With more time than it takes to fill the memory, also on a busy machine.
    sandbox = MontySandbox(SandboxLimits(seconds=20), processes=1)
    try:
        with pytest.raises(ProgramFailed, match="memory"):
            await run(sandbox, program)
    finally:
        await sandbox.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_worker_that_does_not_stop_is_killed_and_replaced() -> None:
    # Without the interpreter's own limit of time: what is left is the kill from outside.
    sandbox = MontySandbox(SandboxLimits(seconds=0.1), processes=1)
    limits = sandbox._resource_limits() | {"max_feed_duration_secs": None}
    sandbox._resource_limits = lambda: limits  # type: ignore[method-assign]
    try:
        with pytest.raises(ProgramFailed, match="longer than"):
            await run(sandbox, "result = 1\nwhile True:\n    pass")
        assert await run(sandbox, "result = 1") == "1"
    finally:
        await sandbox.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_the_event_loop_goes_on_while_a_program_runs(sandbox: MontySandbox) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    with pytest.raises(ProgramFailed):
        await run(sandbox, "result = 1\nwhile True:\n    pass")
    ticking.cancel()
    assert ticks >= 5


# How a result reads


@pytest.mark.parametrize(
    ("value", "question", "unit", "text"),
    [
        (["number", "1", "3"], "平均多少元？", "元", "约 0.333333 元"),
        (["number", "1", "300000"], "how much", "", "about 0.00000333333"),
        (["number", "-5", "2"], "", "", "-2.5"),
        (["number", "25", "1"], "what %", "%", "25%"),
        (["number", "25", "1"], "how much is it", "euros", "25"),
        (["number", "25", "1"], "how many $", "$", "$25"),
        (["days", 3], "还有几天", "天", "3 天"),
        (["weekday", 7], "那天星期几？", "", "星期日"),
        (["bool", False], "够吗，一共多少？", "", "否"),
    ],
)
def test_a_result_reads_in_the_language_of_its_question(
    value: list[Any], question: str, unit: str, text: str
) -> None:
    assert show(value, question, unit) == text


@pytest.mark.parametrize(
    "reply", ["", "[]", "3", '{"program": 3, "missing": []}', '{"missing": []}', "{"]
)
def test_a_draft_that_is_none_is_told(reply: str) -> None:
    assert read_draft(reply) is None


def test_words_for_nothing_are_not_missing() -> None:
    draft = read_draft('{"missing": ["none", "无", "price"], "program": "", "unit": ""}')
    assert draft is not None
    assert draft.missing == ("price",)


# The whole call


def ask(question: str, **more: Any) -> gateway_pb2.GenerateRequest:
    message = gateway_pb2.Message(role=gateway_pb2.Message.USER, content=question)
    fields: dict[str, Any] = {"aids": [gateway_pb2.CALCULATE], **more}
    return gateway_pb2.GenerateRequest(task="default", messages=[message], **fields)


def draft(program: str = "", missing: tuple[str, ...] = (), unit: str = "") -> str:
    return json.dumps({"missing": list(missing), "program": program, "unit": unit})


SHIRTS = "A shirt costs 120 yuan with 15% off. How much are 3 shirts?"
PROGRAM = "price = 120\nresult = price * (1 - 0.15) * 3"


async def test_only_the_result_is_shown(served: ServedGateway) -> None:
    served.scripted.enqueue(draft(PROGRAM, unit="yuan"))
    reply = await served.models.Generate(ask(SHIRTS))
    assert reply.text == "Result: 306 yuan"
    assert reply.calculation == gateway_pb2.Calculation(program=PROGRAM, result="306 yuan")
    assert reply.finish_reason == gateway_pb2.GenerateResponse.STOP
    assert reply.usage.completion_tokens > 0
    assert reply.engine.model == "scripted"
    assert served.scripted.prompts[-1].response_schema is not None


async def test_a_stream_shows_the_result_and_then_the_whole(served: ServedGateway) -> None:
    served.scripted.enqueue(draft("result = 200 * 0.85 * 3", unit="元"))
    question = "一件衣服 200 元，打八五折，买 3 件一共多少钱？"
    events = [event async for event in served.models.StreamGenerate(ask(question))]
    assert [event.delta for event in events[:-1]] == ["结果：510 元"]
    assert events[-1].done.calculation.result == "510 元"


async def test_traditional_characters_are_answered_in_them(served: ServedGateway) -> None:
    served.scripted.enqueue(draft("result = 200 * 3"))
    reply = await served.models.Generate(ask("一件衣服 200 元，買 3 件總共多少錢？"))
    assert reply.text == "結果：600"


async def test_a_missing_quantity_is_named(served: ServedGateway) -> None:
    served.scripted.enqueue(draft(missing=("the price of an apple",)))
    reply = await served.models.Generate(ask("I buy 3 apples. How much do I pay in total?"))
    assert "the price of an apple" in reply.text
    assert list(reply.calculation.missing) == ["the price of an apple"]
    assert not reply.calculation.program
    assert not reply.calculation.result


async def test_a_guess_is_told_to_the_model_and_then_named(served: ServedGateway) -> None:
    guess = draft("price = 5\nresult = 3 * price")
    served.scripted.enqueue(guess, guess)
    reply = await served.models.Generate(ask("我买了 3 个苹果，一共要付多少钱？"))
    assert list(reply.calculation.missing) == ["price"]
    assert reply.text == "无法计算：问题没有给出price。请补充。"
    assert "price" in served.scripted.prompts[-1].messages[-1].content


async def test_a_program_that_fails_is_told_to_the_model_which_may_mend_it(
    served: ServedGateway,
) -> None:
    served.scripted.enqueue(draft("result = 120 / 0"), draft(PROGRAM))
    reply = await served.models.Generate(ask(SHIRTS))
    assert reply.text == "Result: 306"
    assert "division by zero" in served.scripted.prompts[-1].messages[-1].content


async def test_a_model_that_writes_no_usable_program_fails_the_call(served: ServedGateway) -> None:
    served.scripted.enqueue("no JSON", draft("import os\nresult = 120"))
    error = await refusal(served.models.Generate(ask(SHIRTS)))
    assert error.reason == "CALCULATION_FAILED"
    assert "importing 'os'" in error.metadata["why"]


async def test_numbers_of_sources_are_given_too(served: ServedGateway) -> None:
    served.scripted.enqueue(draft("result = 23 / 2"))
    source = gateway_pb2.Source(id="s", text="Annual leave is 23 days.")
    reply = await served.models.Generate(ask("How much is half of the annual leave of 2026?",
                                             sources=[source]))  # fmt: skip
    assert reply.text == "Result: 11.5"
    assert "23 days" in served.scripted.prompts[-1].messages[-1].content


@pytest.mark.parametrize("aids", [[], [gateway_pb2.CALCULATE]])
async def test_a_question_without_a_calculation_is_answered_as_ever(
    served: ServedGateway, aids: list[gateway_pb2.Aid]
) -> None:
    reply = await served.models.Generate(ask("What does section 3 say?", aids=aids))
    assert reply.text == "scripted: What does section 3 say?"
    assert not reply.HasField("calculation")
    assert len(served.scripted.prompts) == 1


async def test_the_aid_is_not_taken_unasked(served: ServedGateway) -> None:
    reply = await served.models.Generate(ask(SHIRTS, aids=[]))
    assert reply.text.startswith("scripted: ")


async def test_a_result_follows_no_schema(served: ServedGateway) -> None:
    schema = struct_pb2.Struct()
    schema.update({"type": "object"})
    error = await refusal(served.models.Generate(ask(SHIRTS, response_schema=schema)))
    assert error.reason == "CALCULATION_WITH_SCHEMA"


@pytest.mark.parametrize(
    "question",
    [
        "How much is 3 + 4? " + "word " * 2_000_000,
        "9" * 5_000 + " times 3 is how much in total?",
        "1," * 1_900 + " how much in total?",
        "two hundred and " * 240 + " how much in total?",
        "一" * 3_000 + "点五多少",
        "百分之" * 1_300 + "多少",
    ],
    ids=["ten megabytes", "digits", "commas", "words", "numerals", "percents"],
)
def test_a_strange_question_takes_no_time(question: str) -> None:
    started = time.perf_counter()
    needs_calculation(question)
    given_by([question])
    assert time.perf_counter() - started < 10  # seconds, on a busy machine
