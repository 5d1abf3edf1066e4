"""What is compiled step by step equals what is compiled from scratch."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from atrium.admin.v1 import admin_pb2
from atrium.admin.v1 import admin_service_pb2 as pb
from atrium_admin.app.compile_policy import CompilePolicy
from atrium_admin.bootstrap import build
from atrium_admin.domain.errors import UserNotFound
from atrium_shared.principal import AllowSet
from atrium_shared.testing import eventually

from .house import House, settings_for

ROLES = ["r0", "r1", "r2", "r3", "r4"]
GROUPS = ["g0", "g1"]
USERS = ["u0", "u1", "u2", "u3"]
RESOURCES = ["labels/hr/*", "labels/hr/pay", "labels/*", "knowledge.answers", "admin.users"]


def random_grants(rng: random.Random) -> list[admin_pb2.Grant]:
    resources = [rng.choice(RESOURCES) for _ in range(rng.randint(0, 3))]
    return [
        admin_pb2.Grant(
            resource=resource,
            action=rng.choice(["read", "*"] if resource.startswith("labels/") else ["write", "*"]),
            effect=rng.choice([admin_pb2.Grant.ALLOW, admin_pb2.Grant.DENY]),
        )
        for resource in resources
    ]


def names(rng: random.Random, collection: str, ids: list[str], most: int = 2) -> list[str]:
    return [f"{collection}/{name}" for name in rng.sample(ids, rng.randint(0, most))]


async def make_policy(admin: Any) -> None:
    for role in ROLES:
        await admin.CreateRole(pb.CreateRoleRequest(role_id=role, role=admin_pb2.Role()))
    for user in USERS:
        await admin.CreateUser(pb.CreateUserRequest(user_id=user, user=admin_pb2.User()))
    for group in GROUPS:
        await admin.CreateGroup(pb.CreateGroupRequest(group_id=group, group=admin_pb2.Group()))


async def change_something(admin: Any, rng: random.Random) -> None:
    index = rng.randrange(len(ROLES))
    inherits = names(rng, "roles", ROLES[index + 1 :], min(2, len(ROLES) - index - 1))
    user, group = rng.choice(USERS), rng.choice(GROUPS)
    match rng.randrange(5):
        case 0 | 1:
            role = admin_pb2.Role(
                name=f"roles/{ROLES[index]}", grants=random_grants(rng), inherits=inherits
            )
            await admin.UpdateRole(pb.UpdateRoleRequest(role=role))
        case 2:
            changed = admin_pb2.User(name=f"users/{user}", roles=names(rng, "roles", ROLES))
            await admin.UpdateUser(pb.UpdateUserRequest(user=changed))
        case 3:
            changed = admin_pb2.Group(
                name=f"groups/{group}",
                roles=names(rng, "roles", ROLES),
                members=names(rng, "users", USERS, 3),
            )
            await admin.UpdateGroup(pb.UpdateGroupRequest(group=changed))
        case 4:
            await admin.DeleteGroup(pb.DeleteGroupRequest(name=f"groups/{group}"))
            members = names(rng, "users", USERS, 3)
            made = admin_pb2.Group(members=members, roles=names(rng, "roles", ROLES))
            await admin.CreateGroup(pb.CreateGroupRequest(group_id=group, group=made))


async def test_following_changes_leads_where_loading_anew_does(house: House) -> None:
    rng = random.Random(11)
    admin = house.admin()
    await make_policy(admin)
    compile_policy = house.app.compile_policy
    kept = {user: await compile_policy("acme", user, 0) for user in USERS}
    compared = reused = 0
    for _ in range(60):
        await change_something(admin, rng)
        # Some users ask after some changes alone, so that several changes are followed at once.
        asking = [user for user in USERS if rng.random() < 0.5]
        fresh = CompilePolicy(
            house.app.compile_policy._storage, house.app.compile_policy._new_enforcer
        )
        for user in asking:
            expected = await fresh("acme", user, 0)
            followed = await compile_policy("acme", user, expected.policy_version)
            assert followed == expected, user
            assert followed.digest == expected.digest
            compared += 1
            reused += followed.blocks is kept[user].blocks
            kept[user] = followed
    assert compared > 80
    # What a change leaves alone is not compiled again.
    assert reused > 10


async def test_casbin_agrees_with_what_is_compiled_after_changes(house: House) -> None:
    rng = random.Random(12)
    admin = house.admin()
    await make_policy(admin)
    for _ in range(15):
        await change_something(admin, rng)
        for user in USERS:
            resource = rng.choice(["labels/hr/pay", "labels/hr", "knowledge.answers"])
            action = rng.choice(["read", "write", "ask"])
            verdict = await house.app.compile_policy.explain("acme", user, resource, action)
            allow_set = await house.app.compile_policy("acme", user, 10_000)
            assert verdict.allowed == allow_set.permits(resource, action)
            told = AllowSet(grant for _, grant in verdict.matches)
            assert told.permits(resource, action) == verdict.allowed


async def test_a_tenant_that_was_put_out_of_memory_is_loaded_again(house: House) -> None:
    await house.second_tenant()
    storage = house.app.compile_policy._storage
    small = CompilePolicy(
        storage, house.app.compile_policy._new_enforcer, max_tenants=1, max_blocks=8
    )
    for tenant in ("acme", "globex", "acme"):
        allow_set = await small(tenant, "admin", 0)
        assert allow_set.permits("admin.users", "manage")


async def test_changes_that_are_no_longer_listed_make_it_load_anew(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atrium_admin.adapters.sql_policies._CHANGES_KEPT", 1)
    monkeypatch.setattr("atrium_admin.adapters.sql_policies._PRUNE_EVERY", 2)
    admin = house.admin()
    await make_policy(admin)
    assert not (await house.app.compile_policy("acme", "u0", 0)).permits("labels/hr/pay", "read")
    grant = admin_pb2.Grant(resource="labels/*", action="read")
    role = admin_pb2.Role(name="roles/r0", grants=[grant])
    await admin.UpdateRole(pb.UpdateRoleRequest(role=role))
    user = admin_pb2.User(name="users/u0", roles=["roles/r0"])
    await admin.UpdateUser(pb.UpdateUserRequest(user=user))
    for _ in range(4):
        await admin.UpdateRole(pb.UpdateRoleRequest(role={"name": "roles/r1"}))
        grants = [*random_grants(random.Random(3)), grant]
        role = admin_pb2.Role(name="roles/r1", grants=grants)
        await admin.UpdateRole(pb.UpdateRoleRequest(role=role))
    assert (await house.app.compile_policy("acme", "u0", 10_000)).permits("labels/hr/pay", "read")


async def test_many_questions_at_once_get_one_answer(house: House) -> None:
    await make_policy(house.admin())
    answers = await asyncio.gather(
        *(house.app.compile_policy("acme", user, 0) for user in USERS * 20)
    )
    # All are members: one set of roles, one set of rules.
    assert len({id(answer.blocks) for answer in answers}) == 1


async def test_an_unknown_user_has_no_permissions_to_compile(house: House) -> None:
    for tenant, user in (("acme", "absent"), ("absent", "admin")):
        with pytest.raises(UserNotFound):
            await house.app.compile_policy(tenant, user, 0)


async def test_a_change_of_another_replica_is_felt_within_a_moment(house: House) -> None:
    admin = house.admin()
    await make_policy(admin)
    other = build(settings_for(house.database_url), clock=house.clock)
    await other.service_app.start()
    try:
        key = await house.key_of("u0")
        principal = await other.authenticator.authenticate(key, None)
        assert not principal.may("admin.users:read")
        assert await other.authenticator.authenticate(key, None) is principal
        heard: list[tuple[str, frozenset[str]]] = []
        other.authenticator.on_change(lambda tenant, users: heard.append((tenant, users)))
        user = admin_pb2.User(name="users/u0", roles=["roles/admin"])
        await admin.UpdateUser(pb.UpdateUserRequest(user=user))
        await eventually(lambda: bool(heard))
        assert heard == [("acme", frozenset({"users/u0"}))]
        principal = await other.authenticator.authenticate(key, None)
        assert principal.may("admin.users:read")
    finally:
        await other.service_app.stop()
