"""From the names in a request to the things that they name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from atrium_admin.app.ports import UnitOfWork
from atrium_admin.domain.errors import (
    ExternalIdTaken,
    RoleNotFound,
    UserNameTaken,
    UserNotFound,
)
from atrium_admin.domain.names import id_of, is_id
from atrium_admin.domain.roles import DEFAULT_ROLE
from atrium_admin.domain.users import User
from atrium_shared.clock import Ids
from atrium_shared.errors import NotFound


async def resolve_roles(
    uow: UnitOfWork, tenant: str, names: Sequence[str], *, field: str
) -> tuple[str, ...]:
    """Return the ids of roles, sorted.

    Args:
        uow: Transaction to look in.
        tenant: Whose roles.
        names: ``roles/<id>``.
        field: Request field that holds the names.

    Raises:
        RoleNotFound: One does not exist; names it and its place.
    """
    return await _resolve(
        names,
        "roles",
        lambda ids: uow.roles.unknown(tenant, ids),
        lambda name, index: RoleNotFound(name, field=f"{field}[{index}]"),
    )


async def resolve_users(
    uow: UnitOfWork, tenant: str, names: Sequence[str], *, field: str
) -> tuple[str, ...]:
    """Return the ids of users, sorted; see :func:`resolve_roles`.

    Raises:
        UserNotFound: One does not exist; names it and its place.
    """
    return await _resolve(
        names,
        "users",
        lambda ids: uow.users.unknown(tenant, ids),
        lambda name, index: UserNotFound(name, field=f"{field}[{index}]"),
    )


async def user_roles(
    uow: UnitOfWork, tenant: str, names: Sequence[str], *, field: str
) -> tuple[str, ...]:
    """Return the ids of a user's roles, sorted; who is given none gets the default role.

    Raises:
        RoleNotFound: One does not exist.
    """
    return await resolve_roles(uow, tenant, names, field=field) or (DEFAULT_ROLE,)


async def free_user_id(uow: UnitOfWork, tenant: str, wanted: str, ids: Ids) -> str:
    """Return ``wanted`` when it can be the id of a new user, else a new id."""
    if is_id(wanted) and await uow.users.get(tenant, wanted) is None:
        return wanted
    return ids.new("u")


async def require_free_names(uow: UnitOfWork, tenant: str, user: User) -> None:
    """Refuse a user whose name or external id is another's. The tenant must be locked.

    Raises:
        UserNameTaken: Another user has the user name.
        ExternalIdTaken: Another user has the external id.
    """
    holder = await uow.users.by_user_name(tenant, user.user_name)
    if holder is not None and holder.id != user.id:
        raise UserNameTaken(user.user_name, holder.name)
    if user.external_id:
        holder = await uow.users.by_external_id(tenant, user.external_id)
        if holder is not None and holder.id != user.id:
            raise ExternalIdTaken(user.external_id, holder.name)


async def _resolve(
    names: Sequence[str],
    collection: str,
    unknown: Callable[[Sequence[str]], Awaitable[str | None]],
    missing: Callable[[str, int], NotFound],
) -> tuple[str, ...]:
    places: dict[str, int] = {}
    for index, name in enumerate(names):
        identifier = id_of(collection, name)
        if identifier is None:
            raise missing(name, index)
        places.setdefault(identifier, index)
    ids = sorted(places)
    absent = await unknown(ids)
    if absent is not None:
        index = places[absent]
        raise missing(names[index], index)
    return tuple(ids)
