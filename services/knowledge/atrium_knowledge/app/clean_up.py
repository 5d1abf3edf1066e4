"""Remove from index and file store what is gone from the records."""

from __future__ import annotations

from collections.abc import Iterable

from atrium_knowledge.app.locks import CollectionLocks
from atrium_knowledge.app.ports import PassageIndex
from atrium_knowledge.app.stores import DocumentStore, Purge
from atrium_shared.blobs import BlobStore


class CleanUp:
    """Carries out purges. A purge that a crash interrupts is carried out at the next start."""

    def __init__(
        self,
        documents: DocumentStore,
        index: PassageIndex,
        blobs: BlobStore,
        locks: CollectionLocks,
    ) -> None:
        self._documents = documents
        self._index = index
        self._blobs = blobs
        self._locks = locks

    async def run(self, purges: Iterable[Purge]) -> None:
        """Carry out ``purges``; returned means gone."""
        for purge in purges:
            async with self._locks.of(purge.collection_uid):
                if purge.whole:
                    await self._index.drop(purge.collection_uid)
                elif purge.revisions:
                    await self._index.remove_revisions(purge.collection_uid, purge.revisions)
                    await self._index.flush(purge.collection_uid)
                for folder in purge.folders:
                    await self._blobs.delete_folder(folder)
                await self._documents.purged(purge)
