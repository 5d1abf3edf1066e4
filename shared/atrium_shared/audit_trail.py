"""Record every call in the tenant's audit log: who, what, which decision; never any text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from atrium_shared.audit import AuditEvent, AuditSink, Decision
from atrium_shared.errors import AtriumError, Denied, NotFound
from atrium_shared.principal import Principal
from atrium_shared.unbroken import Unbroken

_MOST_WAITING: Final = 500


class AuditTrail:
    """Records calls as they end.

    Args:
        sink: Where events go; durable when it returns.
        service: Whose calls, "knowledge"; methods are recorded under its name.
    """

    def __init__(self, sink: AuditSink, service: str) -> None:
        self._sink = sink
        self._service = service

    @asynccontextmanager
    async def call(self, principal: Principal, method: str, resource: str) -> AsyncIterator[None]:
        """Record the block as a call of ``method`` on ``resource`` before its result is shown.

        Args:
            principal: Who calls.
            method: Such as "Search".
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

    @asynccontextmanager
    async def failures(
        self, principal: Principal, method: str, resource: str
    ) -> AsyncIterator[None]:
        """Record the block only when it fails; its success is recorded by what follows."""
        try:
            yield
        except AtriumError as error:
            await self._record(principal, method, resource, _decision(error), error.reason)
            raise

    def changes(self, principal: Principal, detail: str, sending: Unbroken) -> AuditedChanges:
        """Return a record of many changes that one call or job of ``principal`` makes.

        Args:
            principal: Who changes.
            detail: What each event says beside the method: on whose account, without content.
            sending: Holds what is being appended, until it is.
        """
        return AuditedChanges(self._sink, self._service, principal, detail, sending)

    async def _record(
        self, principal: Principal, method: str, resource: str, decision: Decision, detail: str
    ) -> None:
        await self._sink.record(
            AuditEvent.of(principal, f"{self._service}.{method}", resource, decision, detail=detail)
        )


class AuditedChanges:
    """Records changes beside the work that makes them, each as its own event.

    What is made while the log confirms earlier changes is appended with one call, so the work waits
    for the log only at its end. What the log did not confirm is kept and tried again by
    :meth:`flush`.
    """

    def __init__(
        self,
        sink: AuditSink,
        service: str,
        principal: Principal,
        detail: str,
        sending: Unbroken,
    ) -> None:
        self._sink = sink
        self._service = service
        self._principal = principal
        self._detail = detail
        self._sending = sending
        self._waiting: list[AuditEvent] = []
        self._sender: asyncio.Task[None] | None = None
        self._failure: Exception | None = None

    def add(self, method: str, resource: str) -> None:
        """Have a change recorded that was made.

        Args:
            method: The call that makes such a change by itself, "DeleteDocument".
            resource: Name of what was changed.
        """
        self._waiting.append(
            AuditEvent.of(
                self._principal,
                f"{self._service}.{method}",
                resource,
                Decision.ALLOWED,
                detail=self._detail,
            )
        )
        self._begin()

    async def keep_up(self) -> None:
        """Return when few enough changes wait to go on.

        Raises:
            AtriumError: The log did not confirm the last ones.
        """
        if self._failure is not None or len(self._waiting) >= _MOST_WAITING:
            await self.flush()

    async def flush(self) -> None:
        """Return when every change is recorded.

        Raises:
            AtriumError: The log did not confirm them.
        """
        await self._sent()
        if self._waiting:
            self._begin()
            await self._sent()
        if self._failure is not None:
            raise self._failure

    def _begin(self) -> None:
        if self._sender is None:
            self._sender = self._sending.start(self._send(), name="audited changes")

    async def _sent(self) -> None:
        while self._sender is not None:
            await asyncio.wait([self._sender])

    async def _send(self) -> None:
        self._failure = None
        try:
            while self._waiting:
                batch = tuple(self._waiting)
                await self._sink.record(*batch)
                del self._waiting[: len(batch)]
        except Exception as error:  # whatever it is, who waits next is told
            self._failure = error
        finally:
            self._sender = None


def _decision(error: AtriumError) -> Decision:
    if isinstance(error, Denied):
        return Decision.DENIED
    return Decision.NOT_FOUND if isinstance(error, NotFound) else Decision.FAILED
