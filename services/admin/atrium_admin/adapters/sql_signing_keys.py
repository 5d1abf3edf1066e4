"""Sealed signing keys in SQL."""

from __future__ import annotations

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_admin.adapters.tables import checkpoint_keys, signing_keys
from atrium_admin.app.ports import SealedKey


class SqlSigningKeys:
    """Implements :class:`~atrium_admin.app.ports.SigningKeys`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def list_all(self) -> list[SealedKey]:
        """Return all keys, newest first."""
        rows = await self._session.execute(
            select(signing_keys).order_by(
                signing_keys.c.create_time.desc(), signing_keys.c.kid.desc()
            )
        )
        return [SealedKey(row.kid, row.sealed, row.create_time) for row in rows]

    async def add(self, key: SealedKey) -> None:
        """Store a new key."""
        await self._session.execute(
            insert(signing_keys).values(kid=key.kid, sealed=key.sealed, create_time=key.create_time)
        )

    async def list_public(self) -> list[SealedKey]:
        """Return the public keys, newest first."""
        rows = await self._session.execute(
            select(checkpoint_keys).order_by(
                checkpoint_keys.c.create_time.desc(), checkpoint_keys.c.kid.desc()
            )
        )
        return [SealedKey(row.kid, row.sealed, row.create_time) for row in rows]

    async def add_public(self, key: SealedKey) -> None:
        """Store a public key for good."""
        await self._session.execute(
            insert(checkpoint_keys).values(
                kid=key.kid, sealed=key.sealed, create_time=key.create_time
            )
        )
