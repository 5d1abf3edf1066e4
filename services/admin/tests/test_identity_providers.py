from __future__ import annotations

from typing import Any

import grpc
import pytest

from atrium.admin.v1 import admin_pb2
from atrium.admin.v1 import admin_service_pb2 as pb
from atrium.admin.v1 import directory_service_pb2 as directory
from atrium_admin.domain.errors import FieldInvalid
from atrium_admin.domain.identity_providers import group_id_for, require_url

from .house import House, refused

ISSUER = "https://login.acme.example"
NAME = "identityProviders/okta"


def create(house: House, provider_id: str = "okta", key: str | None = None, **fields: Any) -> Any:
    provider = {"issuer": ISSUER, "audiences": ["atrium"], **fields}
    return house.directory(key).CreateIdentityProvider(
        directory.CreateIdentityProviderRequest(
            identity_provider_id=provider_id, identity_provider=provider
        )
    )


def update(house: House, *paths: str, **fields: Any) -> Any:
    request = directory.UpdateIdentityProviderRequest(identity_provider={"name": NAME, **fields})
    request.update_mask.paths.extend(paths)
    return house.directory().UpdateIdentityProvider(request)


async def nothing_is_stored(house: House) -> None:
    found = await house.directory().ListIdentityProviders(directory.ListIdentityProvidersRequest())
    assert not found.identity_providers
    assert not (await house.admin().ListGroups(pb.ListGroupsRequest())).groups


async def test_what_is_left_out_takes_its_default(house: House) -> None:
    provider = await create(house)
    assert provider.name == NAME
    assert provider.display_name == "okta"
    assert list(provider.algorithms) == [1, 2, 3, 4]
    assert (provider.user_claim, provider.email_claim, provider.name_claim) == (
        "sub",
        "email",
        "name",
    )
    assert provider.groups_claim == ""
    assert provider.user_match == directory.IdentityProvider.USER_NAME
    assert not provider.provision_users
    got = await house.directory().GetIdentityProvider(
        directory.GetIdentityProviderRequest(name=NAME)
    )
    assert got == provider


async def test_a_mapping_makes_groups_that_hold_its_roles(house: House) -> None:
    mapping = [{"claim_value": "hr", "roles": ["roles/editor", "roles/member"]}]
    provider = await create(house, groups_claim="groups", group_mappings=mapping)
    assert provider.group_mappings[0].group == "groups/okta.hr"
    group = await house.admin().GetGroup(pb.GetGroupRequest(name="groups/okta.hr"))
    assert list(group.roles) == ["roles/editor", "roles/member"]


async def test_a_changed_mapping_changes_its_groups_and_keeps_their_members(house: House) -> None:
    mapping = [
        {"claim_value": "hr", "roles": ["roles/member"]},
        {"claim_value": "it", "roles": ["roles/member"]},
    ]
    await create(house, groups_claim="groups", group_mappings=mapping)
    await house.admin().CreateUser(pb.CreateUserRequest(user_id="lin", user={"email": ""}))
    members = pb.UpdateGroupRequest(group={"name": "groups/okta.hr", "members": ["users/lin"]})
    members.update_mask.paths.append("members")
    await house.admin().UpdateGroup(members)
    changed = [
        {"claim_value": "hr", "roles": ["roles/editor"]},
        {"claim_value": "ops", "roles": ["roles/admin"]},
    ]
    provider = await update(house, "group_mappings", group_mappings=changed)
    assert [each.claim_value for each in provider.group_mappings] == ["hr", "ops"]
    groups = (await house.admin().ListGroups(pb.ListGroupsRequest())).groups
    assert [(each.name, list(each.roles), list(each.members)) for each in groups] == [
        ("groups/okta.hr", ["roles/editor"], ["users/lin"]),
        ("groups/okta.ops", ["roles/admin"], []),
    ]
    allow_set = await house.app.compile_policy("acme", "lin", 10_000)
    assert allow_set.permits("knowledge.documents", "write")


async def test_an_update_leaves_what_its_mask_does_not_name(house: House) -> None:
    await create(house, display_name="Okta", provision_users=True)
    provider = await update(house, "audiences", audiences=["atrium", "more"], issuer="x")
    assert list(provider.audiences) == ["atrium", "more"]
    assert (provider.display_name, provider.issuer) == ("Okta", ISSUER)
    assert provider.provision_users


async def test_an_id_and_an_issuer_are_taken_once(house: House) -> None:
    await create(house)
    failure = await refused(create(house, issuer="https://other.example"))
    assert failure.code is grpc.StatusCode.ALREADY_EXISTS
    assert (failure.reason, failure.field) == ("IDENTITY_PROVIDER_EXISTS", "identity_provider_id")
    assert failure.metadata == {"identity_provider": NAME}
    failure = await refused(create(house, "second"))
    assert (failure.reason, failure.field) == ("ISSUER_TAKEN", "identity_provider.issuer")
    assert failure.metadata == {"issuer": ISSUER}


async def test_an_issuer_serves_one_tenant_and_does_not_say_which(house: House) -> None:
    await create(house)
    globex = await house.second_tenant()
    failure = await refused(create(house, key=globex))
    assert failure.reason == "ISSUER_TAKEN"
    assert "acme" not in failure.message.replace(ISSUER, "")
    absent = house.directory(globex).GetIdentityProvider(
        directory.GetIdentityProviderRequest(name=NAME)
    )
    failure = await refused(absent)
    assert failure.code is grpc.StatusCode.NOT_FOUND
    assert failure.reason == "IDENTITY_PROVIDER_NOT_FOUND"
    assert failure.metadata == {"identity_provider": NAME}


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("issuer", {"issuer": ""}),
        ("issuer", {"issuer": "http://login.acme.example"}),
        ("issuer", {"issuer": "https://login.acme.example?tenant=acme"}),
        ("jwks_uri", {"jwks_uri": "file:///etc/passwd"}),
        ("audiences", {"audiences": []}),
        ("audiences[0]", {"audiences": ["a\nb"]}),
        ("user_claim", {"user_claim": "no spaces"}),
        ("display_name", {"display_name": "a\nb"}),
        ("groups_claim", {"group_mappings": [{"claim_value": "a", "roles": ["roles/member"]}]}),
        (
            "group_mappings[1].claim_value",
            {
                "groups_claim": "groups",
                "group_mappings": [{"claim_value": "a", "roles": ["roles/member"]}] * 2,
            },
        ),
    ],
)
async def test_a_malformed_field_is_named_and_nothing_is_stored(
    house: House, field: str, fields: dict[str, Any]
) -> None:
    failure = await refused(create(house, **fields))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (failure.reason, failure.field) == ("FIELD_INVALID", f"identity_provider.{field}")
    await nothing_is_stored(house)


async def test_an_unknown_role_of_a_mapping_is_named_and_nothing_is_stored(house: House) -> None:
    mapping = [
        {"claim_value": "it", "roles": ["roles/member"]},
        {"claim_value": "hr", "roles": ["roles/absent"]},
    ]
    failure = await refused(create(house, groups_claim="groups", group_mappings=mapping))
    assert failure.reason == "ROLE_NOT_FOUND"
    assert failure.field == "identity_provider.group_mappings[1].roles[0]"
    await nothing_is_stored(house)


async def test_a_group_that_is_there_already_is_not_taken_over(house: House) -> None:
    await house.admin().CreateGroup(
        pb.CreateGroupRequest(group_id="okta.hr", group=admin_pb2.Group(display_name="ours"))
    )
    mapping = [{"claim_value": "hr", "roles": ["roles/admin"]}]
    failure = await refused(create(house, groups_claim="groups", group_mappings=mapping))
    assert (failure.reason, failure.metadata) == ("GROUP_EXISTS", {"group": "groups/okta.hr"})
    group = await house.admin().GetGroup(pb.GetGroupRequest(name="groups/okta.hr"))
    assert not group.roles


@pytest.mark.parametrize("path", ["issuer", "name", "nonsense"])
async def test_a_mask_cannot_name_anything_else(house: House, path: str) -> None:
    await create(house)
    failure = await refused(update(house, path, issuer="https://other.example"))
    assert (failure.reason, failure.metadata["path"]) == ("UPDATE_MASK_UNKNOWN", path)


async def test_only_who_manages_identity_providers_may(house: House) -> None:
    await house.admin().CreateUser(pb.CreateUserRequest(user_id="lin", user={"email": ""}))
    failure = await refused(create(house, key=await house.key_of("lin")))
    assert failure.code is grpc.StatusCode.PERMISSION_DENIED
    assert failure.reason == "PERMISSION_DENIED"


async def test_a_role_of_a_mapping_is_in_use(house: House) -> None:
    await house.admin().CreateRole(pb.CreateRoleRequest(role_id="mine", role=admin_pb2.Role()))
    mapping = [{"claim_value": "hr", "roles": ["roles/mine"]}]
    await create(house, groups_claim="groups", group_mappings=mapping)
    failure = await refused(house.admin().DeleteRole(pb.DeleteRoleRequest(name="roles/mine")))
    assert failure.reason == "ROLE_IN_USE"
    assert failure.metadata["example"] == "groups/okta.hr"


async def test_every_change_is_audited(house: House) -> None:
    await create(house)
    await update(house, "disabled", disabled=True)
    await house.directory().DeleteIdentityProvider(
        directory.DeleteIdentityProviderRequest(name=NAME)
    )
    missing = house.directory().DeleteIdentityProvider(
        directory.DeleteIdentityProviderRequest(name=NAME)
    )
    assert (await refused(missing)).reason == "IDENTITY_PROVIDER_NOT_FOUND"
    events = (await house.admin().ListAuditEvents(pb.ListAuditEventsRequest())).events
    told = [(event.action, event.resource, event.detail) for event in reversed(events)]
    assert told[1:] == [
        ("admin.CreateIdentityProvider", NAME, ISSUER),
        ("admin.UpdateIdentityProvider", NAME, ""),
        ("admin.DeleteIdentityProvider", NAME, ""),
        ("admin.DeleteIdentityProvider", NAME, "IDENTITY_PROVIDER_NOT_FOUND"),
    ]


@pytest.mark.parametrize(
    "url",
    [
        "https://login.acme.example",
        "https://login.acme.example:8443/realms/acme",
        "https://10.0.0.7/oidc",
    ],
)
def test_keys_come_over_https(url: str) -> None:
    assert require_url(url, field="issuer", loopback_http=False) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9000",
        "http://login.acme.example",
        "ftp://login.acme.example",
        "https://",
        "https://user:secret@login.acme.example",
        "https://login.acme.example#x",
        "https://login.acme.example?",
        "https://login.acme.example/a b",
        "https://login.acme.example\\@evil.example",
        "https://[::1",
        "https://login.acme.example:99999",
        "login.acme.example",
    ],
)
def test_keys_come_from_nowhere_else(url: str) -> None:
    with pytest.raises(FieldInvalid):
        require_url(url, field="issuer", loopback_http=False)


def test_this_machine_may_speak_plain_http_where_that_is_asked_for() -> None:
    for url in ("http://127.0.0.1:9000", "http://localhost:9000/x", "http://[::1]:9000"):
        assert require_url(url, field="issuer", loopback_http=True) == url
    with pytest.raises(FieldInvalid):
        require_url("http://127.0.0.1.evil.example", field="issuer", loopback_http=True)


def test_groups_with_unusual_names_get_ids_that_differ() -> None:
    assert group_id_for("okta", "hr") == "okta.hr"
    unusual = {group_id_for("okta", value) for value in ("Büro", "Büro ", "a/b", "x" * 200)}
    assert len(unusual) == 4
    assert all(each.startswith("okta.") and len(each) == 21 for each in unusual)
