"""Remove a document."""

from __future__ import annotations

from atrium_knowledge.app.answer_log import RecentAnswers
from atrium_knowledge.app.audit_trail import AuditTrail
from atrium_knowledge.app.clean_up import CleanUp
from atrium_knowledge.app.get_document import find_document
from atrium_knowledge.app.stores import CollectionStore, DocumentStore
from atrium_knowledge.domain.names import document_name
from atrium_shared.jobs import JobRunner
from atrium_shared.principal import Principal


class DeleteDocument:
    """The use case."""

    def __init__(
        self,
        collections: CollectionStore,
        documents: DocumentStore,
        answers: RecentAnswers,
        jobs: JobRunner,
        clean_up: CleanUp,
        audit: AuditTrail,
    ) -> None:
        self._collections = collections
        self._documents = documents
        self._answers = answers
        self._jobs = jobs
        self._clean_up = clean_up
        self._audit = audit

    async def __call__(self, principal: Principal, name: str) -> None:
        """Remove a document from records, index, file store and caches; returned means gone.

        Raises:
            DocumentNotFound: There is none in the caller's tenant.
        """
        async with self._audit.call(principal, "DeleteDocument", name):
            uid, revision = await find_document(self._collections, self._documents, principal, name)
            purge, under_way = await self._documents.delete(uid, revision.document_id)
            for operation_id in under_way:
                await self._jobs.cancel(operation_id)
            self._answers.forget_document(uid, document_name(name))
            await self._clean_up.run([purge])
