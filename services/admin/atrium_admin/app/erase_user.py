"""Erasing a user: what is theirs goes, and what was done stays without their name."""

from __future__ import annotations

from dataclasses import replace

from atrium_admin.app.change_policy import Changes
from atrium_admin.domain.errors import EraseSelf, UserNotFound
from atrium_admin.domain.names import id_of, user_name
from atrium_admin.domain.pseudonyms import erased_id, sealed_name
from atrium_shared.clock import Clock
from atrium_shared.principal import Principal


class EraseUser:
    """Removes a user, and unlinks the audit log and the history from their name.

    Other services learn of it from the list of erased users and forget what they hold.
    """

    def __init__(self, changes: Changes, clock: Clock) -> None:
        self._changes = changes
        self._clock = clock

    async def __call__(self, principal: Principal, name: str) -> str:
        """Erase a user of the caller's tenant and return the name under which they read from now.

        Somebody who was deleted before, and is still named in the log, can be erased too.

        Raises:
            UserNotFound: Neither the directory nor the log knows the name.
            EraseSelf: It is the caller.
            LastAdmin: Nobody would be left who may manage users and roles.
        """
        tenant = principal.tenant
        async with self._changes.begin(principal, "admin.EraseUser", name) as change:
            uow = change.uow
            if name in (principal.actor, principal.on_behalf_of):
                raise EraseSelf(name)
            user_id = id_of("users", name)
            if user_id is None:
                raise UserNotFound(name)
            user = await uow.users.get(tenant, user_id)
            if user is None and await uow.pseudonyms.of(tenant, user_id) is None:
                raise UserNotFound(name)
            pseudonym = await uow.pseudonyms.unlink(tenant, user_id)
            await uow.history.rename_user(tenant, user_id, erased_id(pseudonym))
            if user is not None:
                await uow.users.remove(tenant, user_id)
                # By both names: caches know the old one, the history the new one.
                change.affects_users([user_id, erased_id(pseudonym)])
            # One list for all tenants, whose places come in the order of their commits.
            await uow.tenants.lock_installation()
            await uow.erased_users.add(tenant, user_id, self._clock.now())
            # The line about it must not link the two again.
            change.event = replace(change.event, resource=sealed_name(pseudonym))
        return user_name(erased_id(pseudonym))
