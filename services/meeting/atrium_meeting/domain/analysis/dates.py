"""Days that people name: "by Friday", "end of next month", "下周三之前", "十二月五号".

A phrase is resolved against the day of the meeting. A weekday is the next one ("Friday", "周五"),
except with "next" or 下, which name the week after this one (weeks begin on Monday). What is due in
a week is due on its Friday, in a month, quarter or year on the last day. What lies in
the past ("last Friday", 上周五) is no due date.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from atrium_grounding import tokens


@dataclass(frozen=True, slots=True)
class DuePhrase:
    """A phrase that names a day to come.

    Args:
        start: Its first code point, the word before it included ("by", 在).
        end: One past its last.
        text: As it stands there.
        day: The day meant; ``None`` where the day of the meeting is not known or no day fits.
        deadline: A word says that it is a limit ("by", 之前).
    """

    start: int
    end: int
    text: str
    day: date | None
    deadline: bool


_WEEKDAYS: Final = {
    "monday": 0, "mon": 0, "tuesday": 1, "tues": 1, "tue": 1, "wednesday": 2, "wed": 2,
    "thursday": 3, "thurs": 3, "thur": 3, "thu": 3, "friday": 4, "fri": 4, "saturday": 5,
    "sunday": 6, "一": 0, "二": 1, "三": 2, "四": 3, "五": 4, "六": 5, "日": 6, "天": 6, "末": 4,
}  # fmt: skip
_MONTHS: Final = {
    "january": 1, "jan": 1, "february": 2, "feb": 2, "march": 3, "mar": 3, "april": 4, "apr": 4,
    "may": 5, "june": 6, "jun": 6, "july": 7, "jul": 7, "august": 8, "aug": 8, "september": 9,
    "sept": 9, "sep": 9, "october": 10, "oct": 10, "november": 11, "nov": 11, "december": 12,
    "dec": 12,
}  # fmt: skip
_NUMBERS: Final = {
    "a": 1, "an": 1, "one": 1, "two": 2, "a couple of": 2, "couple of": 2, "three": 3, "a few": 3,
    "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
    "twelve": 12, "fourteen": 14,
}  # fmt: skip
_TENS: Final = {"twenty": 20, "thirty": 30}
_ORDINALS: Final = {
    "first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7,
    "eighth": 8, "ninth": 9, "tenth": 10, "eleventh": 11, "twelfth": 12, "thirteenth": 13,
    "fourteenth": 14, "fifteenth": 15, "sixteenth": 16, "seventeenth": 17, "eighteenth": 18,
    "nineteenth": 19, "twentieth": 20, "thirtieth": 30,
}  # fmt: skip
_HAN_DIGITS: Final = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}

_WD: Final = r"(?P<wd>(?:mon|tues|wednes|thurs|fri|satur|sun)day|tues?|wed|thur?s?|fri|mon)"
_MONTH: Final = rf"(?P<month>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})"
_NTH: Final = (
    r"(?P<nth>\d{1,2}(?:st|nd|rd|th)?|(?:twenty|thirty)[- ](?:first|second|third|fourth|fifth|"
    rf"sixth|seventh|eighth|ninth)|{'|'.join(sorted(_ORDINALS, key=len, reverse=True))})"
)
_ORDINAL: Final = _NTH.replace(r"\d{1,2}(?:st|nd|rd|th)?", r"\d{1,2}(?:st|nd|rd|th)")
_COUNT: Final = rf"(?P<count>\d{{1,3}}|{'|'.join(sorted(_NUMBERS, key=len, reverse=True))})"
_PART: Final = (
    r"(?:,? (?:morning|afternoon|evening|night|noon|midday|lunch(?:time)?|at noon|"
    r"(?:at|by) \w+(?: (?:am|pm|o'clock))?(?= |$|[,.;!?])|end of day|eod|cob|latest))?"
)
_EN_PREFIX: Final = (
    r"(?:(?P<limit>(?:(?:due|done|ready|finished) )?(?:by|before|until|till|no later than|"
    r"not later than|at the latest by|due(?: on)?)(?: the)?)|on|for|in|within|at|over|during|this "
    r"coming|"
    r"sometime) (?:the )?"
)
_ZH_PREFIX: Final = r"(?:(?P<limit>截[止至]到?|最晚|最迟|不晚于|赶在)(?:在|到)?|在|到|于|等|等到)"
_ZH_SUFFIX: Final = r"(?P<before>之?前|以前|截止|为止|之?内|以内)?"
_ZH_PART: Final = (
    r"(?:的)?(?:(?:上午|下午|早上|晚上|夜里|中午|傍晚|早|晚|一早|下班|收工|开会|例会|会)"
    r"(?:[\d一二三四五六七八九十两]+点(?:半|钟)?)?)?"
)
_HN: Final = r"[\d一二三四五六七八九十两]"

_Resolve = Callable[[re.Match[str], date], date | None]


def due_phrases(text: str, today: date | None) -> list[DuePhrase]:
    """Return the phrases of a sentence that name days to come, in order, without overlap."""
    folded = tokens.fold_keeping_length(text).replace("’", "'")
    if not _HINT.search(folded):  # most sentences name no day
        return []
    found: list[tuple[int, int, DuePhrase]] = []
    for order, (pattern, resolve) in enumerate(_RULES):
        for match in pattern.finditer(folded):
            if _is_past(folded, match):
                continue
            try:
                day = resolve(match, today) if today else None
            except (ValueError, OverflowError):  # the 31st of a month of 30 days
                continue
            groups = match.groupdict()
            limit = bool(groups.get("limit") or groups.get("before"))
            start, end = match.span()
            while end > start and text[end - 1] in " ,.;!?，。":
                end -= 1
            phrase = DuePhrase(start, end, text[start:end], day, limit)
            found.append((order, start, phrase))
    found.sort(key=lambda item: (-(item[2].end - item[2].start), item[0]))
    chosen: list[DuePhrase] = []
    for _, _, phrase in found:
        if all(phrase.end <= other.start or phrase.start >= other.end for other in chosen):
            chosen.append(phrase)
    return sorted(chosen, key=lambda phrase: phrase.start)


def _is_past(folded: str, match: re.Match[str]) -> bool:
    before = folded[max(0, match.start() - 12) : match.start()].rstrip()
    after = folded[match.end() : match.end() + 6].lstrip()
    return before.endswith(("last", "past", "previous", "since", "上", "上个", "从", "自")) or (
        after.startswith("ago")
    )


def _weekday(match: re.Match[str], today: date) -> date:
    groups = match.groupdict()
    wanted = _WEEKDAYS[match["wd"]]
    monday = today - timedelta(days=today.weekday())
    which = (groups.get("which") or "") + (groups.get("week") or "")
    if "next" in which or "after next" in which or "下" in which:
        weeks = 2 if "下下" in which or "after" in which else 1
        return monday + timedelta(days=7 * weeks + wanted)
    if "this week" in which or "本" in which or "这" in which:
        return monday + timedelta(days=wanted)
    ahead = (wanted - today.weekday()) % 7 or 7
    if "from" in which:
        ahead += 7
    return today + timedelta(days=ahead)


def _named_day(match: re.Match[str], today: date) -> date:
    word = match["day"]
    if word.startswith(("day after", "后")):
        return today + timedelta(days=2)
    if word.startswith("大后"):
        return today + timedelta(days=3)
    return today + timedelta(days="tomorrow" in word or "明" in word)


def _period(match: re.Match[str], today: date) -> date | None:
    """Return the last day of a period; a week's is Friday."""
    groups = match.groupdict()
    unit, which = match["unit"], groups.get("which") or ""
    ahead = which.count("下") if "下" in which else int("next" in which or "coming" in which)
    if unit in ("week", "周", "星期", "礼拜", "eow"):
        friday = today + timedelta(days=4 - today.weekday() + 7 * ahead)
        return friday if friday >= today else today
    if unit in ("month", "月", "eom"):
        year, month = _months_on(today.year, today.month, ahead)
        return _in_month(year, month, groups.get("part") or "")
    if unit in ("quarter", "季度", "季"):
        year, month = _months_on(today.year, (today.month - 1) // 3 * 3 + 3, 3 * ahead)
        return _in_month(year, month, "")
    year = today.year + ahead + ("明" in which)
    return date(year, 12, 31)


def _month_alone(match: re.Match[str], today: date) -> date | None:
    groups = match.groupdict()
    month = _MONTHS.get(match["month"]) or _han_number(match["month"])
    year = today.year + (month < today.month) + ("明" in (groups.get("year") or ""))
    return _in_month(year, month, groups.get("part") or "")


def _in_month(year: int, month: int, part: str) -> date:
    if any(word in part for word in ("mid", "中")):
        return date(year, month, 15)
    if any(word in part for word in ("early", "beginning", "start", "初")):
        return date(year, month, 5)
    return date(year, month, calendar.monthrange(year, month)[1])


def _months_on(year: int, month: int, ahead: int) -> tuple[int, int]:
    number = year * 12 + month - 1 + ahead
    return number // 12, number % 12 + 1


def _month_day(match: re.Match[str], today: date) -> date:
    groups = match.groupdict()
    month = _MONTHS.get(match["month"]) or _han_number(match["month"])
    day = _nth(match["nth"])
    year = groups.get("year") or ""
    if year.isdigit():
        return date(int(year), month, day)
    if "明" in year:
        return date(today.year + 1, month, day)
    found = date(today.year, month, day)
    return found if (today - found).days < 60 else date(today.year + 1, month, day)


def _day_of_month(match: re.Match[str], today: date) -> date:
    day = _nth(match["nth"])
    which = match.groupdict().get("which") or ""
    ahead = int("下" in which or "next" in which)
    year, month = _months_on(today.year, today.month, ahead or int(day < today.day))
    return date(year, month, day)


def _count(match: re.Match[str], today: date) -> date:
    word = match["count"]
    number = int(word) if word.isdigit() else _NUMBERS.get(word) or _han_number(word)
    unit = match["unit"]
    if unit.startswith(("week", "fortnight", "周", "星", "礼")):
        return today + timedelta(days=7 * number)
    if unit.startswith(("month", "月")):
        year, month = _months_on(today.year, today.month, number)
        return date(year, month, min(today.day, calendar.monthrange(year, month)[1]))
    if unit.startswith(("working", "business", "工作")):
        day = today
        while number:
            day += timedelta(days=1)
            number -= day.weekday() < 5
        return day
    return today + timedelta(days=number)


def _today(_: re.Match[str], today: date) -> date:
    return today


def _no_day(_: re.Match[str], __: date) -> None:
    return None


def _iso(match: re.Match[str], _: date) -> date:
    return date(int(match["year"]), int(match["month"]), int(match["nth"]))


def _nth(word: str) -> int:
    digits = re.match(r"\d+", word)
    if digits:
        return int(digits.group())
    if word in _ORDINALS:
        return _ORDINALS[word]
    parts = re.split(r"[- ]", word)
    if parts[0] in _TENS:
        return _TENS[parts[0]] + _ORDINALS[parts[1]]
    return _han_number(word)


def _han_number(word: str) -> int:
    """Return a number below a hundred, in digits or Chinese.

    Raises:
        ValueError: It is none.
    """
    if word.isdigit():
        return int(word)
    if "十" in word:
        tens, _, ones = word.partition("十")
        return (_HAN_DIGITS[tens] if tens else 1) * 10 + (_HAN_DIGITS[ones] if ones else 0)
    if len(word) == 1 and word in _HAN_DIGITS:
        return _HAN_DIGITS[word]
    raise ValueError(word)


def _rules() -> Iterator[tuple[re.Pattern[str], _Resolve]]:
    def en(body: str) -> re.Pattern[str]:
        return re.compile(rf"\b(?:{_EN_PREFIX})?(?:{body}){_PART}(?![\w'])")

    def zh(body: str) -> re.Pattern[str]:
        return re.compile(rf"(?:{_ZH_PREFIX})?(?:{body}){_ZH_PART}{_ZH_SUFFIX}")

    yield (
        re.compile(
            rf"(?:\b(?:{_EN_PREFIX})?|在|到|于)(?P<year>20\d\d)[-/年](?P<month>\d{{1,2}})[-/月]"
            rf"(?P<nth>\d{{1,2}})[日号]?{_ZH_SUFFIX}"
        ),
        _iso,
    )
    yield en(rf"(?P<week>next week|this week|the week after next),? (?:on )?{_WD}"), _weekday
    yield en(rf"{_WD}(?: of)? (?P<week>next week|this week|the week after next)"), _weekday
    yield en(rf"(?P<which>a week from (?:this )?){_WD}"), _weekday
    yield en(rf"(?:the )?night (?:from|of|to) {_WD}(?: to \w+day)?"), _weekday
    yield en(rf"(?P<which>next |this (?:coming )?|coming |the following )?{_WD}"), _weekday
    yield (
        en(
            r"(?P<day>today|tonight|tomorrow|day after tomorrow|(?:end|close) of (?:the )?(?:day|"
            r"business)"
            r"(?: (?:today|tomorrow))?|eod|cob|this (?:afternoon|evening|morning))"
        ),
        _named_day,
    )
    yield (
        en(
            r"(?:(?P<part>end|close) of )?(?:the )?(?P<which>this |next |coming |current )"
            r"(?P<unit>week|month|quarter|year)"
        ),
        _period,
    )
    yield en(r"(?P<part>end|close) of (?:the )?(?P<unit>week|month|quarter|year)"), _period
    yield en(r"(?P<unit>eow|eom)"), _period
    yield en(rf"{_MONTH}\.? (?:the )?{_NTH}(?:,? (?P<year>20\d\d))?(?!\d)"), _month_day
    yield en(rf"(?:the )?{_NTH} (?:of )?{_MONTH}(?:,? (?P<year>20\d\d))?"), _month_day
    yield (
        en(rf"(?P<part>end of|mid|mid-|middle of|early|beginning of|start of) ?{_MONTH}"),
        _month_alone,
    )
    yield (
        re.compile(
            r"\b(?:by|before|until|for|at|in time for) (?:our|the) (?:next|following) (?:meeting|"
            r"call|session)\b|"
            r"\bnext time\b|下次(?:开会|会议|例会|碰头|会)?(?:之?前|时)?"
        ),
        _no_day,
    )
    yield (
        re.compile(
            r"\b(?:right |immediately |directly )?after (?:this|the) (?:call|meeting)\b|"
            r"\b(?:right away|right now|immediately|straight away|(?:right )?now(?=[.!?]?$))"
            r"|(?:散会|会后|开完会)(?:以?后|就|我)?(?:马上|立刻)?|马上|立刻|现在就?"
        ),
        _today,
    )
    yield re.compile(rf"\b(?:(?P<limit>by|before|until)|in|for|during) {_MONTH}(?! ?\d)\b"), _no_day
    yield (
        zh(
            rf"(?<![\d一二三四五六七八九十])(?P<month>{_HN}{{1,3}})月份?(?![\d一二三四五六七八九十"
            rf"两底末初中])"
        ),
        _no_day,
    )
    yield (
        en(
            rf"(?<=the ){_ORDINAL}(?: of (?P<which>this|next) month)?(?! (?:of|one|time|item|"
            rf"point|version|half|quarter|option|draft|round|part|step|phase|thing|question|"
            rf"option)\b)"
        ),
        _day_of_month,
    )
    yield (
        re.compile(
            rf"\b(?:in|within|over the next)(?: the next)? {_COUNT} (?P<unit>days?|weeks?|months?|"
            rf"(?:working|business) days?)(?:' time)?(?!\w)"
        ),
        _count,
    )
    yield re.compile(rf"\b{_COUNT} (?P<unit>days?|weeks?|months?) from (?:now|today)\b"), _count
    yield (
        zh(
            r"(?P<which>下下个?|下个?|本|这个?)?(?:周|星期|"
            r"礼拜)(?P<wd>[一二三四五六日天末])(?![期个次])"
        ),
        _weekday,
    )
    yield zh(r"(?P<day>今天|今晚|当天|当晚|明天|明早|明晚|明儿|后天|大后天)"), _named_day
    yield (
        zh(
            r"(?P<which>下下个?|下个?|本|这个?)(?P<unit>周|星期|礼拜)(?:[底末]|内|"
            r"里)?(?![一二三四五六日天末])"
        ),
        _period,
    )
    yield (
        zh(
            r"(?P<which>下个?|本|这个?|当)(?P<unit>月)(?P<part>底|末|初|"
            r"中旬?)?(?![一二三四五六七八九十\d])"
        ),
        _period,
    )
    yield zh(r"(?<![\d一二三四五六七八九十两个])(?P<unit>月)(?P<part>底|末|中旬)"), _period
    yield zh(r"(?P<which>下个?|本|这个?)?(?P<unit>季度|季)(?:结束|[底末])"), _period
    yield zh(r"(?P<which>下个|本|这个)(?P<unit>季度)"), _period
    yield zh(r"(?P<which>今|明)?(?P<unit>年)[底末]"), _period
    yield (
        zh(
            rf"(?P<year>今年|明年)?(?P<month>(?:1[0-2]|[1-9]|十[一二]?|[一二三四五六七八九]))月份?"
            rf"(?P<nth>{_HN}{{1,3}})[号日]"
        ),
        _month_day,
    )
    yield (
        zh(
            r"(?P<year>今年|明年)?(?P<month>(?:1[0-2]|[1-9]|十[一二]?|[一二三四五六七八九]))月份?"
            r"(?P<part>底|末|初|中旬?)"
        ),
        _month_alone,
    )
    yield (
        zh(
            rf"(?P<which>下个?月|本月|"
            rf"这个?月)?(?P<nth>(?<![\d月一二三四五六七八九十第]){_HN}{{1,3}})[号日](?!楼|线|机|"
            rf"位|门|店|馆|房|厅|库|桌|车|柜|方案|版本|议题)"
        ),
        _day_of_month,
    )
    yield (
        re.compile(
            rf"(?P<limit>)(?P<count>{_HN}{{1,3}})个?(?P<unit>天|工作日|周|星期|礼拜|月)"
            rf"(?P<before>之?内|以内|之?后|以后)"
        ),
        _count,
    )


_HINT: Final = re.compile(
    r"\d|day|week|month|year|quarter|tomorrow|tonight|night|now\b|away|immediately|morning|noon|"
    r"evening|next|call|meeting|eod|cob|eow|eom|end of|close of|first|second|third|th\b|eth\b|"
    r"\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mon|tue|wed|thu|fri)"
    r"|[天日号周月季年今明后立]|星期|礼拜|马上|现在|下次|散会|会后|开完会|当晚"
)
_RULES: Final = tuple(_rules())
