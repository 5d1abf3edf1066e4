"""Return a document to who may know of it."""

from __future__ import annotations

from atrium_knowledge.app.access_classes import AccessClasses
from atrium_knowledge.app.refused_evenly import refused_evenly
from atrium_knowledge.app.stores import CollectionStore, DocumentStore
from atrium_knowledge.domain.documents import Document, Reader, Revision, RevisionState, show
from atrium_knowledge.domain.errors import CollectionNotFound, DocumentNotFound
from atrium_knowledge.domain.names import document_name
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.principal import Principal


class GetDocument:
    """The use case."""

    def __init__(
        self,
        collections: CollectionStore,
        documents: DocumentStore,
        classes: AccessClasses,
        audit: AuditTrail,
    ) -> None:
        self._collections = collections
        self._documents = documents
        self._classes = classes
        self._audit = audit

    async def __call__(self, principal: Principal, name: str) -> Document:
        """Return a document as the caller may see it.

        Raises:
            DocumentNotFound: There is none, or none that the caller may know of.
        """
        async with self._audit.call(principal, "GetDocument", name):
            async with refused_evenly():
                collection_uid, revision = await find_document(
                    self._collections, self._documents, principal, name
                )
                reader = await self._classes.reader(principal, collection_uid)
                if not may_know(principal, reader, revision):
                    raise DocumentNotFound(name)
            return show(revision, reader)


async def find_document(
    collections: CollectionStore, documents: DocumentStore, principal: Principal, name: str
) -> tuple[str, Revision]:
    """Return the uid of a document's collection and the revision that stands for the document.

    Raises:
        DocumentNotFound: There is no such document in the caller's tenant.
    """
    parsed = document_name(name)
    try:
        collection = await collections.get(principal.tenant, parsed.collection)
    except CollectionNotFound as error:
        raise DocumentNotFound(name) from error
    revision = await documents.shown(collection.uid, parsed.document)
    if revision is None:
        raise DocumentNotFound(name)
    return collection.uid, revision


def may_know(principal: Principal, reader: Reader, revision: Revision) -> bool:
    """Say whether somebody may know that a document exists.

    Managers may, and whoever uploaded what is not searchable; others when it is searchable and
    they may read it.
    """
    if reader.manages:
        return True
    if revision.state is RevisionState.LIVE:
        return reader.may_read(revision.labels)
    return revision.subject == principal.subject
