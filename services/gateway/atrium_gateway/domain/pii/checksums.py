"""Check digits. Arguments hold digits and capital letters alone."""

from __future__ import annotations

from datetime import date

_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID_DIGITS = "10X98765432"
_CODE_LETTERS = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_CODE_VALUES = {letter: value for value, letter in enumerate(_CODE_LETTERS)}
_CODE_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
# Length of an account number by country (the registry of ISO 13616).
_IBAN_LENGTHS = {
    country: int(length)
    for country, length in (
        each.split(":")
        for each in (
            "AD:24 AE:23 AL:28 AT:20 AZ:28 BA:20 BE:16 BG:22 BH:22 BR:29 BY:28 CH:21 CR:22 CY:28 "
            "CZ:24 DE:22 DK:18 DO:28 EE:20 EG:29 ES:24 FI:18 FO:18 FR:27 GB:22 GE:22 GI:23 GL:18 "
            "GR:27 GT:28 HR:21 HU:28 IE:22 IL:23 IQ:23 IS:26 IT:27 JO:30 KW:30 KZ:20 LB:28 LC:32 "
            "LI:21 LT:20 LU:20 LV:21 LY:25 MC:27 MD:24 ME:22 MK:19 MR:27 MT:31 MU:30 NL:18 NO:15 "
            "PK:24 PL:28 PS:29 PT:25 QA:29 RO:24 RS:22 SA:24 SC:31 SE:24 SI:19 SK:24 SM:27 ST:25 "
            "SV:28 TL:23 TN:24 TR:26 UA:29 VA:22 VG:24 XK:20"
        ).split()
    )
}


def is_id_card(number: str) -> bool:
    """Say whether 18 characters are a number of GB 11643: a day that was, and the check digit."""
    total = sum(int(digit) * weight for digit, weight in zip(number[:17], _ID_WEIGHTS, strict=True))
    return _ID_DIGITS[total % 11] == number[17] and is_day(number[6:14])


def is_day(digits: str) -> bool:
    """Say whether ``YYYYMMDD`` is a day of the calendar."""
    try:
        date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return False
    return True


def is_credit_code(code: str) -> bool:
    """Say whether 18 characters have the check character of GB 32100."""
    try:
        total = sum(
            _CODE_VALUES[letter] * weight
            for letter, weight in zip(code[:17], _CODE_WEIGHTS, strict=True)
        )
        return _CODE_VALUES[code[17]] == -total % 31
    except KeyError:
        return False


def is_luhn(number: str) -> bool:
    """Say whether digits have the check digit of ISO 7812 (Luhn, US patent 2,950,048)."""
    total = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit)
        if place % 2:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0


def is_bank_card(number: str) -> bool:
    """Say whether digits begin and are as long as a card of a known network, and pass Luhn."""
    size, start = len(number), int(number[:4])
    if number[0] == "4":
        fits = size in (13, 16, 18, 19)
    elif 2221 <= start <= 2720 or 5000 <= start <= 5999:
        fits = size == 16
    elif 3400 <= start <= 3499 or 3700 <= start <= 3799:
        fits = size == 15
    elif 3000 <= start <= 3999:
        fits = size in (14, 16, 19)
    else:
        # UnionPay, Discover and RuPay, Maestro, and cards of Chinese banks from before UnionPay.
        fits = size in (16, 17, 18, 19) and (6000 <= start <= 6999 or 9000 <= start <= 9999)
    return fits and is_luhn(number)


def iban_length(country: str) -> int:
    """Return how many characters an account number of a country has; 0 when it has none."""
    return _IBAN_LENGTHS.get(country, 0)


def is_iban(number: str) -> bool:
    """Say whether characters of the right length pass the check of ISO 13616 (mod 97)."""
    moved = number[4:] + number[:4]
    return int("".join(str(int(letter, 36)) for letter in moved)) % 97 == 1
