"""Signing how the audit logs stand, from time to time, and listing what was signed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from atrium_admin.app.audit_trail import AuditTrail
from atrium_admin.app.pages import Page, PageRequest, page_of
from atrium_admin.app.ports import Storage, StoredCheckpoint
from atrium_admin.app.signing import Signing
from atrium_admin.domain.checkpoints import Checkpoint
from atrium_shared.clock import Clock
from atrium_shared.paging import cursor_sequence
from atrium_shared.principal import Principal

_TENANTS_AT_ONCE = 100


class SignCheckpoints:
    """Signs the heads of logs.

    Args:
        storage: Where logs and checkpoints are kept.
        signing: Signs.
        clock: Tells when.
        events: Sign when a log grew by so many lines.
        seconds: Sign when a log grew at all, and was not signed for so long.
    """

    def __init__(
        self, storage: Storage, signing: Signing, clock: Clock, *, events: int, seconds: float
    ) -> None:
        self._storage = storage
        self._signing = signing
        self._clock = clock
        self._events = events
        self._seconds = seconds

    async def due(self) -> None:
        """Sign every log whose turn it is."""
        while True:
            before = self._clock.now() - timedelta(seconds=self._seconds)
            async with self._storage.read() as uow:
                tenants = await uow.checkpoints.due(self._events, before, _TENANTS_AT_ONCE)
            for tenant in tenants:
                await self.sign(tenant)
            if len(tenants) < _TENANTS_AT_ONCE:
                return

    async def sign(self, tenant: str) -> None:
        """Sign a tenant's log as it stands, unless it is no longer than its last checkpoint."""
        async with self._storage.write() as uow:
            head = await uow.checkpoints.lock_head(tenant)
            if head is None:
                return
            now = self._clock.now()
            statement = self._signing.sign_checkpoint(
                Checkpoint(tenant, head.sequence, head.hash, now)
            )
            stored = StoredCheckpoint(head.sequence, statement)
            await uow.checkpoints.add(tenant, stored, now)


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint and its signature.

    Attributes:
        statement: The signed form, a JWS.
        checkpoint: What it says; None when the stored statement is forged.
        sequence: Under which line it is stored.
    """

    statement: str
    checkpoint: Checkpoint | None
    sequence: int


class ListAuditCheckpoints:
    """Lists checkpoints, newest first."""

    def __init__(self, storage: Storage, signing: Signing, trail: AuditTrail) -> None:
        self._storage = storage
        self._signing = signing
        self._trail = trail

    async def __call__(self, principal: Principal, page: PageRequest) -> Page[SignedCheckpoint]:
        """Return checkpoints of the caller's tenant's log.

        Raises:
            PageTokenInvalid: The token belongs to another request.
        """
        tenant = principal.tenant
        fingerprint = f"ListAuditCheckpoints {tenant}"
        async with self._trail.read(principal, "admin.ListAuditCheckpoints", ""):
            before = page.cursor_as(fingerprint, cursor_sequence) or 0
            async with self._storage.read() as uow:
                part = await uow.checkpoints.list_before(tenant, before, page.limit)
            found = page_of(part, fingerprint, lambda stored: str(stored.sequence))
            signed = [
                SignedCheckpoint(
                    stored.statement, self._signing.checkpoint_in(stored.statement), stored.sequence
                )
                for stored in found.items
            ]
            return Page(signed, found.next_page_token)

    @property
    def jwks(self) -> str:
        """The public keys that verify checkpoints, as a JSON Web Key Set (RFC 7517)."""
        return self._signing.checkpoint_jwks
