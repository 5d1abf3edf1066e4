"""Change a collection's display name or restricted topics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from atrium_knowledge.app.audit_trail import AuditTrail
from atrium_knowledge.app.compile_topics import CompileTopics
from atrium_knowledge.app.stores import CollectionStore
from atrium_knowledge.domain.collections import Collection, RestrictedTopic, check_topics
from atrium_knowledge.domain.errors import UpdateMaskUnknown
from atrium_knowledge.domain.names import collection_id
from atrium_shared.principal import Principal

_DISPLAY_NAME: Final = "display_name"
_TOPICS: Final = "restricted_topics"


class UpdateCollection:
    """The use case."""

    def __init__(
        self, collections: CollectionStore, topics: CompileTopics, audit: AuditTrail
    ) -> None:
        self._collections = collections
        self._topics = topics
        self._audit = audit

    async def __call__(
        self,
        principal: Principal,
        name: str,
        *,
        etag: str,
        display_name: str,
        topics: Sequence[RestrictedTopic],
        fields: Sequence[str],
    ) -> Collection:
        """Change the named fields, and return the collection.

        Args:
            principal: Who changes it.
            name: Which collection.
            etag: What the collection's must be; empty: anything.
            display_name: New value.
            topics: New value.
            fields: Which values to take; empty: all.

        Raises:
            CollectionNotFound: There is none in the caller's tenant.
            CollectionChanged: Its etag is another by now.
            TopicRepeated: Two topics have one id.
            UpdateMaskUnknown: A field cannot be changed.
        """
        async with self._audit.call(principal, "UpdateCollection", name):
            for field in fields:
                if field not in (_DISPLAY_NAME, _TOPICS):
                    raise UpdateMaskUnknown(field)
            chosen = set(fields) or {_DISPLAY_NAME, _TOPICS}
            check_topics(topics)
            updated = await self._collections.update(
                principal.tenant,
                collection_id(name),
                etag=etag,
                display_name=display_name if _DISPLAY_NAME in chosen else None,
                topics=tuple(topics) if _TOPICS in chosen else None,
                actor=principal.actor,
                on_behalf_of=principal.on_behalf_of,
            )
            if _TOPICS in chosen:
                await self._topics.encode(principal, updated)
            return updated
