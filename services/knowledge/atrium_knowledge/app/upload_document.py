"""Receive a file, make it durable, and have it taken in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from atrium_knowledge.app.access_classes import MANAGE_DOCUMENTS, AccessClasses
from atrium_knowledge.app.get_document import may_know
from atrium_knowledge.app.receive_file import ReceiveFile
from atrium_knowledge.app.refused_evenly import refused_evenly
from atrium_knowledge.app.stores import CollectionStore, DocumentStore, Upload
from atrium_knowledge.domain.collections import Collection
from atrium_knowledge.domain.documents import SectionLabels
from atrium_knowledge.domain.errors import (
    DocumentIdReserved,
    FilenameMissing,
    UploadHeaderMissing,
    UploadHeaderRepeated,
)
from atrium_knowledge.domain.names import collection_id
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.clock import Ids
from atrium_shared.operations import Operation
from atrium_shared.principal import Principal


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

    Args:
        collections: Where collections are stored.
        documents: Where documents are stored.
        receive: Stores the file and makes the upload durable.
        classes: What the caller may read.
        audit: Records calls.
        ids: Makes identifiers.
        max_bytes: Largest file where the tenant has no limit of its own.
    """

    def __init__(
        self,
        collections: CollectionStore,
        documents: DocumentStore,
        receive: ReceiveFile,
        classes: AccessClasses,
        audit: AuditTrail,
        ids: Ids,
        *,
        max_bytes: int,
    ) -> None:
        self._collections = collections
        self._documents = documents
        self._receive_file = receive
        self._classes = classes
        self._audit = audit
        self._ids = ids
        self._max_bytes = max_bytes

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
        received = await self._receive_file.store(
            collection,
            header.filename,
            _chunks(parts),
            limit_bytes=principal.max_upload_bytes or self._max_bytes,
        )
        upload = Upload(
            collection=collection,
            document_id=document_id,
            revision_uid=received.revision_uid,
            title=header.title,
            filename=header.filename,
            labels=header.labels,
            section_labels=header.section_labels,
            size_bytes=received.size_bytes,
            actor=principal.actor,
            on_behalf_of=principal.on_behalf_of,
            content_hash=received.content_hash,
            request_key=request_key,
        )
        return await self._receive_file.acknowledge(received, upload)

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


async def _chunks(parts: AsyncIterator[UploadHeader | bytes]) -> AsyncIterator[bytes]:
    async for part in parts:
        if isinstance(part, UploadHeader):
            raise UploadHeaderRepeated
        yield part
