"""Finding users and groups as outside directories look for them: by one attribute, by place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from atrium_admin.app.audit_trail import AuditTrail
from atrium_admin.app.ports import Storage
from atrium_admin.domain.users import Group, User
from atrium_shared.principal import Principal

T = TypeVar("T")

USER_ATTRIBUTES = ("id", "user_name", "external_id")
"""By what users are found."""

GROUP_ATTRIBUTES = ("id", "display_name", "external_id")
"""By what groups are found."""


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """Part of what was found.

    Attributes:
        total: How many there are.
        items: Those asked for.
    """

    total: int
    items: list[T]


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for.

    Attributes:
        attribute: One of :data:`USER_ATTRIBUTES` or :data:`GROUP_ATTRIBUTES`; "" for all.
        value: What it must equal; user names and display names whatever their case.
        offset: How many to leave out at the start, in the order of ids.
        limit: Most to return.
    """

    attribute: str = ""
    value: str = ""
    offset: int = 0
    limit: int = 100


class FindUsers:
    """Finds users."""

    def __init__(self, storage: Storage, trail: AuditTrail) -> None:
        self._storage = storage
        self._trail = trail

    async def __call__(self, principal: Principal, query: Query) -> Found[User]:
        """Return users of the caller's tenant, in the order of their ids."""
        async with self._trail.read(principal, "admin.ListUsers", "users/-"):
            async with self._storage.read() as uow:
                total, items = await uow.users.find(
                    principal.tenant, query.attribute, query.value, query.offset, query.limit
                )
            return Found(total, items)


class FindGroups:
    """Finds groups."""

    def __init__(self, storage: Storage, trail: AuditTrail) -> None:
        self._storage = storage
        self._trail = trail

    async def __call__(self, principal: Principal, query: Query) -> Found[Group]:
        """Return groups of the caller's tenant, in the order of their ids."""
        async with self._trail.read(principal, "admin.ListGroups", "groups/-"):
            async with self._storage.read() as uow:
                total, items = await uow.groups.find(
                    principal.tenant, query.attribute, query.value, query.offset, query.limit
                )
            return Found(total, items)
