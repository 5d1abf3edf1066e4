"""Count what somebody may read of a collection."""

from __future__ import annotations

from collections import Counter

from atrium_knowledge.app.access_classes import AccessClasses
from atrium_knowledge.app.ports import PassageCounts
from atrium_knowledge.app.stores import CollectionStore
from atrium_knowledge.domain.collections import Collection, Statistics
from atrium_knowledge.domain.names import collection_id
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.principal import Principal


class GetStatistics:
    """The use case. Managing documents adds nothing: counts are of what labels let one read."""

    def __init__(
        self,
        collections: CollectionStore,
        counts: PassageCounts,
        classes: AccessClasses,
        audit: AuditTrail,
    ) -> None:
        self._collections = collections
        self._counts = counts
        self._classes = classes
        self._audit = audit

    async def __call__(self, principal: Principal, name: str) -> tuple[Collection, Statistics]:
        """Return a collection, and counts that equal those of one without anything else in it.

        Raises:
            CollectionNotFound: There is none in the caller's tenant.
        """
        async with self._audit.call(principal, "GetCollectionStatistics", name):
            collection = await self._collections.get(principal.tenant, collection_id(name))
            permitted = await self._classes.permitted(principal, collection.uid)
            documents: set[int] = set()
            languages: Counter[str] = Counter()
            for one in await self._counts.count(collection.uid):
                if one.access_class in permitted:
                    documents.add(one.revision)
                    languages[one.language] += one.passages
            ranked = sorted(languages.items(), key=lambda item: (-item[1], item[0]))
            return collection, Statistics(len(documents), languages.total(), tuple(ranked))
