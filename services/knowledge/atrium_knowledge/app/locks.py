"""One writer a collection: what changes its records and its index together does so alone."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary


class CollectionLocks:
    """A lock for each collection, kept while somebody holds or awaits it."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, collection_uid: str) -> asyncio.Lock:
        """Return the collection's lock; use it in ``async with``."""
        return self._locks.setdefault(collection_uid, asyncio.Lock())
