"""Users in SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, Row, delete, func, insert, literal, select, union_all, update
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_admin.adapters.sql_directory_filters import Attribute, DirectoryFilters
from atrium_admin.adapters.sql_ids import first_unknown
from atrium_admin.adapters.tables import group_members, user_roles, users
from atrium_admin.app.ports import Slice
from atrium_admin.domain.directory_filters import Condition, Order
from atrium_admin.domain.users import Memberships, User, UserKind, text_key

_FILTERS = DirectoryFilters(
    {
        "id": Attribute(users.c.id),
        "user_name": Attribute(users.c.user_name_key, text_key),
        "display_name": Attribute(users.c.display_name_key, text_key),
        "email": Attribute(users.c.email_key, text_key),
        "external_id": Attribute(users.c.external_id),
        "disabled": Attribute(users.c.disabled),
        "create_time": Attribute(users.c.create_time),
    }
)


class SqlUsers:
    """Implements :class:`~atrium_admin.app.ports.Users`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, tenant: str, user: str) -> User | None:
        """Return a user."""
        return await self._first(users.c.tenant_id == tenant, users.c.id == user)

    async def by_user_name(self, tenant: str, user_name: str) -> User | None:
        """Return the user of this ``user_name``; upper and lower case are alike."""
        return await self._first(
            users.c.tenant_id == tenant, users.c.user_name_key == text_key(user_name)
        )

    async def by_external_id(self, tenant: str, external_id: str) -> User | None:
        """Return the user of this id in the outside directory."""
        return await self._first(users.c.tenant_id == tenant, users.c.external_id == external_id)

    async def list_after(self, tenant: str, user: str, limit: int) -> Slice[User]:
        """Return up to ``limit`` users with greater ids, in their order."""
        query = (
            select(users)
            .where(users.c.tenant_id == tenant, users.c.id > user)
            .order_by(users.c.id)
            .limit(limit + 1)
        )
        rows = (await self._session.execute(query)).all()
        return Slice(await self._load(rows[:limit]), len(rows) > limit)

    async def find(
        self, tenant: str, condition: Condition, order: Order, offset: int, limit: int
    ) -> tuple[int, list[User]]:
        """Count the users of whom a condition holds, and return part of them in an order."""
        query = select(users).where(users.c.tenant_id == tenant, _FILTERS.where(condition))
        total = await self._session.scalar(select(func.count()).select_from(query.subquery()))
        rows = await self._session.execute(
            query.order_by(*_FILTERS.order_by(order)).offset(offset).limit(limit)
        )
        return total or 0, await self._load(rows.all())

    async def unknown(self, tenant: str, ids: Sequence[str]) -> str | None:
        """Return one of the ids that is no user, or None when all are."""
        return await first_unknown(self._session, users, tenant, ids)

    async def is_disabled(self, tenant: str, user: str) -> bool | None:
        """Say whether a user is disabled; None when there is none."""
        disabled: bool | None = await self._session.scalar(
            select(users.c.disabled).where(users.c.tenant_id == tenant, users.c.id == user)
        )
        return disabled

    async def add(self, tenant: str, user: User) -> None:
        """Store a new user."""
        await self._session.execute(
            insert(users).values(
                tenant_id=tenant,
                id=user.id,
                kind=user.kind.value,
                disabled=user.disabled,
                create_time=user.create_time,
                **_texts(user),
            )
        )
        await self._add_roles(tenant, user.id, user.roles)

    async def replace(self, tenant: str, user: User) -> None:
        """Store a changed user."""
        await self._session.execute(
            update(users)
            .where(users.c.tenant_id == tenant, users.c.id == user.id)
            .values(disabled=user.disabled, **_texts(user))
        )
        await self._session.execute(
            delete(user_roles).where(
                user_roles.c.tenant_id == tenant, user_roles.c.user_id == user.id
            )
        )
        await self._add_roles(tenant, user.id, user.roles)

    async def remove(self, tenant: str, user: str) -> None:
        """Remove a user with their keys and memberships."""
        await self._session.execute(
            delete(users).where(users.c.tenant_id == tenant, users.c.id == user)
        )

    async def memberships(self, tenant: str, user: str) -> Memberships | None:
        """Return a user's direct roles and groups; None when there is no such user."""
        # One question instead of three: this is asked for every user who comes by.
        rows = await self._session.execute(
            union_all(
                select(literal("user").label("what"), users.c.id).where(
                    users.c.tenant_id == tenant, users.c.id == user
                ),
                select(literal("role"), user_roles.c.role_id).where(
                    user_roles.c.tenant_id == tenant, user_roles.c.user_id == user
                ),
                select(literal("group"), group_members.c.group_id).where(
                    group_members.c.tenant_id == tenant, group_members.c.user_id == user
                ),
            )
        )
        found: dict[str, set[str]] = {"user": set(), "role": set(), "group": set()}
        for what, identifier in rows:
            found[what].add(identifier)
        if not found["user"]:
            return None
        return Memberships(frozenset(found["role"]), frozenset(found["group"]))

    async def _add_roles(self, tenant: str, user: str, roles: Iterable[str]) -> None:
        rows = [{"tenant_id": tenant, "user_id": user, "role_id": role} for role in roles]
        if rows:
            await self._session.execute(insert(user_roles), rows)

    async def _first(self, *conditions: ColumnElement[bool]) -> User | None:
        # Users from before names were unique may share one; then the first id has it.
        query = select(users).where(*conditions).order_by(users.c.id).limit(1)
        found = await self._load((await self._session.execute(query)).all())
        return found[0] if found else None

    async def _load(self, rows: Sequence[Row[tuple[object, ...]]]) -> list[User]:
        if not rows:
            return []
        given: dict[str, list[str]] = {row.id: [] for row in rows}
        for user, role in await self._session.execute(
            select(user_roles.c.user_id, user_roles.c.role_id)
            .where(user_roles.c.tenant_id == rows[0].tenant_id, user_roles.c.user_id.in_(given))
            .order_by(user_roles.c.role_id)
        ):
            given[user].append(role)
        return [
            User(
                id=row.id,
                display_name=row.display_name,
                kind=UserKind(row.kind),
                email=row.email,
                roles=tuple(given[row.id]),
                disabled=row.disabled,
                create_time=row.create_time,
                user_name=row.user_name,
                external_id=row.external_id,
            )
            for row in rows
        ]


def _texts(user: User) -> dict[str, str]:
    user_name = user.user_name or user.id
    return {
        "user_name": user_name,
        "user_name_key": text_key(user_name),
        "display_name": user.display_name,
        "display_name_key": text_key(user.display_name),
        "email": user.email,
        "email_key": text_key(user.email),
        "external_id": user.external_id,
    }
