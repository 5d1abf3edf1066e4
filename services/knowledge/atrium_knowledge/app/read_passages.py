"""Return permitted passages by name, or of a document from an offset on."""

from __future__ import annotations

from collections.abc import Sequence

from atrium_knowledge.app.access_classes import AccessClasses
from atrium_knowledge.app.get_document import find_document, may_know
from atrium_knowledge.app.refused_evenly import refused_evenly
from atrium_knowledge.app.search_passages import to_passage
from atrium_knowledge.app.stores import CollectionStore, DocumentStore, point_of
from atrium_knowledge.domain.errors import (
    DocumentNotFound,
    PassageNotFound,
    PassagesNotNamed,
)
from atrium_knowledge.domain.names import passage_name
from atrium_knowledge.domain.passages import Passage
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.principal import Principal

DEFAULT_PASSAGES = 3


class ReadPassages:
    """The use case."""

    def __init__(
        self,
        collections: CollectionStore,
        documents: DocumentStore,
        classes: AccessClasses,
        audit: AuditTrail,
    ) -> None:
        self._collections = collections
        self._documents = documents
        self._classes = classes
        self._audit = audit

    async def __call__(
        self,
        principal: Principal,
        names: Sequence[str],
        document: str,
        start: int,
        requested: int,
    ) -> list[Passage]:
        """Return passages in the order of their names, or of the document.

        Args:
            principal: Who reads.
            names: Names of passages; or empty, with ``document``.
            document: Name of a document.
            start: First code point of interest in it.
            requested: Most passages of it; 0: 3.

        Raises:
            PassageNotFound: A name is of none, or of none that the caller may read.
            DocumentNotFound: There is none, or none that the caller may know of.
            PassagesNotNamed: Neither names nor a document are given.
        """
        resource = document if not names else "passages"
        async with self._audit.call(principal, "ReadPassages", resource):
            if not names and not document:
                raise PassagesNotNamed
            async with refused_evenly():
                if names:
                    return [await self._named(principal, name) for name in names]
                return await self._from(principal, document, start, requested or DEFAULT_PASSAGES)

    async def _named(self, principal: Principal, name: str) -> Passage:
        parsed = passage_name(name)
        try:
            uid, revision = await find_document(
                self._collections,
                self._documents,
                principal,
                f"collections/{parsed.collection}/documents/{parsed.document}",
            )
        except DocumentNotFound as error:
            raise PassageNotFound(name) from error
        point = point_of(revision.seq, parsed.ordinal)
        found = (await self._documents.passages_by_point([point])).get(point)
        permitted = await self._classes.permitted(principal, uid)
        if found is None or found[0].access_class not in permitted:
            raise PassageNotFound(name)
        return to_passage(*found)

    async def _from(
        self, principal: Principal, document: str, start: int, limit: int
    ) -> list[Passage]:
        uid, revision = await find_document(self._collections, self._documents, principal, document)
        reader = await self._classes.reader(principal, uid)
        if not may_know(principal, reader, revision):
            raise DocumentNotFound(document)
        passages = await self._documents.passages_from(revision.seq, start, reader.classes, limit)
        return [to_passage(one, revision) for one in passages]
