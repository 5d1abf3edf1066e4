"""Keep each collection's index complete: every searchable passage in it, with current vectors.

This needs no job records. What is missing is read off the records and the index, so work that a
crash interrupts is simply found again: vectors of documents that came while there was no encoder,
those of an encoder that has since been replaced, and points of an index folder that was lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Final

import structlog

from atrium_knowledge.app.compile_topics import CompileTopics, is_current
from atrium_knowledge.app.encode import BATCH, Encode
from atrium_knowledge.app.index_passages import IndexPassages, indexed_text
from atrium_knowledge.app.locks import CollectionLocks
from atrium_knowledge.app.ports import Delegation, PassageIndex
from atrium_knowledge.app.stores import (
    AnswerStore,
    CollectionStore,
    DocumentStore,
    LiveRevision,
)
from atrium_knowledge.domain.collections import Collection, VectorSpace
from atrium_knowledge.domain.documents import RevisionState
from atrium_shared.clock import Clock
from atrium_shared.errors import AtriumError, Denied
from atrium_shared.principal import Principal
from atrium_shared.tasks import repeat

_LIVE: Final = (RevisionState.LIVE,)
_PROBE: Final = "encoder"

_log = structlog.get_logger(__name__)


class KeepIndex:
    """Looks after all collections at the start, when told, and from time to time.

    Args:
        collections: Where collections are stored.
        documents: Where documents are stored.
        answers: Where answers are stored; old ones are forgotten.
        index: Where passages are found.
        index_passages: Encodes and writes passages.
        encode: Makes vectors.
        topics: Makes vectors of restricted topics.
        delegation: Says on whose account the encoder works.
        locks: One writer a collection.
        clock: Tells the time.
        every_seconds: From time to time.
        answers_kept: How long answers without feedback are kept.
    """

    def __init__(
        self,
        collections: CollectionStore,
        documents: DocumentStore,
        answers: AnswerStore,
        index: PassageIndex,
        index_passages: IndexPassages,
        encode: Encode,
        topics: CompileTopics,
        delegation: Delegation,
        locks: CollectionLocks,
        clock: Clock,
        *,
        every_seconds: float,
        answers_kept: timedelta,
    ) -> None:
        self._collections = collections
        self._documents = documents
        self._answers = answers
        self._index = index
        self._index_passages = index_passages
        self._encode = encode
        self._topics = topics
        self._delegation = delegation
        self._locks = locks
        self._clock = clock
        self._every_seconds = every_seconds
        self._answers_kept = answers_kept
        self._told: set[str] = set()
        self._started = False
        self._unprobed: set[str] = set()
        self._wake = asyncio.Event()

    def tell(self, collection_uid: str) -> None:
        """Have a collection looked after soon: its encoder seems to have changed."""
        self._told.add(collection_uid)
        self._wake.set()

    async def run(self) -> None:
        """Look after everything until cancelled."""
        await repeat(
            self._look, self._every_seconds, failed="indexes not looked after", wake=self._wake
        )

    async def _look(self) -> None:
        await self.once(probe=not self._started)
        self._started = True

    async def once(self, *, probe: bool) -> None:
        """Look after every collection once.

        Args:
            probe: Ask for the encoder of collections in which nothing seems to be missing, too,
                and compare their index with the records.
        """
        await self._answers.forget(self._clock.now() - self._answers_kept)
        collections = await self._collections.list_all()
        told, self._told = self._told, set()
        unprobed, self._unprobed = self._unprobed, set()
        for collection, actor, on_behalf_of in collections:
            uid = collection.uid
            probing, was_told = probe or uid in unprobed, uid in told
            try:
                await self._index.flush(uid)
                if probing:
                    await self._drop_strangers(collection)
                await self._look_after(
                    collection, actor, on_behalf_of, probe=probing, told=was_told
                )
            except Exception as error:  # whatever ails one collection must not stop the others
                if isinstance(error, AtriumError):
                    _log.warning("index not complete", collection=uid, reason=error.reason)
                else:
                    _log.exception("index not complete", collection=uid)
                # Nothing is lost by waiting for the next time, which does what this one should.
                if probing:
                    self._unprobed.add(uid)
                if was_told:
                    self._told.add(uid)

    async def _look_after(
        self,
        collection: Collection,
        actor: str,
        on_behalf_of: str | None,
        *,
        probe: bool,
        told: bool,
    ) -> None:
        live = await self._documents.live(collection.uid)
        lost = await self._lost(collection, live) if probe else []
        vectorless = any(
            one.space is None or one.space != collection.space for one in live.values()
        )
        topicless = bool(collection.restricted_topics) and not is_current(
            await self._collections.topics(collection.uid), collection
        )
        if not (lost or vectorless or topicless or told or (probe and live)):
            return
        principal = await self._principal(collection, actor, on_behalf_of)
        for seq in lost:
            await self._restore(principal, seq)
        await self._complete(principal, collection, topicless=topicless)

    async def _principal(
        self, collection: Collection, actor: str, on_behalf_of: str | None
    ) -> Principal:
        """Return who pays: whoever set the collection up, else one of its uploaders."""
        try:
            return await self._delegation.delegate(collection.tenant, actor, on_behalf_of)
        except Denied as refusal:
            for user in await self._documents.uploaders(collection.uid):
                with suppress(Denied):
                    return await self._delegation.delegate(collection.tenant, *user)
            raise refusal

    async def _complete(
        self, principal: Principal, collection: Collection, *, topicless: bool
    ) -> None:
        """Give every searchable passage and topic vectors of the encoder that there is now."""
        target = (await self._encode(principal, [_PROBE])).space
        if target is None:
            return
        changed = collection.space != target
        while stale := [
            seq
            for seq, one in (await self._documents.live(collection.uid)).items()
            if one.space != target
        ]:
            for seq in stale:
                if not await self._encode_again(principal, seq, target):
                    return
        if not (changed or topicless):
            return
        topics = await self._topics.vectors(principal, collection.restricted_topics)
        if collection.restricted_topics and (topics is None or topics.space != target):
            return
        old = await self._collections.switch_space(collection.uid, target, topics)
        if old is not None and old != target:
            async with self._locks.of(collection.uid):
                await self._index.remove_space(collection.uid, old)
        _log.info("vectors complete", collection=collection.uid, encoder=target.encoder)

    async def _encode_again(self, principal: Principal, seq: int, target: VectorSpace) -> bool:
        """Add vectors of ``target`` to a revision's points; say whether that came to its end."""
        revision = await self._documents.revision(seq)
        if revision is None:
            return True
        for first in range(1, revision.passage_count + 1, BATCH):
            passages = await self._documents.passages(revision.seq, first, BATCH)
            texts = [indexed_text(revision.title, passage) for passage in passages]
            encoded = await self._encode(principal, texts)
            if texts and (encoded.vectors is None or encoded.space != target):
                return False
            if encoded.vectors is not None:
                vectors = {
                    passage.point: vector
                    for passage, vector in zip(passages, encoded.vectors, strict=True)
                }
                async with self._locks.of(revision.collection_uid):
                    await self._index.set_vectors(revision.collection_uid, vectors, target)
        async with self._locks.of(revision.collection_uid):
            await self._index.flush(revision.collection_uid)
            await self._documents.set_space(revision.seq, target)
        return True

    async def _lost(self, collection: Collection, live: Mapping[int, LiveRevision]) -> list[int]:
        there = await self._index.revisions(collection.uid)
        return [seq for seq, one in live.items() if there.get(seq, 0) != one.passage_count]

    async def _restore(self, principal: Principal, seq: int) -> None:
        """Write the points of a revision that the index has lost."""
        revision = await self._documents.revision(seq)
        if revision is None:
            return
        spaces: set[VectorSpace | None] = set()
        for first in range(1, revision.passage_count + 1, BATCH):
            indexed = await self._index_passages(principal, revision, first, BATCH, _LIVE)
            if indexed is None:
                return
            spaces.add(indexed.space)
        space = spaces.pop() if len(spaces) == 1 else None
        await self._documents.set_space(revision.seq, space)
        _log.warning("points restored", document=revision.document, revision=revision.seq)

    async def _drop_strangers(self, collection: Collection) -> None:
        """Remove points of revisions that the records do not know, as after a restored backup."""
        async with self._locks.of(collection.uid):
            there = await self._index.revisions(collection.uid)
            known = await self._documents.live(collection.uid)
            strangers = there.keys() - known.keys() - await self._documents.hidden(collection.uid)
            if strangers:
                await self._index.remove_revisions(collection.uid, strangers)
                _log.warning("unknown points removed", collection=collection.uid)
