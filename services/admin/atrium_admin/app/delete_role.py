"""Removing a role."""

from __future__ import annotations

from atrium_admin.app.change_policy import Changes
from atrium_admin.domain.errors import RoleBuiltIn, RoleInUse, RoleNotFound
from atrium_admin.domain.names import id_of
from atrium_shared.principal import Principal


class DeleteRole:
    """Removes a role that nobody holds."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    async def __call__(self, principal: Principal, name: str) -> None:
        """Remove a role of the caller's tenant.

        Raises:
            RoleNotFound: There is none of this name, or it is another tenant's.
            RoleBuiltIn: It comes with every tenant.
            RoleInUse: A user, a group or another role has it.
        """
        async with self._changes.begin(principal, "admin.DeleteRole", name) as change:
            roles = change.uow.roles
            role_id = id_of("roles", name)
            role = await roles.get(principal.tenant, role_id) if role_id else None
            if role is None:
                raise RoleNotFound(name)
            if role.built_in:
                raise RoleBuiltIn(name)
            holders, example = await roles.holders(principal.tenant, role.id)
            if holders:
                raise RoleInUse(name, holders, example)
            await roles.remove(principal.tenant, role.id)
            change.affects_role(role.id)
