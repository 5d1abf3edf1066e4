"""Change who may read a document."""

from __future__ import annotations

from collections.abc import Sequence

from atrium_knowledge.app.access_classes import AccessClasses
from atrium_knowledge.app.apply_labels import ApplyLabels
from atrium_knowledge.app.get_document import find_document
from atrium_knowledge.app.label_warnings import LabelWarning, LabelWarnings
from atrium_knowledge.app.stores import CollectionStore, DocumentStore
from atrium_knowledge.domain.documents import Document, SectionLabels, show
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.principal import Principal


class SetDocumentLabels:
    """The use case."""

    def __init__(
        self,
        collections: CollectionStore,
        documents: DocumentStore,
        apply_labels: ApplyLabels,
        classes: AccessClasses,
        warnings: LabelWarnings,
        audit: AuditTrail,
    ) -> None:
        self._collections = collections
        self._documents = documents
        self._apply_labels = apply_labels
        self._classes = classes
        self._warnings = warnings
        self._audit = audit

    async def __call__(
        self,
        principal: Principal,
        name: str,
        labels: frozenset[str],
        section_labels: Sequence[SectionLabels],
    ) -> tuple[Document, tuple[LabelWarning, ...]]:
        """Replace the labels of a document and of its sections; returned means in force.

        Returns:
            The document, and the labels that nobody holds.

        Raises:
            DocumentNotFound: There is none in the caller's tenant.
            SectionNotFound: The document lacks one of the headings.
        """
        async with self._audit.call(principal, "SetDocumentLabels", name):
            uid, before = await find_document(self._collections, self._documents, principal, name)
            revision = await self._apply_labels(
                uid, before.document_id, labels, tuple(section_labels)
            )
            named = labels.union(*(one.labels for one in section_labels))
            warnings = await self._warnings.of(principal, sorted(named))
            return show(revision, await self._classes.reader(principal, uid)), warnings
