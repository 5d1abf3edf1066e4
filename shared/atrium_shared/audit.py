"""The audit log as a port, and the adapter that sends events to the admin service.

An event never holds document text or prompts. ``record`` returns when the events are durable, so a
use case that awaits it before it answers cannot act unseen.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol

import grpc

from atrium.admin.v1 import admin_pb2, identity_service_pb2, identity_service_pb2_grpc
from atrium_shared.clock import Clock, SystemClock
from atrium_shared.errors import Exhausted, Unavailable
from atrium_shared.identity import ServiceIdentity
from atrium_shared.principal import Principal

_MOST_PER_CALL = 1000  # AppendAuditEventsRequest.entries


class AuditQueueFull(Exhausted):
    """More events wait for the audit log than the service holds."""

    reason = "AUDIT_QUEUE_FULL"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"More than {limit} events wait for the audit log. Nothing was done; try again later.",
            limit=limit,
        )


class AuditUnavailable(Unavailable):
    """The audit log did not confirm the events, so the action must not count as done."""

    reason = "AUDIT_UNAVAILABLE"

    def __init__(self, cause: str) -> None:
        super().__init__(
            f"The audit log did not confirm the event ({cause}). Try again later.", cause=cause
        )


class Decision(Enum):
    """What was decided. The values are the numbers of ``atrium.admin.v1.AuditEvent.Decision``."""

    ALLOWED = 1
    DENIED = 2
    REFUSED = 3
    NOT_FOUND = 4
    FAILED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One line of a tenant's audit log.

    Attributes:
        tenant: Id of the tenant, ``"acme"``; not empty.
        actor: Who called, ``"users/portal"``.
        on_behalf_of: For whom, or ``None`` when for themselves.
        action: What was done, ``"knowledge.Ask"``.
        resource: To what, ``"collections/handbook"``.
        decision: What was decided.
        detail: Error reason or other words without content.
        policy_version: Policy version under which it was decided.
        model: Model that answered, or empty.
        tokens: Tokens used by models.
        time: When it happened, aware; ``None``: when it is recorded.
    """

    tenant: str
    actor: str
    on_behalf_of: str | None
    action: str
    resource: str
    decision: Decision
    detail: str = ""
    policy_version: int = 0
    model: str = ""
    tokens: int = 0
    time: datetime | None = None

    @classmethod
    def of(
        cls,
        principal: Principal,
        action: str,
        resource: str,
        decision: Decision,
        *,
        detail: str = "",
        model: str = "",
        tokens: int = 0,
    ) -> AuditEvent:
        """Return the event of something that ``principal`` did or was denied."""
        return cls(
            tenant=principal.tenant,
            actor=principal.actor,
            on_behalf_of=principal.on_behalf_of,
            action=action,
            resource=resource,
            decision=decision,
            detail=detail,
            policy_version=principal.allow_set.policy_version,
            model=model,
            tokens=tokens,
        )


class AuditSink(Protocol):
    """Where use cases record what was decided."""

    async def record(self, *events: AuditEvent) -> None:
        """Append ``events`` in their order; they are durable when it returns.

        Raises:
            AuditQueueFull: Too many events wait; none of these was taken.
            AuditUnavailable: The log did not confirm them.
        """
        ...


class MemoryAuditSink:
    """Keeps events in a list, for tests."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []

    async def record(self, *events: AuditEvent) -> None:
        """Append to :attr:`events`."""
        self.events.extend(events)


class _Waiting:
    """One ``record`` call: its entries and who waits for them."""

    __slots__ = ("done", "entries")

    def __init__(self, entries: Sequence[identity_service_pb2.AppendAuditEventsRequest.Entry]):
        self.entries = entries
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class RemoteAuditSink:
    """Sends events to the admin service; records that come at once share one call.

    While a call is under way further records queue up, and the next call takes them all (group
    commit), so the log sees few large appends under load and no delay without. Belongs to the
    event loop that first uses it.

    Args:
        channel: Channel to the admin service.
        service: Who calls.
        max_waiting: Most events that may wait, those under way included.
        timeout_seconds: How long one call may take.
        clock: Gives the time of events that carry none.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        service: ServiceIdentity,
        *,
        max_waiting: int = 20_000,
        timeout_seconds: float = 10.0,
        clock: Clock | None = None,
    ) -> None:
        self._stub = identity_service_pb2_grpc.IdentityServiceStub(channel)
        self._service = service
        self._max_waiting = max_waiting
        self._timeout_seconds = timeout_seconds
        self._clock = clock or SystemClock()
        self._queue: deque[_Waiting] = deque()
        self._waiting = 0
        self._sender: asyncio.Task[None] | None = None

    async def record(self, *events: AuditEvent) -> None:
        """Append ``events``; see :meth:`AuditSink.record`."""
        if not events:
            return
        if self._waiting + len(events) > self._max_waiting:
            raise AuditQueueFull(self._max_waiting)
        now = self._clock.now()
        waiting = _Waiting([_to_entry(event, now) for event in events])
        self._queue.append(waiting)
        self._waiting += len(events)
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_all(), name="audit sender")
        await waiting.done

    async def close(self) -> None:
        """Wait until everything recorded so far was sent or has failed."""
        while self._sender is not None:
            await asyncio.wait([self._sender])

    async def _send_all(self) -> None:
        try:
            while self._queue:
                batch = [self._queue.popleft()]
                size = len(batch[0].entries)
                while self._queue and size + len(self._queue[0].entries) <= _MOST_PER_CALL:
                    batch.append(self._queue.popleft())
                    size += len(batch[-1].entries)
                try:
                    await self._send(batch)
                finally:
                    self._waiting -= size
        finally:
            # Empty unless the loop is ending.
            _finish(self._queue, AuditUnavailable("CANCELLED"))
            self._sender = None

    async def _send(self, batch: Sequence[_Waiting]) -> None:
        entries = [entry for waiting in batch for entry in waiting.entries]
        failure: AuditUnavailable | None = AuditUnavailable("CANCELLED")
        try:
            # Only a single record of more than 1000 events takes more than one round.
            for start in range(0, len(entries), _MOST_PER_CALL):
                await self._stub.AppendAuditEvents(
                    identity_service_pb2.AppendAuditEventsRequest(
                        entries=entries[start : start + _MOST_PER_CALL]
                    ),
                    metadata=self._service.metadata(),
                    timeout=self._timeout_seconds,
                )
            failure = None
        except grpc.aio.AioRpcError as error:
            failure = AuditUnavailable(error.code().name)
        finally:
            _finish(batch, failure)


def _finish(records: Iterable[_Waiting], failure: AuditUnavailable | None) -> None:
    for waiting in records:
        # A cancelled caller no longer waits; the event stands all the same.
        if not waiting.done.done():
            if failure is None:
                waiting.done.set_result(None)
            else:
                waiting.done.set_exception(failure)


def _to_entry(
    event: AuditEvent, now: datetime
) -> identity_service_pb2.AppendAuditEventsRequest.Entry:
    if not event.tenant:
        raise ValueError(f"The audit event {event.action!r} has no tenant.")
    entry = identity_service_pb2.AppendAuditEventsRequest.Entry(
        tenant=event.tenant,
        event=admin_pb2.AuditEvent(
            actor=event.actor,
            on_behalf_of=event.on_behalf_of or "",
            action=event.action,
            resource=event.resource,
            decision=admin_pb2.AuditEvent.Decision.ValueType(event.decision.value),
            detail=event.detail,
            policy_version=event.policy_version,
            model=event.model,
            tokens=event.tokens,
        ),
    )
    entry.event.time.FromDatetime(event.time or now)
    return entry
