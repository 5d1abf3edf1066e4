"""Search a collection by name."""

from __future__ import annotations

from atrium_knowledge.app.ports import PassageSearch
from atrium_knowledge.app.stores import CollectionStore
from atrium_knowledge.domain.errors import check_question_length
from atrium_knowledge.domain.names import collection_id
from atrium_knowledge.domain.passages import Hit
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.principal import Principal

DEFAULT_RESULTS = 10


class SearchCollection:
    """The use case of the call ``Search``."""

    def __init__(
        self, collections: CollectionStore, search: PassageSearch, audit: AuditTrail
    ) -> None:
        self._collections = collections
        self._search = search
        self._audit = audit

    async def __call__(
        self, principal: Principal, parent: str, query: str, requested: int
    ) -> tuple[Hit, ...]:
        """Return the passages that answer a query best, best first.

        Args:
            principal: Who asks.
            parent: Name of the collection.
            query: At most 4,000 code points.
            requested: Most results; 0: 10.

        Raises:
            QuestionTooLong: The query is longer.
            CollectionNotFound: There is no such collection in the caller's tenant.
        """
        async with self._audit.call(principal, "Search", parent):
            check_question_length(query, "query")
            collection = await self._collections.get(principal.tenant, collection_id(parent))
            outcome = await self._search.search(
                principal, collection, query, requested or DEFAULT_RESULTS
            )
            return outcome.hits
