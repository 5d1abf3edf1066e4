from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from casbin import Enforcer
from sqlalchemy import func, insert, select

from atrium.admin.v1 import admin_pb2, audit_service_pb2
from atrium.admin.v1 import admin_service_pb2 as pb
from atrium_admin.adapters import tables
from atrium_admin.adapters.casbin_enforcer import MODEL
from atrium_admin.adapters.sql_storage import SqlStorage
from atrium_admin.bootstrap import MIGRATIONS
from atrium_admin.domain import past_policy
from atrium_admin.domain.users import Memberships
from atrium_shared.database import Database
from atrium_shared.principal import Effect, Grant

from .house import House, migrate_to, refused

DENY = admin_pb2.Grant.DENY


async def make_role(house: House, role: str, *grants: str, deny: str = "", **fields: Any) -> None:
    await house.admin().CreateRole(
        pb.CreateRoleRequest(role_id=role, role=admin_pb2.Role(grants=rules(*grants, deny=deny),
        **fields))
    )  # fmt: skip


def rules(*grants: str, deny: str = "") -> list[admin_pb2.Grant]:
    found = []
    for permission in filter(None, (*grants, deny)):
        resource, _, action = permission.rpartition(":")
        effect = DENY if permission == deny else admin_pb2.Grant.ALLOW
        found.append(admin_pb2.Grant(resource=resource, action=action, effect=effect))
    return found


async def make_user(house: House, user: str, *roles: str) -> None:
    names = [f"roles/{role}" for role in roles]
    await house.admin().CreateUser(
        pb.CreateUserRequest(user_id=user, user={"roles": names, "email": ""})
    )


async def make_group(house: House, group: str, members: list[str], roles: list[str]) -> None:
    await house.admin().CreateGroup(
        pb.CreateGroupRequest(
            group_id=group,
            group={
                "members": [f"users/{member}" for member in members],
                "roles": [f"roles/{role}" for role in roles],
            },
        )
    )


async def readers(
    house: House, *clauses: list[str], at: datetime | None = None, **fields: Any
) -> audit_service_pb2.ListReadersResponse:
    request = audit_service_pb2.ListReadersRequest(
        clauses=[audit_service_pb2.LabelSet(labels=labels) for labels in clauses], **fields
    )
    if at is not None:
        request.read_time.FromDatetime(at)
    response: audit_service_pb2.ListReadersResponse = await house.auditing().ListReaders(request)
    return response


async def names(house: House, *clauses: list[str], at: datetime | None = None) -> list[str]:
    return [reader.user for reader in (await readers(house, *clauses, at=at)).readers]


async def replay(
    house: House, user: str, permission: str, at: datetime | None = None
) -> audit_service_pb2.ReplayPermissionResponse:
    resource, _, action = permission.rpartition(":")
    request = audit_service_pb2.ReplayPermissionRequest(user=user, resource=resource, action=action)
    if at is not None:
        request.read_time.FromDatetime(at)
    found: audit_service_pb2.ReplayPermissionResponse = await house.auditing().ReplayPermission(
        request
    )
    return found


def tick(house: House) -> datetime:
    """Let time pass, and return the moment between what was and what comes."""
    house.clock.advance(60)
    moment = house.clock.now()
    house.clock.advance(60)
    return moment


async def test_readers_are_named_with_the_way_to_each_grant(house: House) -> None:
    await make_role(house, "pay", "labels/hr/pay:read")
    await make_role(house, "hr-partner", inherits=["roles/pay", "roles/member"])
    await make_user(house, "lin")
    await make_user(house, "kim", "hr-partner")
    await make_user(house, "bo", "member", "pay")
    await make_group(house, "hr", ["lin"], ["hr-partner"])
    found = await readers(house, ["hr/pay"])
    ways = {
        reader.user: [
            (through.role, list(through.via), through.grant.resource, through.permission)
            for through in reader.grants
        ]
        for reader in found.readers
    }
    pay, opens = "labels/hr/pay", "labels/hr/pay:read"
    assert ways == {
        "users/bo": [("roles/pay", ["roles/pay"], pay, opens)],
        "users/kim": [("roles/pay", ["roles/hr-partner", "roles/pay"], pay, opens)],
        "users/lin": [("roles/pay", ["groups/hr", "roles/hr-partner", "roles/pay"], pay, opens)],
    }
    assert found.policy_version == 7
    assert found.policy_time.ToDatetime(UTC) == house.clock.now()


async def test_a_reader_holds_a_label_of_every_clause_and_no_deny(house: House) -> None:
    await make_role(house, "hr", "labels/hr/*:read")
    await make_role(house, "board", "labels/board:read")
    await make_role(house, "barred", deny="labels/hr/pay:read")
    await make_user(house, "hr", "member", "hr")
    await make_user(house, "both", "member", "hr", "board")
    await make_user(house, "board", "member", "board")
    await make_user(house, "barred", "member", "hr", "board", "barred")
    await make_user(house, "mute", "hr", "board")
    assert await names(house, ["hr/pay"]) == ["users/both", "users/hr"]
    assert await names(house, ["hr/pay", "board"]) == [
        "users/barred", "users/board", "users/both", "users/hr",
    ]  # fmt: skip
    assert await names(house, ["hr/pay"], ["board"]) == ["users/both"]
    assert await names(house, ["nobody/holds/this"]) == []
    # Without labels: whoever may ask or read at all; who only holds labels may neither.
    everyone = await readers(house)
    assert [reader.user for reader in everyone.readers] == [
        "users/admin", "users/barred", "users/board", "users/both", "users/hr",
    ]  # fmt: skip
    assert [through.permission for through in everyone.readers[1].grants] == [
        "knowledge.answers:ask", "knowledge.documents:read",
    ]  # fmt: skip


async def test_the_past_is_answered_by_the_policy_of_the_past(house: House) -> None:
    await make_role(house, "pay", "labels/pay:read")
    await make_user(house, "lin", "member", "pay")
    await make_user(house, "kim")
    await make_group(house, "hr", ["kim"], ["pay"])
    moments = [tick(house)]
    admin = house.admin()
    await admin.UpdateUser(
        pb.UpdateUserRequest(
            user={"name": "users/lin", "disabled": True}, update_mask={"paths": ["disabled"]}
        )
    )
    moments.append(tick(house))
    await admin.UpdateGroup(
        pb.UpdateGroupRequest(group={"name": "groups/hr"}, update_mask={"paths": ["members"]})
    )
    moments.append(tick(house))
    await admin.UpdateUser(
        pb.UpdateUserRequest(
            user={"name": "users/lin", "disabled": False}, update_mask={"paths": ["disabled"]}
        )
    )
    moments.append(tick(house))
    await admin.UpdateRole(
        pb.UpdateRoleRequest(
            role=admin_pb2.Role(name="roles/pay", grants=rules("labels/other:read")),
            update_mask={"paths": ["grants"]},
        )
    )
    moments.append(tick(house))
    await admin.DeleteUser(pb.DeleteUserRequest(name="users/lin"))
    await admin.DeleteGroup(pb.DeleteGroupRequest(name="groups/hr"))
    moments.append(tick(house))
    assert [await names(house, ["pay"], at=moment) for moment in moments] == [
        ["users/kim", "users/lin"],
        ["users/kim"],
        [],
        ["users/lin"],
        [],
        [],
    ]
    assert await names(house, ["other"], at=moments[4]) == ["users/lin"]
    replays = [await replay(house, "users/lin", "labels/pay:read", m) for m in moments[:5]]
    assert [found.allowed for found in replays] == [True, False, False, True, False]
    gone = await refused(replay(house, "users/lin", "labels/pay:read", moments[5]))
    assert (gone.code, gone.reason, gone.field) == (
        grpc.StatusCode.NOT_FOUND,
        "USER_NOT_FOUND",
        "user",
    )
    assert gone.metadata == {"user": "users/lin"}


async def test_a_replay_gives_what_the_test_of_a_permission_gave(house: House) -> None:
    await make_role(
        house, "pay", "labels/*:read", "labels/pay:*", "labels/it:read", deny="labels/pay:read"
    )
    await make_user(house, "lin", "pay")
    then = await house.admin().TestPermission(
        pb.TestPermissionRequest(user="users/lin", resource="labels/pay", action="read")
    )
    moment = tick(house)
    await house.admin().UpdateRole(pb.UpdateRoleRequest(role={"name": "roles/pay"}))
    replayed = await replay(house, "users/lin", "labels/pay:read", moment)
    assert (replayed.allowed, list(replayed.matches)) == (then.allowed, list(then.matches))
    assert len(replayed.matches) == 3
    assert not (await replay(house, "users/lin", "labels/pay:read")).matches


async def test_times_before_the_history_and_ahead_are_refused(house: House) -> None:
    start = house.clock.now()
    early = await refused(readers(house, at=start - timedelta(seconds=1)))
    assert early.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (early.reason, early.field) == ("READ_TIME_BEFORE_HISTORY", "read_time")
    assert early.metadata["history_start"] == start.isoformat()
    ahead = await refused(readers(house, at=start + timedelta(minutes=1)))
    assert ahead.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (ahead.reason, ahead.field) == ("READ_TIME_AHEAD", "read_time")
    assert ahead.metadata == {
        "read_time": (start + timedelta(minutes=1)).isoformat(),
        "now": start.isoformat(),
    }
    # Clocks of machines differ by seconds.
    assert (await readers(house, at=start + timedelta(seconds=9))).policy_version == 1
    replayed = await refused(replay(house, "users/admin", "a:read", start - timedelta(seconds=1)))
    assert replayed.reason == "READ_TIME_BEFORE_HISTORY"


async def test_a_clause_without_labels_is_refused(house: House) -> None:
    failure = await refused(readers(house, ["hr"], []))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.field == "clauses[1].labels"


async def test_pages_show_the_policy_of_the_first_whatever_changes(house: House) -> None:
    for number in range(5):
        await make_user(house, f"u{number}")
    first = await readers(house, page_size=2)
    assert [reader.user for reader in first.readers] == ["users/admin", "users/u0"]
    await house.admin().DeleteUser(pb.DeleteUserRequest(name="users/u2"))
    second = await readers(house, page_size=3, page_token=first.next_page_token)
    third = await readers(house, page_size=3, page_token=second.next_page_token)
    assert [reader.user for reader in second.readers] == ["users/u1", "users/u2", "users/u3"]
    assert [reader.user for reader in third.readers] == ["users/u4"]
    assert {second.policy_version, third.policy_version} == {first.policy_version}
    assert not third.next_page_token
    other = await refused(readers(house, ["pay"], page_token=first.next_page_token))
    assert (other.code, other.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "PAGE_TOKEN_INVALID",
    )


async def test_tenants_do_not_see_each_others_past(house: House) -> None:
    globex = await house.second_tenant()
    await make_user(house, "lin")
    theirs = await house.auditing(globex).ListReaders(audit_service_pb2.ListReadersRequest())
    assert [reader.user for reader in theirs.readers] == ["users/admin"]
    assert theirs.policy_version == 1


async def test_who_may_not_read_the_audit_log_may_not_ask_about_the_past(house: House) -> None:
    await make_user(house, "lin")
    stub = house.auditing(await house.key_of("lin"))
    for call in (
        stub.ListReaders(audit_service_pb2.ListReadersRequest()),
        stub.ReplayPermission(
            audit_service_pb2.ReplayPermissionRequest(
                user="users/lin", resource="labels/x", action="read"
            )
        ),
    ):
        failure = await refused(call)
        assert failure.code is grpc.StatusCode.PERMISSION_DENIED
        assert failure.reason == "PERMISSION_DENIED"


async def test_a_change_that_is_refused_leaves_no_history(house: House) -> None:
    await refused(house.admin().DeleteUser(pb.DeleteUserRequest(name="users/admin")))
    (row,) = await house.tamper(select(func.count()).select_from(tables.policy_versions))
    assert row[0] == 1
    assert await names(house) == ["users/admin"]


async def test_a_database_from_before_the_history_begins_it_with_what_is_there(
    database_url: str,
) -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    named = {"tenant_id": "acme", "display_name": "", "create_time": now}
    await migrate_to(
        "0001",
        database_url,
        insert(tables.tenants).values(
            id="acme", display_name="", create_time=now, max_upload_bytes=0, operator=True,
            policy_version=41,
        ),
        insert(tables.users).values(id="lin", kind="person", email="", disabled=False, **named),
        insert(tables.groups).values(id="hr", **named),
        *(insert(tables.roles).values(id=role, built_in=False, **named) for role in ("a", "b")),
        insert(tables.group_members).values(tenant_id="acme", group_id="hr", user_id="lin"),
        insert(tables.group_roles).values(tenant_id="acme", group_id="hr", role_id="a"),
        insert(tables.user_roles).values(tenant_id="acme", user_id="lin", role_id="b"),
        insert(tables.role_parents).values(tenant_id="acme", role_id="a", parent_id="b"),
        insert(tables.role_grants).values(
            tenant_id="acme", role_id="b", position=0, resource="labels/x", action="read",
            effect="deny",
        ),
    )  # fmt: skip
    database = Database(database_url, migrations=MIGRATIONS, name="admin")
    await database.start()
    async with SqlStorage(database).read() as uow:
        first = await uow.history.first("acme")
        assert first is not None
        policy = await uow.history.policy("acme", first)
    await database.close()
    assert first.version == 41
    assert first.time > now - timedelta(days=9_000)
    assert policy.disabled == {"lin": False}
    assert policy.memberships == {"lin": Memberships(frozenset({"b"}), frozenset({"hr"}))}
    assert policy.group_roles == {"hr": ["a"]}
    assert policy.inherits == {"a": ["b"]}
    assert policy.grants == {"b": [Grant("labels/x", "read", Effect.DENY)]}


LABELS = ["a", "a/b", "a/b/c", "d", "e"]
PATTERNS = [
    "labels/a",
    "labels/a*",
    "labels/a/*",
    "labels/*",
    "labels/d",
    "labels/e",
    "knowledge.*",
]
PEOPLE = [f"u{number}" for number in range(6)]
ROLES = [f"r{number}" for number in range(5)]
GROUPS = ["g0", "g1", "g2"]


class Twin:
    """The directory as the test knows it; Casbin as it comes decides about it."""

    def __init__(self) -> None:
        self.users: dict[str, tuple[list[str], bool]] = {}
        self.groups: dict[str, tuple[list[str], list[str]]] = {}
        self.roles: dict[str, tuple[list[admin_pb2.Grant], list[str]]] = {}

    def enforcer(self) -> Enforcer:
        enforcer = Enforcer(Enforcer.new_model(text=MODEL))
        enforcer.add_policy("roles/member", "knowledge.answers", "ask", "allow")
        for role, (grants, inherits) in self.roles.items():
            for grant in grants:
                effect = "deny" if grant.effect == DENY else "allow"
                enforcer.add_policy(f"roles/{role}", grant.resource, grant.action, effect)
            for parent in inherits:
                enforcer.add_grouping_policy(f"roles/{role}", f"roles/{parent}")
        for group, (members, roles) in self.groups.items():
            for role in roles:
                enforcer.add_grouping_policy(f"groups/{group}", f"roles/{role}")
            for member in members:
                enforcer.add_grouping_policy(f"users/{member}", f"groups/{group}")
        for user, (roles, disabled) in self.users.items():
            for role in [] if disabled else roles:
                enforcer.add_grouping_policy(f"users/{user}", f"roles/{role}")
            if disabled:
                enforcer.add_policy(f"users/{user}", "*", "*", "deny")
        return enforcer

    def permits(self, enforcer: Enforcer, user: str, resource: str, action: str) -> bool:
        return bool(enforcer.enforce(f"users/{user}", resource, action))


async def random_change(house: House, twin: Twin, rng: random.Random) -> None:
    """Change the directory and its twin alike."""
    admin = house.admin()

    def some(names: list[str], most: int) -> list[str]:
        return rng.sample(names, min(len(names), rng.randint(0, most)))

    match rng.randrange(7):
        case 0 | 1:
            user = rng.choice(PEOPLE)
            roles = some(["member", *twin.roles], 3) or ["member"]
            disabled = rng.random() < 0.2
            proto = admin_pb2.User(
                name=f"users/{user}", roles=[f"roles/{role}" for role in roles], disabled=disabled
            )
            if user in twin.users:
                await admin.UpdateUser(pb.UpdateUserRequest(user=proto))
            else:
                await admin.CreateUser(pb.CreateUserRequest(user_id=user, user=proto))
                disabled = disabled and (await admin.GetUser(
                    pb.GetUserRequest(name=f"users/{user}"))).disabled  # fmt: skip
            twin.users[user] = (roles, disabled)
        case 2:
            user = rng.choice(PEOPLE)
            if user in twin.users:
                await admin.DeleteUser(pb.DeleteUserRequest(name=f"users/{user}"))
                del twin.users[user]
                for members, _ in twin.groups.values():
                    if user in members:
                        members.remove(user)
        case 3 | 4:
            group = rng.choice(GROUPS)
            if group in twin.groups and rng.random() < 0.2:
                await admin.DeleteGroup(pb.DeleteGroupRequest(name=f"groups/{group}"))
                del twin.groups[group]
                return
            members, roles = some(list(twin.users), 4), some(list(twin.roles), 2)
            fields = {
                "members": [f"users/{member}" for member in members],
                "roles": [f"roles/{role}" for role in roles],
            }
            if group in twin.groups:
                await admin.UpdateGroup(
                    pb.UpdateGroupRequest(group={"name": f"groups/{group}", **fields})
                )
            else:
                await admin.CreateGroup(pb.CreateGroupRequest(group_id=group, group=fields))
            twin.groups[group] = (members, roles)
        case _:
            role = rng.choice(ROLES)
            later = [name for name in twin.roles if name > role]
            inherits = some(later, 2)
            grants = {
                (grant.resource, grant.action, grant.effect): grant
                for grant in (
                    admin_pb2.Grant(
                        resource=rng.choice(PATTERNS),
                        action=action,
                        effect=rng.choice([admin_pb2.Grant.ALLOW, admin_pb2.Grant.ALLOW, DENY]),
                    )
                    for action in rng.choices(["read", "*"], k=rng.choice([0, 0, 1, 2, 3]))
                )
            }
            proto = admin_pb2.Role(
                name=f"roles/{role}",
                grants=grants.values(),
                inherits=[f"roles/{parent}" for parent in inherits],
            )
            if role in twin.roles:
                await admin.UpdateRole(pb.UpdateRoleRequest(role=proto))
            else:
                await admin.CreateRole(pb.CreateRoleRequest(role_id=role, role=proto))
            twin.roles[role] = (list(grants.values()), inherits)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_readers_and_replays_agree_with_casbin_at_every_past_moment(
    house: House, seed: int
) -> None:
    rng = random.Random(seed)
    twin = Twin()
    moments: list[tuple[datetime, Enforcer, list[str]]] = []
    for _ in range(40):
        await random_change(house, twin, rng)
        moment = tick(house)
        moments.append((moment, twin.enforcer(), sorted(twin.users)))
    asked = found = 0
    rng.shuffle(moments)
    for moment, enforcer, users in moments[:25]:
        clauses = [rng.sample(LABELS, rng.randint(1, 2)) for _ in range(rng.randint(0, 2))]
        expected = [
            f"users/{user}"
            for user in users
            if any(
                twin.permits(enforcer, user, *pair)
                for pair in (("knowledge.answers", "ask"), ("knowledge.documents", "read"))
            )
            and all(
                any(twin.permits(enforcer, user, f"labels/{label}", "read") for label in labels)
                for labels in clauses
            )
        ]
        readable = [name for name in await names(house, *clauses, at=moment) if name[6:] in PEOPLE]
        assert readable == expected, (moment, clauses)
        asked += len(users)
        found += len(expected)
        for user in users[:2]:
            label = rng.choice(LABELS)
            replayed = await replay(house, f"users/{user}", f"labels/{label}:read", moment)
            assert replayed.allowed == twin.permits(enforcer, user, f"labels/{label}", "read")
    # The cases must reach what they are for: some who could read and some who could not.
    assert 0.1 * asked < found < 0.9 * asked


async def test_ten_thousand_readers_are_reckoned_once_for_each_set_of_roles(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(4)
    roles = {f"r{n}": [Grant(f"labels/l{n}/{g}", "read") for g in range(11)] for n in range(100)}
    roles["member"] = [Grant("knowledge.answers", "ask")]
    held = [
        Memberships(frozenset({"member", *rng.sample(sorted(roles), 2)}), frozenset())
        for _ in range(60)
    ]
    users = sorted(f"u{number}" for number in range(10_000))
    policy = past_policy.PastPolicy(
        at=past_policy.PolicyVersion(1, house.clock.now()),
        disabled=dict.fromkeys(users, False),
        memberships={user: held[index % 60] for index, user in enumerate(users)},
        group_roles={},
        inherits={},
        grants=roles,
    )
    compiled = 0
    allow_set = past_policy.AllowSet

    def counted(*arguments: Any) -> Any:
        nonlocal compiled
        compiled += 1
        return allow_set(*arguments)

    monkeypatch.setattr(past_policy, "AllowSet", counted)
    found, more = past_policy.Readers(policy, []).after("", 20_000)
    assert (len(found), more) == (10_000, False)
    assert compiled <= 60
