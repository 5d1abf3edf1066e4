"""The history of policies in SQL.

Each table keeps what a live one held, with the policy version from which it was so and the one from
which it was so no longer. A change is written by comparing the two: what is no longer live is
closed, what is newly live is opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Table,
    and_,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_admin.adapters.sql_ids import portions
from atrium_admin.adapters.tables import (
    group_members,
    group_roles,
    past_grants,
    past_links,
    past_users,
    policy_versions,
    role_grants,
    role_parents,
    user_roles,
    users,
)
from atrium_admin.domain.past_policy import Link, PastPolicy, PolicyVersion, policy_of
from atrium_shared.principal import Effect, Grant

_PAST = (past_users, past_links, past_grants)

_LIVE_USERS = select(users.c.tenant_id, users.c.id.label("user_id"), users.c.disabled).subquery()
_LIVE_GRANTS = role_grants
_LIVE_LINKS: dict[Link, FromClause] = {
    kind: select(
        table.c.tenant_id, table.c[holder].label("holder"), table.c[held].label("held")
    ).subquery(kind.value)
    for kind, table, holder, held in (
        (Link.USER_ROLE, user_roles, "user_id", "role_id"),
        (Link.USER_GROUP, group_members, "user_id", "group_id"),
        (Link.GROUP_ROLE, group_roles, "group_id", "role_id"),
        (Link.ROLE_ROLE, role_parents, "role_id", "parent_id"),
    )
}


class SqlPolicyHistory:
    """Implements :class:`~atrium_admin.app.ports.PolicyHistory`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def keep(
        self,
        tenant: str,
        version: int,
        time: datetime,
        *,
        users: Iterable[str],
        groups: Iterable[str],
        roles: Iterable[str],
    ) -> None:
        """Keep what these users, groups and roles hold now, as of a new policy version."""
        last = await self._session.scalar(
            select(func.max(policy_versions.c.time)).where(policy_versions.c.tenant_id == tenant)
        )
        await self._session.execute(
            insert(policy_versions).values(
                # A replica's clock may lag; the order of versions is the order of their times.
                tenant_id=tenant, version=version, time=time if last is None else max(time, last)
            )
        )  # fmt: skip
        for ids in portions(sorted(set(users))):
            await self._users(tenant, version, ids)
            await self._links(tenant, version, Link.USER_ROLE, "holder", ids)
            await self._links(tenant, version, Link.USER_GROUP, "holder", ids)
        for ids in portions(sorted(set(groups))):
            await self._links(tenant, version, Link.USER_GROUP, "held", ids)
            await self._links(tenant, version, Link.GROUP_ROLE, "holder", ids)
        for ids in portions(sorted(set(roles))):
            await self._links(tenant, version, Link.ROLE_ROLE, "holder", ids)
            await self._grants(tenant, version, ids)

    async def first(self, tenant: str) -> PolicyVersion | None:
        """Return the oldest version that is kept."""
        return await self._version(policy_versions.c.tenant_id == tenant, newest=False)

    async def at(self, tenant: str, time: datetime) -> PolicyVersion | None:
        """Return the version that was in force at a time; None before the history begins."""
        return await self._version(
            policy_versions.c.tenant_id == tenant, policy_versions.c.time <= time
        )

    async def numbered(self, tenant: str, version: int) -> PolicyVersion | None:
        """Return a version by its number; None when it is not kept."""
        return await self._version(
            policy_versions.c.tenant_id == tenant, policy_versions.c.version == version
        )

    async def policy(self, tenant: str, version: PolicyVersion) -> PastPolicy:
        """Return the whole policy of a version."""
        past = past_users
        found_users = await self._session.execute(
            select(past.c.user_id, past.c.disabled).where(_part_of(past, tenant, version))
        )
        past = past_links
        links = await self._session.execute(
            select(past.c.kind, past.c.holder, past.c.held).where(_part_of(past, tenant, version))
        )
        past = past_grants
        grants = await self._session.execute(
            select(past.c.role_id, past.c.resource, past.c.action, past.c.effect)
            .where(_part_of(past, tenant, version))
            .order_by(past.c.role_id, past.c.position)
        )
        effects = {effect.value: effect for effect in Effect}
        return policy_of(
            version,
            # Not by the database, whose order of letters may be another one than ours.
            sorted((user, disabled) for user, disabled in found_users),
            ((kind, holder, held) for kind, holder, held in links),
            (
                (role, Grant(resource, action, effects[effect]))
                for role, resource, action, effect in grants
            ),
        )

    async def outlived(self, time: datetime) -> Sequence[tuple[str, int]]:
        """Return the tenants with versions older than the one in force at ``time``, and that."""
        rows = await self._session.execute(
            select(policy_versions.c.tenant_id, func.max(policy_versions.c.version))
            .where(policy_versions.c.time <= time)
            .group_by(policy_versions.c.tenant_id)
            .having(func.count() > 1)
        )
        return [(tenant, version) for tenant, version in rows]

    async def forget_before(self, tenant: str, version: int) -> int:
        """Drop what no version from this one on is made of. Returns versions gone."""
        for past in _PAST:
            await self._session.execute(
                delete(past).where(past.c.tenant_id == tenant, past.c.until_version <= version)
            )
        dropped = await self._session.execute(
            delete(policy_versions).where(
                policy_versions.c.tenant_id == tenant, policy_versions.c.version < version
            )
        )
        return int(getattr(dropped, "rowcount", 0))

    async def rename_user(self, tenant: str, user: str, name: str) -> None:
        """Let the history know a user by another id."""
        await self._session.execute(
            update(past_users)
            .where(past_users.c.tenant_id == tenant, past_users.c.user_id == user)
            .values(user_id=name)
        )
        await self._session.execute(
            update(past_links)
            .where(
                past_links.c.tenant_id == tenant,
                past_links.c.kind.in_([Link.USER_ROLE.value, Link.USER_GROUP.value]),
                past_links.c.holder == user,
            )
            .values(holder=name)
        )

    async def _version(
        self, *where: ColumnElement[bool], newest: bool = True
    ) -> PolicyVersion | None:
        column = policy_versions.c.version
        rows = await self._session.execute(
            select(column, policy_versions.c.time)
            .where(*where)
            .order_by(column.desc() if newest else column)
            .limit(1)
        )
        row = rows.one_or_none()
        return None if row is None else PolicyVersion(row.version, row.time)

    async def _users(self, tenant: str, version: int, ids: Sequence[str]) -> None:
        await self._compare(
            past_users, _LIVE_USERS, ("user_id", "disabled"), tenant, version, "user_id", ids
        )

    async def _grants(self, tenant: str, version: int, ids: Sequence[str]) -> None:
        columns = ("role_id", "position", "resource", "action", "effect")
        await self._compare(past_grants, _LIVE_GRANTS, columns, tenant, version, "role_id", ids)

    async def _links(
        self, tenant: str, version: int, kind: Link, by: str, ids: Sequence[str]
    ) -> None:
        columns = ("holder", "held")
        live = _LIVE_LINKS[kind]
        await self._compare(
            past_links, live, columns, tenant, version, by, ids, kind={"kind": kind.value}
        )

    async def _compare(
        self,
        past: Table,
        live: FromClause,
        columns: Sequence[str],
        tenant: str,
        version: int,
        by: str,
        ids: Sequence[str],
        *,
        kind: dict[str, str] | None = None,
    ) -> None:
        """Close the open rows that are no longer live, and open rows for what is newly live."""
        kind = kind or {}
        same = and_(
            live.c.tenant_id == past.c.tenant_id,
            *(live.c[column] == past.c[column] for column in columns),
        )
        is_open = and_(
            past.c.tenant_id == tenant,
            past.c.until_version.is_(None),
            *(past.c[column] == value for column, value in kind.items()),
        )
        await self._session.execute(
            update(past)
            .where(is_open, past.c[by].in_(ids), ~select(live).where(same).exists())
            .values(until_version=version)
        )
        newly = select(
            live.c.tenant_id,
            *(literal(value) for value in kind.values()),
            *(live.c[column] for column in columns),
            literal(version),
        ).where(
            live.c.tenant_id == tenant,
            live.c[by].in_(ids),
            ~select(past).where(is_open, same).exists(),
        )
        names = ["tenant_id", *kind, *columns, "from_version"]
        await self._session.execute(insert(past).from_select(names, newly))


def _part_of(past: Table, tenant: str, version: PolicyVersion) -> ColumnElement[bool]:
    return and_(
        past.c.tenant_id == tenant,
        past.c.from_version <= version.version,
        or_(past.c.until_version.is_(None), past.c.until_version > version.version),
    )
