"""Finders of postal addresses in text of plain spelling, Chinese and English."""

from __future__ import annotations

import re
from collections.abc import Iterator

from atrium_gateway.domain.pii.kinds import Found, PiiKind

_HAN = "\u4e00-\u9fff"
_PROVINCES = (
    "北京|天津|上海|重庆|河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|"
    "河南|湖北|湖南|广东|海南|四川|贵州|云南|陕西|甘肃|青海|台湾|"
    "内蒙古|广西|西藏|宁夏|新疆|香港|澳门"
)
_PROVINCE = re.compile(
    f"(?:{_PROVINCES})(?:省|市|壮族自治区|回族自治区|维吾尔自治区|自治区|特别行政区)?"
)
_NUMBER = r"[0-9]{1,5}(?:[-之][0-9]{1,4})?"
_HAN_NUMBER = "[一二三四五六七八九十百零〇]{1,5}"
_PART = (
    rf"[{_HAN}A-Za-z]{{0,12}}(?:[0-9A-Za-z]{{1,5}}|{_HAN_NUMBER})(?:-[0-9]{{1,4}})?"
    r"(?:号楼|号院|号门|号|栋|幢|座|单元|层|楼|室|户|房|院)"
)
_TAIL = rf"(?:[ ,]?(?:{_PART})){{0,6}}(?:[0-9]{{3,4}}(?![0-9.%元]))?"
_STREET = re.compile(
    rf"(?:大街|大道|胡同|[路街道巷弄里村屯庄段])(?:[东西南北中][段路]?)?(?:{_NUMBER}|"
    rf"{_HAN_NUMBER})(?:号|弄)" + _TAIL
)
_BUILDING = re.compile(
    rf"(?:小区|花园|公寓|大厦|[园苑城庭湾府居邨区村])(?:{_NUMBER}|{_HAN_NUMBER}|"
    rf"[A-Za-z])(?:号楼|栋|幢|座)" + _TAIL
)
_LEFT = re.compile(rf"[{_HAN}A-Za-z0-9]{{1,40}}$")
_DISTRICT = re.compile(rf"[{_HAN}]{{2,4}}?(?:市|区|县|旗)")
_LEAD = re.compile(
    r".*(?:地址|住址|住所|住在|家住|现住|居住于|居住在|位于|坐落于|寄到|寄往|寄至|"
    r"送到|送至|送往|发往|发到|搬到|搬至|迁至|注册在|办公在|前往|"
    r"[在到往至于为是去从给])"
)
_POSTCODE = re.compile(r"(?:邮政编码|邮编)[: 是为]{0,3}([0-9]{6})(?![0-9])")

_WAY = (
    r"(?:street|st|avenue|ave|road|rd|lane|ln|drive|dr|court|ct|boulevard|blvd|way|"
    r"place|pl|square|sq|"
    r"terrace|ter|parkway|pkwy|highway|hwy|close|crescent|cres|circle|cir|trail|loop|"
    r"alley|mews|grove)"
)
_UNIT = r"(?:,? (?:apt|apartment|suite|ste|unit|flat|room|floor|#)\.? ?#?[\w\-]{1,8})"
_TOWN = r"(?-i:,? (?:[A-Z][\w'.\-]{1,24} ?){1,4})"
_ZIP = r"(?-i:,? ?[A-Z]{2},? [0-9]{5}(?:-[0-9]{4})?|,? ?[A-Z]{1,2}[0-9][A-Z0-9]? [0-9][A-Z]{2})"
# Words that stand in no street's name, but between a number and "way" or "place".
_NO_STREET = (
    r"(?:of|the|and|or|a|an|to|in|on|for|per|at|from|this|that|out|are|is|was|by|no|all|more)"
)
_ENGLISH = re.compile(
    rf"(?<![0-9A-Za-z.\-])[0-9]{{1,6}}[A-Za-z]?(?:-[0-9]{{1,4}})? "
    rf"(?:(?!(?:{_WAY}|{_NO_STREET})\b)[^\W\d_][\w'.\-]{{0,24}} ){{1,4}}{_WAY}\b\.?"
    rf"(?: (?:NW|NE|SW|SE|N|S|E|W)\b)?{_UNIT}{{0,2}}{_TOWN}?{_ZIP}?",
    re.IGNORECASE,
)
_UNIT_ALONE = re.compile(
    r"\b(?:apt|apartment|suite|ste|flat)\.? ?#?[0-9][\w\-]{0,7}\b", re.IGNORECASE
)
_BOX = re.compile(r"\bP\.? ?O\.? ?Box [0-9]{1,7}\b", re.IGNORECASE)
_STATE_ZIP = re.compile(
    r"\b(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|"
    r"O[HKR]|P[AR]|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY])"
    r",? [0-9]{5}(?:-[0-9]{4})?(?![0-9])"
)
_UK_POSTCODE = re.compile(r"\b[A-Z]{1,2}[0-9][A-Z0-9]? [0-9][ABD-HJLNP-UW-Z]{2}\b")
_GERMAN = re.compile(
    r"\b[A-ZÄÖÜ][\wäöüß\-]{1,30}(?:straße|strasse|str\.|weg|platz|allee|gasse|ring|"
    r"damm) [0-9]{1,4}[a-z]?(?:, [0-9]{5} [A-ZÄÖÜ][\wäöüß\-]{1,30})?"
)


def addresses(text: str) -> Iterator[Found]:
    """Find what names a building or a home."""
    for pattern in (_STREET, _BUILDING):
        for match in pattern.finditer(text):
            start = _begin(text, match.start())
            if start is not None:
                yield Found(PiiKind.ADDRESS, start, match.end())
    for match in _POSTCODE.finditer(text):
        yield Found(PiiKind.ADDRESS, *match.span(1))
    for pattern in (_ENGLISH, _UNIT_ALONE, _BOX, _STATE_ZIP, _UK_POSTCODE, _GERMAN):
        for match in pattern.finditer(text):
            end = match.start() + len(match[0].rstrip(" ,."))
            yield Found(PiiKind.ADDRESS, match.start(), end)


def _begin(text: str, at: int) -> int | None:
    """Return where the address begins whose street or building has its last sign at ``at``."""
    left = _LEFT.search(text, max(0, at - 40), at)
    if left is None:
        return None
    province = _PROVINCE.search(left[0])
    if province is not None:
        return left.start() + province.start()
    lead = _LEAD.match(left[0])
    start = left.start() + (lead.end() if lead is not None else 0)
    return start if start < at else left.start()
