"""Conversations in the relational database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from atrium_knowledge.adapters import tables
from atrium_knowledge.domain.answers import Decision
from atrium_knowledge.domain.conversations import Conversation, Turn
from atrium_knowledge.domain.errors import CollectionNotFound, ConversationNotFound
from atrium_shared.database import Database

_CONVERSATIONS = tables.conversations
_TURNS = tables.conversation_turns
_COLLECTIONS = tables.collections


class SqlConversations:
    """Implements ``conversation_store.ConversationStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, conversation: Conversation) -> None:
        """Add a conversation."""
        try:
            async with self._database.write() as session:
                await session.execute(
                    sa.insert(_CONVERSATIONS).values(
                        tenant=conversation.tenant,
                        id=conversation.id,
                        collection_uid=conversation.collection_uid,
                        subject=conversation.subject,
                        turn_count=conversation.turn_count,
                        create_time=conversation.create_time,
                        use_time=conversation.use_time,
                    )
                )
        except IntegrityError as error:
            raise CollectionNotFound(conversation.collection) from error

    async def get(self, tenant: str, subject: str, conversation_id: str) -> Conversation:
        """Return a conversation of a user."""
        query = _select().where(*_of(tenant, subject), _CONVERSATIONS.c.id == conversation_id)
        async with self._database.read() as session:
            row = (await session.execute(query)).one_or_none()
        if row is None:
            raise ConversationNotFound(f"conversations/{conversation_id}")
        return _to_conversation(row)

    async def turns(
        self, tenant: str, subject: str, conversation_id: str, limit: int
    ) -> Sequence[Turn]:
        """Return the latest turns of a user's conversation, oldest first."""
        query = (
            sa.select(_TURNS)
            .join(_CONVERSATIONS)
            .where(*_of(tenant, subject), _CONVERSATIONS.c.id == conversation_id)
            .order_by(_TURNS.c.number.desc())
            .limit(limit)
        )
        async with self._database.read() as session:
            rows = (await session.execute(query)).all()
        return [
            Turn(
                number=row.number,
                question=row.question,
                interpreted=row.interpreted,
                answer=f"answers/{row.answer_id}",
                decision=Decision(row.decision),
                create_time=row.create_time,
            )
            for row in reversed(rows)
        ]

    async def list(
        self, tenant: str, subject: str, after: str, limit: int
    ) -> Sequence[Conversation]:
        """Return a user's conversations whose ids follow ``after``."""
        query = (
            _select()
            .where(*_of(tenant, subject), _CONVERSATIONS.c.id > after)
            .order_by(_CONVERSATIONS.c.id)
            .limit(limit)
        )
        async with self._database.read() as session:
            return [_to_conversation(row) for row in await session.execute(query)]

    async def add_turn(self, conversation: Conversation, turn: Turn, keep: int) -> None:
        """Add a turn as the next one; keep the latest ``keep``."""
        key = conversation.tenant, conversation.id
        async with self._database.write() as session:
            # Counting first: two questions at once must not get one number.
            counted = await session.execute(
                sa.update(_CONVERSATIONS)
                .where(_CONVERSATIONS.c.tenant == key[0], _CONVERSATIONS.c.id == key[1])
                .values(
                    turn_count=_CONVERSATIONS.c.turn_count + 1,
                    use_time=turn.create_time,
                )
                .returning(_CONVERSATIONS.c.turn_count)
            )
            number = counted.scalar_one_or_none()
            if number is None:
                return
            await session.execute(
                sa.insert(_TURNS).values(
                    tenant=key[0],
                    conversation_id=key[1],
                    number=number,
                    question=turn.question,
                    interpreted=turn.interpreted,
                    answer_id=turn.answer.removeprefix("answers/"),
                    decision=turn.decision,
                    create_time=turn.create_time,
                )
            )
            await session.execute(
                sa.delete(_TURNS).where(
                    _TURNS.c.tenant == key[0],
                    _TURNS.c.conversation_id == key[1],
                    _TURNS.c.number <= number - keep,
                )
            )

    async def delete(self, tenant: str, subject: str, conversation_id: str) -> None:
        """Forget a user's conversation."""
        async with self._database.write() as session:
            gone = await session.execute(
                sa.delete(_CONVERSATIONS)
                .where(*_of(tenant, subject), _CONVERSATIONS.c.id == conversation_id)
                .returning(_CONVERSATIONS.c.id)
            )
            if gone.one_or_none() is None:
                raise ConversationNotFound(f"conversations/{conversation_id}")

    async def forget(self, before: datetime) -> None:
        """Forget the conversations in which nothing was asked since ``before``."""
        async with self._database.write() as session:
            await session.execute(
                sa.delete(_CONVERSATIONS).where(_CONVERSATIONS.c.use_time < before)
            )


def _select() -> sa.Select[Any]:
    return sa.select(_CONVERSATIONS, _COLLECTIONS.c.id.label("collection_id")).join(_COLLECTIONS)


def _of(tenant: str, subject: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return _CONVERSATIONS.c.tenant == tenant, _CONVERSATIONS.c.subject == subject


def _to_conversation(row: sa.Row[Any]) -> Conversation:
    return Conversation(
        tenant=row.tenant,
        id=row.id,
        subject=row.subject,
        collection_uid=row.collection_uid,
        collection_id=row.collection_id,
        turn_count=row.turn_count,
        create_time=row.create_time,
        use_time=row.use_time,
    )
