"""Numbers and dates of spreadsheet cells as a person sees them (ECMA-376 part 1, 18.8.30-31).

A number format has up to four sections (positive; negative; zero; text). Supported are digit
placeholders, thousands separators and scaling, percent, exponents, literals, colours, currency and
locale tags, date and time parts (elapsed time too) and simple conditions. Fractions are shown as
decimals. A format that cannot be understood shows the plain value.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Final

_TOKEN: Final = re.compile(
    r'"([^"]*)"'  # 1 literal
    r"|\\(.)"  # 2 escaped character
    r"|_(.)"  # 3 space as wide as a character
    r"|\*(.)"  # 4 fill character
    r"|\[\$([^\]-]*)(?:-[^\]]*)?\]"  # 5 currency symbol, locale
    r"|\[(h+|m+|s+)\]"  # 6 elapsed time
    r"|\[([<>=]=?|<>)(-?[\d.]+)\]"  # 7, 8 condition
    r"|\[[^\]]*\]"  # colour and the like
    r"|(General|AM/PM|A/P|上午/下午|y+|m+|d+|h+|s+|e+(?![+-])|g+|a{3,4})"  # 9
    r"|(E[+-]0+)"  # 10 exponent
    r"|([0#?](?:[0#?,]*[0#?])?)"  # 11 digits
    r"|(\.)"  # 12
    r"|(,+)"  # 13 scaling by thousands
    r"|(%)"  # 14
    r"|(@)"  # 15 text
    r"|(.)",  # 16 anything else stands for itself
    re.IGNORECASE | re.DOTALL,
)
_MONTHS: Final = (
    "January February March April May June July August September October November December".split()
)
_DAYS: Final = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
_HAN_DAYS: Final = "一二三四五六日"
_GENERAL_DIGITS: Final = 11


@dataclass(frozen=True, slots=True)
class _Section:
    tokens: tuple[tuple[str, str], ...]
    """(kind, value); kinds: literal, digits, point, scale, percent, exponent, text, date,
    elapsed, general."""
    condition: tuple[str, float] | None
    is_date: bool


def format_value(value: object, number_format: str) -> str:
    """Return a cell's value as its number format shows it; "" for an empty cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, str):
        return value
    try:
        sections = _sections(number_format)
        if isinstance(value, (int, float)):
            return _number(float(value) if isinstance(value, float) else value, sections)
        if isinstance(value, (dt.datetime, dt.date, dt.time, dt.timedelta)):
            return _date(value, sections[0])
    except (ValueError, ArithmeticError, IndexError):
        return _plain(value)
    return str(value)


def _plain(value: object) -> str:
    return _general(value) if isinstance(value, (int, float)) else str(value)


@lru_cache(maxsize=1024)
def _sections(number_format: str) -> tuple[_Section, ...]:
    parts: list[str] = []
    current = ""
    quoted = escaped = False
    for char in number_format or "General":
        if char == ";" and not quoted and not escaped:
            parts.append(current)
            current = ""
            continue
        if char == '"' and not escaped:
            quoted = not quoted
        escaped = char == "\\" and not escaped
        current += char
    parts.append(current)
    return tuple(_section(part) for part in parts[:4])


def _section(pattern: str) -> _Section:
    tokens: list[tuple[str, str]] = []
    condition: tuple[str, float] | None = None
    kinds = {
        1: "literal", 2: "literal", 5: "literal", 6: "elapsed", 9: "date", 10: "exponent",
        11: "digits", 12: "point", 13: "scale", 14: "percent", 15: "text", 16: "literal",
    }  # fmt: skip
    for match in _TOKEN.finditer(pattern):
        group = match.lastindex
        if group == 8:
            condition = (match.group(7), float(match.group(8)))
        elif group == 3:
            tokens.append(("literal", " "))
        elif group in kinds:
            value = match.group(group)
            kind = kinds[group]
            if kind == "date" and value.lower() == "general":
                kind = "general"
            tokens.append((kind, value))
    is_date = any(kind in ("date", "elapsed") for kind, _ in tokens)
    return _Section(tuple(tokens), condition, is_date)


def _number(value: float, sections: tuple[_Section, ...]) -> str:
    section, magnitude = _choose(value, sections)
    if section.is_date or not section.tokens:
        return _general(value) if section.is_date else ""
    if any(kind == "general" for kind, _ in section.tokens):
        return "".join(
            _general(magnitude) if kind == "general" else text for kind, text in section.tokens
        ).strip()
    return _digits(magnitude, section)


def _choose(value: float, sections: tuple[_Section, ...]) -> tuple[_Section, float]:
    """The section for a value, and the value it shows: a negative section brings its own sign."""
    if any(section.condition for section in sections):
        for section in sections[:3]:
            if section.condition is None or _holds(value, section.condition):
                is_first = section is sections[0]
                return section, value if is_first else abs(value)
        return sections[-1], value
    if value < 0 and len(sections) > 1:
        return sections[1], abs(value)
    if value == 0 and len(sections) > 2:
        return sections[2], value
    return sections[0], value


def _holds(value: float, condition: tuple[str, float]) -> bool:
    operator, bound = condition
    return {
        "<": value < bound,
        "<=": value <= bound,
        ">": value > bound,
        ">=": value >= bound,
        "=": value == bound,
        "<>": value != bound,
    }[operator]


def _general(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if value and not 1e-9 <= abs(value) < 1e15:
        return f"{value:.6G}"
    decimals = max(_GENERAL_DIGITS - len(str(int(abs(value)))) - 1, 2)
    return f"{value:.{decimals}f}".rstrip("0").rstrip(".") or "0"


def _digits(value: float, section: _Section) -> str:
    tokens = section.tokens
    kinds = [kind for kind, _ in tokens]
    point = kinds.index("point") if "point" in kinds else len(tokens)
    whole = "".join(text for kind, text in tokens[:point] if kind == "digits")
    fraction = "".join(text for kind, text in tokens[point:] if kind == "digits")
    if "exponent" in kinds:
        fraction = fraction.replace(",", "")
        return _exponent(value, tokens, len(fraction))
    if not whole and not fraction:
        return "".join(
            text if kind != "text" else _general(value)
            for kind, text in tokens
            if kind in ("literal", "text", "percent")
        ).strip()
    number = Decimal(repr(value))
    number *= Decimal(100) ** kinds.count("percent")
    number /= Decimal(1000) ** sum(len(text) for kind, text in tokens if kind == "scale")
    places = len(fraction.replace(",", ""))
    number = number.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)
    sign = "-" if number < 0 else ""
    digits, _, decimals = f"{abs(number):f}".partition(".")
    least = whole.count("0")
    digits = (digits.lstrip("0") or "").rjust(least, "0")
    if "," in whole and digits:
        digits = f"{int(digits):,}".rjust(len(digits), "0")
    needed = len(fraction.replace(",", "").rstrip("#?"))
    decimals = decimals[:needed] + decimals[needed:].rstrip("0")
    return sign + _fill(tokens, point, digits, decimals)


def _fill(tokens: tuple[tuple[str, str], ...], point: int, digits: str, decimals: str) -> str:
    out: list[str] = []
    wrote_whole = wrote_fraction = False
    for place, (kind, text) in enumerate(tokens):
        if kind in ("literal", "percent"):
            out.append(text)
        elif kind == "digits" and place < point and not wrote_whole:
            out.append(digits)
            wrote_whole = True
        elif kind == "point":
            if not wrote_whole:
                out.append(digits)
                wrote_whole = True
            if decimals:
                out.append(".")
        elif kind == "digits" and place > point and not wrote_fraction:
            out.append(decimals)
            wrote_fraction = True
    return "".join(out).strip()


def _exponent(value: float, tokens: tuple[tuple[str, str], ...], places: int) -> str:
    mantissa, _, power = f"{value:.{places}E}".partition("E")
    mark = next(text for kind, text in tokens if kind == "exponent")
    sign = "-" if power.startswith("-") else ("+" if mark[1] == "+" else "")
    return f"{mantissa}E{sign}{power.lstrip('+-').lstrip('0').rjust(len(mark) - 2, '0')}"


def _date(value: dt.datetime | dt.date | dt.time | dt.timedelta, section: _Section) -> str:
    if isinstance(value, dt.timedelta):
        return _duration(value, section)
    if not section.is_date:
        return _iso(value)
    moment = _moment(value)
    if any(kind == "elapsed" for kind, _ in section.tokens):
        epoch = dt.datetime(1899, 12, 30)
        elapsed = moment - epoch if not isinstance(value, dt.time) else _since_midnight(value)
        return _duration(elapsed, section)
    twelve = any(
        kind == "date" and text.lower() in ("am/pm", "a/p", "上午/下午")
        for kind, text in section.tokens
    )
    out: list[str] = []
    last = ""
    for place, (kind, text) in enumerate(section.tokens):
        if kind == "date":
            part = text.lower()
            is_minute = part in ("m", "mm") and (
                last.startswith("h") or _next_date_part(section, place).startswith("s")
            )
            out.append(_date_part(part, moment, twelve=twelve, is_minute=is_minute))
            last = part
        elif kind == "digits" and last.startswith("s"):
            out.append(f"{moment.microsecond:06d}"[: len(text)])
        elif kind in ("literal", "point", "scale", "digits"):
            out.append(text)
    return "".join(out).strip()


def _moment(value: dt.datetime | dt.date | dt.time) -> dt.datetime:
    if isinstance(value, dt.datetime):
        return value
    if isinstance(value, dt.date):
        return dt.datetime(value.year, value.month, value.day)
    return dt.datetime.combine(dt.date(1899, 12, 30), value)


def _since_midnight(value: dt.time) -> dt.timedelta:
    return dt.timedelta(hours=value.hour, minutes=value.minute, seconds=value.second)


def _iso(value: dt.datetime | dt.date | dt.time) -> str:
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return value.date().isoformat()
    return value.isoformat(" ") if isinstance(value, dt.datetime) else value.isoformat()


def _next_date_part(section: _Section, place: int) -> str:
    return next((text.lower() for kind, text in section.tokens[place + 1 :] if kind == "date"), "")


def _date_part(part: str, moment: dt.datetime, *, twelve: bool, is_minute: bool) -> str:
    size = len(part)
    match part[0]:
        case "y" | "e":
            return f"{moment.year % 100:02d}" if part in ("y", "yy") else str(moment.year)
        case "m" if is_minute:
            return f"{moment.minute:0{min(size, 2)}d}"
        case "m":
            name = _MONTHS[moment.month - 1]
            names = {3: name[:3], 4: name, 5: name[0]}
            return names.get(size) or f"{moment.month:0{min(size, 2)}d}"
        case "d":
            name = _DAYS[moment.weekday()]
            names = {3: name[:3], 4: name}
            return names.get(size) or f"{moment.day:0{min(size, 2)}d}"
        case "h":
            hour = (moment.hour % 12 or 12) if twelve else moment.hour
            return f"{hour:0{min(size, 2)}d}"
        case "s":
            return f"{moment.second:0{min(size, 2)}d}"
        case "上":
            return "上午" if moment.hour < 12 else "下午"
        case "a" if part in ("am/pm", "a/p"):
            half = "AM" if moment.hour < 12 else "PM"
            return half if part == "am/pm" else half[0]
        case "a":
            day = _HAN_DAYS[moment.weekday()]
            return day if size == 3 else f"星期{day}"
        case _:
            return ""


def _duration(value: dt.timedelta, section: _Section) -> str:
    total = round(value.total_seconds())
    sign = "-" if total < 0 else ""
    minutes, seconds = divmod(abs(total), 60)
    hours, minutes_of_hour = divmod(minutes, 60)
    out: list[str] = []
    unit = ""
    for kind, text in section.tokens:
        part = text.lower()
        if kind == "elapsed":
            amount = {"h": hours, "m": minutes, "s": abs(total)}[part[0]]
            out.append(f"{amount:0{len(part)}d}")
            unit = part[0]
        elif kind == "date" and part[0] in "hms":
            amount = {"h": hours, "m": minutes_of_hour, "s": seconds}[part[0]]
            out.append(f"{amount:0{min(len(part), 2)}d}")
            unit = part[0]
        elif kind == "literal":
            out.append(text)
    if unit:
        return sign + "".join(out).strip()
    return f"{sign}{hours}:{minutes_of_hour:02d}:{seconds:02d}"
