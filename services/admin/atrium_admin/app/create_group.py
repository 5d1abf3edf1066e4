"""Making a group."""

from __future__ import annotations

from atrium_admin.app.change_policy import Changes
from atrium_admin.app.references import resolve_roles, resolve_users
from atrium_admin.domain.errors import GroupExists
from atrium_admin.domain.names import display_text, group_name, require_one_line
from atrium_admin.domain.users import Group, GroupDraft
from atrium_shared.clock import Clock
from atrium_shared.principal import Principal


class CreateGroup:
    """Makes a group."""

    def __init__(self, changes: Changes, clock: Clock) -> None:
        self._changes = changes
        self._clock = clock

    async def __call__(self, principal: Principal, group_id: str, draft: GroupDraft) -> Group:
        """Make a group of the caller's tenant.

        Raises:
            GroupExists: The id is taken.
            UserNotFound: A member does not exist.
            RoleNotFound: A role does not exist.
            LastAdmin: A role that denies would lock out the last administrator.
            FieldInvalid: A text is malformed.
        """
        tenant = principal.tenant
        name = group_name(group_id)
        async with self._changes.begin(principal, "admin.CreateGroup", name) as change:
            uow = change.uow
            if await uow.groups.get(tenant, group_id) is not None:
                raise GroupExists(name)
            group = Group(
                id=group_id,
                display_name=display_text(
                    draft.display_name, field="group.display_name", default=group_id
                ),
                members=await resolve_users(uow, tenant, draft.members, field="group.members"),
                roles=await resolve_roles(uow, tenant, draft.roles, field="group.roles"),
                create_time=self._clock.now(),
                external_id=require_one_line(draft.external_id, field="group.external_id"),
            )
            await uow.groups.add(tenant, group)
            change.affects_group(group_id, group.members)
        return group
