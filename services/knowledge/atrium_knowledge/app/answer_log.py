"""Answers that were given, so that feedback can be given on them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from atrium_knowledge.app.stores import AnswerStore
from atrium_knowledge.domain.answers import AnswerRecord, Exchange
from atrium_knowledge.domain.names import DocumentName, passage_name
from atrium_shared.clock import Clock

_KEPT: Final = 5000
_KEPT_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class _Recent:
    exchange: Exchange
    subject: str
    until: float
    collection_uid: str
    documents: frozenset[DocumentName]


class RecentAnswers:
    """Stores answers; holds what was said in memory for an hour. Implements ``ports.AnswerLog``.

    So the words of a question reach the disk only when somebody says that its answer did not help,
    and the collection keeps questions; feedback that comes later, or to another replica, is stored
    without them.
    """

    def __init__(self, answers: AnswerStore, clock: Clock) -> None:
        self._answers = answers
        self._clock = clock
        self._recent: OrderedDict[tuple[str, str], _Recent] = OrderedDict()

    async def save(self, record: AnswerRecord, exchange: Exchange) -> None:
        """Store ``record``; keep ``exchange`` in memory only.

        Raises:
            CollectionNotFound: The collection was deleted meanwhile.
        """
        await self._answers.save(record)
        self._recent[record.tenant, record.id] = _Recent(
            exchange,
            record.subject,
            self._clock.monotonic() + _KEPT_SECONDS,
            record.collection_uid,
            frozenset(_document(passage) for passage in record.passages),
        )
        self._drop_old()

    def exchange(self, tenant: str, answer_id: str) -> Exchange | None:
        """Return what was said, where it is still known."""
        self._drop_old()
        recent = self._recent.get((tenant, answer_id))
        return None if recent is None else recent.exchange

    def forget_collection(self, collection_uid: str) -> None:
        """Forget what was said about a collection."""
        for key, recent in list(self._recent.items()):
            if recent.collection_uid == collection_uid:
                del self._recent[key]

    def forget_user(self, tenant: str, user: str) -> None:
        """Forget what was said to a user."""
        for key, recent in list(self._recent.items()):
            if key[0] == tenant and recent.subject == user:
                del self._recent[key]

    def forget_document(self, collection_uid: str, document: DocumentName) -> None:
        """Forget answers that cite a document."""
        for key, recent in list(self._recent.items()):
            if recent.collection_uid == collection_uid and document in recent.documents:
                del self._recent[key]

    def _drop_old(self) -> None:
        now = self._clock.monotonic()
        while self._recent:
            oldest = next(iter(self._recent.values()))
            if oldest.until > now and len(self._recent) <= _KEPT:
                return
            self._recent.popitem(last=False)


def _document(passage: str) -> DocumentName:
    name = passage_name(passage)
    return DocumentName(name.collection, name.document)
