"""Remove a document."""

from __future__ import annotations

from atrium_knowledge.app.get_document import find_document
from atrium_knowledge.app.remove_document import RemoveDocument
from atrium_knowledge.app.stores import CollectionStore, DocumentStore
from atrium_knowledge.domain.names import document_name
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.principal import Principal


class DeleteDocument:
    """The use case."""

    def __init__(
        self,
        collections: CollectionStore,
        documents: DocumentStore,
        remove: RemoveDocument,
        audit: AuditTrail,
    ) -> None:
        self._collections = collections
        self._documents = documents
        self._remove = remove
        self._audit = audit

    async def __call__(self, principal: Principal, name: str) -> None:
        """Remove a document from records, index, file store and caches; returned means gone.

        Raises:
            DocumentNotFound: There is none in the caller's tenant.
        """
        async with self._audit.call(principal, "DeleteDocument", name):
            uid, _ = await find_document(self._collections, self._documents, principal, name)
            await self._remove(uid, document_name(name))
