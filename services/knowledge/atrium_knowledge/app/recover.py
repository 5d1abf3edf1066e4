"""Put right at the start what a crash left undone."""

from __future__ import annotations

import structlog

from atrium_knowledge.app.clean_up import CleanUp
from atrium_knowledge.app.finish_sync import SYNC_JOB
from atrium_knowledge.app.locks import CollectionLocks
from atrium_knowledge.app.ports import PassageIndex
from atrium_knowledge.app.receive_file import INGEST_JOB
from atrium_knowledge.app.stores import DocumentStore, SyncStore
from atrium_shared.blobs import BlobStore
from atrium_shared.jobs import JobRunner

_log = structlog.get_logger(__name__)


class Recover:
    """Runs before the service answers."""

    def __init__(
        self,
        documents: DocumentStore,
        index: PassageIndex,
        blobs: BlobStore,
        jobs: JobRunner,
        clean_up: CleanUp,
        locks: CollectionLocks,
        sync: SyncStore,
    ) -> None:
        self._documents = documents
        self._index = index
        self._blobs = blobs
        self._jobs = jobs
        self._clean_up = clean_up
        self._locks = locks
        self._sync = sync

    async def __call__(self) -> None:
        """Drop files that were never acknowledged, finish what was begun, resume what was."""
        interrupted = await self._documents.interrupted_uploads()
        for revision_uid, folder in interrupted:
            await self._blobs.delete_folder(folder)
            await self._documents.end_upload(revision_uid)
        await self._apply_labels()
        purges = await self._documents.purges()
        await self._clean_up.run(purges)
        unfinished = await self._documents.unfinished()
        for revision in unfinished:
            # The same id again changes nothing; it is new only when the crash came before.
            await self._jobs.submit(INGEST_JOB, revision.operation_id, {"revision": revision.seq})
        for payload in await self._sync.unfinished():
            await self._jobs.submit(SYNC_JOB, payload["operation"], payload)
        if interrupted or purges or unfinished:
            _log.info(
                "recovered",
                uploads_dropped=len(interrupted),
                removals_finished=len(purges),
                ingestions_resumed=len(unfinished),
            )

    async def _apply_labels(self) -> None:
        for collection_uid, documents in (await self._documents.pending_labels()).items():
            async with self._locks.of(collection_uid):
                for document_id, classes in documents.items():
                    await self._index.set_classes(collection_uid, classes)
                    await self._index.flush(collection_uid)
                    await self._documents.labels_applied(collection_uid, document_id)
