"""Put passages of a revision into the index: keywords, vectors, access class."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atrium_knowledge.app.encode import Encode
from atrium_knowledge.app.locks import CollectionLocks
from atrium_knowledge.app.ports import IndexPoint, PassageIndex
from atrium_knowledge.app.stores import DocumentStore, StoredPassage
from atrium_knowledge.domain.collections import VectorSpace
from atrium_knowledge.domain.documents import Revision, RevisionState
from atrium_knowledge.domain.keywords import passage_vector
from atrium_knowledge.domain.terms import index_terms
from atrium_shared.principal import Principal


@dataclass(frozen=True, slots=True)
class Indexed:
    """What indexing some passages took."""

    count: int
    space: VectorSpace | None
    encode_seconds: float
    index_seconds: float
    tokens: int


class IndexPassages:
    """Encodes passages and writes them to the index."""

    def __init__(
        self,
        documents: DocumentStore,
        index: PassageIndex,
        encode: Encode,
        locks: CollectionLocks,
    ) -> None:
        self._documents = documents
        self._index = index
        self._encode = encode
        self._locks = locks

    async def __call__(
        self,
        principal: Principal,
        revision: Revision,
        first: int,
        count: int,
        states: Collection[RevisionState],
    ) -> Indexed | None:
        """Index ``count`` passages from an ordinal on. Doing it again changes nothing.

        Args:
            principal: On whose account the encoder works.
            revision: Whose passages.
            first: Ordinal of the first, from 1.
            count: How many.
            states: In which the revision must be.

        Returns:
            What it took; ``None`` when the revision is gone or in another state by now.
        """
        seq = revision.seq
        passages = await self._documents.passages(seq, first, count)
        texts = [indexed_text(revision.title, passage) for passage in passages]
        encoded = await self._encode(principal, texts)
        began = time.perf_counter()
        keywords = await asyncio.to_thread(
            lambda: [passage_vector(index_terms(text)) for text in texts]
        )
        # Under the lock neither can the labels change between reading and writing them, nor the
        # revision end and its points be removed before these are written.
        async with self._locks.of(revision.collection_uid):
            now = await self._documents.revision(seq)
            if now is None or now.state not in states:
                return None
            current = await self._documents.passages(seq, first, count)
            points = [
                IndexPoint(passage.point, seq, passage.access_class, weights, vector)
                for passage, weights, vector in zip(
                    current, keywords, _rows(encoded.vectors, len(current)), strict=True
                )
            ]
            await self._index.upsert(revision.collection_uid, points, encoded.space)
        return Indexed(
            count=len(points),
            space=encoded.space,
            encode_seconds=encoded.seconds,
            index_seconds=time.perf_counter() - began,
            tokens=encoded.tokens,
        )


def indexed_text(title: str, passage: StoredPassage) -> str:
    """Return what is searched for a passage: where it stands, and its text."""
    path = [title, *(heading for heading in passage.section_path if heading != title)]
    return "\n".join([" > ".join(part for part in path if part), passage.text])


def _rows(vectors: NDArray[np.float32] | None, count: int) -> Sequence[NDArray[np.float32] | None]:
    return [None] * count if vectors is None else list(vectors)
