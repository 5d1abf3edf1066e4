from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from atrium_admin.domain.api_keys import ApiKey, new_key, parse_credential
from atrium_admin.domain.errors import ApiKeyExpired, ApiKeyRevoked

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def make(**options: datetime) -> tuple[ApiKey, str]:
    return new_key("k1", tenant="acme", user="lin", display_name="", create_time=NOW, **options)


def test_a_key_keeps_the_hash_of_its_secret_and_not_the_secret() -> None:
    key, credential = make()
    scheme, key_id, secret = credential.split("_")
    assert (scheme, key_id) == ("atr", "k1")
    assert len(bytes.fromhex(secret)) == 32
    assert key.secret_hash == hashlib.sha256(secret.encode()).digest()
    assert secret not in repr(key)


def test_the_prefix_shows_four_characters_of_the_secret() -> None:
    key, credential = make()
    assert credential.startswith(key.prefix)
    assert len(key.prefix) == len("atr_k1_") + 4


def test_two_keys_have_two_secrets() -> None:
    assert make()[1] != make()[1]


def test_a_key_matches_its_secret_alone() -> None:
    key, credential = make()
    parts = parse_credential(credential)
    assert parts is not None
    assert key.matches(parts[1])
    assert not key.matches(parts[1][:-1] + ("0" if parts[1][-1] != "0" else "1"))


@pytest.mark.parametrize(
    "credential",
    ["", "atr_", "atr_k1", "atr_k1_", "atr_k1_xyz", "atr__" + 64 * "0", "atr_k1_" + 65 * "0",
     "atr_k1_" + 64 * "0" + "\n", "ATR_k1_" + 64 * "0"],
)  # fmt: skip
def test_what_is_no_key_is_not_parsed(credential: str) -> None:
    assert parse_credential(credential) is None


def test_a_key_ends_at_its_expiry_and_not_before() -> None:
    expiry = NOW + timedelta(hours=1)
    key, _ = make(expire_time=expiry)
    key.require_usable(expiry - timedelta(microseconds=1))
    with pytest.raises(ApiKeyExpired) as caught:
        key.require_usable(expiry)
    assert caught.value.metadata["expire_time"] == expiry.isoformat()


def test_a_revoked_key_keeps_the_time_of_its_first_revocation() -> None:
    key, _ = make()
    revoked = key.revoked(NOW).revoked(NOW + timedelta(days=1))
    assert revoked.revoke_time == NOW
    with pytest.raises(ApiKeyRevoked):
        revoked.require_usable(NOW)
