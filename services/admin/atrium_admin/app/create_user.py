"""Making a user."""

from __future__ import annotations

from datetime import datetime

from atrium_admin.app.change_policy import Changes
from atrium_admin.app.ports import UnitOfWork
from atrium_admin.app.references import require_free_names, user_roles
from atrium_admin.domain.errors import FieldInvalid, UserExists
from atrium_admin.domain.names import display_text, require_one_line, user_name
from atrium_admin.domain.pseudonyms import pseudonym_of_erased
from atrium_admin.domain.users import User, UserDraft
from atrium_shared.clock import Clock
from atrium_shared.principal import Principal


async def add_user(
    uow: UnitOfWork, tenant: str, user_id: str, draft: UserDraft, *, now: datetime
) -> User:
    """Store a new user; without roles they get the default role.

    Raises:
        UserExists: The id is taken.
        UserNameTaken: Another user has the user name.
        ExternalIdTaken: Another user has the external id.
        RoleNotFound: A role does not exist.
        FieldInvalid: A text is malformed.
    """
    if pseudonym_of_erased(user_name(user_id)):
        raise FieldInvalid("user_id", "another: this is how users read who were erased")
    if await uow.users.get(tenant, user_id) is not None:
        raise UserExists(user_name(user_id))
    user = User(
        id=user_id,
        display_name=display_text(draft.display_name, field="user.display_name", default=user_id),
        kind=draft.kind,
        email=display_text(draft.email, field="user.email"),
        roles=await user_roles(uow, tenant, draft.roles, field="user.roles"),
        disabled=draft.disabled,
        create_time=now,
        user_name=display_text(draft.user_name, field="user.user_name", default=user_id),
        external_id=require_one_line(draft.external_id, field="user.external_id"),
    )
    await require_free_names(uow, tenant, user)
    await uow.users.add(tenant, user)
    return user


class CreateUser:
    """Makes a user; without roles they get the default role."""

    def __init__(self, changes: Changes, clock: Clock) -> None:
        self._changes = changes
        self._clock = clock

    async def __call__(self, principal: Principal, user_id: str, draft: UserDraft) -> User:
        """Make a user of the caller's tenant.

        Raises:
            UserExists: The id is taken.
            UserNameTaken: Another user has the user name.
            ExternalIdTaken: Another user has the external id.
            RoleNotFound: A role does not exist.
            FieldInvalid: A text is malformed.
        """
        name = user_name(user_id)
        async with self._changes.begin(principal, "admin.CreateUser", name) as change:
            user = await add_user(
                change.uow, principal.tenant, user_id, draft, now=self._clock.now()
            )
            change.affects_users([user_id])
        return user
