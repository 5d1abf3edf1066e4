"""Making a user."""

from __future__ import annotations

from atrium_admin.app.change_policy import Changes
from atrium_admin.app.references import user_roles
from atrium_admin.domain.errors import UserExists
from atrium_admin.domain.names import display_text, user_name
from atrium_admin.domain.users import User, UserDraft
from atrium_shared.clock import Clock
from atrium_shared.principal import Principal


class CreateUser:
    """Makes a user; without roles they get the default role."""

    def __init__(self, changes: Changes, clock: Clock) -> None:
        self._changes = changes
        self._clock = clock

    async def __call__(self, principal: Principal, user_id: str, draft: UserDraft) -> User:
        """Make a user of the caller's tenant.

        Raises:
            UserExists: The id is taken.
            RoleNotFound: A role does not exist.
            FieldInvalid: The display name or the mail address is malformed.
        """
        name = user_name(user_id)
        async with self._changes.begin(principal, "admin.CreateUser", name) as change:
            uow = change.uow
            if await uow.users.get(principal.tenant, user_id) is not None:
                raise UserExists(name)
            user = User(
                id=user_id,
                display_name=display_text(
                    draft.display_name, field="user.display_name", default=user_id
                ),
                kind=draft.kind,
                email=display_text(draft.email, field="user.email"),
                roles=await user_roles(uow, principal.tenant, draft.roles, field="user.roles"),
                disabled=draft.disabled,
                create_time=self._clock.now(),
            )
            await uow.users.add(principal.tenant, user)
            change.affects_users([user_id])
        return user
