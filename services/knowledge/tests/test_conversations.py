"""Conversations: whose they are, what they hold, and that nothing old leaks through them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from atrium.knowledge.v1 import (
    conversation_service_pb2,
    conversation_service_pb2_grpc,
    knowledge_pb2,
    knowledge_service_pb2,
)
from atrium_knowledge.adapters import tables
from atrium_knowledge.adapters.sql_conversations import SqlConversations
from atrium_knowledge.domain.answers import Decision
from atrium_knowledge.domain.conversations import TURNS_KEPT, Conversation, Turn
from atrium_knowledge.testing import PEOPLE, House, open_house
from atrium_shared.database import Database
from atrium_shared.testing import FixedClock, error_of, make_principal

MIGRATIONS = Path(tables.__file__).parents[1] / "migrations"
LEAVE = """# Leave

Employees in France get 25 days of annual leave.

Employees in Germany get 30 days of annual leave."""
PAY = """# Pay

The pay band of P5 is 5,100 euros a month.

The pay band of P6 is 6,200 euros a month."""


def client(
    house: House, who: str = "employee"
) -> conversation_service_pb2_grpc.ConversationServiceAsyncStub:
    return conversation_service_pb2_grpc.ConversationServiceStub(house.server.open_channel(who))


async def begin(house: House, who: str = "employee", collection: str = "handbook") -> str:
    begun = await client(house, who).CreateConversation(
        conversation_service_pb2.CreateConversationRequest(
            conversation=conversation_service_pb2.Conversation(
                collection=f"collections/{collection}"
            )
        )
    )
    return begun.name


async def get(
    house: House, name: str, who: str = "employee"
) -> conversation_service_pb2.Conversation:
    return await client(house, who).GetConversation(
        conversation_service_pb2.GetConversationRequest(name=name)
    )


async def ask(
    house: House,
    question: str,
    conversation: str = "",
    who: str = "employee",
    collection: str = "handbook",
) -> knowledge_pb2.Answer:
    events = house.as_(who).Ask(
        knowledge_service_pb2.AskRequest(
            parent=f"collections/{collection}", question=question, conversation=conversation
        )
    )
    (answer,) = [event.answer async for event in events if event.WhichOneof("event") == "answer"]
    return answer


@pytest.fixture
async def talking(house: House) -> House:
    await house.collection()
    await house.add(LEAVE, document_id="leave")
    return house


FIRST = "How many days of annual leave do employees get in France?"


async def test_a_follow_up_is_answered_as_what_it_means(talking: House):
    conversation = await begin(talking)
    first = await ask(talking, FIRST, conversation)
    assert (first.interpreted_question, "25 days" in first.text) == (FIRST, True)
    second = await ask(talking, "And in Germany?", conversation)
    assert "Germany" in second.interpreted_question
    assert "annual leave" in second.interpreted_question
    assert "30 days" in second.text
    found = await get(talking, conversation)
    assert [turn.question for turn in found.turns] == [FIRST, "And in Germany?"]
    assert [turn.number for turn in found.turns] == [1, 2]
    assert found.turns[1].interpreted_question == second.interpreted_question
    assert found.turns[1].answer == second.name
    assert found.turns[1].decision == knowledge_pb2.Answer.ANSWERED
    assert found.turn_count == 2


async def test_the_answer_is_in_the_language_of_the_follow_up(talking: House):
    conversation = await begin(talking)
    await ask(talking, FIRST, conversation)
    answer = await ask(talking, "那中国呢？它有什么规定吗", conversation)
    assert answer.decision in (knowledge_pb2.Answer.NOT_FOUND, knowledge_pb2.Answer.ANSWERED)
    asked_in_english = await ask(talking, "And on Mars, for astronauts?", conversation)
    if asked_in_english.decision == knowledge_pb2.Answer.NOT_FOUND:
        assert asked_in_english.text.startswith("No answer")


async def test_outside_a_conversation_a_question_means_what_it_says(talking: House):
    await ask(talking, FIRST)
    answer = await ask(talking, "And in Germany?")
    assert answer.interpreted_question == ""
    assert talking.stored_rows("conversation_turns") == []


async def test_a_follow_up_without_a_question_before_is_asked_as_it_stands(talking: House):
    conversation = await begin(talking)
    answer = await ask(talking, "And in Germany?", conversation)
    assert answer.interpreted_question == "And in Germany?"


async def test_nobody_else_sees_a_conversation_administrators_included(talking: House):
    name = await begin(talking)
    await ask(talking, FIRST, name)
    absent = await error_of(get(talking, "conversations/none"))
    assert (absent.code, absent.reason) == (grpc.StatusCode.NOT_FOUND, "CONVERSATION_NOT_FOUND")
    assert absent.metadata == {"conversation": "conversations/none"}
    for who in ("partner", "admin", "stranger"):
        for call in (
            get(talking, name, who),
            ask(talking, "And in Germany?", name, who),
            client(talking, who).DeleteConversation(
                conversation_service_pb2.DeleteConversationRequest(name=name)
            ),
        ):
            error = await error_of(call)
            if who == "stranger" and error.reason == "COLLECTION_NOT_FOUND":
                continue
            assert (error.code, error.reason) == (absent.code, absent.reason)
            assert error.message == absent.message.replace("conversations/none", name)
        listed = await client(talking, who).ListConversations(
            conversation_service_pb2.ListConversationsRequest()
        )
        assert list(listed.conversations) == []
    assert (await get(talking, name)).turn_count == 1


async def test_a_conversation_is_about_one_collection(talking: House):
    await talking.collection("archive")
    name = await begin(talking, collection="archive")
    error = await error_of(ask(talking, FIRST, name))
    assert (error.code, error.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "CONVERSATION_ELSEWHERE",
    )
    assert error.metadata == {
        "conversation": name,
        "collection": "collections/archive",
        "asked": "collections/handbook",
    }
    assert error.violations[0][0] == "conversation"
    assert (await get(talking, name)).turn_count == 0


async def test_a_malformed_name_reads_as_absent(talking: House):
    for name in ("conversations/", "conversations/a b", "conversations/../x", "answers/a"):
        error = await error_of(ask(talking, FIRST, name))
        assert error.reason == "CONVERSATION_NOT_FOUND"


async def test_a_conversation_about_no_collection_is_refused(talking: House):
    error = await error_of(begin(talking, collection="none"))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "COLLECTION_NOT_FOUND")


async def test_conversations_are_listed_in_pages_and_forgotten_when_asked(talking: House):
    names = {await begin(talking) for _ in range(3)}
    seen: list[str] = []
    token = ""
    while True:
        page = await client(talking).ListConversations(
            conversation_service_pb2.ListConversationsRequest(page_size=2, page_token=token)
        )
        seen += [one.name for one in page.conversations]
        if not (token := page.next_page_token):
            break
    assert seen == sorted(names)
    gone = names.pop()
    await client(talking).DeleteConversation(
        conversation_service_pb2.DeleteConversationRequest(name=gone)
    )
    assert (await error_of(get(talking, gone))).reason == "CONVERSATION_NOT_FOUND"
    error = await error_of(
        client(talking, "partner").ListConversations(
            conversation_service_pb2.ListConversationsRequest(page_token="x")
        )
    )
    assert error.reason == "PAGE_TOKEN_INVALID"


async def test_a_collection_takes_its_conversations_along(talking: House):
    name = await begin(talking)
    await ask(talking, FIRST, name)
    await talking.as_("admin").DeleteCollection(
        knowledge_service_pb2.DeleteCollectionRequest(name="collections/handbook")
    )
    assert talking.stored_rows("conversations") == talking.stored_rows("conversation_turns") == []


async def test_a_restricted_topic_is_recognised_in_a_follow_up(house: House):
    topic = knowledge_pb2.RestrictedTopic(
        id="pay",
        description="Pay bands and salaries",
        examples=["What is the pay band of P5?", "What is the pay band of P7?"],
        labels=["hr/pay"],
        refusals={"en": "Pay questions go to HR."},
    )
    await house.collection(restricted_topics=[topic])
    await house.add(PAY, labels=["hr/pay"])
    conversation = await begin(house)
    first = await ask(house, "What is the pay band of P5?", conversation)
    assert first.decision == knowledge_pb2.Answer.REFUSED
    second = await ask(house, "and P6?", conversation)
    assert second.decision == knowledge_pb2.Answer.REFUSED
    assert second.text == "Pay questions go to HR."
    allowed = await begin(house, "partner")
    await ask(house, "What is the pay band of P5?", allowed, "partner")
    third = await ask(house, "and P6?", allowed, "partner")
    assert "6,200" in third.text


async def test_what_may_no_longer_be_read_is_in_no_later_turn(tmp_path: Path):
    reader = make_principal(
        "knowledge.answers:ask", "gateway.models:use", labels=["hr/*"], actor="users/mover"
    )
    moved = make_principal("knowledge.answers:ask", "gateway.models:use", actor="users/mover")
    people = {**PEOPLE, "before": reader, "after": moved}
    async with open_house(tmp_path, people=people) as house:
        await house.collection()
        await house.add(PAY, labels=["hr/pay"])
        conversation = await begin(house, "before")
        first = await ask(house, "What is the pay band of P5?", conversation, "before")
        assert "5,100" in first.text
        for question in ("and P6?", "Why?", "How much is it?", "What is the pay band of P5?"):
            answer = await ask(house, question, conversation, "after")
            assert answer.decision == knowledge_pb2.Answer.NOT_FOUND
            assert not answer.citations
            told = f"{answer.text} {answer.interpreted_question}"
            assert "5,100" not in told
            assert "6,200" not in told
        seen = str(await get(house, conversation, "after"))
        assert "5,100" not in seen
        assert "euros" not in str(house.stored_rows("conversation_turns"))


async def test_ten_thousand_turns_leave_a_bounded_conversation(tmp_path: Path):
    async with open_house(tmp_path) as house:
        await house.collection()
        name = await begin(house)
        url = house.settings.database_url
        database = Database(url, migrations=MIGRATIONS, name="knowledge")
        await database.start()
        store = SqlConversations(database)
        clock = FixedClock()
        (row,) = house.stored_rows("conversations")
        kept = Conversation(
            tenant=row[0],
            id=row[1],
            subject=row[3],
            collection_uid=row[2],
            collection_id="handbook",
            turn_count=0,
            create_time=clock.now(),
            use_time=clock.now(),
        )
        for number in range(TURNS_KEPT + 20):
            asked = f"Question {number}?"
            turn = Turn(0, asked, asked, "answers/a", Decision.NOT_FOUND, clock.now())
            await store.add_turn(kept, turn, TURNS_KEPT)
        await database.close()
        found = await get(house, name)
        assert found.turn_count == TURNS_KEPT + 20
        assert len(found.turns) == TURNS_KEPT == len(house.stored_rows("conversation_turns"))
        assert found.turns[-1].question == f"Question {TURNS_KEPT + 19}?"
        assert found.turns[0].number == 21


async def test_a_conversation_is_forgotten_when_nothing_is_asked_in_it(house_at, tmp_path: Path):
    clock = FixedClock()
    async with house_at(clock=clock, conversations_kept_days=7.0) as house:
        await house.collection()
        await house.add(LEAVE)
        old, used = await begin(house), await begin(house)
        clock.advance(timedelta(days=6).total_seconds())
        await ask(house, FIRST, used)
    clock.advance(timedelta(days=2).total_seconds())
    async with house_at(clock=clock, conversations_kept_days=7.0, upkeep_seconds=0.01) as house:
        while len(house.stored_rows("conversations")) > 1:
            await client(house).ListConversations(
                conversation_service_pb2.ListConversationsRequest()
            )
        assert (await error_of(get(house, old))).reason == "CONVERSATION_NOT_FOUND"
        left = await get(house, used)
        assert left.expire_time.ToDatetime() - left.turns[0].create_time.ToDatetime() == timedelta(
            days=7
        )
