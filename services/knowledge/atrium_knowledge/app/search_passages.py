"""Find the passages that answer a query, of those that the asker may read."""

from __future__ import annotations

from atrium_knowledge.app.ports import SearchOutcome
from atrium_knowledge.domain.collections import Collection
from atrium_knowledge.domain.passages import Passage
from atrium_shared.principal import Principal


class SearchPassages:
    """Hybrid search: keywords and vectors, fused by rank. Implements ``ports.PassageSearch``."""

    async def search(
        self, principal: Principal, collection: Collection, query: str, limit: int
    ) -> SearchOutcome:
        """Return the passages that answer ``query`` best, of those that ``principal`` may read."""
        raise NotImplementedError

    async def context_of(self, principal: Principal, passage: Passage) -> tuple[Passage, ...]:
        """Return the permitted passages of the same section, ``passage`` among them, in order."""
        raise NotImplementedError
