from __future__ import annotations

import grpc
import pytest

from atrium.admin.v1 import admin_pb2
from atrium.admin.v1 import admin_service_pb2 as pb

from .house import House, refused


async def make_user(house: House, user_id: str, **fields: object) -> admin_pb2.User:
    return await house.admin().CreateUser(
        pb.CreateUserRequest(user_id=user_id, user=admin_pb2.User(**fields))
    )


async def test_a_user_without_roles_is_a_member(house: House) -> None:
    user = await make_user(house, "lin")
    assert user.name == "users/lin"
    assert user.display_name == "lin"
    assert list(user.roles) == ["roles/member"]
    assert user.kind == admin_pb2.User.PERSON
    assert await house.admin().GetUser(pb.GetUserRequest(name="users/lin")) == user


async def test_a_user_keeps_what_was_said_about_them(house: House) -> None:
    user = await make_user(
        house,
        "portal@acme.example",
        display_name=" 门户 ",
        kind=admin_pb2.User.SERVICE,
        email="portal@acme.example",
        roles=["roles/service", "roles/editor"],
        disabled=True,
    )
    assert user.display_name == "门户"
    assert user.kind == admin_pb2.User.SERVICE
    assert user.email == "portal@acme.example"
    assert list(user.roles) == ["roles/editor", "roles/service"]
    assert user.disabled


async def test_a_user_id_is_taken_once(house: House) -> None:
    await make_user(house, "lin")
    failure = await refused(make_user(house, "lin"))
    assert failure.code is grpc.StatusCode.ALREADY_EXISTS
    assert (failure.reason, failure.field) == ("USER_EXISTS", "user_id")
    assert failure.metadata == {"user": "users/lin"}


@pytest.mark.parametrize("role", ["roles/absent", "roles/no spaces"])
async def test_an_unknown_role_is_named_with_its_place_and_nothing_is_stored(
    house: House, role: str
) -> None:
    failure = await refused(make_user(house, "lin", roles=["roles/member", role]))
    assert failure.code is grpc.StatusCode.NOT_FOUND
    assert (failure.reason, failure.field) == ("ROLE_NOT_FOUND", "user.roles[1]")
    assert failure.metadata == {"role": role}
    absent = await refused(house.admin().GetUser(pb.GetUserRequest(name="users/lin")))
    assert absent.reason == "USER_NOT_FOUND"


async def test_nobody_is_called_like_one_who_was_erased(house: House) -> None:
    failure = await refused(make_user(house, "erased-" + "a" * 26))
    assert (failure.reason, failure.field) == ("FIELD_INVALID", "user_id")


async def test_a_display_name_is_one_line(house: House) -> None:
    failure = await refused(make_user(house, "lin", display_name="Lin\nadmin"))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (failure.reason, failure.field) == ("FIELD_INVALID", "user.display_name")


async def test_a_mask_names_what_changes(house: House) -> None:
    await make_user(house, "lin", display_name="Lin", email="lin@acme.example")
    request = pb.UpdateUserRequest(
        user=admin_pb2.User(name="users/lin", display_name="x", disabled=True)
    )
    request.update_mask.paths.append("disabled")
    user = await house.admin().UpdateUser(request)
    assert (user.display_name, user.email, user.disabled) == ("Lin", "lin@acme.example", True)
    assert await house.admin().GetUser(pb.GetUserRequest(name="users/lin")) == user


@pytest.mark.parametrize("paths", [[], ["*"]])
async def test_without_a_mask_everything_that_can_change_does(
    house: House, paths: list[str]
) -> None:
    await make_user(house, "lin", display_name="Lin", email="a@b", roles=["roles/editor"])
    request = pb.UpdateUserRequest(user=admin_pb2.User(name="users/lin"))
    request.update_mask.paths.extend(paths)
    user = await house.admin().UpdateUser(request)
    assert (user.display_name, user.email, list(user.roles)) == ("lin", "", ["roles/member"])


@pytest.mark.parametrize("path", ["kind", "name", "create_time", "nonsense", "Roles"])
async def test_a_mask_cannot_name_anything_else(house: House, path: str) -> None:
    await make_user(house, "lin")
    request = pb.UpdateUserRequest(user=admin_pb2.User(name="users/lin", display_name="x"))
    request.update_mask.paths.extend(["display_name", path])
    failure = await refused(house.admin().UpdateUser(request))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (failure.reason, failure.field) == ("UPDATE_MASK_UNKNOWN", "update_mask")
    assert failure.metadata == {
        "path": path,
        "allowed": "display_name, email, roles, disabled, user_name, external_id",
    }
    user = await house.admin().GetUser(pb.GetUserRequest(name="users/lin"))
    assert user.display_name == "lin"


async def test_a_removed_user_takes_keys_and_memberships_along(house: House) -> None:
    await make_user(house, "lin")
    key = await house.key_of("lin")
    group = admin_pb2.Group(members=["users/lin"])
    await house.admin().CreateGroup(pb.CreateGroupRequest(group_id="hr", group=group))
    await house.admin().DeleteUser(pb.DeleteUserRequest(name="users/lin"))
    left = await house.admin().GetGroup(pb.GetGroupRequest(name="groups/hr"))
    assert not left.members
    failure = await refused(house.admin(key).GetTenant(pb.GetTenantRequest(name="tenants/-")))
    assert failure.reason == "API_KEY_UNKNOWN"
    keys = await house.admin().ListApiKeys(pb.ListApiKeysRequest())
    assert {key.user for key in keys.api_keys} == {"users/admin"}


async def test_another_tenants_user_and_an_absent_one_read_the_same(house: House) -> None:
    await make_user(house, "lin")
    other = house.admin(await house.second_tenant())
    mask = {"paths": ["display_name"]}
    for name in ("users/lin", "users/absent", "users/-", "users/a/b"):
        calls = [
            other.GetUser(pb.GetUserRequest(name=name)),
            other.DeleteUser(pb.DeleteUserRequest(name=name)),
            other.UpdateUser(pb.UpdateUserRequest(user={"name": name}, update_mask=mask)),
        ]
        for call in calls:
            failure = await refused(call)
            assert failure.code is grpc.StatusCode.NOT_FOUND
            assert failure.reason == "USER_NOT_FOUND"
            assert failure.metadata == {"user": name}
            assert failure.message == f"User {name!r} does not exist."


async def test_users_come_in_pages_by_name(house: House) -> None:
    for name in ("b", "a", "c", "d"):
        await make_user(house, name)
    names: list[str] = []
    token = ""
    while True:
        page = await house.admin().ListUsers(pb.ListUsersRequest(page_size=2, page_token=token))
        assert len(page.users) <= 2
        names += [user.name for user in page.users]
        token = page.next_page_token
        if not token:
            break
    assert names == ["users/a", "users/admin", "users/b", "users/c", "users/d"]


async def test_a_page_token_serves_no_other_request(house: House) -> None:
    await make_user(house, "lin")
    page = await house.admin().ListUsers(pb.ListUsersRequest(page_size=1))
    other = house.admin(await house.second_tenant())
    token = page.next_page_token
    for call in (
        other.ListUsers(pb.ListUsersRequest(page_token=token)),
        house.admin().ListRoles(pb.ListRolesRequest(page_token=token)),
        house.admin().ListUsers(pb.ListUsersRequest(page_token=token[:-2])),
        house.admin().ListUsers(pb.ListUsersRequest(page_token="nonsense!")),
    ):
        failure = await refused(call)
        assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
        assert (failure.reason, failure.field) == ("PAGE_TOKEN_INVALID", "page_token")


async def test_who_lacks_a_permission_is_told_which_and_the_log_too(house: House) -> None:
    await make_user(house, "lin")
    lin = house.admin(await house.key_of("lin"))
    failure = await refused(lin.CreateUser(pb.CreateUserRequest(user_id="kim", user={"email": ""})))
    assert failure.code is grpc.StatusCode.PERMISSION_DENIED
    assert failure.reason == "PERMISSION_DENIED"
    assert failure.metadata == {"subject": "users/lin", "permission": "admin.users:manage"}
    events = await house.admin().ListAuditEvents(pb.ListAuditEventsRequest(user="users/lin"))
    assert events.events[0].action == "admin.CreateUser"
    assert events.events[0].decision == admin_pb2.AuditEvent.DENIED
    assert events.events[0].detail == "PERMISSION_DENIED"
