"""Keep documents in step with a source system: a run of upserts, labels and removals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeAlias

from atrium_knowledge.app.apply_labels import ApplyLabels
from atrium_knowledge.app.finish_sync import SYNC_JOB
from atrium_knowledge.app.ingest_document import WRITE_DOCUMENTS
from atrium_knowledge.app.label_warnings import LabelWarning, LabelWarnings
from atrium_knowledge.app.receive_file import ReceivedFile, ReceiveFile
from atrium_knowledge.app.remove_document import RemoveDocument
from atrium_knowledge.app.stores import (
    CollectionStore,
    DocumentStore,
    SyncedItem,
    SyncRun,
    SyncStore,
    Upload,
)
from atrium_knowledge.domain.documents import Revision, RevisionState
from atrium_knowledge.domain.errors import (
    CollectionNotFound,
    DocumentEmpty,
    DocumentNotFound,
    DocumentTooLarge,
    SyncAfterEnd,
    SyncChunkUnexpected,
    SyncEndMissing,
    SyncHeaderMissing,
    SyncHeaderRepeated,
    SyncItemIncomplete,
    SyncStateNotFound,
    SyncUnderWay,
)
from atrium_knowledge.domain.names import DocumentName
from atrium_knowledge.domain.sync import (
    FINAL_REASONS,
    MAX_PROBLEMS,
    ItemAccess,
    ItemContent,
    Outcome,
    Removal,
    SyncCounts,
    SyncEnd,
    SyncHeader,
    SyncItem,
    SyncProblem,
    SyncState,
    document_id_of,
    source_name,
)
from atrium_shared.audit_trail import AuditedChanges, AuditTrail
from atrium_shared.clock import Ids
from atrium_shared.errors import AtriumError, Unavailable
from atrium_shared.jobs import JobRunner
from atrium_shared.operations import Operation
from atrium_shared.principal import Principal
from atrium_shared.tasks import repeat
from atrium_shared.unbroken import Unbroken

SyncPart: TypeAlias = SyncHeader | SyncItem | SyncEnd | bytes

_RENEW_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class SyncOutcome:
    """The end of a run."""

    counts: SyncCounts
    problems: tuple[SyncProblem, ...]
    operation: Operation
    warnings: tuple[LabelWarning, ...]


class FileStillFails(AtriumError):
    """A file that could not be read came again unchanged."""

    def __init__(self, revision: Revision) -> None:
        super().__init__(revision.error_message)
        self.reason = revision.error_reason  # type: ignore[misc]  # that of the first time


class SyncDocuments:
    """The use case.

    Every item is whole and durable before the next is read. One that is wrong is reported and
    stops no other; what is away for a time ends the stream, which is gone on with later. What an
    item changes is audited as the call for one document is.

    Args:
        collections: Where collections are stored.
        documents: Where documents are stored.
        sync: Where sources are stored.
        receive: Stores files and makes uploads durable.
        apply_labels: Puts labels in force.
        remove: Removes documents.
        jobs: Runs what follows the end.
        warnings: Finds labels that nobody holds.
        audit: Records calls.
        ids: Makes identifiers.
        replica: Stable name of this process, unique among its peers.
        max_bytes: Largest file where the tenant has no limit of its own.
    """

    def __init__(
        self,
        collections: CollectionStore,
        documents: DocumentStore,
        sync: SyncStore,
        receive: ReceiveFile,
        apply_labels: ApplyLabels,
        remove: RemoveDocument,
        jobs: JobRunner,
        warnings: LabelWarnings,
        audit: AuditTrail,
        ids: Ids,
        *,
        replica: str,
        max_bytes: int,
    ) -> None:
        self._collections = collections
        self._documents = documents
        self._sync = sync
        self._receive = receive
        self._apply_labels = apply_labels
        self._remove = remove
        self._jobs = jobs
        self._warnings = warnings
        self._audit = audit
        self._ids = ids
        self._replica = replica
        self._max_bytes = max_bytes
        self._active: set[str] = set()
        self._unbroken = Unbroken()

    async def __call__(self, principal: Principal, parts: AsyncIterator[SyncPart]) -> SyncOutcome:
        """Receive a run; returned means that its end is durable.

        Args:
            principal: Who syncs; the documents are uploaded in their name.
            parts: The header, then items with their bytes, then the end.

        Raises:
            SyncHeaderMissing: The first part is no header.
            SyncHeaderRepeated: A later part is one.
            SyncUnderWay: The source is being synced already.
            SyncStateNotFound: There is no run to go on with, or to build on.
            SyncTokenWrong: It is another run than the header says.
            SyncChunkUnexpected: Bytes belong to no item.
            SyncEndMissing: The stream ended without an end marker.
            SyncAfterEnd: Something follows the end marker.
            SyncListEmpty: A complete list names nothing, and that is not said to be meant.
            SyncListDoubtful: A complete list has items without id.
            CollectionNotFound: There is no such collection, or it was deleted meanwhile.
            PermissionDenied: The caller may not upload documents.
        """
        header = await anext(parts, None)
        resource = header.source if isinstance(header, SyncHeader) else "collections/-"
        async with self._audit.call(principal, "SyncDocuments", resource):
            if not isinstance(header, SyncHeader):
                raise SyncHeaderMissing
            principal.require(WRITE_DOCUMENTS)
            name = source_name(header.source)
            collection = await self._collections.get(principal.tenant, name.collection)
            holder = f"{self._replica}/{self._ids.new('y')}"
            others = frozenset(self._active)
            self._active.add(holder)
            try:
                run = await self._sync.open(collection, name.source, header, holder, others)
                keeper = asyncio.create_task(self._keep(run))
                try:
                    changes = self._audit.changes(principal, header.source, self._unbroken)
                    try:
                        return await self._receive_all(principal, run, _Stream(parts), changes)
                    finally:
                        await self._unbroken.run(changes.flush())
                finally:
                    keeper.cancel()
                    # A caller who hangs up cancels this task; the next stream must not wait.
                    await self._unbroken.run(self._sync.release(run))
            finally:
                self._active.discard(holder)

    async def state(self, principal: Principal, name: str) -> SyncState:
        """Return where the syncing of a source stands.

        Raises:
            SyncStateNotFound: Nothing was synced from it.
        """
        async with self._audit.call(principal, "GetSyncState", name):
            parsed = source_name(name)
            try:
                collection = await self._collections.get(principal.tenant, parsed.collection)
            except CollectionNotFound as error:
                raise SyncStateNotFound(name) from error
            return await self._sync.state(
                collection, parsed.source, self._replica, frozenset(self._active)
            )

    async def _keep(self, run: SyncRun) -> None:
        async def renew() -> None:
            # Where the source is not held any more, the next item finds out and tells the caller.
            with suppress(SyncUnderWay, CollectionNotFound):
                await self._sync.renew(run)

        await asyncio.sleep(_RENEW_SECONDS)
        await repeat(renew, _RENEW_SECONDS, failed="hold of a source not renewed")

    async def _receive_all(
        self, principal: Principal, run: SyncRun, stream: _Stream, changes: AuditedChanges
    ) -> SyncOutcome:
        problems: list[SyncProblem] = []
        labels: dict[str, None] = {}
        position = 0
        while True:
            part = await stream.next()
            match part:
                case None:
                    raise SyncEndMissing(stream.last_item)
                case SyncHeader():
                    raise SyncHeaderRepeated
                case bytes():
                    if not stream.skipping:
                        raise SyncChunkUnexpected(stream.last_item)
                case SyncEnd():
                    await stream.expect_nothing()
                    await changes.flush()
                    operation, counts = await self._unbroken.run(self._end(principal, run, part))
                    warnings = await self._warnings.of(principal, labels)
                    return SyncOutcome(counts, tuple(problems), operation, warnings)
                case SyncItem():
                    position += 1
                    labels.update(dict.fromkeys(_labels_of(part)))
                    problem = await self._take(principal, run, part, stream, position, changes)
                    await changes.keep_up()
                    if problem is not None and len(problems) < MAX_PROBLEMS:
                        problems.append(problem)
                    stream.last_item = part.id or stream.last_item

    async def _take(
        self,
        principal: Principal,
        run: SyncRun,
        item: SyncItem,
        stream: _Stream,
        position: int,
        changes: AuditedChanges,
    ) -> SyncProblem | None:
        """Apply an item and acknowledge it; return what was wrong with it."""
        stream.skipping = False
        problem: SyncProblem | None = None
        revision: str | None = None
        try:
            outcome = await self._apply(principal, run, item, stream, changes)
            revision = item.revision
        except (CollectionNotFound, SyncEndMissing, SyncUnderWay, Unavailable):
            # These are no fault of the item; it is to come again.
            raise
        except AtriumError as error:
            outcome = Outcome.FAILED
            problem = SyncProblem(item.id, position, error.reason, error.message)
            # What is left of its bytes is not wanted.
            stream.skipping = True
        await self._unbroken.run(self._sync.acknowledge(run, item.id, revision, outcome))
        return problem

    async def _apply(
        self,
        principal: Principal,
        run: SyncRun,
        item: SyncItem,
        stream: _Stream,
        changes: AuditedChanges,
    ) -> Outcome:
        change = item.change
        if isinstance(change, AtriumError):
            raise change
        known = await self._sync.item(run, item.id)
        if isinstance(change, ItemContent):
            return await self._upsert(principal, run, item, change, known, stream, changes)
        if isinstance(change, Removal):
            if known is None:
                return Outcome.UNCHANGED
            await self._unbroken.run(self._remove_known(run, known, changes))
            return Outcome.REMOVED
        if known is None:
            raise DocumentNotFound(_document(run, document_id_of(run.source, item.id)))
        return await self._relabel(run, known.document_id, change, changes)

    async def _remove_known(self, run: SyncRun, known: SyncedItem, changes: AuditedChanges) -> None:
        name = DocumentName(run.collection.id, known.document_id)
        try:
            await self._remove(run.collection.uid, name)
        except DocumentNotFound:
            # It was removed here before; the source only says so now.
            return
        changes.add("DeleteDocument", _document(run, known.document_id))

    async def _take_in(
        self, received: ReceivedFile, upload: Upload, run: SyncRun, changes: AuditedChanges
    ) -> None:
        await self._receive.acknowledge(received, upload)
        changes.add("UploadDocument", _document(run, upload.document_id))

    async def _put_in_force(
        self, run: SyncRun, document_id: str, access: ItemAccess, changes: AuditedChanges
    ) -> None:
        await self._apply_labels(
            run.collection.uid, document_id, access.labels, access.section_labels
        )
        changes.add("SetDocumentLabels", _document(run, document_id))

    async def _upsert(
        self,
        principal: Principal,
        run: SyncRun,
        item: SyncItem,
        content: ItemContent,
        known: SyncedItem | None,
        stream: _Stream,
        changes: AuditedChanges,
    ) -> Outcome:
        limit = principal.max_upload_bytes or self._max_bytes
        if content.size_bytes == 0:
            raise DocumentEmpty(content.filename)
        if content.size_bytes > limit:
            raise DocumentTooLarge(content.filename, limit)
        collection = run.collection
        document_id = known.document_id if known else document_id_of(run.source, item.id)
        newest = await self._newest(collection.uid, document_id) if known else None
        same_revision = known is not None and item.revision and item.revision == known.revision
        if newest is not None and same_revision and not _worth_another_try(newest):
            await stream.skip(item.id, content.size_bytes)
            return await self._unchanged(run, document_id, newest, content, changes)
        if known is None:
            await self._sync.claim(run, item.id, document_id)
        received = await self._receive.store(
            collection,
            content.filename,
            stream.bytes_of(item.id, content.size_bytes),
            limit_bytes=limit,
        )
        if newest is not None and _same(newest, received.content_hash, content.title):
            await self._receive.discard(received)
            return await self._unchanged(run, document_id, newest, content, changes)
        access = content.access
        upload = Upload(
            collection=collection,
            document_id=document_id,
            revision_uid=received.revision_uid,
            title=content.title,
            filename=content.filename,
            labels=access.labels if access else frozenset(),
            section_labels=access.section_labels if access else (),
            size_bytes=received.size_bytes,
            actor=principal.actor,
            on_behalf_of=principal.on_behalf_of,
            content_hash=received.content_hash,
            inherit_labels=access is None,
        )
        await self._unbroken.run(self._take_in(received, upload, run, changes))
        return Outcome.UPDATED if newest is not None else Outcome.CREATED

    async def _unchanged(
        self,
        run: SyncRun,
        document_id: str,
        newest: Revision,
        content: ItemContent,
        changes: AuditedChanges,
    ) -> Outcome:
        if newest.state is RevisionState.FAILED:
            raise FileStillFails(newest)
        if content.access is None:
            return Outcome.UNCHANGED
        return await self._relabel(run, document_id, content.access, changes)

    async def _relabel(
        self, run: SyncRun, document_id: str, access: ItemAccess, changes: AuditedChanges
    ) -> Outcome:
        newest = await self._newest(run.collection.uid, document_id)
        if newest is None:
            raise DocumentNotFound(_document(run, document_id))
        now = (newest.labels, frozenset(newest.section_labels))
        if newest.state is not RevisionState.FAILED and now == (
            access.labels,
            frozenset(access.section_labels),
        ):
            return Outcome.UNCHANGED
        await self._unbroken.run(self._put_in_force(run, document_id, access, changes))
        return Outcome.LABELLED

    async def _newest(self, collection_uid: str, document_id: str) -> Revision | None:
        found = await self._documents.versions(collection_uid, document_id, None, 1)
        return found[0].revision if found else None

    async def _end(
        self, principal: Principal, run: SyncRun, end: SyncEnd
    ) -> tuple[Operation, SyncCounts]:
        operation, payload = await self._sync.end(run, end, principal.actor, principal.on_behalf_of)
        await self._jobs.submit(SYNC_JOB, payload["operation"], payload)
        return operation, SyncCounts(**payload["counts"])

    async def close(self) -> None:
        """Wait for what goes on although its caller hung up."""
        await self._unbroken.close()


class _Stream:
    """The parts of a run; what a reader of bytes finds instead of them is given back.

    Attributes:
        skipping: True while bytes belong to an item that was refused.
        last_item: Id of the last item that is done.
    """

    def __init__(self, parts: AsyncIterator[SyncPart]) -> None:
        self.skipping = False
        self.last_item = ""
        self._parts = parts
        self._back: SyncPart | None = None

    async def next(self) -> SyncPart | None:
        """Return the next part, or ``None`` at the end."""
        part, self._back = self._back, None
        return part if part is not None else await anext(self._parts, None)

    async def bytes_of(self, item: str, size_bytes: int) -> AsyncIterator[bytes]:
        """Yield exactly the bytes of an item.

        Raises:
            SyncItemIncomplete: There are fewer or more.
            SyncEndMissing: The stream broke in the middle.
        """
        received = 0
        while received < size_bytes:
            part = await self.next()
            if part is None:
                raise SyncEndMissing(self.last_item)
            if not isinstance(part, bytes):
                self._back = part
                raise SyncItemIncomplete(item, size_bytes, received)
            received += len(part)
            if received > size_bytes:
                raise SyncItemIncomplete(item, size_bytes, received)
            yield part

    async def skip(self, item: str, size_bytes: int) -> None:
        """Pass over the bytes of an item."""
        async for _ in self.bytes_of(item, size_bytes):
            pass

    async def expect_nothing(self) -> None:
        """Return at the end of the stream.

        Raises:
            SyncAfterEnd: Something else comes.
        """
        part = await self.next()
        if part is not None:
            words = {SyncEnd: "a second end marker", SyncItem: "an item", bytes: "bytes"}
            raise SyncAfterEnd(words.get(type(part), "a header"))


def _document(run: SyncRun, document_id: str) -> str:
    return f"{run.collection.name}/documents/{document_id}"


def _same(newest: Revision, content_hash: str, title: str) -> bool:
    """Say whether content need not be taken in again."""
    if newest.content_hash != content_hash or (title and title != newest.title):
        return False
    return not _worth_another_try(newest)


def _worth_another_try(newest: Revision) -> bool:
    return newest.state is RevisionState.FAILED and newest.error_reason not in FINAL_REASONS


def _labels_of(item: SyncItem) -> list[str]:
    access = item.change.access if isinstance(item.change, ItemContent) else item.change
    if not isinstance(access, ItemAccess):
        return []
    return [
        *access.labels,
        *(label for section in access.section_labels for label in section.labels),
    ]
