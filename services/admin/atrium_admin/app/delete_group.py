"""Removing a group."""

from __future__ import annotations

from atrium_admin.app.change_policy import Changes
from atrium_admin.domain.errors import GroupNotFound
from atrium_admin.domain.names import id_of
from atrium_shared.principal import Principal


class DeleteGroup:
    """Removes a group; its members stay."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    async def __call__(self, principal: Principal, name: str) -> None:
        """Remove a group of the caller's tenant.

        Raises:
            GroupNotFound: There is none of this name, or it is another tenant's.
            LastAdmin: Nobody would be left who may manage users and roles.
        """
        async with self._changes.begin(principal, "admin.DeleteGroup", name) as change:
            group_id = id_of("groups", name)
            group = await change.uow.groups.get(principal.tenant, group_id) if group_id else None
            if group is None:
                raise GroupNotFound(name)
            await change.uow.groups.remove(principal.tenant, group.id)
            change.affects_group(group.id, group.members)
