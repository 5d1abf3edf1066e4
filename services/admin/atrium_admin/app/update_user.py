"""Changing a user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from atrium_admin.app.change_policy import Changes
from atrium_admin.app.references import user_roles
from atrium_admin.domain.errors import UserNotFound
from atrium_admin.domain.masks import resolve_mask
from atrium_admin.domain.names import display_text, id_of
from atrium_admin.domain.users import User, UserDraft
from atrium_shared.principal import Principal

_FIELDS = ("display_name", "email", "roles", "disabled")


class UpdateUser:
    """Changes a user's display name, mail address, roles or whether they are disabled."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    async def __call__(
        self, principal: Principal, name: str, draft: UserDraft, mask: Sequence[str]
    ) -> User:
        """Change the fields that the mask names, or all.

        Raises:
            UserNotFound: There is none of this name, or it is another tenant's.
            UpdateMaskUnknown: The mask names something else.
            RoleNotFound: A role does not exist.
            LastAdmin: Nobody would be left who may manage users and roles.
            FieldInvalid: The display name or the mail address is malformed.
        """
        tenant = principal.tenant
        async with self._changes.begin(principal, "admin.UpdateUser", name) as change:
            fields = resolve_mask(mask, _FIELDS)
            uow = change.uow
            user_id = id_of("users", name)
            before = await uow.users.get(tenant, user_id) if user_id else None
            if before is None:
                raise UserNotFound(name)
            user = before
            if "display_name" in fields:
                text = display_text(
                    draft.display_name, field="user.display_name", default=before.id
                )
                user = replace(user, display_name=text)
            if "email" in fields:
                user = replace(user, email=display_text(draft.email, field="user.email"))
            if "roles" in fields:
                roles = await user_roles(uow, tenant, draft.roles, field="user.roles")
                user = replace(user, roles=roles)
            if "disabled" in fields:
                user = replace(user, disabled=draft.disabled)
            await uow.users.replace(tenant, user)
            if (user.roles, user.disabled) != (before.roles, before.disabled):
                change.affects_users([user.id])
        return user
