from __future__ import annotations

import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from atrium_shared.identity import TokenInvalid, TokenSigner, TokenVerifier, signing_keys_jwks
from atrium_shared.statements import StatementInvalid, StatementSigner, StatementVerifier

KEY = TokenSigner.generate("s1")
OTHER = TokenSigner.generate("s1")
JWKS = signing_keys_jwks([KEY, TokenSigner.generate("s0")])
SIGNED = StatementSigner(KEY.private_pem(), "s1").sign("checkpoint", {"tenant": "acme", "seq": 7})


def problem(statement: str, kind: str = "checkpoint") -> str:
    with pytest.raises(StatementInvalid) as caught:
        StatementVerifier(JWKS).verify(kind, statement)
    assert caught.value.metadata == {"problem": caught.value.problem}
    return caught.value.problem


def test_a_statement_says_what_was_signed() -> None:
    claims = StatementVerifier(JWKS).verify("checkpoint", SIGNED)
    assert claims == {"tenant": "acme", "seq": 7}


def test_what_was_altered_or_signed_by_others_is_no_statement() -> None:
    header, _, signature = SIGNED.split(".")
    forged = StatementSigner(OTHER.private_pem(), "s1").sign("checkpoint", {"tenant": "acme"})
    assert problem(forged) == "its signature does not fit"
    assert problem(f"{header}.{forged.split('.')[1]}.{signature}") == "its signature does not fit"
    assert problem(SIGNED[:-10]) != ""
    assert problem("") == "it cannot be read"
    unknown = StatementSigner(OTHER.private_pem(), "s9").sign("checkpoint", {})
    assert problem(unknown) == "it is signed with an unknown key"


def test_neither_no_algorithm_nor_another_one_is_accepted() -> None:
    headers = {"typ": "atrium-checkpoint+jwt", "kid": "s1"}
    assert problem(jwt.encode({}, "", algorithm="none", headers=headers)) == "it cannot be read"
    symmetric = jwt.encode({}, b"s" * 32, algorithm="HS256", headers=headers)
    assert problem(symmetric) == "it cannot be read"


def test_a_statement_passes_for_no_other_kind_and_for_no_token() -> None:
    assert problem(SIGNED, "receipt") == "its type is not atrium-receipt+jwt"
    with pytest.raises(TokenInvalid):
        TokenVerifier(JWKS).verify(SIGNED, ["admin"])


def test_keys_that_are_none_are_refused() -> None:
    for jwks in ("", "{}", '{"keys": [{"kty": "EC"}]}', '{"keys": 3}'):
        with pytest.raises(ValueError, match="no key set"):
            StatementVerifier(jwks)
    private = Ed25519PrivateKey.generate()
    jwk = {**jwt.algorithms.OKPAlgorithm.to_jwk(private, as_dict=True), "kid": "p"}
    with pytest.raises(ValueError, match="no public"):
        StatementVerifier(json.dumps({"keys": [jwk]}))
    with pytest.raises(ValueError, match="PEM"):
        StatementSigner(b"no key", "s1")
