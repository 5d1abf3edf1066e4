"""Looking at roles."""

from __future__ import annotations

from atrium_admin.app.audit_trail import AuditTrail
from atrium_admin.app.pages import Page, PageRequest, page_of
from atrium_admin.app.ports import Storage
from atrium_admin.domain.errors import RoleNotFound
from atrium_admin.domain.names import id_of
from atrium_admin.domain.roles import Role
from atrium_shared.principal import Principal

_MOST_GRANTS = 20_000
"""Grants on one page of roles: about a megabyte."""


class GetRole:
    """Returns one role."""

    def __init__(self, storage: Storage, trail: AuditTrail) -> None:
        self._storage = storage
        self._trail = trail

    async def __call__(self, principal: Principal, name: str) -> Role:
        """Return a role of the caller's tenant.

        Raises:
            RoleNotFound: There is none of this name, or it is another tenant's.
        """
        async with self._trail.read(principal, "admin.GetRole", name):
            role_id = id_of("roles", name)
            async with self._storage.read() as uow:
                role = await uow.roles.get(principal.tenant, role_id) if role_id else None
            if role is None:
                raise RoleNotFound(name)
            return role


class ListRoles:
    """Lists roles in the order of their names."""

    def __init__(self, storage: Storage, trail: AuditTrail) -> None:
        self._storage = storage
        self._trail = trail

    async def __call__(self, principal: Principal, page: PageRequest) -> Page[Role]:
        """Return roles of the caller's tenant. Roles with many grants make shorter pages.

        Raises:
            PageTokenInvalid: The token belongs to another request.
        """
        fingerprint = f"ListRoles {principal.tenant}"
        async with self._trail.read(principal, "admin.ListRoles", "roles/-"):
            cursor = page.cursor(fingerprint)
            async with self._storage.read() as uow:
                part = await uow.roles.list_after(
                    principal.tenant, cursor, page.limit, max_grants=_MOST_GRANTS
                )
            return page_of(part, fingerprint, lambda role: role.id)
