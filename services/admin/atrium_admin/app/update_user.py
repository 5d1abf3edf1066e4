"""Changing a user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from atrium_admin.app.change_policy import Changes
from atrium_admin.app.references import require_free_names, user_roles
from atrium_admin.domain.errors import UserNotFound
from atrium_admin.domain.names import display_text, id_of, require_one_line
from atrium_admin.domain.users import User, UserDraft
from atrium_shared.principal import Principal
from atrium_shared.update_masks import resolve_mask

_NAMED_ONLY = ("user_name", "external_id")
_FIELDS = ("display_name", "email", "roles", "disabled", *_NAMED_ONLY)


class UpdateUser:
    """Changes a user's names, mail address, roles or whether they are disabled."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    async def __call__(
        self, principal: Principal, name: str, draft: UserDraft, mask: Sequence[str]
    ) -> User:
        """Change the fields that the mask names; without one, all but names of outside.

        Raises:
            UserNotFound: There is none of this name, or it is another tenant's.
            UpdateMaskUnknown: The mask names something else.
            UserNameTaken: Another user has the user name.
            ExternalIdTaken: Another user has the external id.
            RoleNotFound: A role does not exist.
            LastAdmin: Nobody would be left who may manage users and roles.
            FieldInvalid: A text is malformed.
        """
        return await self.revise(principal, name, lambda _: draft, mask)

    async def revise(
        self,
        principal: Principal,
        name: str,
        revision: Callable[[User], UserDraft],
        mask: Sequence[str],
    ) -> User:
        """Change a user to what a function makes of it; nobody else changes it meanwhile.

        Raises:
            AtriumError: As when called, and whatever ``revision`` raises; nothing is changed then.
        """
        tenant = principal.tenant
        async with self._changes.begin(principal, "admin.UpdateUser", name) as change:
            fields = resolve_mask(mask, _FIELDS, named_only=_NAMED_ONLY)
            uow = change.uow
            user_id = id_of("users", name)
            before = await uow.users.get(tenant, user_id) if user_id else None
            if before is None:
                raise UserNotFound(name)
            draft = revision(before)
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
            if "user_name" in fields:
                text = display_text(draft.user_name, field="user.user_name", default=before.id)
                user = replace(user, user_name=text)
            if "external_id" in fields:
                text = require_one_line(draft.external_id, field="user.external_id")
                user = replace(user, external_id=text)
            if (user.user_name, user.external_id) != (before.user_name, before.external_id):
                await require_free_names(uow, tenant, user)
            await uow.users.replace(tenant, user)
            if (user.roles, user.disabled) != (before.roles, before.disabled):
                change.affects_users([user.id])
        return user
