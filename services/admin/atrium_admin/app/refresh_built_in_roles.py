"""A new release may change what the built-in roles grant."""

from __future__ import annotations

import structlog

from atrium_admin.app.change_policy import Changes
from atrium_admin.app.ports import Storage
from atrium_admin.domain.audit import AuditEvent, Decision
from atrium_admin.domain.roles import BUILT_IN_ROLES, built_in_digest
from atrium_shared.clock import Clock

_log = structlog.get_logger(__name__)

_TENANTS_AT_ONCE = 100


class RefreshBuiltInRoles:
    """Brings the built-in roles of every tenant to those of this release, if they differ."""

    def __init__(self, storage: Storage, changes: Changes, clock: Clock) -> None:
        self._storage = storage
        self._changes = changes
        self._clock = clock

    async def __call__(self) -> None:
        """Do it; nothing happens when it was done before."""
        digest = built_in_digest()
        async with self._storage.read() as uow:
            if await uow.tenants.built_in_roles() == digest:
                return
        after, more = "", True
        while more:
            async with self._storage.read() as uow:
                part = await uow.tenants.list_after(after, _TENANTS_AT_ONCE)
            for tenant in part.items:
                await self._refresh(tenant.id)
                after = tenant.id
            more = part.more
        # Last, so that a start that was cut short is made up for by the next.
        async with self._storage.write() as uow:
            await uow.tenants.set_built_in_roles(digest)

    async def _refresh(self, tenant: str) -> None:
        now = self._clock.now()
        event = AuditEvent(
            time=now,
            actor="services/admin",
            on_behalf_of="",
            action="admin.RefreshBuiltInRoles",
            resource="roles/-",
            decision=Decision.ALLOWED,
        )
        async with self._changes.begin_unattended(tenant, event) as change:
            roles = change.uow.roles
            for built_in in BUILT_IN_ROLES:
                before = await roles.get(tenant, built_in.id)
                if before is None:
                    await roles.add(tenant, built_in.role(now))
                elif not before.built_in:
                    # The tenant had the name first; its role is not ours to change.
                    _log.warning(
                        "built-in role not made: name taken", tenant=tenant, role=before.id
                    )
                    continue
                else:
                    await roles.replace(tenant, built_in.role(before.create_time))
                change.affects_role(built_in.id)
