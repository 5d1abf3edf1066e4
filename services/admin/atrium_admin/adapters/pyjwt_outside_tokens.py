"""Tokens of identity providers, read and verified with PyJWT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jwt

from atrium_admin.adapters.httpx_key_sets import HttpxKeySets
from atrium_admin.domain.errors import TokenAlgorithmRefused, TokenKeyUnknown
from atrium_admin.domain.identity_providers import IdentityProvider
from atrium_admin.domain.identity_tokens import Header
from atrium_shared.identity import TokenInvalid

_TYPES = ("", "jwt", "at+jwt", "application/at+jwt")
_SHOWN = 256
_MOST_ISSUER_CHARACTERS = 512 + 1  # one more than any issuer that can be stored
_UNVERIFIED: Any = {"verify_signature": False}
# Times and audiences are checked by the domain, by our own clock.
_SIGNATURE_ONLY: Any = {
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}


class PyJwtOutsideTokens:
    """Implements :class:`~atrium_admin.app.ports.OutsideTokens`.

    Args:
        key_sets: Finds keys.
    """

    def __init__(self, key_sets: HttpxKeySets) -> None:
        self._key_sets = key_sets

    def read_header(self, token: str) -> Header:
        """Return what a token says of itself; nothing is verified."""
        try:
            decoded = jwt.decode_complete(token, options=_UNVERIFIED)
        except (jwt.InvalidTokenError, RecursionError) as error:
            raise TokenInvalid("it cannot be read") from error
        header, issuer = decoded["header"], decoded["payload"].get("iss")
        # A token made for another purpose (a logout, a request) is no credential (RFC 8725, 3.11).
        if str(header.get("typ", "")).lower() not in _TYPES:
            raise TokenInvalid("its type is that of no credential")
        if not isinstance(issuer, str) or not issuer:
            raise TokenInvalid("the claim 'iss' is missing")
        return Header(
            issuer=issuer[:_MOST_ISSUER_CHARACTERS],
            algorithm=str(header.get("alg", ""))[:_SHOWN],
            kid=str(header.get("kid", ""))[:_SHOWN],
        )

    async def verify(
        self, token: str, header: Header, provider: IdentityProvider
    ) -> Mapping[str, object]:
        """Return the claims of a token whose signature fits a key of the provider's issuer."""
        if header.algorithm not in provider.algorithms:
            raise TokenAlgorithmRefused(header.algorithm, provider.algorithms)
        key = await self._key_sets.find(provider, header.kid, header.algorithm)
        if key is None:
            raise TokenKeyUnknown(provider.name, header.kid)
        try:
            claims: dict[str, object] = jwt.decode(
                token, key.key, algorithms=[header.algorithm], options=_SIGNATURE_ONLY
            )
        except jwt.InvalidSignatureError as error:
            raise TokenInvalid("its signature does not fit") from error
        except jwt.InvalidTokenError as error:
            raise TokenInvalid("it cannot be read") from error
        return claims
