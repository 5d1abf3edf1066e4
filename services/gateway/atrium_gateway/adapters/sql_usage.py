"""Usage in the service's database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from sqlalchemy import BigInteger, and_, cast, func, or_, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from atrium_gateway.adapters.tables import usage
from atrium_gateway.app.ports import UsageCursor
from atrium_gateway.domain.usage import UsageCount, UsageKey, UsageRecord
from atrium_shared.database import Database
from atrium_shared.engines import Usage

_SUMS = (
    "requests",
    "failures",
    "prompt_tokens",
    "completion_tokens",
    "encoder_tokens",
    "cached_prompt_tokens",
    "cached",
)


class SqlUsage:
    """Sums, one row for each tenant, day, task, model and key.

    Args:
        database: The service's database, started.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, counts: Mapping[UsageKey, UsageCount]) -> None:
        """Add to what is stored, in one transaction."""
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        statement = insert(usage)
        statement = statement.on_conflict_do_update(
            index_elements=["tenant", "day", "task", "model", "credential"],
            set_={name: usage.c[name] + statement.excluded[name] for name in _SUMS},
        )
        # In a fixed order, so that two replicas never wait for each other's rows in a circle.
        rows = [_row(key, counts[key]) for key in sorted(counts, key=_order)]
        async with self._database.write() as session:
            await session.execute(statement, rows)

    async def list_records(
        self, tenant: str, start: date, end: date, after: UsageCursor | None, limit: int
    ) -> list[UsageRecord]:
        """Return records of the days, newest first; see ``UsageStore``."""
        day, rest = usage.c.day, (usage.c.task, usage.c.model, usage.c.credential)
        query = select(usage).where(usage.c.tenant == tenant, day >= start, day <= end)
        if after is not None:
            later = tuple_(*rest) > tuple_(after.task, after.model, after.credential)
            query = query.where(or_(day < after.day, and_(day == after.day, later)))
        query = query.order_by(day.desc(), *rest).limit(limit)
        async with self._database.read() as session:
            rows = (await session.execute(query)).all()
        return [
            UsageRecord(
                UsageKey(row.tenant, row.day, row.task, row.model, row.credential), _count(row)
            )
            for row in rows
        ]

    async def sum_by_model(
        self, tenant: str, start: date, end: date
    ) -> dict[tuple[str, str], UsageCount]:
        """Return the sums by task and model; see ``UsageStore``."""
        task, model = usage.c.task, usage.c.model
        # The sum of big integers is a decimal in PostgreSQL; the sums here fit the column's type.
        sums = [cast(func.sum(usage.c[name]), BigInteger).label(name) for name in _SUMS]
        query = (
            select(task, model, *sums)
            .where(usage.c.tenant == tenant, usage.c.day >= start, usage.c.day <= end)
            .group_by(task, model)
        )
        async with self._database.read() as session:
            rows = (await session.execute(query)).all()
        return {(row.task, row.model): _count(row) for row in rows}


def _count(row: Any) -> UsageCount:
    return UsageCount(
        row.requests,
        row.failures,
        Usage(
            prompt_tokens=row.prompt_tokens,
            completion_tokens=row.completion_tokens,
            encoder_tokens=row.encoder_tokens,
            cached_prompt_tokens=row.cached_prompt_tokens,
        ),
        row.cached,
    )


def _order(key: UsageKey) -> tuple[str, date, str, str, str]:
    return key.tenant, key.day, key.task, key.model, key.credential


def _row(key: UsageKey, count: UsageCount) -> dict[str, object]:
    return {
        "tenant": key.tenant,
        "day": key.day,
        "task": key.task,
        "model": key.model,
        "credential": key.credential,
        "requests": count.requests,
        "failures": count.failures,
        "prompt_tokens": count.usage.prompt_tokens,
        "completion_tokens": count.usage.completion_tokens,
        "encoder_tokens": count.usage.encoder_tokens,
        "cached_prompt_tokens": count.usage.cached_prompt_tokens,
        "cached": count.cached,
    }
