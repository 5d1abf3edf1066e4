"""Leases of the replicas that follow the policy feed, in SQL."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Row, delete, exists, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_admin.adapters.tables import INSTALLATION_ID, installation, policy_replicas
from atrium_admin.app.ports import ReplicaLease


class SqlPolicyLeases:
    """Implements :class:`~atrium_admin.app.ports.PolicyLeases`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, replica: str, *, for_update: bool = False) -> ReplicaLease | None:
        """Return a replica's lease, run out or not."""
        query = select(policy_replicas).where(policy_replicas.c.replica == replica)
        # SQLite knows no such lock and needs none: its writers come one after the other.
        row = (
            await self._session.execute(query.with_for_update() if for_update else query)
        ).first()
        return None if row is None else _lease(row)

    async def renew(self, replica: str, version: int, until: datetime) -> bool:
        """Renew the lease of a replica that applied the newest change, in one step."""
        is_newest = exists().where(
            installation.c.id == INSTALLATION_ID, installation.c.change_version == version
        )
        renewed = await self._session.execute(
            update(policy_replicas)
            .where(
                policy_replicas.c.replica == replica,
                policy_replicas.c.ended.is_(False),
                policy_replicas.c.lease_until <= until,
                is_newest,
            )
            .values(acknowledged=version, lease_until=until)
            .returning(policy_replicas.c.replica)
        )
        return renewed.first() is not None

    async def put(self, lease: ReplicaLease) -> None:
        """Store a lease in place of the replica's last one."""
        values = {
            "acknowledged": lease.acknowledged,
            "lease_until": lease.until,
            "ended": lease.ended,
        }
        changed = await self._session.execute(
            update(policy_replicas)
            .where(policy_replicas.c.replica == lease.replica)
            .values(values)
            .returning(policy_replicas.c.replica)
        )
        if changed.first() is None:
            await self._session.execute(
                insert(policy_replicas).values(replica=lease.replica, **values)
            )

    async def list_all(self) -> list[ReplicaLease]:
        """Return all leases, those that ran out lately included."""
        rows = await self._session.execute(
            select(policy_replicas).order_by(policy_replicas.c.replica)
        )
        return [_lease(row) for row in rows]

    async def end_lapsed(self, before: datetime) -> None:
        """End the leases that ran out before a moment."""
        await self._session.execute(
            update(policy_replicas)
            .where(policy_replicas.c.lease_until < before, policy_replicas.c.ended.is_(False))
            .values(ended=True)
        )

    async def forget(self, before: datetime) -> None:
        """Remove the leases that ran out before a moment."""
        await self._session.execute(
            delete(policy_replicas).where(policy_replicas.c.lease_until < before)
        )


def _lease(row: Row[tuple[object, ...]]) -> ReplicaLease:
    return ReplicaLease(
        replica=row.replica,
        acknowledged=row.acknowledged,
        until=row.lease_until,
        ended=row.ended,
    )
