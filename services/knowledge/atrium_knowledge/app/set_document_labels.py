"""Change who may read a document."""

from __future__ import annotations

from collections.abc import Sequence

from atrium_knowledge.app.access_classes import AccessClasses
from atrium_knowledge.app.audit_trail import AuditTrail
from atrium_knowledge.app.get_document import find_document
from atrium_knowledge.app.locks import CollectionLocks
from atrium_knowledge.app.ports import PassageIndex
from atrium_knowledge.app.stores import CollectionStore, DocumentStore
from atrium_knowledge.domain.documents import Document, SectionLabels, show
from atrium_shared.principal import Principal


class SetDocumentLabels:
    """The use case.

    The records change first: from then on no passage is shown against them. Then the index; what a
    crash keeps from it is made up for at the next start.
    """

    def __init__(
        self,
        collections: CollectionStore,
        documents: DocumentStore,
        index: PassageIndex,
        classes: AccessClasses,
        locks: CollectionLocks,
        audit: AuditTrail,
    ) -> None:
        self._collections = collections
        self._documents = documents
        self._index = index
        self._classes = classes
        self._locks = locks
        self._audit = audit

    async def __call__(
        self,
        principal: Principal,
        name: str,
        labels: frozenset[str],
        section_labels: Sequence[SectionLabels],
    ) -> Document:
        """Replace the labels of a document and of its sections; returned means in force.

        Raises:
            DocumentNotFound: There is none in the caller's tenant.
            SectionNotFound: The document lacks one of the headings.
        """
        async with self._audit.call(principal, "SetDocumentLabels", name):
            uid, before = await find_document(self._collections, self._documents, principal, name)
            async with self._locks.of(uid):
                revision, points = await self._documents.set_labels(
                    uid, before.document_id, labels, tuple(section_labels)
                )
                await self._index.set_classes(uid, points)
                await self._index.flush(uid)
                await self._documents.labels_applied(uid, before.document_id)
            return show(revision, await self._classes.reader(principal, uid))
