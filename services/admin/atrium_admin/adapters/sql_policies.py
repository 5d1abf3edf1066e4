"""Policies and their changes in SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import CompoundSelect, Row, delete, insert, select, union, union_all, update
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_admin.adapters.sql_roles import SqlRoles
from atrium_admin.adapters.tables import (
    INSTALLATION_ID,
    group_members,
    group_roles,
    groups,
    installation,
    policy_changes,
    role_grants,
    roles,
    tenants,
    user_roles,
    users,
)
from atrium_admin.app.ports import PolicyChange
from atrium_admin.domain.administration import (
    Administration,
    covering_actions,
    covering_resources,
)
from atrium_shared.principal import Effect, Grant

_CHANGES_KEPT = 10_000
"""Whoever missed more than this loads everything anew anyway."""

_PRUNE_EVERY = 1_000


class SqlPolicies:
    """Implements :class:`~atrium_admin.app.ports.Policies`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def version(self, tenant: str) -> int:
        """Return a tenant's policy version; 0 when there is no such tenant."""
        version = await self._session.scalar(
            select(tenants.c.policy_version).where(tenants.c.id == tenant)
        )
        return version or 0

    async def last_change(self) -> int:
        """Return the version of the newest change over all tenants; 0 before the first."""
        version = await self._session.scalar(select(installation.c.change_version))
        return version or 0

    async def add_change(
        self,
        tenant: str,
        policy_version: int,
        *,
        users: Sequence[str] | None,
        roles: Sequence[str] = (),
        groups: Sequence[str] = (),
        time: datetime,
    ) -> int:
        """Append to the list of changes and return the change's version."""
        # The row stays locked until the commit, so versions appear in their order, without gaps.
        version: int = await self._session.scalar(
            update(installation)
            .where(installation.c.id == INSTALLATION_ID)
            .values(change_version=installation.c.change_version + 1)
            .returning(installation.c.change_version)
        )
        await self._session.execute(
            insert(policy_changes).values(
                version=version,
                tenant_id=tenant,
                policy_version=policy_version,
                users=None if users is None else list(users),
                roles=list(roles),
                groups=list(groups),
                time=time,
            )
        )
        if version % _PRUNE_EVERY == 0:
            await self._session.execute(
                delete(policy_changes).where(policy_changes.c.version <= version - _CHANGES_KEPT)
            )
        return version

    async def changes_after(self, version: int, limit: int) -> list[PolicyChange]:
        """Return changes of all tenants with greater versions, in their order."""
        rows = await self._session.execute(
            select(policy_changes)
            .where(policy_changes.c.version > version)
            .order_by(policy_changes.c.version)
            .limit(limit)
        )
        return [_change(row) for row in rows]

    async def change_time(self, version: int) -> datetime | None:
        """Return when a change was made; None when it is not listed (any more)."""
        time: datetime | None = await self._session.scalar(
            select(policy_changes.c.time).where(policy_changes.c.version == version)
        )
        return time

    async def tenant_changes(self, tenant: str, after: int, until: int) -> list[PolicyChange]:
        """Return a tenant's changes with a policy version above ``after`` and up to ``until``."""
        rows = await self._session.execute(
            select(policy_changes)
            .where(
                policy_changes.c.tenant_id == tenant,
                policy_changes.c.policy_version > after,
                policy_changes.c.policy_version <= until,
            )
            .order_by(policy_changes.c.version)
        )
        return [_change(row) for row in rows]

    async def rules(self, tenant: str, chosen: Sequence[str] | None) -> dict[str, list[Grant]]:
        """Return role -> its own grants; of these roles alone, or of all."""
        names = select(roles.c.id).where(roles.c.tenant_id == tenant)
        grants = (
            select(
                role_grants.c.role_id,
                role_grants.c.resource,
                role_grants.c.action,
                role_grants.c.effect,
            )
            .where(role_grants.c.tenant_id == tenant)
            .order_by(role_grants.c.role_id, role_grants.c.position)
        )
        if chosen is not None:
            names = names.where(roles.c.id.in_(chosen))
            grants = grants.where(role_grants.c.role_id.in_(chosen))
        rules: dict[str, list[Grant]] = {role: [] for role in await self._session.scalars(names)}
        effects = {effect.value: effect for effect in Effect}
        # All at once: there may be a hundred thousand.
        for role, resource, action, effect in (await self._session.execute(grants)).all():
            rules[role].append(Grant(resource, action, effects[effect]))
        return rules

    async def group_roles(self, tenant: str, chosen: Sequence[str] | None) -> dict[str, list[str]]:
        """Return group -> its roles; of these groups alone, or of all."""
        names = select(groups.c.id).where(groups.c.tenant_id == tenant)
        given = select(group_roles.c.group_id, group_roles.c.role_id).where(
            group_roles.c.tenant_id == tenant
        )
        if chosen is not None:
            names = names.where(groups.c.id.in_(chosen))
            given = given.where(group_roles.c.group_id.in_(chosen))
        found: dict[str, list[str]] = {group: [] for group in await self._session.scalars(names)}
        for group, role in await self._session.execute(given):
            found[group].append(role)
        return found

    async def holders(self, tenant: str, chosen: Iterable[str], limit: int) -> list[str] | None:
        """Return the ids of users who hold one of these roles; None: more than ``limit``."""
        holding = _holding(tenant, list(chosen)).subquery()
        query = select(holding.c.user_id).order_by(holding.c.user_id).limit(limit + 1)
        found = list(await self._session.scalars(query))
        return found if len(found) <= limit else None

    async def administration(self, tenant: str) -> Administration:
        """Return the part of the policy that decides who administers the tenant."""
        grants: dict[str, list[Grant]] = {}
        for role, resource, action, effect in await self._session.execute(
            select(
                role_grants.c.role_id,
                role_grants.c.resource,
                role_grants.c.action,
                role_grants.c.effect,
            ).where(
                role_grants.c.tenant_id == tenant,
                role_grants.c.resource.in_(covering_resources()),
                role_grants.c.action.in_(covering_actions()),
            )
        ):
            grants.setdefault(role, []).append(Grant(resource, action, Effect(effect)))
        return Administration(grants, await SqlRoles(self._session).edges(tenant))

    async def enabled_holders(
        self, tenant: str, chosen: Iterable[str], after: str, limit: int
    ) -> dict[str, frozenset[str]]:
        """Return enabled users who hold one of these roles, with all roles given to them."""
        holding = _holding(tenant, list(chosen)).subquery()
        holders = await self._session.scalars(
            select(users.c.id)
            .join(holding, holding.c.user_id == users.c.id)
            .where(users.c.tenant_id == tenant, users.c.disabled.is_(False), users.c.id > after)
            .order_by(users.c.id)
            .limit(limit)
        )
        given: dict[str, set[str]] = {user: set() for user in holders}
        if not given:
            return {}
        for user, role in await self._session.execute(
            union_all(
                select(user_roles.c.user_id, user_roles.c.role_id).where(
                    user_roles.c.tenant_id == tenant, user_roles.c.user_id.in_(given)
                ),
                select(group_members.c.user_id, group_roles.c.role_id)
                .join(
                    group_roles,
                    (group_roles.c.tenant_id == group_members.c.tenant_id)
                    & (group_roles.c.group_id == group_members.c.group_id),
                )
                .where(group_members.c.tenant_id == tenant, group_members.c.user_id.in_(given)),
            )
        ):
            given[user].add(role)
        return {user: frozenset(found) for user, found in given.items()}


def _holding(tenant: str, chosen: Sequence[str]) -> CompoundSelect[tuple[str]]:
    """Select the users who hold one of these roles directly or through a group, each once."""
    return union(
        select(user_roles.c.user_id).where(
            user_roles.c.tenant_id == tenant, user_roles.c.role_id.in_(chosen)
        ),
        select(group_members.c.user_id)
        .join(
            group_roles,
            (group_roles.c.tenant_id == group_members.c.tenant_id)
            & (group_roles.c.group_id == group_members.c.group_id),
        )
        .where(group_members.c.tenant_id == tenant, group_roles.c.role_id.in_(chosen)),
    )


def _change(row: Row[tuple[object, ...]]) -> PolicyChange:
    return PolicyChange(
        version=row.version,
        tenant=row.tenant_id,
        policy_version=row.policy_version,
        users=None if row.users is None else tuple(row.users),
        roles=tuple(row.roles),
        groups=tuple(row.groups),
    )
