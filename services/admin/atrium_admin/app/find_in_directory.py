"""Finding users and groups as outside directories look for them: by conditions, by place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from atrium_admin.app.audit_trail import AuditTrail
from atrium_admin.app.ports import Storage
from atrium_admin.domain.directory_filters import ALWAYS, BY_ID, Condition, Order
from atrium_admin.domain.users import Group, User
from atrium_shared.principal import Principal

T = TypeVar("T")


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
        condition: What must hold of it.
        order: In which order.
        offset: How many to leave out at the start.
        limit: Most to return.
        members: Whether to return the members of groups.
    """

    condition: Condition = ALWAYS
    order: Order = BY_ID
    offset: int = 0
    limit: int = 100
    members: bool = True


class FindUsers:
    """Finds users."""

    def __init__(self, storage: Storage, trail: AuditTrail) -> None:
        self._storage = storage
        self._trail = trail

    async def __call__(self, principal: Principal, query: Query) -> Found[User]:
        """Return users of the caller's tenant of whom the condition holds."""
        async with self._trail.read(principal, "admin.ListUsers", "users/-"):
            async with self._storage.read() as uow:
                total, items = await uow.users.find(
                    principal.tenant, query.condition, query.order, query.offset, query.limit
                )
            return Found(total, items)


class FindGroups:
    """Finds groups."""

    def __init__(self, storage: Storage, trail: AuditTrail) -> None:
        self._storage = storage
        self._trail = trail

    async def __call__(self, principal: Principal, query: Query) -> Found[Group]:
        """Return groups of the caller's tenant of whom the condition holds."""
        async with self._trail.read(principal, "admin.ListGroups", "groups/-"):
            async with self._storage.read() as uow:
                total, items = await uow.groups.find(
                    principal.tenant,
                    query.condition,
                    query.order,
                    query.offset,
                    query.limit,
                    members=query.members,
                )
            return Found(total, items)
