"""No change of a policy leaves a tenant without somebody who can mend it."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from atrium.admin.v1 import admin_pb2, identity_service_pb2
from atrium.admin.v1 import admin_service_pb2 as pb

from .house import House, refused

MANAGES = [
    admin_pb2.Grant(resource="admin.users", action="manage"),
    admin_pb2.Grant(resource="admin.roles", action="manage"),
]
DENIES = [admin_pb2.Grant(resource="admin.*", action="*", effect=admin_pb2.Grant.DENY)]


async def locked_out(call: Any) -> None:
    failure = await refused(call)
    assert failure.code is grpc.StatusCode.FAILED_PRECONDITION
    assert failure.reason == "LAST_ADMIN"
    assert failure.metadata == {"tenant": "acme"}


async def make_role(house: House, role_id: str, **fields: Any) -> None:
    await house.admin().CreateRole(
        pb.CreateRoleRequest(role_id=role_id, role=admin_pb2.Role(**fields))
    )


async def make_user(house: House, user_id: str, *roles: str) -> None:
    user = admin_pb2.User(roles=roles)
    await house.admin().CreateUser(pb.CreateUserRequest(user_id=user_id, user=user))


def set_roles(house: House, user: str, *roles: str) -> Any:
    request = pb.UpdateUserRequest(user=admin_pb2.User(name=f"users/{user}", roles=roles))
    request.update_mask.paths.append("roles")
    return house.admin().UpdateUser(request)


def disable(house: House, user: str) -> Any:
    request = pb.UpdateUserRequest(user=admin_pb2.User(name=f"users/{user}", disabled=True))
    request.update_mask.paths.append("disabled")
    return house.admin().UpdateUser(request)


async def test_the_last_administrator_keeps_the_role(house: House) -> None:
    await locked_out(set_roles(house, "admin", "roles/editor"))
    user = await house.admin().GetUser(pb.GetUserRequest(name="users/admin"))
    assert list(user.roles) == ["roles/admin"]


async def test_the_last_administrator_is_not_disabled(house: House) -> None:
    await locked_out(disable(house, "admin"))


async def test_the_last_administrator_is_not_removed(house: House) -> None:
    await locked_out(house.admin().DeleteUser(pb.DeleteUserRequest(name="users/admin")))


async def test_with_a_second_administrator_the_first_may_go(house: House) -> None:
    await make_user(house, "lin", "roles/admin")
    await house.admin().DeleteUser(pb.DeleteUserRequest(name="users/admin"))


async def test_a_disabled_administrator_does_not_count(house: House) -> None:
    await make_user(house, "lin", "roles/admin")
    await disable(house, "lin")
    await locked_out(disable(house, "admin"))


async def test_half_an_administrator_does_not_count(house: House) -> None:
    await make_role(house, "people", grants=MANAGES[:1])
    await make_user(house, "lin", "roles/people")
    await locked_out(disable(house, "admin"))


async def test_two_roles_make_a_whole_administrator(house: House) -> None:
    await make_role(house, "people", grants=MANAGES[:1])
    await make_role(house, "policies", grants=MANAGES[1:])
    await make_user(house, "lin", "roles/people", "roles/policies")
    await disable(house, "admin")


async def test_an_administrator_by_inheritance_through_a_group_counts(house: House) -> None:
    await make_role(house, "chief", inherits=["roles/admin"])
    await make_user(house, "lin")
    group = {"members": ["users/lin"], "roles": ["roles/chief"]}
    await house.admin().CreateGroup(pb.CreateGroupRequest(group_id="chiefs", group=group))
    house.key = await house.key_of("lin")
    await house.admin().DeleteUser(pb.DeleteUserRequest(name="users/admin"))
    # And now that group is what must not go, shrink, or lose the role.
    await locked_out(house.admin().DeleteGroup(pb.DeleteGroupRequest(name="groups/chiefs")))
    for field in ("members", "roles"):
        request = pb.UpdateGroupRequest(
            group={"name": "groups/chiefs"}, update_mask={"paths": [field]}
        )
        await locked_out(house.admin().UpdateGroup(request))
    await locked_out(house.admin().UpdateRole(pb.UpdateRoleRequest(role={"name": "roles/chief"})))


@pytest.mark.parametrize("resource", ["*", "admin.*", "admin.users", "a*"])
async def test_a_role_that_denies_cannot_reach_the_last_administrator(
    house: House, resource: str
) -> None:
    deny = admin_pb2.Grant(resource=resource, action="manage", effect=admin_pb2.Grant.DENY)
    await make_role(house, "suspended", grants=[deny])
    await locked_out(set_roles(house, "admin", "roles/admin", "roles/suspended"))
    group = {"members": ["users/admin"], "roles": ["roles/suspended"]}
    await locked_out(house.admin().CreateGroup(pb.CreateGroupRequest(group_id="all", group=group)))


async def test_a_role_that_the_last_administrator_holds_cannot_begin_to_deny(
    house: House,
) -> None:
    await make_role(house, "extra")
    await set_roles(house, "admin", "roles/admin", "roles/extra")
    request = pb.UpdateRoleRequest(role=admin_pb2.Role(name="roles/extra", grants=DENIES))
    await locked_out(house.admin().UpdateRole(request))
    role = await house.admin().GetRole(pb.GetRoleRequest(name="roles/extra"))
    assert not role.grants


async def test_many_who_hold_half_of_it_do_not_hide_the_one_who_holds_all(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atrium_admin.app.change_policy._CANDIDATES_AT_ONCE", 2)
    await make_role(house, "people", grants=MANAGES[:1])
    for number in range(5):
        await make_user(house, f"a{number}", "roles/people")
    await make_user(house, "zoe", "roles/admin")
    house.key = await house.key_of("zoe")
    await disable(house, "admin")
    await locked_out(disable(house, "zoe"))


async def test_an_administrator_of_another_tenant_does_not_count(house: House) -> None:
    await house.second_tenant()
    await locked_out(disable(house, "admin"))


async def test_a_refused_change_is_written_down_and_changes_no_version(house: House) -> None:
    before = await house.identity().ExchangeCredential(exchange(house))
    await locked_out(disable(house, "admin"))
    after = await house.identity().ExchangeCredential(exchange(house))
    assert after.allow_set.policy_version == before.allow_set.policy_version
    events = await house.admin().ListAuditEvents(
        pb.ListAuditEventsRequest(action="admin.UpdateUser")
    )
    assert events.events[0].decision == admin_pb2.AuditEvent.FAILED
    assert events.events[0].detail == "LAST_ADMIN"
    assert events.events[0].resource == "users/admin"


def exchange(house: House) -> Any:
    return identity_service_pb2.ExchangeCredentialRequest(
        credential=house.key, audiences=["knowledge"]
    )


async def test_the_last_key_of_the_last_administrator_can_be_revoked(house: House) -> None:
    # A leaked key must go whatever else; who runs the installation can make another.
    keys = await house.admin().ListApiKeys(pb.ListApiKeysRequest())
    await house.admin().RevokeApiKey(pb.RevokeApiKeyRequest(name=keys.api_keys[0].name))
    failure = await refused(house.admin().ListApiKeys(pb.ListApiKeysRequest()))
    assert failure.reason == "API_KEY_REVOKED"
    _, house.key = await house.app.issue_key("acme", "admin")
    assert len((await house.admin().ListApiKeys(pb.ListApiKeysRequest())).api_keys) == 2
