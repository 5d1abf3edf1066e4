import grpc
import pytest

from atrium.knowledge.v1 import knowledge_pb2, knowledge_service_pb2
from atrium_knowledge.testing import House, open_house
from atrium_shared.testing import FixedClock, error_of

TEXT = "# Leave\n\nEvery employee has 25 days of paid leave a year."
QUESTION = "How many days of paid leave does an employee have?"


async def ask(
    house: House, question: str = QUESTION, who: str = "employee"
) -> knowledge_pb2.Answer:
    events = house.as_(who).Ask(
        knowledge_service_pb2.AskRequest(parent="collections/handbook", question=question)
    )
    answers = [event.answer async for event in events if event.WhichOneof("event") == "answer"]
    assert len(answers) == 1
    return answers[0]


async def rate(
    house: House, answer: str, who: str = "employee", **fields: object
) -> knowledge_service_pb2.Feedback:
    given = {"answer": answer, "rating": knowledge_service_pb2.Feedback.NOT_HELPFUL, **fields}
    return await house.as_(who).GiveFeedback(
        knowledge_service_pb2.GiveFeedbackRequest(feedback=knowledge_service_pb2.Feedback(**given))
    )


@pytest.fixture
async def asked(house: House) -> House:
    await house.collection()
    await house.add(TEXT, document_id="leave")
    return house


async def test_an_answer_quotes_its_source_exactly(asked: House):
    answer = await ask(asked)
    assert answer.decision == knowledge_pb2.Answer.ANSWERED
    assert "25 days" in answer.text
    for citation in answer.citations:
        start = citation.start - citation.passage.start
        end = citation.end - citation.passage.start
        assert citation.passage.text[start:end] == citation.quote


async def test_words_are_stored_of_what_did_not_help_where_questions_are_kept(house: House):
    await house.collection(keep_questions=True)
    await house.add(TEXT, document_id="leave")
    answer = await ask(house)
    assert QUESTION not in str([house.stored_rows(table) for table in ("answers", "feedback")])
    stored = await rate(house, answer.name, comment="Which year?")
    assert stored.name.startswith("feedback/")
    assert (stored.answer, stored.comment) == (answer.name, "Which year?")
    (row,) = house.stored_rows("feedback")
    assert {QUESTION, answer.text, "Which year?", "NOT_HELPFUL"} <= set(row)


async def test_no_words_are_stored_unless_the_collection_says_so(asked: House):
    answer = await ask(asked)
    await rate(asked, answer.name)
    (row,) = asked.stored_rows("feedback")
    assert "NOT_HELPFUL" in row
    assert not {QUESTION, answer.text} & set(row)


async def test_no_words_are_stored_of_what_helped(house: House):
    await house.collection(keep_questions=True)
    await house.add(TEXT)
    answer = await ask(house)
    await rate(house, answer.name, rating=knowledge_service_pb2.Feedback.HELPFUL)
    (row,) = house.stored_rows("feedback")
    assert not {QUESTION, answer.text} & set(row)


async def test_feedback_is_given_by_who_asked(asked: House):
    answer = await ask(asked)
    for who, name in (
        ("partner", answer.name),
        ("stranger", answer.name),
        ("employee", "answers/x"),
    ):
        error = await error_of(rate(asked, name, who))
        assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "ANSWER_NOT_FOUND")
        assert error.message == f"Answer {name!r} does not exist."
    assert asked.stored_rows("feedback") == []


async def test_feedback_needs_a_rating(asked: House):
    answer = await ask(asked)
    error = await error_of(rate(asked, answer.name, rating=0))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")


async def test_deleting_a_document_removes_the_answers_that_cite_it(asked: House):
    first, second = await ask(asked), await ask(asked)
    await rate(asked, first.name)
    await asked.as_("editor").DeleteDocument(
        knowledge_service_pb2.DeleteDocumentRequest(name="collections/handbook/documents/leave")
    )
    assert asked.stored_rows("answers") == asked.stored_rows("feedback") == []
    error = await error_of(rate(asked, second.name))
    assert error.reason == "ANSWER_NOT_FOUND"


async def test_words_are_forgotten_after_an_hour(tmp_path):
    clock = FixedClock()
    async with open_house(tmp_path, clock=clock) as house:
        await house.collection(keep_questions=True)
        await house.add(TEXT)
        answer = await ask(house)
        clock.advance(3601)
        await rate(house, answer.name)
        (row,) = house.stored_rows("feedback")
        assert QUESTION not in row


async def test_a_question_that_is_too_long_is_refused_before_anything_is_done(house: House):
    error = await error_of(ask(house, "q" * 100_000))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "QUESTION_TOO_LONG")
    assert error.metadata == {"length": "100000", "limit": "4000"}
    assert error.violations[0][0] == "question"


async def test_a_question_to_a_collection_that_is_not_there_is_audited(house: House):
    error = await error_of(ask(house))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "COLLECTION_NOT_FOUND")
    (event,) = house.audit.events
    assert (event.action, event.detail) == ("knowledge.Ask", "COLLECTION_NOT_FOUND")
