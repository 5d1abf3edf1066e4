"""Exact arithmetic for calculations: this file's text runs inside the sandbox, before a program.

Numbers are integers or fractions of integers, so no step rounds; only roots that have no exact
value are taken to 50 digits. A program's operators and calls are rewritten to these functions
(:mod:`atrium_gateway.domain.programs`), which therefore may not use what the sandbox's interpreter
lacks: operators of classes beyond arithmetic, and much of the standard library.
"""

import math
from datetime import date, timedelta
from decimal import Decimal, getcontext

getcontext().prec = 50

_MOST_BITS = 400_000
_LARGEST = 1 << _MOST_BITS
_MOST_SHOWN = 10**60
_MOST_ITEMS = 50
_LONGEST_TEXT = 200
_LONGEST_WALK_DAYS = 40_000


class _Q:
    """A fraction in lowest terms whose denominator is more than 1."""

    def __init__(self, n, d):
        self.n = n
        self.d = d


class _Weekday:
    """A day of the week, 1 (Monday) to 7."""

    def __init__(self, number):
        self.number = number


def _number(value):
    return isinstance(value, int | _Q | Decimal)


def _parts(value):
    if isinstance(value, _Q):
        return value.n, value.d
    if isinstance(value, int):
        return int(value), 1
    if isinstance(value, Decimal):
        return value.as_integer_ratio()
    raise TypeError(f"a number is needed here, not {_kind(value)}")


def _kind(value):
    if isinstance(value, str):
        return "text"
    if isinstance(value, date):
        return "a date"
    if isinstance(value, timedelta):
        return "a number of days (take .days of it)"
    if value is None:
        return "nothing"
    return "a list"


def _q(n, d):
    if d == 0:
        raise ZeroDivisionError("division by zero")
    if d < 0:
        n, d = -n, -d
    if n > _LARGEST or -n > _LARGEST or d > _LARGEST:
        raise OverflowError("a number became too large")
    common = math.gcd(n, d)
    if common != 1:
        n, d = n // common, d // common
    return n if d == 1 else _Q(n, d)


def _bits(n):
    return 4 * len(hex(n))


def _add(a, b):
    if _number(a) and _number(b):
        an, ad = _parts(a)
        bn, bd = _parts(b)
        return _q(an * bd + bn * ad, ad * bd)
    if isinstance(a, date) and isinstance(b, int):
        return a + timedelta(days=b)
    return a + b


def _sub(a, b):
    if _number(a) and _number(b):
        an, ad = _parts(a)
        bn, bd = _parts(b)
        return _q(an * bd - bn * ad, ad * bd)
    if isinstance(a, date) and isinstance(b, int):
        return a - timedelta(days=b)
    return a - b


def _mul(a, b):
    if _number(a) and _number(b):
        an, ad = _parts(a)
        bn, bd = _parts(b)
        return _q(an * bn, ad * bd)
    return a * b


def _div(a, b):
    an, ad = _parts(a)
    bn, bd = _parts(b)
    return _q(an * bd, ad * bn)


def _floordiv(a, b):
    an, ad = _parts(a)
    bn, bd = _parts(b)
    if bn == 0:
        raise ZeroDivisionError("division by zero")
    return (an * bd) // (ad * bn)


def _mod(a, b):
    return _sub(a, _mul(b, _floordiv(a, b)))


def _pow(a, b):
    an, ad = _parts(a)
    bn, bd = _parts(b)
    if bd == 1:
        if max(_bits(an), _bits(ad)) * abs(bn) > _MOST_BITS:
            raise OverflowError("the power is too large")
        if bn >= 0:
            return _q(an**bn, ad**bn)
        return _q(ad**-bn, an**-bn)
    if an < 0:
        raise ValueError("a negative number has no such root")
    if an == 0:
        if bn < 0:
            raise ZeroDivisionError("division by zero")
        return 0
    near = (Decimal(an) / Decimal(ad)) ** (Decimal(bn) / Decimal(bd))
    if bd <= 64 and abs(bn) <= 64 and abs(near) < 10**30:
        whole = round_half_up(near, 12)
        if max(_bits(an), _bits(ad)) < 2_000 and _eq(_pow(whole, bd), _pow(a, bn)):
            return whole
    n, d = near.as_integer_ratio()
    return _q(n, d)


def _neg(a):
    if _number(a):
        n, d = _parts(a)
        return _q(-n, d)
    return -a


def _lt(a, b):
    if _number(a) and _number(b):
        an, ad = _parts(a)
        bn, bd = _parts(b)
        return an * bd < bn * ad
    return a < b


def _eq(a, b):
    if _number(a) and _number(b):
        return _parts(a) == _parts(b)
    return a == b


def _gt(a, b):
    return _lt(b, a)


def _le(a, b):
    return not _lt(b, a)


def _ge(a, b):
    return not _lt(a, b)


def _ne(a, b):
    return not _eq(a, b)


def _in(a, items):
    if isinstance(items, str):
        return a in items
    return any([_eq(a, item) for item in items])  # noqa: C419 - the interpreter's any()


def _not_in(a, items):
    return not _in(a, items)


def _items(values):
    if len(values) == 1 and not _number(values[0]) and not isinstance(values[0], date):
        values = list(values[0])
    if not values:
        raise ValueError("there is nothing to compare")
    return values


def minimum(*values):
    """Return the least of some values, or of a list."""
    values = _items(values)
    least = values[0]
    for value in values:
        if _lt(value, least):
            least = value
    return least


def maximum(*values):
    """Return the greatest of some values, or of a list."""
    values = _items(values)
    most = values[0]
    for value in values:
        if _lt(most, value):
            most = value
    return most


def total(values, start=0):
    """Return the sum of a list."""
    for value in values:
        start = _add(start, value)
    return start


def product(values):
    """Return the product of a list."""
    result = 1
    for value in values:
        result = _mul(result, value)
    return result


def average(*values):
    """Return the mean of some values, or of a list."""
    values = _items(values)
    return _div(total(values), len(values))


def median(*values):
    """Return the middle of some values, or of a list."""
    values = in_order(_items(values))
    half = len(values) // 2
    if len(values) % 2:
        return values[half]
    return _div(_add(values[half - 1], values[half]), 2)


def in_order(values, reverse=False):
    """Return a list in ascending order, or in descending order."""
    result = []
    for value in values:
        at = len(result)
        while at > 0 and _lt(value, result[at - 1]):
            at -= 1
        result.insert(at, value)
    return result[::-1] if reverse else result


def absolute(a):
    """Return a number without its sign."""
    return _neg(a) if _lt(a, 0) else a


def _digits(n):
    if not isinstance(n, int) or n < -30 or n > 30:
        raise ValueError("digits to round to must be a whole number from -30 to 30")
    return 10 ** abs(n)


def round_half_up(x, n=0):
    """Return ``x`` with ``n`` decimals; a half goes away from zero, as in accounts."""
    scale = _digits(n)
    xn, xd = _parts(x)
    if n < 0:
        xd *= scale
    else:
        xn *= scale
    whole = (2 * abs(xn) + xd) // (2 * xd)
    if xn < 0:
        whole = -whole
    return whole * scale if n < 0 else _q(whole, scale)


def round_half_even(x, n=0):
    """Return ``x`` with ``n`` decimals; a half goes to the even neighbour."""
    scale = _digits(n)
    xn, xd = _parts(x)
    if n < 0:
        xd *= scale
    else:
        xn *= scale
    whole = xn // xd
    twice = 2 * (xn - whole * xd)
    if twice > xd or (twice == xd and whole % 2):
        whole += 1
    return whole * scale if n < 0 else _q(whole, scale)


def floor(x):
    """Return the greatest whole number that is not above ``x``."""
    n, d = _parts(x)
    return n // d


def ceil(x):
    """Return the least whole number that is not below ``x``."""
    n, d = _parts(x)
    return -(-n // d)


def whole(x):
    """Return ``x`` without its decimals, or the whole number that a text says."""
    if isinstance(x, str):
        x = number(x)
    n, d = _parts(x)
    return -(-n // d) if n < 0 else n // d


def number(x):
    """Return the number that a text says; a number stays as it is."""
    if isinstance(x, str):
        n, d = Decimal(x.strip().replace(",", "")).as_integer_ratio()
        return _q(n, d)
    n, d = _parts(x)
    return _q(n, d)


def sqrt(x):
    """Return the square root."""
    return _pow(x, _q(1, 2))


def percent(p):
    """Return ``p`` per cent as a number: 15 becomes 0.15."""
    return _div(p, 100)


def percent_of(part, entire):
    """Return how many per cent of ``entire`` ``part`` is."""
    return _div(_mul(part, 100), entire)


def percent_change(old, new):
    """Return by how many per cent ``new`` is more than ``old``; negative when it is less."""
    return _div(_mul(_sub(new, old), 100), old)


def compound(principal, rate_percent, periods):
    """Return what ``principal`` grows to at ``rate_percent`` for each of ``periods``."""
    return _mul(principal, _pow(_add(1, percent(rate_percent)), periods))


def day(year, month, day_of_month):
    """Return a date."""
    return date(year, month, day_of_month)


def parse_day(text, form="%Y-%m-%d"):
    """Return the date that a text such as "2026-03-02" says."""
    parts = text.replace("/", "-").replace(".", "-").strip()[:10].split("-")
    if len(parts) != 3 or len(parts[0]) != 4:
        raise ValueError("a date is written as year-month-day, such as 2026-03-02")
    return date(int(parts[0]), int(parts[1]), int(parts[2]))


def days(days=0, weeks=0):
    """Return a length of time to add to a date."""
    return timedelta(days=days + 7 * weeks)


def days_between(start, end):
    """Return the days from ``start`` to ``end``; the first of them is not counted."""
    return (end - start).days


def add_days(start, count):
    """Return the date ``count`` days after ``start``."""
    return start + timedelta(days=count)


def last_day_of_month(year, month):
    """Return how many days a month has."""
    following = date(year + month // 12, month % 12 + 1, 1)
    return (following - timedelta(days=1)).day


def add_months(start, count):
    """Return the same day ``count`` months later, or the month's last one where there is none."""
    months = start.year * 12 + start.month - 1 + count
    year, month = months // 12, months % 12 + 1
    return date(year, month, min(start.day, last_day_of_month(year, month)))


def add_years(start, count):
    """Return the same day ``count`` years later; 29 February becomes the 28th where needed."""
    return add_months(start, 12 * count)


def _walk(start, end):
    if abs((end - start).days) > _LONGEST_WALK_DAYS:
        raise OverflowError("working days are counted over at most 100 years")


def workdays_between(start, end, holidays=()):
    """Return the days from ``start`` to ``end``, both counted, without weekends and holidays."""
    if end < start:
        return -workdays_between(end, start, holidays)
    _walk(start, end)
    free = [each for each in holidays if start <= each <= end and each.weekday() < 5]
    entire = (end - start).days + 1
    count = entire // 7 * 5
    for offset in range(entire % 7):
        if (start.weekday() + offset) % 7 < 5:
            count += 1
    seen = []
    for each in free:
        if each not in seen:
            seen.append(each)
    return count - len(seen)


def add_workdays(start, count, holidays=()):
    """Return the date ``count`` working days after ``start``; it is not counted itself."""
    if abs(count) > _LONGEST_WALK_DAYS:
        raise OverflowError("working days are counted over at most 100 years")
    step = timedelta(days=1 if count >= 0 else -1)
    left = abs(count)
    while left:
        start += step
        if start.weekday() < 5 and start not in holidays:
            left -= 1
    return start


def weekday(when):
    """Return the day of the week of a date."""
    return _Weekday(when.isoweekday())


def age(born, when):
    """Return the full years from one date to another."""
    return when.year - born.year - ((when.month, when.day) < (born.month, born.day))


def _plain(value, decimals, grouped):
    n, d = _parts(round_half_up(value, decimals))
    scaled = str(abs(n) * 10**decimals // d).rjust(decimals + 1, "0")
    entire, fraction = scaled[: len(scaled) - decimals], scaled[len(scaled) - decimals :]
    if grouped:
        groups = []
        while len(entire) > 3:
            groups.insert(0, entire[-3:])
            entire = entire[:-3]
        entire = ",".join([entire, *groups])
    return ("-" if n < 0 else "") + entire + ("." + fraction if fraction else "")


def as_text(value, form=""):
    """Return a value as text; ``form`` is what may stand in an f-string: ",", ".2f", ".1%"."""
    if isinstance(value, str):
        return value
    if isinstance(value, date):
        return value.isoformat()
    grouped = form.startswith(",")
    if grouped:
        form = form[1:]
    if form.endswith("%"):
        return as_text(_mul(value, 100), ("," if grouped else "") + form[:-1] + "f") + "%"
    if form.startswith(".") and form.endswith("f"):
        return _plain(value, int(form[1:-1]), grouped)
    if form not in ("", "d"):
        raise ValueError("write {x:.2f}, {x:,.2f} or {x:.1%}")
    n, d = _parts(value)
    decimals = 0
    while decimals < 12 and (n * 10**decimals) % d:
        decimals += 1
    return _plain(value, decimals, grouped)


def _shown(value):
    if isinstance(value, bool):
        return ["bool", value]
    if _number(value):
        n, d = _parts(value)
        if abs(n) // d >= _MOST_SHOWN or d >= 10**120:
            raise OverflowError("the result is too large to be shown")
        return ["number", str(n), str(d)]
    if isinstance(value, date):
        return ["date", value.isoformat()]
    if isinstance(value, timedelta):
        return ["days", value.days]
    if isinstance(value, _Weekday):
        return ["weekday", value.number]
    if isinstance(value, str):
        if len(value) > _LONGEST_TEXT:
            raise OverflowError("the result is too long to be shown")
        return ["text", value]
    if isinstance(value, list | tuple):
        if not value or len(value) > _MOST_ITEMS:
            raise ValueError("the result must have 1 to 50 parts")
        return ["list", [_shown(item) for item in value]]
    raise ValueError("the program has no result")
