"""Put labels in force: in the records, then in the index."""

from __future__ import annotations

from atrium_knowledge.app.locks import CollectionLocks
from atrium_knowledge.app.ports import PassageIndex
from atrium_knowledge.app.stores import DocumentStore
from atrium_knowledge.domain.documents import Revision, SectionLabels


class ApplyLabels:
    """Changes who may read a document; nothing is embedded again.

    The records change first: from then on no passage is shown against them. Then the index; what a
    crash keeps from it is made up for at the next start.
    """

    def __init__(
        self, documents: DocumentStore, index: PassageIndex, locks: CollectionLocks
    ) -> None:
        self._documents = documents
        self._index = index
        self._locks = locks

    async def __call__(
        self,
        collection_uid: str,
        document_id: str,
        labels: frozenset[str],
        section_labels: tuple[SectionLabels, ...],
    ) -> Revision:
        """Replace the labels of a document and of its sections; returned means in force.

        Raises:
            DocumentNotFound: There is none.
            SectionNotFound: The document lacks one of the headings.
        """
        async with self._locks.of(collection_uid):
            revision, points = await self._documents.set_labels(
                collection_uid, document_id, labels, section_labels
            )
            await self._index.set_classes(collection_uid, points)
            await self._index.flush(collection_uid)
            await self._documents.labels_applied(collection_uid, document_id)
        return revision
