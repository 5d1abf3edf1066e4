"""Audit logs in SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import (
    Column,
    ColumnElement,
    Row,
    and_,
    bindparam,
    insert,
    literal,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_admin.adapters.sql_ids import portions
from atrium_admin.adapters.sql_pseudonyms import SqlPseudonyms
from atrium_admin.adapters.tables import audit_heads, audit_lines, audit_pseudonyms
from atrium_admin.app.ports import AuditFilter, Slice
from atrium_admin.domain.audit import AuditEvent, AuditHead, AuditLine, Decision, extend
from atrium_admin.domain.errors import TenantNotFound
from atrium_admin.domain.pseudonyms import erased_id, pseudonym_of_erased, sealed_name, user_in

_USERS = "users/"
_ERASED = erased_id("")
_LAST_CHARACTER = "\U0010ffff"


class SqlAuditLines:
    """Implements :class:`~atrium_admin.app.ports.AuditLines`."""

    def __init__(self, session: AsyncSession, pseudonyms: SqlPseudonyms) -> None:
        self._session = session
        self._pseudonyms = pseudonyms

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
        """Seal events and put them at the end of a tenant's log, pseudonyms in place of names."""
        await self.append_all({tenant: events})

    async def append_all(self, events: Mapping[str, Sequence[AuditEvent]]) -> None:
        """Append to the logs of many tenants."""
        # In one order always: two replicas that lock several logs must not wait for each other in
        # a circle.
        tenants = sorted(events)
        heads = await self._locked_heads(tenants)
        hidden = await self._pseudonyms.hide_all({tenant: events[tenant] for tenant in tenants})
        lines = {tenant: extend(tenant, heads[tenant], hidden[tenant]) for tenant in tenants}
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
                for tenant, sealed in lines.items()
                for line in sealed
            ],
        )
        await self._session.execute(
            update(audit_heads)
            .where(audit_heads.c.tenant_id == bindparam("of_tenant"))
            .values(sequence=bindparam("last_sequence"), hash=bindparam("last_hash")),
            [
                {
                    "of_tenant": tenant,
                    "last_sequence": sealed[-1].sequence,
                    "last_hash": sealed[-1].hash,
                }
                for tenant, sealed in lines.items()
            ],
        )

    async def _locked_heads(self, tenants: Sequence[str]) -> dict[str, AuditHead]:
        heads: dict[str, AuditHead] = {}
        for some in portions(tenants):
            rows = await self._session.execute(
                select(audit_heads.c.tenant_id, audit_heads.c.sequence, audit_heads.c.hash)
                .where(audit_heads.c.tenant_id.in_(some))
                .order_by(audit_heads.c.tenant_id)
                .with_for_update()
            )
            heads.update((row.tenant_id, AuditHead(row.sequence, row.hash)) for row in rows)
        for tenant in tenants:
            if tenant not in heads:
                raise TenantNotFound(tenant)
        return heads

    async def list_before(
        self, tenant: str, chosen: AuditFilter, before: int, limit: int
    ) -> Slice[AuditLine]:
        """Return up to ``limit`` lines with names, newest first."""
        lines = audit_lines.c
        where: list[ColumnElement[bool]] = [lines.tenant_id == tenant]
        if before:
            where.append(lines.sequence < before)
        if chosen.start_time is not None:
            where.append(lines.time >= chosen.start_time)
        if chosen.end_time is not None:
            where.append(lines.time < chosen.end_time)
        if chosen.action:
            where.append(lines.action == chosen.action)
        if chosen.resource_prefix:
            where.append(self._resource_begins(tenant, chosen.resource_prefix))
        if chosen.decision is not None:
            where.append(lines.decision == chosen.decision.value)
        if chosen.detail:
            where.append(lines.detail == chosen.detail)
        if chosen.policy_version:
            where.append(lines.policy_version == chosen.policy_version)
        newest = lines.sequence.desc()
        if chosen.user:
            name = await self._stored_name(tenant, chosen.user)
            # One index for the actor and one for whom it was: each gives its newest lines.
            halves = [
                select(lines.sequence)
                .where(*where, column == name)
                .order_by(newest)
                .limit(limit + 1)
                .subquery()
                for column in (lines.actor, lines.on_behalf_of)
            ]
            theirs = union_all(*(select(half.c.sequence) for half in halves))
            where = [lines.tenant_id == tenant, lines.sequence.in_(theirs)]
        query = select(audit_lines).where(*where).order_by(newest).limit(limit + 1)
        rows = (await self._session.execute(query)).all()
        return Slice(await self._shown(tenant, rows[:limit]), len(rows) > limit)

    async def get(self, tenant: str, sequence: int) -> AuditLine | None:
        """Return one line with names."""
        rows = await self._session.execute(
            select(audit_lines).where(
                audit_lines.c.tenant_id == tenant, audit_lines.c.sequence == sequence
            )
        )
        lines = await self._shown(tenant, rows.all())
        return lines[0] if lines else None

    async def read_after(self, tenant: str, sequence: int, limit: int) -> list[AuditLine]:
        """Return up to ``limit`` lines with greater sequences, oldest first, as sealed."""
        rows = await self._session.execute(
            select(audit_lines)
            .where(audit_lines.c.tenant_id == tenant, audit_lines.c.sequence > sequence)
            .order_by(audit_lines.c.sequence)
            .limit(limit)
        )
        return [_line(row) for row in rows]

    async def _shown(self, tenant: str, rows: Sequence[Row[tuple[object, ...]]]) -> list[AuditLine]:
        lines = [_line(row) for row in rows]
        events = await self._pseudonyms.show(tenant, (line.event for line in lines))
        return [
            AuditLine(line.sequence, event, line.hash)
            for line, event in zip(lines, events, strict=True)
        ]

    def _resource_begins(self, tenant: str, prefix: str) -> ColumnElement[bool]:
        """Match resources as they read: users' names stand there as pseudonyms."""
        begins = self._begins(audit_lines.c.resource, prefix)
        if not prefix.startswith(_USERS):
            return begins
        user = prefix.removeprefix(_USERS)
        named = select(literal(sealed_name("")) + audit_pseudonyms.c.pseudonym).where(
            audit_pseudonyms.c.tenant_id == tenant, self._begins(audit_pseudonyms.c.user_id, user)
        )
        begins = or_(begins, audit_lines.c.resource.in_(named))
        if user.startswith(_ERASED):
            stored = sealed_name(user.removeprefix(_ERASED))
            begins = or_(begins, self._begins(audit_lines.c.resource, stored))
        return begins

    def _begins(self, column: Column[str], prefix: str) -> ColumnElement[bool]:
        if self._session.get_bind().dialect.name == "sqlite":
            # LIKE takes capitals for small letters there, and so finds no index.
            return and_(column >= prefix, column < prefix + _LAST_CHARACTER)
        return column.startswith(prefix, autoescape=True)

    async def _stored_name(self, tenant: str, name: str) -> str:
        """Return how the log holds a name."""
        user = user_in(name)
        pseudonym = None if user is None else await self._pseudonyms.of(tenant, user)
        pseudonym = pseudonym or pseudonym_of_erased(name)
        return name if pseudonym is None else sealed_name(pseudonym)


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
