"""The list of erased users in SQL."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_admin.adapters.tables import erased_users
from atrium_admin.app.ports import ErasedUser, Slice


class SqlErasedUsers:
    """Implements :class:`~atrium_admin.app.ports.ErasedUsers`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, tenant: str, user: str, time: datetime) -> int:
        """Append a user to the list and return their place in it."""
        last = await self._session.scalar(select(func.max(erased_users.c.sequence)))
        sequence = (last or 0) + 1
        await self._session.execute(
            insert(erased_users).values(
                sequence=sequence, tenant_id=tenant, user_id=user, time=time
            )
        )
        return sequence

    async def list_after(self, sequence: int, limit: int) -> Slice[ErasedUser]:
        """Return up to ``limit`` erased users of all tenants with greater places."""
        rows = (
            await self._session.execute(
                select(erased_users)
                .where(erased_users.c.sequence > sequence)
                .order_by(erased_users.c.sequence)
                .limit(limit + 1)
            )
        ).all()
        return Slice(
            [
                ErasedUser(row.sequence, row.tenant_id, row.user_id, row.time)
                for row in rows[:limit]
            ],
            len(rows) > limit,
        )

    async def last(self, tenant: str) -> int:
        """Return the place of a tenant's user who was erased last; 0 when nobody was."""
        last = await self._session.scalar(
            select(func.max(erased_users.c.sequence)).where(erased_users.c.tenant_id == tenant)
        )
        return last or 0
