"""Which days a question about usage is about."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from atrium_gateway.domain.errors import UsagePeriodInvalid

_DEFAULT_DAYS = 30


def usage_days(start: datetime | None, end: datetime | None, now: datetime) -> tuple[date, date]:
    """Return the first and the last day (UTC), both included.

    Args:
        start: A moment of the first day; None for 30 days ago.
        end: First moment no longer included; None for now.
        now: What now is.

    Raises:
        UsagePeriodInvalid: The period is empty.
    """
    first = (start or now - timedelta(days=_DEFAULT_DAYS)).astimezone(UTC)
    until = (end or now + timedelta(microseconds=1)).astimezone(UTC)
    if until <= first:
        raise UsagePeriodInvalid(first.isoformat(), until.isoformat())
    return first.date(), (until - timedelta(microseconds=1)).date()
