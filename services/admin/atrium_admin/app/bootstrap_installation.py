"""The first tenant, once."""

from __future__ import annotations

from atrium_admin.app.audit_log import AuditLog
from atrium_admin.app.audit_trail import AuditTrail
from atrium_admin.app.create_tenant import FoundedTenant, TenantDraft, found_tenant
from atrium_admin.app.ports import Storage
from atrium_admin.domain.audit import Decision, bounded
from atrium_admin.domain.errors import AlreadyBootstrapped
from atrium_admin.domain.names import tenant_name
from atrium_admin.domain.roles import built_in_digest
from atrium_shared.clock import Clock, Ids
from atrium_shared.principal import Principal

_ACTION = "admin.Bootstrap"


class BootstrapInstallation:
    """Makes the tenant that operates the installation."""

    def __init__(
        self, storage: Storage, trail: AuditTrail, log: AuditLog, clock: Clock, ids: Ids
    ) -> None:
        self._storage = storage
        self._trail = trail
        self._log = log
        self._clock = clock
        self._ids = ids

    async def __call__(self, principal: Principal, draft: TenantDraft) -> FoundedTenant:
        """Make the first tenant with its administrator and return the first key.

        Args:
            principal: The service that asks: it holds the installation's secret.
            draft: The tenant.

        Raises:
            AlreadyBootstrapped: There is a first tenant. Its log notes the attempt.
            FieldInvalid: The administrator's id or the display name is malformed.
        """
        resource = tenant_name(draft.id)
        async with self._storage.write() as uow:
            first = await uow.tenants.lock_installation()
            if not first:
                founded = await found_tenant(
                    uow, draft, operator=True, now=self._clock.now(), ids=self._ids
                )
                await uow.tenants.set_first(draft.id)
                await uow.tenants.set_built_in_roles(built_in_digest())
                event = self._trail.event(principal, _ACTION, resource, Decision.ALLOWED)
                await uow.audit.append(draft.id, [bounded(event)])
                return founded
        error = AlreadyBootstrapped(tenant_name(first))
        event = self._trail.event(principal, _ACTION, resource, Decision.FAILED, error.reason)
        await self._log.append([(first, event)])
        raise error
