"""Collections in the relational database."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_knowledge.adapters import tables
from atrium_knowledge.app.stores import Purge, TopicVectors
from atrium_knowledge.domain.access import AccessRule
from atrium_knowledge.domain.collections import Collection, RestrictedTopic, VectorSpace
from atrium_knowledge.domain.documents import RevisionState, folder
from atrium_knowledge.domain.errors import (
    CollectionChanged,
    CollectionExists,
    CollectionNotFound,
)
from atrium_shared.database import Database
from atrium_shared.operations import OperationStore

_COLLECTIONS = tables.collections
_CLASSES = tables.access_classes
_TOPICS = tables.topic_vectors
_REVISIONS = tables.revisions

_REVISIONS_PER_PURGE: Final = 200


class SqlCollections:
    """Implements ``stores.CollectionStore``.

    Args:
        database: The service's database.
        operations: Ends what is under way in a collection that is deleted.
    """

    def __init__(self, database: Database, operations: OperationStore) -> None:
        self._database = database
        self._operations = operations

    async def create(self, collection: Collection, actor: str, on_behalf_of: str | None) -> None:
        """Add a collection."""
        try:
            async with self._database.write() as session:
                await session.execute(
                    sa.insert(_COLLECTIONS).values(
                        uid=collection.uid,
                        tenant=collection.tenant,
                        id=collection.id,
                        display_name=collection.display_name,
                        revision=collection.revision,
                        topics=[_topic_to_json(topic) for topic in collection.restricted_topics],
                        versions_kept=collection.versions_kept,
                        keep_questions=collection.keep_questions,
                        encoder="",
                        dimensions=0,
                        actor=actor,
                        on_behalf_of=on_behalf_of,
                        create_time=collection.create_time,
                    )
                )
        except IntegrityError as error:
            raise CollectionExists(collection.name) from error

    async def get(self, tenant: str, collection_id: str) -> Collection:
        """Return a collection of a tenant."""
        async with self._database.read() as session:
            return _to_collection(await _row(session, tenant, collection_id))

    async def list(self, tenant: str, after: str, limit: int) -> Sequence[Collection]:
        """Return the collections whose ids follow ``after``."""
        query = (
            sa.select(_COLLECTIONS)
            .where(_COLLECTIONS.c.tenant == tenant, _COLLECTIONS.c.id > after)
            .order_by(_COLLECTIONS.c.id)
            .limit(limit)
        )
        async with self._database.read() as session:
            return [_to_collection(row) for row in await session.execute(query)]

    async def list_all(self) -> Sequence[tuple[Collection, str, str | None]]:
        """Return the collections of all tenants, each with who last changed it."""
        async with self._database.read() as session:
            rows = await session.execute(sa.select(_COLLECTIONS).order_by(_COLLECTIONS.c.uid))
            return [(_to_collection(row), row.actor, row.on_behalf_of) for row in rows]

    async def update(
        self,
        tenant: str,
        collection_id: str,
        *,
        etag: str,
        display_name: str | None,
        topics: tuple[RestrictedTopic, ...] | None,
        versions_kept: int | None,
        keep_questions: bool | None,
        actor: str,
        on_behalf_of: str | None,
    ) -> tuple[Collection, Sequence[Purge]]:
        """Change what is not ``None``."""
        purges: Sequence[Purge] = ()
        async with self._database.write() as session:
            before = _to_collection(await _row(session, tenant, collection_id, lock=True))
            if etag and etag != before.etag:
                raise CollectionChanged(before.name, before.etag, etag)
            values: dict[str, Any] = {"revision": before.revision + 1}
            if display_name is not None:
                values["display_name"] = display_name
            if topics is not None:
                values["topics"] = [_topic_to_json(topic) for topic in topics]
                values |= {"actor": actor, "on_behalf_of": on_behalf_of}
            if versions_kept is not None:
                values["versions_kept"] = versions_kept
                purges = await drop_old_texts(session, before.uid, versions_kept)
            if keep_questions is not None:
                values["keep_questions"] = keep_questions
            if keep_questions is False:
                await session.execute(_forget_words(before.uid))
            await session.execute(
                sa.update(_COLLECTIONS).where(_COLLECTIONS.c.uid == before.uid).values(**values)
            )
            return _to_collection(await _row(session, tenant, collection_id)), purges

    async def delete(self, tenant: str, collection_id: str) -> Purge:
        """Remove a collection's records."""
        async with self._database.write() as session:
            collection = _to_collection(await _row(session, tenant, collection_id, lock=True))
            under_way = await session.execute(
                sa.select(_REVISIONS.c.operation_id).where(
                    _REVISIONS.c.collection_uid == collection.uid,
                    _REVISIONS.c.state == RevisionState.PROCESSING,
                )
            )
            for operation_id in under_way.scalars().all():
                await self._operations.fail(
                    self._operations.name(operation_id),
                    CollectionNotFound(collection.name),
                    session=session,
                )
            await session.execute(
                sa.delete(tables.purges).where(tables.purges.c.collection_uid == collection.uid)
            )
            purge = await insert_purge(
                session, collection.uid, (), (f"{tenant}/{collection.uid}",), whole=True
            )
            await session.execute(
                sa.delete(_COLLECTIONS).where(_COLLECTIONS.c.uid == collection.uid)
            )
            return purge

    async def adopt_space(self, uid: str, space: VectorSpace) -> None:
        """Set the space of a collection that has none."""
        async with self._database.write() as session:
            await session.execute(
                sa.update(_COLLECTIONS)
                .where(_COLLECTIONS.c.uid == uid, _COLLECTIONS.c.encoder == "")
                .values(encoder=space.encoder, dimensions=space.dimensions)
            )

    async def switch_space(
        self, uid: str, space: VectorSpace, topics: TopicVectors | None
    ) -> VectorSpace | None:
        """Make ``space`` the collection's."""
        async with self._database.write() as session:
            row = (
                await session.execute(sa.select(_COLLECTIONS).where(_COLLECTIONS.c.uid == uid))
            ).one_or_none()
            if row is None:
                return None
            await session.execute(
                sa.update(_COLLECTIONS)
                .where(_COLLECTIONS.c.uid == uid)
                .values(encoder=space.encoder, dimensions=space.dimensions)
            )
            await _replace_topics(session, uid, topics)
            return space_of(row)

    async def save_topics(self, uid: str, vectors: TopicVectors) -> None:
        """Replace the vectors of a collection's topics."""
        async with self._database.write() as session:
            exists = await session.execute(
                sa.select(_COLLECTIONS.c.uid).where(_COLLECTIONS.c.uid == uid)
            )
            if exists.one_or_none() is not None:
                await _replace_topics(session, uid, vectors)

    async def topics(self, uid: str) -> TopicVectors | None:
        """Return the vectors of a collection's topics."""
        async with self._database.read() as session:
            row = (
                await session.execute(sa.select(_TOPICS).where(_TOPICS.c.collection_uid == uid))
            ).one_or_none()
        if row is None:
            return None
        vectors = np.frombuffer(row.vectors, dtype="<f4").reshape(-1, row.dimensions)
        return TopicVectors(VectorSpace(row.encoder, row.dimensions), row.fingerprint, vectors)

    async def access_rules(self, uid: str, after: int) -> Mapping[int, AccessRule]:
        """Return the access classes that are numbered higher than ``after``."""
        query = sa.select(_CLASSES.c.id, _CLASSES.c.rule).where(
            _CLASSES.c.collection_uid == uid, _CLASSES.c.id > after
        )
        async with self._database.read() as session:
            return {row.id: AccessRule.of(row.rule) for row in await session.execute(query)}


async def intern_rules(
    session: AsyncSession, collection_uid: str, rules: Iterable[AccessRule]
) -> dict[AccessRule, int]:
    """Return the access class of each rule, making those that do not exist yet, from 1."""
    # Two writers must not give one number away twice.
    await session.execute(
        sa.select(_COLLECTIONS.c.uid).where(_COLLECTIONS.c.uid == collection_uid).with_for_update()
    )
    wanted = {_rule_hash(rule): rule for rule in rules}
    rows = await session.execute(
        sa.select(_CLASSES.c.rule_hash, _CLASSES.c.id).where(
            _CLASSES.c.collection_uid == collection_uid
        )
    )
    known: dict[str, int] = {row.rule_hash: row.id for row in rows}
    highest = max(known.values(), default=0)
    for key in sorted(wanted.keys() - known.keys()):
        highest += 1
        known[key] = highest
        await session.execute(
            sa.insert(_CLASSES).values(
                collection_uid=collection_uid,
                id=highest,
                rule=_rule_to_json(wanted[key]),
                rule_hash=key,
            )
        )
    return {rule: known[key] for key, rule in wanted.items()}


async def insert_purge(
    session: AsyncSession,
    collection_uid: str,
    revisions: Sequence[int],
    folders: Sequence[str],
    *,
    whole: bool = False,
) -> Purge:
    """Record what is left to do after the caller's transaction."""
    result = await session.execute(
        sa.insert(tables.purges)
        .values(
            collection_uid=collection_uid,
            revisions=list(revisions),
            folders=list(folders),
            whole=whole,
        )
        .returning(tables.purges.c.id)
    )
    return Purge(result.scalar_one(), collection_uid, tuple(revisions), tuple(folders), whole)


async def drop_old_texts(
    session: AsyncSession,
    collection_uid: str,
    versions_kept: int,
    document_uid: str | None = None,
) -> Sequence[Purge]:
    """Forget the texts of superseded versions that are over the number kept.

    Args:
        session: The caller's transaction.
        collection_uid: Which collection.
        versions_kept: How many superseded versions of a document keep theirs.
        document_uid: Of this document alone; ``None``: of all.

    Returns:
        What is left to do after the transaction.
    """
    place = sa.func.row_number().over(
        partition_by=_REVISIONS.c.document_uid, order_by=_REVISIONS.c.version.desc()
    )
    query = (
        sa.select(_REVISIONS.c.seq, _REVISIONS.c.uid, _COLLECTIONS.c.tenant, place.label("place"))
        .join(_COLLECTIONS, _COLLECTIONS.c.uid == _REVISIONS.c.collection_uid)
        .where(
            _REVISIONS.c.collection_uid == collection_uid,
            _REVISIONS.c.state == RevisionState.SUPERSEDED,
            _REVISIONS.c.text_kept,
        )
    )
    if document_uid is not None:
        query = query.where(_REVISIONS.c.document_uid == document_uid)
    superseded = query.subquery()
    rows = (
        await session.execute(sa.select(superseded).where(superseded.c.place > versions_kept))
    ).all()
    purges: list[Purge] = []
    for first in range(0, len(rows), _REVISIONS_PER_PURGE):
        part = rows[first : first + _REVISIONS_PER_PURGE]
        await session.execute(
            sa.update(_REVISIONS)
            .where(_REVISIONS.c.seq.in_([row.seq for row in part]))
            .values(text_kept=False)
        )
        folders = [folder(row.tenant, collection_uid, row.uid) for row in part]
        purges.append(await insert_purge(session, collection_uid, (), folders))
    return purges


def space_of(row: sa.Row[Any]) -> VectorSpace | None:
    """Return the space that columns ``encoder`` and ``dimensions`` name."""
    return VectorSpace(row.encoder, row.dimensions) if row.encoder else None


async def _row(
    session: AsyncSession, tenant: str, collection_id: str, *, lock: bool = False
) -> sa.Row[Any]:
    query = sa.select(_COLLECTIONS).where(
        _COLLECTIONS.c.tenant == tenant, _COLLECTIONS.c.id == collection_id
    )
    row = (await session.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise CollectionNotFound(f"collections/{collection_id}")
    return row


async def _replace_topics(session: AsyncSession, uid: str, vectors: TopicVectors | None) -> None:
    await session.execute(sa.delete(_TOPICS).where(_TOPICS.c.collection_uid == uid))
    if vectors is not None:
        await session.execute(
            sa.insert(_TOPICS).values(
                collection_uid=uid,
                encoder=vectors.space.encoder,
                dimensions=vectors.space.dimensions,
                fingerprint=vectors.fingerprint,
                vectors=vectors.vectors.astype("<f4").tobytes(),
            )
        )


def _forget_words(collection_uid: str) -> sa.Update:
    feedback, answers = tables.feedback, tables.answers
    of_collection = sa.select(answers.c.tenant, answers.c.id).where(
        answers.c.collection_uid == collection_uid
    )
    return (
        sa.update(feedback)
        .where(sa.tuple_(feedback.c.tenant, feedback.c.answer_id).in_(of_collection))
        .values(question=None, answer=None)
    )


def _to_collection(row: sa.Row[Any]) -> Collection:
    return Collection(
        tenant=row.tenant,
        id=row.id,
        uid=row.uid,
        display_name=row.display_name,
        create_time=row.create_time,
        revision=row.revision,
        restricted_topics=tuple(_topic_from_json(topic) for topic in row.topics),
        versions_kept=row.versions_kept,
        keep_questions=row.keep_questions,
        space=space_of(row),
    )


def _topic_to_json(topic: RestrictedTopic) -> dict[str, Any]:
    return {
        "id": topic.id,
        "description": topic.description,
        "examples": list(topic.examples),
        "counter_examples": list(topic.counter_examples),
        "labels": sorted(topic.labels),
        "refusals": dict(topic.refusals),
    }


def _topic_from_json(values: Mapping[str, Any]) -> RestrictedTopic:
    return RestrictedTopic(
        id=values["id"],
        description=values["description"],
        examples=tuple(values["examples"]),
        counter_examples=tuple(values["counter_examples"]),
        labels=frozenset(values["labels"]),
        refusals=values["refusals"],
    )


def _rule_to_json(rule: AccessRule) -> list[list[str]]:
    return [sorted(clause) for clause in rule.clauses]


def _rule_hash(rule: AccessRule) -> str:
    return hashlib.sha256(json.dumps(_rule_to_json(rule)).encode()).hexdigest()
