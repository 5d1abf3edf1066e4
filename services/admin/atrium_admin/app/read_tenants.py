"""Looking at tenants: one's own, or all of them for the operator."""

from __future__ import annotations

from atrium_admin.app.audit_trail import AuditTrail
from atrium_admin.app.pages import Page, PageRequest, page_of
from atrium_admin.app.ports import Slice, Storage
from atrium_admin.domain.errors import TenantNotFound
from atrium_admin.domain.names import id_of, tenant_name
from atrium_admin.domain.tenants import Tenant
from atrium_shared.principal import Principal


class GetTenant:
    """Returns one tenant."""

    def __init__(self, storage: Storage, trail: AuditTrail) -> None:
        self._storage = storage
        self._trail = trail

    async def __call__(self, principal: Principal, name: str) -> Tenant:
        """Return the caller's tenant (``tenants/-`` or its name); the operator may name any.

        Raises:
            TenantNotFound: It does not exist, or the caller may not see it.
        """
        async with self._trail.read(principal, "admin.GetTenant", name):
            async with self._storage.read() as uow:
                own = await uow.tenants.get(principal.tenant)
                if own is None:
                    raise TenantNotFound(name)
                if name in ("tenants/-", tenant_name(own.id)):
                    return own
                wanted = id_of("tenants", name)
                found = await uow.tenants.get(wanted) if own.operator and wanted else None
            if found is None:
                raise TenantNotFound(name)
            return found


class ListTenants:
    """Lists tenants in the order of their names."""

    def __init__(self, storage: Storage, trail: AuditTrail) -> None:
        self._storage = storage
        self._trail = trail

    async def __call__(self, principal: Principal, page: PageRequest) -> Page[Tenant]:
        """Return all tenants to the operator, and to others their own alone.

        Raises:
            PageTokenInvalid: The token belongs to another request.
        """
        fingerprint = f"ListTenants {principal.tenant}"
        async with self._trail.read(principal, "admin.ListTenants", "tenants/-"):
            cursor = page.cursor(fingerprint)
            async with self._storage.read() as uow:
                own = await uow.tenants.get(principal.tenant)
                if own is not None and own.operator:
                    part = await uow.tenants.list_after(cursor, page.limit)
                else:
                    alone = [] if own is None or cursor else [own]
                    part = Slice(alone, more=False)
            return page_of(part, fingerprint, lambda tenant: tenant.id)
