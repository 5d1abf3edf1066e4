"""Make a collection."""

from __future__ import annotations

from collections.abc import Sequence

from atrium_knowledge.app.compile_topics import CompileTopics
from atrium_knowledge.app.stores import CollectionStore
from atrium_knowledge.domain.collections import (
    DEFAULT_VERSIONS_KEPT,
    Collection,
    RestrictedTopic,
    check_topics,
)
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.clock import Clock, Ids
from atrium_shared.principal import Principal


class CreateCollection:
    """The use case; its topics are encoded at once, so that they hold from the first question."""

    def __init__(
        self,
        collections: CollectionStore,
        topics: CompileTopics,
        audit: AuditTrail,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._collections = collections
        self._topics = topics
        self._audit = audit
        self._clock = clock
        self._ids = ids

    async def __call__(
        self,
        principal: Principal,
        collection_id: str,
        display_name: str,
        topics: Sequence[RestrictedTopic],
        versions_kept: int | None = None,
        *,
        keep_questions: bool = False,
    ) -> Collection:
        """Make a collection of the caller's tenant.

        Args:
            principal: Who makes it.
            collection_id: Its id.
            display_name: Its name for people.
            topics: Its restricted topics.
            versions_kept: Superseded versions of a document that keep their text; ``None``: 10.
            keep_questions: Whether the words of questions that were answered badly are stored.

        Raises:
            CollectionExists: The id is taken.
            TopicRepeated: Two topics have one id.
        """
        collection = Collection(
            tenant=principal.tenant,
            id=collection_id,
            uid=self._ids.new("c"),
            display_name=display_name,
            create_time=self._clock.now(),
            restricted_topics=tuple(topics),
            versions_kept=DEFAULT_VERSIONS_KEPT if versions_kept is None else versions_kept,
            keep_questions=keep_questions,
        )
        async with self._audit.call(principal, "CreateCollection", collection.name):
            check_topics(collection.restricted_topics)
            await self._collections.create(collection, principal.actor, principal.on_behalf_of)
            await self._topics.encode(principal, collection)
            return await self._collections.get(collection.tenant, collection.id)
