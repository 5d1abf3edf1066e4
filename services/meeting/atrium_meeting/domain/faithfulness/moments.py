"""Which days and times a text means, in one form for "tomorrow", "the 10th" and 下周三."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

from atrium_grounding import tokens
from atrium_grounding.quantities import Quantity, QuantityKind, find_quantities, supported_by
from atrium_meeting.domain.analysis.dates import due_phrases

_ANY_DAY: Final = date(2024, 1, 10)
"""Seen from here where the day of the meeting is not known: both sides are seen alike."""
_PAST: Final = re.compile(
    r"\b(?:yesterday|last (?:week|month|quarter|year|night|time|monday|tuesday|wednesday|thursday|"
    r"friday|saturday|sunday))\b|\bthe year before\b|\b(?:this|next) year\b|昨天|前天|前年|今年|"
    r"明年|上(?:上)?(?:个)?(?:周|星期|礼拜|月|季度|次|"
    r"回)[一二三四五六日天]?|去年"
)
_PERIODS: Final = re.compile(
    r"\b(?:this|next|coming) (?:week|month|quarter|year|sprint|morning|afternoon|evening|day|"
    r"time)\b|\bq[1-4]\b|"
    r"(?:这|本|下)(?:一)?(?:个)?(?:周|星期|礼拜|月|季度|年|迭代)|[一二三四]季度"
)
_UNTIL: Final = re.compile(
    r"\b(?:by|before|until|till|no later than|due)\s+(?:the |end of |next |this )*$|(?:截止|"
    r"最晚|最迟)\W*$"
)
_FROM: Final = re.compile(r"\b(?:after|from|since|starting|not before)\s+(?:the |next |this )*$")
_BEFORE: Final = re.compile(r"^\W*(?:之前|以前|前(?![天年后])|截止)")
_AFTER: Final = re.compile(r"^\W*(?:之后|以后|后(?![天续])|起)")


@dataclass(frozen=True, slots=True)
class Moment:
    """A day or time of a text.

    Args:
        key: What is meant, in one form.
        start: First code point.
        end: One past the last.
        side: -1 where it is a limit ("by"), 1 where something begins ("after"), else 0.
    """

    key: str
    start: int
    end: int
    side: int


class Stated:
    """The quantities and moments of a text.

    Args:
        text: The text.
        day: Day of the meeting.
    """

    def __init__(self, text: str, day: date | None) -> None:
        folded = tokens.fold_keeping_length(text)
        self._folded = folded
        self._today = (day or _ANY_DAY).isoformat()
        self.moments = _moments(text, folded, day or _ANY_DAY)
        self.days = frozenset(moment.key for moment in self.moments)
        inside = [(moment.start, moment.end) for moment in self.moments]
        self.quantities: list[Quantity] = _quantities(text)
        """All of them, those inside of a moment too."""
        self.loose = [
            quantity
            for quantity in self.quantities
            if not any(start <= quantity.start < end for start, end in inside)
        ]
        """Those that are no part of a moment."""

    def lacking_moments(self, source: Stated, around: Stated) -> list[Moment]:
        """Return the moments that a source does not state.

        Args:
            source: What must state it.
            around: The talk around it: which one of several ("the second shop") it may tell.
        """
        return [one for one in self.moments if not self._carried(one, source, around)]

    def _carried(self, moment: Moment, source: Stated, around: Stated) -> bool:
        if _states(source, moment) or (moment.key == self._today and not source.moments):
            return True
        # "The fourth" may be no day at all.
        inside = [q for q in self.quantities if moment.start <= q.start < moment.end]
        return bool(inside) and all(_ordinal(q, self._folded, source, around) for q in inside)

    def lacking_quantities(self, source: Stated, around: Stated) -> list[Quantity]:
        """Return the quantities that a source does not state; as `lacking_moments`."""
        return [
            quantity
            for quantity in self.loose
            if not (
                supported_by(quantity, source.quantities)
                or _day_of(quantity, source)
                or _hour_of(quantity, source)
                or _ordinal(quantity, self._folded, source, around)
            )
        ]


_DIGITS: Final = "零一二三四五六七八九"
_BARE: Final = re.compile(
    "(?<![第零〇一二三四五六七八九十百千万两])(?:[一二三四五六七八九十百千两][零〇一二三四五六七"
    "八九十百千万]+"
    "|"
    "[两三四五六七八九](?=[斤吨克米升箱盒瓶袋包桶盏棵株盆层排页轮批组班节场届期封道碗杯串双套幅"
    "头根支块片粒桌遍趟倍折]|"
    "公斤|公里|厘米|平方|平米|毫升|千克))"
)
_TENTHS: Final = re.compile(
    "(?P<a>[一二三四五六七八九两])成(?P<b>[一二三四五六七八九])?(?![员功立本为果了分交熟长绩都因"
    "就效])"
)


_SHORT: Final = re.compile(
    "(?<![零〇一二三四五六七八九十百千万])(?P<whole>[一二三四五六七八九两](?P<scale>[百千万]))"
    "(?P<part>[一二三四五六七八九])(?![十百千万年月日号个位次点])"
)
_SHORT_YEAR: Final = re.compile(
    "(?<![零〇一二三四五六七八九十百千万])(?P<a>[零一二三四五六七八九])(?P<b>[零一二三四五六七八九])年"
    "(?![前后内来级以之])"
)
_LAST_CENTURY: Final = 50
_ONCE: Final = re.compile(r"once (?:she|he|they|it|we|you|i|the|that|this|all|everything)\b")
_SCALES: Final = {"百": 100.0, "千": 1000.0, "万": 10000.0}


def _quantities(text: str) -> list[Quantity]:
    """Return the quantities of a text; a bare Chinese number is one: 过了七十, 一百二."""
    found = find_quantities(text)
    for match in _SHORT.finditer(text):
        scale = _SCALES[match["scale"]]
        whole = _DIGITS.index(match["whole"][0].replace("两", "二"))
        value = whole * scale + _DIGITS.index(match["part"]) * scale / 10
        start, end = match.span()
        found = [one for one in found if one.end <= start or one.start >= end]
        found.append(Quantity(QuantityKind.NUMBER, value, "", start, end))
    for match in _SHORT_YEAR.finditer(text):
        year = 10 * _DIGITS.index(match["a"]) + _DIGITS.index(match["b"])
        year += 1900 if year > _LAST_CENTURY else 2000
        found.append(Quantity(QuantityKind.DATE, (year, -1, -1), "", *match.span()))
    found = [one for one in found if not _ONCE.match(text.lower(), one.start)]
    for match in _TENTHS.finditer(text):
        value = 10.0 * _DIGITS.index(match["a"].replace("两", "二")) + _DIGITS.index(
            match["b"] or "零"
        )
        start, end = match.span()
        found = [one for one in found if one.end <= start or one.start >= end]
        found.append(Quantity(QuantityKind.PERCENT, value, "%", start, end))
    for match in _BARE.finditer(tokens.fold_keeping_length(text)):
        start, end = match.span()
        if any(one.start < end and start < one.end for one in found):
            continue
        for one in find_quantities(f"{match.group()}个"):
            found.append(replace(one, kind=QuantityKind.NUMBER, unit="", start=start, end=end))
    return sorted(found, key=lambda one: one.start)


_ORDINAL: Final = re.compile(
    r"第.*|first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|(?:the )?\d+(?:st|"
    r"nd|rd|th)"
)


def _ordinal(quantity: Quantity, text: str, source: Stated, around: Stated) -> bool:
    """Tell whether a bare number is said, "the second" also in the talk around."""
    if quantity.kind is not QuantityKind.NUMBER or quantity.unit:
        return False
    if supported_by(quantity, source.quantities):
        return True
    if not _ORDINAL.fullmatch(text[quantity.start : quantity.end].strip()):
        return False
    return any(
        other.kind is quantity.kind and other.value == quantity.value for other in around.quantities
    )


def _moments(text: str, folded: str, day: date) -> list[Moment]:
    found: list[Moment] = []
    for phrase in due_phrases(text, day):
        if phrase.day is not None:
            side = _side(folded, phrase.start, phrase.end) or (-1 if phrase.deadline else 0)
            found.append(Moment(phrase.day.isoformat(), phrase.start, phrase.end, side))
    for pattern in (_PAST, _PERIODS):
        for match in pattern.finditer(folded):
            start, end = match.span()
            if all(end <= one.start or start >= one.end for one in found):
                key = _PLAIN.get(match.group(), match.group())
                found.append(Moment(key, start, end, _side(folded, start, end)))
    return sorted(found, key=lambda moment: moment.start)


_PLAIN: Final = {
    "昨天": "yesterday", "上周": "last week", "上星期": "last week", "上个星期": "last week",
    "上礼拜": "last week", "上个礼拜": "last week", "上月": "last month", "上个月": "last month",
    "上季度": "last quarter", "上个季度": "last quarter", "去年": "last year", "上次": "last time",
    "上回": "last time", "昨晚": "last night",
}  # fmt: skip


def _side(folded: str, start: int, end: int) -> int:
    before, after = folded[max(0, start - 24) : start], folded[end : end + 6]
    inner = folded[start:end]
    if _UNTIL.search(before) or _BEFORE.match(after) or re.search(r"之?前$|截止$", inner):
        return -1
    if _FROM.search(before) or _AFTER.match(after) or re.search(r"之?后$", inner):
        return 1
    return 0


def _states(source: Stated, moment: Moment) -> bool:
    for other in source.moments:
        if other.key == moment.key and other.side * moment.side >= 0:
            return True
    return False


def _hour_of(quantity: Quantity, source: Stated) -> bool:
    """Tell whether a time of day is said without the half of the day: "five" for 17:00."""
    if quantity.kind is not QuantityKind.TIME or not isinstance(quantity.value, tuple):
        return False
    hour, minute = quantity.value
    for other in source.quantities:
        if isinstance(other.value, tuple):
            if other.kind is QuantityKind.TIME and (
                (other.value[0] % 12, other.value[1]) == (hour % 12, minute)
                and min(other.value[0], hour) < 12
            ):
                return True
        elif minute == 0 and other.value == hour % 12 and not other.unit:
            return True
    return False


def _day_of(quantity: Quantity, source: Stated) -> bool:
    """Tell whether a date is the day of a moment of the source: "13 March" for "Friday"."""
    if quantity.kind is not QuantityKind.DATE or not isinstance(quantity.value, tuple):
        return False
    if quantity.unit == "weekday":
        wanted = quantity.value[2]
        return any(
            re.fullmatch(r"\d{4}-\d\d-\d\d", one.key)
            and date.fromisoformat(one.key).isoweekday() == wanted
            for one in source.moments
        )
    for one in source.moments:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", one.key):
            day = date.fromisoformat(one.key)
            parts = zip(quantity.value, (day.year, day.month, day.day), strict=True)
            if all(said in (-1, meant) for said, meant in parts):
                return True
    return False
