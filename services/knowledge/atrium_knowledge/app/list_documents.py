"""List the documents that somebody may know of."""

from __future__ import annotations

from atrium_knowledge.app.access_classes import AccessClasses
from atrium_knowledge.app.get_document import may_know
from atrium_knowledge.app.stores import CollectionStore, DocumentStore
from atrium_knowledge.domain.documents import Document, show
from atrium_knowledge.domain.names import collection_id
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.paging import decode_page_token, encode_page_token, page_size
from atrium_shared.principal import Principal


class ListDocuments:
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

    async def __call__(
        self, principal: Principal, parent: str, requested: int, page_token: str
    ) -> tuple[list[Document], str]:
        """Return a page of documents ordered by name, and the token of the next page.

        Pages are full as long as there is more, whatever lies between that the caller may not
        know of.

        Raises:
            CollectionNotFound: There is no such collection in the caller's tenant.
            PageTokenInvalid: The token was altered or made for another request.
        """
        async with self._audit.call(principal, "ListDocuments", parent):
            collection = await self._collections.get(principal.tenant, collection_id(parent))
            fingerprint = f"{principal.tenant}/{collection.uid}/documents"
            after = decode_page_token(page_token, fingerprint)
            size = page_size(requested)
            reader = await self._classes.reader(principal, collection.uid)
            found: list[Document] = []
            while len(found) <= size:
                part = await self._documents.list_shown(collection.uid, after, size + 1)
                found += [show(one, reader) for one in part if may_know(principal, reader, one)]
                if len(part) <= size:
                    break
                after = part[-1].document_id
            page, more = found[:size], len(found) > size
            return page, encode_page_token(page[-1].id, fingerprint) if more else ""
