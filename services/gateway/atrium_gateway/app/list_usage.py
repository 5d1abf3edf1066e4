"""Shows what a tenant used."""

from __future__ import annotations

import json
from datetime import date, datetime

from atrium_gateway.app.meter_usage import MeterUsage
from atrium_gateway.app.page import Page, cut_page
from atrium_gateway.app.ports import UsageCursor, UsageStore
from atrium_gateway.app.usage_period import usage_days
from atrium_gateway.domain.usage import UsageRecord
from atrium_shared.clock import Clock
from atrium_shared.paging import PageTokenInvalid, decode_page_token, page_size
from atrium_shared.principal import Principal


class ListUsage:
    """Use case of ``ListUsage``.

    Args:
        store: The stored sums.
        meter: Stores what was counted last, so that a caller sees its own calls.
        clock: Says what now is.
    """

    def __init__(self, store: UsageStore, meter: MeterUsage, clock: Clock) -> None:
        self._store = store
        self._meter = meter
        self._clock = clock

    async def __call__(
        self,
        principal: Principal,
        start: datetime | None,
        end: datetime | None,
        size: int,
        token: str,
    ) -> Page[UsageRecord]:
        """Return a page of the tenant's usage: newest day first, then by task and model.

        Args:
            principal: Who asks.
            start: A moment of the first day (UTC); None for 30 days ago.
            end: First moment no longer included; None for now.
            size: Records on a page.
            token: Of the page before.

        Raises:
            UsagePeriodInvalid: The period is empty.
            PageTokenInvalid: The token belongs to another request.
        """
        fingerprint = f"{principal.tenant} ListUsage {start} {end}"
        first, last = usage_days(start, end, self._clock.now())
        after = _cursor(decode_page_token(token, fingerprint))
        await self._meter.flush()
        limit = page_size(size)
        records = await self._store.list_records(principal.tenant, first, last, after, limit + 1)
        return cut_page(records, limit, _key, fingerprint)


def _key(record: UsageRecord) -> str:
    key = record.key
    return json.dumps([key.day.isoformat(), key.task, key.model])


def _cursor(text: str) -> UsageCursor | None:
    if not text:
        return None
    try:
        day, task, model = map(str, json.loads(text))
        return UsageCursor(date.fromisoformat(day), task, model)
    except ValueError as error:
        raise PageTokenInvalid from error
