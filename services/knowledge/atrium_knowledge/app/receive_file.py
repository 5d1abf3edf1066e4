"""Store the bytes of a file, and make its upload durable."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from atrium_knowledge.app.stores import DocumentStore, RequestTaken, Upload
from atrium_knowledge.domain.collections import Collection
from atrium_knowledge.domain.documents import folder, original_key
from atrium_knowledge.domain.errors import DocumentEmpty, DocumentTooLarge
from atrium_shared.blobs import BlobStore
from atrium_shared.clock import Ids
from atrium_shared.database import DatabaseUnavailable
from atrium_shared.incoming import IncomingFile
from atrium_shared.jobs import JobRunner
from atrium_shared.operations import Operation
from atrium_shared.unbroken import Unbroken

INGEST_JOB: Final = "knowledge.ingest"


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """A file whose bytes are in the file store, and of which nobody knows yet."""

    revision_uid: str
    folder: str
    size_bytes: int
    content_hash: str
    """SHA-256 in hexadecimal."""


class ReceiveFile:
    """What uploads of one file and of many share.

    What happens in which order, so that a crash at any point leaves an acknowledged upload whole
    and nothing of another: a note that a file is coming; the file; then in one transaction the
    document, its operation and the end of the note; then the job (which a restart submits again
    when it is missing); then the reply.

    Args:
        documents: Where documents are stored.
        blobs: Where files are stored.
        jobs: Runs the ingestion.
        ids: Makes identifiers.
    """

    def __init__(
        self, documents: DocumentStore, blobs: BlobStore, jobs: JobRunner, ids: Ids
    ) -> None:
        self._documents = documents
        self._blobs = blobs
        self._jobs = jobs
        self._ids = ids
        self._unbroken = Unbroken()

    async def store(
        self,
        collection: Collection,
        filename: str,
        parts: AsyncIterator[bytes],
        *,
        limit_bytes: int,
    ) -> ReceivedFile:
        """Store all of a file, or nothing.

        Args:
            collection: Of which it will be.
            filename: What errors call it.
            parts: Its bytes. What they raise ends the file and is raised here.
            limit_bytes: Largest size.

        Raises:
            DocumentEmpty: The file has 0 bytes.
            DocumentTooLarge: It is larger than allowed; told as soon as it is.
        """
        content = IncomingFile(
            parts,
            limit_bytes=limit_bytes,
            empty=lambda: DocumentEmpty(filename),
            too_large=lambda: DocumentTooLarge(filename, limit_bytes),
        )
        await content.open()
        revision_uid = self._ids.new("v")
        where = folder(collection.tenant, collection.uid, revision_uid)
        try:
            await self._documents.begin_upload(revision_uid, where)
            await content.save(self._blobs, original_key(where))
        except BaseException:
            # A caller who hangs up cancels this task; note and file must go all the same.
            await self._unbroken.run(self._discard(revision_uid, where))
            raise
        return ReceivedFile(revision_uid, where, content.size_bytes, content.hash)

    async def acknowledge(self, received: ReceivedFile, upload: Upload) -> Operation:
        """Make the upload durable and have it taken in; returned means acknowledged.

        Raises:
            CollectionNotFound: It was deleted meanwhile; the file is gone.
        """
        return await self._unbroken.run(self._acknowledge(received, upload))

    async def discard(self, received: ReceivedFile) -> None:
        """Remove a file that is not wanted after all."""
        await self._unbroken.run(self._discard(received.revision_uid, received.folder))

    async def _acknowledge(self, received: ReceivedFile, upload: Upload) -> Operation:
        try:
            operation, seq = await self._documents.register(upload)
        except RequestTaken as taken:
            await self._discard(received.revision_uid, received.folder)
            return taken.operation
        except DatabaseUnavailable:
            # It may be registered all the same: the note of the upload tells, and recovery asks it.
            raise
        except Exception:  # whatever it is, a file that was not acknowledged must not stay
            await self._discard(received.revision_uid, received.folder)
            raise
        await self._jobs.submit(INGEST_JOB, operation.name.rpartition(".")[2], {"revision": seq})
        return operation

    async def _discard(self, revision_uid: str, where: str) -> None:
        await self._blobs.delete_folder(where)
        await self._documents.end_upload(revision_uid)

    async def close(self) -> None:
        """Wait for what goes on although its caller hung up."""
        await self._unbroken.close()
