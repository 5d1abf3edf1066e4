"""Changing a group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from atrium_admin.app.change_policy import Changes
from atrium_admin.app.references import resolve_roles, resolve_users
from atrium_admin.domain.errors import GroupNotFound
from atrium_admin.domain.names import display_text, id_of, require_one_line
from atrium_admin.domain.users import Group, GroupDraft
from atrium_shared.principal import Principal
from atrium_shared.update_masks import resolve_mask

_NAMED_ONLY = ("external_id",)
_FIELDS = ("display_name", "members", "roles", *_NAMED_ONLY)


class UpdateGroup:
    """Changes a group's display name, members, roles or external id."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    async def __call__(
        self, principal: Principal, name: str, draft: GroupDraft, mask: Sequence[str]
    ) -> Group:
        """Change the fields that the mask names; without one, all but the external id.

        Raises:
            GroupNotFound: There is none of this name, or it is another tenant's.
            UpdateMaskUnknown: The mask names something else.
            UserNotFound: A member does not exist.
            RoleNotFound: A role does not exist.
            LastAdmin: Nobody would be left who may manage users and roles.
            FieldInvalid: A text is malformed.
        """
        return await self.revise(principal, name, lambda _: draft, mask)

    async def revise(
        self,
        principal: Principal,
        name: str,
        revision: Callable[[Group], GroupDraft],
        mask: Sequence[str],
    ) -> Group:
        """Change a group to what a function makes of it; nobody else changes it meanwhile.

        Raises:
            AtriumError: As when called, and whatever ``revision`` raises; nothing is changed then.
        """
        tenant = principal.tenant
        async with self._changes.begin(principal, "admin.UpdateGroup", name) as change:
            fields = resolve_mask(mask, _FIELDS, named_only=_NAMED_ONLY)
            uow = change.uow
            group_id = id_of("groups", name)
            before = await uow.groups.get(tenant, group_id) if group_id else None
            if before is None:
                raise GroupNotFound(name)
            draft = revision(before)
            group = before
            if "display_name" in fields:
                text = display_text(
                    draft.display_name, field="group.display_name", default=before.id
                )
                group = replace(group, display_name=text)
            if "members" in fields:
                members = await resolve_users(uow, tenant, draft.members, field="group.members")
                group = replace(group, members=members)
            if "roles" in fields:
                roles = await resolve_roles(uow, tenant, draft.roles, field="group.roles")
                group = replace(group, roles=roles)
            if "external_id" in fields:
                text = require_one_line(draft.external_id, field="group.external_id")
                group = replace(group, external_id=text)
            await uow.groups.replace(tenant, group)
            if group.roles != before.roles:
                change.affects_group(group.id, {*before.members, *group.members})
            elif group.members != before.members:
                change.affects_users(set(before.members) ^ set(group.members))
        return group
