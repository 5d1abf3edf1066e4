"""Remove a document with all its versions, everywhere."""

from __future__ import annotations

from atrium_knowledge.app.answer_log import RecentAnswers
from atrium_knowledge.app.clean_up import CleanUp
from atrium_knowledge.app.stores import DocumentStore
from atrium_knowledge.domain.names import DocumentName
from atrium_shared.jobs import JobRunner


class RemoveDocument:
    """Removes from records, index, file store and caches."""

    def __init__(
        self,
        documents: DocumentStore,
        answers: RecentAnswers,
        jobs: JobRunner,
        clean_up: CleanUp,
    ) -> None:
        self._documents = documents
        self._answers = answers
        self._jobs = jobs
        self._clean_up = clean_up

    async def __call__(self, collection_uid: str, name: DocumentName) -> None:
        """Remove a document; returned means gone.

        Raises:
            DocumentNotFound: There is none.
        """
        purge, under_way = await self._documents.delete(collection_uid, name.document)
        for operation_id in under_way:
            await self._jobs.cancel(operation_id)
        self._answers.forget_document(collection_uid, name)
        await self._clean_up.run([purge])
