"""Looking at the audit log, and at whether it is whole."""

from __future__ import annotations

import asyncio

from atrium_admin.app.audit_trail import AuditTrail
from atrium_admin.app.pages import Page, PageRequest, page_of
from atrium_admin.app.ports import AuditFilter, Storage
from atrium_admin.domain.audit import AuditHead, AuditLine, AuditVerdict, ChainCheck
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
            before = int(page.cursor(fingerprint) or 0)
            async with self._storage.read() as uow:
                part = await uow.audit.list_before(principal.tenant, chosen, before, page.limit)
            return page_of(part, fingerprint, lambda line: str(line.sequence))


class VerifyAuditLog:
    """Recomputes the hash chain."""

    def __init__(self, storage: Storage, trail: AuditTrail) -> None:
        self._storage = storage
        self._trail = trail

    async def __call__(self, principal: Principal) -> AuditVerdict:
        """Return whether the caller's tenant's log is whole, as it stands at the beginning."""
        async with self._trail.read(principal, "admin.VerifyAuditLog", ""):
            check = ChainCheck(principal.tenant)
            async with self._storage.read() as uow:
                head = await uow.audit.head(principal.tenant) or AuditHead()
                sequence = 0
                while sequence < head.sequence:
                    limit = min(_LINES_AT_ONCE, head.sequence - sequence)
                    lines = await uow.audit.read_after(principal.tenant, sequence, limit)
                    if not lines or not await asyncio.to_thread(check.follow, lines):
                        break
                    sequence = lines[-1].sequence
            return check.finish(head)
