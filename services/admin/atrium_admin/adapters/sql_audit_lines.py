"""Audit logs in SQL."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Row, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_admin.adapters.tables import audit_heads, audit_lines
from atrium_admin.app.ports import AuditFilter, Slice
from atrium_admin.domain.audit import AuditEvent, AuditHead, AuditLine, Decision, extend
from atrium_admin.domain.errors import TenantNotFound


class SqlAuditLines:
    """Implements :class:`~atrium_admin.app.ports.AuditLines`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def head(self, tenant: str) -> AuditHead | None:
        """Return where a tenant's log ends; None when there is no such tenant."""
        rows = await self._session.execute(
            select(audit_heads.c.sequence, audit_heads.c.hash).where(
                audit_heads.c.tenant_id == tenant
            )
        )
        row = rows.one_or_none()
        return None if row is None else AuditHead(row.sequence, row.hash)

    async def append(self, tenant: str, events: Sequence[AuditEvent]) -> None:
        """Seal events and put them at the end of a tenant's log."""
        rows = await self._session.execute(
            select(audit_heads.c.sequence, audit_heads.c.hash)
            .where(audit_heads.c.tenant_id == tenant)
            .with_for_update()
        )
        row = rows.one_or_none()
        if row is None:
            raise TenantNotFound(tenant)
        lines = extend(tenant, AuditHead(row.sequence, row.hash), events)
        await self._session.execute(
            insert(audit_lines),
            [
                {
                    "tenant_id": tenant,
                    "sequence": line.sequence,
                    "time": line.event.time,
                    "actor": line.event.actor,
                    "on_behalf_of": line.event.on_behalf_of,
                    "action": line.event.action,
                    "resource": line.event.resource,
                    "decision": line.event.decision.value,
                    "detail": line.event.detail,
                    "policy_version": line.event.policy_version,
                    "model": line.event.model,
                    "tokens": line.event.tokens,
                    "hash": line.hash,
                }
                for line in lines
            ],
        )
        await self._session.execute(
            update(audit_heads)
            .where(audit_heads.c.tenant_id == tenant)
            .values(sequence=lines[-1].sequence, hash=lines[-1].hash)
        )

    async def list_before(
        self, tenant: str, chosen: AuditFilter, before: int, limit: int
    ) -> Slice[AuditLine]:
        """Return up to ``limit`` lines, newest first, with sequences below ``before`` (0: all)."""
        query = select(audit_lines).where(audit_lines.c.tenant_id == tenant)
        if before:
            query = query.where(audit_lines.c.sequence < before)
        if chosen.start_time is not None:
            query = query.where(audit_lines.c.time >= chosen.start_time)
        if chosen.end_time is not None:
            query = query.where(audit_lines.c.time < chosen.end_time)
        if chosen.user:
            query = query.where(
                or_(
                    audit_lines.c.actor == chosen.user,
                    audit_lines.c.on_behalf_of == chosen.user,
                )
            )
        if chosen.action:
            query = query.where(audit_lines.c.action == chosen.action)
        query = query.order_by(audit_lines.c.sequence.desc()).limit(limit + 1)
        rows = (await self._session.execute(query)).all()
        return Slice([_line(row) for row in rows[:limit]], len(rows) > limit)

    async def read_after(self, tenant: str, sequence: int, limit: int) -> list[AuditLine]:
        """Return up to ``limit`` lines with greater sequences, oldest first."""
        rows = await self._session.execute(
            select(audit_lines)
            .where(audit_lines.c.tenant_id == tenant, audit_lines.c.sequence > sequence)
            .order_by(audit_lines.c.sequence)
            .limit(limit)
        )
        return [_line(row) for row in rows]


def _line(row: Row[tuple[object, ...]]) -> AuditLine:
    event = AuditEvent(
        time=row.time,
        actor=row.actor,
        on_behalf_of=row.on_behalf_of,
        action=row.action,
        resource=row.resource,
        decision=Decision(row.decision),
        detail=row.detail,
        policy_version=row.policy_version,
        model=row.model,
        tokens=row.tokens,
    )
    return AuditLine(row.sequence, event, row.hash)
