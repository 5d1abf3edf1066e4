"""Names and terms of tenants in the relational database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from atrium_meeting.adapters import tables
from atrium_shared.clock import Clock
from atrium_shared.database import Database

_HOTWORDS: Final = tables.hotwords


class SqlHotwords:
    """Implements ``stores.HotwordStore``.

    Args:
        database: The service's database.
        clock: Tells the time.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def get(self, tenant: str) -> tuple[str, ...]:
        """Return the words of a tenant."""
        query = sa.select(_HOTWORDS.c.words).where(_HOTWORDS.c.tenant == tenant)
        async with self._database.read() as session:
            return tuple((await session.execute(query)).scalar_one_or_none() or ())

    async def set(self, tenant: str, words: Sequence[str]) -> None:
        """Replace them."""
        async with self._database.write() as session:
            await session.execute(sa.delete(_HOTWORDS).where(_HOTWORDS.c.tenant == tenant))
            await session.execute(
                sa.insert(_HOTWORDS).values(
                    tenant=tenant, words=list(words), update_time=self._clock.now()
                )
            )
