"""Numbers, amounts, durations, dates and times in Chinese and English, in one normal form.

"15 个工作日", "fifteen working days" and "十五天" are one quantity, and so are "百分之三" and
"3 per cent", "3 万元" and "30,000 yuan", "2026 年 3 月 2 日" and "2 March 2026", "下午 1 点半" and
"13:30". That lets a sentence in one language be checked against a source in the other, and lets a
question that asks for a duration find the sentence that states one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from atrium_grounding.tokens import fold_keeping_length


class QuantityKind(StrEnum):
    """What a quantity measures."""

    NUMBER = "number"
    """A number with an unknown unit or none."""
    COUNT = "count"
    """People, times or pieces."""
    DURATION = "duration"
    PERCENT = "percent"
    MONEY = "money"
    DATE = "date"
    """A day, month or year of the calendar, or a day of the week or month."""
    TIME = "time"
    """A time of day."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """One quantity of a text."""

    kind: QuantityKind
    value: tuple[float, ...] | float
    """The number; for a date (year, month, day), for a time (hour, minute), -1 where not said."""
    unit: str
    """"day", "week", "month", "year", "hour", "minute", "second", "%", a currency code, a noun, or
    "" when there is none."""
    start: int
    """First code point in the text that was given."""
    end: int


_SMALL: Final = {
    **{
        w: i
        for i, w in enumerate(
            ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
        )
    },
    **{
        w: i
        for i, w in enumerate(
            [
                "eleven",
                "twelve",
                "thirteen",
                "fourteen",
                "fifteen",
                "sixteen",
                "seventeen",
                "eighteen",
                "nineteen",
            ],
            11,
        )
    },
    **{
        w: i * 10
        for i, w in enumerate(
            ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], 2
        )
    },
    "dozen": 12,
}
_SCALES: Final = {"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9}
_ORDINALS: Final = {
    w: i
    for i, w in enumerate(
        [
            "first",
            "second",
            "third",
            "fourth",
            "fifth",
            "sixth",
            "seventh",
            "eighth",
            "ninth",
            "tenth",
            "eleventh",
            "twelfth",
        ],
        1,
    )
}
_CHINESE_DIGITS: Final = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}
_CHINESE_SCALES: Final = {"十": 10, "百": 100, "千": 1000}

_UNITS: Final[dict[str, tuple[QuantityKind, str]]] = {}


def _register(kind: QuantityKind, unit: str, names: str) -> None:
    for name in names.split(","):
        _UNITS[name] = (kind, unit)


_register(QuantityKind.DURATION, "second", "秒,秒钟,second,seconds,sec,secs")
_register(QuantityKind.DURATION, "minute", "分钟,minute,minutes,min,mins")
_register(QuantityKind.DURATION, "hour", "小时,个小时,个钟头,hour,hours,hrs")
_register(
    QuantityKind.DURATION,
    "day",
    "天,日,个工作日,工作日,个自然日,自然日,个日历日,个交易日,day,days,working day,working days,"
    "business day,business days,calendar day,calendar days,paid day,paid days,weekday,weekdays",
)
_register(QuantityKind.DURATION, "week", "周,个星期,星期,个礼拜,week,weeks,calendar weeks")
_register(QuantityKind.DURATION, "month", "个月,个整月,个自然月,month,months,calendar months")
_register(QuantityKind.DURATION, "quarter", "个季度,quarters")
_register(
    QuantityKind.DURATION,
    "year",
    "年,周年,周岁,岁,个年度,个财年,year,years,years old,calendar year,calendar years",
)
_register(
    QuantityKind.PERCENT,
    "%",
    "%,per cent,percent,percentage point,percentage points,个百分点",
)
_register(QuantityKind.MONEY, "CNY", "元,块,块钱,圆,元人民币,人民币,yuan,rmb,cny,renminbi")
_register(QuantityKind.MONEY, "EUR", "欧元,euro,euros,eur,€")
_register(QuantityKind.MONEY, "USD", "美元,美金,dollar,dollars,usd,us dollars,us$,$")
_register(QuantityKind.MONEY, "GBP", "英镑,pound,pounds,gbp,£")
_register(QuantityKind.MONEY, "JPY", "日元,日圆,yen,jpy")
_register(QuantityKind.MONEY, "HKD", "港元,港币,hkd,hong kong dollars")
_register(QuantityKind.MONEY, "TWD", "新台币,台币,新臺幣")
_register(
    QuantityKind.COUNT,
    "person",
    "人,名,位,名员工,位员工,people,persons,person,employees,employee,members,colleagues,staff",
)
_register(QuantityKind.COUNT, "time", "次,回,times,time")
_register(
    QuantityKind.COUNT,
    "piece",
    "个,份,件,台,张,条,项,家,本,部,座,只,颗,间,所,款,种,篇,栋,辆,艘,架,首,枚",
)

_CURRENCY_MARKS: Final = {"¥": "CNY", "€": "EUR", "$": "USD", "£": "GBP"}
_MONTHS: Final = {
    name: number
    for number, names in enumerate(
        [
            "january jan",
            "february feb",
            "march mar",
            "april apr",
            "may",
            "june jun",
            "july jul",
            "august aug",
            "september sept sep",
            "october oct",
            "november nov",
            "december dec",
        ],
        1,
    )
    for name in names.split()
}
_WEEKDAYS: Final = {
    name: number
    for number, names in enumerate(
        [
            "monday mon 一",
            "tuesday tue 二",
            "wednesday wed 三",
            "thursday thu 四",
            "friday fri 五",
            "saturday sat 六",
            "sunday sun 日 天",
        ],
        1,
    )
    for name in names.split()
}

_NUMERAL: Final = r"\d+(?:,\d{3})*(?:\.\d+)?"
_HAN_NUMERAL: Final = "[零〇一二三四五六七八九十百千两]+"
_MONTH: Final = "(?:" + "|".join(sorted(_MONTHS, key=len, reverse=True)) + ")"
_LATIN_WEEKDAYS: Final = [name for name in _WEEKDAYS if name.isascii() and len(name) > 3]
# At most sixteen more words: a longer run is no number, and would be tried from each of its words.
_WORD_NUMERAL: Final = r"(?:(?:{small})(?:(?: and)?[- ](?:{small}|{scales})){{0,16}})".format(
    small="|".join(sorted(_SMALL, key=len, reverse=True)), scales="|".join(_SCALES)
)
_UNIT: Final = "|".join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))
# Adjectives that stand between a number and its unit.
_BETWEEN: Final = (
    r"(?:(?:paid|unpaid|full|consecutive|additional|extra|further|more|free|working|business|"
    r"calendar|net|gross|monthly|whole|整|多)[ -]){0,2}"
)

# No number has so many digits, and the patterns would try each of their beginnings and ends.
_ENDLESS: Final = re.compile(r"\d{40,}|[零〇一二三四五六七八九十百千两]{40,}")

_PATTERNS: Final[list[tuple[re.Pattern[str], Callable[[re.Match[str]], list[Quantity]]]]] = []


def _pattern(
    expression: str,
) -> Callable[[Callable[[re.Match[str]], list[Quantity]]], Callable[..., list[Quantity]]]:
    """Register a reader; earlier ones win where they overlap."""

    def register(
        reader: Callable[[re.Match[str]], list[Quantity]],
    ) -> Callable[..., list[Quantity]]:
        _PATTERNS.append((re.compile(expression, re.IGNORECASE), reader))
        return reader

    return register


def find_quantities(text: str) -> list[Quantity]:
    """Return the quantities of ``text`` in order; they do not overlap."""
    folded = _ENDLESS.sub(lambda run: "\0" * len(run.group()), fold_keeping_length(text))
    taken = bytearray(len(folded))
    found: list[Quantity] = []
    for pattern, reader in _PATTERNS:
        for match in pattern.finditer(folded):
            start, end = match.span()
            if any(taken[start:end]):
                continue
            quantities = reader(match)
            if quantities:
                taken[start:end] = b"\1" * (end - start)
                found.extend(quantities)
    found.sort(key=lambda quantity: quantity.start)
    return found


def supported_by(quantity: Quantity, sources: list[Quantity]) -> bool:
    """Tell whether one of ``sources`` states ``quantity``: equal value, no contradicting unit."""
    return any(_same(quantity, source) for source in sources)


def _same(one: Quantity, other: Quantity) -> bool:
    if QuantityKind.DATE in (one.kind, other.kind) or QuantityKind.TIME in (one.kind, other.kind):
        if one.kind is not other.kind:
            return _loose_date(one, other) or _loose_date(other, one)
        assert isinstance(one.value, tuple)
        assert isinstance(other.value, tuple)
        said = [(a, b) for a, b in zip(one.value, other.value, strict=True) if a != -1]
        return one.unit == other.unit and bool(said) and all(a == b for a, b in said)
    if one.value != other.value:
        return False
    if one.kind is other.kind:
        return one.unit == other.unit or QuantityKind.COUNT is one.kind
    plain = (QuantityKind.NUMBER, QuantityKind.COUNT)
    return (
        (one.kind in plain and not one.unit)
        or (other.kind in plain and not other.unit)
        or (one.kind in plain and other.kind in plain)
    )


def _loose_date(number: Quantity, date: Quantity) -> bool:
    """A bare number equals a year, the day of a month ("on the 10th"), or a part of a time."""
    if number.kind not in (QuantityKind.NUMBER, QuantityKind.COUNT):
        return False
    if not isinstance(date.value, tuple) or date.unit == "weekday":
        return False
    if date.kind is QuantityKind.DATE:
        year, _, day = date.value
        return number.value in (year, day)
    return number.value in date.value


def _number(text: str) -> float | None:
    """Read digits, English words or Chinese numerals."""
    text = text.strip().replace(",", "")
    if not text:
        return None
    if text[0].isdigit():
        return float(text)
    if text[0].isascii():
        return _english_number(text)
    return _chinese_number(text)


def _english_number(text: str) -> float | None:
    total = 0.0
    current = 0.0
    for word in re.split(r"[- ]+", text):
        if word == "and":
            continue
        if word in _SMALL:
            current = current * 12 if word == "dozen" and current else current + _SMALL[word]
        elif word == "hundred":
            current = (current or 1) * 100
        elif word in _SCALES:
            total += (current or 1) * _SCALES[word]
            current = 0
        else:
            return None
    return total + current


def _chinese_number(text: str) -> float | None:
    if all(character in _CHINESE_DIGITS for character in text):
        if len(text) == 1:
            return float(_CHINESE_DIGITS[text])
        digits = "".join(str(_CHINESE_DIGITS[character]) for character in text)
        # "二〇二六" is a year read digit by digit; "三五" is "three to five".
        return float(digits) if len(text) >= 3 else None
    total = 0
    current = 0
    for character in text:
        if character in _CHINESE_DIGITS:
            current = _CHINESE_DIGITS[character]
        elif character in _CHINESE_SCALES:
            total += (current or 1) * _CHINESE_SCALES[character]
            current = 0
        else:
            return None
    return float(total + current)


def _date(match: re.Match[str], year: float, month: float, day: float) -> list[Quantity]:
    if not (month == -1 or 1 <= month <= 12) or not (day == -1 or 1 <= day <= 31):
        return []
    return [Quantity(QuantityKind.DATE, (year, month, day), "", *match.span())]


def _part(match: re.Match[str], group: str) -> float:
    text = match.group(group)
    if not text:
        return -1
    value = _number(text)
    return -1 if value is None else value


@_pattern(r"(?P<y>(?:19|20)\d\d)[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})(?!\d)")
def _iso_date(match: re.Match[str]) -> list[Quantity]:
    return _date(match, _part(match, "y"), _part(match, "m"), _part(match, "d"))


@_pattern(r"(?<!\d)(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>(?:19|20)\d\d)(?!\d)")
def _german_date(match: re.Match[str]) -> list[Quantity]:
    return _date(match, _part(match, "y"), _part(match, "m"), _part(match, "d"))


@_pattern(
    rf"(?P<y>(?:\d{{4}}|[零〇一二三四五六七八九]{{4}}))\s*年(?:\s*(?P<m>\d{{1,2}}|"
    rf"{_HAN_NUMERAL})\s*月份?)?"
    rf"(?:\s*(?P<d>\d{{1,2}}|{_HAN_NUMERAL})\s*[日号])?"
)
def _chinese_date(match: re.Match[str]) -> list[Quantity]:
    return _date(match, _part(match, "y"), _part(match, "m"), _part(match, "d"))


@_pattern(
    rf"(?<![\d个第])(?P<m>\d{{1,2}}|{_HAN_NUMERAL})\s*月份?(?:\s*(?P<d>\d{{1,2}}|"
    rf"{_HAN_NUMERAL})\s*[日号])?"
)
def _chinese_month_day(match: re.Match[str]) -> list[Quantity]:
    return _date(match, -1, _part(match, "m"), _part(match, "d"))


@_pattern(
    rf"每月\s*(?P<d>\d{{1,2}}|{_HAN_NUMERAL})\s*[日号]|(?<!\d)(?P<e>\d{{1,2}})\s*号(?![楼码线院])"
)
def _chinese_day(match: re.Match[str]) -> list[Quantity]:
    return _date(match, -1, -1, max(_part(match, "d"), _part(match, "e")))


@_pattern(
    rf"\b(?P<d>\d{{1,2}})(?:st|nd|rd|th)?\.?(?: of)? (?P<m>{_MONTH})\b\.?(?:,? (?P<y>(?:19|"
    rf"20)\d\d)\b)?"
)
def _day_month(match: re.Match[str]) -> list[Quantity]:
    return _date(match, _part(match, "y"), _MONTHS[match["m"]], _part(match, "d"))


@_pattern(
    rf"\b(?P<m>{_MONTH})\b\.?(?: (?P<d>\d{{1,2}})(?:st|nd|rd|th)?(?![\d:.]))?"
    rf"(?:,? (?P<y>(?:19|20)\d\d)\b)?"
)
def _month_day(match: re.Match[str]) -> list[Quantity]:
    day, year = _part(match, "d"), _part(match, "y")
    if match["m"] in ("may", "march", "mar", "sat", "sun") and day == year == -1:
        before = match.string[: match.start()].rstrip()
        if not re.search(
            r"\b(?:in|by|of|until|till|since|from|each|every|the|next|last|and|to)$", before
        ):
            return []  # "may" is mostly the verb
        if match["m"] == "may" and before.endswith(("and", "the", "to")):
            return []
    return _date(match, year, _MONTHS[match["m"]], day)


@_pattern(
    r"(?P<half>上午|早上|凌晨|中午|下午|晚上|傍晚)?\s*(?P<h>\d{1,2}|"
    r"[一二三四五六七八九十两]{1,3})\s*(?:点钟?|时(?![间候段期差长]))"
    r"(?:\s*(?P<min>\d{1,2})\s*分|(?P<b>半))?"
)
def _chinese_time(match: re.Match[str]) -> list[Quantity]:
    hour = _part(match, "h")
    minute = 30 if match["b"] else max(_part(match, "min"), 0)
    if match["half"] in ("下午", "晚上", "傍晚") and hour < 12:
        hour += 12
    return _time(match, hour, minute)


@_pattern(
    r"(?P<half>上午|早上|凌晨|中午|下午|晚上|"
    r"傍晚)?\s*(?<![\d.:])(?P<h>\d{1,2})[::](?P<min>\d\d)(?![\d:])"
    r"\s*(?P<m>[ap]\.?m\b\.?)?"
)
def _clock_time(match: re.Match[str]) -> list[Quantity]:
    hour, minute = _part(match, "h"), _part(match, "min")
    afternoon = match["half"] in ("下午", "晚上", "傍晚") or (match["m"] or "").startswith("p")
    return _time(match, hour + 12 if afternoon and hour < 12 else hour, minute)


@_pattern(r"\b(?P<h>\d{1,2})\s*(?P<m>[ap])\.?m\b\.?|\b(?P<o>\d{1,2}) o['’]clock")
def _latin_time(match: re.Match[str]) -> list[Quantity]:
    hour = max(_part(match, "h"), _part(match, "o"))
    if match["m"] == "p" and hour < 12:
        hour += 12
    return _time(match, 0 if match["m"] == "a" and hour == 12 else hour, 0)


def _time(match: re.Match[str], hour: float, minute: float) -> list[Quantity]:
    if not 0 <= hour <= 24 or not 0 <= minute <= 59:
        return []
    return [Quantity(QuantityKind.TIME, (hour, minute), "", *match.span())]


@_pattern(
    rf"(?:星期|礼拜|周)(?P<c>[一二三四五六日天])(?![年岁个天])|\b(?P<w>{'|'.join(_LATIN_WEEKDAYS)})s?\b"
)
def _weekday(match: re.Match[str]) -> list[Quantity]:
    value = _WEEKDAYS[match["c"] or match["w"]]
    return [Quantity(QuantityKind.DATE, (-1, -1, value), "weekday", *match.span())]


@_pattern(rf"百分之\s*(?P<n>{_NUMERAL}|{_HAN_NUMERAL}(?:点{_HAN_NUMERAL})?)")
def _chinese_percent(match: re.Match[str]) -> list[Quantity]:
    whole, _, fraction = match["n"].partition("点")
    value = _number(whole)
    if value is None:
        return []
    if fraction:
        value += float("0." + "".join(str(_CHINESE_DIGITS.get(c, 0)) for c in fraction))
    return [Quantity(QuantityKind.PERCENT, value, "%", *match.span())]


@_pattern(
    rf"(?P<mark>[¥€$£])\s*(?P<n>{_NUMERAL})\s*(?P<scale>million|billion|thousand|[万亿千百mkb]\b)?"
)
def _marked_money(match: re.Match[str]) -> list[Quantity]:
    value = (_number(match["n"]) or 0) * _scale(match["scale"])
    return [Quantity(QuantityKind.MONEY, value, _CURRENCY_MARKS[match["mark"]], *match.span())]


@_pattern(r"\b(?P<w>once|twice|thrice)\b(?! (?:again|more|upon))")
def _adverb(match: re.Match[str]) -> list[Quantity]:
    value = {"once": 1.0, "twice": 2.0, "thrice": 3.0}[match["w"]]
    return [Quantity(QuantityKind.COUNT, value, "time", *match.span())]


@_pattern(
    r"半\s*(?P<u>天|年|个月|小时|个小时|个工作日|日)|\bhalf (?:an? )?(?:working |"
    r"business )?(?P<v>day|year|hour|month)s?\b"
)
def _half(match: re.Match[str]) -> list[Quantity]:
    kind, unit = _UNITS[match["u"] or match["v"]]
    return [Quantity(kind, 0.5, unit, *match.span())]


@_pattern(
    rf"(?<![\w.])(?P<n>{_NUMERAL}|{_WORD_NUMERAL})[ -]?(?P<scale>thousand|million|billion|万|"
    rf"亿|千|百)?"
    rf"[ -]?{_BETWEEN}(?P<u>{_UNIT})(?P<after>\w?)"
)
def _with_unit(match: re.Match[str]) -> list[Quantity]:
    return _measured(match)


@_pattern(
    rf"(?<![第几])(?P<n>{_NUMERAL}|{_HAN_NUMERAL})\s?(?P<scale>万|亿|千|"
    rf"百)?余?多?\s?(?P<u>{_UNIT})(?P<after>\w?)"
)
def _han_with_unit(match: re.Match[str]) -> list[Quantity]:
    return _measured(match)


def _measured(match: re.Match[str]) -> list[Quantity]:
    unit_text, after = match["u"], match["after"]
    if unit_text[-1].isascii() and unit_text[-1].isalpha() and after.isascii() and after:
        return []  # the unit goes on as another word: "10 minimum"
    value = _number(match["n"])
    if value is None:
        return []
    kind, unit = _UNITS[unit_text]
    if match["n"] in "一" and kind is QuantityKind.COUNT:
        return []  # "一个", "一种" are articles
    value *= _scale(match["scale"])
    span = (match.start("n"), match.end("u"))
    return [Quantity(kind, value, unit, *span)]


def _scale(scale: str | None) -> float:
    if not scale:
        return 1
    return {
        "万": 1e4, "亿": 1e8, "千": 1e3, "百": 1e2, "m": 1e6, "k": 1e3, "b": 1e9, **_SCALES,
    }[scale]  # fmt: skip


@_pattern(
    rf"(?<![\w.])(?P<n>{_NUMERAL})(?:[ -]?(?P<scale>thousand|million|billion|万|亿))?(?:st|nd|"
    rf"rd|th)?(?![\w])"
    rf"|(?<![a-z\d.])(?P<h>{_NUMERAL})(?P<hs>万|亿)?(?![\da-z])"
)
def _plain(match: re.Match[str]) -> list[Quantity]:
    value = _number(match["n"] or match["h"])
    if value is None:
        return []
    value *= _scale(match["scale"] or match["hs"])
    return [Quantity(QuantityKind.NUMBER, value, "", *match.span())]


@_pattern(rf"\b(?P<n>{_WORD_NUMERAL})(?: (?P<scale>million|billion))?\b")
def _plain_words(match: re.Match[str]) -> list[Quantity]:
    value = _number(match["n"])
    if value is None or match["n"] in ("one", "zero"):
        return []  # "one" is mostly a pronoun
    return [Quantity(QuantityKind.NUMBER, value * _scale(match["scale"]), "", *match.span())]


@_pattern(rf"第\s*(?P<n>\d+|{_HAN_NUMERAL})|\b(?P<o>{'|'.join(_ORDINALS)})\b(?! (?:aid|of all))")
def _ordinal(match: re.Match[str]) -> list[Quantity]:
    if match["o"]:
        if match["o"] == "second" and match.string[: match.start()].rstrip().endswith(("per", "a")):
            return []
        value: float | None = float(_ORDINALS[match["o"]])
    else:
        value = _number(match["n"])
    return [] if value is None else [Quantity(QuantityKind.NUMBER, value, "", *match.span())]
