"""Signed statements: a few facts that anybody can verify with a public key, at any time.

A statement is a JWS in compact form (RFC 7515) with EdDSA (RFC 8037). Its type is part of what is
signed, so that no statement passes for one of another kind, nor for a token.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from jwt.algorithms import OKPAlgorithm

from atrium_shared.errors import Invalid


class StatementInvalid(Invalid):
    """The statement is forged, broken, or of another kind."""

    reason = "STATEMENT_INVALID"

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"The signed statement is not valid: {problem}. Send it unchanged.", problem=problem
        )
        self.problem = problem


class StatementSigner:
    """Signs statements.

    Args:
        private_pem: Ed25519 key, PKCS #8 in PEM, unencrypted.
        kid: Id of the key, so that verifiers find its public half.

    Raises:
        ValueError: It is no such key.
    """

    def __init__(self, private_pem: bytes, kid: str) -> None:
        key = serialization.load_pem_private_key(private_pem, password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError(f"The key is {type(key).__name__}, Ed25519 was expected.")
        self._key = key
        self._kid = kid

    def sign(self, kind: str, claims: Mapping[str, str | int]) -> str:
        """Return a statement of a kind, such as ``checkpoint``."""
        headers = {"typ": _type(kind), "kid": self._kid}
        return jwt.encode(dict(claims), self._key, algorithm="EdDSA", headers=headers)


class StatementVerifier:
    """Verifies statements.

    Args:
        jwks: JSON Web Key Set (RFC 7517) with the public keys of all signers, past ones too.

    Raises:
        ValueError: ``jwks`` is no key set of Ed25519 keys.
    """

    def __init__(self, jwks: str) -> None:
        self._keys: dict[str, Ed25519PublicKey] = {}
        try:
            for jwk in json.loads(jwks)["keys"]:
                key = OKPAlgorithm.from_jwk(jwk)
                if not isinstance(key, Ed25519PublicKey):
                    raise ValueError(f"The key {jwk['kid']!r} is no public Ed25519 key.")
                self._keys[jwk["kid"]] = key
        except (KeyError, TypeError, json.JSONDecodeError, jwt.InvalidKeyError) as error:
            raise ValueError(f"The keys are no key set: {error}") from error

    def verify(self, kind: str, statement: str) -> dict[str, object]:
        """Return the claims of a statement of this kind.

        Raises:
            StatementInvalid: Its signature does not fit, its key is unknown, or it is of another
                kind.
        """
        try:
            header = jwt.get_unverified_header(statement)
            if header.get("typ") != _type(kind):
                raise StatementInvalid(f"its type is not {_type(kind)}")
            key = self._keys.get(str(header.get("kid", "")))
            if key is None:
                raise StatementInvalid("it is signed with an unknown key")
            claims: dict[str, object] = jwt.decode(
                statement,
                key,
                algorithms=["EdDSA"],
                # A statement holds for ever, and speaks about itself alone.
                options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
        except jwt.InvalidSignatureError as error:
            raise StatementInvalid("its signature does not fit") from error
        except jwt.InvalidTokenError as error:
            raise StatementInvalid("it cannot be read") from error
        return claims


def _type(kind: str) -> str:
    return f"atrium-{kind}+jwt"
