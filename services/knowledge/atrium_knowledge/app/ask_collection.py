"""Ask a collection by name, alone or in a conversation."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from atrium_grounding.languages import detect_language
from atrium_knowledge.app.ask_question import Answer, AskMode, AskQuestion, Delta, Sources
from atrium_knowledge.app.conversation_store import ConversationStore
from atrium_knowledge.app.interpret_question import InterpretQuestion
from atrium_knowledge.app.stores import CollectionStore
from atrium_knowledge.domain.collections import Collection
from atrium_knowledge.domain.conversations import TURNS_KEPT, TURNS_READ, Conversation, Turn
from atrium_knowledge.domain.errors import ConversationElsewhere, check_question_length
from atrium_knowledge.domain.names import collection_id, conversation_id
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.clock import Clock
from atrium_shared.principal import Principal


@dataclass(frozen=True, slots=True)
class Reply:
    """The end of an answer, and which question it answers."""

    answer: Answer
    interpreted_question: str
    """The question as it was understood; "" outside conversations."""


AskReply = Sources | Delta | Reply


class AskCollection:
    """The use case of the call ``Ask``; `AskQuestion` records how it was decided."""

    def __init__(
        self,
        collections: CollectionStore,
        conversations: ConversationStore,
        interpret: InterpretQuestion,
        ask: AskQuestion,
        audit: AuditTrail,
        clock: Clock,
    ) -> None:
        self._collections = collections
        self._conversations = conversations
        self._interpret = interpret
        self._ask = ask
        self._audit = audit
        self._clock = clock

    async def __call__(
        self,
        principal: Principal,
        parent: str,
        question: str,
        mode: AskMode,
        language: str,
        conversation: str = "",
    ) -> AsyncGenerator[AskReply, None]:
        """Yield the sources, the text as it is made, then the answer.

        In a conversation the question is first made to stand alone; that is what restricted topics
        are matched against, and what is searched and answered with the permissions of now.

        Args:
            principal: Who asks.
            parent: Name of the collection.
            question: At most 4,000 code points.
            mode: How the answer is to be made.
            language: Of the answer; empty: that of the question.
            conversation: Name of the asker's conversation; empty: a single question.

        Raises:
            QuestionTooLong: The question is longer.
            CollectionNotFound: There is no such collection in the caller's tenant.
            ConversationNotFound: There is no such conversation, or it is somebody else's.
            ConversationElsewhere: It is about another collection.
            Unavailable: ``mode`` asks for a generator, and there is none.
        """
        asked, belongs_to = question, None
        async with self._audit.failures(principal, "Ask", parent):
            check_question_length(question, "question")
            collection = await self._collections.get(principal.tenant, collection_id(parent))
            if conversation:
                belongs_to = await self._conversation(principal, conversation, collection)
                turns = await self._conversations.turns(
                    principal.tenant, principal.subject, belongs_to.id, TURNS_READ
                )
                asked = await self._interpret(
                    principal, question, turns, write=mode is not AskMode.EXTRACTIVE
                )
                language = language or detect_language(question)
        events = self._ask.ask(principal, collection, asked, mode, language)
        async with aclosing(events):
            async for event in events:
                if not isinstance(event, Answer):
                    yield event
                    continue
                if belongs_to is None:
                    yield Reply(event, "")
                    continue
                await self._conversations.add_turn(
                    belongs_to,
                    Turn(
                        number=belongs_to.turn_count + 1,
                        question=question,
                        interpreted=asked,
                        answer=event.name,
                        decision=event.decision,
                        create_time=self._clock.now(),
                    ),
                    TURNS_KEPT,
                )
                yield Reply(event, asked)

    async def _conversation(
        self, principal: Principal, name: str, collection: Collection
    ) -> Conversation:
        found = await self._conversations.get(
            principal.tenant, principal.subject, conversation_id(name)
        )
        if found.collection_uid != collection.uid:
            raise ConversationElsewhere(found.name, found.collection, collection.name)
        return found
