"""Shows what a tenant used."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime

from atrium_gateway.app.catalog import Catalog
from atrium_gateway.app.meter_usage import MeterUsage
from atrium_gateway.app.page import Page, cut_page
from atrium_gateway.app.ports import UsageCursor, UsageStore
from atrium_gateway.app.usage_period import usage_days
from atrium_gateway.domain.models import Price
from atrium_gateway.domain.usage import UsageRecord
from atrium_shared.clock import Clock
from atrium_shared.paging import decode_page_cursor, page_size
from atrium_shared.principal import Principal


@dataclass(frozen=True, slots=True)
class UsageLine:
    """A usage record, and the price of its model now; None when it has none."""

    record: UsageRecord
    price: Price | None


class ListUsage:
    """Use case of ``ListUsage``.

    Args:
        store: The stored sums.
        meter: Stores what was counted last, so that a caller sees its own calls.
        catalog: The models and their prices.
        clock: Says what now is.
    """

    def __init__(
        self, store: UsageStore, meter: MeterUsage, catalog: Catalog, clock: Clock
    ) -> None:
        self._store = store
        self._meter = meter
        self._catalog = catalog
        self._clock = clock

    async def __call__(
        self,
        principal: Principal,
        start: datetime | None,
        end: datetime | None,
        size: int,
        token: str,
    ) -> Page[UsageLine]:
        """Return a page of the tenant's usage: newest day first, then by task, model and key.

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
        after = decode_page_cursor(token, fingerprint, _cursor)
        await self._meter.flush()
        limit = page_size(size)
        records = await self._store.list_records(principal.tenant, first, last, after, limit + 1)
        tenant = principal.tenant
        lines = [UsageLine(each, self._price(each.key.model, tenant)) for each in records]
        return cut_page(lines, limit, _key, fingerprint)

    def _price(self, model: str, tenant: str) -> Price | None:
        served = self._catalog.find(model, tenant)
        return served.model.price if served is not None else None


def _key(line: UsageLine) -> str:
    key = line.record.key
    return json.dumps([key.day.isoformat(), key.task, key.model, key.credential])


def _cursor(text: str) -> UsageCursor:
    try:
        day, task, model, credential = map(str, json.loads(text))
    except (TypeError, RecursionError) as error:  # a number alone; brackets without end
        raise ValueError("It is no cursor of usage.") from error
    return UsageCursor(date.fromisoformat(day), task, model, credential)
