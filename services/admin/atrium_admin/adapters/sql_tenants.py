"""Tenants and the installation's record in SQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_admin.adapters.tables import INSTALLATION_ID, audit_heads, installation, tenants
from atrium_admin.app.ports import Slice
from atrium_admin.domain.audit import AuditHead
from atrium_admin.domain.tenants import Tenant
from atrium_shared.principal import QuotaUnit, QuotaWindow, Residency, TenantQuota


class SqlTenants:
    """Implements :class:`~atrium_admin.app.ports.Tenants`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, tenant: str) -> Tenant | None:
        """Return a tenant."""
        rows = await self._session.execute(select(tenants).where(tenants.c.id == tenant))
        row = rows.one_or_none()
        return None if row is None else _tenant(row)

    async def list_after(self, tenant: str, limit: int) -> Slice[Tenant]:
        """Return up to ``limit`` tenants with greater ids, in their order."""
        query = select(tenants).where(tenants.c.id > tenant).order_by(tenants.c.id)
        rows = (await self._session.execute(query.limit(limit + 1))).all()
        return Slice([_tenant(row) for row in rows[:limit]], len(rows) > limit)

    async def add(self, tenant: Tenant) -> None:
        """Store a new tenant, with an empty audit log."""
        await self._session.execute(
            insert(tenants).values(
                id=tenant.id,
                display_name=tenant.display_name,
                create_time=tenant.create_time,
                max_upload_bytes=tenant.max_upload_bytes,
                operator=tenant.operator,
                policy_version=tenant.policy_version,
                residency=tenant.residency.value,
                quotas=_quota_rows(tenant.quotas),
            )
        )
        head = AuditHead()
        await self._session.execute(
            insert(audit_heads).values(tenant_id=tenant.id, sequence=head.sequence, hash=head.hash)
        )

    async def replace(self, tenant: Tenant) -> None:
        """Store what can be changed of a tenant in place of what was there."""
        await self._session.execute(
            update(tenants)
            .where(tenants.c.id == tenant.id)
            .values(
                display_name=tenant.display_name,
                max_upload_bytes=tenant.max_upload_bytes,
                residency=tenant.residency.value,
                quotas=_quota_rows(tenant.quotas),
            )
        )

    async def lock(self, tenant: str) -> None:
        """Let no other transaction change this tenant until this one ends."""
        # SQLite has one writer anyway, and SQLAlchemy leaves FOR UPDATE out there. A stricter lock
        # would hold up those who refer to the tenant as well, the audit log's writer among them:
        # it holds the log that this transaction appends to in the end, and both would wait.
        await self._session.execute(
            select(tenants.c.id).where(tenants.c.id == tenant).with_for_update(key_share=True)
        )

    async def bump_policy(self, tenant: str) -> int:
        """Raise the tenant's policy version by one and return it."""
        version = await self._session.scalar(
            update(tenants)
            .where(tenants.c.id == tenant)
            .values(policy_version=tenants.c.policy_version + 1)
            .returning(tenants.c.policy_version)
        )
        return int(version)

    async def lock_installation(self) -> str:
        """Let no other transaction bootstrap. Returns the first tenant's id, or ""."""
        first = await self._session.scalar(
            select(installation.c.first_tenant)
            .where(installation.c.id == INSTALLATION_ID)
            .with_for_update()
        )
        return str(first)

    async def set_first(self, tenant: str) -> None:
        """Remember the first tenant."""
        await self._session.execute(update(installation).values(first_tenant=tenant))

    async def built_in_roles(self) -> str:
        """Return the digest of the built-in roles that the tenants have now."""
        return str(await self._session.scalar(select(installation.c.built_in_roles)))

    async def set_built_in_roles(self, digest: str) -> None:
        """Remember the digest of the built-in roles."""
        await self._session.execute(update(installation).values(built_in_roles=digest))


def _quota_rows(quotas: tuple[TenantQuota, ...]) -> list[list[Any]]:
    return [[quota.unit.value, quota.window.value, quota.limit] for quota in quotas]


def _residency(stored: str) -> Residency:
    try:
        return Residency(stored)
    except ValueError:
        # Of a newer release, or damaged: what nobody knows lets nothing out.
        return Residency.PRIVATE_ONLY


def _tenant(row: Row[tuple[object, ...]]) -> Tenant:
    return Tenant(
        id=row.id,
        display_name=row.display_name,
        create_time=row.create_time,
        max_upload_bytes=row.max_upload_bytes,
        operator=row.operator,
        policy_version=row.policy_version,
        residency=_residency(row.residency),
        quotas=tuple(
            TenantQuota(QuotaUnit(unit), QuotaWindow(window), limit)
            for unit, window, limit in row.quotas
        ),
    )
