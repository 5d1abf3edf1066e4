"""Searching the audit log, and reading it whole."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from atrium_admin.app.audit_checkpoints import SignCheckpoints
from atrium_admin.app.audit_trail import AuditTrail
from atrium_admin.app.pages import Page, PageRequest, page_of
from atrium_admin.app.ports import AuditFilter, Storage, StoredCheckpoint
from atrium_admin.domain.audit import AuditHead, AuditLine
from atrium_shared.paging import cursor_sequence
from atrium_shared.principal import Principal

_LINES_AT_ONCE = 1_000


class SearchAuditEvents:
    """Finds lines of the audit log, newest first."""

    def __init__(self, storage: Storage, trail: AuditTrail) -> None:
        self._storage = storage
        self._trail = trail

    async def __call__(
        self, principal: Principal, chosen: AuditFilter, page: PageRequest
    ) -> Page[AuditLine]:
        """Return lines of the caller's tenant's log that every filter lets through.

        Raises:
            PageTokenInvalid: The token belongs to another request.
        """
        fingerprint = f"SearchAuditEvents {principal.tenant} {chosen}"
        async with self._trail.read(principal, "admin.SearchAuditEvents", chosen.user):
            before = page.cursor_as(fingerprint, cursor_sequence) or 0
            async with self._storage.read() as uow:
                part = await uow.audit.list_before(principal.tenant, chosen, before, page.limit)
            return page_of(part, fingerprint, lambda line: str(line.sequence))


@dataclass(frozen=True, slots=True)
class ExportHeader:
    """What stands before the lines.

    Attributes:
        tenant: Whose log it is; part of what is hashed.
        head: Where the log ends.
    """

    tenant: str
    head: AuditHead


ExportPart = ExportHeader | AuditLine | StoredCheckpoint


class ExportAuditLog:
    """Gives a log as it was sealed, with pseudonyms, its checkpoints between the lines.

    A checkpoint is signed first, so that the export ends with one over its last line.
    """

    def __init__(self, storage: Storage, sign: SignCheckpoints, trail: AuditTrail) -> None:
        self._storage = storage
        self._sign = sign
        self._trail = trail

    async def __call__(self, principal: Principal, after: int) -> AsyncGenerator[ExportPart, None]:
        """Yield the header, then lines and checkpoints of the caller's tenant in their order.

        Args:
            principal: Who asks.
            after: Only lines with greater sequences; 0 for all.
        """
        tenant = principal.tenant
        async with self._trail.read(principal, "admin.ExportAuditLog", ""):
            pass  # Written down before anything leaves, and part of the export.
        await self._sign.sign(tenant)
        async with self._storage.read() as uow:
            head = await uow.audit.head(tenant) or AuditHead()
            # Of lines that are no longer there: whoever verifies the export is to see them missing.
            beyond = await uow.checkpoints.read_after(tenant, head.sequence, None)
        yield ExportHeader(tenant, head)
        while after < head.sequence:
            limit = min(_LINES_AT_ONCE, head.sequence - after)
            async with self._storage.read() as uow:
                lines = await uow.audit.read_after(tenant, after, limit)
                until = lines[-1].sequence if lines else head.sequence
                checkpoints = await uow.checkpoints.read_after(tenant, after, until)
            signed = {checkpoint.sequence: checkpoint for checkpoint in checkpoints}
            for line in lines:
                yield line
                if line.sequence in signed:
                    yield signed.pop(line.sequence)
            for checkpoint in signed.values():
                yield checkpoint
            after = until
        for checkpoint in beyond:
            yield checkpoint
