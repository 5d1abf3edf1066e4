"""Error rates of recognised speech: WER, CER, mixed, by speaker, and recall of hotwords.

Texts are normalised first: small letters, no marks, simplified characters, numbers and usual short
forms as words. A unit is an English word or a Chinese character, so that one count serves texts in
both languages (the mixed error rate of SEAME and ASRU 2019).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import opencc

_UNIT = re.compile(r"[\u3400-\u9fff]|[a-z0-9]+(?:'[a-z]+)?")
_DIGITS = "零一二三四五六七八九"
_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_AND = re.compile(rf"\b(hundred|thousand) and (?=(?:{'|'.join(_ONES + _TENS)}))")
_ORDINALS = {
    "first": "one", "second": "two", "third": "three", "fifth": "five", "eighth": "eight",
    "ninth": "nine", "twelfth": "twelve",
}  # fmt: skip
_SAME = {
    "okay": "ok", "alright": "all right", "gonna": "going to", "wanna": "want to",
    "won't": "will not", "can't": "can not", "cannot": "can not", "let's": "let us",
    "mr": "mister", "dr": "doctor", "percent": "per cent",
}  # fmt: skip
_SHORT = {"'m": "am", "'re": "are", "'ve": "have", "'ll": "will", "'d": "would"}
_FILLERS = frozenset("um uh umm uhm hmm hm mm mhm er erm ah 呃 嗯 唔".split())


@dataclass(frozen=True, slots=True)
class Errors:
    """What differs between two texts.

    Args:
        substituted: Units that are other ones.
        deleted: Units that are missing.
        inserted: Units that nobody said.
        units: Units that were said.
    """

    substituted: int = 0
    deleted: int = 0
    inserted: int = 0
    units: int = 0

    @property
    def rate(self) -> float:
        """Errors for each unit; 0 where nothing was said and nothing found."""
        wrong = self.substituted + self.deleted + self.inserted
        return wrong / self.units if self.units else float(wrong > 0)

    def __add__(self, other: Errors) -> Errors:
        return Errors(
            self.substituted + other.substituted,
            self.deleted + other.deleted,
            self.inserted + other.inserted,
            self.units + other.units,
        )


def units(text: str, *, fillers: bool = True) -> list[str]:
    """Return the normalised units of a text.

    Args:
        text: As written.
        fillers: Whether "um" and "嗯" count.
    """
    plain = _simplified().convert(text.lower().replace("’", "'"))
    plain = re.sub(r"(?<=\d),(?=\d{3})", "", plain)
    plain = re.sub(r"(\d+(?:\.\d+)?)\s*%", _percent, plain)
    plain = re.sub(r"\$\s*(\d+(?:\.\d+)?)", r"\1 dollars", plain).replace("-", " ")
    plain = re.sub(r"(?<=\d)(st|nd|rd|th)\b", "", plain)
    plain = re.sub(r"\d+(?:\.\d+)?", lambda found: _number(found[0], plain, found.start()), plain)
    plain = _AND.sub(r"\1 ", plain)
    found: list[str] = []
    for unit in _UNIT.findall(plain):
        found += _expanded(unit)
    return found if fillers else [unit for unit in found if unit not in _FILLERS]


def count_errors(said: Sequence[str], found: Sequence[str]) -> Errors:
    """Compare units by the least number of edits (Levenshtein, 1966)."""
    rows, columns = len(said), len(found)
    costs = np.zeros((rows + 1, columns + 1), np.int32)
    costs[:, 0] = np.arange(rows + 1)
    costs[0] = np.arange(columns + 1)
    steps = np.arange(columns + 1, dtype=np.int32)
    numbers: dict[str, int] = {}
    right = np.array([numbers.setdefault(unit, len(numbers)) for unit in found], np.int32)
    for row, unit in enumerate(said, 1):
        differs = (right != numbers.get(unit, -1)).astype(np.int32)
        best = costs[row].copy()
        best[1:] = np.minimum(costs[row - 1, :-1] + differs, costs[row - 1, 1:] + 1)
        # A run of insertions is the running minimum of cost less place.
        costs[row] = np.minimum.accumulate(best - steps) + steps
    substituted = deleted = inserted = 0
    row, column = rows, columns
    while row or column:
        here = costs[row, column]
        same = row and column and said[row - 1] == found[column - 1]
        if same and costs[row - 1, column - 1] == here:
            row, column = row - 1, column - 1
        elif row and column and costs[row - 1, column - 1] + 1 == here:
            substituted, row, column = substituted + 1, row - 1, column - 1
        elif row and costs[row - 1, column] + 1 == here:
            deleted, row = deleted + 1, row - 1
        else:
            inserted, column = inserted + 1, column - 1
    return Errors(substituted, deleted, inserted, rows)


def error_rate(said: str, found: str, *, fillers: bool = True) -> Errors:
    """Compare two texts: WER in English, CER in Chinese, and the mixed rate where both occur."""
    return count_errors(units(said, fillers=fillers), units(found, fillers=fillers))


def error_rate_by_speaker(
    said: Mapping[str, Iterable[str]], found: Mapping[str, Iterable[str]], *, fillers: bool = True
) -> Errors:
    """Compare what each speaker said, under the best pairing of speakers (cpWER).

    Source: Watanabe et al., CHiME-6 (2020). Speakers found too many count as insertions, speakers
    not found as deletions.

    Args:
        said: Texts in order, by speaker.
        found: The same as recognised; the names of speakers may be others.
        fillers: Whether "um" and "嗯" count.
    """
    right = [units(" ".join(texts), fillers=fillers) for texts in said.values()]
    left = [units(" ".join(texts), fillers=fillers) for texts in found.values()]
    size = max(len(right), len(left))
    right += [[] for _ in range(size - len(right))]
    left += [[] for _ in range(size - len(left))]
    pairs = [[count_errors(one, other) for other in left] for one in right]
    total = Errors()
    for row, column in enumerate(_best_pairing([[_wrong(each) for each in row] for row in pairs])):
        total += pairs[row][column]
    return total


def _best_pairing(costs: Sequence[Sequence[int]]) -> list[int]:
    """Return a column for each row so that the costs are least; takes n 2^n steps."""
    size = len(costs)
    if size > 14:
        raise ValueError(f"There are {size} speakers; expected at most 14.")
    best: dict[int, tuple[int, list[int]]] = {0: (0, [])}
    for row in range(size):
        following: dict[int, tuple[int, list[int]]] = {}
        for taken, (cost, columns) in best.items():
            for column in range(size):
                if not taken >> column & 1:
                    more = cost + costs[row][column]
                    known = following.get(taken | 1 << column)
                    if known is None or more < known[0]:
                        following[taken | 1 << column] = (more, [*columns, column])
        best = following
    return best[(1 << size) - 1][1]


def hotword_recall(hotwords: Iterable[str], said: str, found: str) -> tuple[int, int]:
    """Return how many mentions of hotwords were recognised, and how many there are."""
    right, left = _spaced(said), _spaced(found)
    recalled = mentioned = 0
    for hotword in dict.fromkeys(hotwords):
        phrase = _spaced(hotword)
        if phrase.strip():
            count = right.count(phrase)
            mentioned += count
            recalled += min(count, left.count(phrase))
    return recalled, mentioned


def _wrong(errors: Errors) -> int:
    return errors.substituted + errors.deleted + errors.inserted


def _spaced(text: str) -> str:
    # Two spaces between: phrases that follow each other share none.
    return "".join(f" {unit} " for unit in units(text))


def _expanded(unit: str) -> list[str]:
    if unit in _SAME:
        return _SAME[unit].split()
    if unit.endswith("n't"):
        return [unit[:-3], "not"]
    for ending, word in _SHORT.items():
        if unit.endswith(ending):
            return [unit[: -len(ending)], word]
    if unit in _ORDINALS:
        return [_ORDINALS[unit]]
    if unit.endswith("ieth") and f"{unit[:-4]}y" in _TENS:
        return [f"{unit[:-4]}y"]
    if unit.endswith("th") and unit[:-2] in _ONES:
        return [unit[:-2]]
    return [unit.replace("'", "")]


def _percent(found: re.Match[str]) -> str:
    before = found.string[: found.start()]
    return f"百分之{found[1]}" if _after_chinese(before) else f"{found[1]} per cent"


def _after_chinese(before: str) -> bool:
    letters = re.findall(r"[\u3400-\u9fffa-z]", before)
    return bool(letters) and letters[-1] >= "\u3400"


def _number(digits: str, text: str, at: int) -> str:
    follows = re.search(r"[\u3400-\u9fffa-z]", text[at:])
    chinese = _after_chinese(text[:at]) or (follows is not None and follows[0] >= "\u3400")
    whole, _, decimals = digits.partition(".")
    if chinese:
        spoken = _in_chinese(whole)
        return spoken + ("点" + "".join(_DIGITS[int(digit)] for digit in decimals)) * bool(decimals)
    spoken = _in_english(whole)
    spoken += (" point " + " ".join(_ONES[int(digit)] for digit in decimals)) * bool(decimals)
    return f" {spoken} "


def _in_chinese(digits: str) -> str:
    value = int(digits)
    if len(digits) > 8 or (len(digits) > 1 and digits[0] == "0") or 1900 <= value <= 2099:
        return "".join(_DIGITS[int(digit)] for digit in digits)
    if value >= 10_000:
        rest = value % 10_000
        low = ("零" if 0 < rest < 1000 else "") + (_in_chinese(str(rest)) if rest else "")
        return _in_chinese(str(value // 10_000)) + "万" + low
    spoken, gap = "", False
    for size, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = value // size % 10
        if digit == 0:
            gap = bool(spoken)
            continue
        lone_ten = size == 10 and digit == 1 and not spoken
        spoken += ("零" if gap else "") + ("" if lone_ten else _DIGITS[digit]) + name
        gap = False
    return spoken or "零"


def _in_english(digits: str) -> str:
    value = int(digits)
    if len(digits) > 9 or (len(digits) > 1 and digits[0] == "0"):
        return " ".join(_ONES[int(digit)] for digit in digits)
    if 1100 <= value <= 2099 and value % 1000 >= 10:
        low = value % 100
        tail = "hundred" if low == 0 else f"oh {_ONES[low]}" if low < 10 else _in_english(str(low))
        return f"{_in_english(str(value // 100))} {tail}"
    for size, name in ((1_000_000, "million"), (1000, "thousand"), (100, "hundred")):
        if value >= size:
            rest = value % size
            low = f" {_in_english(str(rest))}" if rest else ""
            return f"{_in_english(str(value // size))} {name}{low}"
    if value < 20:
        return _ONES[value]
    return _TENS[value // 10 - 2] + (f" {_ONES[value % 10]}" if value % 10 else "")


@cache
def _simplified() -> opencc.OpenCC:
    return opencc.OpenCC("t2s")
