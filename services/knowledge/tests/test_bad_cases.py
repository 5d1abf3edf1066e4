"""Bad cases: what did not help, without words, and without what one may not know of."""

from __future__ import annotations

import grpc
import pytest

from atrium.knowledge.v1 import (
    evaluation_service_pb2,
    evaluation_service_pb2_grpc,
    knowledge_pb2,
    knowledge_service_pb2,
)
from atrium_knowledge.testing import PEOPLE, House, open_house
from atrium_shared.testing import error_of, make_principal

BadCase = evaluation_service_pb2.BadCase
JUDGE = make_principal("knowledge.evaluations:manage", actor="users/judge")
TOPIC = knowledge_pb2.RestrictedTopic(
    id="pay",
    description="Pay bands and salaries",
    examples=["What is the pay band of P5?", "What is the pay band of P7?"],
    labels=["hr/pay"],
    refusals={"en": "Pay questions go to HR."},
)
PAY = "What is the pay band of P5?"
HELPFUL = knowledge_service_pb2.Feedback.HELPFUL
NOT_HELPFUL = knowledge_service_pb2.Feedback.NOT_HELPFUL


async def rate(
    house: House,
    who: str,
    question: str,
    rating: knowledge_service_pb2.Feedback.Rating.ValueType = NOT_HELPFUL,
) -> None:
    events = house.as_(who).Ask(
        knowledge_service_pb2.AskRequest(parent="collections/handbook", question=question)
    )
    (name,) = [event.answer.name async for event in events if event.HasField("answer")]
    await house.as_(who).GiveFeedback(
        knowledge_service_pb2.GiveFeedbackRequest(
            feedback=knowledge_service_pb2.Feedback(
                answer=name, rating=rating, comment="5,100 is wrong"
            )
        )
    )


async def listed(
    house: House, who: str, **fields: object
) -> evaluation_service_pb2.ListBadCasesResponse:
    stub = evaluation_service_pb2_grpc.EvaluationServiceStub(house.server.open_channel(who))
    return await stub.ListBadCases(
        evaluation_service_pb2.ListBadCasesRequest(**{"parent": "collections/handbook", **fields})
    )


async def test_bad_cases_hold_no_words_and_no_hidden_documents(tmp_path):
    async with open_house(tmp_path, people={**PEOPLE, "judge": JUDGE}) as house:
        await house.collection(restricted_topics=[TOPIC])
        await house.add(
            "# Pay\n\nThe pay band of P5 is 5,100.", document_id="pay", labels=["hr/pay"]
        )
        await rate(house, "partner", PAY)
        await rate(house, "employee", PAY)
        await rate(house, "employee", "Who waters the plants on Mars?")
        await rate(house, "partner", PAY, HELPFUL)
        by_manager = (await listed(house, "admin")).bad_cases
        by_judge = (await listed(house, "judge")).bad_cases
    assert {one.reason for one in by_manager} == {
        BadCase.NOT_HELPFUL,
        BadCase.REFUSAL_DISPUTED,
        BadCase.NOTHING_FOUND,
    }
    assert len(by_manager) == 3
    named = [name for one in by_manager for name in one.passages]
    assert named == ["collections/handbook/documents/pay/passages/1"]
    assert [name for one in by_judge for name in one.passages] == []
    seen = f"{by_manager}{by_judge}"
    assert "5,100" not in seen
    assert "pay band" not in seen
    hashes = {one.reason: one.question_hash for one in by_manager}
    assert hashes[BadCase.NOT_HELPFUL] == hashes[BadCase.REFUSAL_DISPUTED] != ""


async def test_bad_cases_are_listed_in_pages(house: House):
    await house.collection()
    for _ in range(3):
        await rate(house, "employee", "Who waters the plants?")
    first = await listed(house, "admin", page_size=2)
    rest = await listed(house, "admin", page_size=2, page_token=first.next_page_token)
    assert (len(first.bad_cases), len(rest.bad_cases), rest.next_page_token) == (2, 1, "")
    names = [one.feedback for one in (*first.bad_cases, *rest.bad_cases)]
    assert names == sorted(set(names))


@pytest.mark.parametrize("who", ["employee", "partner", "editor"])
async def test_others_may_not_list_bad_cases(house: House, who: str):
    await house.collection()
    error = await error_of(listed(house, who))
    assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")


async def test_bad_cases_of_a_collection_that_is_not_there_are_refused(house: House):
    error = await error_of(listed(house, "admin"))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "COLLECTION_NOT_FOUND")
