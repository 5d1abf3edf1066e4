"""Change a collection's display name, restricted topics, or what it keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from atrium_knowledge.app.clean_up import CleanUp
from atrium_knowledge.app.compile_topics import CompileTopics
from atrium_knowledge.app.stores import CollectionStore
from atrium_knowledge.domain.collections import (
    DEFAULT_VERSIONS_KEPT,
    Collection,
    RestrictedTopic,
    check_topics,
)
from atrium_knowledge.domain.names import collection_id
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.principal import Principal
from atrium_shared.update_masks import resolve_mask

_DISPLAY_NAME: Final = "display_name"
_TOPICS: Final = "restricted_topics"
_VERSIONS_KEPT: Final = "versions_kept"
_KEEP_QUESTIONS: Final = "keep_questions"
_FIELDS: Final = (_DISPLAY_NAME, _TOPICS, _VERSIONS_KEPT, _KEEP_QUESTIONS)
_NAMED_ONLY: Final = (_VERSIONS_KEPT, _KEEP_QUESTIONS)
"""Without a mask these are taken when they are given."""


class UpdateCollection:
    """The use case."""

    def __init__(
        self,
        collections: CollectionStore,
        topics: CompileTopics,
        clean_up: CleanUp,
        audit: AuditTrail,
    ) -> None:
        self._collections = collections
        self._topics = topics
        self._clean_up = clean_up
        self._audit = audit

    async def __call__(
        self,
        principal: Principal,
        name: str,
        *,
        etag: str,
        display_name: str,
        topics: Sequence[RestrictedTopic],
        versions_kept: int | None = None,
        keep_questions: bool | None = None,
        fields: Sequence[str],
    ) -> Collection:
        """Change the named fields, and return the collection.

        Args:
            principal: Who changes it.
            name: Which collection.
            etag: What the collection's must be; empty: anything.
            display_name: New value.
            topics: New value.
            versions_kept: New value; texts over the number are gone when the call returns. When it
                is not given but named, the default.
            keep_questions: New value; when it is false, words that were stored are gone when the
                call returns. When it is not given but named, false.
            fields: Which values to take; empty: all that are given.

        Raises:
            CollectionNotFound: There is none in the caller's tenant.
            CollectionChanged: Its etag is another by now.
            TopicRepeated: Two topics have one id.
            UpdateMaskUnknown: A field cannot be changed.
        """
        async with self._audit.call(principal, "UpdateCollection", name):
            chosen = resolve_mask(fields, _FIELDS, named_only=_NAMED_ONLY)
            if _VERSIONS_KEPT in chosen and versions_kept is None:
                versions_kept = DEFAULT_VERSIONS_KEPT
            elif fields and _VERSIONS_KEPT not in chosen:
                versions_kept = None
            if _KEEP_QUESTIONS in chosen:
                keep_questions = bool(keep_questions)
            elif fields:
                keep_questions = None
            check_topics(topics)
            updated, purges = await self._collections.update(
                principal.tenant,
                collection_id(name),
                etag=etag,
                display_name=display_name if _DISPLAY_NAME in chosen else None,
                topics=tuple(topics) if _TOPICS in chosen else None,
                versions_kept=versions_kept,
                keep_questions=keep_questions,
                actor=principal.actor,
                on_behalf_of=principal.on_behalf_of,
            )
            await self._clean_up.run(purges)
            if _TOPICS in chosen:
                await self._topics.encode(principal, updated)
            return updated
