"""List collections."""

from __future__ import annotations

from atrium_knowledge.app.get_collection import as_seen_by
from atrium_knowledge.app.stores import CollectionStore
from atrium_knowledge.domain.collections import Collection
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.paging import decode_page_token, encode_page_token, page_size
from atrium_shared.principal import Principal


class ListCollections:
    """The use case."""

    def __init__(self, collections: CollectionStore, audit: AuditTrail) -> None:
        self._collections = collections
        self._audit = audit

    async def __call__(
        self, principal: Principal, requested: int, page_token: str
    ) -> tuple[list[Collection], str]:
        """Return a page of collections ordered by name, and the token of the next page.

        Args:
            principal: Who asks.
            requested: Most to return; 0: 100.
            page_token: Of the page before; empty for the first page.

        Raises:
            PageTokenInvalid: The token was altered or made for another request.
        """
        async with self._audit.call(principal, "ListCollections", "collections"):
            fingerprint = f"{principal.tenant}/collections"
            after = decode_page_token(page_token, fingerprint)
            size = page_size(requested)
            found = await self._collections.list(principal.tenant, after, size + 1)
            page = [as_seen_by(principal, one) for one in found[:size]]
            more = len(found) > size
            return page, encode_page_token(page[-1].id, fingerprint) if more else ""
