"""Credentials: between services, of end users, and what the admin service knows of them.

Services prove themselves to each other with short assertions under the installation's secret
(JWT, HS256, RFC 7519). The admin service signs internal tokens (JWT, EdDSA, RFC 8037); everyone
verifies them with its public keys (JWKS, RFC 7517).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import random
import re
import secrets
import socket
from collections import OrderedDict, deque
from collections.abc import (
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Mapping,
    MutableMapping,
    Sequence,
)
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from weakref import WeakKeyDictionary, WeakValueDictionary

import grpc
import jwt
import structlog
import tenacity
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from jwt.algorithms import OKPAlgorithm

from atrium.admin.v1 import admin_pb2, identity_service_pb2, identity_service_pb2_grpc
from atrium_shared.clock import Clock, SystemClock
from atrium_shared.errors import AtriumError, Denied, NotFound, Unauthenticated, Unavailable
from atrium_shared.principal import (
    AllowSet,
    Effect,
    Grant,
    Principal,
    QuotaUnit,
    QuotaWindow,
    Residency,
    RuleBlock,
    TenantQuota,
)
from atrium_shared.rpc.channel import raise_from_rpc

API_KEY_PREFIX = "atr_"
MAX_TOKEN_LIFETIME = timedelta(minutes=5)
_ASSERTION_TYPE = "atrium-service+jwt"
_TOKEN_TYPE = "atrium-token+jwt"  # noqa: S105 - the media type of a token, no token
_ASSERTION_LIFETIME = timedelta(seconds=60)
_CLOCK_SKEW = timedelta(seconds=10)
_MAX_CREDENTIAL_CHARS = 16_384  # ExchangeCredentialRequest.credential
_MIN_SECRET_BYTES = 32
_MAX_VERIFIED_ASSERTIONS = 1000
_USER = re.compile(r"users/[A-Za-z0-9][A-Za-z0-9._@-]{0,127}")

_log = structlog.get_logger(__name__)


class CredentialMissing(Unauthenticated):
    """The call carries no credential."""

    reason = "CREDENTIAL_MISSING"

    def __init__(self) -> None:
        super().__init__(
            "The call carries no credential. Send the metadata `authorization: Bearer <API key>`."
        )


class CredentialMalformed(Unauthenticated):
    """The credential is no API key and no token, or the user name beside it is none."""

    reason = "CREDENTIAL_MALFORMED"

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"{problem} Send the metadata `authorization: Bearer <API key>` and, to act for an "
            "end user, `x-atrium-user: users/<id>`."
        )


class TokenExpired(Unauthenticated):
    """The token was right once."""

    reason = "TOKEN_EXPIRED"

    def __init__(self, expired: datetime) -> None:
        super().__init__(
            f"The token expired at {expired.isoformat()}. Ask for a new one.",
            expire_time=expired.isoformat(),
        )


class TokenInvalid(Unauthenticated):
    """The token is forged, broken, or meant for somebody else."""

    reason = "TOKEN_INVALID"

    def __init__(self, problem: str) -> None:
        super().__init__(f"The token is not valid here: {problem}.", problem=problem)


class SigningKeyUnknown(TokenInvalid):
    """The token names a key that the verifier does not have, perhaps a newer one."""

    def __init__(self, kid: str) -> None:
        super().__init__(f"it is signed with the unknown key {kid!r}")


class ServiceAssertionInvalid(Unauthenticated):
    """What should prove that a service calls does not."""

    reason = "SERVICE_ASSERTION_INVALID"

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"The service assertion is not valid: {problem}. Services of one installation share "
            "ATRIUM_SECRET, and their clocks agree to a few seconds.",
            problem=problem,
        )


class QuotaUnreadable(Unavailable):
    """A quota has a unit or a window that this release does not know."""

    reason = "QUOTA_UNREADABLE"

    def __init__(self, unit: int, window: int) -> None:
        super().__init__(
            f"A quota of the tenant has unit {unit} and window {window}, which this service cannot "
            "count. Bring all services to the release of the admin service.",
            unit=str(unit),
            window=str(window),
        )


class ServiceOnly(Denied):
    """The method is for other Atrium services alone."""

    reason = "SERVICE_ONLY"

    def __init__(self, method: str) -> None:
        super().__init__(
            f"{method} is for Atrium services alone; API keys and user tokens cannot call it.",
            method=method,
        )


class PolicyFeedStale(Unavailable):
    """What changed in permissions is not known, so nobody is let in."""

    reason = "POLICY_FEED_STALE"

    def __init__(self, limit_seconds: float) -> None:
        super().__init__(
            f"No policy changes could be read for {limit_seconds:g} seconds, so permissions are "
            "not known to be current. Try again; if it stays, see that the admin service runs.",
            limit_seconds=f"{limit_seconds:g}",
        )


class ReplicaUnknown(NotFound):
    """A replica acknowledges changes that it does not watch, or its lease was ended."""

    reason = "REPLICA_UNKNOWN"

    def __init__(self, replica: str) -> None:
        super().__init__(
            f"No replica {replica!r} holds a lease. Forget everything cached and open "
            "WatchPolicies again; acknowledge what that says.",
            replica=replica,
        )


class IdentityUnavailable(Unavailable):
    """The admin service does not answer this service."""

    reason = "IDENTITY_UNAVAILABLE"

    def __init__(self, cause: str) -> None:
        super().__init__(
            f"Credentials cannot be checked now ({cause}). Try again; if it stays, see that the "
            "admin service runs and that all services share ATRIUM_SECRET.",
            cause=cause,
        )


def user_name(name: str) -> str:
    """Return ``"users/lin"`` for ``"users/lin"`` and for ``"lin"``.

    Raises:
        CredentialMalformed: It is no user name.
    """
    full = name if name.startswith("users/") else f"users/{name}"
    if _USER.fullmatch(full) is None:
        raise CredentialMalformed("The metadata `x-atrium-user` is no user name.")
    return full


class ServiceIdentity:
    """What proves to other services that a call comes from a service of this installation.

    Args:
        name: Name of the service, ``"knowledge"``.
        secret: The installation's secret, at least 32 bytes.
        clock: Gives the time of issue and of verification.
    """

    def __init__(self, name: str, secret: bytes, clock: Clock | None = None) -> None:
        if len(secret) < _MIN_SECRET_BYTES:
            raise ValueError(f"The secret has {len(secret)} bytes, {_MIN_SECRET_BYTES} are needed.")
        self.name = name
        # The secret also serves other purposes; a derived key keeps them apart.
        self._key = hmac.digest(secret, b"atrium service assertion", "sha256")
        self._clock = clock or SystemClock()
        self._assertion = ""
        self._renew_at = datetime.min.replace(tzinfo=UTC)
        # A service sends the same assertion for half a minute.
        self._verified: dict[str, tuple[str, datetime]] = {}

    def assertion(self) -> str:
        """Return a JWT that says "this is service ``name``", valid for at least 30 seconds more."""
        now = self._clock.now()
        if now >= self._renew_at:
            self._assertion = jwt.encode(
                {"sub": self.name, "iat": now, "exp": now + _ASSERTION_LIFETIME},
                self._key,
                algorithm="HS256",
                headers={"typ": _ASSERTION_TYPE},
            )
            self._renew_at = now + _ASSERTION_LIFETIME / 2
        return self._assertion

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the call metadata that carries :meth:`assertion`."""
        return (("authorization", f"Bearer {self.assertion()}"),)

    def verify(self, token: str) -> str:
        """Return the name of the service that made ``token``.

        Raises:
            ServiceAssertionInvalid: It is no assertion, expired, or made under another secret.
        """
        verified = self._verified.get(token)
        if verified is None or self._clock.now() >= verified[1]:
            verified = self._verify(token)
            if len(self._verified) >= _MAX_VERIFIED_ASSERTIONS:
                self._verified.clear()
            self._verified[token] = verified
        return verified[0]

    def _verify(self, token: str) -> tuple[str, datetime]:
        """Return the name of the calling service, and until when the assertion holds."""
        try:
            claims, expires = _decode(
                token, self._key, "HS256", _ASSERTION_TYPE, ("sub",), self._clock
            )
        except Unauthenticated as error:
            raise ServiceAssertionInvalid(error.metadata.get("problem", "it expired")) from error
        return str(claims["sub"]), expires


def is_service_assertion(credential: str) -> bool:
    """Return whether ``credential`` claims to be a service assertion; nothing is verified."""
    try:
        return jwt.get_unverified_header(credential).get("typ") == _ASSERTION_TYPE
    except jwt.InvalidTokenError:
        return False


def is_internal_token(credential: str) -> bool:
    """Return whether ``credential`` claims to be an internal token; nothing is verified."""
    if credential.startswith(API_KEY_PREFIX):
        return False
    try:
        return jwt.get_unverified_header(credential).get("typ") == _TOKEN_TYPE
    except jwt.InvalidTokenError:
        return False


def is_outside_token(credential: str) -> bool:
    """Return whether ``credential`` claims to be a token that no service here made.

    Nothing is verified.
    """
    try:
        kind = jwt.get_unverified_header(credential).get("typ")
    except jwt.InvalidTokenError:
        return False
    return kind not in (_ASSERTION_TYPE, _TOKEN_TYPE)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenClaims:
    """What an internal token says.

    Attributes:
        tenant: Id of the tenant.
        actor: Who holds the credential that was exchanged, ``"users/portal"``.
        on_behalf_of: The end user, or ``None``.
        digest: Digest of the allow-set, 32 bytes.
        policy_version: Policy version at the time of issue.
        credential: Id of the key that was exchanged.
        audiences: Services that may accept it.
        expire_time: When it expires, in whole seconds.
    """

    tenant: str
    actor: str
    on_behalf_of: str | None
    digest: bytes
    policy_version: int
    credential: str
    audiences: tuple[str, ...]
    expire_time: datetime


class TokenSigner:
    """Signs internal tokens; the admin service alone has one.

    Args:
        private_key: Ed25519 key.
        kid: Id of the key, so that verifiers find its public half.
        clock: Gives the time of issue.
    """

    def __init__(
        self, private_key: Ed25519PrivateKey, kid: str, clock: Clock | None = None
    ) -> None:
        self._key = private_key
        self.kid = kid
        self._clock = clock or SystemClock()

    @classmethod
    def generate(cls, kid: str, clock: Clock | None = None) -> TokenSigner:
        """Return a signer with a new key."""
        return cls(Ed25519PrivateKey.generate(), kid, clock)

    @classmethod
    def from_pem(cls, pem: bytes, kid: str, clock: Clock | None = None) -> TokenSigner:
        """Return a signer with the key of :meth:`private_pem`.

        Raises:
            ValueError: It is no unencrypted PKCS #8 Ed25519 key.
        """
        key = serialization.load_pem_private_key(pem, password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError(f"The key is {type(key).__name__}, Ed25519 was expected.")
        return cls(key, kid, clock)

    def private_pem(self) -> bytes:
        """Return the private key, PKCS #8 in PEM, unencrypted: a secret."""
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def jwk(self) -> dict[str, str]:
        """Return the public key as a JSON Web Key."""
        jwk: dict[str, str] = OKPAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {**jwk, "kid": self.kid, "use": "sig", "alg": "EdDSA"}

    def sign(
        self,
        *,
        tenant: str,
        actor: str,
        on_behalf_of: str | None,
        allow_set: AllowSet,
        credential: str,
        audiences: Sequence[str],
        lifetime: timedelta = MAX_TOKEN_LIFETIME,
    ) -> tuple[str, datetime]:
        """Return a token and when it expires.

        Raises:
            ValueError: ``lifetime`` is longer than five minutes, or nobody may accept the token.
        """
        if lifetime > MAX_TOKEN_LIFETIME or not audiences:
            raise ValueError("A token lives for at most five minutes and has an audience.")
        now = self._clock.now()
        expires = (now + lifetime).replace(microsecond=0)
        claims = {
            "tenant": tenant,
            "actor": actor,
            "obo": on_behalf_of or "",
            "digest": base64.b64encode(allow_set.digest).decode(),
            "pv": allow_set.policy_version,
            "cred": credential,
            "aud": list(audiences),
            "iat": now,
            "exp": expires,
        }
        headers = {"typ": _TOKEN_TYPE, "kid": self.kid}
        return jwt.encode(claims, self._key, algorithm="EdDSA", headers=headers), expires


def signing_keys_jwks(signers: Iterable[TokenSigner]) -> str:
    """Return the public keys as a JSON Web Key Set: the current key and those going out of use."""
    return json.dumps({"keys": [signer.jwk() for signer in signers]})


class TokenVerifier:
    """Verifies internal tokens with the admin service's public keys.

    Args:
        jwks: JSON Web Key Set.
        clock: Tells whether a token expired.

    Raises:
        ValueError: ``jwks`` is no key set of Ed25519 keys.
    """

    def __init__(self, jwks: str, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._keys: dict[str, Ed25519PublicKey] = {}
        try:
            for jwk in json.loads(jwks)["keys"]:
                key = OKPAlgorithm.from_jwk(jwk)
                if not isinstance(key, Ed25519PublicKey):
                    raise ValueError(f"The key {jwk['kid']!r} is no public Ed25519 key.")
                self._keys[jwk["kid"]] = key
        except (KeyError, TypeError, jwt.InvalidKeyError) as error:
            raise ValueError(f"The signing keys are no key set: {error}") from error

    def verify(self, token: str, audiences: Iterable[str]) -> TokenClaims:
        """Return what ``token`` says.

        Args:
            token: JWT from :meth:`TokenSigner.sign`.
            audiences: Names under which the verifying process serves; one of them must be among
                the token's audiences.

        Raises:
            SigningKeyUnknown: It is signed with a key that is not in the set.
            TokenExpired: It expired.
            TokenInvalid: Anything else is wrong with it.
        """
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError as error:
            raise TokenInvalid(_problem(error)) from error
        if header.get("typ") != _TOKEN_TYPE:
            raise TokenInvalid(f"its type is not {_TOKEN_TYPE}")
        kid = str(header.get("kid", ""))
        key = self._keys.get(kid)
        if key is None:
            raise SigningKeyUnknown(kid)
        needed = ("tenant", "actor", "obo", "digest", "pv", "cred", "aud")
        claims, expires = _decode(token, key, "EdDSA", _TOKEN_TYPE, needed, self._clock)
        if not set(claims["aud"]).intersection(audiences):
            raise TokenInvalid("it is meant for other services")
        return _claims(claims, expires)


def _claims(claims: Mapping[str, Any], expires: datetime) -> TokenClaims:
    return TokenClaims(
        tenant=claims["tenant"],
        actor=claims["actor"],
        on_behalf_of=claims["obo"] or None,
        digest=base64.b64decode(claims["digest"]),
        policy_version=claims["pv"],
        credential=claims["cred"],
        audiences=tuple(claims["aud"]),
        expire_time=expires,
    )


def _decode(
    token: str,
    key: bytes | Ed25519PublicKey,
    algorithm: str,
    token_type: str,
    needed: Sequence[str],
    clock: Clock,
) -> tuple[dict[str, Any], datetime]:
    """Return the claims and the expiry of a JWT whose signature and type are right."""
    try:
        decoded = jwt.decode_complete(
            token,
            key,
            algorithms=[algorithm],
            # Times are checked below against our own clock; audiences by the caller.
            options={
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
                "verify_aud": False,
                "require": [*needed, "exp"],
            },
        )
    except jwt.InvalidTokenError as error:
        raise TokenInvalid(_problem(error)) from error
    if decoded["header"].get("typ") != token_type:
        raise TokenInvalid(f"its type is not {token_type}")
    claims: dict[str, Any] = decoded["payload"]
    expires = datetime.fromtimestamp(claims["exp"], UTC)
    if clock.now() >= expires + _CLOCK_SKEW:
        raise TokenExpired(expires)
    return claims, expires


def _problem(error: jwt.InvalidTokenError) -> str:
    """Say what is wrong with a token, without a piece of it."""
    if isinstance(error, jwt.InvalidSignatureError):
        return "its signature does not fit"
    if isinstance(error, jwt.InvalidAlgorithmError):
        return "its algorithm is not accepted"
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"the claim {error.claim!r} is missing"
    return "it cannot be read"


class Authenticator(Protocol):
    """Turns a credential into a principal."""

    async def authenticate(self, credential: str, on_behalf_of: str | None) -> Principal:
        """Return who calls and what they may do.

        Args:
            credential: The bearer value: an API key or an internal token.
            on_behalf_of: The end user named beside it, ``"users/lin"``, or ``None``.

        Raises:
            Unauthenticated: The credential is malformed, unknown, expired or revoked.
            Denied: The caller may not act for that user.
            Unavailable: It cannot be told now.
        """
        ...


ChangeListener = Callable[[str, frozenset[str]], Awaitable[object] | None]
"""Called with the tenant and the users whose permissions changed.

No users: all users of the tenant. No tenant: everyone. What it returns, if anything, is done when
the change holds for whatever the listener keeps open.
"""


class ChangeSource(Protocol):
    """An authenticator that reports when a principal may no longer be what it was."""

    def on_change(self, listener: ChangeListener) -> None:
        """Call ``listener`` at each change from now on."""
        ...


@dataclass(slots=True)
class _Cached:
    principal: Principal
    # On the monotonic clock, in seconds.
    valid_until: float


_Key = tuple[bytes, str | None]


class IdentityClient:
    """Asks the admin service who calls, and remembers the answers while they hold.

    An answer holds until its token is about to expire or the policy feed names its tenant (and
    one of its users). Each message of the feed is acknowledged once everything follows it: caches
    are cleared, and the listeners' streams are looked at again. The acknowledgement brings a lease
    of five seconds, counted from when it was sent (Gray and Cheriton, "Leases", 1989). Without a
    lease everybody is refused and open streams end: a revocation might have been missed, and
    whoever made it does not wait any longer. It is an :class:`Authenticator` and a
    :class:`ChangeSource`, and belongs to the event loop on which it was started.

    Args:
        channel: Channel to the admin service.
        service: Who asks. Tokens are accepted when they are meant for ``service.name``.
        downstream: Further services that principals' tokens are used with.
        replica: Name of this process in the admin service's log; host and process id when empty.
            Something random is added to it, so that no two processes are taken for one.
        clock: Tells expiry and silence of the feed.
        cache_size: Most principals remembered; the least recently used go first.
        timeout_seconds: How long one question to the admin service may take.
    """

    FEED_SILENCE_SECONDS = 5.0
    _ACKNOWLEDGE_SECONDS = 2.0
    _SECONDS_BETWEEN_LEASE_CHECKS = 0.1
    _RENEW_BEFORE_EXPIRY_SECONDS = 30.0
    _SECONDS_BETWEEN_KEY_FETCHES = 5.0

    def __init__(
        self,
        channel: grpc.aio.Channel,
        service: ServiceIdentity,
        *,
        downstream: Sequence[str] = ("admin", "gateway"),
        replica: str = "",
        clock: Clock | None = None,
        cache_size: int = 50_000,
        timeout_seconds: float = 5.0,
    ) -> None:
        self._stub = identity_service_pb2_grpc.IdentityServiceStub(channel)
        self._service = service
        self._audiences = tuple(dict.fromkeys((service.name, *downstream)))
        replica = replica or f"{service.name}@{socket.gethostname()}:{os.getpid()}"
        self._replica = f"{replica[:110]}/{secrets.token_hex(6)}"
        self._clock = clock or SystemClock()
        self._cache_size = cache_size
        self._timeout_seconds = timeout_seconds
        self._cache: OrderedDict[_Key, _Cached] = OrderedDict()
        self._keys_of_tenant: dict[str, set[_Key]] = {}
        self._allow_sets: OrderedDict[tuple[bytes, int], AllowSet] = OrderedDict()
        self._blocks: WeakValueDictionary[bytes, RuleBlock] = WeakValueDictionary()
        self._under_way: dict[_Key, asyncio.Task[Principal]] = {}
        self._changes = 0
        self._listeners: list[ChangeListener] = []
        self._tasks: list[asyncio.Task[None]] = []
        # How long the feed may stay silent from now; None while it is not connected.
        self._patience: asyncio.Timeout | None = None
        self._feed_version: int | None = None
        # What the listeners returned since the last message was heard.
        self._holding: list[asyncio.Future[object]] = []
        # Versions that were heard, with what must be done before they can be acknowledged.
        self._unsettled: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._settled: int | None = None
        self._to_acknowledge = asyncio.Event()
        # On the monotonic clock, in seconds.
        self._leased_until: float | None = None
        self._leased_first = asyncio.Event()
        self._verifier: TokenVerifier | None = None
        self._keys_fetched_at = 0.0
        self._keys_lock = asyncio.Lock()

    async def start(self) -> None:
        """Begin to follow the policy feed; returns before the admin service answered."""
        self._tasks = [
            asyncio.create_task(self._follow_feed(), name="policy feed"),
            asyncio.create_task(self._keep_acknowledging(), name="policy acknowledgements"),
            asyncio.create_task(self._watch_lease(), name="policy lease"),
        ]

    async def close(self) -> None:
        """Stop following the feed. Everybody is refused from then on."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        had_lease = self._leased_until is not None
        self._leased_until = None
        self._forget("", frozenset())
        if had_lease:
            # So that no revocation waits for a process that is gone.
            with suppress(AtriumError):
                await self._acknowledge(leaving=True)

    def on_change(self, listener: ChangeListener) -> None:
        """Call ``listener`` at each change from now on; see :data:`ChangeListener`."""
        self._listeners.append(listener)

    async def authenticate(self, credential: str, on_behalf_of: str | None) -> Principal:
        """Return who calls; see :meth:`Authenticator.authenticate`."""
        key = (hashlib.sha256(credential.encode()).digest(), on_behalf_of)
        cached = self._cache.get(key)
        if cached is not None and self._holds(cached):
            self._cache.move_to_end(key)
            return cached.principal
        if len(credential) > _MAX_CREDENTIAL_CHARS:
            raise CredentialMalformed(
                f"The credential is longer than {_MAX_CREDENTIAL_CHARS} characters."
            )
        if not credential.startswith(API_KEY_PREFIX):
            if credential.count(".") != 2:
                raise CredentialMalformed("The credential is neither an API key nor a token.")
            # A token of an identity provider is for the admin service to verify.
            if not is_outside_token(credential):
                await self._verify_token(credential)
        return await self._cached_or_asked(key, lambda: self._exchange(credential, on_behalf_of))

    async def exchange(self, credential: str, on_behalf_of: str | None) -> Principal:
        """Return the principal behind a credential, without looking at the credential first.

        Raises:
            PolicyFeedStale: It is not known what changed lately.
            IdentityUnavailable: The admin service does not answer.
            AtriumError: The admin service's own answer, with its reason.
        """
        key = (hashlib.sha256(credential.encode()).digest(), on_behalf_of)
        return await self._cached_or_asked(key, lambda: self._exchange(credential, on_behalf_of))

    async def delegate(self, tenant: str, actor: str, on_behalf_of: str | None) -> Principal:
        """Return a principal for work that goes on after its request ended.

        What the user may do is looked up anew, so a durable job calls this before each step.

        Raises:
            PolicyFeedStale: It is not known what changed lately.
            IdentityUnavailable: The admin service does not answer.
            AtriumError: The admin service's own answer, with its reason: the user is gone or
                disabled, or the actor may no longer act for them.
        """
        key = (f"delegate {tenant} {actor}".encode(), on_behalf_of)
        return await self._cached_or_asked(key, lambda: self._delegate(tenant, actor, on_behalf_of))

    def _holds(self, cached: _Cached) -> bool:
        return self._clock.monotonic() < cached.valid_until and self._has_lease()

    def _has_lease(self) -> bool:
        leased_until = self._leased_until
        return leased_until is not None and self._clock.monotonic() <= leased_until

    async def _require_lease(self) -> None:
        if self._leased_until is None and self._tasks:
            # Just started: the first lease is on its way.
            with suppress(TimeoutError):
                await asyncio.wait_for(self._leased_first.wait(), self.FEED_SILENCE_SECONDS)
        if not self._has_lease():
            raise PolicyFeedStale(self.FEED_SILENCE_SECONDS)

    async def _cached_or_asked(
        self, key: _Key, ask: Callable[[], Coroutine[Any, Any, Principal]]
    ) -> Principal:
        await self._require_lease()
        cached = self._cache.get(key)
        if cached is not None and self._holds(cached):
            self._cache.move_to_end(key)
            return cached.principal
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(key, ask), name="identity exchange")
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._finished(key, done))
        # A caller that goes away must not take the answer from the others who wait for it.
        return await asyncio.shield(task)

    def _finished(self, key: _Key, task: asyncio.Task[Principal]) -> None:
        if self._under_way.get(key) is task:
            del self._under_way[key]
        if not task.cancelled():
            task.exception()  # everyone who waited may be gone

    async def _ask(self, key: _Key, ask: Callable[[], Coroutine[Any, Any, Principal]]) -> Principal:
        changes = self._changes
        principal = await ask()
        # An answer from before a change may be out of date: it serves those who asked before the
        # change, and nobody after.
        if changes == self._changes:
            self._remember(key, principal)
        return principal

    async def _exchange(self, credential: str, on_behalf_of: str | None) -> Principal:
        request = identity_service_pb2.ExchangeCredentialRequest(
            credential=credential,
            on_behalf_of=on_behalf_of or "",
            audiences=self._audiences,
        )
        return self._principal(await self._call(self._stub.ExchangeCredential, request))

    async def _delegate(self, tenant: str, actor: str, on_behalf_of: str | None) -> Principal:
        request = identity_service_pb2.IssueDelegatedTokenRequest(
            tenant=tenant,
            actor=actor,
            on_behalf_of=on_behalf_of or "",
            audiences=self._audiences,
        )
        return self._principal(await self._call(self._stub.IssueDelegatedToken, request))

    async def _call(
        self, method: Any, request: Any, *, timeout_seconds: float | None = None
    ) -> Any:
        try:
            return await method(
                request,
                metadata=self._service.metadata(),
                timeout=timeout_seconds or self._timeout_seconds,
            )
        except grpc.aio.AioRpcError as error:
            try:
                raise_from_rpc(error)
            except Unavailable as unavailable:
                raise IdentityUnavailable(error.code().name) from unavailable
            except AtriumError as answer:
                # Our own credential was refused, which says nothing about the caller's.
                if answer.reason in (ServiceAssertionInvalid.reason, ServiceOnly.reason):
                    raise IdentityUnavailable(answer.reason) from answer
                raise

    def _principal(self, response: identity_service_pb2.ExchangeCredentialResponse) -> Principal:
        # The token came from the admin service itself, on the channel that the allow-set came on.
        claims = jwt.decode(response.token, options={"verify_signature": False})
        return Principal(
            tenant=response.tenant,
            actor=response.actor,
            on_behalf_of=response.on_behalf_of or None,
            allow_set=self._allow_set(response.allow_set),
            credential=claims["cred"],
            max_upload_bytes=response.max_upload_bytes,
            token=response.token,
            residency=residency_from_proto(response.residency),
            quotas=quotas_from_proto(response.quotas),
        )

    def _allow_set(self, proto: identity_service_pb2.AllowSet) -> AllowSet:
        # Thousands of users have the same few sets of rules; each is kept once.
        key = (proto.digest, proto.policy_version)
        allow_set = self._allow_sets.get(key)
        if allow_set is None:
            allow_set = allow_set_from_proto(proto, self._blocks)
            self._allow_sets[key] = allow_set
            if len(self._allow_sets) > self._cache_size:
                self._allow_sets.popitem(last=False)
        return allow_set

    def _remember(self, key: _Key, principal: Principal) -> None:
        claims = jwt.decode(principal.token, options={"verify_signature": False})
        left = claims["exp"] - self._clock.now().timestamp()
        valid = left - min(self._RENEW_BEFORE_EXPIRY_SECONDS, left / 2)
        self._drop(key)
        self._cache[key] = _Cached(principal, self._clock.monotonic() + valid)
        self._keys_of_tenant.setdefault(principal.tenant, set()).add(key)
        if len(self._cache) > self._cache_size:
            self._drop(next(iter(self._cache)))

    def _drop(self, key: _Key) -> None:
        cached = self._cache.pop(key, None)
        if cached is not None:
            keys = self._keys_of_tenant[cached.principal.tenant]
            keys.discard(key)
            if not keys:
                del self._keys_of_tenant[cached.principal.tenant]

    def _forget(self, tenant: str, users: frozenset[str]) -> None:
        """Drop what the change concerns and tell the listeners."""
        self._changes += 1
        self._under_way.clear()
        if not tenant:
            self._cache.clear()
            self._keys_of_tenant.clear()
            self._allow_sets.clear()
        else:
            for key in list(self._keys_of_tenant.get(tenant, ())):
                principal = self._cache[key].principal
                if not users or principal.actor in users or principal.on_behalf_of in users:
                    self._drop(key)
        for listener in self._listeners:
            holds = listener(tenant, users)
            if holds is not None:
                self._holding.append(asyncio.ensure_future(holds))

    async def _follow_feed(self) -> None:
        retrying = tenacity.retry(
            # Whatever breaks the feed, without it everybody is refused for ever.
            retry=tenacity.retry_if_exception_type(Exception),
            wait=tenacity.wait_exponential_jitter(multiplier=0.1, max=2.0, jitter=0.1),
            before_sleep=_log_lost_feed,
        )
        while True:
            # Returns when a feed that had worked ends; then the waits begin anew.
            await retrying(self._read_feed)()
            await asyncio.sleep(random.uniform(0.05, 0.2))  # noqa: S311 - spreads reconnections

    async def _read_feed(self) -> None:
        heard = False
        stream = self._stub.WatchPolicies(
            identity_service_pb2.WatchPoliciesRequest(replica=self._replica),
            metadata=self._service.metadata(),
        )
        try:
            while True:
                async with asyncio.timeout(self.FEED_SILENCE_SECONDS) as self._patience:
                    message = await stream.read()
                if not isinstance(message, identity_service_pb2.WatchPoliciesResponse):
                    raise TimeoutError("The policy feed ended.")
                self._hear(message, first=not heard)
                heard = True
        except (grpc.aio.AioRpcError, TimeoutError):
            if not heard:
                raise
        finally:
            self._patience = None
            stream.cancel()

    def _hear(self, message: identity_service_pb2.WatchPoliciesResponse, *, first: bool) -> None:
        expected = self._feed_version
        if message.tenant and expected is not None:
            expected += 1
        # After a reconnection versions might agree by chance (an admin service restored from a
        # backup), so what was cached before is never trusted.
        if first or message.version != expected:
            self._unsettled.clear()
            self._forget("", frozenset())
        elif message.tenant:
            self._forget(message.tenant, frozenset(message.users))
        self._feed_version = message.version
        holding, self._holding = self._holding, []
        settled = asyncio.ensure_future(_all_done(holding))
        settled.add_done_callback(lambda _: self._to_acknowledge.set())
        self._unsettled.append((message.version, settled))

    async def _keep_acknowledging(self) -> None:
        while True:
            await self._to_acknowledge.wait()
            self._to_acknowledge.clear()
            while self._unsettled and self._unsettled[0][1].done():
                self._settled, _ = self._unsettled.popleft()
            if self._settled is None or self._patience is None:
                continue
            sent_at = self._clock.monotonic()
            try:
                seconds = await self._acknowledge(self._settled)
            except AtriumError as error:
                _log.warning("policies not acknowledged", reason=error.reason)
                if error.reason == ReplicaUnknown.reason:
                    # Whoever revoked something did not wait for this process: it starts anew.
                    self._open_feed_again()
                continue
            leased_until = sent_at + min(seconds, self.FEED_SILENCE_SECONDS)
            # A lease is never shortened; a change that we are late with ends it by itself.
            self._leased_until = max(leased_until, self._leased_until or leased_until)
            if seconds > 0:
                self._leased_first.set()

    def _open_feed_again(self) -> None:
        if self._patience is not None:
            self._patience.reschedule(asyncio.get_running_loop().time())

    async def _acknowledge(self, version: int = 0, *, leaving: bool = False) -> float:
        """Return for how long this process may serve, in seconds."""
        request = identity_service_pb2.AcknowledgePoliciesRequest(
            replica=self._replica, version=version, leaving=leaving
        )
        response = await self._call(
            self._stub.AcknowledgePolicies, request, timeout_seconds=self._ACKNOWLEDGE_SECONDS
        )
        return float(response.lease.ToNanoseconds() / 1e9)

    async def _watch_lease(self) -> None:
        while True:
            await asyncio.sleep(self._SECONDS_BETWEEN_LEASE_CHECKS)
            if self._leased_until is not None and not self._has_lease():
                _log.warning("policy lease lost", replica=self._replica)
                self._leased_until = None
                self._leased_first.set()  # nobody waits: it is no fresh start
                # Everybody is refused from now on, those with open streams too.
                self._forget("", frozenset())

    async def _verify_token(self, token: str) -> None:
        verifier = self._verifier or await self._fetch_keys()
        try:
            verifier.verify(token, (self._service.name,))
        except SigningKeyUnknown:
            # Perhaps a new key; but made-up key ids must not make us ask again and again.
            if self._clock.monotonic() - self._keys_fetched_at < self._SECONDS_BETWEEN_KEY_FETCHES:
                raise
            (await self._fetch_keys()).verify(token, (self._service.name,))

    async def _fetch_keys(self) -> TokenVerifier:
        asked_at = self._clock.monotonic()
        async with self._keys_lock:
            if self._verifier is not None and self._keys_fetched_at >= asked_at:
                return self._verifier
            response = await self._call(
                self._stub.GetSigningKeys, identity_service_pb2.GetSigningKeysRequest()
            )
            self._verifier = TokenVerifier(response.jwks, self._clock)
            self._keys_fetched_at = self._clock.monotonic()
            return self._verifier


def _log_lost_feed(state: tenacity.RetryCallState) -> None:
    attempt = state.attempt_number
    if attempt & (attempt - 1):
        return  # the 1st, 2nd, 4th, 8th ... attempt says enough
    error = state.outcome.exception() if state.outcome is not None else None
    if isinstance(error, grpc.aio.AioRpcError):
        _log.warning("policy feed lost", attempt=attempt, code=error.code().name)
    else:
        _log.warning("policy feed lost", attempt=attempt, cause=repr(error))


async def _all_done(futures: Sequence[asyncio.Future[object]]) -> None:
    if futures:
        await asyncio.wait(futures)


def allow_set_from_proto(
    proto: identity_service_pb2.AllowSet,
    known: MutableMapping[bytes, RuleBlock] | None = None,
) -> AllowSet:
    """Return the allow-set of a message.

    Args:
        proto: The message. Its digests are believed: it comes from the admin service.
        known: Blocks by digest. Those found here are used again, and new ones are put here.
    """
    known = {} if known is None else known
    blocks: list[RuleBlock] = []
    if proto.grants or not proto.blocks:
        blocks.append(RuleBlock(map(_grant_from_proto, proto.grants)))
    for sent in proto.blocks:
        block = known.get(sent.digest)
        if block is None:
            block = RuleBlock(map(_grant_from_proto, sent.grants), sent.digest)
            known[sent.digest] = block
        blocks.append(block)
    return AllowSet.of_blocks(blocks, proto.policy_version, proto.digest or None)


_sent_blocks: WeakKeyDictionary[RuleBlock, identity_service_pb2.RuleBlock] = WeakKeyDictionary()
"""Blocks go out with each of the thousands of allow-sets that share them; converted once."""


def allow_set_to_proto(allow_set: AllowSet) -> identity_service_pb2.AllowSet:
    """Return the message for an allow-set, its blocks and their grants in a fixed order."""
    return identity_service_pb2.AllowSet(
        blocks=map(_block_to_proto, sorted(allow_set.blocks, key=lambda block: block.digest)),
        policy_version=allow_set.policy_version,
        digest=allow_set.digest,
    )


def _block_to_proto(block: RuleBlock) -> identity_service_pb2.RuleBlock:
    sent = _sent_blocks.get(block)
    if sent is None:
        grants = sorted(
            block.grants, key=lambda grant: (grant.resource, grant.action, grant.effect)
        )
        sent = identity_service_pb2.RuleBlock(
            digest=block.digest, grants=map(_grant_to_proto, grants)
        )
        _sent_blocks[block] = sent
    return sent


def _grant_from_proto(grant: admin_pb2.Grant) -> Grant:
    return Grant(
        grant.resource,
        grant.action,
        Effect.DENY if grant.effect == admin_pb2.Grant.DENY else Effect.ALLOW,
    )


def _grant_to_proto(grant: Grant) -> admin_pb2.Grant:
    return admin_pb2.Grant(
        resource=grant.resource,
        action=grant.action,
        effect=admin_pb2.Grant.DENY if grant.effect is Effect.DENY else admin_pb2.Grant.ALLOW,
    )


_RESIDENCIES = {
    admin_pb2.Tenant.PRIVATE_ONLY: Residency.PRIVATE_ONLY,
    admin_pb2.Tenant.HYBRID: Residency.HYBRID,
    admin_pb2.Tenant.ANY: Residency.ANY,
}
_RESIDENCY_NUMBERS = {residency: number for number, residency in _RESIDENCIES.items()}
_QUOTA_UNITS = {
    admin_pb2.TenantQuota.TOKENS: QuotaUnit.TOKENS,
    admin_pb2.TenantQuota.REQUESTS: QuotaUnit.REQUESTS,
}
_QUOTA_UNIT_NUMBERS = {unit: number for number, unit in _QUOTA_UNITS.items()}
_QUOTA_WINDOWS = {
    admin_pb2.TenantQuota.MINUTE: QuotaWindow.MINUTE,
    admin_pb2.TenantQuota.HOUR: QuotaWindow.HOUR,
    admin_pb2.TenantQuota.DAY: QuotaWindow.DAY,
    admin_pb2.TenantQuota.MONTH: QuotaWindow.MONTH,
}
_QUOTA_WINDOW_NUMBERS = {window: number for number, window in _QUOTA_WINDOWS.items()}


def residency_from_proto(number: admin_pb2.Tenant.Residency.ValueType) -> Residency:
    """Return where texts may go; nowhere when it is not said, or said by a newer release."""
    return _RESIDENCIES.get(number, Residency.PRIVATE_ONLY)


def residency_to_proto(residency: Residency) -> admin_pb2.Tenant.Residency.ValueType:
    """Return the number of a residency."""
    return _RESIDENCY_NUMBERS[residency]


def quotas_from_proto(quotas: Iterable[admin_pb2.TenantQuota]) -> tuple[TenantQuota, ...]:
    """Return the quotas of a message.

    Raises:
        QuotaUnreadable: One limits what this release cannot count. Leaving it out would lift it.
    """
    found = []
    for quota in quotas:
        unit, window = _QUOTA_UNITS.get(quota.unit), _QUOTA_WINDOWS.get(quota.window)
        if unit is None or window is None:
            raise QuotaUnreadable(quota.unit, quota.window)
        found.append(TenantQuota(unit, window, quota.limit))
    return tuple(found)


def quotas_to_proto(quotas: Iterable[TenantQuota]) -> list[admin_pb2.TenantQuota]:
    """Return the messages for quotas."""
    return [
        admin_pb2.TenantQuota(
            unit=_QUOTA_UNIT_NUMBERS[quota.unit],
            window=_QUOTA_WINDOW_NUMBERS[quota.window],
            limit=quota.limit,
        )
        for quota in quotas
    ]
