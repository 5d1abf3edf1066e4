"""The keys behind internal tokens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from atrium_admin.app.ports import KeyVault, SealedKey, Storage
from atrium_admin.domain.errors import SigningKeyLocked
from atrium_shared.clock import Clock, Ids
from atrium_shared.identity import (
    MAX_TOKEN_LIFETIME,
    TokenClaims,
    TokenSigner,
    TokenVerifier,
    signing_keys_jwks,
)
from atrium_shared.principal import AllowSet


class Signing:
    """Signs and verifies internal tokens with keys that only this installation can open.

    The newest stored key signs, and every stored key verifies: so a new key is put in service by
    storing it, and an old one goes out of use by removing it five minutes later.

    Args:
        storage: Where the keys are kept, sealed.
        vault: Opens them.
        clock: Gives times of issue.
        ids: Names new keys.
    """

    def __init__(self, storage: Storage, vault: KeyVault, clock: Clock, ids: Ids) -> None:
        self._storage = storage
        self._vault = vault
        self._clock = clock
        self._ids = ids
        self._signer: TokenSigner | None = None
        self._verifier: TokenVerifier | None = None
        self._jwks = ""

    @property
    def jwks(self) -> str:
        """The public keys as a JSON Web Key Set (RFC 7517)."""
        return self._jwks

    async def start(self) -> None:
        """Open the stored keys; make the first one if there is none.

        Raises:
            SigningKeyLocked: They were sealed under another installation secret.
        """
        async with self._storage.write() as uow:
            # Two replicas that start at once must agree on one key.
            await uow.tenants.lock_installation()
            stored = await uow.signing_keys.list_all()
            if not stored:
                made = TokenSigner.generate(self._ids.new("s"), self._clock)
                sealed = self._vault.seal(made.private_pem(), _purpose(made.kid))
                stored = [SealedKey(made.kid, sealed, self._clock.now())]
                await uow.signing_keys.add(stored[0])
        signers = [self._open(key) for key in stored]
        self._jwks = signing_keys_jwks(signers)
        self._signer = signers[0]
        self._verifier = TokenVerifier(self._jwks, self._clock)

    def sign(
        self,
        *,
        tenant: str,
        actor: str,
        on_behalf_of: str | None,
        allow_set: AllowSet,
        credential: str,
        audiences: Sequence[str],
        until: datetime | None,
    ) -> tuple[str, datetime]:
        """Return a token and when it expires: in five minutes, or before at ``until``."""
        assert self._signer is not None, "start() comes first"
        lifetime = MAX_TOKEN_LIFETIME
        if until is not None:
            lifetime = min(lifetime, until - self._clock.now())
        return self._signer.sign(
            tenant=tenant,
            actor=actor,
            on_behalf_of=on_behalf_of,
            allow_set=allow_set,
            credential=credential,
            audiences=audiences,
            lifetime=lifetime,
        )

    def verify(self, token: str, audiences: Sequence[str]) -> TokenClaims:
        """Return what a token says.

        Raises:
            TokenExpired: Its time is over.
            TokenInvalid: It is forged, broken, or meant for none of the audiences.
        """
        assert self._verifier is not None, "start() comes first"
        return self._verifier.verify(token, audiences)

    def _open(self, key: SealedKey) -> TokenSigner:
        pem = self._vault.open(key.sealed, _purpose(key.kid))
        if pem is None:
            raise SigningKeyLocked(key.kid)
        return TokenSigner.from_pem(pem, key.kid, self._clock)


def _purpose(kid: str) -> str:
    return f"signing key {kid}"
