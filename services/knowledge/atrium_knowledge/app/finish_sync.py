"""What follows the end of a run: removals, and waiting for what is taken in. A durable job."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

import structlog
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_exponential_jitter,
)

from atrium_knowledge.app.access_classes import MANAGE_DOCUMENTS
from atrium_knowledge.app.ports import Delegation
from atrium_knowledge.app.remove_document import RemoveDocument
from atrium_knowledge.app.stores import SyncStore
from atrium_knowledge.domain.errors import CollectionNotFound, DocumentNotFound, SyncFailed
from atrium_knowledge.domain.names import DocumentName
from atrium_knowledge.domain.sync import SyncCounts
from atrium_shared.audit_trail import AuditedChanges, AuditTrail
from atrium_shared.database import DatabaseUnavailable
from atrium_shared.errors import AtriumError, Unavailable
from atrium_shared.job_gate import JobGate
from atrium_shared.jobs import JSON, JobContext
from atrium_shared.unbroken import Unbroken

SYNC_JOB: Final = "knowledge.sync"
_BATCH: Final = 20
_OVER: Final[JSON] = {"over": True}

_log = structlog.get_logger(__name__)


class FinishSync:
    """Handles the job ``knowledge.sync``. Every step may run twice without harm.

    Args:
        sync: Where sources are stored.
        remove: Removes documents.
        delegation: Says who synced and what they may do now.
        audit: Records what is removed.
        patience_seconds: How long something that is away is waited for.
        poll_seconds: How often the documents that are being taken in are looked at.
    """

    def __init__(
        self,
        sync: SyncStore,
        remove: RemoveDocument,
        delegation: Delegation,
        audit: AuditTrail,
        *,
        patience_seconds: float,
        poll_seconds: float,
    ) -> None:
        self._sync = sync
        self._remove = remove
        self._delegation = delegation
        self._audit = audit
        self._patience_seconds = patience_seconds
        self._poll_seconds = poll_seconds
        self._sending = Unbroken()
        self.gate = JobGate()

    async def handle(self, job: JobContext, payload: JSON) -> JSON:
        """Run the job of one end."""
        removed, batch = 0, 0
        while payload["complete"]:
            batch += 1
            done = await job.step(
                f"remove {batch}", lambda: self._guard(payload, self._remove_unnamed)
            )
            if "over" in done:
                return {}
            removed += done["removed"]
            if not done["more"]:
                break
        await job.step(
            "finish",
            lambda: self._guard(payload, lambda given: self._wait(given, removed)),
        )
        return {}

    async def cancel(self, operation_id: str) -> None:
        """Let the next run begin: the operation was cancelled."""
        for payload in await self._sync.unfinished():
            if payload["operation"] == operation_id:
                await self._sync.abandon(payload)

    async def _guard(self, payload: JSON, step: Callable[[JSON], Awaitable[JSON]]) -> JSON:
        return await self.gate.run(lambda: self._run(payload, step))

    async def _run(self, payload: JSON, step: Callable[[JSON], Awaitable[JSON]]) -> JSON:
        failure: AtriumError
        try:
            async for attempt in self._attempts():
                with attempt:
                    return await step(payload)
        except DatabaseUnavailable:
            raise  # no fault of the run; the gate waits for it
        except AtriumError as error:
            failure = error
        except Exception:  # whatever it is, the operation must end and the next run may begin
            _log.exception("sync not finished", source=payload["name"])
            failure = SyncFailed(payload["name"])
        await self._sync.finish(payload, _counts(payload, 0), (), failure)
        return _OVER

    def _attempts(self) -> AsyncRetrying:
        return AsyncRetrying(
            retry=retry_if_exception_type(Unavailable),
            wait=wait_exponential_jitter(multiplier=0.2, max=15.0),
            stop=stop_after_delay(self._patience_seconds),
            reraise=True,
        )

    async def _remove_unnamed(self, payload: JSON) -> JSON:
        principal = await self._delegation.delegate(
            payload["tenant"], payload["actor"], payload["on_behalf_of"]
        )
        principal.require(MANAGE_DOCUMENTS)
        uid, source, run = payload["collection_uid"], payload["source"], payload["run"]
        unnamed = await self._sync.unnamed(uid, source, run, _BATCH)
        changes = self._audit.changes(principal, payload["name"], self._sending)
        removed = 0
        try:
            for item, document_id in unnamed:
                removed += await self._remove_one(payload, document_id, changes)
                await self._sync.forget(uid, source, item)
        except AtriumError:
            await self._recorded(changes)
            raise
        await self._recorded(changes)
        return {"removed": removed, "more": len(unnamed) == _BATCH}

    async def _remove_one(self, payload: JSON, document_id: str, changes: AuditedChanges) -> bool:
        name = DocumentName(payload["collection"], document_id)
        try:
            await self._remove(payload["collection_uid"], name)
        except DocumentNotFound:
            # A step that runs again, or somebody else, has removed it.
            return False
        changes.add("DeleteDocument", f"collections/{name.collection}/documents/{name.document}")
        return True

    async def _recorded(self, changes: AuditedChanges) -> None:
        # Tried again here and not by the step: that would find nothing left to record.
        async for attempt in self._attempts():
            with attempt:
                await changes.flush()

    async def _wait(self, payload: JSON, removed: int) -> JSON:
        uid, source, run = payload["collection_uid"], payload["source"], payload["run"]
        await self._sync.removals_done(uid, source, run, removed)
        counts = _counts(payload, removed)
        reported = -1
        while True:
            tally = await self._sync.tally(
                uid, source, run, datetime.fromisoformat(payload["since"])
            )
            if tally is None:
                raise CollectionNotFound(f"collections/{payload['collection']}")
            if not tally.processing:
                break
            if tally.processing != reported:
                reported = tally.processing
                await self._sync.report(payload, counts, reported)
            await asyncio.sleep(self._poll_seconds)
        await self._sync.finish(payload, counts, tally.problems, None)
        return {}


def _counts(payload: JSON, removed: int) -> SyncCounts:
    counts = dict(payload["counts"])
    counts["removed"] += removed
    return SyncCounts(**counts)
