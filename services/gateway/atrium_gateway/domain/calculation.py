"""Calculations: which questions need one, how the model is asked, and how a result reads."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from atrium_grounding.quantities import find_quantities
from atrium_grounding.scripts import Script, script_of
from atrium_grounding.tokens import fold

_MOST_DECIMALS: Final = 12
_SHOWN_DECIMALS: Final = 6
_LONGEST_QUESTION: Final = 4_000
_MOST_NAMED: Final = 8
_LONGEST_NAME: Final = 80
_LONGEST_UNIT: Final = 16


# Whether one is needed

_FORMULA: Final = re.compile(
    r"\d\s*%?\s*(?:[+*/×÷x^＋×÷]|加上?|减去?|乘以?|除以|plus|minus|times|divided by|"
    r"multiplied by|% of)\s*(?:the )?\(?\d|\d\s+[-−]\s+\d"
)
_COMPUTES: Final = re.compile(
    r"计算|算一下|算算|求和|总共|一共|合计|共计|总计|总额|总价|平均|均价|相差|差多少|差几|多多少|少多少|"
    r"还剩|剩下|剩余|增长|涨了|降了|折后|打.{0,3}折|利息|本息|复利|税后|税前|到手|百分之几|百分之多少|占.{0,12}(?:多少|几|比)|"
    r"几倍|多少倍|每.{0,6}(?:多少|几)|各.{0,4}(?:多少|几)|人均|分给|换算|相当于多少|"
    r"(?:天|日|周|个月|月|年|小时|分钟)(?:之)?(?:后|前|以后|之后)是|(?:到|至|距离?).{0,24}(?:多少|几)(?:天|个?月|年|周|个?工作日|小时|分钟)|"
    r"\b(?:calculat|comput|work out|in total|altogether|total|sum of|add up|averag|mean of|"
    r"difference|differ|remain|left over|left\?|are left|is left|increas|decreas|grew|grow|rise|"
    r"rose|discount|interest|compound|"
    r"after tax|before tax|percent(?:age)? (?:of|change)|what percent|per (?:person|head|day|week|"
    r"month|year|hour|unit|item)|each|split|shared? (?:equally|among|between)|convert|"
    r"how many (?:working |business |calendar )?(?:days|weeks|months|years|hours|minutes)|"
    r"(?:days|weeks|months|years|hours|minutes) (?:after|before|from|later)|twice|half of|"
    r"how much (?:more|less|cheaper|longer|change)|how many (?:more|fewer|times))"
)
_ASKS: Final = re.compile(
    r"多少|几(?!乎)|等于|是多|何时|哪[一]?天|哪[一]?日|星期几|周几|\bhow (?:much|many|long|old)\b|"
    r"\bwhat\b|\bwhen\b|\bwhich (?:day|date)\b|="
)
_HOLDS_NUMBER: Final = re.compile(r"\d|[一二两三四五六七八九十百千]\s*[个元天年月人件%]")
_COMMANDS: Final = re.compile(
    r"计算|算一下|算算|求|换算|\b(?:calculate|compute|work out|convert)\b"
)
_REFERENCE: Final = re.compile(
    r"第\s*[\d一二三四五六七八九十百]+\s*[条章节款页项步版次届号]|\b(?:section|clause|article|chapter|page|step|version|"
    r"item|line|room|no\.?|number|§|appendix|figure|table|question|ticket|issue)\s*#?\s*\d[\d.]*|\bv\d[\d.]*|"
    r"#\d+|\b[a-z]+-?\d[\w.-]*\b"
)


def needs_calculation(question: str, context: Sequence[str] = ()) -> bool:
    """Tell whether a question asks for something that must be calculated.

    By rules, so that a question that does not costs nothing: it must ask, and hold a formula, or a
    number together with a word for computing, or two numbers and "how much". Numbers that only
    point at something (section 3, version 2.1) do not count. A text of more than 4,000 characters
    is no question: it is not read.

    Args:
        question: What is asked.
        context: Texts whose numbers the question may mean, such as earlier messages.
    """
    if len(question) > _LONGEST_QUESTION:
        return False
    text = _REFERENCE.sub(" ", fold(question))
    if _FORMULA.search(text):
        return True
    if not (_ASKS.search(text) or _COMMANDS.search(text)):
        return False
    counted = find_quantities(text)
    if _COMPUTES.search(text):
        return bool(counted) or any(_HOLDS_NUMBER.search(each) for each in context)
    return len(counted) >= 2 and bool(re.search(r"多少|几(?!乎)|\bhow (?:much|many|old)\b", text))


# How the model is asked

SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "missing": {"type": "array", "items": {"type": "string"}, "maxItems": _MOST_NAMED},
        "program": {"type": "string"},
        "unit": {"type": "string"},
    },
    "required": ["missing", "program", "unit"],
    "additionalProperties": False,
}
"""What the model's reply must follow."""

INSTRUCTIONS: Final = """\
You turn a question into a short Python program. Do not calculate anything yourself.
Reply with JSON: "missing", "program", "unit".
- "missing": the quantities that are needed and that the question does not give, each in a few words in \
the language of the question. Never guess a number. If anything is missing, leave "program" empty. \
If nothing is missing: [].
- "program": plain Python without imports. First one variable for each number, exactly as written in the \
question (15% is 0.15). The last line assigns the answer to `result`.
- "unit": the unit of the result as the question writes it, or "".
Functions: round(x, n) rounds half up, round_half_even(x, n), floor, ceil, sqrt, sum, min, max, \
average, percent_of(part, whole), percent_change(old, new), compound(principal, rate_percent, periods), \
date(year, month, day), days_between(start, end), add_days(d, n), add_months(d, n), \
workdays_between(start, end), add_workdays(d, n), weekday(d), age(born, when).

Question: A shirt costs 120 yuan. With 15% off, how much are 3 shirts?
{"missing": [], "program": "price = 120\\ndiscount = 0.15\\ncount = 3\\nresult = price * (1 - discount) * count", "unit": "yuan"}
Question: 一箱苹果分给 8 个人，每人几个？
{"missing": ["一箱苹果的个数"], "program": "", "unit": ""}
Question: 从 2024 年 1 月 5 日到 2024 年 3 月 1 日有多少天？
{"missing": [], "program": "start = date(2024, 1, 5)\\nend = date(2024, 3, 1)\\nresult = days_between(start, end)", "unit": "天"}
"""  # noqa: E501
"""Said to the model before the conversation."""

AGAIN: Final = (
    "This program cannot be used: {why}. Use only numbers of the question. Reply with the JSON "
    'again; what the question does not give belongs into "missing", and "program" stays empty then.'
)
"""Said to the model when its first program cannot be used."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What the model made of a question."""

    program: str
    missing: tuple[str, ...]
    unit: str


_NOTHING: Final = frozenset(
    [
        "",
        "none",
        "nothing",
        "n/a",
        "na",
        "null",
        "no",
        "[]",
        "无",
        "没有",
        "无缺失",
        "不缺",
        "没有缺失",
    ]
)


def read_draft(reply: str) -> Draft | None:
    """Return what a model's reply says; None when it is not what was asked for."""
    try:
        said = json.loads(reply)
    except ValueError:
        return None
    if not isinstance(said, dict):
        return None
    program, missing, unit = said.get("program"), said.get("missing"), said.get("unit", "")
    if not (isinstance(program, str) and isinstance(missing, list) and isinstance(unit, str)):
        return None
    named = [str(each).strip()[:_LONGEST_NAME] for each in missing]
    kept = [each for each in named if each.lower().rstrip(".。") not in _NOTHING]
    return Draft(program.strip(), tuple(dict.fromkeys(kept))[:_MOST_NAMED], unit.strip())


# How a result reads

_RESULT: Final = {
    Script.EN: "Result: {}",
    Script.ZH: "结果：{}",
    Script.ZH_HANT: "結果：{}",
}
_MISSING: Final = {
    Script.EN: "This cannot be calculated: the question does not say {}. Please add it.",
    Script.ZH: "无法计算：问题没有给出{}。请补充。",
    Script.ZH_HANT: "無法計算：問題沒有給出{}。請補充。",
}
_ABOUT: Final = {Script.EN: "about ", Script.ZH: "约 ", Script.ZH_HANT: "約 "}
_AND: Final = {Script.EN: ", ", Script.ZH: "、", Script.ZH_HANT: "、"}
_WEEKDAYS: Final = {
    Script.EN: "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(),
    Script.ZH: [f"星期{day}" for day in "一二三四五六日"],
    Script.ZH_HANT: [f"星期{day}" for day in "一二三四五六日"],
}
_YES: Final = {
    True: {Script.EN: "yes", Script.ZH: "是", Script.ZH_HANT: "是"},
    False: {Script.EN: "no", Script.ZH: "否", Script.ZH_HANT: "否"},
}


def missing_text(question: str, missing: Sequence[str]) -> str:
    """Return the sentence that names missing quantities, in the question's language."""
    script = script_of(question)
    return _MISSING[script].format(_AND[script].join(missing))


def result_text(question: str, shown: str) -> str:
    """Return the sentence that gives a result, in the question's language."""
    return _RESULT[script_of(question)].format(shown)


def show(value: Sequence[Any], question: str, unit: str) -> str:
    """Return a result as it is read.

    A number with more decimals than can be read is given to six of them and marked as such.

    Args:
        value: Kind and value, as the sandbox gives them.
        question: Tells the language.
        unit: The model's; kept only when the question names it too.
    """
    script = script_of(question)
    kind, said = value[0], value[1]
    match kind:
        case "number":
            number = Fraction(int(said), int(value[2]))
            return _with_unit(_decimal(number, script), _unit(unit, question), script)
        case "days":
            return _with_unit(str(int(said)), _unit(unit, question), script)
        case "weekday":
            return _WEEKDAYS[script][int(said) - 1]
        case "bool":
            return _YES[bool(said)][script]
        case "list":
            return _AND[script].join(show(each, question, "") for each in said)
        case _:
            return str(said)


def _unit(unit: str, question: str) -> str:
    known = unit and len(unit) <= _LONGEST_UNIT and fold(unit) in fold(question)
    return unit if known and not any(character.isdigit() for character in unit) else ""


def _with_unit(number: str, unit: str, script: Script) -> str:
    if unit in ("$", "¥", "€", "£", "￥"):
        return f"{unit}{number}"
    gap = "" if unit in ("%", "％", "") else " "
    return f"{number}{gap}{unit}"


def _decimal(number: Fraction, script: Script) -> str:
    for decimals in range(_MOST_DECIMALS + 1):
        if (number * 10**decimals).denominator == 1:
            return _grouped(number, decimals)
    decimals = _SHOWN_DECIMALS
    while abs(number) * 10**decimals < 10 ** (_SHOWN_DECIMALS - 1) and decimals < 40:
        decimals += 1  # small numbers keep six digits that say something
    return _ABOUT[script] + _grouped(number, decimals)


def _grouped(number: Fraction, decimals: int) -> str:
    scaled = abs(number) * 10**decimals
    whole = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    entire, fraction = divmod(whole, 10**decimals)
    text = f"{entire:,}" + (f".{fraction:0{decimals}d}" if decimals else "")
    return f"-{text}" if number < 0 and whole else text
