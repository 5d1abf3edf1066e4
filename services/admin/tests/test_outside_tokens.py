"""Tokens of identity providers as credentials, with a real issuer on this machine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import jwt
import pytest

from atrium.admin.v1 import admin_pb2
from atrium.admin.v1 import admin_service_pb2 as pb
from atrium.admin.v1 import directory_service_pb2 as directory
from atrium.admin.v1 import identity_service_pb2 as ids
from atrium_shared.identity import IdentityClient, ServiceIdentity, allow_set_from_proto
from atrium_shared.testing import TEST_SECRET
from atrium_shared.testing_issuer import AUDIENCE, TestIssuer, running_issuer

from .house import Failure, House, refused

PERSONAL = {"provision_users": True}
MAPPED = {
    "provision_users": True,
    "groups_claim": "groups",
    "group_mappings": [
        {"claim_value": "hr", "roles": ["roles/hr-partner"]},
        {"claim_value": "Büro Süd", "roles": ["roles/editor"]},
    ],
}


@pytest.fixture
async def issuer() -> AsyncIterator[TestIssuer]:
    async with running_issuer() as issuer:
        yield issuer


async def connect(
    house: House, issuer: TestIssuer, provider_id: str = "okta", **fields: Any
) -> directory.IdentityProvider:
    return await house.directory().CreateIdentityProvider(
        directory.CreateIdentityProviderRequest(
            identity_provider_id=provider_id,
            identity_provider={"issuer": issuer.url, "audiences": [AUDIENCE], **fields},
        )
    )


async def connect_with_groups(house: House, issuer: TestIssuer) -> None:
    grant = admin_pb2.Grant(resource="labels/hr/compensation", action="read")
    await house.admin().CreateRole(
        pb.CreateRoleRequest(role_id="hr-partner", role=admin_pb2.Role(grants=[grant]))
    )
    await connect(house, issuer, **MAPPED)


async def exchange(house: House, token: str, user: str = "") -> ids.ExchangeCredentialResponse:
    return await house.identity().ExchangeCredential(
        ids.ExchangeCredentialRequest(
            credential=token, on_behalf_of=user, audiences=["knowledge", "gateway"]
        )
    )


async def refused_token(house: House, token: str) -> Failure:
    failure = await refused(exchange(house, token))
    assert failure.code is grpc.StatusCode.UNAUTHENTICATED
    return failure


def may(response: ids.ExchangeCredentialResponse, resource: str) -> bool:
    grants = allow_set_from_proto(response.allow_set).grants
    return any(grant.resource == resource for grant in grants)


async def sign_ins(house: House) -> list[tuple[str, str, str]]:
    request = pb.ListAuditEventsRequest(action="admin.SignIn")
    events = (await house.admin().ListAuditEvents(request)).events
    return [
        (event.actor, admin_pb2.AuditEvent.Decision.Name(event.decision), event.detail)
        for event in reversed(events)
    ]


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
async def test_a_token_is_a_credential_of_the_tenant_that_trusts_its_issuer(
    house: House, issuer: TestIssuer, algorithm: str
) -> None:
    issuer.add_key("k2", algorithm)
    await connect(house, issuer, **PERSONAL)
    token = issuer.token(house.clock.now(), kid="k2", name="林", email="lin@acme.example")
    response = await exchange(house, token)
    assert (response.tenant, response.actor, response.on_behalf_of) == ("acme", "users/lin", "")
    user = await house.admin().GetUser(pb.GetUserRequest(name="users/lin"))
    assert (user.display_name, user.email, user.user_name) == ("林", "lin@acme.example", "lin")
    assert list(user.roles) == ["roles/member"]
    assert await sign_ins(house) == [("users/lin", "ALLOWED", "makes the user")]


async def test_a_token_opens_every_method_of_this_process(house: House, issuer: TestIssuer) -> None:
    await connect(house, issuer, **PERSONAL)
    await house.admin().CreateUser(
        pb.CreateUserRequest(user_id="lin", user={"roles": ["roles/admin"]})
    )
    token = issuer.token(house.clock.now())
    assert len((await house.admin(token).ListUsers(pb.ListUsersRequest())).users) == 2


async def test_an_internal_token_ends_with_the_token_behind_it(
    house: House, issuer: TestIssuer
) -> None:
    await connect(house, issuer, **PERSONAL)
    token = issuer.token(house.clock.now(), exp=int(house.clock.now().timestamp()) + 90)
    response = await exchange(house, token)
    left = response.expire_time.ToSeconds() - house.clock.now().timestamp()
    assert left == 90 + 60  # and the allowance for clocks


async def test_services_remember_a_token_no_longer_than_it_lives(
    house: House, issuer: TestIssuer
) -> None:
    await connect(house, issuer, **PERSONAL)
    token = issuer.token(house.clock.now(), exp=int(house.clock.now().timestamp()) + 30)
    client = IdentityClient(
        house.server.open_service_channel("knowledge"),
        ServiceIdentity("knowledge", TEST_SECRET),
        clock=house.clock,
    )
    await client.start()
    try:
        assert (await client.authenticate(token, None)).actor == "users/lin"
        house.clock.advance(91)
        with pytest.raises(Exception, match="expired"):
            await until_heard(client, token)
    finally:
        await client.close()


async def until_heard(client: IdentityClient, token: str) -> None:
    """Authenticate, once the feed has been heard after the clock was moved."""
    for _ in range(500):
        try:
            await client.authenticate(token, None)
            return
        except Exception as error:
            if "policy changes" not in str(error):
                raise
        await asyncio.sleep(0.01)


async def test_a_user_is_found_by_user_name_whatever_its_case(
    house: House, issuer: TestIssuer
) -> None:
    await connect(house, issuer, user_claim="preferred_username")
    user = {"user_name": "Lin.Wei@acme.example"}
    await house.admin().CreateUser(pb.CreateUserRequest(user_id="lin", user=user))
    token = issuer.token(house.clock.now(), preferred_username="lin.wei@ACME.example")
    assert (await exchange(house, token)).actor == "users/lin"


async def test_a_user_is_found_by_external_id_exactly(house: House, issuer: TestIssuer) -> None:
    await connect(house, issuer, user_match="EXTERNAL_ID")
    user = {"external_id": "00uAbc"}
    await house.admin().CreateUser(pb.CreateUserRequest(user_id="lin", user=user))
    token = issuer.token(house.clock.now(), sub="00uAbc")
    assert (await exchange(house, token)).actor == "users/lin"
    failure = await refused_token(house, issuer.token(house.clock.now(), sub="00uabc"))
    assert failure.reason == "USER_NOT_PROVISIONED"
    assert failure.metadata == {"identity_provider": "identityProviders/okta", "user": "00uabc"}
    assert ("", "DENIED", "USER_NOT_PROVISIONED") in await sign_ins(house)


async def test_a_new_user_whose_name_cannot_be_an_id_gets_one(
    house: House, issuer: TestIssuer
) -> None:
    await connect(house, issuer, **PERSONAL)
    token = issuer.token(house.clock.now(), sub="auth0|林")
    first = await exchange(house, token)
    again = await exchange(house, issuer.token(house.clock.now(), sub="auth0|林"))
    assert first.actor == again.actor
    user = await house.admin().GetUser(pb.GetUserRequest(name=first.actor))
    assert user.user_name == "auth0|林"


async def test_many_first_calls_at_once_make_one_user(house: House, issuer: TestIssuer) -> None:
    await connect_with_groups(house, issuer)
    token = issuer.token(house.clock.now(), groups=["hr"])
    responses = await asyncio.gather(*(exchange(house, token) for _ in range(8)))
    assert {response.actor for response in responses} == {"users/lin"}
    assert all(may(response, "labels/hr/compensation") for response in responses)
    group = await house.admin().GetGroup(pb.GetGroupRequest(name="groups/okta.hr"))
    assert list(group.members) == ["users/lin"]


async def test_a_disabled_user_is_refused_and_moved_nowhere(
    house: House, issuer: TestIssuer
) -> None:
    await connect_with_groups(house, issuer)
    user = {"disabled": True}
    await house.admin().CreateUser(pb.CreateUserRequest(user_id="lin", user=user))
    failure = await refused_token(house, issuer.token(house.clock.now(), groups=["hr"]))
    assert (failure.reason, failure.metadata) == ("USER_DISABLED", {"user": "users/lin"})
    group = await house.admin().GetGroup(pb.GetGroupRequest(name="groups/okta.hr"))
    assert not group.members


async def test_whoever_may_impersonate_may_with_a_token_too(
    house: House, issuer: TestIssuer
) -> None:
    await connect(house, issuer)
    for user, role in (("portal", "roles/service"), ("lin", "roles/member")):
        await house.admin().CreateUser(pb.CreateUserRequest(user_id=user, user={"roles": [role]}))
    response = await exchange(house, issuer.token(house.clock.now(), sub="portal"), "users/lin")
    assert (response.actor, response.on_behalf_of) == ("users/portal", "users/lin")


# Groups


async def test_groups_of_the_token_give_the_roles_of_the_mapping(
    house: House, issuer: TestIssuer
) -> None:
    await connect_with_groups(house, issuer)
    response = await exchange(
        house, issuer.token(house.clock.now(), groups=["Büro Süd", "unmapped"])
    )
    assert may(response, "knowledge.documents")
    assert not may(response, "labels/hr/compensation")
    (first,) = await sign_ins(house)
    assert first[2].startswith("makes the user; joins groups/okta.")


async def test_a_change_of_groups_holds_from_the_exchange_of_a_later_token(
    house: House, issuer: TestIssuer
) -> None:
    await connect_with_groups(house, issuer)
    before = issuer.token(house.clock.now(), groups=["hr"])
    assert may(await exchange(house, before), "labels/hr/compensation")
    house.clock.advance(10)
    demoted = issuer.token(house.clock.now(), groups=[])
    assert not may(await exchange(house, demoted), "labels/hr/compensation")
    assert (await sign_ins(house))[-1] == ("users/lin", "ALLOWED", "leaves groups/okta.hr")
    # A token from before cannot bring back what was taken.
    assert not may(await exchange(house, before), "labels/hr/compensation")
    house.clock.advance(10)
    back = issuer.token(house.clock.now(), groups=["hr"])
    assert may(await exchange(house, back), "labels/hr/compensation")
    assert (await house.admin().VerifyAuditLog(pb.VerifyAuditLogRequest())).intact


async def test_a_later_token_with_the_same_groups_is_remembered_as_the_latest(
    house: House, issuer: TestIssuer
) -> None:
    await connect_with_groups(house, issuer)
    oldest = issuer.token(house.clock.now(), groups=[])
    await exchange(house, oldest)
    house.clock.advance(10)
    promoted = issuer.token(house.clock.now(), groups=["hr"])
    house.clock.advance(10)
    latest = issuer.token(house.clock.now(), groups=[])
    await exchange(house, latest)
    assert not may(await exchange(house, promoted), "labels/hr/compensation")
    assert len(await sign_ins(house)) == 1  # only the first changed anything


async def test_groups_of_the_tenant_itself_are_left_alone(house: House, issuer: TestIssuer) -> None:
    await connect_with_groups(house, issuer)
    await house.admin().CreateUser(pb.CreateUserRequest(user_id="lin", user={"email": ""}))
    await house.admin().CreateGroup(
        pb.CreateGroupRequest(group_id="hr", group={"members": ["users/lin"]})
    )
    await exchange(house, issuer.token(house.clock.now(), groups=[]))
    group = await house.admin().GetGroup(pb.GetGroupRequest(name="groups/hr"))
    assert list(group.members) == ["users/lin"]


async def test_a_token_cannot_take_the_last_administrator_away(
    house: House, issuer: TestIssuer
) -> None:
    await connect(
        house,
        issuer,
        groups_claim="groups",
        group_mappings=[{"claim_value": "ops", "roles": ["roles/admin"]}],
        provision_users=True,
    )
    await exchange(house, issuer.token(house.clock.now(), groups=["ops"]))
    update = pb.UpdateUserRequest(user={"name": "users/admin", "roles": ["roles/member"]})
    update.update_mask.paths.append("roles")
    await house.admin().UpdateUser(update)
    house.clock.advance(10)
    failure = await refused(exchange(house, issuer.token(house.clock.now(), groups=[])))
    assert failure.code is grpc.StatusCode.FAILED_PRECONDITION
    assert (failure.reason, failure.metadata) == ("LAST_ADMIN", {"tenant": "acme"})
    group = await house.admin(issuer.token(house.clock.now(), groups=["ops"])).GetGroup(
        pb.GetGroupRequest(name="groups/okta.ops")
    )
    assert list(group.members) == ["users/lin"]


@pytest.mark.parametrize("groups", [None, "hr", {"hr": True}, ["hr", 7], ["hr"] * 2_001])
async def test_groups_that_are_missing_or_no_list_are_told_so_and_change_nothing(
    house: House, issuer: TestIssuer, groups: object
) -> None:
    await connect_with_groups(house, issuer)
    await exchange(house, issuer.token(house.clock.now(), groups=["hr"]))
    house.clock.advance(10)
    failure = await refused_token(house, issuer.token(house.clock.now(), groups=groups))
    assert failure.reason == "TOKEN_CLAIM_INVALID"
    assert failure.metadata["claim"] == "groups"
    assert failure.metadata["expected"].startswith("a list of at most 2000 names")
    group = await house.admin().GetGroup(pb.GetGroupRequest(name="groups/okta.hr"))
    assert list(group.members) == ["users/lin"]


# Bad tokens


async def test_a_token_for_others_is_refused(house: House, issuer: TestIssuer) -> None:
    await connect(house, issuer, **PERSONAL)
    for audience in ("other", ["other", "more"], None, 7):
        failure = await refused_token(house, issuer.token(house.clock.now(), aud=audience))
        assert failure.reason == "TOKEN_AUDIENCE_WRONG"
        assert failure.metadata == {
            "identity_provider": "identityProviders/okta",
            "audiences": AUDIENCE,
        }
    assert await exchange(house, issuer.token(house.clock.now(), aud=["other", AUDIENCE]))


async def test_an_unsigned_token_is_refused(house: House, issuer: TestIssuer) -> None:
    await connect(house, issuer, **PERSONAL)
    claims = jwt.decode(issuer.token(house.clock.now()), options={"verify_signature": False})
    failure = await refused_token(house, jwt.encode(claims, None, algorithm="none"))
    assert failure.reason == "TOKEN_ALGORITHM_REFUSED"
    assert failure.metadata == {
        "algorithm": "none",
        "allowed": "RS256, PS256, ES256, EdDSA",
    }
    assert issuer.requests == []


async def test_a_token_signed_with_the_public_key_as_a_shared_secret_is_refused(
    house: House, issuer: TestIssuer
) -> None:
    issuer.add_key("k2", "RS256")
    await connect(house, issuer, **PERSONAL)
    claims = jwt.decode(issuer.token(house.clock.now()), options={"verify_signature": False})
    header = {"alg": "HS256", "kid": "k2", "typ": "JWT"}
    algorithm = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    parts = [jwt.utils.base64url_encode(json.dumps(part).encode()) for part in (header, claims)]
    # Signed by hand: the library itself refuses to take a public key for a secret.
    signature = algorithm.sign(b".".join(parts), issuer.public_pem("k2"))
    token = b".".join([*parts, jwt.utils.base64url_encode(signature)]).decode()
    failure = await refused_token(house, token)
    assert failure.reason == "TOKEN_ALGORITHM_REFUSED"
    assert failure.metadata["algorithm"] == "HS256"


async def test_an_algorithm_that_the_provider_does_not_take_is_refused(
    house: House, issuer: TestIssuer
) -> None:
    issuer.add_key("k2", "RS256")
    await connect(house, issuer, algorithms=["RS256"], **PERSONAL)
    failure = await refused_token(house, issuer.token(house.clock.now(), kid="k1"))
    assert failure.metadata == {"algorithm": "ES256", "allowed": "RS256"}
    assert await exchange(house, issuer.token(house.clock.now(), kid="k2"))


async def test_a_forged_signature_is_refused(house: House, issuer: TestIssuer) -> None:
    await connect(house, issuer, **PERSONAL)
    forger = TestIssuer()
    forger.url = issuer.url
    forger.add_key("k1")
    failure = await refused_token(house, forger.token(house.clock.now()))
    assert failure.reason == "TOKEN_INVALID"
    assert failure.metadata == {"problem": "its signature does not fit"}
    assert await sign_ins(house) == []  # who forged it writes nothing into the tenant's log


async def test_a_token_of_an_unknown_issuer_is_refused(house: House, issuer: TestIssuer) -> None:
    failure = await refused_token(house, issuer.token(house.clock.now()))
    assert (failure.reason, failure.metadata) == ("ISSUER_UNKNOWN", {"issuer": issuer.url})


async def test_a_token_without_an_issuer_is_refused(house: House, issuer: TestIssuer) -> None:
    for bad in (None, ""):
        failure = await refused_token(house, issuer.token(house.clock.now(), iss=bad))
        assert failure.metadata == {"problem": "the claim 'iss' is missing"}


async def test_a_token_for_another_purpose_is_refused(house: House, issuer: TestIssuer) -> None:
    await connect(house, issuer, **PERSONAL)
    token = issuer.token(house.clock.now(), headers={"typ": "logout+jwt"})
    failure = await refused_token(house, token)
    assert failure.metadata == {"problem": "its type is that of no credential"}
    access = issuer.token(house.clock.now(), headers={"typ": "at+jwt"})
    assert await exchange(house, access)


@pytest.mark.parametrize(
    ("since_expiry", "good"), [(-1, True), (0, True), (59, True), (60, False), (3600, False)]
)
async def test_an_expired_token_is_good_for_as_long_as_clocks_may_differ(
    house: House, issuer: TestIssuer, since_expiry: int, good: bool
) -> None:
    await connect(house, issuer, **PERSONAL)
    now = int(house.clock.now().timestamp())
    token = issuer.token(house.clock.now(), iat=now - 7200, exp=now - since_expiry)
    if good:
        response = await exchange(house, token)
        assert response.expire_time.ToSeconds() == now - since_expiry + 60
        return
    failure = await refused_token(house, token)
    assert failure.reason == "TOKEN_EXPIRED"
    assert list(failure.metadata) == ["expire_time"]


@pytest.mark.parametrize("claim", ["iat", "nbf"])
@pytest.mark.parametrize(("ahead", "good"), [(60, True), (61, False), (3600, False)])
async def test_a_token_from_the_future_is_good_for_as_long_as_clocks_may_differ(
    house: House, issuer: TestIssuer, claim: str, ahead: int, good: bool
) -> None:
    await connect(house, issuer, **PERSONAL)
    now = int(house.clock.now().timestamp())
    token = issuer.token(house.clock.now(), **{claim: now + ahead})
    if good:
        assert await exchange(house, token)
        return
    failure = await refused_token(house, token)
    assert failure.reason == "TOKEN_NOT_YET_VALID"
    assert list(failure.metadata) == ["begin_time"]


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("exp", None),
        ("exp", "tomorrow"),
        ("exp", True),
        ("exp", 1e300),
        ("iat", None),
        ("iat", []),
        ("nbf", "now"),
        ("sub", None),
        ("sub", ""),
        ("sub", 7),
        ("sub", " lin"),
        ("sub", "lin\nadmin"),
        ("sub", "x" * 257),
    ],
)
async def test_a_claim_that_is_missing_or_malformed_is_named(
    house: House, issuer: TestIssuer, claim: str, value: object
) -> None:
    await connect(house, issuer, **PERSONAL)
    failure = await refused_token(house, issuer.token(house.clock.now(), **{claim: value}))
    assert failure.reason == "TOKEN_CLAIM_INVALID"
    assert failure.metadata["claim"] == claim
    assert failure.metadata["expected"]


async def test_a_mail_address_says_who_it_is_only_when_it_was_verified(
    house: House, issuer: TestIssuer
) -> None:
    await connect(house, issuer, user_claim="email", **PERSONAL)
    mail = {"email": "lin@acme.example"}
    for verified in (None, False, "true"):
        token = issuer.token(house.clock.now(), email_verified=verified, **mail)
        failure = await refused_token(house, token)
        assert failure.metadata["claim"] == "email_verified"
    token = issuer.token(house.clock.now(), email_verified=True, **mail)
    assert (await exchange(house, token)).actor == "users/lin@acme.example"


async def test_a_token_over_16_kilobytes_is_refused_unread(
    house: House, issuer: TestIssuer
) -> None:
    await connect(house, issuer, **PERSONAL)
    token = issuer.token(house.clock.now(), padding="x" * 16_000)
    assert len(token) > 16_384
    with pytest.raises(Exception, match=r"longer than 16,384 characters") as caught:
        await house.app.authenticator.authenticate(token, None)
    assert getattr(caught.value, "reason", "") == "CREDENTIAL_MALFORMED"
    assert issuer.requests == []


# Keys


async def test_keys_are_found_by_discovery_or_where_the_provider_says(
    house: House, issuer: TestIssuer
) -> None:
    await connect(house, issuer, **PERSONAL)
    await exchange(house, issuer.token(house.clock.now()))
    assert issuer.requests == ["/.well-known/openid-configuration", "/jwks"]
    update = directory.UpdateIdentityProviderRequest(
        identity_provider={
            "name": "identityProviders/okta",
            "jwks_uri": f"{issuer.url}/elsewhere",
        }
    )
    update.update_mask.paths.append("jwks_uri")
    await house.directory().UpdateIdentityProvider(update)
    issuer.documents["/elsewhere"] = (200, {}, json.dumps(issuer.jwks()).encode())
    await exchange(house, issuer.token(house.clock.now(), sub="kim"))
    assert issuer.requests[2:] == ["/elsewhere"]


async def test_keys_are_fetched_once_for_many_tokens_and_again_when_they_are_old(
    house: House, issuer: TestIssuer
) -> None:
    await connect(house, issuer, **PERSONAL)
    for user in ("lin", "kim", "bo"):
        await exchange(house, issuer.token(house.clock.now(), sub=user))
    assert issuer.requests.count("/jwks") == 1
    house.clock.advance(301)
    await exchange(house, issuer.token(house.clock.now()))
    assert issuer.requests.count("/jwks") == 2


async def test_a_new_key_is_found_when_a_token_names_it_and_the_old_one_ends(
    house: House, issuer: TestIssuer
) -> None:
    await connect(house, issuer, **PERSONAL)
    old = issuer.token(house.clock.now())
    await exchange(house, old)
    issuer.add_key("k2")
    issuer.remove_key("k1")
    house.clock.advance(10)
    assert await exchange(house, issuer.token(house.clock.now(), kid="k2"))
    failure = await refused_token(house, old)
    assert failure.reason == "TOKEN_KEY_UNKNOWN"
    assert failure.metadata == {"identity_provider": "identityProviders/okta", "kid": "k1"}


async def test_made_up_key_ids_cost_one_fetch_in_ten_seconds(
    house: House, issuer: TestIssuer
) -> None:
    await connect(house, issuer, **PERSONAL)
    await exchange(house, issuer.token(house.clock.now()))
    house.clock.advance(10)
    forger = TestIssuer()
    forger.url = issuer.url
    for number in range(20):
        forger.add_key(f"x{number}")
        failure = await refused_token(house, forger.token(house.clock.now(), kid=f"x{number}"))
        assert failure.reason == "TOKEN_KEY_UNKNOWN"
    assert issuer.requests.count("/jwks") == 2


async def test_a_token_without_a_key_id_is_taken_when_only_one_key_can_be_meant(
    house: House, issuer: TestIssuer
) -> None:
    await connect(house, issuer, **PERSONAL)
    token = issuer.token(house.clock.now(), headers={"kid": None})
    assert await exchange(house, token)
    issuer.add_key("k2")
    house.clock.advance(301)
    assert (await refused_token(house, token)).reason == "TOKEN_KEY_UNKNOWN"


GARBAGE: dict[str, tuple[int, dict[str, str], bytes]] = {
    "answered 500": (500, {}, b"{}"),
    "answered 302": (302, {"Location": "http://127.0.0.1:1/jwks"}, b""),
    "sent no JSON": (200, {}, b"<html>"),
    "sent no JSON object": (200, {}, b"[]"),
    "holds no list of at most 100 keys": (200, {}, b'{"keys": 7}'),
    "holds no public key that can be used": (200, {}, b'{"keys": [7, {"kty": [], "kid": {}}]}'),
    "sent more than 262144 bytes": (200, {}, b" " * 300_000),
}


@pytest.mark.parametrize("cause", list(GARBAGE))
async def test_a_key_set_that_cannot_be_used_is_told_so(
    house: House, issuer: TestIssuer, cause: str
) -> None:
    await connect(house, issuer, **PERSONAL)
    issuer.documents["/jwks"] = GARBAGE[cause]
    for _ in range(3):
        failure = await refused(exchange(house, issuer.token(house.clock.now())))
        assert failure.code is grpc.StatusCode.UNAVAILABLE
        assert failure.reason == "IDENTITY_PROVIDER_UNREACHABLE"
        assert failure.metadata["identity_provider"] == "identityProviders/okta"
        assert failure.metadata["cause"].endswith(cause)
    assert issuer.requests.count("/jwks") == 1  # who is down is not asked again and again
    del issuer.documents["/jwks"]
    house.clock.advance(10)
    assert await exchange(house, issuer.token(house.clock.now()))


async def test_keys_that_are_weak_private_or_for_encryption_are_passed_over(
    house: House, issuer: TestIssuer
) -> None:
    await connect(house, issuer, **PERSONAL)
    good = issuer.jwks()["keys"][0]
    weak = TestIssuer()
    weak.add_key("k1", "RS256", bits=1024)
    shared = {"kty": "oct", "k": "c2VjcmV0", "kid": "k1", "alg": "HS256"}
    keys = [*weak.jwks()["keys"], shared, {**good, "use": "enc"}, {**good, "d": "AQAB"}]
    issuer.documents["/jwks"] = (200, {}, json.dumps({"keys": keys}).encode())
    failure = await refused(exchange(house, issuer.token(house.clock.now())))
    assert failure.metadata["cause"].endswith("holds no public key that can be used")


@pytest.mark.parametrize(
    ("document", "cause"),
    [
        ({"issuer": "https://other.example", "jwks_uri": "x"}, "speaks for another issuer"),
        ({"jwks_uri": "http://other.example/jwks"}, "names no https URL of keys"),
        ({"jwks_uri": 7}, "names no https URL of keys"),
        ({}, "names no https URL of keys"),
    ],
)
async def test_a_discovery_document_that_cannot_be_trusted_is_told_so(
    house: House, issuer: TestIssuer, document: dict[str, Any], cause: str
) -> None:
    await connect(house, issuer, **PERSONAL)
    body = json.dumps({"issuer": issuer.url, **document}).encode()
    issuer.documents["/.well-known/openid-configuration"] = (200, {}, body)
    failure = await refused(exchange(house, issuer.token(house.clock.now())))
    assert failure.metadata["cause"].endswith(cause)


async def test_an_issuer_that_is_gone_is_told_so_and_its_keys_serve_for_an_hour(
    house: House,
) -> None:
    async with running_issuer() as issuer:
        await connect(house, issuer, **PERSONAL)
        await exchange(house, issuer.token(house.clock.now()))
    house.clock.advance(301)
    assert await exchange(house, issuer.token(house.clock.now()))
    house.clock.advance(3600)
    failure = await refused(exchange(house, issuer.token(house.clock.now())))
    assert failure.reason == "IDENTITY_PROVIDER_UNREACHABLE"
    assert failure.metadata["cause"].endswith("cannot be reached (ConnectError)")


async def test_a_slow_issuer_is_waited_for_only_so_long(
    house: House, issuer: TestIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atrium_admin.adapters.httpx_key_sets._FETCH_SECONDS", 0.05)
    await connect(house, issuer, **PERSONAL)
    issuer.delay_seconds = 0.5
    failure = await refused(exchange(house, issuer.token(house.clock.now())))
    assert failure.reason == "IDENTITY_PROVIDER_UNREACHABLE"


# Providers that change


async def test_a_disabled_provider_refuses_its_tokens_at_once_and_those_made_of_them(
    house: House, issuer: TestIssuer
) -> None:
    await connect(house, issuer, **PERSONAL)
    token = issuer.token(house.clock.now())
    inner = (await exchange(house, token)).token
    who = await house.app.authenticator.authenticate(token, None)
    assert who.credential == "identityProviders/okta"
    update = directory.UpdateIdentityProviderRequest(
        identity_provider={"name": "identityProviders/okta", "disabled": True}
    )
    update.update_mask.paths.append("disabled")
    await house.directory().UpdateIdentityProvider(update)
    for credential in (token, inner):
        failure = await refused_token(house, credential)
        assert failure.reason == "IDENTITY_PROVIDER_DISABLED"
        assert failure.metadata == {"identity_provider": "identityProviders/okta"}
    with pytest.raises(Exception, match="is disabled"):  # not from memory either
        await house.app.authenticator.authenticate(token, None)


async def test_a_removed_provider_takes_its_groups_along_and_leaves_its_users(
    house: House, issuer: TestIssuer
) -> None:
    await connect_with_groups(house, issuer)
    token = issuer.token(house.clock.now(), groups=["hr"])
    inner = (await exchange(house, token)).token
    await house.directory().DeleteIdentityProvider(
        directory.DeleteIdentityProviderRequest(name="identityProviders/okta")
    )
    assert (await refused_token(house, token)).reason == "ISSUER_UNKNOWN"
    assert (await refused_token(house, inner)).reason == "IDENTITY_PROVIDER_DISABLED"
    assert not (await house.admin().ListGroups(pb.ListGroupsRequest())).groups
    assert await house.admin().GetUser(pb.GetUserRequest(name="users/lin"))
