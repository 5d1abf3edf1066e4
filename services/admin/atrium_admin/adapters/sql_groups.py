"""Groups in SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, Row, delete, exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_admin.adapters.sql_directory_filters import Attribute, DirectoryFilters
from atrium_admin.adapters.sql_ids import fit, portions
from atrium_admin.adapters.tables import group_members, group_roles, groups
from atrium_admin.app.ports import Slice
from atrium_admin.domain.directory_filters import Condition, Order
from atrium_admin.domain.users import Group, text_key


def _any_member(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(
        group_members.c.tenant_id == groups.c.tenant_id,
        group_members.c.group_id == groups.c.id,
        condition,
    )


_FILTERS = DirectoryFilters(
    {
        "id": Attribute(groups.c.id),
        "display_name": Attribute(groups.c.display_name_key, text_key),
        "external_id": Attribute(groups.c.external_id),
        "create_time": Attribute(groups.c.create_time),
        "member": Attribute(group_members.c.user_id),
    },
    _any_member,
)


class SqlGroups:
    """Implements :class:`~atrium_admin.app.ports.Groups`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, tenant: str, group: str) -> Group | None:
        """Return a group."""
        rows = await self._session.execute(
            select(groups).where(groups.c.tenant_id == tenant, groups.c.id == group)
        )
        found = await self._load(rows.all())
        return found[0] if found else None

    async def list_after(
        self, tenant: str, group: str, limit: int, *, max_members: int
    ) -> Slice[Group]:
        """Return groups with greater ids, in their order."""
        members = (
            select(func.count())
            .where(
                group_members.c.tenant_id == groups.c.tenant_id,
                group_members.c.group_id == groups.c.id,
            )
            .scalar_subquery()
        )
        query = (
            select(groups, members.label("members"))
            .where(groups.c.tenant_id == tenant, groups.c.id > group)
            .order_by(groups.c.id)
            .limit(limit + 1)
        )
        rows = (await self._session.execute(query)).all()
        count = fit([row.members for row in rows[:limit]], max_members)
        return Slice(await self._load(rows[:count]), len(rows) > count)

    async def find(
        self,
        tenant: str,
        condition: Condition,
        order: Order,
        offset: int,
        limit: int,
        *,
        members: bool = True,
    ) -> tuple[int, list[Group]]:
        """Count the groups of whom a condition holds, and return part of them in an order."""
        query = select(groups).where(groups.c.tenant_id == tenant, _FILTERS.where(condition))
        total = await self._session.scalar(select(func.count()).select_from(query.subquery()))
        rows = await self._session.execute(
            query.order_by(*_FILTERS.order_by(order)).offset(offset).limit(limit)
        )
        return total or 0, await self._load(rows.all(), members=members)

    async def add(self, tenant: str, group: Group) -> None:
        """Store a new group."""
        await self._session.execute(
            insert(groups).values(
                tenant_id=tenant,
                id=group.id,
                create_time=group.create_time,
                **_texts(group),
            )
        )
        await self._add_members(tenant, group.id, group.members)
        await self._add_roles(tenant, group.id, group.roles)

    async def replace(self, tenant: str, group: Group) -> None:
        """Store a changed group."""
        await self._session.execute(
            update(groups)
            .where(groups.c.tenant_id == tenant, groups.c.id == group.id)
            .values(**_texts(group))
        )
        ours = (group_members.c.tenant_id == tenant, group_members.c.group_id == group.id)
        before = set(await self._session.scalars(select(group_members.c.user_id).where(*ours)))
        for gone in portions(sorted(before.difference(group.members))):
            await self._session.execute(
                delete(group_members).where(*ours, group_members.c.user_id.in_(gone))
            )
        await self._add_members(tenant, group.id, sorted(set(group.members) - before))
        await self._session.execute(
            delete(group_roles).where(
                group_roles.c.tenant_id == tenant, group_roles.c.group_id == group.id
            )
        )
        await self._add_roles(tenant, group.id, group.roles)

    async def remove(self, tenant: str, group: str) -> None:
        """Remove a group."""
        await self._session.execute(
            delete(groups).where(groups.c.tenant_id == tenant, groups.c.id == group)
        )

    async def add_member(self, tenant: str, group: str, user: str) -> None:
        """Put a user into a group that they are not in."""
        await self._add_members(tenant, group, (user,))

    async def remove_member(self, tenant: str, group: str, user: str) -> None:
        """Take a user out of a group."""
        await self._session.execute(
            delete(group_members).where(
                group_members.c.tenant_id == tenant,
                group_members.c.group_id == group,
                group_members.c.user_id == user,
            )
        )

    async def _add_members(self, tenant: str, group: str, members: Iterable[str]) -> None:
        rows = [{"tenant_id": tenant, "group_id": group, "user_id": user} for user in members]
        if rows:
            await self._session.execute(insert(group_members), rows)

    async def _add_roles(self, tenant: str, group: str, roles: Iterable[str]) -> None:
        rows = [{"tenant_id": tenant, "group_id": group, "role_id": role} for role in roles]
        if rows:
            await self._session.execute(insert(group_roles), rows)

    async def _load(
        self, rows: Sequence[Row[tuple[object, ...]]], *, members: bool = True
    ) -> list[Group]:
        if not rows:
            return []
        tenant = rows[0].tenant_id
        inside: dict[str, list[str]] = {row.id: [] for row in rows}
        if members:
            for group, user in await self._session.execute(
                select(group_members.c.group_id, group_members.c.user_id).where(
                    group_members.c.tenant_id == tenant, group_members.c.group_id.in_(inside)
                )
            ):
                inside[group].append(user)
        roles: dict[str, list[str]] = {row.id: [] for row in rows}
        for group, role in await self._session.execute(
            select(group_roles.c.group_id, group_roles.c.role_id).where(
                group_roles.c.tenant_id == tenant, group_roles.c.group_id.in_(roles)
            )
        ):
            roles[group].append(role)
        return [
            Group(
                id=row.id,
                display_name=row.display_name,
                members=tuple(sorted(inside[row.id])),
                roles=tuple(sorted(roles[row.id])),
                create_time=row.create_time,
                external_id=row.external_id,
            )
            for row in rows
        ]


def _texts(group: Group) -> dict[str, str]:
    return {
        "display_name": group.display_name,
        "display_name_key": text_key(group.display_name),
        "external_id": group.external_id,
    }
