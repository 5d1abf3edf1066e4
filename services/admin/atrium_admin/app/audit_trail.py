"""Every call of the admin service leaves a line in the audit log, whatever comes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from atrium_admin.app.audit_log import AuditLog
from atrium_admin.domain.audit import AuditEvent, Decision
from atrium_shared.clock import Clock
from atrium_shared.errors import AtriumError, Denied, NotFound
from atrium_shared.principal import Principal


class AuditTrail:
    """Writes down what a principal did or tried.

    Args:
        log: Where lines go that belong to no other transaction.
        clock: Tells when.
    """

    def __init__(self, log: AuditLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock

    def event(
        self, principal: Principal, action: str, resource: str, decision: Decision, detail: str = ""
    ) -> AuditEvent:
        """Return the event of an action of ``principal``."""
        return AuditEvent(
            time=self._clock.now(),
            actor=principal.actor,
            on_behalf_of=principal.on_behalf_of or "",
            action=action,
            resource=resource,
            decision=decision,
            detail=detail,
            policy_version=principal.allow_set.policy_version,
        )

    @asynccontextmanager
    async def attempt(
        self, principal: Principal, action: str, resource: str
    ) -> AsyncIterator[None]:
        """Write down what fails inside; what succeeds writes its line in its own transaction."""
        try:
            yield
        except AtriumError as error:
            if isinstance(error, Denied):
                decision = Decision.DENIED
            elif isinstance(error, NotFound):
                decision = Decision.NOT_FOUND
            else:
                decision = Decision.FAILED
            event = self.event(principal, action, resource, decision, error.reason)
            await self._log.append([(principal.tenant, event)])
            raise

    @asynccontextmanager
    async def read(self, principal: Principal, action: str, resource: str) -> AsyncIterator[None]:
        """Write down a call that changes nothing, whether it succeeds or fails."""
        async with self.attempt(principal, action, resource):
            yield
        event = self.event(principal, action, resource, Decision.ALLOWED)
        await self._log.append([(principal.tenant, event)])
