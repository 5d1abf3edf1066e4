from __future__ import annotations

from datetime import timedelta

import pytest

from atrium_admin.adapters.aesgcm_vault import AesGcmVault
from atrium_admin.app.ports import SealedKey
from atrium_admin.app.signing import Signing
from atrium_admin.bootstrap import build
from atrium_admin.domain.errors import SigningKeyLocked
from atrium_shared.identity import SigningKeyUnknown, TokenSigner
from atrium_shared.principal import AllowSet
from atrium_shared.testing import TEST_SECRET, FixedClock, SequentialIds

from .house import House, settings_for


def test_a_sealed_secret_opens_with_the_same_secret_and_purpose_alone() -> None:
    vault = AesGcmVault(TEST_SECRET)
    sealed = vault.seal(b"private", "signing key s1")
    assert b"private" not in sealed
    assert vault.open(sealed, "signing key s1") == b"private"
    assert vault.open(sealed, "signing key s2") is None
    assert AesGcmVault(TEST_SECRET[::-1]).open(sealed, "signing key s1") is None
    altered = sealed[:-1] + bytes([sealed[-1] ^ 1])
    assert vault.open(altered, "signing key s1") is None
    assert vault.open(sealed[:5], "signing key s1") is None
    assert vault.seal(b"private", "signing key s1") != sealed


async def test_the_key_survives_a_restart(house: House, clock: FixedClock) -> None:
    principal = await house.app.authenticator.authenticate(house.key, None)
    again = build(settings_for(house.database_url), clock=clock)
    await again.service_app.start()
    try:
        renewed = await again.authenticator.authenticate(principal.token, None)
        assert renewed.actor == "users/admin"
    finally:
        await again.service_app.stop()


async def test_another_installation_secret_stops_the_start_and_says_why(
    house: House, clock: FixedClock
) -> None:
    app = build(settings_for(house.database_url, TEST_SECRET[::-1]), clock=clock)
    with pytest.raises(SigningKeyLocked, match="ATRIUM_SECRET is not the secret"):
        await app.service_app.start()
    await app.service_app.stop()


async def test_the_newest_key_signs_and_the_older_still_verifies(
    house: House, clock: FixedClock
) -> None:
    storage = house.app.compile_policy._storage
    vault = AesGcmVault(TEST_SECRET)
    signing = Signing(storage, vault, clock, SequentialIds())
    await signing.start()
    old_token, _ = sign(signing)
    # A second key, as an operator's rotation would store it.
    clock.advance(60)
    async with storage.read() as uow:
        (old,) = await uow.signing_keys.list_all()
    fresh = TokenSigner.generate("s2", clock)
    sealed = vault.seal(fresh.private_pem(), "signing key s2")
    async with storage.write() as uow:
        await uow.signing_keys.add(SealedKey("s2", sealed, clock.now()))
    rotated = Signing(storage, vault, clock, SequentialIds())
    await rotated.start()
    assert rotated.verify(old_token, ["gateway"]).actor == "users/lin"
    new_token, _ = sign(rotated)
    assert rotated.verify(new_token, ["gateway"]).actor == "users/lin"
    with pytest.raises(SigningKeyUnknown):
        signing.verify(new_token, ["gateway"])
    assert old.kid in rotated.jwks
    assert "s2" in rotated.jwks


async def test_a_token_for_what_ends_in_a_moment_lives_a_moment(
    house: House, clock: FixedClock
) -> None:
    signing = Signing(
        house.app.compile_policy._storage, AesGcmVault(TEST_SECRET), clock, SequentialIds()
    )
    await signing.start()
    _, expire_time = sign(signing, seconds=7)
    assert expire_time - clock.now() == timedelta(seconds=7)


def sign(signing: Signing, *, seconds: float | None = None) -> tuple[str, object]:
    clock_now = signing._clock.now()
    return signing.sign(
        tenant="acme",
        actor="users/lin",
        on_behalf_of=None,
        allow_set=AllowSet(),
        credential="apiKeys/k1",
        audiences=["gateway"],
        until=None if seconds is None else clock_now + timedelta(seconds=seconds),
    )
