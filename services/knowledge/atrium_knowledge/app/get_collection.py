"""Return a collection."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from atrium_knowledge.app.stores import CollectionStore
from atrium_knowledge.domain.collections import Collection
from atrium_knowledge.domain.names import collection_id
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.principal import Principal

MANAGE_COLLECTIONS: Final = "knowledge.collections:manage"


class GetCollection:
    """The use case."""

    def __init__(self, collections: CollectionStore, audit: AuditTrail) -> None:
        self._collections = collections
        self._audit = audit

    async def __call__(self, principal: Principal, name: str) -> Collection:
        """Return a collection as the caller may see it.

        Raises:
            CollectionNotFound: There is none in the caller's tenant.
        """
        async with self._audit.call(principal, "GetCollection", name):
            found = await self._collections.get(principal.tenant, collection_id(name))
            return as_seen_by(principal, found)


def as_seen_by(principal: Principal, collection: Collection) -> Collection:
    """Return the collection, with its restricted topics for its managers only."""
    if principal.may(MANAGE_COLLECTIONS):
        return collection
    return replace(collection, restricted_topics=())
