"""Making a role."""

from __future__ import annotations

from atrium_admin.app.change_policy import Changes
from atrium_admin.app.references import resolve_roles
from atrium_admin.domain.errors import RoleCycle, RoleExists
from atrium_admin.domain.names import display_text, role_name
from atrium_admin.domain.roles import Role, RoleDraft, unique_grants
from atrium_shared.clock import Clock
from atrium_shared.principal import Principal


class CreateRole:
    """Makes a role."""

    def __init__(self, changes: Changes, clock: Clock) -> None:
        self._changes = changes
        self._clock = clock

    async def __call__(self, principal: Principal, role_id: str, draft: RoleDraft) -> Role:
        """Make a role of the caller's tenant.

        Raises:
            RoleExists: The id is taken.
            RoleNotFound: An inherited role does not exist.
            RoleCycle: It would inherit from itself.
            FieldInvalid: The display name or a grant is malformed.
        """
        tenant = principal.tenant
        name = role_name(role_id)
        async with self._changes.begin(principal, "admin.CreateRole", name) as change:
            uow = change.uow
            if await uow.roles.get(tenant, role_id) is not None:
                raise RoleExists(name)
            if name in draft.inherits:
                # Nothing else can inherit from it yet, so this is the only circle.
                raise RoleCycle([name, name], field="role.inherits")
            role = Role(
                id=role_id,
                display_name=display_text(
                    draft.display_name, field="role.display_name", default=role_id
                ),
                grants=unique_grants(draft.grants, field="role.grants"),
                inherits=await resolve_roles(uow, tenant, draft.inherits, field="role.inherits"),
                built_in=False,
                create_time=self._clock.now(),
            )
            await uow.roles.add(tenant, role)
            change.affects_role(role_id)
        return role
