from __future__ import annotations

import grpc
import pytest

from atrium.admin.v1 import admin_pb2
from atrium.admin.v1 import admin_service_pb2 as pb

from .house import House, refused

PAY = admin_pb2.Grant(resource="labels/hr/compensation", action="read")


async def make_role(house: House, role_id: str, **fields: object) -> admin_pb2.Role:
    return await house.admin().CreateRole(
        pb.CreateRoleRequest(role_id=role_id, role=admin_pb2.Role(**fields))
    )


async def test_every_tenant_has_the_built_in_roles(house: House) -> None:
    roles = (await house.admin().ListRoles(pb.ListRolesRequest())).roles
    assert {role.name for role in roles if role.built_in} == {
        "roles/admin",
        "roles/editor",
        "roles/member",
        "roles/service",
    }
    service = next(role for role in roles if role.name == "roles/service")
    assert list(service.inherits) == ["roles/editor", "roles/member"]
    assert [(g.resource, g.action) for g in service.grants] == [("users/*", "impersonate")]


async def test_a_role_keeps_its_grants_in_their_order_and_each_once(house: House) -> None:
    deny = admin_pb2.Grant(resource="labels/*", action="*", effect=admin_pb2.Grant.DENY)
    role = await make_role(house, "hr-partner", grants=[PAY, deny, PAY], inherits=["roles/member"])
    assert role.name == "roles/hr-partner"
    assert not role.built_in
    assert [(g.resource, g.action, g.effect) for g in role.grants] == [
        ("labels/hr/compensation", "read", admin_pb2.Grant.ALLOW),
        ("labels/*", "*", admin_pb2.Grant.DENY),
    ]
    assert await house.admin().GetRole(pb.GetRoleRequest(name=role.name)) == role


async def test_a_permission_is_explained_by_roles_and_grants_denies_first(house: House) -> None:
    everything = admin_pb2.Grant(resource="labels/hr/*", action="read")
    deny = admin_pb2.Grant(
        resource="labels/hr/compensation", action="read", effect=admin_pb2.Grant.DENY
    )
    await make_role(house, "hr", grants=[everything])
    await make_role(house, "hr-partner", grants=[PAY], inherits=["roles/hr"])
    await make_role(house, "suspended", grants=[deny])
    await house.admin().CreateUser(
        pb.CreateUserRequest(user_id="lin", user={"roles": ["roles/hr-partner"]})
    )
    question = pb.TestPermissionRequest(
        user="users/lin", resource="labels/hr/compensation", action="read"
    )
    answer = await house.admin().TestPermission(question)
    assert answer.allowed
    assert [(match.role, match.grant.resource) for match in answer.matches] == [
        ("roles/hr", "labels/hr/*"),
        ("roles/hr-partner", "labels/hr/compensation"),
    ]
    await house.admin().CreateGroup(
        pb.CreateGroupRequest(
            group_id="leavers", group={"members": ["users/lin"], "roles": ["roles/suspended"]}
        )
    )
    answer = await house.admin().TestPermission(question)
    assert not answer.allowed
    assert [match.role for match in answer.matches] == [
        "roles/suspended",
        "roles/hr",
        "roles/hr-partner",
    ]
    assert answer.matches[0].grant.effect == admin_pb2.Grant.DENY


async def test_a_disabled_user_may_nothing(house: House) -> None:
    await house.admin().CreateUser(
        pb.CreateUserRequest(user_id="lin", user={"disabled": True, "roles": ["roles/editor"]})
    )
    answer = await house.admin().TestPermission(
        pb.TestPermissionRequest(user="users/lin", resource="knowledge.documents", action="write")
    )
    assert not answer.allowed
    assert [match.role for match in answer.matches] == ["roles/editor"]


async def test_a_permission_of_an_unknown_user_is_not_explained(house: House) -> None:
    request = pb.TestPermissionRequest(user="users/absent", resource="x", action="read")
    failure = await refused(house.admin().TestPermission(request))
    assert failure.code is grpc.StatusCode.NOT_FOUND
    assert (failure.reason, failure.field) == ("USER_NOT_FOUND", "user")


async def test_a_role_id_is_taken_once_also_by_a_built_in_role(house: House) -> None:
    failure = await refused(make_role(house, "admin"))
    assert failure.code is grpc.StatusCode.ALREADY_EXISTS
    assert (failure.reason, failure.field) == ("ROLE_EXISTS", "role_id")
    assert failure.metadata == {"role": "roles/admin"}


async def test_an_unknown_inherited_role_is_named_with_its_place(house: House) -> None:
    failure = await refused(make_role(house, "hr", inherits=["roles/member", "roles/absent"]))
    assert failure.code is grpc.StatusCode.NOT_FOUND
    assert (failure.reason, failure.field) == ("ROLE_NOT_FOUND", "role.inherits[1]")


async def test_a_circle_of_roles_is_refused_and_named(house: House) -> None:
    await make_role(house, "a")
    await make_role(house, "b", inherits=["roles/a"])
    await make_role(house, "c", inherits=["roles/b"])
    request = pb.UpdateRoleRequest(role={"name": "roles/a", "inherits": ["roles/c"]})
    failure = await refused(house.admin().UpdateRole(request))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (failure.reason, failure.field) == ("ROLE_CYCLE", "role.inherits")
    assert failure.metadata == {"circle": "roles/a -> roles/c -> roles/b -> roles/a"}
    role = await house.admin().GetRole(pb.GetRoleRequest(name="roles/a"))
    assert not role.inherits


async def test_a_new_role_cannot_inherit_from_itself(house: House) -> None:
    failure = await refused(make_role(house, "a", inherits=["roles/a"]))
    assert failure.reason == "ROLE_CYCLE"
    assert failure.metadata == {"circle": "roles/a -> roles/a"}


async def test_built_in_roles_stay_as_they_are(house: House) -> None:
    for call in (
        house.admin().UpdateRole(pb.UpdateRoleRequest(role={"name": "roles/member"})),
        house.admin().DeleteRole(pb.DeleteRoleRequest(name="roles/member")),
    ):
        failure = await refused(call)
        assert failure.code is grpc.StatusCode.FAILED_PRECONDITION
        assert failure.reason == "ROLE_BUILT_IN"
        assert failure.metadata == {"role": "roles/member"}


@pytest.mark.parametrize("holder", ["users/lin", "groups/hr", "roles/child"])
async def test_a_role_in_use_is_not_removed(house: House, holder: str) -> None:
    await make_role(house, "used")
    collection, _, identifier = holder.partition("/")
    if collection == "users":
        user = {"roles": ["roles/used"]}
        await house.admin().CreateUser(pb.CreateUserRequest(user_id=identifier, user=user))
    elif collection == "groups":
        group = {"roles": ["roles/used"]}
        await house.admin().CreateGroup(pb.CreateGroupRequest(group_id=identifier, group=group))
    else:
        await make_role(house, identifier, inherits=["roles/used"])
    failure = await refused(house.admin().DeleteRole(pb.DeleteRoleRequest(name="roles/used")))
    assert failure.code is grpc.StatusCode.FAILED_PRECONDITION
    assert failure.reason == "ROLE_IN_USE"
    assert failure.metadata == {"role": "roles/used", "holders": "1", "example": holder}


async def test_a_role_that_nobody_holds_is_removed(house: House) -> None:
    await make_role(house, "unused", grants=[PAY])
    await house.admin().DeleteRole(pb.DeleteRoleRequest(name="roles/unused"))
    failure = await refused(house.admin().GetRole(pb.GetRoleRequest(name="roles/unused")))
    assert failure.reason == "ROLE_NOT_FOUND"


async def test_another_tenants_role_and_an_absent_one_read_the_same(house: House) -> None:
    await make_role(house, "hr")
    other = house.admin(await house.second_tenant())
    for name in ("roles/hr", "roles/absent"):
        for call in (
            other.GetRole(pb.GetRoleRequest(name=name)),
            other.DeleteRole(pb.DeleteRoleRequest(name=name)),
            other.UpdateRole(pb.UpdateRoleRequest(role={"name": name})),
        ):
            failure = await refused(call)
            assert failure.code is grpc.StatusCode.NOT_FOUND
            assert failure.reason == "ROLE_NOT_FOUND"
            assert failure.message == f"Role {name!r} does not exist."


async def test_a_mask_cannot_name_anything_else(house: House) -> None:
    await make_role(house, "hr")
    request = pb.UpdateRoleRequest(role={"name": "roles/hr"}, update_mask={"paths": ["built_in"]})
    failure = await refused(house.admin().UpdateRole(request))
    assert failure.reason == "UPDATE_MASK_UNKNOWN"
    assert failure.metadata == {"path": "built_in", "allowed": "display_name, grants, inherits"}


@pytest.mark.parametrize("resource", ["", "a*b", "a b", "**", "a\nb"])
async def test_a_malformed_resource_is_refused(house: House, resource: str) -> None:
    grant = admin_pb2.Grant(resource=resource, action="read")
    failure = await refused(make_role(house, "hr", grants=[grant]))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (failure.reason, failure.field) == ("FIELD_INVALID", "role.grants[0].resource")


async def test_a_change_of_a_role_is_felt_by_who_holds_it_at_once(house: House) -> None:
    await make_role(house, "reader")
    await make_role(house, "partner", inherits=["roles/reader"])
    await house.admin().CreateUser(
        pb.CreateUserRequest(user_id="lin", user={"roles": ["roles/partner"]})
    )
    lin = house.admin(await house.key_of("lin"))
    assert (await refused(lin.ListUsers(pb.ListUsersRequest()))).reason == "PERMISSION_DENIED"
    grant = {"resource": "admin.users", "action": "read"}
    update = pb.UpdateRoleRequest(role={"name": "roles/reader", "grants": [grant]})
    await house.admin().UpdateRole(update)
    assert (await lin.ListUsers(pb.ListUsersRequest())).users
    update = pb.UpdateRoleRequest(role={"name": "roles/partner"})
    await house.admin().UpdateRole(update)
    assert (await refused(lin.ListUsers(pb.ListUsersRequest()))).reason == "PERMISSION_DENIED"


async def test_roles_with_many_grants_make_shorter_pages(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atrium_admin.app.read_roles._MOST_GRANTS", 5)
    names, token = [], ""
    while True:
        page = await house.admin().ListRoles(pb.ListRolesRequest(page_token=token))
        names += [role.name for role in page.roles]
        assert len(page.roles) == 1 or sum(len(role.grants) for role in page.roles) <= 5
        token = page.next_page_token
        if not token:
            break
    assert names == ["roles/admin", "roles/editor", "roles/member", "roles/service"]
