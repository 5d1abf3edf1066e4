"""Looking at the audit log, and at whether it is whole."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from atrium_admin.app.audit_trail import AuditTrail
from atrium_admin.app.pages import Page, PageRequest, page_of
from atrium_admin.app.ports import AuditFilter, Storage, StoredCheckpoint, UnitOfWork
from atrium_admin.app.signing import Signing
from atrium_admin.domain.audit import AuditHead, AuditLine
from atrium_admin.domain.checkpoints import AuditVerdict, LogCheck, Problem
from atrium_admin.domain.errors import CheckpointInvalid
from atrium_shared.paging import cursor_sequence
from atrium_shared.principal import Principal

_LINES_AT_ONCE = 2_000


class ListAuditEvents:
    """Lists the audit log, newest first."""

    def __init__(self, storage: Storage, trail: AuditTrail) -> None:
        self._storage = storage
        self._trail = trail

    async def __call__(
        self, principal: Principal, chosen: AuditFilter, page: PageRequest
    ) -> Page[AuditLine]:
        """Return lines of the caller's tenant's log.

        Raises:
            PageTokenInvalid: The token belongs to another request.
        """
        fingerprint = f"ListAuditEvents {principal.tenant} {chosen}"
        async with self._trail.read(principal, "admin.ListAuditEvents", chosen.user):
            before = page.cursor_as(fingerprint, cursor_sequence) or 0
            async with self._storage.read() as uow:
                part = await uow.audit.list_before(principal.tenant, chosen, before, page.limit)
            return page_of(part, fingerprint, lambda line: str(line.sequence))


class VerifyAuditLog:
    """Recomputes the hash chain and holds it against signed checkpoints."""

    def __init__(self, storage: Storage, signing: Signing, trail: AuditTrail) -> None:
        self._storage = storage
        self._signing = signing
        self._trail = trail

    async def __call__(self, principal: Principal, kept: str = "") -> AuditVerdict:
        """Return whether the caller's tenant's log is whole, as it stands at the beginning.

        Args:
            principal: Who asks.
            kept: A signed checkpoint that the tenant kept elsewhere, or "".

        Raises:
            CheckpointInvalid: ``kept`` is forged, broken or of another tenant.
        """
        tenant = principal.tenant
        async with self._trail.read(principal, "admin.VerifyAuditLog", ""):
            check = LogCheck(tenant)
            if kept:
                checkpoint = self._signing.verify_checkpoint(kept)
                if checkpoint.tenant != tenant:
                    raise CheckpointInvalid("it is of another tenant")
                check.expect([checkpoint])
            async with self._storage.read() as uow:
                head = await uow.audit.head(tenant) or AuditHead()
                self._expect(check, await uow.checkpoints.read_after(tenant, head.sequence, None))
                sequence = 0
                while sequence < head.sequence:
                    until = min(sequence + _LINES_AT_ONCE, head.sequence)
                    self._expect(check, await uow.checkpoints.read_after(tenant, sequence, until))
                    lines = await uow.audit.read_after(tenant, sequence, until - sequence)
                    if not lines or not await asyncio.to_thread(check.follow, lines):
                        break
                    sequence = lines[-1].sequence
                await _check_pseudonyms(check, uow, tenant)
            return check.finish(head)

    def _expect(self, check: LogCheck, stored: Iterable[StoredCheckpoint]) -> None:
        for each in stored:
            checkpoint = self._signing.checkpoint_in(each.statement)
            if checkpoint is None or checkpoint.sequence != each.sequence:
                check.note(Problem.CHECKPOINT_FORGED)
            else:
                check.expect([checkpoint])


async def _check_pseudonyms(check: LogCheck, uow: UnitOfWork, tenant: str) -> None:
    """Note a pseudonym that was turned to another user."""
    after = ""
    while pseudonyms := await uow.pseudonyms.list_after(tenant, after, _LINES_AT_ONCE):
        if not all(pseudonym.fits(tenant) for pseudonym in pseudonyms):
            check.note(Problem.PSEUDONYM_FORGED)
        after = pseudonyms[-1].user
