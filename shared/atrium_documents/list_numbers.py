"""Numbers of automatic lists as text: "1.", "iv", "第三条", "乙" (ECMA-376 part 1, 17.18.59)."""

from __future__ import annotations

from typing import Final

_ROMAN: Final = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"),
    (40, "xl"), (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip
_HAN_DIGITS: Final = "零一二三四五六七八九"
_LEGAL_DIGITS: Final = "零壹贰叁肆伍陆柒捌玖"
_LEGAL_TRADITIONAL: Final = "零壹貳參肆伍陸柒捌玖"
_STEMS: Final = "甲乙丙丁戊己庚辛壬癸"
_BRANCHES: Final = "子丑寅卯辰巳午未申酉戌亥"
_ENCLOSED: Final = {
    "decimalEnclosedCircle": 0x2460,
    "decimalEnclosedCircleChinese": 0x2460,
    "decimalEnclosedParen": 0x2474,
    "decimalEnclosedFullstop": 0x2488,
}
_HAN_COUNTING: Final = frozenset(
    "chineseCounting chineseCountingThousand japaneseCounting taiwaneseCounting "
    "taiwaneseCountingThousand koreanCounting".split()
)


def format_list_number(number: int, number_format: str) -> str:
    """Return ``number`` in one of Word's list formats; an unknown format counts in digits."""
    if number < 0 or number > 32767:
        return str(number)
    if number_format in _HAN_COUNTING:
        return han_number(number)
    if number_format in _ENCLOSED and 1 <= number <= 20:
        return chr(_ENCLOSED[number_format] + number - 1)
    match number_format:
        case "lowerRoman":
            return _roman(number)
        case "upperRoman":
            return _roman(number).upper()
        case "lowerLetter":
            return _letters(number)
        case "upperLetter":
            return _letters(number).upper()
        case "decimalZero":
            return f"{number:02d}"
        case "ordinal":
            return f"{number}{_ordinal_ending(number)}"
        case "chineseLegalSimplified":
            return han_number(number, _LEGAL_DIGITS, "拾佰仟")
        case "ideographLegalTraditional":
            return han_number(number, _LEGAL_TRADITIONAL, "拾佰仟")
        case "ideographDigital" | "japaneseDigitalTenThousand" | "taiwaneseDigital":
            return "".join("〇" if d == "0" else _HAN_DIGITS[int(d)] for d in str(number))
        case "ideographTraditional" if 1 <= number <= len(_STEMS):
            return _STEMS[number - 1]
        case "ideographZodiac" if 1 <= number <= len(_BRANCHES):
            return _BRANCHES[number - 1]
        case "decimalFullWidth" | "decimalFullWidth2":
            return "".join(chr(ord(d) + 0xFEE0) for d in str(number))
        case "numberInDash":
            return f"- {number} -"
        case "none":
            return ""
        case _:
            return str(number)


def han_number(number: int, digits: str = _HAN_DIGITS, units: str = "十百千") -> str:
    """Return a number below 100,000 in Chinese: 12 is 十二, 205 is 二百零五."""
    if number >= 10_000:
        high, low = divmod(number, 10_000)
        rest = han_number(low, digits, units) if low else ""
        zero = digits[0] if low and low < 1000 else ""
        return f"{han_number(high, digits, units)}万{zero}{rest}"
    if number == 0:
        return digits[0]
    out = ""
    pending_zero = False
    for power in range(3, -1, -1):
        digit = number // 10**power % 10
        if digit == 0:
            pending_zero = bool(out)
            continue
        if pending_zero:
            out += digits[0]
            pending_zero = False
        out += digits[digit] + (units[power - 1] if power else "")
    # Ten to nineteen are written without a leading one.
    return out[1:] if 10 <= number < 20 and digits is _HAN_DIGITS else out


def _roman(number: int) -> str:
    out = ""
    for value, letters in _ROMAN:
        count, number = divmod(number, value)
        out += letters * count
    return out


def _letters(number: int) -> str:
    """Word goes from z to aa, bb, cc."""
    if number == 0:
        return ""
    count, place = divmod(number - 1, 26)
    return chr(ord("a") + place) * (min(count, 50) + 1)


def _ordinal_ending(number: int) -> str:
    if 10 <= number % 100 <= 20:
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
