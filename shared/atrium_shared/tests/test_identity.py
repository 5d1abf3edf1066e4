"""Assertions, tokens, and the client that remembers who is who."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import jwt
import pytest
from google.protobuf import timestamp_pb2

from atrium.admin.v1 import identity_service_pb2 as pb
from atrium.admin.v1 import identity_service_pb2_grpc
from atrium_shared.clock import FixedClock, SystemClock
from atrium_shared.errors import Denied, Unavailable
from atrium_shared.identity import (
    CredentialMalformed,
    IdentityClient,
    IdentityUnavailable,
    PolicyFeedStale,
    ReplicaUnknown,
    ServiceAssertionInvalid,
    ServiceIdentity,
    SigningKeyUnknown,
    TokenExpired,
    TokenInvalid,
    TokenSigner,
    TokenVerifier,
    allow_set_from_proto,
    allow_set_to_proto,
    is_internal_token,
    is_service_assertion,
    signing_keys_jwks,
    user_name,
)
from atrium_shared.principal import AllowSet, Effect, Grant, Principal, RuleBlock
from atrium_shared.rpc.server import ServiceApp
from atrium_shared.testing import (
    TEST_SECRET,
    FakeCredentialUnknown,
    FakeImpersonationDenied,
    eventually,
    make_principal,
    running_server,
)

KNOWLEDGE = ServiceIdentity("knowledge", TEST_SECRET)


def sign(signer: TokenSigner, **changed: Any) -> str:
    arguments: dict[str, Any] = {
        "tenant": "acme",
        "actor": "users/portal",
        "on_behalf_of": "users/lin",
        "allow_set": AllowSet([Grant("knowledge.answers", "ask")], 7),
        "credential": "apiKeys/k1",
        "audiences": ("knowledge", "gateway"),
    }
    token, _ = signer.sign(**{**arguments, **changed})
    return token


# Assertions of services


def test_an_assertion_names_its_service() -> None:
    assert KNOWLEDGE.verify(ServiceIdentity("gateway", TEST_SECRET).assertion()) == "gateway"


def test_an_assertion_is_made_anew_before_it_expires() -> None:
    clock = FixedClock()
    identity = ServiceIdentity("gateway", TEST_SECRET, clock)
    first = identity.assertion()
    clock.advance(29)
    assert identity.assertion() == first
    clock.advance(2)
    assert identity.assertion() != first


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: ServiceIdentity("gateway", b"x" * 32).assertion(), "signature"),
        (lambda: ServiceIdentity("gateway", TEST_SECRET, FixedClock()).assertion(), None),
        (lambda: "no.jwt.here", "cannot be read"),
        (lambda: sign(TokenSigner.generate("k1")), "algorithm"),
        (lambda: jwt.encode({"sub": "gateway"}, "", algorithm="none"), "algorithm"),
    ],
    ids=["another secret", "expired", "broken", "a token instead", "no signature"],
)
def test_a_bad_assertion_is_refused(make: Any, problem: str | None) -> None:
    clock = FixedClock()
    clock.advance(3600)
    with pytest.raises(ServiceAssertionInvalid, match=problem):
        ServiceIdentity("knowledge", TEST_SECRET, clock).verify(make())


def test_an_assertion_of_another_type_is_refused() -> None:
    key = KNOWLEDGE._key
    forged = jwt.encode({"sub": "gateway", "exp": 4e9}, key, algorithm="HS256")
    with pytest.raises(ServiceAssertionInvalid, match="type"):
        KNOWLEDGE.verify(forged)


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="31 bytes, 32 are needed"):
        ServiceIdentity("gateway", b"x" * 31)


def test_credentials_are_told_apart_by_their_type() -> None:
    assertion, token = KNOWLEDGE.assertion(), sign(TokenSigner.generate("k1"))
    assert (is_service_assertion(assertion), is_internal_token(assertion)) == (True, False)
    assert (is_service_assertion(token), is_internal_token(token)) == (False, True)
    assert not is_service_assertion("atr_key")
    assert not is_internal_token("atr_key")


# Internal tokens


def test_a_token_says_what_was_signed() -> None:
    clock = FixedClock()
    signer = TokenSigner.generate("k1", clock)
    claims = TokenVerifier(signing_keys_jwks([signer]), clock).verify(sign(signer), ["knowledge"])
    assert (claims.tenant, claims.actor, claims.on_behalf_of) == (
        "acme",
        "users/portal",
        "users/lin",
    )
    assert claims.digest == AllowSet([Grant("knowledge.answers", "ask")]).digest
    assert (claims.policy_version, claims.credential) == (7, "apiKeys/k1")
    assert claims.audiences == ("knowledge", "gateway")
    assert claims.expire_time == clock.now() + timedelta(minutes=5)


def test_a_key_survives_being_stored() -> None:
    signer = TokenSigner.generate("k1")
    again = TokenSigner.from_pem(signer.private_pem(), "k1")
    TokenVerifier(signing_keys_jwks([signer])).verify(sign(again), ["knowledge"])


def test_a_stored_key_of_another_kind_is_refused() -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with pytest.raises(ValueError, match="Ed25519 was expected"):
        TokenSigner.from_pem(pem, "k1")


def test_a_token_for_other_services_is_refused() -> None:
    signer = TokenSigner.generate("k1")
    verifier = TokenVerifier(signing_keys_jwks([signer]))
    with pytest.raises(TokenInvalid, match="other services"):
        verifier.verify(sign(signer, audiences=["gateway"]), ["knowledge"])


def test_a_token_expires_but_a_few_seconds_of_clock_skew_pass() -> None:
    clock = FixedClock()
    signer = TokenSigner.generate("k1", clock)
    verifier = TokenVerifier(signing_keys_jwks([signer]), clock)
    token = sign(signer)
    clock.advance(305)
    verifier.verify(token, ["knowledge"])
    clock.advance(10)
    with pytest.raises(TokenExpired) as caught:
        verifier.verify(token, ["knowledge"])
    assert caught.value.metadata == {"expire_time": "2030-01-02T03:09:05+00:00"}


def test_a_token_of_an_unknown_key_is_refused() -> None:
    verifier = TokenVerifier(signing_keys_jwks([TokenSigner.generate("k1")]))
    with pytest.raises(SigningKeyUnknown):
        verifier.verify(sign(TokenSigner.generate("k2")), ["knowledge"])


def _forged(signer: TokenSigner, how: str) -> str:
    token = sign(signer)
    header, _, signature = token.split(".")
    claims = jwt.decode(token, options={"verify_signature": False})
    headers = {"typ": "atrium-token+jwt", "kid": "k1"}
    if how == "signature":
        return sign(TokenSigner.generate("k1"))
    if how == "payload":
        other = sign(signer, tenant="globex").split(".")[1]
        return f"{header}.{other}.{signature}"
    if how == "none":
        return jwt.encode(claims, "", algorithm="none", headers=headers)
    if how == "symmetric":  # the public key as an HMAC secret
        public = signer._key.public_key().public_bytes_raw()
        return jwt.encode(claims, public, algorithm="HS256", headers=headers)
    if how == "type":
        return jwt.encode(claims, signer._key, algorithm="EdDSA", headers={"kid": "k1"})
    claims.pop("tenant")
    return jwt.encode(claims, signer._key, algorithm="EdDSA", headers=headers)


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ("signature", "signature"),
        ("payload", "signature"),
        ("none", "algorithm"),
        ("symmetric", "algorithm"),
        ("type", "type"),
        ("claim", "'tenant' is missing"),
    ],
)
def test_a_forged_token_is_refused(how: str, problem: str) -> None:
    signer = TokenSigner.generate("k1")
    verifier = TokenVerifier(signing_keys_jwks([signer]))
    with pytest.raises(TokenInvalid, match=problem):
        verifier.verify(_forged(signer, how), ["knowledge"])


def test_text_that_is_no_token_is_refused() -> None:
    with pytest.raises(TokenInvalid, match="cannot be read"):
        TokenVerifier('{"keys": []}').verify("a.b.c", ["knowledge"])


@pytest.mark.parametrize("jwks", ["", "{}", '{"keys": [{}]}', '{"keys": [{"kty": "OKP"}]}'])
def test_broken_signing_keys_are_refused(jwks: str) -> None:
    with pytest.raises(ValueError, match=r"key set|Expecting value"):
        TokenVerifier(jwks)


def test_a_token_that_lives_too_long_is_not_signed() -> None:
    with pytest.raises(ValueError, match="five minutes"):
        sign(TokenSigner.generate("k1"), lifetime=timedelta(minutes=6))


@pytest.mark.parametrize("name", ["lin", "users/lin"])
def test_a_user_is_named_with_or_without_the_collection(name: str) -> None:
    assert user_name(name) == "users/lin"


@pytest.mark.parametrize("name", ["", "users/", "a b", "users/a/b", "x" * 129, "../admin"])
def test_an_impossible_user_name_is_malformed(name: str) -> None:
    with pytest.raises(CredentialMalformed):
        user_name(name)


def test_an_allow_set_crosses_the_wire() -> None:
    allow_set = AllowSet([Grant("a.b", "read"), Grant("labels/hr/*", "read", Effect.DENY)], 3)
    proto = allow_set_to_proto(allow_set)
    assert proto.digest == allow_set.digest
    assert allow_set_from_proto(proto) == allow_set


# The client, against an admin service in miniature


class Feed:
    """What one replica is told, and how many messages that were."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[pb.WatchPoliciesResponse | None] = asyncio.Queue()
        self.said = 0

    def say(self, message: pb.WatchPoliciesResponse | None) -> None:
        self.said += message is not None
        self.queue.put_nowait(message)


class FakeAdmin(identity_service_pb2_grpc.IdentityServiceServicer):
    """Knows principals by credential, counts what it is asked, and feeds what the test says."""

    def __init__(self) -> None:
        self.signer = TokenSigner.generate("k1", SystemClock())
        self.principals: dict[str, Principal] = {
            "atr_portal": make_principal("users/*:impersonate", actor="users/portal"),
            "atr_lin": make_principal("knowledge.answers:ask", actor="users/lin"),
            "atr_other": make_principal(tenant="globex", actor="users/lin"),
        }
        self.asked: list[str] = []
        self.audiences: tuple[str, ...] = ()
        self.key_fetches = 0
        self.delay: asyncio.Event | None = None
        self.error: Exception | None = None
        self.version = 5
        self.watches: asyncio.Queue[str] = asyncio.Queue()
        self.silent = False
        self.lease = timedelta(seconds=5)
        self.lease_error: Exception | None = None
        self.acknowledged: list[pb.AcknowledgePoliciesRequest] = []
        self.feeds: list[Feed] = []

    async def ExchangeCredential(
        self, request: pb.ExchangeCredentialRequest, context: Any
    ) -> pb.ExchangeCredentialResponse:
        self.asked.append(request.credential)
        self.audiences = tuple(request.audiences)
        principal = self.principals.get(request.credential)
        if is_internal_token(request.credential):
            principal = self.principals["atr_lin"]
        if self.delay is not None:
            await self.delay.wait()
        if self.error is not None:
            raise self.error
        if principal is None:
            raise FakeCredentialUnknown
        if request.on_behalf_of and not principal.may("users/x:impersonate"):
            raise FakeImpersonationDenied(principal.actor, request.on_behalf_of)
        return self._answer(principal, request.on_behalf_of, tuple(request.audiences))

    async def IssueDelegatedToken(
        self, request: pb.IssueDelegatedTokenRequest, context: Any
    ) -> pb.ExchangeCredentialResponse:
        self.asked.append(f"delegate {request.tenant} {request.actor}")
        principal = make_principal(tenant=request.tenant, actor=request.actor)
        return self._answer(principal, request.on_behalf_of, tuple(request.audiences))

    def _answer(
        self, principal: Principal, on_behalf_of: str, audiences: tuple[str, ...]
    ) -> pb.ExchangeCredentialResponse:
        token, expires = self.signer.sign(
            tenant=principal.tenant,
            actor=principal.actor,
            on_behalf_of=on_behalf_of or None,
            allow_set=principal.allow_set,
            credential="apiKeys/k7",
            audiences=audiences,
        )
        time = timestamp_pb2.Timestamp()
        time.FromDatetime(expires)
        return pb.ExchangeCredentialResponse(
            token=token,
            expire_time=time,
            tenant=principal.tenant,
            actor=principal.actor,
            on_behalf_of=on_behalf_of,
            allow_set=allow_set_to_proto(principal.allow_set),
            max_upload_bytes=1000,
        )

    async def GetSigningKeys(self, request: Any, context: Any) -> pb.GetSigningKeysResponse:
        self.key_fetches += 1
        return pb.GetSigningKeysResponse(jwks=signing_keys_jwks([self.signer]))

    async def WatchPolicies(
        self, request: Any, context: Any
    ) -> AsyncIterator[pb.WatchPoliciesResponse]:
        feed = Feed()
        self.feeds.append(feed)
        self.watches.put_nowait(request.replica)
        try:
            if not self.silent:
                feed.say(pb.WatchPoliciesResponse(version=self.version))
            while (message := await feed.queue.get()) is not None:
                yield message
        finally:
            self.feeds.remove(feed)

    async def AcknowledgePolicies(
        self, request: pb.AcknowledgePoliciesRequest, context: Any
    ) -> pb.AcknowledgePoliciesResponse:
        self.acknowledged.append(request)
        if self.lease_error is not None:
            raise self.lease_error
        response = pb.AcknowledgePoliciesResponse()
        response.lease.FromTimedelta(self.lease)
        return response

    async def AppendAuditEvents(self, request: Any, context: Any) -> Any:
        raise AssertionError("Nobody audits here.")

    def heartbeat(self) -> None:
        self._say(pb.WatchPoliciesResponse(version=self.version))

    def change(self, tenant: str, *users: str, by: int = 1) -> None:
        self.version += by
        self._say(pb.WatchPoliciesResponse(version=self.version, tenant=tenant, users=users))

    def hang_up(self) -> None:
        self._say(None)

    def _say(self, message: pb.WatchPoliciesResponse | None) -> None:
        for feed in self.feeds:
            feed.say(message)


class Heard:
    """A feed as the client reads it: who reads on has done with what came before."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.reads = 0

    async def read(self) -> Any:
        self.reads += 1
        return await self._stream.read()

    def cancel(self) -> None:
        self._stream.cancel()


class World:
    """An admin service, a client, and the clock between them."""

    def __init__(self, admin: FakeAdmin, client: IdentityClient, clock: FixedClock) -> None:
        self.admin = admin
        self.client = client
        self.clock = clock
        self.changes: list[tuple[str, frozenset[str]]] = []
        self.holds: list[asyncio.Future[None]] = []
        self._heard: list[Heard] = []
        self._acknowledging = 0
        client.on_change(self._changed)
        self._listen(client._stub)

    def _listen(self, stub: Any) -> None:
        watch, acknowledge = stub.WatchPolicies, stub.AcknowledgePolicies

        def heard(*arguments: Any, **options: Any) -> Heard:
            self._heard.append(Heard(watch(*arguments, **options)))
            return self._heard[-1]

        async def acknowledged(*arguments: Any, **options: Any) -> Any:
            self._acknowledging += 1
            try:
                return await acknowledge(*arguments, **options)
            finally:
                self._acknowledging -= 1

        stub.WatchPolicies, stub.AcknowledgePolicies = heard, acknowledged

    def _changed(self, tenant: str, users: frozenset[str]) -> asyncio.Future[None] | None:
        self.changes.append((tenant, users))
        return self.holds.pop() if self.holds else None

    async def settle(self) -> None:
        """Wait until what was said on the feed has arrived and is acknowledged, if it can be."""
        quiet = 0
        async with asyncio.timeout(20):
            while quiet < 30:  # turns of the loop: more than from a message to its acknowledgement
                quiet = quiet + 1 if self._is_quiet() else 0
                await asyncio.sleep(0 if quiet else 0.005)

    def _is_quiet(self) -> bool:
        if not self.admin.feeds or not self._heard or self._acknowledging:
            return False
        return self._heard[-1].reads == self.admin.feeds[-1].said + 1

    async def asked(self, times: int) -> None:
        """Wait until the admin service was asked so often."""
        await eventually(lambda: len(self.admin.asked) >= times)


@asynccontextmanager
async def world(*, silent: bool = False, **arguments: Any) -> AsyncIterator[World]:
    admin = FakeAdmin()
    admin.silent = silent
    start = SystemClock().now().replace(microsecond=0)
    clock = FixedClock(start)

    async def nothing() -> None:
        return None

    app = ServiceApp(
        name="admin",
        services={
            "atrium.admin.v1.IdentityService": lambda server: (
                identity_service_pb2_grpc.add_IdentityServiceServicer_to_server(admin, server)
            )
        },
        start=nothing,
        stop=nothing,
    )
    async with running_server([app]) as server:
        client = IdentityClient(server.open_channel(), KNOWLEDGE, clock=clock, **arguments)
        made = World(admin, client, clock)
        await client.start()
        try:
            yield made
        finally:
            await client.close()
            admin.hang_up()


async def test_a_principal_is_what_the_admin_service_says() -> None:
    async with world() as w:
        who = await w.client.authenticate("atr_portal", "users/lin")
        assert (who.tenant, who.actor, who.on_behalf_of) == (
            "acme",
            "users/portal",
            "users/lin",
        )
        assert who.allow_set == w.admin.principals["atr_portal"].allow_set
        assert (who.credential, who.max_upload_bytes) == ("apiKeys/k7", 1000)
        assert w.admin.audiences == ("knowledge", "admin", "gateway")
        verifier = TokenVerifier(signing_keys_jwks([w.admin.signer]))
        assert verifier.verify(who.token, ["gateway"]).actor == "users/portal"


async def test_a_second_call_asks_nobody() -> None:
    async with world() as w:
        first = await w.client.authenticate("atr_lin", None)
        assert await w.client.authenticate("atr_lin", None) is first
        assert w.admin.asked == ["atr_lin"]


async def test_users_behind_one_key_are_kept_apart() -> None:
    async with world() as w:
        for user in (None, "users/lin", "users/mei"):
            who = await w.client.authenticate("atr_portal", user)
            assert who.on_behalf_of == user
        assert len(w.admin.asked) == 3


async def test_users_with_equal_rules_share_one_allow_set() -> None:
    async with world() as w:
        lin = await w.client.authenticate("atr_portal", "users/lin")
        mei = await w.client.authenticate("atr_portal", "users/mei")
        assert lin.allow_set is mei.allow_set


async def test_equal_questions_at_once_are_one_call() -> None:
    async with world() as w:
        w.admin.delay = asyncio.Event()
        asking = [asyncio.create_task(w.client.authenticate("atr_lin", None)) for _ in range(20)]
        await w.settle()
        asking[0].cancel()  # the others still get their answer
        w.admin.delay.set()
        answers = await asyncio.gather(*asking[1:])
        assert len({id(answer) for answer in answers}) == 1
        assert w.admin.asked == ["atr_lin"]
        with suppress(asyncio.CancelledError):
            await asking[0]


async def test_a_failed_question_is_asked_again() -> None:
    async with world() as w:
        for _ in range(2):
            with pytest.raises(Denied) as caught:
                await w.client.authenticate("atr_nobody", None)
            assert caught.value.reason == "API_KEY_UNKNOWN"
        assert len(w.admin.asked) == 2


async def test_the_admin_services_refusal_keeps_reason_and_metadata() -> None:
    async with world() as w:
        with pytest.raises(Denied) as caught:
            await w.client.authenticate("atr_lin", "users/mei")
        assert caught.value.reason == "IMPERSONATION_DENIED"
        assert caught.value.metadata == {"actor": "users/lin", "user": "users/mei"}


@pytest.mark.parametrize("credential", ["", "hello", "a.b", "x" * 20_000])
async def test_what_cannot_be_a_credential_is_refused_without_asking(credential: str) -> None:
    async with world() as w:
        with pytest.raises(CredentialMalformed):
            await w.client.authenticate(credential, None)
        assert w.admin.asked == []


async def test_a_principal_is_asked_for_again_before_its_token_expires(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A lease that is seen to have run out ends the trust in what is cached.
    monkeypatch.setattr(IdentityClient, "_SECONDS_BETWEEN_LEASE_CHECKS", 60.0)
    async with world() as w:
        await w.client.authenticate("atr_lin", None)
        for seconds, asked in ((260, 1), (15, 2)):
            w.clock.advance(seconds)
            w.admin.heartbeat()
            await w.settle()
            await w.client.authenticate("atr_lin", None)
            assert len(w.admin.asked) == asked


async def test_the_least_recently_used_principal_is_forgotten_first() -> None:
    async with world(cache_size=2) as w:
        for user in ("users/a", "users/b", "users/a", "users/c", "users/a", "users/b"):
            await w.client.authenticate("atr_portal", user)
        assert len(w.admin.asked) == 4  # a, b, c, and b again


async def test_a_change_drops_the_users_it_names() -> None:
    async with world() as w:
        await w.client.authenticate("atr_lin", None)
        await w.client.authenticate("atr_portal", None)
        await w.client.authenticate("atr_portal", "users/lin")
        await w.client.authenticate("atr_other", None)
        w.admin.change("acme", "users/lin")
        await w.settle()
        w.admin.asked.clear()
        await w.client.authenticate("atr_portal", None)
        await w.client.authenticate("atr_other", None)
        assert w.admin.asked == []
        await w.client.authenticate("atr_lin", None)
        await w.client.authenticate("atr_portal", "users/lin")
        assert w.admin.asked == ["atr_lin", "atr_portal"]
        assert w.changes[-1] == ("acme", frozenset({"users/lin"}))


async def test_a_change_without_users_drops_the_whole_tenant() -> None:
    async with world() as w:
        for credential in ("atr_lin", "atr_portal", "atr_other"):
            await w.client.authenticate(credential, None)
        w.admin.change("acme")
        await w.settle()
        w.admin.asked.clear()
        for credential in ("atr_lin", "atr_portal", "atr_other"):
            await w.client.authenticate(credential, None)
        assert w.admin.asked == ["atr_lin", "atr_portal"]


@pytest.mark.parametrize("how", ["change", "heartbeat"])
async def test_a_gap_in_the_feed_drops_everything(how: str) -> None:
    async with world() as w:
        await w.client.authenticate("atr_lin", None)
        await w.client.authenticate("atr_other", None)
        if how == "change":
            w.admin.change("initech", by=2)
        else:
            w.admin.version += 1
            w.admin.heartbeat()
        await w.settle()
        w.admin.asked.clear()
        await w.client.authenticate("atr_lin", None)
        await w.client.authenticate("atr_other", None)
        assert w.admin.asked == ["atr_lin", "atr_other"]
        assert w.changes[-1] == ("", frozenset())


async def test_an_answer_from_before_a_change_is_not_kept() -> None:
    async with world() as w:
        w.admin.delay = asyncio.Event()
        before = asyncio.create_task(w.client.authenticate("atr_lin", None))
        await w.asked(1)
        w.admin.principals["atr_lin"] = make_principal(actor="users/lin", policy_version=2)
        w.admin.change("acme", "users/lin")
        await w.settle()
        # Whoever asks after the change does not join the question from before it.
        after = asyncio.create_task(w.client.authenticate("atr_lin", None))
        await w.asked(2)
        w.admin.delay.set()
        assert (await before).allow_set.policy_version == 1
        assert (await after).allow_set.policy_version == 2
        assert (await w.client.authenticate("atr_lin", None)).allow_set.policy_version == 2


async def test_a_silent_feed_refuses_everybody_after_five_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A lease that is seen to have run out ends the trust in what is cached.
    monkeypatch.setattr(IdentityClient, "_SECONDS_BETWEEN_LEASE_CHECKS", 60.0)
    async with world() as w:
        await w.client.authenticate("atr_lin", None)
        w.clock.advance(5)
        await w.client.authenticate("atr_lin", None)
        w.clock.advance(0.1)
        with pytest.raises(PolicyFeedStale) as caught:
            await w.client.authenticate("atr_lin", None)
        assert isinstance(caught.value, Unavailable)
        assert (caught.value.reason, caught.value.metadata) == (
            "POLICY_FEED_STALE",
            {"limit_seconds": "5"},
        )
        with pytest.raises(PolicyFeedStale):
            await w.client.delegate("acme", "users/lin", None)
        w.admin.heartbeat()
        await w.settle()
        await w.client.authenticate("atr_lin", None)
        assert w.admin.asked == ["atr_lin"]


async def test_a_feed_that_never_spoke_refuses_everybody(monkeypatch: Any) -> None:
    monkeypatch.setattr(IdentityClient, "FEED_SILENCE_SECONDS", 0.1)
    async with world(silent=True) as w:
        with pytest.raises(PolicyFeedStale):
            await w.client.authenticate("atr_lin", None)
        async with asyncio.timeout(20):
            for _ in range(3):  # a silent feed is opened again and again
                await w.admin.watches.get()


async def test_the_first_caller_waits_for_the_feeds_first_word() -> None:
    async with world(silent=True) as w:
        asking = asyncio.create_task(w.client.authenticate("atr_lin", None))
        await w.settle()
        assert not asking.done()
        w.admin.heartbeat()
        assert (await asking).actor == "users/lin"


async def test_a_broken_feed_is_opened_again_and_nothing_from_before_is_trusted() -> None:
    async with world() as w:
        await w.client.authenticate("atr_lin", None)
        await w.admin.watches.get()
        w.admin.hang_up()
        async with asyncio.timeout(20):
            await w.admin.watches.get()
        await w.settle()
        await w.client.authenticate("atr_lin", None)
        assert w.admin.asked == ["atr_lin", "atr_lin"]


async def test_nobody_is_let_in_after_the_client_closed() -> None:
    async with world() as w:
        await w.client.authenticate("atr_lin", None)
        await w.client.close()
        with pytest.raises(PolicyFeedStale):
            await w.client.authenticate("atr_lin", None)


async def test_a_token_is_verified_here_and_exchanged_once() -> None:
    async with world() as w:
        token = sign(w.admin.signer)
        for _ in range(3):
            who = await w.client.authenticate(token, None)
        assert who.actor == "users/lin"
        assert w.admin.asked == [token]
        assert w.admin.key_fetches == 1


async def test_a_bad_token_never_reaches_the_admin_service() -> None:
    async with world() as w:
        for token in (
            sign(TokenSigner.generate("k1")),
            sign(w.admin.signer, audiences=["gateway"]),
            ServiceIdentity("gateway", TEST_SECRET).assertion(),
            "a.b.c",
        ):
            with pytest.raises(TokenInvalid):
                await w.client.authenticate(token, None)
        w.clock.advance(400)
        w.admin.heartbeat()
        await w.settle()
        with pytest.raises(TokenExpired):
            await w.client.authenticate(sign(w.admin.signer), None)
        assert w.admin.asked == []


async def test_new_signing_keys_are_fetched_but_made_up_ones_cost_little() -> None:
    async with world() as w:
        await w.client.authenticate(sign(w.admin.signer), None)
        for number in range(5):
            with pytest.raises(SigningKeyUnknown):
                await w.client.authenticate(sign(TokenSigner.generate(f"x{number}")), None)
        assert w.admin.key_fetches == 1
        w.admin.signer = TokenSigner.generate("k2")
        w.clock.advance(6)
        w.admin.heartbeat()
        await w.settle()
        await w.client.authenticate(sign(w.admin.signer), None)
        assert w.admin.key_fetches == 2


async def test_a_job_gets_a_principal_of_its_own() -> None:
    async with world() as w:
        who = await w.client.delegate("acme", "users/portal", "users/lin")
        assert (who.tenant, who.actor, who.subject) == ("acme", "users/portal", "users/lin")
        assert await w.client.delegate("acme", "users/portal", "users/lin") is who
        w.admin.change("acme", "users/lin")
        await w.settle()
        assert await w.client.delegate("acme", "users/portal", "users/lin") is not who
        assert w.admin.asked == ["delegate acme users/portal"] * 2


async def test_a_failing_admin_service_is_not_the_callers_fault() -> None:
    async with world() as w:
        for error in (Unavailable("no database"), ZeroDivisionError()):
            w.admin.error = error
            with pytest.raises(IdentityUnavailable) as caught:
                await w.client.authenticate("atr_lin", None)
            assert caught.value.reason == "IDENTITY_UNAVAILABLE"


async def test_our_own_wrong_secret_is_not_the_callers_fault() -> None:
    async with world() as w:
        await w.client.authenticate("atr_portal", None)
        w.client._service = ServiceIdentity("knowledge", b"y" * 32)
        with pytest.raises(IdentityUnavailable) as caught:
            await w.client.authenticate("atr_lin", None)
        assert caught.value.metadata == {"cause": "SERVICE_ASSERTION_INVALID"}


# Leases


async def test_every_message_of_the_feed_is_acknowledged_under_one_name() -> None:
    async with world() as w:
        await w.client.authenticate("atr_lin", None)
        w.admin.change("acme", "users/lin")
        w.admin.heartbeat()
        await w.settle()
        assert w.admin.acknowledged[0].version == 5
        assert w.admin.acknowledged[-1].version == 6
        watching = await w.admin.watches.get()
        assert {each.replica for each in w.admin.acknowledged} == {watching}


async def test_two_processes_of_one_name_are_two_replicas() -> None:
    async with world(replica="knowledge") as one, world(replica="knowledge") as other:
        names = [await each.admin.watches.get() for each in (one, other)]
    assert names[0] != names[1]
    assert all(name.startswith("knowledge/") for name in names)


async def test_a_change_is_acknowledged_only_when_it_holds_for_open_streams() -> None:
    async with world() as w:
        await w.client.authenticate("atr_lin", None)
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        w.holds.append(ended)
        w.admin.change("acme", "users/lin")
        w.admin.heartbeat()
        await w.settle()
        # The lease is renewed meanwhile, under what held before.
        assert {each.version for each in w.admin.acknowledged} == {5}
        assert len(w.admin.acknowledged) > 1
        ended.set_result(None)
        await w.settle()
        assert w.admin.acknowledged[-1].version == 6


async def test_without_a_lease_everybody_is_refused_and_streams_are_looked_at_again() -> None:
    async with world() as w:
        await w.client.authenticate("atr_lin", None)
        w.admin.lease_error = Unavailable("no database")
        w.changes.clear()
        w.clock.advance(5.1)
        w.admin.heartbeat()
        with pytest.raises(PolicyFeedStale):
            await w.client.authenticate("atr_lin", None)
        await eventually(lambda: w.changes)
        assert w.changes == [("", frozenset())]
        w.admin.lease_error = None
        w.admin.heartbeat()
        await w.settle()
        await w.client.authenticate("atr_lin", None)
        assert w.admin.asked == ["atr_lin", "atr_lin"]  # what was cached is not trusted


async def test_a_replica_that_is_late_gets_no_lease() -> None:
    async with world() as w:
        await w.client.authenticate("atr_lin", None)
        w.admin.lease = timedelta()
        w.clock.advance(4)
        w.admin.heartbeat()
        await w.settle()
        await w.client.authenticate("atr_lin", None)  # what was promised stays promised
        w.clock.advance(1.1)
        with pytest.raises(PolicyFeedStale):
            await w.client.authenticate("atr_lin", None)


async def test_a_lease_counts_from_when_it_was_asked_for() -> None:
    async with world() as w:
        await w.client.authenticate("atr_lin", None)
        answering = asyncio.Event()
        acknowledge = w.admin.AcknowledgePolicies

        async def slow(request: Any, context: Any) -> Any:
            await answering.wait()
            return await acknowledge(request, context)

        # The clock moves while the answer is on its way.
        w.client._stub.AcknowledgePolicies = _through(slow)
        w.admin.heartbeat()
        await w.settle()
        w.clock.advance(4)
        answering.set()
        await w.settle()
        w.clock.advance(1.1)
        with pytest.raises(PolicyFeedStale):
            await w.client.authenticate("atr_lin", None)


def _through(method: Any) -> Any:
    async def call(request: Any, **_: Any) -> Any:
        return await method(request, None)

    return call


async def test_a_replica_whose_lease_was_ended_begins_anew() -> None:
    async with world() as w:
        await w.client.authenticate("atr_lin", None)
        await w.admin.watches.get()
        w.admin.lease_error = ReplicaUnknown("knowledge")
        w.admin.heartbeat()
        async with asyncio.timeout(20):
            await w.admin.watches.get()  # the feed is opened again
        w.admin.lease_error = None
        w.admin.heartbeat()
        await w.settle()
        await w.client.authenticate("atr_lin", None)
        assert w.admin.asked == ["atr_lin", "atr_lin"]


async def test_who_closes_gives_the_lease_back() -> None:
    async with world() as w:
        await w.client.authenticate("atr_lin", None)
        await w.client.close()
        assert w.admin.acknowledged[-1].leaving
        assert not w.admin.acknowledged[-2].leaving


async def test_users_with_one_role_in_common_share_its_rules() -> None:
    common = RuleBlock([Grant("labels/hr", "read")])
    async with world() as w:
        for name in ("atr_lin", "atr_other"):
            own = RuleBlock([Grant(f"labels/{name}", "read")])
            principal = w.admin.principals[name]
            allow_set = AllowSet.of_blocks([common, own], 1)
            w.admin.principals[name] = replace(principal, allow_set=allow_set)
        one = (await w.client.authenticate("atr_lin", None)).allow_set
        other = (await w.client.authenticate("atr_other", None)).allow_set
        assert {id(block) for block in one.blocks} & {id(block) for block in other.blocks}
        assert one.permits("labels/atr_lin", "read")
        assert not one.permits("labels/atr_other", "read")
