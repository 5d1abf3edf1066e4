"""Find the passages that answer a query, of those that the asker may read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from atrium_knowledge.app.access_classes import AccessClasses
from atrium_knowledge.app.encode import NO_ENCODER, is_absence
from atrium_knowledge.app.ports import PassageIndex, SearchOutcome, View
from atrium_knowledge.app.stores import (
    CollectionStore,
    DocumentStore,
    StoredPassage,
)
from atrium_knowledge.domain.collections import Collection, VectorSpace
from atrium_knowledge.domain.documents import Revision
from atrium_knowledge.domain.errors import check_question_length
from atrium_knowledge.domain.fusion import Fused, Scored, fuse
from atrium_knowledge.domain.keywords import query_vector
from atrium_knowledge.domain.names import document_name
from atrium_knowledge.domain.passages import Hit, Passage
from atrium_knowledge.domain.terms import query_terms
from atrium_shared.errors import AtriumError
from atrium_shared.models import Embedder
from atrium_shared.principal import Principal

LEG_DEPTH: Final = 50
"""Best passages that each leg contributes."""


class SearchPassages:
    """Hybrid search: keywords and vectors, fused by score. Implements ``ports.PassageSearch``.

    The index sees the asker's access classes inside each leg, so nothing depends on other
    passages; then the records are asked again, so that nothing is shown that was deleted,
    replaced or relabelled while the search ran.

    Args:
        collections: Where collections are stored.
        documents: Where passages are stored.
        index: Where passages are found.
        classes: What the asker may read.
        embedder: Makes the query's vector.
        on_other_space: Told the uid of a collection whose vectors another encoder made.
    """

    def __init__(
        self,
        collections: CollectionStore,
        documents: DocumentStore,
        index: PassageIndex,
        classes: AccessClasses,
        embedder: Embedder,
        on_other_space: Callable[[str], None],
    ) -> None:
        self._collections = collections
        self._documents = documents
        self._index = index
        self._classes = classes
        self._embedder = embedder
        self._on_other_space = on_other_space

    async def search(
        self, principal: Principal, collection: Collection, query: str, limit: int
    ) -> SearchOutcome:
        """Return the passages that answer ``query`` best, of those that ``principal`` may read."""
        check_question_length(query, "query")
        view, encoded = await asyncio.gather(
            self._view(principal, collection), self._encode(principal, collection, query)
        )
        vector, space, tokens, reason = encoded
        keyword, nearest = await asyncio.gather(
            self._index.find_keywords(
                collection.uid, query_vector(query_terms(query)), view, LEG_DEPTH
            ),
            self._nearest(collection.uid, vector, space, view),
        )
        return SearchOutcome(
            hits=await self._hits(view, fuse(keyword, nearest), limit),
            query_vector=vector,
            encoder_tokens=tokens,
            degraded=bool(reason),
            degraded_reason=reason,
        )

    async def context_of(self, principal: Principal, passage: Passage) -> tuple[Passage, ...]:
        """Return the permitted passages of the same section, ``passage`` among them, in order."""
        name = document_name(passage.document)
        collection = await self._collections.get(principal.tenant, name.collection)
        revision = await self._documents.shown(collection.uid, name.document)
        if revision is None or revision.version != passage.version:
            return ()
        permitted = await self._classes.permitted(principal, collection.uid)
        return tuple(
            to_passage(one, revision)
            for one in await self._documents.section(revision.seq, passage.section_path)
            if one.access_class in permitted
        )

    async def _view(self, principal: Principal, collection: Collection) -> View:
        return View(
            classes=await self._classes.permitted(principal, collection.uid),
            hidden=await self._documents.hidden(collection.uid),
        )

    async def _encode(
        self, principal: Principal, collection: Collection, query: str
    ) -> tuple[NDArray[np.float32] | None, VectorSpace | None, int, str]:
        """Return the query's vector, its space, tokens, and why there is none."""
        try:
            embedding = await self._embedder.embed(principal, [query], "query")
        except AtriumError as error:
            if not is_absence(error):
                raise
            if error.reason == NO_ENCODER:
                return None, None, 0, "There is no encoder: searched by keywords alone."
            return None, None, 0, "The encoder does not answer: searched by keywords alone."
        space = VectorSpace.of(embedding)
        if collection.space is None:
            await self._collections.adopt_space(collection.uid, space)
        if collection.space != space:
            self._on_other_space(collection.uid)
        if collection.space not in (None, space):
            reason = "The encoder was changed, and its index is being made: keywords alone."
            return None, None, embedding.tokens, reason
        return embedding.vectors[0], space, embedding.tokens, ""

    async def _nearest(
        self,
        shard: str,
        vector: NDArray[np.float32] | None,
        space: VectorSpace | None,
        view: View,
    ) -> list[Scored]:
        if vector is None or space is None:
            return []
        return await self._index.find_vectors(shard, vector, space, view, LEG_DEPTH)

    async def _hits(self, view: View, fused: list[Fused], limit: int) -> tuple[Hit, ...]:
        hits: list[Hit] = []
        while fused and len(hits) < limit:
            part, fused = fused[: limit - len(hits)], fused[limit - len(hits) :]
            stored = await self._documents.passages_by_point([one.point for one in part])
            for one in part:
                found = stored.get(one.point)
                if found is not None and found[0].access_class in view.classes:
                    hits.append(
                        Hit(
                            passage=to_passage(*found),
                            score=one.score,
                            keyword_rank=one.keyword_rank,
                            vector_rank=one.vector_rank,
                            similarity=one.similarity,
                        )
                    )
        return tuple(hits)


def to_passage(stored: StoredPassage, revision: Revision) -> Passage:
    """Return a stored passage as it is shown."""
    return Passage(
        name=f"{revision.document}/passages/{stored.ordinal}",
        document=revision.document,
        document_title=revision.title,
        section_path=stored.section_path,
        text=stored.text,
        start=stored.start,
        end=stored.end,
        page=stored.page,
        version=revision.version,
        paragraph=stored.paragraph,
        language=stored.language,
    )
