"""Random programs with what they must give, found in another way.

The program is text; the expected value comes from `fractions`, `decimal`, `calendar` and a walk
over days, and shares no code with the sandbox.
"""

from __future__ import annotations

import calendar
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal
from fractions import Fraction

_EXACTLY = Context(prec=400)
Value = Fraction | date | int


@dataclass(frozen=True)
class Program:
    """A program and its result: a number, a date, or the ISO number of a day of the week."""

    family: str
    text: str
    expected: Value


def programs(count: int, seed: int) -> list[Program]:
    """Return so many programs, families in turn."""
    rng = random.Random(seed)
    makers = list(_FAMILIES.items())
    made = []
    while len(made) < count:
        family, maker = makers[len(made) % len(makers)]
        text, expected = maker(rng)
        made.append(Program(family, text, expected))
    return made


def rounded(value: Fraction, digits: int, rounding: str = ROUND_HALF_UP) -> Fraction:
    """Return a value rounded by `decimal`: 400 digits tell every tie of these programs."""
    quotient = _EXACTLY.divide(Decimal(value.numerator), Decimal(value.denominator))
    step = Decimal(1).scaleb(-digits)
    return Fraction(quotient.quantize(step, rounding=rounding, context=_EXACTLY))


def _decimal(rng: random.Random) -> tuple[str, Fraction]:
    digits = rng.choice([0, 0, 1, 2, 2, 3, 5])
    text = f"{rng.randint(0, 10 ** rng.randint(1, 7))}"
    if digits:
        text += "." + "".join(rng.choices("0123456789", k=digits))
    return text, Fraction(text)


def _expression(rng: random.Random, depth: int) -> tuple[str, Fraction]:
    if depth == 0 or rng.random() < 0.15:
        return _decimal(rng)
    left, a = _expression(rng, depth - 1)
    right, b = _expression(rng, depth - 1)
    operator = rng.choice("+-*/+-*/" if b else "+-*")
    value = {"+": a + b, "-": a - b, "*": a * b}.get(operator)
    if value is None:
        value = a / b
    sign = rng.random() < 0.1
    text = f"({left} {operator} {right})"
    return (f"-{text}", -value) if sign else (text, value)


def _arithmetic(rng: random.Random) -> tuple[str, Fraction]:
    text, value = _expression(rng, rng.randint(1, 4))
    return f"result = {text}", value


def _rounding(rng: random.Random) -> tuple[str, Fraction]:
    if rng.random() < 0.5:  # a tie
        digits = rng.randint(0, 4)
        before = "".join(rng.choices("0123456789", k=digits))
        text = f"{rng.randint(0, 9999)}.{before}5"
        value = Fraction(text)
        if rng.random() < 0.3:
            text, value = f"-{text}", -value
    else:
        text, value = _expression(rng, 2)
        digits = rng.randint(0, 6)
    name, rounding = rng.choice(
        [("round", ROUND_HALF_UP), ("round_half_up", ROUND_HALF_UP),
         ("round_half_even", ROUND_HALF_EVEN)]
    )  # fmt: skip
    return f"result = {name}({text}, {digits})", rounded(value, digits, rounding)


def _percentages(rng: random.Random) -> tuple[str, Fraction]:
    price, p = _decimal(rng)
    if not p:  # a bare 0 stands for what is not known
        price, p = "100", Fraction(100)
    rate = f"{rng.randint(0, 99)}.{rng.randint(0, 99):02d}"
    r = Fraction(rate)
    other, o = _decimal(rng)
    match rng.randrange(6):
        case 0:
            return (
                f"price = {price}\nrate = {rate} / 100\nresult = round(price * (1 - rate), 2)",
                rounded(p * (1 - r / 100), 2),
            )
        case 1:
            count = rng.randint(1, 40)
            return (
                f"net = {price}\nresult = round(net * (1 + percent({rate})) * {count}, 2)",
                rounded(p * (1 + r / 100) * count, 2),
            )
        case 2 if p:
            return f"result = percent_change({price}, {other})", (o - p) / p * 100
        case 3 if o:
            return f"result = percent_of({price}, {other})", p / o * 100
        case 4:
            years = rng.randint(1, 30)
            return (
                f"result = round(compound({price}, {rate}, {years}), 2)",
                rounded(p * (1 + r / 100) ** years, 2),
            )
        case _:
            return (
                f"base = {price}\nbase += base * {rate} / 100\nbase -= {other}\nresult = base",
                p + p * r / 100 - o,
            )


def _lists(rng: random.Random) -> tuple[str, Fraction]:
    drawn = [_decimal(rng) for _ in range(rng.randint(1, 9))]
    texts, values = [text for text, _ in drawn], [value for _, value in drawn]
    items = ", ".join(texts)
    ordered = sorted(values)
    half = len(ordered) // 2
    middle = ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
    at = rng.randrange(len(values))
    return rng.choice(
        [
            (f"result = sum([{items}])", sum(values, Fraction(0))),
            (f"result = average({items})", sum(values, Fraction(0)) / len(values)),
            (f"result = median([{items}])", middle),
            (f"result = max({items}) - min([{items}])", max(values) - min(values)),
            (f"result = sorted([{items}])[{at}]", ordered[at]),
            (
                f"total = 0\nfor item in [{items}]:\n    total += item * 1.5\nresult = total",
                sum(values, Fraction(0)) * Fraction(3, 2),
            ),
            (
                f"result = sum([x for x in [{items}] if x > {texts[at]}])",
                sum((value for value in values if value > values[at]), Fraction(0)),
            ),
        ]
    )


def _integers(rng: random.Random) -> tuple[str, Fraction]:
    a, b = rng.randint(-9999, 9999), rng.randint(1, 99) * rng.choice([1, -1])
    base, exponent = rng.randint(-20, 20), rng.randint(0, 12)
    text, value = _decimal(rng)
    return rng.choice(
        [
            (f"result = {a} // {b}", Fraction(a // b)),
            (f"result = {a} % {b}", Fraction(a % b)),
            (f"result = ({base}) ** {exponent}", Fraction(base**exponent)),
            (f"result = ({text} / 4) // {abs(b)}", Fraction((value / 4) // abs(b))),
            (f"result = floor({text} * {b}) + ceil({text} / {abs(b)})",
             Fraction((value * b).__floor__() + (value / abs(b)).__ceil__())),
            (f"result = int(-{text}) + abs({a})", Fraction(int(-value) + abs(a))),
            (f"n = 0\nx = 1\nwhile x < {abs(a) + 1}:\n    x *= 1.5\n    n += 1\nresult = n",
             Fraction(_steps(abs(a) + 1))),
        ]
    )  # fmt: skip


def _steps(most: int) -> int:
    x, count = Fraction(1), 0
    while x < most:
        x *= Fraction(3, 2)
        count += 1
    return count


def _day(rng: random.Random) -> date:
    if rng.random() < 0.25:  # where dates go wrong
        year = rng.choice([1999, 2000, 2023, 2024, 2100])
        month, day = rng.choice([(1, 31), (2, 28), (3, 1), (8, 31), (12, 31)])
        return date(year, month, day)
    return date(1970, 1, 1) + timedelta(days=rng.randrange(0, 50_000))


def _written(when: date) -> str:
    return f"date({when.year}, {when.month}, {when.day})"


def _later_month(when: date, months: int) -> date:
    year, month = when.year, when.month
    for _ in range(abs(months)):
        month += 1 if months > 0 else -1
        if month == 13:
            year, month = year + 1, 1
        if month == 0:
            year, month = year - 1, 12
    return date(year, month, min(when.day, calendar.monthrange(year, month)[1]))


def _dates(rng: random.Random) -> tuple[str, Value]:
    a, b, count = _day(rng), _day(rng), rng.randint(0, 400)
    months = rng.randint(-30, 60)
    year, month = a.year, a.month
    older, younger = min(a, b), max(a, b)
    anniversary = sum(
        1
        for year_ in range(older.year + 1, younger.year + 1)
        if (year_, older.month, older.day) <= (younger.year, younger.month, younger.day)
    )
    start = f"start = {_written(a)}\nend = {_written(b)}\n"
    choices: list[tuple[str, Value]] = [
        (start + "result = days_between(start, end)", Fraction((b - a).days)),
        (start + "result = (end - start).days", Fraction((b - a).days)),
        (f"result = add_days({_written(a)}, {count})", a + timedelta(days=count)),
        (f"result = {_written(a)} + timedelta(days={count})", a + timedelta(days=count)),
        (f"result = {_written(a)} - timedelta(weeks={count % 50})", a - timedelta(count % 50 * 7)),
        (f"result = add_months({_written(a)}, {months})", _later_month(a, months)),
        (f"result = add_years({_written(a)}, {count % 30})", _later_month(a, count % 30 * 12)),
        (f"result = weekday({_written(a)})", a.isoweekday()),
        (f"result = last_day_of_month({year}, {month})",
         Fraction(calendar.monthrange(year, month)[1])),
        (f"result = age({_written(older)}, {_written(younger)})", Fraction(anniversary)),
        (f"result = date.fromisoformat('{a.isoformat()}')", a),
    ]  # fmt: skip
    return rng.choice(choices)


def _workdays(rng: random.Random) -> tuple[str, Value]:
    a = _day(rng)
    b = a + timedelta(days=rng.randint(0, 200))
    free = [a + timedelta(days=rng.randrange(0, 200)) for _ in range(rng.randint(0, 4))]
    holidays = f"[{', '.join(map(_written, free))}]"
    if rng.random() < 0.5:
        days = [a + timedelta(days=n) for n in range((b - a).days + 1)]
        count = sum(1 for day in days if day.weekday() < 5 and day not in free)
        text = f"result = workdays_between({_written(a)}, {_written(b)}, {holidays})"
        return text, Fraction(count)
    count, day = rng.randint(0, 60), a
    passed = 0
    while passed < count:
        day += timedelta(days=1)
        passed += day.weekday() < 5 and day not in free
    return f"result = add_workdays({_written(a)}, {count}, {holidays})", day


_FAMILIES: dict[str, Callable[[random.Random], tuple[str, Value]]] = {
    "arithmetic": _arithmetic,
    "rounding": _rounding,
    "percentages": _percentages,
    "lists": _lists,
    "integers": _integers,
    "dates": _dates,
    "workdays": _workdays,
}
