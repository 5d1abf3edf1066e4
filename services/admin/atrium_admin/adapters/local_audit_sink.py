"""The audit log for services in this process, without a network hop."""

from __future__ import annotations

from datetime import datetime

from atrium_admin.app.audit_log import AuditLog
from atrium_admin.domain.audit import AuditEvent, Decision
from atrium_shared import audit
from atrium_shared.clock import Clock

_DECISIONS = {
    audit.Decision.ALLOWED: Decision.ALLOWED,
    audit.Decision.DENIED: Decision.DENIED,
    audit.Decision.REFUSED: Decision.REFUSED,
    audit.Decision.NOT_FOUND: Decision.NOT_FOUND,
    audit.Decision.FAILED: Decision.FAILED,
}


class LocalAuditSink:
    """Implements :class:`atrium_shared.audit.AuditSink`.

    Args:
        log: Where events go.
        clock: Gives the time of events that carry none.
    """

    def __init__(self, log: AuditLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock

    async def record(self, *events: audit.AuditEvent) -> None:
        """Append events in their order; they are durable when it returns.

        Raises:
            TenantNotFound: An event names a tenant that does not exist. None was taken.
            AuditQueueFull: Too many events wait. None was taken.
        """
        now = self._clock.now()
        await self._log.append([(event.tenant, _event(event, now)) for event in events])


def _event(event: audit.AuditEvent, now: datetime) -> AuditEvent:
    return AuditEvent(
        time=event.time or now,
        actor=event.actor,
        on_behalf_of=event.on_behalf_of or "",
        action=event.action,
        resource=event.resource,
        decision=_DECISIONS[event.decision],
        detail=event.detail,
        policy_version=event.policy_version,
        model=event.model,
        tokens=event.tokens,
    )
