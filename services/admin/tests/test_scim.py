"""SCIM over HTTP against the running service, in the shapes that real directories send."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from atrium.admin.v1 import admin_service_pb2 as pb

from .house import House
from .scim import ENTERPRISE, GROUP, USER, client_for, failed, make_group, make_user, members, patch


async def test_a_user_is_made_as_a_directory_sends_it(
    house: House, scim: httpx.AsyncClient
) -> None:
    made = await make_user(
        scim,
        "lin@acme.example",
        externalId="00u1",
        name={"givenName": "Wei", "familyName": "Lin"},
        emails=[
            {"value": "home@acme.example", "type": "home"},
            {"value": "lin@corp.local", "type": "work", "primary": "True"},
        ],
        active="True",
        title="Partner",
        nonsense={"is": "passed over"},
        **{ENTERPRISE: {"department": "HR"}},
    )
    assert made["id"] == "lin@acme.example"
    assert made["meta"]["location"] == "http://atrium/scim/v2/Users/lin@acme.example"
    assert made["externalId"] == "00u1"
    assert made["displayName"] == "Wei Lin"
    assert made["active"] is True
    assert [mail["value"] for mail in made["emails"]] == ["lin@corp.local"]
    got = await scim.get(f"/Users/{made['id']}")
    assert got.json() == made
    user = await house.admin().GetUser(pb.GetUserRequest(name=f"users/{made['id']}"))
    assert (user.external_id, list(user.roles)) == ("00u1", ["roles/member"])
    events = (
        await house.admin().ListAuditEvents(pb.ListAuditEventsRequest(action="admin.CreateUser"))
    ).events
    assert len(events) == 1


async def test_a_user_name_that_cannot_be_an_id_gets_one(scim: httpx.AsyncClient) -> None:
    made = await make_user(scim, "林 薇")
    assert made["id"] != made["userName"] == "林 薇"


async def test_a_user_name_is_taken_once_whatever_its_case(scim: httpx.AsyncClient) -> None:
    await make_user(scim, "lin", externalId="1")
    response = await scim.post("/Users", json={"schemas": [USER], "userName": "LIN"})
    failed(response, 409, "uniqueness", "USER_NAME_TAKEN")
    body = {"schemas": [USER], "userName": "kim", "externalId": "1"}
    failed(await scim.post("/Users", json=body), 409, "uniqueness", "EXTERNAL_ID_TAKEN")
    body = {"schemas": [USER], "userName": "admin"}
    failed(await scim.post("/Users", json=body), 409, "uniqueness", "USER_EXISTS")


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "Replace", "path": "active", "value": "False"},
        {"op": "replace", "value": {"active": False}},
        {"op": "Add", "path": "active", "value": False},
        {"op": "replace", "path": f"{USER}:active", "value": "false"},
    ],
)
async def test_a_user_is_switched_off_in_every_shape_and_their_keys_with_them(
    house: House, scim: httpx.AsyncClient, operation: dict[str, Any]
) -> None:
    await make_user(scim, "lin")
    key = await house.key_of("lin")
    assert await house.app.authenticator.authenticate(key, None)
    response = await patch(scim, "/Users/lin", operation)
    assert (response.status_code, response.json()["active"]) == (200, False)
    with pytest.raises(Exception, match="is disabled"):
        await house.app.authenticator.authenticate(key, None)
    # Who leaves `active` out of a replacement does not let them in again.
    kept = await scim.put("/Users/lin", json={"schemas": [USER], "userName": "lin"})
    assert kept.json()["active"] is False


async def test_attributes_that_are_known_but_not_kept_are_passed_over_in_a_patch(
    scim: httpx.AsyncClient,
) -> None:
    await make_user(scim, "lin")
    response = await patch(
        scim,
        "/Users/lin",
        {"op": "replace", "path": "name.givenName", "value": "Wei"},
        {"op": "replace", "path": 'emails[type eq "work"].value', "value": "lin@corp.local"},
        {"op": "add", "path": f"{ENTERPRISE}:department", "value": "HR"},
        {"op": "replace", "value": {"displayName": "Lin Wei", "name.familyName": "Lin"}},
    )
    assert response.json()["displayName"] == "Lin Wei"
    assert response.json()["emails"][0]["value"] == "lin@corp.local"


@pytest.mark.parametrize(
    ("operation", "scim_type", "words"),
    [
        ({"op": "replace", "path": "nonsense", "value": 1}, "invalidPath", "nonsense"),
        ({"op": "replace", "path": "emails[", "value": 1}, "invalidPath", "syntax"),
        ({"op": "replace", "path": "active", "value": "perhaps"}, "invalidValue", "boolean"),
        ({"op": "explode", "path": "active", "value": True}, "invalidValue", "explode"),
        ({"op": "replace", "path": "id", "value": "x"}, "mutability", "read-only"),
        ({"op": "remove", "path": "userName"}, "mutability", "required"),
        ({"op": "remove"}, "noTarget", "path"),
        ({"op": "replace", "path": "displayName", "value": "a\nb"}, "invalidValue", "FIELD_"),
    ],
)
async def test_a_bad_operation_undoes_the_whole_patch(
    scim: httpx.AsyncClient, operation: dict[str, Any], scim_type: str, words: str
) -> None:
    before = await make_user(scim, "lin")
    good = {"op": "replace", "path": "active", "value": False}
    failed(await patch(scim, "/Users/lin", good, operation), 400, scim_type, words)
    assert (await scim.get("/Users/lin")).json() == before


async def test_a_patch_of_too_many_operations_is_refused(scim: httpx.AsyncClient) -> None:
    before = await make_user(scim, "lin")
    operation = {"op": "replace", "path": "active", "value": False}
    response = await patch(scim, "/Users/lin", *[operation] * 1001)
    failed(response, 413, "", "SCIM_PATCH_TOO_LONG")
    assert (await scim.get("/Users/lin")).json() == before


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff", b"[" * 10_000])
async def test_a_body_that_is_no_object_is_told_so(scim: httpx.AsyncClient, body: bytes) -> None:
    for method, path in (("POST", "/Users"), ("POST", "/Groups"), ("PATCH", "/Users/admin")):
        response = await scim.request(method, path, content=body)
        failed(response, 400, "invalidSyntax", "SCIM_BODY_MALFORMED")


async def test_a_body_that_is_too_large_is_refused(scim: httpx.AsyncClient) -> None:
    response = await scim.post("/Users", content=b" " * (4 * 1024 * 1024 + 1))
    failed(response, 413, "", "SCIM_BODY_TOO_LARGE")


@pytest.mark.parametrize(
    "body",
    [
        {"schemas": [USER]},
        {"schemas": [USER], "userName": 7},
        {"schemas": [USER], "userName": "a\nb"},
        {"schemas": [USER], "userName": "lin", "active": "perhaps"},
        {"schemas": [USER], "userName": "lin", "emails": "lin@acme.example"},
        {"schemas": [USER], "userName": "x" * 257},
        {"schemas": [USER], "userName": "lin", "displayName": "x" * 201},
    ],
)
async def test_a_user_that_is_malformed_is_told_so_and_not_stored(
    scim: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    response = await scim.post("/Users", json=body)
    assert (response.status_code, response.json()["scimType"]) == (400, "invalidValue")
    assert (await scim.get("/Users")).json()["totalResults"] == 1


async def test_what_is_not_there_is_not_found(scim: httpx.AsyncClient) -> None:
    for path in ("/Users/absent", "/Users/no spaces"):
        failed(await scim.get(path), 404, "", "USER_NOT_FOUND")
        failed(await scim.delete(path), 404, "", "USER_NOT_FOUND")
        operation = {"op": "replace", "path": "active", "value": False}
        failed(await patch(scim, path, operation), 404, "", "USER_NOT_FOUND")
    failed(await scim.get("/Groups/absent"), 404, "", "GROUP_NOT_FOUND")


async def test_the_last_administrator_is_neither_switched_off_nor_removed(
    scim: httpx.AsyncClient,
) -> None:
    operation = {"op": "replace", "path": "active", "value": False}
    failed(await patch(scim, "/Users/admin", operation), 409, "", "LAST_ADMIN")
    failed(await scim.delete("/Users/admin"), 409, "", "LAST_ADMIN")
    assert (await scim.get("/Users/admin")).json()["active"] is True


async def test_a_removed_user_is_gone_with_their_memberships(scim: httpx.AsyncClient) -> None:
    await make_user(scim, "lin")
    await make_group(scim, "hr", "lin")
    assert (await scim.delete("/Users/lin")).status_code == 204
    assert members((await scim.get("/Groups/hr")).json()) == []


# Groups


async def test_a_group_gives_its_members_what_the_administrator_says(
    house: House, scim: httpx.AsyncClient
) -> None:
    await make_user(scim, "lin")
    made = await make_group(scim, "Human Resources", "lin")
    assert members(made) == ["lin"]
    update = pb.UpdateGroupRequest(
        group={"name": f"groups/{made['id']}", "roles": ["roles/editor"]}
    )
    update.update_mask.paths.append("roles")
    await house.admin().UpdateGroup(update)
    allow_set = await house.app.compile_policy("acme", "lin", 10_000)
    assert allow_set.permits("knowledge.documents", "write")
    body = {"schemas": [GROUP], "displayName": "HR", "externalId": "g1"}
    replaced = (await scim.put(f"/Groups/{made['id']}", json=body)).json()
    assert (replaced["displayName"], replaced["externalId"]) == ("HR", "g1")
    group = await house.admin().GetGroup(pb.GetGroupRequest(name=f"groups/{made['id']}"))
    assert (list(group.roles), list(group.members)) == (["roles/editor"], [])


async def test_members_come_and_go_in_every_shape(scim: httpx.AsyncClient) -> None:
    for name in ("a", "b", "c"):
        await make_user(scim, name)
    await make_group(scim, "hr", "a")
    steps: list[tuple[dict[str, Any], list[str]]] = [
        ({"op": "Add", "path": "members", "value": [{"value": "b"}]}, ["a", "b"]),
        ({"op": "add", "path": "members", "value": [{"value": "b"}]}, ["a", "b"]),
        ({"op": "add", "value": {"members": [{"value": "c", "display": "C"}]}}, ["a", "b", "c"]),
        ({"op": "Remove", "path": 'members[value eq "a"]'}, ["b", "c"]),
        ({"op": "Remove", "path": "members", "value": [{"value": "b"}]}, ["c"]),
        ({"op": "replace", "path": "members", "value": [{"value": "a"}]}, ["a"]),
        ({"op": "replace", "value": {"id": "hr", "displayName": "HR"}}, ["a"]),
        ({"op": "remove", "path": "members"}, []),
        ({"op": "remove", "path": 'members[value eq "a"]'}, []),
    ]
    for operation, expected in steps:
        response = await patch(scim, "/Groups/hr", operation)
        assert response.status_code == 200, (operation, response.text)
        assert members(response.json()) == expected, operation


async def test_an_unknown_member_is_told_so_and_nobody_is_added(scim: httpx.AsyncClient) -> None:
    await make_user(scim, "a")
    await make_group(scim, "hr")
    value = [{"value": "a"}, {"value": "absent"}]
    response = await patch(scim, "/Groups/hr", {"op": "add", "path": "members", "value": value})
    failed(response, 400, "invalidValue", "USER_NOT_FOUND")
    assert members((await scim.get("/Groups/hr")).json()) == []
    body = {"schemas": [GROUP], "displayName": "it", "members": [{"value": "absent"}]}
    failed(await scim.post("/Groups", json=body), 400, "invalidValue", "USER_NOT_FOUND")
    found = (await scim.get("/Groups", params={"filter": 'displayName eq "IT"'})).json()
    assert found["totalResults"] == 0


async def test_members_that_are_added_at_once_are_all_there(scim: httpx.AsyncClient) -> None:
    names = [f"u{number}" for number in range(8)]
    for name in names:
        await make_user(scim, name)
    await make_group(scim, "hr")
    responses = await asyncio.gather(
        *(
            patch(scim, "/Groups/hr", {"op": "add", "path": "members", "value": [{"value": name}]})
            for name in names
        )
    )
    assert {response.status_code for response in responses} == {200}
    assert members((await scim.get("/Groups/hr")).json()) == names


async def test_groups_are_listed_without_their_members_where_that_is_asked(
    scim: httpx.AsyncClient,
) -> None:
    await make_user(scim, "a")
    await make_group(scim, "hr", "a")
    params = {"filter": 'displayName eq "HR"', "excludedAttributes": "members"}
    response = await scim.get("/Groups", params=params)
    assert response.json()["totalResults"] == 1, response.text
    (group,) = response.json()["Resources"]
    assert group["displayName"] == "hr"
    assert "members" not in group
    body = {"schemas": [GROUP], "displayName": "hr"}
    failed(await scim.post("/Groups", json=body), 409, "uniqueness", "GROUP_EXISTS")


# Who may


async def test_only_who_manages_users_may_and_only_in_their_own_tenant(
    house: House, scim: httpx.AsyncClient
) -> None:
    await make_user(scim, "lin")
    async with client_for(house, await house.key_of("lin")) as lin:
        failed(await lin.get("/Users"), 403, "", "PERMISSION_DENIED")
        failed(await lin.delete("/Users/lin"), 403, "", "PERMISSION_DENIED")
    async with client_for(house, None) as nobody:
        response = await nobody.get("/Users")
        failed(response, 401, "", "CREDENTIAL_MISSING")
        assert response.headers["www-authenticate"].startswith("Bearer")
    async with client_for(house, "nonsense") as stranger:
        failed(await stranger.get("/Users"), 401, "", "CREDENTIAL_MALFORMED")
    async with client_for(house, await house.second_tenant()) as globex:
        failed(await globex.get("/Users/lin"), 404, "", "USER_NOT_FOUND")
        assert (await globex.get("/Users")).json()["totalResults"] == 1
    events = (
        await house.admin().ListAuditEvents(pb.ListAuditEventsRequest(user="users/lin"))
    ).events
    assert [(event.action, event.detail) for event in events] == [
        ("admin.ScimDelete", "PERMISSION_DENIED"),
        ("admin.ScimGet", "PERMISSION_DENIED"),
    ]


async def test_the_endpoints_describe_themselves(scim: httpx.AsyncClient) -> None:
    config = (await scim.get("/ServiceProviderConfig")).json()
    assert config["patch"] == {"supported": True}
    assert config["filter"] == {"supported": True, "maxResults": 200}
    assert config["bulk"]["supported"] is False
    types = (await scim.get("/ResourceTypes")).json()["Resources"]
    assert [(each["id"], each["endpoint"]) for each in types] == [
        ("User", "/Users"),
        ("Group", "/Groups"),
    ]
    schemas = {each["id"]: each for each in (await scim.get("/Schemas")).json()["Resources"]}
    assert set(schemas) == {USER, GROUP}
    kept = {attribute["name"] for attribute in schemas[USER]["attributes"]}
    assert kept == {"userName", "displayName", "active", "emails"}
