"""Changing a group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from atrium_admin.app.change_policy import Changes
from atrium_admin.app.references import resolve_roles, resolve_users
from atrium_admin.domain.errors import GroupNotFound
from atrium_admin.domain.masks import resolve_mask
from atrium_admin.domain.names import display_text, id_of
from atrium_admin.domain.users import Group, GroupDraft
from atrium_shared.principal import Principal

_FIELDS = ("display_name", "members", "roles")


class UpdateGroup:
    """Changes a group's display name, members or roles."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    async def __call__(
        self, principal: Principal, name: str, draft: GroupDraft, mask: Sequence[str]
    ) -> Group:
        """Change the fields that the mask names, or all.

        Raises:
            GroupNotFound: There is none of this name, or it is another tenant's.
            UpdateMaskUnknown: The mask names something else.
            UserNotFound: A member does not exist.
            RoleNotFound: A role does not exist.
            LastAdmin: Nobody would be left who may manage users and roles.
            FieldInvalid: The display name is malformed.
        """
        tenant = principal.tenant
        async with self._changes.begin(principal, "admin.UpdateGroup", name) as change:
            fields = resolve_mask(mask, _FIELDS)
            uow = change.uow
            group_id = id_of("groups", name)
            before = await uow.groups.get(tenant, group_id) if group_id else None
            if before is None:
                raise GroupNotFound(name)
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
            await uow.groups.replace(tenant, group)
            if group.roles != before.roles:
                change.affects_group(group.id, {*before.members, *group.members})
            elif group.members != before.members:
                change.affects_users(set(before.members) ^ set(group.members))
        return group
