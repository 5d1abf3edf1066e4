"""Answers and feedback in the relational database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_knowledge.adapters import tables
from atrium_knowledge.domain.answers import AnswerRecord, Decision, Feedback
from atrium_knowledge.domain.errors import AnswerNotFound, CollectionNotFound
from atrium_knowledge.domain.names import passage_name
from atrium_shared.database import Database
from atrium_shared.engines import Engine, EngineKind

_ANSWERS = tables.answers
_CITED = tables.answer_documents


class SqlAnswers:
    """Implements ``stores.AnswerStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, record: AnswerRecord) -> None:
        """Add an answer, and which documents it cites, so that it can go with them."""
        try:
            await self._save(record)
        except IntegrityError as error:
            raise CollectionNotFound("of this answer") from error

    async def _save(self, record: AnswerRecord) -> None:
        async with self._database.write() as session:
            await session.execute(
                sa.insert(_ANSWERS).values(
                    tenant=record.tenant,
                    id=record.id,
                    collection_uid=record.collection_uid,
                    subject=record.subject,
                    decision=record.decision,
                    engine=asdict(record.engine),
                    passages=list(record.passages),
                    policy_version=record.policy_version,
                    has_feedback=False,
                    create_time=record.create_time,
                )
            )
            cited = {passage_name(passage).document for passage in record.passages}
            if cited:
                await session.execute(
                    sa.insert(_CITED),
                    [
                        {
                            "tenant": record.tenant,
                            "answer_id": record.id,
                            "document_id": document,
                            "collection_uid": record.collection_uid,
                        }
                        for document in sorted(cited)
                    ],
                )

    async def get(self, tenant: str, answer_id: str) -> AnswerRecord:
        """Return an answer."""
        query = sa.select(_ANSWERS).where(_ANSWERS.c.tenant == tenant, _ANSWERS.c.id == answer_id)
        async with self._database.read() as session:
            row = (await session.execute(query)).one_or_none()
        if row is None:
            raise AnswerNotFound(f"answers/{answer_id}")
        return AnswerRecord(
            tenant=row.tenant,
            id=row.id,
            subject=row.subject,
            collection_uid=row.collection_uid,
            decision=Decision(row.decision),
            engine=_engine(row.engine),
            passages=tuple(row.passages),
            policy_version=row.policy_version,
            create_time=row.create_time,
        )

    async def save_feedback(self, feedback: Feedback) -> None:
        """Add what somebody thinks of an answer.

        With its words where the collection keeps them and no source has gone.
        """
        try:
            async with self._database.write() as session:
                exchange = feedback.exchange
                if exchange is not None and not (
                    await _keeps_questions(session, feedback)
                    and await _sources_stand(session, feedback)
                ):
                    exchange = None
                await session.execute(
                    sa.insert(tables.feedback).values(
                        tenant=feedback.tenant,
                        id=feedback.id,
                        answer_id=feedback.answer_id,
                        subject=feedback.subject,
                        rating=feedback.rating,
                        comment=feedback.comment,
                        question=exchange.question if exchange else None,
                        answer=exchange.answer if exchange else None,
                        question_hash=feedback.question_hash or None,
                        create_time=feedback.create_time,
                    )
                )
                await session.execute(
                    sa.update(_ANSWERS)
                    .where(
                        _ANSWERS.c.tenant == feedback.tenant, _ANSWERS.c.id == feedback.answer_id
                    )
                    .values(has_feedback=True)
                )
        except IntegrityError as error:
            # Its document was deleted while the feedback was on its way.
            raise AnswerNotFound(f"answers/{feedback.answer_id}") from error

    async def forget(self, before: datetime) -> None:
        """Remove old answers that nobody gave feedback on."""
        async with self._database.write() as session:
            await session.execute(
                sa.delete(_ANSWERS).where(
                    _ANSWERS.c.create_time < before, _ANSWERS.c.has_feedback.is_(False)
                )
            )


async def _keeps_questions(session: AsyncSession, feedback: Feedback) -> bool:
    """Say whether the collection keeps words now; until the end of the transaction it does."""
    collections = tables.collections
    query = (
        sa.select(collections.c.keep_questions)
        .join(_ANSWERS, _ANSWERS.c.collection_uid == collections.c.uid)
        .where(_ANSWERS.c.tenant == feedback.tenant, _ANSWERS.c.id == feedback.answer_id)
        .with_for_update(read=True, of=collections)
    )
    return bool(await session.scalar(query))


async def _sources_stand(session: AsyncSession, feedback: Feedback) -> bool:
    """Say whether every document that the answer cites still exists."""
    documents = tables.documents
    gone = (
        sa.select(_CITED.c.document_id)
        .outerjoin(
            documents,
            sa.and_(
                documents.c.collection_uid == _CITED.c.collection_uid,
                documents.c.id == _CITED.c.document_id,
            ),
        )
        .where(
            _CITED.c.tenant == feedback.tenant,
            _CITED.c.answer_id == feedback.answer_id,
            documents.c.uid.is_(None),
        )
    )
    return (await session.execute(gone.limit(1))).one_or_none() is None


def _engine(values: Mapping[str, Any]) -> Engine:
    return Engine(**{**values, "kind": EngineKind(values["kind"])})
