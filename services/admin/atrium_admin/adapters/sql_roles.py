"""Roles in SQL."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Row, delete, func, insert, literal, select, union_all, update
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_admin.adapters.sql_ids import first_unknown, fit
from atrium_admin.adapters.tables import (
    group_roles,
    role_grants,
    role_parents,
    roles,
    user_roles,
)
from atrium_admin.app.ports import Slice
from atrium_admin.domain.roles import Role
from atrium_shared.principal import Effect, Grant


class SqlRoles:
    """Implements :class:`~atrium_admin.app.ports.Roles`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, tenant: str, role: str) -> Role | None:
        """Return a role."""
        rows = await self._session.execute(
            select(roles).where(roles.c.tenant_id == tenant, roles.c.id == role)
        )
        found = await self._load(rows.all())
        return found[0] if found else None

    async def list_after(
        self, tenant: str, role: str, limit: int, *, max_grants: int
    ) -> Slice[Role]:
        """Return roles with greater ids, in their order."""
        grants = (
            select(func.count())
            .where(
                role_grants.c.tenant_id == roles.c.tenant_id,
                role_grants.c.role_id == roles.c.id,
            )
            .scalar_subquery()
        )
        query = (
            select(roles, grants.label("grants"))
            .where(roles.c.tenant_id == tenant, roles.c.id > role)
            .order_by(roles.c.id)
            .limit(limit + 1)
        )
        rows = (await self._session.execute(query)).all()
        count = fit([row.grants for row in rows[:limit]], max_grants)
        return Slice(await self._load(rows[:count]), len(rows) > count)

    async def unknown(self, tenant: str, ids: Sequence[str]) -> str | None:
        """Return one of the ids that is no role, or None when all are."""
        return await first_unknown(self._session, roles, tenant, ids)

    async def edges(self, tenant: str, chosen: Sequence[str] | None = None) -> dict[str, list[str]]:
        """Return role -> the roles that it inherits, for all (or these) roles that inherit."""
        query = select(role_parents.c.role_id, role_parents.c.parent_id).where(
            role_parents.c.tenant_id == tenant
        )
        if chosen is not None:
            query = query.where(role_parents.c.role_id.in_(chosen))
        edges: dict[str, list[str]] = {}
        for role, parent in await self._session.execute(query):
            edges.setdefault(role, []).append(parent)
        return edges

    async def holders(self, tenant: str, role: str) -> tuple[int, str]:
        """Count who holds or inherits a role, and name one of them (``users/lin``) or ""."""
        held = union_all(
            select((literal("users/") + user_roles.c.user_id).label("holder")).where(
                user_roles.c.tenant_id == tenant, user_roles.c.role_id == role
            ),
            select(literal("groups/") + group_roles.c.group_id).where(
                group_roles.c.tenant_id == tenant, group_roles.c.role_id == role
            ),
            select(literal("roles/") + role_parents.c.role_id).where(
                role_parents.c.tenant_id == tenant, role_parents.c.parent_id == role
            ),
        ).subquery()
        rows = await self._session.execute(select(func.count(), func.max(held.c.holder)))
        count, example = rows.one()
        return count, example or ""

    async def add(self, tenant: str, role: Role) -> None:
        """Store a new role."""
        await self._session.execute(
            insert(roles).values(
                tenant_id=tenant,
                id=role.id,
                display_name=role.display_name,
                built_in=role.built_in,
                create_time=role.create_time,
            )
        )
        await self._add_parts(tenant, role)

    async def replace(self, tenant: str, role: Role) -> None:
        """Store a changed role."""
        await self._session.execute(
            update(roles)
            .where(roles.c.tenant_id == tenant, roles.c.id == role.id)
            .values(display_name=role.display_name)
        )
        for table in (role_grants, role_parents):
            await self._session.execute(
                delete(table).where(table.c.tenant_id == tenant, table.c.role_id == role.id)
            )
        await self._add_parts(tenant, role)

    async def remove(self, tenant: str, role: str) -> None:
        """Remove a role."""
        await self._session.execute(
            delete(roles).where(roles.c.tenant_id == tenant, roles.c.id == role)
        )

    async def _add_parts(self, tenant: str, role: Role) -> None:
        grants = [
            {
                "tenant_id": tenant,
                "role_id": role.id,
                "position": position,
                "resource": grant.resource,
                "action": grant.action,
                "effect": grant.effect.value,
            }
            for position, grant in enumerate(role.grants)
        ]
        if grants:
            await self._session.execute(insert(role_grants), grants)
        parents = [
            {"tenant_id": tenant, "role_id": role.id, "parent_id": parent}
            for parent in role.inherits
        ]
        if parents:
            await self._session.execute(insert(role_parents), parents)

    async def _load(self, rows: Sequence[Row[tuple[object, ...]]]) -> list[Role]:
        if not rows:
            return []
        tenant = rows[0].tenant_id
        grants: dict[str, list[Grant]] = {row.id: [] for row in rows}
        for role, resource, action, effect in await self._session.execute(
            select(
                role_grants.c.role_id,
                role_grants.c.resource,
                role_grants.c.action,
                role_grants.c.effect,
            )
            .where(role_grants.c.tenant_id == tenant, role_grants.c.role_id.in_(grants))
            .order_by(role_grants.c.role_id, role_grants.c.position)
        ):
            grants[role].append(Grant(resource, action, Effect(effect)))
        parents: dict[str, list[str]] = {row.id: [] for row in rows}
        for role, parent in await self._session.execute(
            select(role_parents.c.role_id, role_parents.c.parent_id).where(
                role_parents.c.tenant_id == tenant, role_parents.c.role_id.in_(parents)
            )
        ):
            parents[role].append(parent)
        return [
            Role(
                id=row.id,
                display_name=row.display_name,
                grants=tuple(grants[row.id]),
                inherits=tuple(sorted(parents[row.id])),
                built_in=row.built_in,
                create_time=row.create_time,
            )
            for row in rows
        ]
