"""Removing a user."""

from __future__ import annotations

from atrium_admin.app.change_policy import Changes
from atrium_admin.domain.errors import UserNotFound
from atrium_admin.domain.names import id_of
from atrium_shared.principal import Principal


class DeleteUser:
    """Removes a user with their keys and memberships."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    async def __call__(self, principal: Principal, name: str) -> None:
        """Remove a user of the caller's tenant.

        Raises:
            UserNotFound: There is none of this name, or it is another tenant's.
            LastAdmin: Nobody would be left who may manage users and roles.
        """
        async with self._changes.begin(principal, "admin.DeleteUser", name) as change:
            user_id = id_of("users", name)
            if user_id is None or await change.uow.users.get(principal.tenant, user_id) is None:
                raise UserNotFound(name)
            await change.uow.users.remove(principal.tenant, user_id)
            change.affects_users([user_id])
