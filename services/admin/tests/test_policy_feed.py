from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import grpc
import pytest
from sqlalchemy import insert

from atrium.admin.v1 import admin_pb2
from atrium.admin.v1 import admin_service_pb2 as pb
from atrium.admin.v1 import identity_service_pb2 as ids
from atrium_admin.adapters.tables import policy_changes
from atrium_admin.app.policy_feed import PolicyFeed
from atrium_admin.app.policy_leases import PolicyLeaseBook
from atrium_admin.app.ports import PolicyChange, ReplicaLease
from atrium_admin.domain.errors import WatcherTooSlow
from atrium_shared.testing import FixedClock

from .house import House, failure_of


async def next_change(stream: Any) -> ids.WatchPoliciesResponse:
    while True:
        message = await asyncio.wait_for(stream.read(), 5)
        if message.tenant:
            return message


async def read_to_the_end(stream: Any) -> None:
    while await stream.read() is not grpc.aio.EOF:
        pass


async def test_a_watcher_hears_the_version_at_once_and_then_each_change(house: House) -> None:
    stream = house.identity().WatchPolicies(ids.WatchPoliciesRequest(replica="k1"))
    first = await stream.read()
    assert first.tenant == ""
    await house.admin().CreateUser(pb.CreateUserRequest(user_id="lin", user={"email": ""}))
    change = await next_change(stream)
    assert change.version == first.version + 1
    assert (change.tenant, list(change.users)) == ("acme", ["users/lin"])
    role = admin_pb2.Role(grants=[admin_pb2.Grant(resource="x", action="read")])
    await house.admin().CreateRole(pb.CreateRoleRequest(role_id="r", role=role))
    change = await next_change(stream)
    # Anyone may hold a role: all users of the tenant.
    assert (change.version, list(change.users)) == (first.version + 2, [])
    stream.cancel()


async def test_a_revoked_key_is_told_and_a_new_one_is_not(house: House) -> None:
    await house.admin().CreateUser(pb.CreateUserRequest(user_id="lin", user={"email": ""}))
    stream = house.identity().WatchPolicies(ids.WatchPoliciesRequest(replica="k1"))
    first = await stream.read()
    key = await house.key_of("lin")
    name = f"apiKeys/{key.split('_')[1]}"
    await house.admin().RevokeApiKey(pb.RevokeApiKeyRequest(name=name))
    change = await next_change(stream)
    assert change.version == first.version + 1
    assert list(change.users) == ["users/lin"]
    stream.cancel()


async def test_a_change_of_names_alone_is_no_change_of_policy(house: House) -> None:
    stream = house.identity().WatchPolicies(ids.WatchPoliciesRequest(replica="k1"))
    first = await stream.read()
    request = pb.UpdateUserRequest(user={"name": "users/admin", "display_name": "Root"})
    request.update_mask.paths.append("display_name")
    await house.admin().UpdateUser(request)
    await house.admin().CreateUser(pb.CreateUserRequest(user_id="lin", user={"email": ""}))
    change = await next_change(stream)
    assert (change.version, list(change.users)) == (first.version + 1, ["users/lin"])
    stream.cancel()


async def test_a_heartbeat_comes_every_second_while_nothing_changes(house: House) -> None:
    stream = house.identity().WatchPolicies(ids.WatchPoliciesRequest(replica="k1"))
    first = await stream.read()
    for _ in range(3):
        house.clock.advance(1.01)
        message = await asyncio.wait_for(stream.read(), 5)
        assert (message.version, message.tenant) == (first.version, "")
    stream.cancel()


async def test_many_users_at_once_are_told_as_everybody(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atrium_admin.app.change_policy._MOST_USERS_NAMED", 3)
    stream = house.identity().WatchPolicies(ids.WatchPoliciesRequest(replica="k1"))
    names = [f"u{number}" for number in range(4)]
    for name in names:
        await house.admin().CreateUser(pb.CreateUserRequest(user_id=name, user={"email": ""}))
        await next_change(stream)
    group = {"members": [f"users/{name}" for name in names], "roles": ["roles/editor"]}
    await house.admin().CreateGroup(pb.CreateGroupRequest(group_id="all", group=group))
    change = await next_change(stream)
    assert (change.tenant, list(change.users)) == ("acme", [])
    stream.cancel()


async def test_the_stream_ends_with_the_server(house: House) -> None:
    stream = house.identity().WatchPolicies(ids.WatchPoliciesRequest(replica="k1"))
    await stream.read()
    await house.server.server.stop(0.1)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await read_to_the_end(stream)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert failure_of(caught.value).reason == "SHUTTING_DOWN"


@pytest.fixture
def short_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the feed of every service that is built after it cut watchers off at once."""
    monkeypatch.setitem(PolicyFeed.__init__.__kwdefaults__, "max_waiting", 1)


async def test_a_replica_that_reads_too_slowly_is_told_to_start_anew(
    short_queue: None, house: House
) -> None:
    stream = house.identity().WatchPolicies(ids.WatchPoliciesRequest(replica="k1"))
    first = await stream.read()
    # Several changes of another replica, found at one look.
    await house.tamper(
        *(
            insert(policy_changes).values(
                version=first.version + number,
                tenant_id="acme",
                policy_version=1,
                users=[],
                roles=[],
                groups=[],
                time=house.clock.now(),
            )
            for number in (1, 2, 3)
        )
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await read_to_the_end(stream)
    failure = failure_of(caught.value)
    assert failure.code is grpc.StatusCode.UNAVAILABLE
    assert failure.reason == "WATCHER_TOO_SLOW"
    assert failure.metadata == {"replica": "k1", "waiting": "1"}


class FakeChanges:
    """A list of changes without a database."""

    def __init__(self) -> None:
        self.changes: list[PolicyChange] = []
        self.given: dict[str, ReplicaLease] = {}
        self.broken = False

    def add(self, tenant: str = "acme") -> None:
        number = len(self.changes) + 1
        self.changes.append(PolicyChange(number, tenant, number, ("lin",)))

    @property
    def policies(self) -> FakeChanges:
        return self

    @property
    def leases(self) -> FakeChanges:
        return self

    async def last_change(self) -> int:
        return len(self.changes)

    async def change_time(self, version: int) -> datetime:
        return FixedClock().now()

    async def get(self, replica: str, *, for_update: bool = False) -> ReplicaLease | None:
        return self.given.get(replica)

    async def renew(self, replica: str, version: int, until: datetime) -> bool:
        if version != len(self.changes) or replica not in self.given:
            return False
        self.given[replica] = ReplicaLease(replica, version, until)
        return True

    async def put(self, lease: ReplicaLease) -> None:
        self.given[lease.replica] = lease

    async def forget(self, before: datetime) -> None:
        return None

    async def changes_after(self, version: int, limit: int) -> list[PolicyChange]:
        if self.broken:
            raise OSError("no database")
        return self.changes[version : version + limit]

    @asynccontextmanager
    async def read(self) -> AsyncIterator[FakeChanges]:
        yield self

    write = read


def feed_over(changes: FakeChanges, clock: FixedClock, **options: Any) -> PolicyFeed:
    book = PolicyLeaseBook(changes, clock)  # type: ignore[arg-type]
    return PolicyFeed(
        changes,  # type: ignore[arg-type]
        book,
        clock,
        replica="admin",
        poll_seconds=0.01,
        **options,
    )


@asynccontextmanager
async def running_feed(changes: FakeChanges, **options: Any) -> AsyncIterator[PolicyFeed]:
    feed = feed_over(changes, FixedClock(), **options)
    await feed.start()
    try:
        yield feed
    finally:
        await feed.stop()


async def test_a_slow_watcher_is_cut_off_and_the_others_are_not() -> None:
    changes = FakeChanges()
    async with running_feed(changes, max_waiting=5) as feed:
        slow, quick = feed.watch("slow"), feed.watch("quick")
        assert (await anext(slow)).change is None
        assert (await anext(quick)).change is None
        for number in range(1, 10):
            changes.add()
            await feed.publish()
            message = await anext(quick)
            while message.change is None:
                message = await anext(quick)
            assert message.version == number
        with pytest.raises(WatcherTooSlow) as caught:
            async for _ in slow:
                pass
        assert caught.value.metadata == {"replica": "slow", "waiting": "5"}
        await quick.aclose()


async def test_changes_of_another_replica_are_found_by_looking() -> None:
    changes = FakeChanges()
    changes.add()
    async with running_feed(changes) as feed:
        watcher = feed.watch("w")
        assert (await anext(watcher)).version == 1
        changes.add("globex")  # nobody calls publish()
        message = await asyncio.wait_for(anext(watcher), 5)
        while message.change is None:
            message = await asyncio.wait_for(anext(watcher), 5)
        assert (message.version, message.change.tenant) == (2, "globex")
        await watcher.aclose()


async def test_more_changes_than_are_read_at_once_all_arrive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("atrium_admin.app.policy_feed._CHANGES_AT_ONCE", 3)
    changes = FakeChanges()
    async with running_feed(changes) as feed:
        heard: list[int] = []
        feed.listen(lambda change: heard.append(change.version))
        for _ in range(10):
            changes.add()
        await feed.publish()
        assert heard == list(range(1, 11))


async def test_without_a_database_there_is_no_heartbeat_until_it_is_back() -> None:
    changes = FakeChanges()
    clock = FixedClock()
    feed = feed_over(changes, clock)
    await feed.start()
    watcher = feed.watch("w")
    await anext(watcher)
    await asyncio.wait_for(anext(watcher), 5)  # the first beat
    changes.broken = True
    clock.advance(5)
    waiting = asyncio.ensure_future(anext(watcher))
    done, _ = await asyncio.wait([waiting], timeout=0.2)
    assert not done
    changes.broken = False
    assert (await asyncio.wait_for(waiting, 5)).change is None
    await watcher.aclose()
    await feed.stop()
