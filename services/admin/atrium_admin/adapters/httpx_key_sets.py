"""Key sets of issuers (JWKS, RFC 7517), fetched over https and remembered for a while."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import jwt
from cachetools import LRUCache
from jwt.algorithms import AllowedPublicKeys, get_default_algorithms

from atrium_admin.domain.errors import FieldInvalid, IdentityProviderUnreachable
from atrium_admin.domain.identity_providers import IdentityProvider, require_url
from atrium_shared.clock import Clock

FRESH_SECONDS = 300.0
"""Keys older than this are fetched again before they verify anything."""

STALE_SECONDS = 3600.0
"""While the issuer does not answer, keys serve on until they are this old."""

SECONDS_BETWEEN_FETCHES = 10.0
"""Made-up key ids, and issuers that do not answer, cost one fetch in this time."""

_FETCH_SECONDS = 5.0
_MAX_BYTES = 256 * 1024
_MAX_KEYS = 100
_MIN_RSA_BITS = 2048
_CACHED_ISSUERS = 1000


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that verifies.

    Attributes:
        kid: Key id; "" when it has none.
        algorithms: Algorithms that it is good for.
        key: The key itself.
    """

    kid: str
    algorithms: tuple[str, ...]
    key: AllowedPublicKeys


@dataclass(slots=True)
class _Entry:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    keys: tuple[PublicKey, ...] = ()
    # On the monotonic clock, in seconds; None before the first time.
    fetched_at: float | None = None
    tried_at: float | None = None
    failure: str = ""


class _Unusable(Exception):
    """Says why no keys came."""


class HttpxKeySets:
    """Finds the key that a token names.

    An unknown key id makes the set be fetched again, as issuers rotate their keys; at most once in
    :data:`SECONDS_BETWEEN_FETCHES`, however many tokens ask. Redirects are not followed: a key set
    comes from where the tenant said, or from where the issuer's own discovery document says.

    Args:
        clock: Tells how old keys are.
        loopback_http: Whether plain http to this very machine will do.
    """

    def __init__(self, clock: Clock, *, loopback_http: bool) -> None:
        self._clock = clock
        self._loopback_http = loopback_http
        self._entries: LRUCache[tuple[str, str, str, str], _Entry] = LRUCache(_CACHED_ISSUERS)
        self._client: httpx.AsyncClient | None = None

    async def close(self) -> None:
        """Let go of connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def find(self, provider: IdentityProvider, kid: str, algorithm: str) -> PublicKey | None:
        """Return the issuer's key of this id that is good for the algorithm.

        Args:
            provider: Whose keys.
            kid: Key id. "" takes the only key that fits the algorithm, if there is but one.
            algorithm: Such as ``RS256``.

        Raises:
            IdentityProviderUnreachable: The keys cannot be had.
        """
        # What the provider is set to is part of the key: a changed setting starts anew.
        place = (provider.tenant, provider.id, provider.issuer, provider.jwks_uri)
        entry = self._entries.get(place)
        if entry is None:
            entry = self._entries[place] = _Entry()
        if self._age(entry.fetched_at) > FRESH_SECONDS:
            await self._refresh(entry, provider)
        found = _choose(entry.keys, kid, algorithm)
        if found is None:
            await self._refresh(entry, provider)
            found = _choose(entry.keys, kid, algorithm)
        if not entry.keys:
            raise IdentityProviderUnreachable(provider.name, entry.failure)
        return found

    def _age(self, moment: float | None) -> float:
        return float("inf") if moment is None else self._clock.monotonic() - moment

    async def _refresh(self, entry: _Entry, provider: IdentityProvider) -> None:
        async with entry.lock:
            if self._age(entry.tried_at) < SECONDS_BETWEEN_FETCHES:
                return
            entry.tried_at = self._clock.monotonic()
            try:
                entry.keys = await self._fetch(provider)
                entry.fetched_at = entry.tried_at
            except _Unusable as error:
                entry.failure = str(error)
                if self._age(entry.fetched_at) > STALE_SECONDS:
                    entry.keys = ()

    async def _fetch(self, provider: IdentityProvider) -> tuple[PublicKey, ...]:
        try:
            async with asyncio.timeout(_FETCH_SECONDS):
                uri = provider.jwks_uri or await self._discover(provider)
                document = await self._get(uri)
        except TimeoutError as error:
            raise _Unusable(f"no answer within {_FETCH_SECONDS:g} seconds") from error
        keys = document.get("keys")
        if not isinstance(keys, list) or len(keys) > _MAX_KEYS:
            raise _Unusable(f"{uri} holds no list of at most {_MAX_KEYS} keys")
        usable = tuple(key for each in keys if (key := _public_key(each)) is not None)
        if not usable:
            raise _Unusable(f"{uri} holds no public key that can be used")
        return usable

    async def _discover(self, provider: IdentityProvider) -> str:
        document = await self._get(provider.discovery_uri)
        # Else one issuer could speak for another (OpenID Connect Discovery 1.0, section 4.3).
        if document.get("issuer") != provider.issuer:
            raise _Unusable(f"{provider.discovery_uri} speaks for another issuer")
        uri = document.get("jwks_uri")
        try:
            if not isinstance(uri, str):
                raise FieldInvalid("jwks_uri", "a text")
            return require_url(uri, field="jwks_uri", loopback_http=self._loopback_http)
        except FieldInvalid as error:
            raise _Unusable(f"{provider.discovery_uri} names no https URL of keys") from error

    async def _get(self, uri: str) -> Mapping[str, Any]:
        if self._client is None:
            self._client = httpx.AsyncClient(
                follow_redirects=False,
                timeout=_FETCH_SECONDS,
                headers={"accept": "application/json"},
            )
        body = bytearray()
        try:
            async with self._client.stream("GET", uri) as response:
                if response.status_code != httpx.codes.OK:
                    raise _Unusable(f"{uri} answered {response.status_code}")
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > _MAX_BYTES:
                        raise _Unusable(f"{uri} sent more than {_MAX_BYTES} bytes")
        except httpx.HTTPError as error:
            raise _Unusable(f"{uri} cannot be reached ({type(error).__name__})") from error
        try:
            document = json.loads(bytes(body))
        except (ValueError, RecursionError) as error:
            raise _Unusable(f"{uri} sent no JSON") from error
        if not isinstance(document, dict):
            raise _Unusable(f"{uri} sent no JSON object")
        return document


def _choose(keys: Sequence[PublicKey], kid: str, algorithm: str) -> PublicKey | None:
    fitting = [key for key in keys if algorithm in key.algorithms and kid in ("", key.kid)]
    if kid:
        return fitting[0] if fitting else None
    # Without a key id only one key can be meant; trying several would let anyone spend our time.
    return fitting[0] if len(fitting) == 1 else None


def _public_key(jwk: object) -> PublicKey | None:
    """Return a key of a set, or None when it is for something else or too weak."""
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig" or "d" in jwk:
        return None
    kind = (jwk.get("kty"), jwk.get("crv") if jwk.get("kty") != "RSA" else None)
    by_kind: dict[tuple[Any, Any], tuple[str, ...]] = {
        ("RSA", None): ("RS256", "PS256"),
        ("EC", "P-256"): ("ES256",),
        ("OKP", "Ed25519"): ("EdDSA",),
    }
    try:
        algorithms = by_kind.get(kind, ())
    except TypeError:  # a list or an object where a text belongs
        return None
    named = jwk.get("alg")
    if named is not None:
        algorithms = tuple(each for each in algorithms if each == named)
    if not algorithms:
        return None
    try:
        key: Any = get_default_algorithms()[algorithms[0]].from_jwk(jwk)
    except (jwt.InvalidKeyError, ValueError, TypeError, KeyError):
        return None
    if kind[0] == "RSA" and key.key_size < _MIN_RSA_BITS:
        return None
    return PublicKey(str(jwk.get("kid", "")), algorithms, key)
