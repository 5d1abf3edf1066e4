"""A way back in for a tenant whose keys are all lost, expired or revoked."""

from __future__ import annotations

from atrium_admin.app.change_policy import Changes
from atrium_admin.domain.api_keys import ApiKey, new_key
from atrium_admin.domain.audit import AuditEvent, Decision
from atrium_admin.domain.errors import TenantNotFound, UserNotFound
from atrium_admin.domain.names import tenant_name, user_name
from atrium_shared.clock import Clock, Ids


class IssueKey:
    """Makes a key without asking who calls: for the command line of who owns the database."""

    def __init__(self, changes: Changes, clock: Clock, ids: Ids) -> None:
        self._changes = changes
        self._clock = clock
        self._ids = ids

    async def __call__(self, tenant: str, user: str) -> tuple[ApiKey, str]:
        """Return a key of a user (both by id), and its credential. The tenant's log tells of it.

        Raises:
            TenantNotFound: There is no such tenant.
            UserNotFound: It has no such user.
        """
        now = self._clock.now()
        event = AuditEvent(
            time=now,
            actor="services/admin",
            on_behalf_of="",
            action="admin.IssueKey",
            resource=user_name(user),
            decision=Decision.ALLOWED,
            detail="issued on the command line",
        )
        async with self._changes.begin_unattended(tenant, event) as change:
            if await change.uow.tenants.get(tenant) is None:
                raise TenantNotFound(tenant_name(tenant))
            if await change.uow.users.get(tenant, user) is None:
                raise UserNotFound(user_name(user))
            key, credential = new_key(
                self._ids.new("k"),
                tenant=tenant,
                user=user,
                display_name="Issued on the command line",
                create_time=now,
            )
            await change.uow.api_keys.add(key)
        return key, credential
