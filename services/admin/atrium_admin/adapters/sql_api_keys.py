"""API keys in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Row, and_, bindparam, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_admin.adapters.tables import api_keys
from atrium_admin.app.ports import Slice
from atrium_admin.domain.api_keys import ApiKey


class SqlApiKeys:
    """Implements :class:`~atrium_admin.app.ports.ApiKeys`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, key: str) -> ApiKey | None:
        """Return a key of any tenant."""
        rows = await self._session.execute(select(api_keys).where(api_keys.c.id == key))
        row = rows.one_or_none()
        return None if row is None else _api_key(row)

    async def list_after(
        self, tenant: str, user: str, before: tuple[datetime, str] | None, limit: int
    ) -> Slice[ApiKey]:
        """Return up to ``limit`` keys, newest first."""
        query = select(api_keys).where(api_keys.c.tenant_id == tenant)
        if user:
            query = query.where(api_keys.c.user_id == user)
        if before is not None:
            time, key = before
            query = query.where(
                or_(
                    api_keys.c.create_time < time,
                    and_(api_keys.c.create_time == time, api_keys.c.id < key),
                )
            )
        query = query.order_by(api_keys.c.create_time.desc(), api_keys.c.id.desc())
        rows = (await self._session.execute(query.limit(limit + 1))).all()
        return Slice([_api_key(row) for row in rows[:limit]], len(rows) > limit)

    async def add(self, key: ApiKey) -> None:
        """Store a new key."""
        await self._session.execute(
            insert(api_keys).values(
                id=key.id,
                tenant_id=key.tenant,
                user_id=key.user,
                display_name=key.display_name,
                secret_hash=key.secret_hash,
                prefix=key.prefix,
                create_time=key.create_time,
                expire_time=key.expire_time,
                revoke_time=key.revoke_time,
                last_use_time=key.last_use_time,
            )
        )

    async def revoke(self, key: str, time: datetime) -> None:
        """End a key."""
        await self._session.execute(
            update(api_keys).where(api_keys.c.id == key).values(revoke_time=time)
        )

    async def record_uses(self, uses: Sequence[tuple[str, datetime]]) -> None:
        """Set the last use of keys; keys that are gone are passed over."""
        await self._session.execute(
            update(api_keys)
            .where(api_keys.c.id == bindparam("key"))
            .values(last_use_time=bindparam("time")),
            [{"key": key, "time": time} for key, time in uses],
        )


def _api_key(row: Row[tuple[object, ...]]) -> ApiKey:
    return ApiKey(
        id=row.id,
        tenant=row.tenant_id,
        user=row.user_id,
        display_name=row.display_name,
        secret_hash=row.secret_hash,
        prefix=row.prefix,
        create_time=row.create_time,
        expire_time=row.expire_time,
        revoke_time=row.revoke_time,
        last_use_time=row.last_use_time,
    )
