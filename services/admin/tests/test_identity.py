from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import grpc
import jwt
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from atrium.admin.v1 import admin_pb2, identity_service_pb2_grpc
from atrium.admin.v1 import admin_service_pb2 as pb
from atrium.admin.v1 import identity_service_pb2 as ids
from atrium_shared.identity import (
    IdentityClient,
    ServiceIdentity,
    TokenSigner,
    TokenVerifier,
    allow_set_from_proto,
)
from atrium_shared.principal import AllowSet
from atrium_shared.testing import TEST_SECRET, eventually

from .house import House, refused


async def make_user(house: House, user_id: str, *roles: str, **fields: Any) -> None:
    user = admin_pb2.User(roles=roles, **fields)
    await house.admin().CreateUser(pb.CreateUserRequest(user_id=user_id, user=user))


async def exchange(
    house: House,
    credential: str,
    on_behalf_of: str = "",
    *audiences: str,
    caller: str = "knowledge",
) -> ids.ExchangeCredentialResponse:
    return await house.identity(caller).ExchangeCredential(
        ids.ExchangeCredentialRequest(
            credential=credential,
            on_behalf_of=on_behalf_of,
            audiences=audiences or ("knowledge", "gateway"),
        )
    )


@pytest.fixture
async def portal(house: House) -> str:
    """Key of a product's back end that may act for anybody; lin and kim are users."""
    await make_user(house, "portal", "roles/service", kind=admin_pb2.User.SERVICE)
    await make_user(house, "lin", "roles/editor")
    await make_user(house, "kim", "roles/member")
    return await house.key_of("portal")


async def test_a_key_becomes_a_token_that_says_who_calls(house: House) -> None:
    response = await exchange(house, house.key)
    assert (response.tenant, response.actor, response.on_behalf_of) == ("acme", "users/admin", "")
    assert {(g.resource, g.action) for g in allow_set_from_proto(response.allow_set).grants} == {
        ("admin.*", "*"),
        ("knowledge.*", "*"),
        ("meeting.*", "*"),
        ("gateway.*", "*"),
    }
    jwks = (await house.identity().GetSigningKeys(ids.GetSigningKeysRequest())).jwks
    claims = TokenVerifier(jwks, house.clock).verify(response.token, ["gateway"])
    assert (claims.tenant, claims.actor, claims.on_behalf_of) == ("acme", "users/admin", None)
    assert claims.digest == response.allow_set.digest
    assert claims.policy_version == response.allow_set.policy_version
    assert claims.audiences == ("knowledge", "gateway")
    assert claims.expire_time - house.clock.now() == timedelta(minutes=5)
    assert response.expire_time.ToDatetime() == claims.expire_time.replace(tzinfo=None)


async def test_signing_keys_are_public_and_hold_no_private_part(house: House) -> None:
    stub = identity_service_pb2_grpc.IdentityServiceStub(house.server.open_channel())
    keys = json.loads((await stub.GetSigningKeys(ids.GetSigningKeysRequest())).jwks)["keys"]
    assert [sorted(key) for key in keys] == [["alg", "crv", "kid", "kty", "use", "x"]]


async def test_only_services_exchange(house: House) -> None:
    stub = identity_service_pb2_grpc.IdentityServiceStub(house.server.open_channel(house.key))
    request = ids.ExchangeCredentialRequest(credential=house.key, audiences=["knowledge"])
    failure = await refused(stub.ExchangeCredential(request))
    assert (failure.code, failure.reason) == (grpc.StatusCode.PERMISSION_DENIED, "SERVICE_ONLY")


@pytest.mark.parametrize("name", ["users/lin", "lin"])
async def test_a_back_end_calls_with_the_permissions_of_its_user(
    house: House, portal: str, name: str
) -> None:
    response = await exchange(house, portal, name)
    assert (response.actor, response.on_behalf_of) == ("users/portal", "users/lin")
    grants = {(g.resource, g.action) for g in allow_set_from_proto(response.allow_set).grants}
    assert ("knowledge.documents", "write") in grants
    assert ("users/*", "impersonate") not in grants


async def test_who_may_not_impersonate_is_refused_for_present_and_absent_users_alike(
    house: House, portal: str
) -> None:
    lin = await house.key_of("lin")
    for user in ("users/kim", "users/absent"):
        failure = await refused(exchange(house, lin, user))
        assert failure.code is grpc.StatusCode.PERMISSION_DENIED
        assert failure.reason == "IMPERSONATION_DENIED"
        assert failure.metadata == {"actor": "users/lin", "user": user}
    events = await house.admin().ListAuditEvents(
        pb.ListAuditEventsRequest(action="admin.Authenticate")
    )
    assert [(event.actor, event.on_behalf_of, event.detail) for event in events.events] == [
        ("users/lin", "users/absent", "IMPERSONATION_DENIED"),
        ("users/lin", "users/kim", "IMPERSONATION_DENIED"),
    ]


async def test_a_deny_keeps_a_back_end_from_acting_for_some(house: House, portal: str) -> None:
    deny = admin_pb2.Grant(
        resource="users/admin", action="impersonate", effect=admin_pb2.Grant.DENY
    )
    await house.admin().CreateRole(
        pb.CreateRoleRequest(role_id="no-admins", role=admin_pb2.Role(grants=[deny]))
    )
    update = pb.UpdateUserRequest(
        user={"name": "users/portal", "roles": ["roles/service", "roles/no-admins"]}
    )
    update.update_mask.paths.append("roles")
    await house.admin().UpdateUser(update)
    assert (await refused(exchange(house, portal, "admin"))).reason == "IMPERSONATION_DENIED"
    await exchange(house, portal, "lin")


async def test_nobody_acts_for_an_absent_or_disabled_user(house: House, portal: str) -> None:
    failure = await refused(exchange(house, portal, "absent"))
    assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, "USER_NOT_FOUND")
    update = pb.UpdateUserRequest(user={"name": "users/lin", "disabled": True})
    update.update_mask.paths.append("disabled")
    await house.admin().UpdateUser(update)
    failure = await refused(exchange(house, portal, "lin"))
    assert failure.code is grpc.StatusCode.UNAUTHENTICATED
    assert failure.reason == "USER_DISABLED"
    assert failure.metadata == {"user": "users/lin"}


async def test_a_user_of_another_tenant_is_no_user(house: House, portal: str) -> None:
    globex = house.admin(await house.second_tenant())
    await globex.CreateUser(pb.CreateUserRequest(user_id="hank", user={"email": ""}))
    failure = await refused(exchange(house, portal, "hank"))
    assert failure.reason == "USER_NOT_FOUND"


async def test_a_name_that_is_none_is_malformed(house: House, portal: str) -> None:
    failure = await refused(exchange(house, portal, "users/a b"))
    assert failure.code is grpc.StatusCode.UNAUTHENTICATED
    assert failure.reason == "CREDENTIAL_MALFORMED"


async def test_a_token_never_outlives_its_key(house: House) -> None:
    expiry = Timestamp()
    expiry.FromDatetime(house.clock.now() + timedelta(seconds=90))
    key = await house.key_of("admin", expire_time=expiry)
    response = await exchange(house, key)
    assert response.expire_time == expiry


async def test_a_token_is_exchanged_for_one_that_lasts_no_longer(house: House, portal: str) -> None:
    first = await exchange(house, portal, "lin", "gateway")
    house.clock.advance(200)
    second = await exchange(house, first.token, "", "admin", caller="gateway")
    assert (second.actor, second.on_behalf_of) == ("users/portal", "users/lin")
    assert second.expire_time == first.expire_time
    house.clock.advance(200)
    failure = await refused(exchange(house, first.token, caller="gateway"))
    assert failure.code is grpc.StatusCode.UNAUTHENTICATED
    assert failure.reason == "TOKEN_EXPIRED"


async def test_a_token_for_others_is_no_token_here(house: House) -> None:
    token = (await exchange(house, house.key, "", "gateway")).token
    failure = await refused(exchange(house, token, caller="knowledge"))
    assert failure.code is grpc.StatusCode.UNAUTHENTICATED
    assert failure.reason == "TOKEN_INVALID"


async def test_a_token_cannot_be_turned_to_somebody_else(house: House, portal: str) -> None:
    token = (await exchange(house, portal, "lin", "gateway")).token
    same = await exchange(house, token, "lin", "gateway", caller="gateway")
    assert same.on_behalf_of == "users/lin"
    failure = await refused(exchange(house, token, "kim", "gateway", caller="gateway"))
    assert failure.code is grpc.StatusCode.PERMISSION_DENIED
    assert failure.reason == "IMPERSONATION_DENIED"
    assert failure.metadata == {"actor": "users/portal", "user": "users/kim"}


async def test_a_token_ends_with_the_key_that_it_came_from(house: House, portal: str) -> None:
    token = (await exchange(house, portal, "lin", "gateway")).token
    name = f"apiKeys/{portal.split('_')[1]}"
    await house.admin().RevokeApiKey(pb.RevokeApiKeyRequest(name=name))
    failure = await refused(exchange(house, token, caller="gateway"))
    assert failure.code is grpc.StatusCode.UNAUTHENTICATED
    assert failure.reason == "API_KEY_REVOKED"


def forge(token: str, **claims: Any) -> str:
    header, payload, signature = token.split(".")
    values = json.loads(base64.urlsafe_b64decode(payload + "=="))
    encoded = base64.urlsafe_b64encode(json.dumps({**values, **claims}).encode()).decode()
    return f"{header}.{encoded.rstrip('=')}.{signature}"


async def test_a_forged_token_is_refused(house: House, portal: str) -> None:
    token = (await exchange(house, portal, "lin", "gateway")).token
    claims = jwt.decode(token, options={"verify_signature": False})
    header = jwt.get_unverified_header(token)
    stranger = TokenSigner.generate(header["kid"], house.clock)
    of_stranger, _ = stranger.sign(
        tenant="acme",
        actor="users/admin",
        on_behalf_of=None,
        allow_set=AllowSet(),
        credential=claims["cred"],
        audiences=["gateway"],
    )
    unsigned = jwt.encode(
        claims, None, algorithm="none", headers={"typ": header["typ"], "kid": header["kid"]}
    )
    unknown_key = TokenSigner.generate("other", house.clock).sign(
        tenant="acme",
        actor="users/admin",
        on_behalf_of=None,
        allow_set=AllowSet(),
        credential=claims["cred"],
        audiences=["gateway"],
    )[0]
    for forged in (forge(token, obo="users/admin"), of_stranger, unsigned, unknown_key):
        failure = await refused(exchange(house, forged, caller="gateway"))
        assert failure.code is grpc.StatusCode.UNAUTHENTICATED
        assert failure.reason == "TOKEN_INVALID"


async def test_delegated_work_is_looked_up_anew(house: House, portal: str) -> None:
    identity = house.identity("knowledge")
    request = ids.IssueDelegatedTokenRequest(
        tenant="acme", actor="users/portal", on_behalf_of="users/lin", audiences=["gateway"]
    )
    response = await identity.IssueDelegatedToken(request)
    assert (response.actor, response.on_behalf_of) == ("users/portal", "users/lin")
    again = await exchange(house, response.token, "", "gateway", caller="gateway")
    assert again.on_behalf_of == "users/lin"
    update = pb.UpdateUserRequest(user={"name": "users/lin", "roles": ["roles/member"]})
    update.update_mask.paths.append("roles")
    await house.admin().UpdateUser(update)
    later = await identity.IssueDelegatedToken(request)
    before, after = map(allow_set_from_proto, (response.allow_set, later.allow_set))
    assert after.grants < before.grants
    assert later.allow_set.policy_version > response.allow_set.policy_version


async def test_delegated_work_ends_with_the_right_to_it(house: House, portal: str) -> None:
    identity = house.identity("knowledge")

    async def delegate(tenant: str = "acme", actor: str = "users/portal", user: str = "lin") -> Any:
        return await identity.IssueDelegatedToken(
            ids.IssueDelegatedTokenRequest(
                tenant=tenant, actor=actor, on_behalf_of=user, audiences=["gateway"]
            )
        )

    assert (await refused(delegate(tenant="absent"))).reason == "TENANT_NOT_FOUND"
    assert (await refused(delegate(actor="users/absent"))).reason == "USER_NOT_FOUND"
    assert (await refused(delegate(actor="users/a b"))).reason == "USER_NOT_FOUND"
    assert (await refused(delegate(actor="users/kim"))).reason == "IMPERSONATION_DENIED"
    update = pb.UpdateUserRequest(user={"name": "users/portal", "roles": ["roles/member"]})
    update.update_mask.paths.append("roles")
    await house.admin().UpdateUser(update)
    assert (await refused(delegate())).reason == "IMPERSONATION_DENIED"
    await house.admin().DeleteUser(pb.DeleteUserRequest(name="users/lin"))
    update = pb.UpdateUserRequest(user={"name": "users/portal", "roles": ["roles/service"]})
    update.update_mask.paths.append("roles")
    await house.admin().UpdateUser(update)
    assert (await refused(delegate())).reason == "USER_NOT_FOUND"


async def test_services_of_this_process_delegate_without_a_network_hop(
    house: House, portal: str
) -> None:
    principal = await house.app.authenticator.delegate("acme", "users/portal", "users/lin")
    assert (principal.actor, principal.on_behalf_of) == ("users/portal", "users/lin")
    assert principal.may("knowledge.documents:write")
    again = await house.app.authenticator.authenticate(principal.token, None)
    assert again.on_behalf_of == "users/lin"


async def test_the_tenants_upload_limit_travels_along(house: House) -> None:
    made = await house.admin().CreateTenant(
        pb.CreateTenantRequest(tenant_id="small", tenant={"max_upload_bytes": 4096})
    )
    assert (await exchange(house, made.secret)).max_upload_bytes == 4096


async def test_the_same_rules_give_the_same_digest_to_different_users(
    house: House, portal: str
) -> None:
    await make_user(house, "kai", "roles/editor")
    lin, kai = await exchange(house, portal, "lin"), await exchange(house, portal, "kai")
    kim = await exchange(house, portal, "kim")
    assert lin.allow_set.digest == kai.allow_set.digest != kim.allow_set.digest


async def test_services_learn_of_a_revocation_through_their_client(
    house: House, portal: str
) -> None:
    service = ServiceIdentity("knowledge", TEST_SECRET)
    client = IdentityClient(house.server.open_service_channel("knowledge"), service)
    await client.start()
    try:
        lin = await client.authenticate(portal, "users/lin")
        assert lin.may("knowledge.documents:write")
        changed: list[tuple[str, frozenset[str]]] = []
        client.on_change(lambda tenant, users: changed.append((tenant, users)))
        update = pb.UpdateUserRequest(user={"name": "users/lin", "roles": ["roles/member"]})
        update.update_mask.paths.append("roles")
        await house.admin().UpdateUser(update)
        await eventually(lambda: bool(changed))
        assert changed == [("acme", frozenset({"users/lin"}))]
        lin = await client.authenticate(portal, "users/lin")
        assert not lin.may("knowledge.documents:write")
        name = f"apiKeys/{portal.split('_')[1]}"
        await house.admin().RevokeApiKey(pb.RevokeApiKeyRequest(name=name))
        await eventually(lambda: len(changed) == 2)
        with pytest.raises(Exception, match="revoked"):
            await client.authenticate(portal, "users/lin")
    finally:
        await client.close()
