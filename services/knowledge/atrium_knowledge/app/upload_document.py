"""Receive a file, make it durable, and have it taken in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from atrium_knowledge.app.access_classes import MANAGE_DOCUMENTS, AccessClasses
from atrium_knowledge.app.audit_trail import AuditTrail
from atrium_knowledge.app.clean_up import remove_folder
from atrium_knowledge.app.get_document import may_know
from atrium_knowledge.app.refused_evenly import refused_evenly
from atrium_knowledge.app.stores import CollectionStore, DocumentStore, RequestTaken, Upload
from atrium_knowledge.domain.collections import Collection
from atrium_knowledge.domain.documents import SectionLabels, folder, original_key
from atrium_knowledge.domain.errors import (
    DocumentEmpty,
    DocumentIdReserved,
    DocumentTooLarge,
    FilenameMissing,
    UploadHeaderMissing,
    UploadHeaderRepeated,
)
from atrium_knowledge.domain.names import collection_id
from atrium_shared.blobs import BlobStore
from atrium_shared.clock import Ids
from atrium_shared.jobs import JobRunner
from atrium_shared.operations import Operation
from atrium_shared.principal import Principal

INGEST_JOB: Final = "knowledge.ingest"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class UploadHeader:
    """What comes before the bytes of an upload."""

    parent: str
    """Name of the collection."""
    document_id: str
    """Empty: chosen by the server."""
    title: str
    filename: str
    labels: frozenset[str]
    section_labels: tuple[SectionLabels, ...]
    request_id: str
    """Chosen by the caller; a repeated upload returns the first one's operation. May be empty."""


class UploadDocument:
    """The upload use case.

    What happens in which order, so that a crash at any point leaves an acknowledged upload whole
    and nothing of another: a note that a file is coming; the file; then in one transaction the
    document, its operation and the end of the note; then the job (which a restart submits again
    when it is missing); then the reply.

    Args:
        collections: Where collections are stored.
        documents: Where documents are stored.
        blobs: Where files are stored.
        jobs: Runs the ingestion.
        classes: What the caller may read.
        audit: Records calls.
        ids: Makes identifiers.
        max_bytes: Largest file where the tenant has no limit of its own.
    """

    def __init__(
        self,
        collections: CollectionStore,
        documents: DocumentStore,
        blobs: BlobStore,
        jobs: JobRunner,
        classes: AccessClasses,
        audit: AuditTrail,
        ids: Ids,
        *,
        max_bytes: int,
    ) -> None:
        self._collections = collections
        self._documents = documents
        self._blobs = blobs
        self._jobs = jobs
        self._classes = classes
        self._audit = audit
        self._ids = ids
        self._max_bytes = max_bytes
        self._finishing: set[asyncio.Task[Any]] = set()

    async def __call__(
        self, principal: Principal, parts: AsyncIterator[UploadHeader | bytes]
    ) -> Operation:
        """Receive a file; returned means received and durable.

        Args:
            principal: Who uploads.
            parts: The header, then the bytes.

        Raises:
            UploadHeaderMissing: The first part is no header.
            UploadHeaderRepeated: A later part is one.
            FilenameMissing: The header names no file.
            CollectionNotFound: There is no such collection.
            DocumentIdReserved: The caller may not choose this id.
            DocumentEmpty: The file has 0 bytes.
            DocumentTooLarge: The file is larger than allowed; told as soon as it is.
        """
        header = await anext(parts, None)
        resource = header.parent if isinstance(header, UploadHeader) else "collections/-"
        async with self._audit.call(principal, "UploadDocument", resource):
            if not isinstance(header, UploadHeader):
                raise UploadHeaderMissing
            return await self._receive(principal, header, parts)

    async def _receive(
        self, principal: Principal, header: UploadHeader, parts: AsyncIterator[UploadHeader | bytes]
    ) -> Operation:
        if not header.filename:
            raise FilenameMissing
        collection = await self._collections.get(principal.tenant, collection_id(header.parent))
        request_key = f"{principal.subject}/{header.request_id}" if header.request_id else None
        if request_key is not None:
            earlier = await self._documents.operation_of_request(collection.uid, request_key)
            if earlier is not None:
                return earlier
        if header.document_id:
            await self._check_id(principal, collection, header.document_id)
        document_id = header.document_id or self._ids.new("d")
        content = _Content(
            parts, header.filename, limit_bytes=principal.max_upload_bytes or self._max_bytes
        )
        await content.open()
        revision_uid = self._ids.new("v")
        where = folder(collection.tenant, collection.uid, revision_uid)
        await self._documents.begin_upload(revision_uid, where)
        try:
            await content.save(self._blobs, original_key(where))
        except BaseException:
            # A caller who hangs up cancels this task; the file must go all the same.
            await self._finish(self._discard(revision_uid, where))
            raise
        upload = Upload(
            collection=collection,
            document_id=document_id,
            revision_uid=revision_uid,
            title=header.title,
            filename=header.filename,
            labels=header.labels,
            section_labels=header.section_labels,
            size_bytes=content.size_bytes,
            actor=principal.actor,
            on_behalf_of=principal.on_behalf_of,
            request_key=request_key,
        )
        return await self._finish(self._acknowledge(upload, where))

    async def _acknowledge(self, upload: Upload, where: str) -> Operation:
        try:
            operation, seq = await self._documents.register(upload)
        except RequestTaken as taken:
            await self._discard(upload.revision_uid, where)
            return taken.operation
        except Exception:  # whatever it is, a file that was not acknowledged must not stay
            await self._discard(upload.revision_uid, where)
            raise
        await self._jobs.submit(INGEST_JOB, operation.name.rpartition(".")[2], {"revision": seq})
        return operation

    async def _finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Do what must not stop halfway when the caller hangs up."""
        task = asyncio.create_task(work)
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)
        return await asyncio.shield(task)

    async def _check_id(
        self, principal: Principal, collection: Collection, document_id: str
    ) -> None:
        """Refuse an id by which the caller could learn of a document, or of its sections.

        A new version keeps the labels of its document, and names the headings that it lacks, so
        whoever uploads one knows all of them.
        """
        if principal.may(MANAGE_DOCUMENTS):
            return
        name = f"{collection.name}/documents/{document_id}"
        async with refused_evenly():
            reader = await self._classes.reader(principal, collection.uid)
            before = await self._documents.shown(collection.uid, document_id)
            if (
                before is None
                or not may_know(principal, reader, before)
                or not set(before.class_counts) <= reader.classes
                or not all(reader.may_read(one.labels) for one in before.section_labels)
            ):
                raise DocumentIdReserved(name)

    async def _discard(self, revision_uid: str, where: str) -> None:
        await remove_folder(self._blobs, where)
        await self._documents.end_upload(revision_uid)


class _Content:
    """The bytes of an upload on their way to the file store."""

    def __init__(
        self, parts: AsyncIterator[UploadHeader | bytes], filename: str, *, limit_bytes: int
    ) -> None:
        self.size_bytes = 0
        self._parts = parts
        self._filename = filename
        self._limit_bytes = limit_bytes
        self._first = b""
        self._failure: Exception | None = None

    async def open(self) -> None:
        """Wait for the first byte, so that an empty file is refused before anything is stored."""
        while not self._first:
            part = await anext(self._parts, None)
            if part is None:
                raise DocumentEmpty(self._filename)
            self._first = self._checked(part)

    async def save(self, blobs: BlobStore, key: str) -> None:
        """Store all of it under ``key``, or nothing."""
        try:
            await blobs.put(key, self._stream())
        except Exception:
            # What ended the stream is the reason, whatever the store makes of it.
            if self._failure is not None:
                raise self._failure from None
            raise

    async def _stream(self) -> AsyncIterator[bytes]:
        try:
            yield self._first
            async for part in self._parts:
                yield self._checked(part)
        except Exception as error:  # kept for `save`, since the store may wrap it
            self._failure = error
            raise

    def _checked(self, part: UploadHeader | bytes) -> bytes:
        if isinstance(part, UploadHeader):
            raise UploadHeaderRepeated
        self.size_bytes += len(part)
        if self.size_bytes > self._limit_bytes:
            raise DocumentTooLarge(self._filename, self._limit_bytes)
        return part
