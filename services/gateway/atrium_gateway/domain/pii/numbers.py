"""Finders of numbers and codes in text of plain spelling.

Every pattern is bounded, and each of its steps takes characters that the next does not: the time
for a text grows with its length, whatever it says.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from atrium_gateway.domain.pii import checksums
from atrium_gateway.domain.pii.kinds import Found, PiiKind

_CONTEXT_CHARS = 30
_GAP = r"[\s\-._/·*|,:]{0,3}"
"""What may stand between the digits of a number that a checksum confirms."""

_NOT_LETTERS = re.compile(r"[^0-9A-Za-z]+")
_NOT_DIGITS = re.compile(r"\D+")


def _spaced(*parts: str) -> str:
    return _GAP.join(parts)


_REGION = (
    "(?:"
    + "|".join(
        _spaced(first, second)
        for first, second in (
            ("1", "[1-5]"),
            ("2", "[1-3]"),
            ("3", "[1-7]"),
            ("4", "[1-6]"),
            ("5", "[0-4]"),
            ("6", "[1-5]"),
            ("7", "1"),
            ("8", "[1-3]"),
        )
    )
    + ")"
)
_YEAR = f"(?:{_spaced('1', '[89]')}|{_spaced('2', '0')})"
_MONTH = f"(?:{_spaced('0', '[1-9]')}|{_spaced('1', '[0-2]')})"
_DAY = f"(?:{_spaced('0', '[1-9]')}|{_spaced('[12]', '[0-9]')}|{_spaced('3', '[01]')})"
_D = "[0-9]"
_ID_CARD = re.compile(
    # Looked for at every place: a longer number may hold it.
    f"(?=({_spaced(_REGION, _D, _D, _D, _D, _YEAR, _D, _D, _MONTH, _DAY, _D, _D, _D, '[0-9Xx]')}))"
)
_OLD_ID_CARD = re.compile(
    r"(?<![0-9])[1-8][0-9]{7}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{3}(?![0-9A-Za-z])"
)
_ID_WORDS = re.compile(r"身份证|证件|公民身份|\b(?:ID|identity)\b", re.IGNORECASE)
_SOCIAL_SECURITY = re.compile(
    r"(?<![0-9A-Za-z\-])(?!000|666|9)[0-9]{3}([- "
    r"])(?!00)[0-9]{2}\1(?!0000)[0-9]{4}(?![0-9A-Za-z\-])"
)

_C = "[0-9A-HJ-NPQRTUWXYa-hj-npqrtuwxy]"
_CREDIT_CODE = re.compile(
    "(?=(" + _spaced("[1-9AaNnYy]", "[1-9Aa]", _REGION, _D, _D, _D, _D, *[_C] * 10) + "))"
)

_IBAN = re.compile(r"(?<![0-9A-Za-z])([A-Za-z]{2}[0-9]{2})(?:[ \-.]{0,2}[0-9A-Za-z]){11,30}")

_CARD_RUN = re.compile(r"[0-9](?:[ \-._/·*|]{0,2}[0-9]){12,}")
_DIGITS = re.compile(r"[0-9]+")
_CARD_SIZES = range(13, 20)


def checked_numbers(text: str) -> Iterator[Found]:
    """Find what a checksum confirms: identity cards, credit codes, account and card numbers."""
    for match in _ID_CARD.finditer(text):
        start, end = match.span(1)
        bare = _NOT_LETTERS.sub("", match[1]).upper()
        if checksums.is_id_card(bare) or (
            _stands_alone(text, start, end) and _said_before(text, start, _ID_WORDS)
        ):
            yield Found(PiiKind.ID_CARD, start, end)
    for match in _CREDIT_CODE.finditer(text):
        if checksums.is_credit_code(_NOT_LETTERS.sub("", match[1]).upper()):
            yield Found(PiiKind.CREDIT_CODE, *match.span(1))
    for match in _IBAN.finditer(text):
        size = checksums.iban_length(match[1][:2].upper())
        length = _end_after(match[0], size) if size else None
        if length is not None:
            bare = _NOT_LETTERS.sub("", match[0][:length]).upper()
            if checksums.is_iban(bare):
                yield Found(PiiKind.IBAN, match.start(), match.start() + length)
    for match in _CARD_RUN.finditer(text):
        yield from _cards(match[0], match.start())


def _stands_alone(text: str, start: int, end: int) -> bool:
    return not text[start - 1 : start].isalnum() and not text[end : end + 1].isalnum()


def _said_before(text: str, start: int, words: re.Pattern[str]) -> bool:
    return words.search(text, max(0, start - _CONTEXT_CHARS), start) is not None


def _end_after(text: str, count: int) -> int | None:
    """Return the end of the first ``count`` letters and digits; None when there are fewer."""
    seen = 0
    for at, char in enumerate(text):
        seen += char.isalnum()
        if seen == count:
            return at + 1
    return None


def _cards(run: str, offset: int) -> Iterator[Found]:
    """Find cards that begin and end where groups of digits do."""
    groups = [match.span() for match in _DIGITS.finditer(run)]
    for first, (start, last) in enumerate(groups):
        number = ""
        gaps = set()
        for group_start, group_end in groups[first:]:
            if number:
                gaps.add(run[last:group_start])
            number += run[group_start:group_end]
            last = group_end
            if len(number) > _CARD_SIZES[-1]:
                break
            # Numbers of a table with a date among them are no card.
            dated = "/" in gaps and len(gaps) > 1
            if len(number) in _CARD_SIZES and not dated and checksums.is_bank_card(number):
                yield Found(PiiKind.BANK_CARD, offset + start, offset + group_end)


_EMAIL = re.compile(
    r"(?<![A-Za-z0-9])[A-Za-z0-9][A-Za-z0-9._%+'\-]{0,63}"
    r"(?: ?@ ?| ?[\[(] ?at ?[\])] ?)"
    r"(?:[A-Za-z0-9\-]{1,63}(?: ?\. ?| ?[\[(] ?dot ?[\])] ?)){1,6}[A-Za-z]{2,24}(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_IP4 = re.compile(r"(?<![0-9A-Za-z.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9A-Za-z]|\.[0-9])")
_IP6 = re.compile(
    r"(?<![0-9A-Za-z.])(?:[0-9A-Fa-f]|::)[0-9A-Fa-f:]{2,38}:[0-9A-Fa-f.]{1,15}(?![0-9A-Za-z:])"
)
_VERSION_WORDS = re.compile(
    r"(?:版本|版|第|version|release|section|sections|clause|article|chapter|\bv|§)[号: ]{0,3}$",
    re.IGNORECASE,
)


def net_names(text: str) -> Iterator[Found]:
    """Find mail addresses and addresses of the Internet Protocol."""
    if "@" in text or "at" in text or "AT" in text:
        for match in _EMAIL.finditer(text):
            yield Found(PiiKind.EMAIL, *match.span())
    for match in _IP4.finditer(text):
        parts = match[0].split(".")
        if all(int(part) < 256 for part in parts) and not _VERSION_WORDS.search(
            text, max(0, match.start() - 12), match.start()
        ):
            yield Found(PiiKind.IP_ADDRESS, *match.span())
    for match in _IP6.finditer(text):
        if match[0].count(":") < 3 or not any(char.isdigit() for char in match[0]):
            continue
        try:
            ipaddress.IPv6Address(match[0])
        except ValueError:
            continue
        yield Found(PiiKind.IP_ADDRESS, *match.span())


_EXTENSION = r"(?:[ \-]{0,2}(?:x|ext\.?|转|分机|#)[ :]?[0-9]{1,6}|-[0-9]{1,5})?(?![0-9])"
_MOBILE = re.compile(
    r"(?<![0-9.])(?:(?:\+|00)?[ (]{0,2}86[ )\-]{0,2})?"
    r"1[ \-.·_/]?[3-9](?:[ \-.·_/]{0,2}[0-9]){9}(?![0-9]|\.[0-9]{1,2}(?![0-9]))"
)
_LANDLINE = re.compile(
    r"(?<![0-9.])(?:\+?86[ \-]{0,2})?"
    r"(?:\(0(?:10|2[0-9]|[3-9][0-9]{2})\)|0(?:10|2[0-9]|[3-9][0-9]{2}))"
    r"[ \-]{0,2}[2-9][0-9]{2,3}[ \-]?[0-9]{4}" + _EXTENSION
)
_SERVICE_LINE = re.compile(r"(?<![0-9])[48]00-[0-9]{3}-?[0-9]{4}(?![0-9])")
_INTERNATIONAL = re.compile(
    r"(?<![0-9A-Za-z+])\+[ ]?[1-9](?:[ .\-()/]{0,2}[0-9]){6,14}" + _EXTENSION
)
_DIALLED_ABROAD = re.compile(
    r"(?<![0-9A-Za-z.])00[1-9][0-9]{0,2}[ .\-()](?:[ .\-()]?[0-9]){6,13}" + _EXTENSION
)
_AMERICAN = re.compile(
    r"(?<![0-9.\-])(?:1[\-. ])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[\-. ])[0-9]{3}[\-. ][0-9]{4}"
    + _EXTENSION
)
_AREA_IN_BRACKETS = re.compile(
    r"(?<![0-9A-Za-z])\([0-9]{1,5}\)[ \-]?[0-9]{2,5}(?:[ .\-][0-9]{2,5}){1,3}" + _EXTENSION
)
_GROUPS = re.compile(
    r"(?<![0-9A-Za-z.\-])[0-9]{2,5}(?:[ .\-][0-9]{2,5}){1,4}(?![0-9A-Za-z])" + _EXTENSION
)
_PLAIN_NUMBER = re.compile(r"(?<![0-9A-Za-z.\-])[0-9]{7,12}(?![0-9A-Za-z]|\.[0-9]|-[0-9])")
_PHONE_WORDS = re.compile(
    r"电话|手机|座机|传真|热线|联系方式|致电|拨打|回电"
    r"|\b(?:tel|phone|telephone|mobile|cell|fax|call|dial|whatsapp|sms|text me|reach)",
    re.IGNORECASE,
)
_PHONE_WORDS_JUST_BEFORE = re.compile(
    r"(?:电话|手机|座机|传真|热线)(?:号码?)?(?:[:是为改换成了 ]){0,4}$"
    r"|\b(?:tel|phone|telephone|mobile|cell|fax|call|dial)(?: ?(?:number|no|me|us|him|her|at|is|on)"
    r"\b\.?){0,3}[:. ]{0,3}$",
    re.IGNORECASE,
)
_PHONE_WORDS_JUST_AFTER = re.compile(
    r"[ (]{1,2}(?:office|work|home|fax|mobile|cell|phone|tel)\b|[( ]?(?:电话|手机|座机|传真)",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"(?:[0-9]{4}[-. /][0-9]{1,2}[-. /][0-9]{1,2}|[0-9]{1,2}[-. /][0-9]{1,2}[-. /][0-9]{4})$"
)
_SPOKEN = re.compile(
    "[零〇一二三四五六七八九幺壹贰叁肆伍陆柒捌玖]{11}(?![零〇一二三四五六七八九幺])"
)
_SPOKEN_DIGITS = str.maketrans(
    "零〇一二三四五六七八九幺壹贰叁肆伍陆柒捌玖", "001234567891123456789"
)


def phones(text: str) -> Iterator[Found]:
    """Find telephone numbers, Chinese and foreign, and what is called one."""
    for match in _MOBILE.finditer(text):
        if _grouped_like_a_phone(match[0]):
            yield Found(PiiKind.PHONE, *match.span())
    for pattern in (_LANDLINE, _SERVICE_LINE, _DIALLED_ABROAD, _AMERICAN, _AREA_IN_BRACKETS):
        for match in pattern.finditer(text):
            yield Found(PiiKind.PHONE, *match.span())
    for match in _INTERNATIONAL.finditer(text):
        if len(_NOT_DIGITS.sub("", match[0])) >= 8:
            yield Found(PiiKind.PHONE, *match.span())
    for match in _GROUPS.finditer(text):
        count = len(_NOT_DIGITS.sub("", match[0]))
        if (
            7 <= count <= 15
            and not _DATE.match(match[0])
            and (
                _said_before(text, match.start(), _PHONE_WORDS)
                or _PHONE_WORDS_JUST_AFTER.match(text, match.end())
            )
        ):
            yield Found(PiiKind.PHONE, *match.span())
    for match in _PLAIN_NUMBER.finditer(text):
        if _said_before(text, match.start(), _PHONE_WORDS_JUST_BEFORE):
            yield Found(PiiKind.PHONE, *match.span())
    for match in _SPOKEN.finditer(text):
        digits = match[0].translate(_SPOKEN_DIGITS)
        if digits[0] == "1" and digits[1] in "3456789":
            yield Found(PiiKind.PHONE, *match.span())


def _grouped_like_a_phone(number: str) -> bool:
    """Say whether eleven digits stand together, one by one, or in groups of which one is long."""
    groups = [len(group) for group in _DIGITS.findall(number)]
    return max(groups) >= 4 or set(groups[-11:]) == {1}


_PASSPORT = re.compile(
    r"(?<![0-9A-Za-z])(?:[EGDSPegdsp][0-9]{8}|[Ee][A-HJ-NP-Za-hj-np-z][0-9]{7}|"
    r"[HMhm][0-9]{8,10})(?![0-9A-Za-z])"
)
_ANY_PASSPORT = re.compile(
    r"(?<![0-9A-Za-z])[A-Za-z]{0,2}[0-9]{6,9}[A-Za-z]?[0-9]{0,2}(?![0-9A-Za-z])"
)
_PASSPORT_WORDS = re.compile(r"护照|通行证|台胞证|旅行证|passport|travel document", re.IGNORECASE)
_PASSPORT_WORDS_JUST_BEFORE = re.compile(
    r"(?:护照|通行证|台胞证|旅行证)(?:号码?)?(?:[:是为 ]){0,3}$"
    r"|passport(?: ?(?:number|no|num|is)\b\.?){0,3}[:.# ]{0,3}$",
    re.IGNORECASE,
)
_OTHER_NUMBERS = re.compile(
    r"订单|单号|型号|编号|序列号|版本|批次|工单|流水|发票|料号|SKU|order|model|serial|"
    r"part|ticket|invoice",
    re.IGNORECASE,
)
_PLATE_START = (
    "[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼使领][A-HJ-NP-Za-hj-np-z]"
)
_P = "[A-HJ-NP-Za-hj-np-z0-9]"
_PLATE = re.compile(
    _PLATE_START + rf"[·. \-]{{0,2}}(?:[A-Ka-k]{_P}[0-9]{{4}}|[0-9]{{5}}[A-Ka-k]"
    rf"|(?=[A-Za-z]{{0,4}}[0-9]){_P}{{4}}(?:{_P}|[挂学警港澳试超]))(?![A-Za-z0-9])"
)
_MISSION_PLATE = re.compile(r"(?<![0-9])(?:使[0-9]{6}|[0-9]{6}使|[A-Z]{2}[0-9]{5}警)(?![0-9])")


def papers(text: str) -> Iterator[Found]:
    """Find passports, plates and old identity cards: written by rule, without a checksum."""
    for match in _PASSPORT.finditer(text):
        named = _said_before(text, match.start(), _PASSPORT_WORDS)
        if named or not _said_before(text, match.start(), _OTHER_NUMBERS):
            yield Found(PiiKind.PASSPORT, *match.span())
    if _PASSPORT_WORDS.search(text):
        for match in _ANY_PASSPORT.finditer(text):
            if _said_before(text, match.start(), _PASSPORT_WORDS_JUST_BEFORE):
                yield Found(PiiKind.PASSPORT, *match.span())
    for pattern in (_PLATE, _MISSION_PLATE):
        for match in pattern.finditer(text):
            yield Found(PiiKind.PLATE, *match.span())
    for match in _OLD_ID_CARD.finditer(text):
        if _said_before(text, match.start(), _ID_WORDS):
            yield Found(PiiKind.ID_CARD, *match.span())
    for match in _SOCIAL_SECURITY.finditer(text):
        yield Found(PiiKind.ID_CARD, *match.span())
