"""Take an uploaded file in: parse, cut, encode, index, publish. A durable job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry,
    retry_if_exception_type,
    stop_after_delay,
    wait_exponential_jitter,
)

from atrium_documents.model import ParsedDocument
from atrium_documents.schema import to_json
from atrium_knowledge.app.clean_up import CleanUp
from atrium_knowledge.app.encode import BATCH
from atrium_knowledge.app.index_passages import IndexPassages
from atrium_knowledge.app.locks import CollectionLocks
from atrium_knowledge.app.ports import Delegation, DocumentParser
from atrium_knowledge.app.stores import (
    CollectionStore,
    DocumentStore,
    Parsed,
    Progress,
)
from atrium_knowledge.domain.chunking import chunk_document
from atrium_knowledge.domain.collections import VectorSpace
from atrium_knowledge.domain.documents import (
    Revision,
    RevisionState,
    check_headings,
    choose_title,
    headings_of,
    original_key,
    text_key,
)
from atrium_knowledge.domain.errors import IngestionFailed, UploadCancelled
from atrium_shared.blobs import BlobStore
from atrium_shared.clock import Clock
from atrium_shared.database import DatabaseUnavailable
from atrium_shared.errors import AtriumError, Unavailable
from atrium_shared.job_gate import JobGate
from atrium_shared.jobs import JSON, JobContext
from atrium_shared.principal import Principal

WRITE_DOCUMENTS: Final = "knowledge.documents:write"
_REPORT_SECONDS: Final = 1.0
_PROCESSING: Final = (RevisionState.PROCESSING,)
_OVER: Final[JSON] = {"over": True}

_log = structlog.get_logger(__name__)


def _log_failure(attempt: RetryCallState) -> None:
    error = attempt.outcome.exception() if attempt.outcome else None
    _log.error("failure not recorded yet", exc_info=error)


class IngestDocument:
    """Handles the job ``knowledge.ingest``. Every step may run twice without harm.

    A file that cannot be read fails for good: the document says why, and nothing of it is kept.
    What is away for a time (file store, parser, admin service) is waited for, and the database
    however long that takes.

    Args:
        collections: Where collections are stored.
        documents: Where documents are stored.
        blobs: Where files are stored.
        parser: Reads files.
        index_passages: Encodes and writes passages.
        clean_up: Removes what is left of a failed or replaced version.
        delegation: Says who the uploader is and what they may do now.
        locks: One writer a collection.
        clock: Tells when to report progress again.
        patience_seconds: How long something that is away is waited for before the document fails.
    """

    def __init__(
        self,
        collections: CollectionStore,
        documents: DocumentStore,
        blobs: BlobStore,
        parser: DocumentParser,
        index_passages: IndexPassages,
        clean_up: CleanUp,
        delegation: Delegation,
        locks: CollectionLocks,
        clock: Clock,
        *,
        patience_seconds: float = 6 * 3600.0,
    ) -> None:
        self._collections = collections
        self._documents = documents
        self._blobs = blobs
        self._parser = parser
        self._index_passages = index_passages
        self._clean_up = clean_up
        self._delegation = delegation
        self._locks = locks
        self._clock = clock
        self._patience_seconds = patience_seconds
        self._gate = JobGate()
        self._reported_at: dict[int, float] = {}

    def open(self) -> None:
        """Let steps begin: the service has started."""
        self._gate.open()

    async def close(self) -> None:
        """Interrupt steps and let none begin: the service stops."""
        await self._gate.close()

    async def handle(self, job: JobContext, payload: JSON) -> JSON:
        """Run the job of one revision."""
        seq = int(payload["revision"])
        try:
            return await self._take_in(job, seq)
        finally:
            self._reported_at.pop(seq, None)

    async def _take_in(self, job: JobContext, seq: int) -> JSON:
        parsed = await job.step("parse", lambda: self._guard(seq, self._parse))
        if "over" in parsed:
            return {}
        total, parse_seconds = parsed["passages"], parsed["seconds"]
        batches: list[JSON] = []
        for first in range(1, total + 1, BATCH):
            progress = _progress("ENCODING", first - 1, total, parse_seconds, batches)
            batch = await job.step(
                f"index from {first}",
                lambda first=first, progress=progress: self._guard(  # type: ignore[misc]
                    seq, lambda revision: self._index_batch(revision, first, progress)
                ),
            )
            if "over" in batch:
                return {}
            batches.append(batch)
        done = _progress("DONE", total, total, parse_seconds, batches)
        space = _common_space(batches)
        await job.step(
            "publish",
            lambda: self._guard(seq, lambda revision: self._publish(revision, space, done)),
        )
        return {}

    async def cancel(self, operation_id: str) -> None:
        """End a revision whose operation was cancelled. One that is done is left alone."""
        revision = await self._documents.revision_of_operation(operation_id)
        if revision is not None:
            purges = await self._documents.fail(
                revision.seq, UploadCancelled(), end_operation=False
            )
            await self._clean_up.run(purges)

    async def _guard(self, seq: int, step: Callable[[Revision], Awaitable[JSON]]) -> JSON:
        """Run a step of a revision that is still wanted; a failure fails the document."""
        return await self._gate.run(lambda: self._run(seq, step))

    async def _run(self, seq: int, step: Callable[[Revision], Awaitable[JSON]]) -> JSON:
        revision = await self._documents.revision(seq)
        if revision is None or revision.state is not RevisionState.PROCESSING:
            return _OVER
        failure: AtriumError
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(Unavailable),
                wait=wait_exponential_jitter(multiplier=0.2, max=15.0),
                stop=stop_after_delay(self._patience_seconds),
                reraise=True,
            ):
                with attempt:
                    return await step(revision)
        except DatabaseUnavailable:
            raise  # no fault of the document; the gate waits for it
        except AtriumError as error:
            failure = error
        except Exception:  # whatever it is, the operation must end and nothing half stay
            _log.exception("ingestion failed", document=revision.document, revision=seq)
            failure = IngestionFailed(revision.document)
        await self._fail(revision, failure)
        return _OVER

    @retry(wait=wait_exponential_jitter(multiplier=0.2, max=15.0), before_sleep=_log_failure)
    async def _fail(self, revision: Revision, error: AtriumError) -> None:
        """Mark a document as failed, however long that takes: a full disk must not hide it."""
        await self._clean_up.run(await self._documents.fail(revision.seq, error))

    async def _parse(self, revision: Revision) -> JSON:
        await self._permitted(revision)
        began = time.perf_counter()
        path = self._blobs.open_path(original_key(revision.folder))
        content = path or await self._blobs.get(original_key(revision.folder))
        document = await self._parser.parse(content, revision.filename)
        check_headings(revision.document, revision.section_labels, headings_of(document))
        parsed, stored = await asyncio.to_thread(_cut, revision, document)
        seconds = time.perf_counter() - began
        async with self._locks.of(revision.collection_uid):
            # Under the lock a deletion cannot come between the look, the file and the records.
            if await self._documents.revision(revision.seq) is None:
                return _OVER
            await self._blobs.put(text_key(revision.folder), stored)
            count = await self._documents.store_parsed(revision.seq, parsed)
        if count is None:
            return _OVER
        await self._report(
            revision, Progress("ENCODING", passages_total=count, parse_seconds=seconds)
        )
        return {"passages": count, "seconds": seconds}

    async def _index_batch(self, revision: Revision, first: int, progress: Progress) -> JSON:
        principal = await self._permitted(revision)
        indexed = await self._index_passages(principal, revision, first, BATCH, _PROCESSING)
        if indexed is None:
            return _OVER
        result: dict[str, Any] = {
            "count": indexed.count,
            "encoder": indexed.space.encoder if indexed.space else "",
            "dimensions": indexed.space.dimensions if indexed.space else 0,
            "encode_seconds": indexed.encode_seconds,
            "index_seconds": indexed.index_seconds,
            "tokens": indexed.tokens,
        }
        await self._report(revision, _plus(progress, result))
        return result

    async def _publish(
        self, revision: Revision, space: VectorSpace | None, progress: Progress
    ) -> JSON:
        await self._permitted(revision)
        async with self._locks.of(revision.collection_uid):
            purges = await self._documents.publish(revision.seq, space, progress)
            if space is not None:
                await self._collections.adopt_space(revision.collection_uid, space)
        await self._clean_up.run(purges)
        return {}

    async def _report(self, revision: Revision, progress: Progress) -> None:
        """Tell how far it is, from time to time: every report is a write to disk."""
        now = self._clock.monotonic()
        last = self._reported_at.setdefault(revision.seq, now)
        if now - last >= _REPORT_SECONDS:
            self._reported_at[revision.seq] = now
            await self._documents.report(revision, progress)

    async def _permitted(self, revision: Revision) -> Principal:
        """Return who uploaded, provided that they still may."""
        principal = await self._delegation.delegate(
            revision.tenant, revision.actor, revision.on_behalf_of
        )
        principal.require(WRITE_DOCUMENTS)
        return principal


def _cut(revision: Revision, document: ParsedDocument) -> tuple[Parsed, bytes]:
    chunks = chunk_document(document)
    parsed = Parsed(
        title=choose_title(revision.title, document, revision.filename, revision.section_labels),
        media_type=document.media_type,
        language=document.language,
        page_count=document.page_count or 0,
        warnings=document.warnings,
        chunks=chunks,
        texts=[document.text[chunk.start : chunk.end] for chunk in chunks],
    )
    return parsed, to_json(document).encode()


def _progress(
    stage: str, done: int, total: int, parse_seconds: float, batches: list[JSON]
) -> Progress:
    return Progress(
        stage,
        passages_done=done,
        passages_total=total,
        parse_seconds=parse_seconds,
        encode_seconds=sum(batch["encode_seconds"] for batch in batches),
        index_seconds=sum(batch["index_seconds"] for batch in batches),
        encoder_tokens=sum(batch["tokens"] for batch in batches),
    )


def _plus(before: Progress, batch: JSON) -> Progress:
    return Progress(
        before.stage,
        passages_done=before.passages_done + batch["count"],
        passages_total=before.passages_total,
        parse_seconds=before.parse_seconds,
        encode_seconds=before.encode_seconds + batch["encode_seconds"],
        index_seconds=before.index_seconds + batch["index_seconds"],
        encoder_tokens=before.encoder_tokens + batch["tokens"],
    )


def _common_space(batches: list[JSON]) -> VectorSpace | None:
    """Return the space of all batches; ``None`` when one has none, so that it is made up for."""
    spaces = {(batch["encoder"], batch["dimensions"]) for batch in batches}
    if len(spaces) != 1 or ("", 0) in spaces:
        return None
    return VectorSpace(*spaces.pop())
