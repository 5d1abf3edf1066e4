"""What is stored of users who were erased goes from the relational database."""

from __future__ import annotations

import sqlalchemy as sa

from atrium_knowledge.adapters import tables
from atrium_knowledge.app.ports import ErasedUser
from atrium_shared.database import Database

_ERASURES = tables.erasures
_OF_A_SUBJECT = (tables.conversations, tables.feedback, tables.answers)


class SqlErasures:
    """Implements ``ports.ErasureStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def sequence(self) -> int:
        """Return the place up to which users are forgotten."""
        async with self._database.read() as session:
            return await session.scalar(sa.select(_ERASURES.c.sequence)) or 0

    async def forget(self, erased: ErasedUser) -> None:
        """Forget what was stored of a user until they were erased, and note the place."""
        async with self._database.write() as session:
            for table in _OF_A_SUBJECT:
                await session.execute(
                    sa.delete(table).where(
                        table.c.tenant == erased.tenant,
                        table.c.subject == erased.user,
                        table.c.create_time < erased.erase_time,
                    )
                )
            await session.execute(sa.update(_ERASURES).values(sequence=erased.sequence))
