"""List the versions of a document."""

from __future__ import annotations

from collections.abc import Sequence

from atrium_knowledge.app.get_document import find_document
from atrium_knowledge.app.stores import CollectionStore, DocumentStore
from atrium_knowledge.domain.history import DocumentVersion
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.paging import cursor_number, decode_page_cursor, encode_page_token, page_size
from atrium_shared.principal import Principal


class ListDocumentVersions:
    """The use case."""

    def __init__(
        self, collections: CollectionStore, documents: DocumentStore, audit: AuditTrail
    ) -> None:
        self._collections = collections
        self._documents = documents
        self._audit = audit

    async def __call__(
        self, principal: Principal, parent: str, requested: int, page_token: str
    ) -> tuple[Sequence[DocumentVersion], str]:
        """Return a page of versions, newest first, and the token of the next page.

        Raises:
            DocumentNotFound: There is none in the caller's tenant.
            PageTokenInvalid: The token was altered or made for another request.
        """
        async with self._audit.call(principal, "ListDocumentVersions", parent):
            uid, revision = await find_document(
                self._collections, self._documents, principal, parent
            )
            # A document made again under the same id is another.
            fingerprint = f"{principal.tenant}/{revision.document_uid}/versions"
            after = decode_page_cursor(page_token, fingerprint, cursor_number)
            size = page_size(requested)
            found = await self._documents.versions(uid, revision.document_id, after, size + 1)
            page, more = found[:size], len(found) > size
            last = str(page[-1].revision.version) if page else ""
            return page, encode_page_token(last, fingerprint) if more else ""
