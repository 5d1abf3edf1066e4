from __future__ import annotations

import grpc
import pytest

from atrium.admin.v1 import admin_pb2
from atrium.admin.v1 import admin_service_pb2 as pb

from .house import House, refused


async def make_users(house: House, *names: str) -> None:
    for name in names:
        await house.admin().CreateUser(
            pb.CreateUserRequest(user_id=name, user=admin_pb2.User(display_name=name))
        )


async def make_group(house: House, group_id: str, **fields: object) -> admin_pb2.Group:
    return await house.admin().CreateGroup(
        pb.CreateGroupRequest(group_id=group_id, group=admin_pb2.Group(**fields))
    )


async def may(house: House, user: str, resource: str, action: str) -> bool:
    response = await house.admin().TestPermission(
        pb.TestPermissionRequest(user=f"users/{user}", resource=resource, action=action)
    )
    return bool(response.allowed)


async def test_members_get_the_roles_of_their_group(house: House) -> None:
    await make_users(house, "lin", "kim")
    group = await make_group(house, "editors", members=["users/lin"], roles=["roles/editor"])
    assert group.name == "groups/editors"
    assert group.display_name == "editors"
    assert await may(house, "lin", "knowledge.documents", "write")
    assert not await may(house, "kim", "knowledge.documents", "write")


async def test_members_and_roles_change_by_mask(house: House) -> None:
    await make_users(house, "lin", "kim")
    await make_group(house, "editors", members=["users/lin"], roles=["roles/editor"])
    update = pb.UpdateGroupRequest(
        group=admin_pb2.Group(name="groups/editors", members=["users/kim"])
    )
    update.update_mask.paths.append("members")
    group = await house.admin().UpdateGroup(update)
    assert list(group.members) == ["users/kim"]
    assert list(group.roles) == ["roles/editor"]
    assert await may(house, "kim", "knowledge.documents", "write")
    assert not await may(house, "lin", "knowledge.documents", "write")
    update = pb.UpdateGroupRequest(group=admin_pb2.Group(name="groups/editors"))
    update.update_mask.paths.append("roles")
    assert list((await house.admin().UpdateGroup(update)).members) == ["users/kim"]
    assert not await may(house, "kim", "knowledge.documents", "write")


async def test_a_removed_group_takes_its_roles_from_its_members_who_stay(house: House) -> None:
    await make_users(house, "lin")
    await make_group(house, "editors", members=["users/lin"], roles=["roles/editor"])
    assert await may(house, "lin", "knowledge.documents", "write")
    await house.admin().DeleteGroup(pb.DeleteGroupRequest(name="groups/editors"))
    assert not await may(house, "lin", "knowledge.documents", "write")
    assert await may(house, "lin", "knowledge.answers", "ask")


async def test_a_group_id_is_taken_once(house: House) -> None:
    await make_group(house, "hr")
    failure = await refused(make_group(house, "hr"))
    assert failure.code is grpc.StatusCode.ALREADY_EXISTS
    assert (failure.reason, failure.field) == ("GROUP_EXISTS", "group_id")
    assert failure.metadata == {"group": "groups/hr"}


async def test_unknown_members_and_roles_are_named_with_their_place(house: House) -> None:
    await make_users(house, "lin")
    failure = await refused(make_group(house, "hr", members=["users/lin", "users/absent"]))
    assert failure.code is grpc.StatusCode.NOT_FOUND
    assert (failure.reason, failure.field) == ("USER_NOT_FOUND", "group.members[1]")
    assert failure.metadata == {"user": "users/absent"}
    failure = await refused(make_group(house, "hr", roles=["roles/absent"]))
    assert failure.code is grpc.StatusCode.NOT_FOUND
    assert (failure.reason, failure.field) == ("ROLE_NOT_FOUND", "group.roles[0]")
    assert not (await house.admin().ListGroups(pb.ListGroupsRequest())).groups


async def test_members_of_another_tenant_are_unknown(house: House) -> None:
    await make_users(house, "lin")
    other = house.admin(await house.second_tenant())
    request = pb.CreateGroupRequest(group_id="hr", group={"members": ["users/lin"]})
    failure = await refused(other.CreateGroup(request))
    assert (failure.reason, failure.field) == ("USER_NOT_FOUND", "group.members[0]")


async def test_another_tenants_group_and_an_absent_one_read_the_same(house: House) -> None:
    await make_group(house, "hr")
    other = house.admin(await house.second_tenant())
    for name in ("groups/hr", "groups/absent"):
        for call in (
            other.GetGroup(pb.GetGroupRequest(name=name)),
            other.DeleteGroup(pb.DeleteGroupRequest(name=name)),
            other.UpdateGroup(pb.UpdateGroupRequest(group={"name": name})),
        ):
            failure = await refused(call)
            assert failure.code is grpc.StatusCode.NOT_FOUND
            assert failure.reason == "GROUP_NOT_FOUND"
            assert failure.message == f"Group {name!r} does not exist."


async def test_a_mask_cannot_name_anything_else(house: House) -> None:
    await make_group(house, "hr")
    request = pb.UpdateGroupRequest(
        group={"name": "groups/hr"}, update_mask={"paths": ["create_time"]}
    )
    failure = await refused(house.admin().UpdateGroup(request))
    assert failure.reason == "UPDATE_MASK_UNKNOWN"
    assert failure.metadata == {
        "path": "create_time",
        "allowed": "display_name, members, roles, external_id",
    }


async def test_groups_come_in_pages_and_large_ones_make_shorter_pages(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atrium_admin.app.read_groups._MOST_MEMBERS", 3)
    await make_users(house, "a", "b")
    members = ["users/a", "users/b"]
    for name in ("one", "three", "two", "zero"):
        await make_group(house, name, members=members)
    sizes, names, token = [], [], ""
    while True:
        page = await house.admin().ListGroups(pb.ListGroupsRequest(page_size=3, page_token=token))
        sizes.append(len(page.groups))
        names += [group.name for group in page.groups]
        token = page.next_page_token
        if not token:
            break
    assert sizes == [1, 1, 1, 1]
    assert names == ["groups/one", "groups/three", "groups/two", "groups/zero"]
