"""Ask a collection by name."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from atrium_knowledge.app.ask_question import AskEvent, AskMode, AskQuestion
from atrium_knowledge.app.audit_trail import AuditTrail
from atrium_knowledge.app.stores import CollectionStore
from atrium_knowledge.domain.errors import check_question_length
from atrium_knowledge.domain.names import collection_id
from atrium_shared.principal import Principal


class AskCollection:
    """The use case of the call ``Ask``; `AskQuestion` records how it was decided."""

    def __init__(self, collections: CollectionStore, ask: AskQuestion, audit: AuditTrail) -> None:
        self._collections = collections
        self._ask = ask
        self._audit = audit

    async def __call__(
        self, principal: Principal, parent: str, question: str, mode: AskMode, language: str
    ) -> AsyncGenerator[AskEvent, None]:
        """Yield the sources, the text as it is made, then the answer.

        Args:
            principal: Who asks.
            parent: Name of the collection.
            question: At most 4,000 code points.
            mode: How the answer is to be made.
            language: Of the answer; empty: that of the question.

        Raises:
            QuestionTooLong: The question is longer.
            CollectionNotFound: There is no such collection in the caller's tenant.
            Unavailable: ``mode`` asks for a generator, and there is none.
        """
        async with self._audit.failures(principal, "Ask", parent):
            check_question_length(question, "question")
            collection = await self._collections.get(principal.tenant, collection_id(parent))
        events = self._ask.ask(principal, collection, question, mode, language)
        async with aclosing(events):
            async for event in events:
                yield event
