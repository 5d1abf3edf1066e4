"""Restricted topics with the vectors of their examples."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from atrium_knowledge.app.encode import Encode, Encoded
from atrium_knowledge.app.stores import CollectionStore, TopicVectors
from atrium_knowledge.domain.collections import Collection, RestrictedTopic
from atrium_knowledge.domain.topics import CompiledTopic
from atrium_shared.principal import Principal

_COLLECTIONS_KEPT: Final = 1000
_TEXTS_AT_ONCE: Final = 2000
"""More texts than this are encoded after the call that sets them; keywords hold meanwhile."""


class CompileTopics:
    """Encodes topics when they are set, and hands them out. Implements ``ports.TopicSource``."""

    def __init__(self, collections: CollectionStore, encode: Encode) -> None:
        self._collections = collections
        self._encode = encode
        self._compiled: OrderedDict[tuple[object, ...], tuple[CompiledTopic, ...]] = OrderedDict()

    async def compiled(self, collection: Collection) -> tuple[CompiledTopic, ...]:
        """Return the topics, with vectors in the collection's space where there are any."""
        topics = collection.restricted_topics
        if not topics:
            return ()
        key = (collection.uid, collection.revision, collection.space)
        known = self._compiled.get(key)
        if known is not None:
            self._compiled.move_to_end(key)
            return known
        stored = await self._collections.topics(collection.uid)
        if not is_current(stored, collection):
            return tuple(_compile(topic, None, 0) for topic in topics)
        compiled: list[CompiledTopic] = []
        row = 0
        for topic in topics:
            compiled.append(_compile(topic, stored, row))
            row += len(_texts(topic))
        self._compiled[key] = tuple(compiled)
        if len(self._compiled) > _COLLECTIONS_KEPT:
            self._compiled.popitem(last=False)
        return tuple(compiled)

    async def encode(self, principal: Principal, collection: Collection) -> None:
        """Encode and store the topics of a collection that were just set.

        Without an encoder, or with one other than the collection's, they stay without vectors
        until the index has them too.
        """
        if len(texts_of(collection.restricted_topics)) > _TEXTS_AT_ONCE:
            return
        vectors = await self.vectors(principal, collection.restricted_topics)
        if vectors is None:
            return
        if collection.space is None:
            await self._collections.adopt_space(collection.uid, vectors.space)
        if collection.space in (None, vectors.space):
            await self._collections.save_topics(collection.uid, vectors)

    async def vectors(
        self, principal: Principal, topics: Sequence[RestrictedTopic]
    ) -> TopicVectors | None:
        """Return the vectors of topics; ``None`` without an encoder or without topics."""
        texts = texts_of(topics)
        # Examples are questions, and are compared with questions.
        encoded: Encoded | None = await self._encode(principal, texts, "query") if texts else None
        if encoded is None or encoded.vectors is None or encoded.space is None:
            return None
        return TopicVectors(encoded.space, fingerprint(topics), encoded.vectors)


def is_current(stored: TopicVectors | None, collection: Collection) -> bool:
    """Say whether stored vectors are those of the collection's topics, in its space."""
    return (
        stored is not None
        and stored.space == collection.space
        and stored.fingerprint == fingerprint(collection.restricted_topics)
    )


def fingerprint(topics: Sequence[RestrictedTopic]) -> str:
    """Return what tells one list of topics' texts from another."""
    return hashlib.sha256(json.dumps([_texts(topic) for topic in topics]).encode()).hexdigest()


def texts_of(topics: Sequence[RestrictedTopic]) -> list[str]:
    """Return all texts of topics, in the order in which their vectors are stored."""
    return [text for topic in topics for text in _texts(topic)]


def _texts(topic: RestrictedTopic) -> list[str]:
    return [topic.description, *topic.examples, *topic.counter_examples]


def _compile(topic: RestrictedTopic, stored: TopicVectors | None, row: int) -> CompiledTopic:
    middle = row + 1 + len(topic.examples)
    end = row + len(_texts(topic))
    return CompiledTopic(
        id=topic.id,
        description=topic.description,
        labels=topic.labels,
        refusals=dict(topic.refusals),
        examples=topic.examples,
        counter_examples=topic.counter_examples,
        vectors=stored.vectors[row:middle] if stored else None,
        counter_vectors=stored.vectors[middle:end] if stored else None,
    )
