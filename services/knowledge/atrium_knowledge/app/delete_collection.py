"""Remove a collection with everything in it."""

from __future__ import annotations

from atrium_knowledge.app.answer_log import RecentAnswers
from atrium_knowledge.app.clean_up import CleanUp
from atrium_knowledge.app.stores import CollectionStore
from atrium_knowledge.domain.names import collection_id
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.principal import Principal


class DeleteCollection:
    """The use case."""

    def __init__(
        self,
        collections: CollectionStore,
        answers: RecentAnswers,
        clean_up: CleanUp,
        audit: AuditTrail,
    ) -> None:
        self._collections = collections
        self._answers = answers
        self._clean_up = clean_up
        self._audit = audit

    async def __call__(self, principal: Principal, name: str) -> None:
        """Remove a collection from records, index, file store and caches; returned means gone.

        Raises:
            CollectionNotFound: There is none in the caller's tenant.
        """
        async with self._audit.call(principal, "DeleteCollection", name):
            purge = await self._collections.delete(principal.tenant, collection_id(name))
            self._answers.forget_collection(purge.collection_uid)
            await self._clean_up.run([purge])
