"""Say whether somebody may see an answer that somebody else got."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from atrium_knowledge.app.stores import DocumentStore
from atrium_knowledge.domain.errors import PassageNotFound
from atrium_knowledge.domain.history import LabelsThen
from atrium_knowledge.domain.names import passage_name
from atrium_shared.clock import Clock
from atrium_shared.principal import Principal


class AnswerAccess:
    """Goes by what an answer cites.

    Args:
        documents: Where documents and the history of their labels are stored.
        clock: Tells the time.
    """

    def __init__(self, documents: DocumentStore, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock

    async def may_see(
        self,
        principal: Principal,
        collection_uid: str,
        passages: Iterable[str],
        answered: datetime,
    ) -> bool:
        """Say whether ``principal`` may read all that an answer cites.

        By the labels of then and by those of now: what was opened since may have been rewritten
        for it, and what was closed since is closed. Managing documents is not reading them.

        Args:
            principal: Who wants to see it.
            collection_uid: Of which collection.
            passages: Names of the passages that it cites, as they were numbered then.
            answered: When it was given, UTC.
        """
        for name in passages:
            cited = passage_name(name)
            try:
                then = await self._documents.labels_at(
                    collection_uid, cited.document, cited.ordinal, answered
                )
            except PassageNotFound:
                # A new version came between the search and the end of the answer.
                return False
            # Numbers of passages are those of one version, so of now the whole document counts.
            now = await self._documents.labels_at(
                collection_uid, cited.document, None, self._clock.now()
            )
            if then is None or now is None:
                return False
            if now.version == then.version:
                now = await self._documents.labels_at(
                    collection_uid, cited.document, cited.ordinal, self._clock.now()
                )
            if now is None or not (_reads(principal, then) and _reads(principal, now)):
                return False
        return True


def _reads(principal: Principal, labels: LabelsThen) -> bool:
    may_read = principal.allow_set.may_read
    return may_read(labels.document) and all(may_read(one) for one in labels.sections)
