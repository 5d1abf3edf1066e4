from __future__ import annotations

from typing import Any

import grpc
import pytest
from sqlalchemy import select, text, update

from atrium.admin.v1 import admin_pb2, audit_service_pb2, identity_service_pb2
from atrium.admin.v1 import admin_service_pb2 as pb
from atrium_admin.adapters import tables
from atrium_admin.rpc.method_permissions import ProtoMethodPermissions

from .conftest import POSTGRES
from .house import House, refused

Event = admin_pb2.AuditEvent


async def append(house: House, **fields: Any) -> int:
    """Append an event and return its sequence."""
    values = {
        "actor": "users/portal",
        "on_behalf_of": "users/lin",
        "action": "knowledge.Ask",
        "resource": "collections/handbook",
        "decision": Event.ALLOWED,
    }
    entry = identity_service_pb2.AppendAuditEventsRequest.Entry(
        tenant="acme", event=Event(**{**values, **fields})
    )
    await house.identity().AppendAuditEvents(
        identity_service_pb2.AppendAuditEventsRequest(entries=[entry])
    )
    (row,) = await house.tamper(
        select(tables.audit_heads.c.sequence).where(tables.audit_heads.c.tenant_id == "acme")
    )
    return int(row.sequence)


async def search(house: House, **fields: Any) -> audit_service_pb2.SearchAuditEventsResponse:
    found: audit_service_pb2.SearchAuditEventsResponse = await house.auditing().SearchAuditEvents(
        audit_service_pb2.SearchAuditEventsRequest(**fields)
    )
    return found


async def found(house: House, **fields: Any) -> list[int]:
    return [event.sequence for event in (await search(house, **fields)).events]


async def test_each_filter_finds_its_events_and_all_together_hold(house: House) -> None:
    start = house.clock.now()
    one = await append(house)
    house.clock.advance(60)
    middle = house.clock.now()
    two = await append(house, decision=Event.DENIED, detail="PERMISSION_DENIED", policy_version=7)
    three = await append(house, actor="users/lin", on_behalf_of="", action="knowledge.Search")
    four = await append(house, on_behalf_of="users/kim", resource="collections/handball")
    house.clock.advance(60)
    asked = {"action": "knowledge.Ask"}
    assert await found(house, **asked) == [four, two, one]
    assert await found(house, start_time=start, end_time=middle, **asked) == [one]
    assert await found(house, start_time=middle, **asked) == [four, two]
    assert await found(house, user="users/lin") == [three, two, one]
    assert await found(house, user="users/kim") == [four]
    assert await found(house, resource_prefix="collections/hand") == [four, three, two, one]
    assert await found(house, resource_prefix="collections/handbo") == [three, two, one]
    assert await found(house, resource_prefix="COLLECTIONS") == []
    assert await found(house, resource_prefix="collections/%") == []
    assert await found(house, decision=Event.DENIED) == [two]
    assert await found(house, detail="PERMISSION_DENIED") == [two]
    assert await found(house, policy_version=7) == [two]
    assert await found(house, user="users/lin", decision=Event.DENIED, policy_version=8) == []


async def test_names_of_users_are_found_by_their_beginnings(house: House) -> None:
    lin = await append(house, resource="users/lin")
    linda = await append(house, resource="users/linda")
    kim = await append(house, resource="users/kim")
    other = await append(house, resource="users/lin/devices")
    assert await found(house, resource_prefix="users/lin") == [other, linda, lin]
    assert await found(house, resource_prefix="users/linda") == [linda]
    assert await found(house, resource_prefix="use") == [other, kim, linda, lin]
    shown = (await search(house, resource_prefix="users/linda")).events
    assert [event.resource for event in shown] == ["users/linda"]


async def test_events_of_an_erased_user_are_found_by_the_new_name(house: House) -> None:
    await house.admin().CreateUser(pb.CreateUserRequest(user_id="lin", user={"email": ""}))
    sequence = await append(house, resource="users/lin")
    erased = await house.auditing().EraseUser(audit_service_pb2.EraseUserRequest(name="users/lin"))
    name = erased.erased_name
    assert sequence in await found(house, user=name)
    assert sequence in await found(house, resource_prefix=name[:20])
    assert await found(house, resource_prefix="users/lin") == []
    assert await found(house, user="users/lin") == []


async def test_events_are_found_in_pages_and_a_token_serves_its_own_search_alone(
    house: House,
) -> None:
    sequences = [await append(house) for _ in range(5)]
    first = await search(house, action="knowledge.Ask", page_size=2)
    await append(house)
    token = first.next_page_token
    second = await search(house, action="knowledge.Ask", page_size=5, page_token=token)
    both = [*first.events, *second.events]
    assert [event.sequence for event in both] == sequences[::-1]
    assert not second.next_page_token
    failure = await refused(search(house, action="knowledge.Search", page_token=token))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (failure.reason, failure.field) == ("PAGE_TOKEN_INVALID", "page_token")


@pytest.mark.skipif(bool(POSTGRES), reason="reads SQLite's plans")
@pytest.mark.parametrize(
    "condition",
    [
        "action = 'knowledge.Ask'",
        "decision = 'denied'",
        "detail = 'X'",
        "policy_version = 7",
        "resource >= 'coll' AND resource < 'colm'",
        "actor = 'users/~a'",
        "on_behalf_of = 'users/~a'",
        "time >= '2030-01-01'",
    ],
)
async def test_each_filter_has_an_index(house: House, condition: str) -> None:
    column = condition.split()[0]
    plan = await house.tamper(
        text(
            "EXPLAIN QUERY PLAN SELECT sequence FROM audit_lines "
            f"WHERE tenant_id = 'acme' AND ({condition})"
        )
    )
    assert f"audit_lines_by_{column}" in repr(plan)


# Replays of decisions


async def replay(house: House, sequence: int) -> audit_service_pb2.ReplayDecisionResponse:
    response: audit_service_pb2.ReplayDecisionResponse = await house.auditing().ReplayDecision(
        audit_service_pb2.ReplayDecisionRequest(sequence=sequence)
    )
    return response


async def make_user(house: House, user: str, *roles: str) -> None:
    names = [f"roles/{role}" for role in roles]
    await house.admin().CreateUser(
        pb.CreateUserRequest(user_id=user, user={"roles": names, "email": ""})
    )


async def set_roles(house: House, user: str, *roles: str) -> None:
    await house.admin().UpdateUser(
        pb.UpdateUserRequest(
            user={"name": f"users/{user}", "roles": [f"roles/{role}" for role in roles]},
            update_mask={"paths": ["roles"]},
        )
    )


def outcome(
    response: audit_service_pb2.ReplayDecisionResponse,
) -> tuple[tuple[bool, bool], tuple[bool, bool]]:
    return (
        (response.then.allowed, response.then.same),
        (response.now.allowed, response.now.same),
    )


async def test_a_denial_that_would_be_none_today_is_told(house: House) -> None:
    await make_user(house, "lin")
    key = await house.key_of("lin")
    await refused(house.admin(key).ListUsers(pb.ListUsersRequest()))
    (event,) = (await search(house, decision=Event.DENIED)).events
    house.clock.advance(60)
    assert outcome(await replay(house, event.sequence)) == ((False, True), (False, True))
    await set_roles(house, "lin", "admin")
    response = await replay(house, event.sequence)
    assert outcome(response) == ((False, True), (True, False))
    assert response.permission == "admin.users:read"
    assert response.event.actor == "users/lin"
    assert not response.then.matches
    assert [match.role for match in response.now.matches] == ["roles/admin"]
    assert response.now.policy_version == response.then.policy_version + 1


async def test_an_answer_on_behalf_of_a_user_needs_both_permissions(house: House) -> None:
    await make_user(house, "portal", "service")
    await make_user(house, "lin")
    version = (await replay_version(house)).policy_version
    answered = await append(house, policy_version=version, decision=Event.NOT_FOUND)
    house.clock.advance(60)
    assert outcome(await replay(house, answered)) == ((True, True), (True, True))
    await set_roles(house, "portal", "member")
    response = await replay(house, answered)
    assert outcome(response) == ((True, True), (False, False))
    assert (response.then.may_impersonate, response.now.may_impersonate) == (True, False)
    assert [match.grant.resource for match in response.now.matches] == ["knowledge.answers"]
    await set_roles(house, "portal", "service")
    await house.admin().DeleteUser(pb.DeleteUserRequest(name="users/lin"))
    assert outcome(await replay(house, answered)) == ((True, True), (False, False))
    await house.auditing().EraseUser(audit_service_pb2.EraseUserRequest(name="users/lin"))
    # The past of the erased is known under the name that they read under.
    assert outcome(await replay(house, answered))[0] == (True, True)


async def replay_version(house: House) -> audit_service_pb2.ListReadersResponse:
    found: audit_service_pb2.ListReadersResponse = await house.auditing().ListReaders(
        audit_service_pb2.ListReadersRequest()
    )
    return found


async def test_without_a_version_the_time_of_the_event_decides(house: House) -> None:
    await make_user(house, "lin")
    sequence = await append(house, actor="users/lin", on_behalf_of="")
    house.clock.advance(60)
    await set_roles(house, "lin", "service")
    response = await replay(house, sequence)
    assert outcome(response) == ((True, True), (True, True))
    assert response.then.policy_version == 2
    assert response.now.policy_version == 3


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"action": "meeting.Dance"}, "'meeting.Dance' asks for no permission"),
        ({"actor": "services/knowledge"}, "done by 'services/knowledge', which is no user"),
        ({"decision": Event.DENIED, "detail": "NOT_OPERATOR"}, "another reason, 'NOT_OPERATOR'"),
    ],
)
async def test_what_roles_did_not_decide_cannot_be_replayed(
    house: House, fields: dict[str, Any], problem: str
) -> None:
    sequence = await append(house, **fields)
    failure = await refused(replay(house, sequence))
    assert failure.code is grpc.StatusCode.FAILED_PRECONDITION
    assert failure.reason == "DECISION_NOT_REPLAYABLE"
    assert failure.metadata["sequence"] == str(sequence)
    assert problem in failure.metadata["problem"]


async def test_an_event_that_is_not_there_cannot_be_replayed(house: House) -> None:
    failure = await refused(replay(house, 999))
    assert failure.code is grpc.StatusCode.NOT_FOUND
    assert (failure.reason, failure.field) == ("AUDIT_EVENT_NOT_FOUND", "sequence")
    assert failure.metadata == {"sequence": "999"}


async def test_an_event_from_before_the_history_cannot_be_replayed(house: House) -> None:
    await make_user(house, "portal", "service")
    await make_user(house, "lin")
    sequence = await append(house, policy_version=1)
    await house.tamper(
        update(tables.policy_versions)
        .where(tables.policy_versions.c.version == 1)
        .values(version=2_000)
    )
    failure = await refused(replay(house, sequence))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.reason == "READ_TIME_BEFORE_HISTORY"
    assert failure.metadata["wanted"] == "version 1"


def test_the_permission_of_every_method_is_known() -> None:
    permissions = ProtoMethodPermissions()
    assert permissions.of("knowledge.Ask") == "knowledge.answers:ask"
    assert permissions.of("admin.ListUsers") == "admin.users:read"
    assert permissions.of("gateway.Generate") == "gateway.models:use"
    assert permissions.of("admin.Bootstrap") is None
