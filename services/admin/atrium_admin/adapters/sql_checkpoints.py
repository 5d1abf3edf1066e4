"""Checkpoints of audit logs in SQL."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_admin.adapters.tables import audit_checkpoints, audit_heads
from atrium_admin.app.ports import Slice, StoredCheckpoint
from atrium_admin.domain.audit import AuditHead


class SqlCheckpoints:
    """Implements :class:`~atrium_admin.app.ports.Checkpoints`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def due(self, events: int, before: datetime, limit: int) -> list[str]:
        """Return tenants whose logs grew by so many lines, or at all since a time."""
        heads = audit_heads.c
        found = await self._session.scalars(
            select(heads.tenant_id)
            .where(
                heads.sequence > heads.checkpoint_sequence,
                or_(
                    heads.sequence - heads.checkpoint_sequence >= events,
                    heads.checkpoint_time.is_(None),
                    heads.checkpoint_time <= before,
                ),
            )
            .order_by(heads.tenant_id)
            .limit(limit)
        )
        return list(found)

    async def lock_head(self, tenant: str) -> AuditHead | None:
        """Return where a log ends, if that is beyond its last checkpoint, and let nobody append."""
        heads = audit_heads.c
        rows = await self._session.execute(
            select(heads.sequence, heads.hash)
            .where(heads.tenant_id == tenant, heads.sequence > heads.checkpoint_sequence)
            .with_for_update()
        )
        row = rows.one_or_none()
        return None if row is None else AuditHead(row.sequence, row.hash)

    async def add(self, tenant: str, checkpoint: StoredCheckpoint, time: datetime) -> None:
        """Store a checkpoint."""
        await self._session.execute(
            insert(audit_checkpoints).values(
                tenant_id=tenant, sequence=checkpoint.sequence, statement=checkpoint.statement
            )
        )
        await self._session.execute(
            update(audit_heads)
            .where(audit_heads.c.tenant_id == tenant)
            .values(checkpoint_sequence=checkpoint.sequence, checkpoint_time=time)
        )

    async def list_before(self, tenant: str, before: int, limit: int) -> Slice[StoredCheckpoint]:
        """Return up to ``limit`` checkpoints, newest first, below ``before`` (0: all)."""
        query = select(audit_checkpoints).where(audit_checkpoints.c.tenant_id == tenant)
        if before:
            query = query.where(audit_checkpoints.c.sequence < before)
        query = query.order_by(audit_checkpoints.c.sequence.desc()).limit(limit + 1)
        rows = (await self._session.execute(query)).all()
        found = [StoredCheckpoint(row.sequence, row.statement) for row in rows[:limit]]
        return Slice(found, len(rows) > limit)

    async def read_after(
        self, tenant: str, sequence: int, until: int | None
    ) -> list[StoredCheckpoint]:
        """Return the checkpoints after a line, up to another one or to the end, oldest first."""
        query = select(audit_checkpoints).where(
            audit_checkpoints.c.tenant_id == tenant, audit_checkpoints.c.sequence > sequence
        )
        if until is not None:
            query = query.where(audit_checkpoints.c.sequence <= until)
        rows = await self._session.execute(query.order_by(audit_checkpoints.c.sequence))
        return [StoredCheckpoint(row.sequence, row.statement) for row in rows]
