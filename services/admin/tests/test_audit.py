from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime

import grpc
import pytest
from sqlalchemy import Executable, delete, update

from atrium.admin.v1 import admin_pb2, identity_service_pb2, identity_service_pb2_grpc
from atrium.admin.v1 import admin_service_pb2 as pb
from atrium_admin.adapters.sql_audit_lines import SqlAuditLines
from atrium_admin.adapters.tables import audit_lines
from atrium_shared.audit import AuditEvent, Decision

from .house import House, refused

Event = admin_pb2.AuditEvent


def entry(
    number: int, tenant: str = "acme", **fields: object
) -> identity_service_pb2.AppendAuditEventsRequest.Entry:
    values = {
        "actor": "users/portal",
        "on_behalf_of": "users/lin",
        "action": "knowledge.Ask",
        "resource": f"collections/c{number}",
        "decision": Event.ALLOWED,
    }
    return identity_service_pb2.AppendAuditEventsRequest.Entry(
        tenant=tenant,
        event=Event(**{**values, **fields}),  # type: ignore[arg-type]
    )


async def append(
    house: House, *entries: identity_service_pb2.AppendAuditEventsRequest.Entry
) -> None:
    await house.identity().AppendAuditEvents(
        identity_service_pb2.AppendAuditEventsRequest(entries=entries)
    )


async def list_events(house: House, **fields: object) -> list[Event]:
    response = await house.admin().ListAuditEvents(pb.ListAuditEventsRequest(**fields))
    return list(response.events)


async def test_every_call_of_the_admin_service_leaves_a_line(house: House) -> None:
    admin = house.admin()
    await admin.CreateUser(pb.CreateUserRequest(user_id="lin", user={"email": ""}))
    await admin.GetUser(pb.GetUserRequest(name="users/lin"))
    await refused(admin.GetUser(pb.GetUserRequest(name="users/absent")))
    await refused(admin.DeleteUser(pb.DeleteUserRequest(name="users/admin")))
    lin = house.admin(await house.key_of("lin"))
    await refused(lin.ListUsers(pb.ListUsersRequest()))
    lines = [
        (
            event.actor,
            event.action,
            event.resource,
            Event.Decision.Name(event.decision),
            event.detail,
        )
        for event in reversed(await list_events(house))
    ]
    assert lines == [
        ("services/suite", "admin.Bootstrap", "tenants/acme", "ALLOWED", ""),
        ("users/admin", "admin.CreateUser", "users/lin", "ALLOWED", ""),
        ("users/admin", "admin.GetUser", "users/lin", "ALLOWED", ""),
        ("users/admin", "admin.GetUser", "users/absent", "NOT_FOUND", "USER_NOT_FOUND"),
        ("users/admin", "admin.DeleteUser", "users/admin", "FAILED", "LAST_ADMIN"),
        ("users/admin", "admin.CreateApiKey", "users/lin", "ALLOWED", ""),
        ("users/lin", "admin.ListUsers", "admin.users", "DENIED", "PERMISSION_DENIED"),
    ]


async def test_sequences_have_no_gaps_and_the_chain_is_whole(house: House) -> None:
    await append(house, *(entry(number) for number in range(20)))
    events = await list_events(house)
    assert [event.sequence for event in events] == list(range(21, 0, -1))
    assert all(len(event.hash) == 32 for event in events)
    verdict = await house.admin().VerifyAuditLog(pb.VerifyAuditLogRequest())
    # Reading the log is in the log too.
    assert (verdict.events, verdict.intact, verdict.first_broken_sequence) == (22, True, 0)


LINES = audit_lines


def changed(sequence: int, **values: object) -> Executable:
    return update(LINES).where(LINES.c.sequence == sequence).values(**values)


@pytest.mark.parametrize(
    ("tampering", "first_broken"),
    [
        (changed(7, resource="collections/other"), 7),
        (changed(1, decision="denied"), 1),
        (changed(3, time=datetime(2031, 1, 1, tzinfo=UTC)), 3),
        (changed(21, hash=bytes(32)), 21),
        (delete(LINES).where(LINES.c.sequence == 5), 5),
        (delete(LINES).where(LINES.c.sequence > 15), 16),
        (delete(LINES), 1),
    ],
)
async def test_whoever_changes_the_table_is_found_at_the_first_line(
    house: House, tampering: Executable, first_broken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atrium_admin.app.read_audit_log._LINES_AT_ONCE", 4)
    await append(house, *(entry(number) for number in range(20)))
    await house.tamper(tampering)
    verdict = await house.admin().VerifyAuditLog(pb.VerifyAuditLogRequest())
    assert not verdict.intact
    assert verdict.first_broken_sequence == first_broken
    assert verdict.events == 21


async def test_logs_of_tenants_are_apart(house: House) -> None:
    other = house.admin(await house.second_tenant())
    await append(house, entry(1), entry(2, tenant="globex"), entry(3))
    theirs = await other.ListAuditEvents(pb.ListAuditEventsRequest(action="knowledge.Ask"))
    assert [event.resource for event in theirs.events] == ["collections/c2"]
    ours = await list_events(house, action="knowledge.Ask")
    assert [event.resource for event in ours] == ["collections/c3", "collections/c1"]
    assert (await other.VerifyAuditLog(pb.VerifyAuditLogRequest())).intact


async def test_events_of_a_time_a_user_and_an_action_are_found(house: House) -> None:
    start = house.clock.now()
    await append(house, entry(1))
    house.clock.advance(10)
    middle = house.clock.now()
    await append(
        house,
        entry(2, actor="users/lin", on_behalf_of=""),
        entry(3, actor="users/kim", on_behalf_of=""),
    )
    house.clock.advance(10)
    await append(house, entry(4, action="knowledge.Search"))

    async def found(**fields: object) -> list[str]:
        events = await list_events(house, **fields)
        return [event.resource for event in events if event.resource.startswith("coll")]

    assert await found(user="users/lin") == ["collections/c4", "collections/c2", "collections/c1"]
    assert await found(user="users/kim") == ["collections/c3"]
    assert await found(action="knowledge.Search") == ["collections/c4"]
    assert await found(start_time=middle) == [f"collections/c{n}" for n in (4, 3, 2)]
    assert await found(start_time=start, end_time=middle) == ["collections/c1"]
    assert await found(start_time=middle, user="users/lin", action="knowledge.Ask") == [
        "collections/c2"
    ]


async def test_events_come_in_pages_while_the_log_grows(house: House) -> None:
    await append(house, *(entry(number) for number in range(7)))
    resources, token = [], ""
    while True:
        page = await house.admin().ListAuditEvents(
            pb.ListAuditEventsRequest(action="knowledge.Ask", page_size=3, page_token=token)
        )
        resources += [event.resource for event in page.events]
        token = page.next_page_token
        if not token:
            break
        await append(house, entry(99))
    assert resources == [f"collections/c{number}" for number in range(6, -1, -1)]


async def test_an_event_of_an_unknown_tenant_refuses_them_all(house: House) -> None:
    failure = await refused(append(house, entry(1), entry(2, tenant="absent")))
    assert failure.code is grpc.StatusCode.NOT_FOUND
    assert (failure.reason, failure.field) == ("TENANT_NOT_FOUND", "entries[1].tenant")
    assert not await list_events(house, action="knowledge.Ask")


async def test_an_event_without_a_decision_is_refused_with_its_place(house: House) -> None:
    failure = await refused(append(house, entry(1), entry(2, decision=Event.DECISION_UNSPECIFIED)))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (failure.reason, failure.field) == ("FIELD_INVALID", "entries[1].event.decision")
    assert not await list_events(house, action="knowledge.Ask")


async def test_only_services_append(house: House) -> None:
    stub = identity_service_pb2_grpc.IdentityServiceStub(house.server.open_channel(house.key))
    request = identity_service_pb2.AppendAuditEventsRequest(entries=[entry(1)])
    failure = await refused(stub.AppendAuditEvents(request))
    assert (failure.code, failure.reason) == (grpc.StatusCode.PERMISSION_DENIED, "SERVICE_ONLY")


async def test_no_field_takes_a_document(house: House) -> None:
    document = "秘" * 10_000
    await append(house, entry(1, resource=document, detail=f"two\nlines {document}"))
    (event,) = await list_events(house, action="knowledge.Ask")
    assert len(event.resource) == 512
    assert len(event.detail) == 256
    assert "\n" not in event.detail
    assert (await house.admin().VerifyAuditLog(pb.VerifyAuditLogRequest())).intact


async def test_appends_that_come_at_once_share_transactions(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: Counter[str] = Counter()
    appended = SqlAuditLines.append

    async def counting(self: SqlAuditLines, tenant: str, events: list[object]) -> None:
        commits[tenant] += 1
        await appended(self, tenant, events)  # type: ignore[arg-type]

    monkeypatch.setattr(SqlAuditLines, "append", counting)
    sink = house.app.audit
    event = AuditEvent(
        tenant="acme",
        actor="users/lin",
        on_behalf_of=None,
        action="knowledge.Ask",
        resource="collections/c",
        decision=Decision.ALLOWED,
    )
    # From then on the log knows the tenant: nobody waits for a connection to look it up.
    await sink.record(event)
    commits.clear()
    await asyncio.gather(*(sink.record(event) for _ in range(200)))
    assert commits["acme"] <= 3
    assert len(await list_events(house, action="knowledge.Ask", page_size=1000)) == 201
    assert (await house.admin().VerifyAuditLog(pb.VerifyAuditLogRequest())).intact


async def test_an_unknown_tenant_fails_alone_among_appends_that_come_at_once(
    house: House,
) -> None:
    sink = house.app.audit

    def event(tenant: str) -> AuditEvent:
        return AuditEvent(
            tenant=tenant,
            actor="users/lin",
            on_behalf_of=None,
            action="knowledge.Ask",
            resource="",
            decision=Decision.REFUSED,
        )

    results = await asyncio.gather(
        *(sink.record(event(tenant)) for tenant in ("acme", "absent", "acme")),
        return_exceptions=True,
    )
    assert [getattr(result, "reason", None) for result in results] == [
        None,
        "TENANT_NOT_FOUND",
        None,
    ]
    assert len(await list_events(house, action="knowledge.Ask")) == 2


async def test_a_full_queue_takes_nothing(house: House) -> None:
    log = house.app.audit._log  # the queue's bound has no other handle
    log._max_waiting = 2
    failure = await refused(append(house, entry(1), entry(2), entry(3)))
    assert failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert failure.reason == "AUDIT_QUEUE_FULL"
    assert failure.metadata == {"limit": "2"}
    assert not await list_events(house, action="knowledge.Ask")
