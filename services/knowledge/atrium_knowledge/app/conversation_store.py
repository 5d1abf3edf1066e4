"""The records of conversations as use cases see them. Every method is one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from atrium_knowledge.domain.conversations import Conversation, Turn


class ConversationStore(Protocol):
    """Conversations, found only together with whose they are."""

    async def create(self, conversation: Conversation) -> None:
        """Add a conversation.

        Raises:
            CollectionNotFound: The collection was deleted meanwhile.
        """
        ...

    async def get(self, tenant: str, subject: str, conversation_id: str) -> Conversation:
        """Return a conversation of a user.

        Raises:
            ConversationNotFound: There is none, or it is somebody else's.
        """
        ...

    async def turns(
        self, tenant: str, subject: str, conversation_id: str, limit: int
    ) -> Sequence[Turn]:
        """Return the latest turns of a user's conversation, oldest first."""
        ...

    async def list(
        self, tenant: str, subject: str, after: str, limit: int
    ) -> Sequence[Conversation]:
        """Return a user's conversations whose ids follow ``after``, in the order of ids."""
        ...

    async def add_turn(self, conversation: Conversation, turn: Turn, keep: int) -> None:
        """Add a turn, whatever its number, as the next one; keep the latest ``keep``.

        Nothing happens when the conversation was deleted meanwhile.
        """
        ...

    async def delete(self, tenant: str, subject: str, conversation_id: str) -> None:
        """Forget a user's conversation.

        Raises:
            ConversationNotFound: There is none, or it is somebody else's.
        """
        ...

    async def forget(self, before: datetime) -> None:
        """Forget the conversations in which nothing was asked since ``before``."""
        ...
