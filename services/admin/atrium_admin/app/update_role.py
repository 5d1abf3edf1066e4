"""Changing a role."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from atrium_admin.app.change_policy import Changes
from atrium_admin.app.references import resolve_roles
from atrium_admin.domain.errors import RoleBuiltIn, RoleNotFound
from atrium_admin.domain.names import display_text, id_of
from atrium_admin.domain.roles import Role, RoleDraft, require_no_cycle, unique_grants
from atrium_shared.principal import Principal
from atrium_shared.update_masks import resolve_mask

_FIELDS = ("display_name", "grants", "inherits")


class UpdateRole:
    """Changes a role's display name, grants or inherited roles."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    async def __call__(
        self, principal: Principal, name: str, draft: RoleDraft, mask: Sequence[str]
    ) -> Role:
        """Change the fields that the mask names, or all.

        Raises:
            RoleNotFound: It, or an inherited role, does not exist or is another tenant's.
            RoleBuiltIn: It comes with every tenant.
            UpdateMaskUnknown: The mask names something else.
            RoleCycle: It would inherit from itself.
            LastAdmin: Nobody would be left who may manage users and roles.
            FieldInvalid: The display name or a grant is malformed.
        """
        tenant = principal.tenant
        async with self._changes.begin(principal, "admin.UpdateRole", name) as change:
            fields = resolve_mask(mask, _FIELDS)
            uow = change.uow
            role_id = id_of("roles", name)
            before = await uow.roles.get(tenant, role_id) if role_id else None
            if before is None:
                raise RoleNotFound(name)
            if before.built_in:
                raise RoleBuiltIn(name)
            role = before
            if "display_name" in fields:
                text = display_text(
                    draft.display_name, field="role.display_name", default=before.id
                )
                role = replace(role, display_name=text)
            if "grants" in fields:
                role = replace(role, grants=unique_grants(draft.grants, field="role.grants"))
            if "inherits" in fields:
                field = "role.inherits"
                inherits = await resolve_roles(uow, tenant, draft.inherits, field=field)
                require_no_cycle(role.id, inherits, await uow.roles.edges(tenant), field=field)
                role = replace(role, inherits=inherits)
            await uow.roles.replace(tenant, role)
            if (role.grants, role.inherits) != (before.grants, before.inherits):
                change.affects_role(role.id)
        return role
