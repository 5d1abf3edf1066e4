"""Record every call in the tenant's audit log: who, what, which decision; never any word."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from atrium_shared.audit import AuditEvent, AuditSink, Decision
from atrium_shared.errors import AtriumError, Denied, NotFound
from atrium_shared.principal import Principal


class AuditTrail:
    """Records calls as they end.

    Args:
        sink: Where events go; durable when it returns.
    """

    def __init__(self, sink: AuditSink) -> None:
        self._sink = sink

    @asynccontextmanager
    async def call(self, principal: Principal, method: str, resource: str) -> AsyncIterator[None]:
        """Record the block as a call of ``method`` on ``resource`` before its result is shown.

        Args:
            principal: Who calls.
            method: Such as "GetTranscript".
            resource: Name of what is called on; names are no content.
        """
        try:
            yield
        except AtriumError as error:
            await self._record(principal, method, resource, _decision(error), error.reason)
            raise
        except Exception:  # a fault is recorded like any other end of a call, and goes on up
            await self._record(principal, method, resource, Decision.FAILED, "INTERNAL")
            raise
        await self._record(principal, method, resource, Decision.ALLOWED, "")

    async def _record(
        self, principal: Principal, method: str, resource: str, decision: Decision, detail: str
    ) -> None:
        await self._sink.record(
            AuditEvent.of(principal, f"meeting.{method}", resource, decision, detail=detail)
        )


def _decision(error: AtriumError) -> Decision:
    if isinstance(error, Denied):
        return Decision.DENIED
    return Decision.NOT_FOUND if isinstance(error, NotFound) else Decision.FAILED
