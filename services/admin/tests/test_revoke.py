"""What is revoked is gone everywhere when the call returns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

import grpc
import pytest
from sqlalchemy import update

from atrium.admin.v1 import admin_pb2
from atrium.admin.v1 import admin_service_pb2 as pb
from atrium.admin.v1 import identity_service_pb2 as ids
from atrium_admin.adapters.tables import policy_replicas
from atrium_admin.app.ports import ReplicaLease
from atrium_admin.bootstrap import build
from atrium_admin.domain.errors import PolicyVersionAhead
from atrium_shared.errors import Unauthenticated
from atrium_shared.testing import eventually

from .house import House, refused, settings_for

LABEL = admin_pb2.Grant(resource="labels/hr/pay", action="read")
OTHER = admin_pb2.Grant(resource="labels/hr/leave", action="read")


async def make_people(house: House) -> None:
    """Make lin, who is HR partner directly and mei, who is so through a group."""
    admin = house.admin()
    role = admin_pb2.Role(grants=[LABEL, OTHER])
    await admin.CreateRole(pb.CreateRoleRequest(role_id="partner", role=role))
    chief = admin_pb2.Role(inherits=["roles/partner"])
    await admin.CreateRole(pb.CreateRoleRequest(role_id="chief", role=chief))
    for name, roles in (("lin", ["roles/member", "roles/partner"]), ("mei", [])):
        user = admin_pb2.User(roles=roles)
        await admin.CreateUser(pb.CreateUserRequest(user_id=name, user=user))
    group = {"members": ["users/mei"], "roles": ["roles/chief"]}
    await admin.CreateGroup(pb.CreateGroupRequest(group_id="hr", group=group))


async def may_read_pay(house: House, user: str) -> bool:
    request = pb.TestPermissionRequest(user=user, resource="labels/hr/pay", action="read")
    return bool((await house.admin().TestPermission(request)).allowed)


def revoke(house: House, **target: Any) -> Any:
    return house.admin().Revoke(pb.RevokeRequest(**target))


@asynccontextmanager
async def replica(house: House, name: str) -> AsyncIterator[int]:
    """Watch, and yield the version heard first."""
    stream = house.identity().WatchPolicies(ids.WatchPoliciesRequest(replica=name))
    yield (await stream.read()).version
    stream.cancel()


async def committed(house: House, version: int) -> None:
    """Wait until a change is on its way to the replicas, and whoever made it waits for them."""
    book = house.app.feed._leases
    look, looked = book._look, asyncio.Event()

    async def look_and_tell() -> list[ReplicaLease]:
        leases = await look()
        looked.set()
        return leases

    with patch.object(book, "_look", look_and_tell):
        await eventually(lambda: house.app.feed._version >= version)
        await asyncio.wait_for(looked.wait(), 5)


async def acknowledge(house: House, name: str, version: int, **fields: Any) -> float:
    request = ids.AcknowledgePoliciesRequest(replica=name, version=version, **fields)
    return float((await house.identity().AcknowledgePolicies(request)).lease.ToMilliseconds()) / 1e3


# What is taken


async def test_a_role_of_a_user_is_taken(house: House) -> None:
    await make_people(house)
    answer = await revoke(house, user_role={"user": "users/lin", "role": "roles/partner"})
    assert not await may_read_pay(house, "users/lin")
    assert list(answer.still_through) == []
    user = await house.admin().GetUser(pb.GetUserRequest(name="users/lin"))
    assert list(user.roles) == ["roles/member"]
    # One process: it says by itself that it applied the change.
    assert len(answer.acknowledged) == 1
    assert answer.acknowledged[0].startswith("admin@")
    assert not answer.lapsed


async def test_the_last_role_of_a_user_leaves_none(house: House) -> None:
    await make_people(house)
    await revoke(house, user_role={"user": "users/mei", "role": "roles/member"})
    user = await house.admin().GetUser(pb.GetUserRequest(name="users/mei"))
    assert list(user.roles) == []


async def test_where_a_role_is_still_held_from_is_said(house: House) -> None:
    await make_people(house)
    request = pb.UpdateGroupRequest(
        group={"name": "groups/hr", "members": ["users/lin"], "roles": ["roles/chief"]}
    )
    await house.admin().UpdateGroup(request)
    answer = await revoke(house, user_role={"user": "users/lin", "role": "roles/partner"})
    assert list(answer.still_through) == ["groups/hr"]
    assert await may_read_pay(house, "users/lin")


async def test_a_membership_is_taken(house: House) -> None:
    await make_people(house)
    await revoke(house, membership={"user": "users/mei", "group": "groups/hr"})
    assert not await may_read_pay(house, "users/mei")


async def test_everything_of_a_user_is_taken(house: House) -> None:
    await make_people(house)
    for name in ("lin", "mei"):
        key = await house.key_of(name)
        await revoke(house, everything_of=f"users/{name}")
        user = await house.admin().GetUser(pb.GetUserRequest(name=f"users/{name}"))
        assert list(user.roles) == []
        assert not await may_read_pay(house, f"users/{name}")
        failure = await refused(house.admin(key).GetUser(pb.GetUserRequest(name="users/x")))
        assert failure.reason == "API_KEY_REVOKED"
        await revoke(house, everything_of=f"users/{name}")  # again is no error


async def test_a_key_is_ended_and_the_decision_that_was_remembered_goes(house: House) -> None:
    await make_people(house)
    key = await house.key_of("lin")
    await house.app.authenticator.authenticate(key, None)
    name = f"apiKeys/{key.split('_')[1]}"
    for _ in range(2):  # again is no error
        answer = await revoke(house, api_key=name)
        assert answer.version > 0
        with pytest.raises(Unauthenticated):
            await house.app.authenticator.authenticate(key, None)


async def test_grants_of_a_role_are_taken_from_all_who_hold_it(house: House) -> None:
    await make_people(house)
    await revoke(house, role_grants={"role": "roles/partner", "grants": [LABEL]})
    assert not await may_read_pay(house, "users/lin")
    assert not await may_read_pay(house, "users/mei")
    role = await house.admin().GetRole(pb.GetRoleRequest(name="roles/partner"))
    assert [grant.resource for grant in role.grants] == [OTHER.resource]


async def test_it_is_written_down_with_what_was_taken(house: House) -> None:
    await make_people(house)
    await revoke(house, user_role={"user": "users/lin", "role": "roles/partner"})
    await refused(revoke(house, user_role={"user": "users/lin", "role": "roles/partner"}))
    listed = await house.admin().ListAuditEvents(pb.ListAuditEventsRequest(action="admin.Revoke"))
    assert [(event.decision, event.detail) for event in listed.events] == [
        (admin_pb2.AuditEvent.FAILED, "NOT_HELD"),
        (admin_pb2.AuditEvent.ALLOWED, "roles/partner"),
    ]
    assert {event.resource for event in listed.events} == {"users/lin"}


# What cannot be taken


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ({"user_role": {"user": "users/x", "role": "roles/partner"}}, "USER_NOT_FOUND"),
        ({"user_role": {"user": "users/lin", "role": "roles/x"}}, "ROLE_NOT_FOUND"),
        ({"membership": {"user": "users/x", "group": "groups/hr"}}, "USER_NOT_FOUND"),
        ({"membership": {"user": "users/lin", "group": "groups/x"}}, "GROUP_NOT_FOUND"),
        ({"everything_of": "users/x"}, "USER_NOT_FOUND"),
        ({"everything_of": "users/a/b"}, "USER_NOT_FOUND"),
        ({"api_key": "apiKeys/x"}, "API_KEY_NOT_FOUND"),
        ({"role_grants": {"role": "roles/x", "grants": [LABEL]}}, "ROLE_NOT_FOUND"),
    ],
)
async def test_what_does_not_exist_is_named(
    house: House, target: dict[str, Any], reason: str
) -> None:
    await make_people(house)
    failure = await refused(revoke(house, **target))
    assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, reason)
    (value,) = failure.metadata.values()
    assert value in str(target)


async def test_what_is_of_another_tenant_does_not_exist(house: House) -> None:
    await make_people(house)
    key = await house.key_of("lin")
    other = house.admin(await house.second_tenant())
    for target in (
        {"everything_of": "users/lin"},
        {"api_key": f"apiKeys/{key.split('_')[1]}"},
        {"role_grants": {"role": "roles/partner", "grants": [LABEL]}},
    ):
        failure = await refused(other.Revoke(pb.RevokeRequest(**target)))
        assert failure.code is grpc.StatusCode.NOT_FOUND
    assert await may_read_pay(house, "users/lin")


@pytest.mark.parametrize(
    ("target", "metadata"),
    [
        (
            {"user_role": {"user": "users/mei", "role": "roles/partner"}},
            {"holder": "users/mei", "held": "roles/partner", "through": "groups/hr"},
        ),
        (
            {"membership": {"user": "users/lin", "group": "groups/hr"}},
            {"holder": "users/lin", "held": "groups/hr", "through": ""},
        ),
        (
            {"role_grants": {"role": "roles/chief", "grants": [LABEL]}},
            {"holder": "roles/chief", "held": "allow labels/hr/pay:read", "through": ""},
        ),
    ],
)
async def test_what_is_not_held_directly_is_not_taken(
    house: House, target: dict[str, Any], metadata: dict[str, str]
) -> None:
    await make_people(house)
    failure = await refused(revoke(house, **target))
    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NOT_HELD")
    assert failure.metadata == metadata


@pytest.mark.parametrize(
    "target",
    [
        {"user_role": {"user": "users/admin", "role": "roles/admin"}},
        {"everything_of": "users/admin"},
    ],
)
async def test_the_last_administrator_stays_one(house: House, target: dict[str, Any]) -> None:
    failure = await refused(revoke(house, **target))
    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "LAST_ADMIN")
    user = await house.admin().GetUser(pb.GetUserRequest(name="users/admin"))
    assert list(user.roles) == ["roles/admin"]


async def test_a_built_in_role_keeps_its_grants(house: House) -> None:
    grant = admin_pb2.Grant(resource="knowledge.answers", action="ask")
    failure = await refused(revoke(house, role_grants={"role": "roles/member", "grants": [grant]}))
    assert failure.reason == "ROLE_BUILT_IN"


async def test_nothing_named_is_refused(house: House) -> None:
    failure = await refused(revoke(house))
    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")


@pytest.mark.parametrize(
    ("target", "permission"),
    [
        ({"everything_of": "users/lin"}, "admin.users:manage"),
        ({"api_key": "apiKeys/x"}, "admin.keys:manage"),
        ({"role_grants": {"role": "roles/partner", "grants": [LABEL]}}, "admin.roles:manage"),
    ],
)
async def test_who_may_not_manage_may_not_revoke(
    house: House, target: dict[str, Any], permission: str
) -> None:
    await make_people(house)
    key = await house.key_of("mei")
    failure = await refused(house.admin(key).Revoke(pb.RevokeRequest(**target)))
    assert (failure.code, failure.reason) == (
        grpc.StatusCode.PERMISSION_DENIED,
        "PERMISSION_DENIED",
    )
    assert failure.metadata["permission"] == permission


# When it holds


async def test_it_returns_when_every_replica_has_acknowledged(house: House) -> None:
    await make_people(house)
    async with replica(house, "k1") as version, replica(house, "k2"):
        revoking = asyncio.ensure_future(
            revoke(house, user_role={"user": "users/lin", "role": "roles/partner"})
        )
        await committed(house, version + 1)
        assert await acknowledge(house, "k1", version + 1) == 5.0
        await asyncio.sleep(0.1)
        assert not revoking.done()
        await acknowledge(house, "k2", version + 1)
        answer = await asyncio.wait_for(revoking, 2)
    assert answer.version == version + 1
    assert list(answer.acknowledged)[1:] == ["k1", "k2"]
    assert not answer.lapsed


async def test_a_replica_that_does_not_answer_is_named_when_its_lease_has_run_out(
    house: House,
) -> None:
    await make_people(house)
    async with replica(house, "k1") as version, replica(house, "k2"):
        revoking = asyncio.ensure_future(
            revoke(house, user_role={"user": "users/lin", "role": "roles/partner"})
        )
        await committed(house, version + 1)
        await acknowledge(house, "k1", version + 1)
        house.clock.advance(5.9)  # clocks may differ by a second
        await asyncio.sleep(0.2)
        assert not revoking.done()
        house.clock.advance(0.2)
        answer = await asyncio.wait_for(revoking, 2)
        assert "k1" in answer.acknowledged
        assert list(answer.lapsed) == ["k2"]
        # Nobody waited for it, so it must begin anew.
        failure = await refused(acknowledge(house, "k2", version + 1))
        assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, "REPLICA_UNKNOWN")
        assert failure.metadata == {"replica": "k2"}


async def test_renewing_without_catching_up_does_not_hold_a_revocation_up(house: House) -> None:
    await make_people(house)
    async with replica(house, "k1") as version:
        revoking = asyncio.ensure_future(
            revoke(house, user_role={"user": "users/lin", "role": "roles/partner"})
        )
        await committed(house, version + 1)
        house.clock.advance(3)
        assert await acknowledge(house, "k1", version) == 2.0
        house.clock.advance(2)
        assert await acknowledge(house, "k1", version) == 0.0
        house.clock.advance(1.1)
        answer = await asyncio.wait_for(revoking, 2)
    assert list(answer.lapsed) == ["k1"]


async def test_a_replica_that_left_is_not_waited_for(house: House) -> None:
    await make_people(house)
    async with replica(house, "k1") as version:
        revoking = asyncio.ensure_future(
            revoke(house, user_role={"user": "users/lin", "role": "roles/partner"})
        )
        await committed(house, version + 1)
        assert not revoking.done()
        await acknowledge(house, "k1", 0, leaving=True)
        answer = await asyncio.wait_for(revoking, 2)
        assert "k1" in answer.acknowledged
        answer = await revoke(house, membership={"user": "users/mei", "group": "groups/hr"})
        assert "k1" not in (*answer.acknowledged, *answer.lapsed)
        failure = await refused(acknowledge(house, "k1", version))
        assert failure.reason == "REPLICA_UNKNOWN"


async def test_another_admin_process_applies_it_too_before_it_returns(house: House) -> None:
    await make_people(house)
    key = await house.key_of("lin")
    other = build(settings_for(house.database_url), clock=house.clock)
    await other.service_app.start()
    try:
        assert (await other.authenticator.authenticate(key, None)).may("labels/hr/pay:read")
        answer = await revoke(house, user_role={"user": "users/lin", "role": "roles/partner"})
        assert not (await other.authenticator.authenticate(key, None)).may("labels/hr/pay:read")
        assert len(answer.acknowledged) == 2
        assert not answer.lapsed
    finally:
        await other.service_app.stop()


async def test_a_replica_may_acknowledge_through_another_admin_process(house: House) -> None:
    await make_people(house)
    other = build(settings_for(house.database_url), clock=house.clock)
    await other.service_app.start()
    try:
        async with replica(house, "k1") as version:
            revoking = asyncio.ensure_future(
                revoke(house, user_role={"user": "users/lin", "role": "roles/partner"})
            )
            await committed(house, version + 1)
            assert not revoking.done()
            await other.feed.acknowledge("k1", version + 1)
            answer = await asyncio.wait_for(revoking, 2)
            assert "k1" in answer.acknowledged
    finally:
        await other.service_app.stop()


async def test_it_waits_for_the_open_streams_of_its_own_process(house: House) -> None:
    # As in the suite, where every service runs in the process of admin.
    await make_people(house)
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    heard: list[frozenset[str]] = []

    def end_streams(tenant: str, users: frozenset[str]) -> asyncio.Future[None]:
        heard.append(users)
        return ended

    house.app.authenticator.on_change(end_streams)
    revoking = asyncio.ensure_future(
        revoke(house, user_role={"user": "users/lin", "role": "roles/partner"})
    )
    await eventually(lambda: bool(heard))
    await asyncio.sleep(0.1)
    assert heard == [frozenset({"users/lin"})]
    assert not revoking.done()
    ended.set_result(None)
    answer = await asyncio.wait_for(revoking, 2)
    assert not answer.lapsed


async def _do_nothing() -> None:
    return None


async def test_without_a_lease_a_process_asks_the_directory_and_looks_at_its_streams_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_people(house)
    key = await house.key_of("lin")
    other = build(settings_for(house.database_url), clock=house.clock)
    await other.service_app.start()
    heard: list[tuple[str, frozenset[str]]] = []
    try:
        authenticate = other.authenticator.authenticate
        assert await authenticate(key, None) is await authenticate(key, None)
        other.authenticator.on_change(lambda tenant, users: heard.append((tenant, users)))
        monkeypatch.setattr(other.feed, "_renew_lease", _do_nothing)
        await asyncio.sleep(0.1)
        house.clock.advance(5.1)
        assert await authenticate(key, None) is not await authenticate(key, None)
        await eventually(lambda: bool(heard))
        assert heard == [("", frozenset())]
    finally:
        await other.service_app.stop()


async def test_a_process_that_was_not_waited_for_begins_anew(house: House) -> None:
    await make_people(house)
    other = build(settings_for(house.database_url), clock=house.clock)
    await other.service_app.start()
    heard: list[tuple[str, frozenset[str]]] = []
    try:
        other.authenticator.on_change(lambda tenant, users: heard.append((tenant, users)))
        await house.tamper(update(policy_replicas).values(ended=True))
        await other.feed.wait_until_held(None)
        # Twice where it was slow to say that it lives again.
        assert set(heard) == {("", frozenset())}
        assert other.feed.is_current
    finally:
        await other.service_app.stop()


# Bad acknowledgements


async def test_a_replica_that_watches_nothing_is_unknown(house: House) -> None:
    failure = await refused(acknowledge(house, "nobody", 0))
    assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, "REPLICA_UNKNOWN")
    assert failure.metadata == {"replica": "nobody"}
    assert await acknowledge(house, "nobody", 0, leaving=True) == 0.0


async def test_what_has_not_happened_cannot_be_acknowledged(house: House) -> None:
    async with replica(house, "k1") as version:
        failure = await refused(acknowledge(house, "k1", version + 1))
        assert (failure.code, failure.reason) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            PolicyVersionAhead.reason,
        )
        assert failure.metadata == {
            "replica": "k1",
            "version": str(version + 1),
            "newest": str(version),
        }
        assert failure.field == "version"
        assert await acknowledge(house, "k1", version) == 5.0


@pytest.mark.parametrize("fields", [{"replica": ""}, {"replica": "k" * 129}, {"version": -1}])
async def test_a_malformed_acknowledgement_is_refused(house: House, fields: dict[str, Any]) -> None:
    request = ids.AcknowledgePoliciesRequest(**{"replica": "k1", **fields})
    failure = await refused(house.identity().AcknowledgePolicies(request))
    assert failure.reason == "FIELD_INVALID"


# Who hears of it


async def test_a_change_of_a_role_names_its_few_holders(house: House) -> None:
    await make_people(house)
    stream = house.identity().WatchPolicies(ids.WatchPoliciesRequest(replica="k1"))
    await stream.read()
    request = pb.UpdateRoleRequest(role=admin_pb2.Role(name="roles/partner", grants=[OTHER]))
    await house.admin().UpdateRole(request)
    message = await asyncio.wait_for(stream.read(), 5)
    while not message.tenant:
        message = await asyncio.wait_for(stream.read(), 5)
    # Directly, and through a group whose role inherits it.
    assert list(message.users) == ["users/lin", "users/mei"]
    stream.cancel()
