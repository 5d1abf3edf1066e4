"""Looking at identity providers."""

from __future__ import annotations

from atrium_admin.app.audit_trail import AuditTrail
from atrium_admin.app.pages import Page, PageRequest, page_of
from atrium_admin.app.ports import Storage
from atrium_admin.domain.errors import IdentityProviderNotFound
from atrium_admin.domain.identity_providers import IdentityProvider
from atrium_admin.domain.names import id_of
from atrium_shared.principal import Principal


class GetIdentityProvider:
    """Returns one identity provider."""

    def __init__(self, storage: Storage, trail: AuditTrail) -> None:
        self._storage = storage
        self._trail = trail

    async def __call__(self, principal: Principal, name: str) -> IdentityProvider:
        """Return an identity provider of the caller's tenant.

        Raises:
            IdentityProviderNotFound: There is none of this name, or it is another tenant's.
        """
        async with self._trail.read(principal, "admin.GetIdentityProvider", name):
            provider_id = id_of("identityProviders", name) or ""
            async with self._storage.read() as uow:
                provider = await uow.identity_providers.get(principal.tenant, provider_id)
            if provider is None:
                raise IdentityProviderNotFound(name)
            return provider


class ListIdentityProviders:
    """Lists identity providers in the order of their names."""

    def __init__(self, storage: Storage, trail: AuditTrail) -> None:
        self._storage = storage
        self._trail = trail

    async def __call__(self, principal: Principal, page: PageRequest) -> Page[IdentityProvider]:
        """Return identity providers of the caller's tenant.

        Raises:
            PageTokenInvalid: The token belongs to another request.
        """
        fingerprint = f"ListIdentityProviders {principal.tenant}"
        async with self._trail.read(
            principal, "admin.ListIdentityProviders", "identityProviders/-"
        ):
            cursor = page.cursor(fingerprint)
            async with self._storage.read() as uow:
                part = await uow.identity_providers.list_after(principal.tenant, cursor, page.limit)
            return page_of(part, fingerprint, lambda provider: provider.id)
