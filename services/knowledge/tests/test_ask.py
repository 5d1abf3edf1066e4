"""Asking, over gRPC: who asks decides what is answered."""

import pytest

from atrium.engine.v1 import engine_pb2
from atrium.knowledge.v1 import knowledge_pb2, knowledge_service_pb2
from atrium_knowledge.domain.errors import QuestionTooLong
from atrium_knowledge.testing import HashEmbedder, House, ScriptedGenerator, WordReader, open_house
from atrium_shared.audit import Decision
from atrium_shared.models import Finish
from atrium_shared.testing import error_of
from atrium_shared.testing_models import NoModel

LEAVE = """# Leave rules

## Annual leave

Every employee has 30 working days of paid annual leave per calendar year.
Up to 5 days may be carried over until 31 March of the next year.

## Sick leave

A medical certificate is due from the fourth calendar day of illness.
"""
PAY = """# Pay bands

## Grades

Grade P5 in Berlin is paid between 61000 and 84500 euros a year.
"""
TOPIC = knowledge_pb2.RestrictedTopic(
    id="pay",
    description="Amounts of salaries, pay bands and bonuses",
    examples=[
        "What is the salary of grade P4?",
        "How much is grade P5 paid a year?",
        "What do my colleagues earn?",
        "P4 的工资是多少？",
    ],
    counter_examples=["On which day are salaries paid?"],
    labels=["hr/compensation"],
    refusals={"en": "Pay questions go to HR.", "zh": "薪酬问题请联系人力资源部。"},
)
LEAVE_QUESTION = "How many working days of paid annual leave does every employee have?"
PAY_QUESTION = "How much is grade P5 in Berlin paid a year?"
EXTRACTIVE = knowledge_service_pb2.AskRequest.EXTRACTIVE
GENERATIVE = knowledge_service_pb2.AskRequest.GENERATIVE
AUTO = knowledge_service_pb2.AskRequest.MODE_UNSPECIFIED
ANSWERED = knowledge_pb2.Answer.ANSWERED
REFUSED = knowledge_pb2.Answer.REFUSED
NOT_FOUND = knowledge_pb2.Answer.NOT_FOUND


def no_encoder() -> HashEmbedder:
    embedder = HashEmbedder()
    embedder.failure = NoModel()
    return embedder


async def fill(house: House, *, pay: bool = True) -> None:
    await house.collection(restricted_topics=[TOPIC])
    await house.add(LEAVE, filename="leave.md", title="Leave rules")
    if pay:
        await house.add(PAY, filename="pay.md", title="Pay bands", labels=["hr/compensation"])


async def ask(house: House, question: str, who: str = "employee", mode=EXTRACTIVE, language=""):
    request = knowledge_service_pb2.AskRequest(
        parent="collections/handbook", question=question, mode=mode, language=language
    )
    events = [event async for event in house.as_(who).Ask(request)]
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[-1] == "answer"
    assert kinds.count("answer") == 1
    answer = events[-1].answer
    assert "".join(event.delta for event in events) == answer.text
    return answer, events


async def test_an_answer_quotes_its_source_at_its_exact_place(tmp_path):
    async with open_house(tmp_path, embedder=no_encoder()) as house:
        await fill(house)
        answer, events = await ask(house, LEAVE_QUESTION)
        assert answer.decision == ANSWERED
        assert "30 working days" in answer.text
        assert "[1]" in answer.text
        assert events[0].WhichOneof("event") == "sources"
        assert answer.engine.kind == engine_pb2.Engine.EXTRACTIVE
        citation = answer.citations[0]
        assert citation.number == 1
        assert list(citation.passage.section_path)[-1] == "Annual leave"
        passage = citation.passage
        begin = citation.start - passage.start
        assert passage.text[begin : begin + len(citation.quote)] == citation.quote
        assert "30 working days" in citation.quote


async def test_a_restricted_question_is_refused_in_the_words_of_the_topic(tmp_path):
    async with open_house(tmp_path, embedder=no_encoder()) as house:
        await fill(house)
        answer, events = await ask(house, PAY_QUESTION)
        assert (answer.decision, answer.restricted_topic) == (REFUSED, "pay")
        assert answer.text == "Pay questions go to HR."
        assert not answer.citations
        assert "84500" not in str(events)
        zh, _ = await ask(house, PAY_QUESTION, language="zh")
        assert zh.text == "薪酬问题请联系人力资源部。"


async def test_deleting_the_hidden_document_changes_no_refusal(tmp_path):
    replies = []
    for pay in (True, False):
        folder = tmp_path / str(pay)
        folder.mkdir()
        async with open_house(folder, embedder=no_encoder()) as house:
            await fill(house, pay=pay)
            answer, events = await ask(house, PAY_QUESTION)
            answer.ClearField("name")
            replies.append((answer, len(events)))
    assert replies[0] == replies[1]


async def test_who_holds_the_label_gets_the_answer(tmp_path):
    async with open_house(tmp_path, embedder=no_encoder()) as house:
        await fill(house)
        answer, _ = await ask(house, PAY_QUESTION, who="partner")
        assert answer.decision == ANSWERED
        assert "84500" in answer.text


async def test_what_nobody_wrote_and_what_is_hidden_read_the_same(tmp_path):
    async with open_house(tmp_path, embedder=no_encoder()) as house:
        await house.collection()
        await house.add(LEAVE, filename="leave.md", title="Leave rules")
        await house.add(
            "# Project Sandbar\n\nProject Sandbar ends in Rotterdam on 30 June.",
            filename="memo.md",
            labels=["hr/confidential"],
        )
        hidden, events = await ask(house, "When does project Sandbar end in Rotterdam?")
        absent, _ = await ask(house, "When does project Foghorn end in Helsinki?")
        assert hidden.decision == absent.decision == NOT_FOUND
        assert hidden.text == absent.text
        assert [event.WhichOneof("event") for event in events] == ["delta", "answer"]
        assert "30 June" not in str(events)


async def test_what_the_model_wrote_is_sent_sentence_by_sentence_once_it_is_supported(tmp_path):
    generator = ScriptedGenerator(
        "Every employee has 30 working days of annual leave [1]. The board must approve it [1]. "
        "You have 28 days [1]. Five days may be carried over until 31 March [1]."
    )
    async with open_house(tmp_path, embedder=no_encoder(), generator=generator) as house:
        await fill(house)
        answer, _ = await ask(house, LEAVE_QUESTION, mode=AUTO)
        assert "30 working days" in answer.text
        assert "carried over" in answer.text
        assert "board" not in answer.text
        assert "28" not in answer.text
        assert answer.dropped_sentences == 2
        assert answer.engine.model == "scripted"
        assert answer.usage.completion_tokens == 20
        assert all(citation.quote in citation.passage.text for citation in answer.citations)


async def test_when_nothing_the_model_wrote_is_supported_the_sources_are_quoted(tmp_path):
    generator = ScriptedGenerator("The board must approve it. Ask your bank.")
    async with open_house(tmp_path, embedder=no_encoder(), generator=generator) as house:
        await fill(house)
        answer, _ = await ask(house, LEAVE_QUESTION, mode=AUTO)
        assert answer.decision == ANSWERED
        assert "30 working days" in answer.text
        assert answer.engine.kind == engine_pb2.Engine.EXTRACTIVE
        assert answer.engine.degraded
        assert answer.dropped_sentences == 2


async def test_a_fact_that_the_model_left_out_is_added_as_a_quote(tmp_path):
    generator = ScriptedGenerator("Every employee has paid annual leave [1].")
    async with open_house(tmp_path, embedder=no_encoder(), generator=generator) as house:
        await fill(house)
        answer, _ = await ask(house, LEAVE_QUESTION, mode=AUTO)
        assert answer.text.startswith("Every employee has paid annual leave. [1]")
        assert "The source says: “Every employee has 30 working days" in answer.text


async def test_a_model_that_writes_of_something_else_leaves_a_quoted_answer(tmp_path):
    generator = ScriptedGenerator("A certificate is due from the fourth day of illness [2].")
    async with open_house(tmp_path, embedder=no_encoder(), generator=generator) as house:
        await fill(house)
        answer, _ = await ask(house, LEAVE_QUESTION, mode=AUTO)
        assert "illness" not in answer.text
        assert "30 working days" in answer.text
        assert answer.engine.kind == engine_pb2.Engine.EXTRACTIVE
        assert answer.engine.degraded_reason.endswith("nothing that the model wrote answers.")
        assert answer.dropped_sentences == 1


async def test_what_else_a_model_writes_waits_for_what_answers(tmp_path):
    generator = ScriptedGenerator(
        "A certificate is due from the fourth day of illness [2]. "
        "Every employee has 30 working days of annual leave [1]."
    )
    async with open_house(tmp_path, embedder=no_encoder(), generator=generator) as house:
        await fill(house)
        answer, _ = await ask(house, LEAVE_QUESTION, mode=AUTO)
        assert answer.text.index("illness") < answer.text.index("30 working days")
        assert answer.engine.model == "scripted"
        assert answer.dropped_sentences == 0


async def test_a_sentence_in_another_language_than_asked_is_left_out(tmp_path):
    generator = ScriptedGenerator(
        "Every employee has 30 working days of annual leave [1]. 每位员工有 30 个工作日的年假 [1]。"
    )
    async with open_house(tmp_path, embedder=no_encoder(), generator=generator) as house:
        await fill(house)
        zh, _ = await ask(house, LEAVE_QUESTION, mode=AUTO, language="zh")
        assert zh.text.startswith("每位员工有 30 个工作日的年假")
        assert zh.dropped_sentences == 1
        en, _ = await ask(house, LEAVE_QUESTION, mode=AUTO, language="en")
        assert en.text == "Every employee has 30 working days of annual leave. [1]"
        assert en.dropped_sentences == 1


async def test_half_a_sentence_at_the_end_of_a_long_text_is_left_out(tmp_path):
    generator = ScriptedGenerator(
        "Every employee has 30 working days of annual leave [1]. Up to 5 days may be carried",
        finish=Finish.LENGTH,
    )
    async with open_house(tmp_path, embedder=no_encoder(), generator=generator) as house:
        await fill(house)
        answer, _ = await ask(house, LEAVE_QUESTION, mode=AUTO)
        assert "30 working days" in answer.text
        assert "carried" not in answer.text


async def test_headings_that_a_model_copies_are_left_out(tmp_path):
    generator = ScriptedGenerator(
        "Leave rules › Annual leave\n"
        "Leave rules › Annual leave: Every employee has 30 working days of annual leave [1]."
    )
    async with open_house(tmp_path, embedder=no_encoder(), generator=generator) as house:
        await fill(house)
        answer, _ = await ask(house, LEAVE_QUESTION, mode=AUTO)
        assert answer.text == "Every employee has 30 working days of annual leave. [1]"
        assert answer.dropped_sentences == 0


async def test_a_model_never_sees_what_the_asker_may_not_read(tmp_path):
    generator = ScriptedGenerator("Nothing.")
    async with open_house(tmp_path, embedder=no_encoder(), generator=generator) as house:
        await house.collection()
        await house.add(LEAVE, filename="leave.md")
        await house.add(PAY, filename="pay.md", labels=["hr/compensation"])
        await ask(house, LEAVE_QUESTION, mode=AUTO)
        await ask(house, PAY_QUESTION, mode=AUTO)
        assert generator.asked
        assert "84500" not in str(generator.asked)


async def test_a_model_that_fails_midway_leaves_a_quoted_answer(tmp_path):
    generator = ScriptedGenerator("Every employee has 30 working", fail_after=10)
    async with open_house(tmp_path, embedder=no_encoder(), generator=generator) as house:
        await fill(house)
        answer, _ = await ask(house, LEAVE_QUESTION, mode=AUTO)
        assert "30 working days" in answer.text
        assert answer.engine.degraded


async def test_generated_or_not_at_all_fails_without_a_generator(tmp_path):
    async with open_house(tmp_path, embedder=no_encoder()) as house:
        await fill(house)
        request = knowledge_service_pb2.AskRequest(
            parent="collections/handbook", question=LEAVE_QUESTION, mode=GENERATIVE
        )

        async def run() -> None:
            async for _ in house.as_("employee").Ask(request):
                pass

        error = await error_of(run())
        assert error.reason == "TASK_HAS_NO_MODEL"


async def test_without_an_encoder_an_answer_says_that_it_is_degraded(tmp_path):
    async with open_house(tmp_path, embedder=no_encoder()) as house:
        await fill(house)
        answer, _ = await ask(house, LEAVE_QUESTION)
        assert answer.engine.degraded
        assert "keywords" in answer.engine.degraded_reason


async def test_the_audit_log_tells_the_cases_apart_and_holds_no_words(tmp_path):
    async with open_house(tmp_path, embedder=no_encoder()) as house:
        await fill(house)
        before = len(house.audit.events)
        await ask(house, LEAVE_QUESTION)
        await ask(house, PAY_QUESTION)
        await ask(house, "When does project Foghorn end in Helsinki?")
        events = house.audit.events[before:]
        assert [event.decision for event in events] == [
            Decision.ALLOWED,
            Decision.REFUSED,
            Decision.NOT_FOUND,
        ]
        assert {event.action for event in events} == {"knowledge.Ask"}
        assert [event.detail for event in events] == ["", "pay", ""]
        assert "leave" not in str(events)
        assert "Foghorn" not in str(events)


@pytest.mark.parametrize("question", ["年假有几天？", "How many?"])
async def test_an_empty_collection_finds_nothing_in_either_language(tmp_path, question):
    async with open_house(tmp_path, embedder=no_encoder()) as house:
        await house.collection()
        answer, _ = await ask(house, question)
        assert answer.decision == NOT_FOUND
        assert ("没有找到" in answer.text) == (question[0] == "年")


async def test_a_reader_sees_the_question_beside_the_topics(tmp_path):
    reader = WordReader()
    async with open_house(tmp_path, reader=reader, embedder=no_encoder()) as house:
        await fill(house)
        answer, _ = await ask(house, "How much do my colleagues earn, do they earn more?")
        assert answer.decision == REFUSED
        asked = "How much do my colleagues earn, do they earn more?"
        assert reader.questions == [(asked, "concerns")]


@pytest.mark.parametrize(("log_odds", "decision"), [(-9.0, NOT_FOUND), (5.0, ANSWERED)])
async def test_what_a_reader_says_of_the_passages_decides(tmp_path, log_odds, decision):
    reader, asked = WordReader(log_odds), "Who grants the leave?"
    async with open_house(tmp_path, reader=reader) as house:
        await house.collection()
        await house.add(LEAVE, filename="leave.md", title="Leave rules")
        answer, _ = await ask(house, asked)
        assert reader.questions == [(asked, "answers")]
        assert answer.decision == decision
        assert bool(answer.citations) == (decision == ANSWERED)


async def test_a_reader_does_not_see_what_the_asker_may_not(tmp_path):
    class Remembering(WordReader):
        seen = ""

        async def read(self, principal, question, passages, relation):
            self.seen += str(passages)
            return await super().read(principal, question, passages, relation)

    reader = Remembering()
    async with open_house(tmp_path, reader=reader) as house:
        await fill(house)
        await ask(house, "How many working days does grade P5 in Berlin get?")
        assert "30 working days" in reader.seen
        assert "84500" not in reader.seen
        await ask(house, PAY_QUESTION, who="partner")
        assert "84500" in reader.seen


async def test_a_reader_that_is_away_is_done_without(tmp_path):
    reader = WordReader()
    reader.failure = NoModel()
    async with open_house(tmp_path, reader=reader, embedder=no_encoder()) as house:
        await fill(house)
        answer, _ = await ask(house, LEAVE_QUESTION)
        assert answer.decision == ANSWERED
        assert "30 working days" in answer.text
        refused, _ = await ask(house, PAY_QUESTION)
        assert refused.decision == REFUSED


async def test_what_the_reader_refuses_is_the_callers_error(tmp_path):
    reader = WordReader()
    reader.failure = QuestionTooLong(9_000, "question")
    async with open_house(tmp_path, reader=reader) as house:
        await fill(house)
        error = await error_of(ask(house, LEAVE_QUESTION))
        assert error.reason == "QUESTION_TOO_LONG"
