"""Users who were erased are forgotten: conversations, answers, feedback."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from atrium.knowledge.v1 import (
    conversation_service_pb2,
    conversation_service_pb2_grpc,
    knowledge_service_pb2,
)
from atrium_knowledge.app.ports import ErasedUser
from atrium_knowledge.testing import FakeErasedUsers, House, away
from atrium_shared.testing import FixedClock, eventually

QUESTION = "How many days of paid leave does an employee have?"


async def converse(house: House, who: str) -> None:
    """Ask in a conversation and rate the answer."""
    conversations = conversation_service_pb2_grpc.ConversationServiceStub(
        house.server.open_channel(who)
    )
    begun = await conversations.CreateConversation(
        conversation_service_pb2.CreateConversationRequest(
            conversation=conversation_service_pb2.Conversation(collection="collections/handbook")
        )
    )
    events = house.as_(who).Ask(
        knowledge_service_pb2.AskRequest(
            parent="collections/handbook", question=QUESTION, conversation=begun.name
        )
    )
    (name,) = [event.answer.name async for event in events if event.HasField("answer")]
    await house.as_(who).GiveFeedback(
        knowledge_service_pb2.GiveFeedbackRequest(
            feedback=knowledge_service_pb2.Feedback(
                answer=name, rating=knowledge_service_pb2.Feedback.NOT_HELPFUL
            )
        )
    )


def stored(house: House) -> str:
    tables = ("conversations", "conversation_turns", "answers", "feedback")
    return str([house.stored_rows(table) for table in tables])


async def test_what_was_kept_of_an_erased_user_goes_and_nothing_else(house_at, tmp_path: Path):
    clock, erased = FixedClock(), FakeErasedUsers()
    async with house_at(clock=clock, erased_users=erased) as house:
        await house.collection(keep_questions=True)
        for who in ("employee", "partner", "editor"):
            await converse(house, who)
        assert [QUESTION in row for row in house.stored_rows("feedback")] == [True] * 3
    now = clock.now() + timedelta(seconds=1)
    erased.erased = [
        ErasedUser(1, "other", "users/partner", now),
        ErasedUser(2, "acme", "users/employee", now),
        ErasedUser(3, "acme", "users/nobody", now),
        # Erased before this one, of the same name, came.
        ErasedUser(4, "acme", "users/editor", now - timedelta(days=1)),
    ]
    async with house_at(clock=clock, erased_users=erased, upkeep_seconds=0.01) as house:
        while house.stored_rows("erasures") != [(1, 4)]:
            await house.collection(f"c-{len(house.stored_rows('collections'))}")
        left = stored(house)
        assert "users/employee" not in left
        assert left.count("users/partner") == left.count("users/editor") == 3
        assert len(house.stored_rows("conversation_turns")) == 2
        assert [QUESTION in row for row in house.stored_rows("feedback")] == [True] * 2


async def test_a_fault_stops_no_later_forgetting(house_at):
    class Faulty(FakeErasedUsers):
        faults = 1

        async def after(self, sequence: int) -> Sequence[ErasedUser]:
            if self.faults:
                self.faults -= 1
                raise RuntimeError("a bug")
            return await super().after(sequence)

    clock, erased = FixedClock(), Faulty()
    async with house_at(clock=clock, erased_users=erased, upkeep_seconds=0.01) as house:
        await house.collection()
        with away(house.settings.database_url):
            await asyncio.sleep(0.1)
        erased.erased = [ErasedUser(1, "acme", "users/employee", clock.now())]
        await eventually(lambda: house.stored_rows("erasures") == [(1, 1)])
