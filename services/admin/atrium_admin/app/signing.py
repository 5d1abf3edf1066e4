"""The keys behind internal tokens and signed checkpoints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

import structlog

from atrium_admin.app.ports import KeyVault, SealedKey, Storage, UnitOfWork
from atrium_admin.domain.checkpoints import STATEMENT_KIND, Checkpoint, checkpoint_of
from atrium_admin.domain.errors import CheckpointInvalid, SigningKeyLocked
from atrium_shared.clock import Clock, Ids
from atrium_shared.identity import (
    MAX_TOKEN_LIFETIME,
    TokenClaims,
    TokenSigner,
    TokenVerifier,
    signing_keys_jwks,
)
from atrium_shared.principal import AllowSet
from atrium_shared.statements import StatementInvalid, StatementSigner, StatementVerifier

_log = structlog.get_logger(__name__)


class Signing:
    """Signs and verifies internal tokens with keys that only this installation can open.

    The newest stored key signs, and every stored key verifies: so a new key is put in service by
    storing it, and an old one goes out of use by removing it five minutes later. Checkpoints verify
    for ever: the public half of each key stays.

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
        self._statement_signer: StatementSigner | None = None
        self._statement_verifier: StatementVerifier | None = None
        self._checkpoint_jwks = ""

    @property
    def jwks(self) -> str:
        """The public keys as a JSON Web Key Set (RFC 7517)."""
        return self._jwks

    @property
    def checkpoint_jwks(self) -> str:
        """The public keys that verify checkpoints: all that ever signed, as a JSON Web Key Set."""
        return self._checkpoint_jwks

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
            public = await self._public_keys(uow, signers)
        self._jwks = signing_keys_jwks(signers)
        self._checkpoint_jwks = json.dumps({"keys": public})
        self._statement_signer = StatementSigner(signers[0].private_pem(), signers[0].kid)
        self._statement_verifier = StatementVerifier(self._checkpoint_jwks)
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

    def sign_checkpoint(self, checkpoint: Checkpoint) -> str:
        """Return the signed form of a checkpoint, a JWS."""
        assert self._statement_signer is not None, "start() comes first"
        return self._statement_signer.sign(STATEMENT_KIND, checkpoint.claims())

    def verify_checkpoint(self, statement: str) -> Checkpoint:
        """Return what a signed checkpoint says.

        Raises:
            CheckpointInvalid: It is forged or broken.
        """
        assert self._statement_verifier is not None, "start() comes first"
        try:
            return checkpoint_of(self._statement_verifier.verify(STATEMENT_KIND, statement))
        except StatementInvalid as error:
            raise CheckpointInvalid(error.problem) from error
        except ValueError as error:
            raise CheckpointInvalid("it says nothing about a log") from error

    def checkpoint_in(self, statement: str) -> Checkpoint | None:
        """Return what a signed checkpoint says; None when it is forged or broken."""
        try:
            return self.verify_checkpoint(statement)
        except CheckpointInvalid:
            return None

    async def _public_keys(
        self, uow: UnitOfWork, signers: Sequence[TokenSigner]
    ) -> list[dict[str, str]]:
        """Return all public keys that ever were, and keep those that are new."""
        public: dict[str, dict[str, str]] = {}
        for key in await uow.signing_keys.list_public():
            jwk = self._vault.open(key.sealed, _public_purpose(key.kid))
            # A row that the installation did not seal is somebody's attempt to sign as it.
            if jwk is None:
                _log.error("foreign checkpoint key passed over", kid=key.kid)
            else:
                public[key.kid] = json.loads(jwk)
        for signer in signers:
            if signer.kid not in public:
                public[signer.kid] = signer.jwk()
                sealed = self._vault.seal(
                    json.dumps(signer.jwk()).encode(), _public_purpose(signer.kid)
                )
                await uow.signing_keys.add_public(SealedKey(signer.kid, sealed, self._clock.now()))
        return list(public.values())

    def _open(self, key: SealedKey) -> TokenSigner:
        pem = self._vault.open(key.sealed, _purpose(key.kid))
        if pem is None:
            raise SigningKeyLocked(key.kid)
        return TokenSigner.from_pem(pem, key.kid, self._clock)


def _purpose(kid: str) -> str:
    return f"signing key {kid}"


def _public_purpose(kid: str) -> str:
    return f"checkpoint key {kid}"
