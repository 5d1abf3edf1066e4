"""Events reach the admin service in few calls, or their callers learn that they did not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from atrium.admin.v1 import admin_pb2, identity_service_pb2_grpc
from atrium.admin.v1 import identity_service_pb2 as pb
from atrium_shared.audit import (
    AuditEvent,
    AuditQueueFull,
    AuditUnavailable,
    Decision,
    MemoryAuditSink,
    RemoteAuditSink,
)
from atrium_shared.clock import FixedClock
from atrium_shared.errors import Exhausted, Unavailable
from atrium_shared.identity import ServiceIdentity
from atrium_shared.rpc.server import ServiceApp
from atrium_shared.testing import TEST_SECRET, make_principal, running_server


class FakeLog(identity_service_pb2_grpc.IdentityServiceServicer):
    """Keeps what is appended; can be slow, and can fail."""

    def __init__(self) -> None:
        self.calls: list[pb.AppendAuditEventsRequest] = []
        self.error: Exception | None = None
        self.go = asyncio.Event()
        self.go.set()

    async def AppendAuditEvents(
        self, request: pb.AppendAuditEventsRequest, context: Any
    ) -> pb.AppendAuditEventsResponse:
        self.calls.append(request)
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return pb.AppendAuditEventsResponse()

    @property
    def details(self) -> list[str]:
        return [entry.event.detail for call in self.calls for entry in call.entries]


@asynccontextmanager
async def audit_log(**arguments: Any) -> AsyncIterator[tuple[FakeLog, RemoteAuditSink]]:
    log = FakeLog()

    async def nothing() -> None:
        return None

    app = ServiceApp(
        name="admin",
        services={
            "atrium.admin.v1.IdentityService": lambda server: (
                identity_service_pb2_grpc.add_IdentityServiceServicer_to_server(log, server)
            )
        },
        start=nothing,
        stop=nothing,
    )
    async with running_server([app]) as server:
        identity = ServiceIdentity("knowledge", TEST_SECRET)
        sink = RemoteAuditSink(
            server.open_channel(), identity, **{"clock": FixedClock(), **arguments}
        )
        yield log, sink
        log.go.set()
        await sink.close()


def event(detail: str = "", **changed: Any) -> AuditEvent:
    principal = make_principal(actor="users/portal", on_behalf_of="users/lin", policy_version=7)
    made = AuditEvent.of(
        principal, "knowledge.Ask", "collections/handbook", Decision.REFUSED, detail=detail
    )
    return made if not changed else AuditEvent(**{**_fields(made), **changed})


def _fields(made: AuditEvent) -> dict[str, Any]:
    return {name: getattr(made, name) for name in AuditEvent.__dataclass_fields__}


async def test_an_event_arrives_whole() -> None:
    async with audit_log() as (log, sink):
        await sink.record(event("PAY", model="qwen", tokens=42))
        (entry,) = log.calls[0].entries
    assert entry.tenant == "acme"
    sent = entry.event
    assert (sent.actor, sent.on_behalf_of) == ("users/portal", "users/lin")
    assert (sent.action, sent.resource) == ("knowledge.Ask", "collections/handbook")
    assert sent.decision == admin_pb2.AuditEvent.REFUSED
    assert (sent.detail, sent.policy_version) == ("PAY", 7)
    assert (sent.model, sent.tokens) == ("qwen", 42)
    assert sent.time.ToDatetime(UTC) == FixedClock().now()


async def test_an_events_own_time_is_kept() -> None:
    when = datetime(2029, 5, 6, 7, 8, 9, tzinfo=UTC)
    async with audit_log() as (log, sink):
        await sink.record(event(time=when))
    assert log.calls[0].entries[0].event.time.ToDatetime(UTC) == when


@pytest.mark.parametrize("decision", list(Decision))
async def test_every_decision_is_the_one_of_the_proto(decision: Decision) -> None:
    async with audit_log() as (log, sink):
        await sink.record(event(decision=decision))
    sent = log.calls[0].entries[0].event.decision
    assert admin_pb2.AuditEvent.Decision.Name(sent) == decision.name


async def test_records_at_once_share_few_calls_and_keep_their_order() -> None:
    async with audit_log() as (log, sink):
        await asyncio.gather(*(sink.record(event(f"{number}")) for number in range(500)))
    assert len(log.calls) <= 3
    assert log.details == [f"{number}" for number in range(500)]


async def test_a_call_carries_at_most_a_thousand_events() -> None:
    async with audit_log() as (log, sink):
        many = [event() for _ in range(2500)]
        await asyncio.gather(sink.record(*many), sink.record(event()), sink.record(event()))
    sizes = [len(call.entries) for call in log.calls]
    assert max(sizes) <= 1000
    assert sum(sizes) == 2502


async def test_a_full_queue_refuses_and_takes_again_when_it_is_empty() -> None:
    async with audit_log(max_waiting=3) as (log, sink):
        log.go.clear()
        waiting = [asyncio.create_task(sink.record(event(f"{number}"))) for number in range(3)]
        await asyncio.sleep(0.05)
        with pytest.raises(AuditQueueFull) as caught:
            await sink.record(event("one too many"))
        assert isinstance(caught.value, Exhausted)
        assert (caught.value.reason, caught.value.metadata) == ("AUDIT_QUEUE_FULL", {"limit": "3"})
        log.go.set()
        await asyncio.gather(*waiting)
        await sink.record(event("again"))
    assert log.details == ["0", "1", "2", "again"]


async def test_every_waiting_record_learns_of_a_failure() -> None:
    async with audit_log() as (log, sink):
        log.error = Unavailable("no disk")
        outcomes = await asyncio.gather(
            *(sink.record(event()) for _ in range(50)), return_exceptions=True
        )
        assert {type(outcome) for outcome in outcomes} == {AuditUnavailable}
        failure = outcomes[0]
        assert isinstance(failure, Unavailable)
        assert (failure.reason, failure.metadata) == ("AUDIT_UNAVAILABLE", {"cause": "UNAVAILABLE"})
        log.error = None
        await sink.record(event("after"))
    assert log.details[-1] == "after"


async def test_a_log_that_does_not_answer_in_time_is_unavailable() -> None:
    async with audit_log(timeout_seconds=0.1) as (log, sink):
        log.go.clear()
        with pytest.raises(AuditUnavailable) as caught:
            await sink.record(event())
    assert caught.value.metadata == {"cause": "DEADLINE_EXCEEDED"}


async def test_the_event_of_a_caller_that_goes_away_is_kept() -> None:
    async with audit_log() as (log, sink):
        task = asyncio.create_task(sink.record(event("gone")))
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await sink.close()
    assert log.details == ["gone"]


async def test_an_event_without_tenant_is_a_mistake() -> None:
    async with audit_log() as (log, sink):
        with pytest.raises(ValueError, match="has no tenant"):
            await sink.record(event(tenant=""))
        await sink.record()
    assert log.calls == []


async def test_the_memory_sink_keeps_events() -> None:
    sink = MemoryAuditSink()
    await sink.record(event("one"), event("two"))
    assert [kept.detail for kept in sink.events] == ["one", "two"]
