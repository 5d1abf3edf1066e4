"""Questions about many ids at once, in portions that every database takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncSession

IDS_AT_ONCE = 5_000
"""SQLite takes 32,766 values in one statement and PostgreSQL 32,767."""


def portions(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Split ids into portions for one statement each."""
    for start in range(0, len(ids), IDS_AT_ONCE):
        yield ids[start : start + IDS_AT_ONCE]


async def first_unknown(
    session: AsyncSession, table: Table, tenant: str, ids: Sequence[str]
) -> str | None:
    """Return the first of the ids that has no row in a tenant's table, or None."""
    for portion in portions(ids):
        found = await session.scalars(
            select(table.c.id).where(table.c.tenant_id == tenant, table.c.id.in_(portion))
        )
        known = set(found)
        absent = next((identifier for identifier in portion if identifier not in known), None)
        if absent is not None:
            return absent
    return None


def fit(weights: Sequence[int], limit: int) -> int:
    """Return how many leading weights stay within ``limit`` together, but at least one."""
    total = 0
    for count, weight in enumerate(weights):
        total += weight
        if count and total > limit:
            return count
    return len(weights)
