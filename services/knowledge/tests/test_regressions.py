"""Bad cases between two runs of one set: a question that is answered otherwise than before."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from atrium.knowledge.v1 import (
    evaluation_service_pb2,
    evaluation_service_pb2_grpc,
    knowledge_pb2,
    knowledge_service_pb2,
)
from atrium_knowledge.domain.answers import Decision
from atrium_knowledge.domain.evaluations import EvaluationResult, Verdict
from atrium_knowledge.testing import PEOPLE, House, open_house
from atrium_shared.paging import encode_page_token
from atrium_shared.testing import error_of, make_principal

BadCase = evaluation_service_pb2.BadCase
Answer = knowledge_pb2.Answer
LEAVE = "# Leave\n\nEvery employee has 25 days of paid leave a year."
PAY = "# Pay\n\nThe pay band of P5 is 5,100 euros a month."
LEAVE_QUESTION = "How many days of paid leave does an employee have?"
PAY_QUESTION = "What is the pay band of P5?"
LEAVE_CASE = {"question": LEAVE_QUESTION, "as_user": "users/employee"}
PAY_CASE = {"question": PAY_QUESTION, "as_user": "users/partner"}
BEFORE = EvaluationResult(
    number=1,
    as_user="users/lin",
    group="users/lin",
    decision=Decision.ANSWERED,
    decision_verdict=Verdict.RIGHT,
    fact_verdict=Verdict.RIGHT,
    citation_verdict=None,
    forbidden_shown=(),
    latency_seconds=0.1,
    error_reason="",
    question_hash="h",
    passages=("collections/c/documents/d/passages/1",),
)
WRONG = {"decision_verdict": Verdict.WRONG, "fact_verdict": Verdict.WRONG}
ELSEWHERE = ("collections/c/documents/other/passages/1",)


def client(
    house: House, who: str = "admin"
) -> evaluation_service_pb2_grpc.EvaluationServiceAsyncStub:
    return evaluation_service_pb2_grpc.EvaluationServiceStub(house.server.open_channel(who))


async def import_set(house: House, *cases: dict[str, Any]) -> str:
    async def parts() -> AsyncIterator[evaluation_service_pb2.ImportQuestionSetRequest]:
        yield evaluation_service_pb2.ImportQuestionSetRequest(
            header=evaluation_service_pb2.QuestionSet(collection="collections/handbook")
        )
        yield evaluation_service_pb2.ImportQuestionSetRequest(
            chunk="\n".join(map(json.dumps, cases)).encode()
        )

    return (await client(house).ImportQuestionSet(parts())).name


async def run(house: House, question_set: str, baseline: str = "", **fields: Any) -> str:
    """Run a set to its end and return the run's name."""
    request = evaluation_service_pb2.RunEvaluationRequest(
        question_set=question_set, baseline=baseline, **fields
    )
    operation = await client(house).RunEvaluation(request)
    done = await house.done(operation, "admin")
    assert not done.HasField("error"), done.error
    metadata = evaluation_service_pb2.RunEvaluationMetadata()
    done.metadata.Unpack(metadata)
    return metadata.run


async def page(
    house: House, who: str = "admin", **fields: Any
) -> evaluation_service_pb2.ListBadCasesResponse:
    return await client(house, who).ListBadCases(
        evaluation_service_pb2.ListBadCasesRequest(parent="collections/handbook", **fields)
    )


async def regressions(house: House, who: str = "admin") -> Sequence[BadCase]:
    found = (await page(house, who)).bad_cases
    assert {one.reason for one in found} <= {BadCase.REGRESSION}
    return found


async def delete(house: House, document: str) -> None:
    await house.as_("admin").DeleteDocument(
        knowledge_service_pb2.DeleteDocumentRequest(
            name=f"collections/handbook/documents/{document}"
        )
    )


async def complain(house: House) -> None:
    events = house.as_("employee").Ask(
        knowledge_service_pb2.AskRequest(parent="collections/handbook", question="Mars?")
    )
    (name,) = [event.answer.name async for event in events if event.HasField("answer")]
    await house.as_("employee").GiveFeedback(
        knowledge_service_pb2.GiveFeedbackRequest(
            feedback=knowledge_service_pb2.Feedback(
                answer=name, rating=knowledge_service_pb2.Feedback.NOT_HELPFUL
            )
        )
    )


@pytest.fixture
async def filled(house: House) -> House:
    await house.collection()
    await house.add(LEAVE, document_id="leave")
    await house.add(PAY, document_id="pay", labels=["hr/pay"])
    return house


async def test_an_unknown_set_and_an_unknown_baseline_are_not_run(filled: House):
    for who in ("admin", "stranger"):
        error = await error_of(
            client(filled, who).RunEvaluation(
                evaluation_service_pb2.RunEvaluationRequest(question_set="questionSets/none")
            )
        )
        assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "QUESTION_SET_NOT_FOUND")
    stored = await import_set(filled, LEAVE_CASE)
    error = await error_of(run(filled, stored, "evaluationRuns/none"))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "EVALUATION_RUN_NOT_FOUND")
    assert filled.stored_rows("evaluation_runs") == []


async def test_another_tenant_learns_nothing_of_a_regression(filled: House):
    stored = await import_set(filled, LEAVE_CASE)
    await run(filled, stored)
    await delete(filled, "leave")
    await run(filled, stored)
    assert len(await regressions(filled)) == 1
    error = await error_of(page(filled, "stranger"))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "COLLECTION_NOT_FOUND")


async def test_a_place_that_is_none_is_refused(filled: House):
    (uid, *_), *_ = filled.stored_rows("collections")
    token = encode_page_token("e1/x", f"acme/{uid}/badCases")
    error = await error_of(page(filled, page_token=token))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID")


async def test_the_same_answers_again_are_no_regression(filled: House):
    stored = await import_set(filled, LEAVE_CASE, PAY_CASE)
    await run(filled, stored)
    await run(filled, stored)
    assert await regressions(filled) == []


async def test_another_decision_is_a_regression_that_names_both_runs(filled: House):
    stored = await import_set(filled, PAY_CASE, LEAVE_CASE)
    before = await run(filled, stored)
    await delete(filled, "leave")
    after = await run(filled, stored)
    (found,) = await regressions(filled)
    assert (found.decision, found.feedback, list(found.passages)) == (Answer.NOT_FOUND, "", [])
    assert found.regression == BadCase.Regression(
        question_set=stored,
        number=2,
        run=after,
        baseline=before,
        baseline_decision=Answer.ANSWERED,
    )
    assert found.question_hash
    assert found.create_time.seconds
    await run(filled, stored)
    assert len(await regressions(filled)) == 1


async def test_other_documents_cited_are_a_regression(filled: House):
    stored = await import_set(filled, LEAVE_CASE)
    before = await run(filled, stored)
    await filled.add(LEAVE, document_id="copy")
    await filled.as_("admin").SetDocumentLabels(
        knowledge_service_pb2.SetDocumentLabelsRequest(
            name="collections/handbook/documents/leave", labels=["board"]
        )
    )
    after = await run(filled, stored, before)
    (found,) = await regressions(filled)
    assert found.decision == found.regression.baseline_decision == Answer.ANSWERED
    assert list(found.passages) == ["collections/handbook/documents/copy/passages/1"]
    cited_before = ["collections/handbook/documents/leave/passages/1"]
    assert list(found.regression.baseline_passages) == cited_before
    shown = await client(filled).GetEvaluationRun(
        evaluation_service_pb2.GetEvaluationRunRequest(name=after)
    )
    assert [one.changed for one in shown.results] == [True]


async def test_what_turned_right_is_no_regression(filled: House):
    stored = await import_set(filled, {**LEAVE_CASE, "expected_decision": "NOT_FOUND"})
    await run(filled, stored)
    await delete(filled, "leave")
    await run(filled, stored)
    assert await regressions(filled) == []


async def test_a_baseline_of_the_same_set_is_compared_with_and_no_other(filled: House):
    stored = await import_set(filled, LEAVE_CASE)
    other = await import_set(filled, LEAVE_CASE)
    good = await run(filled, stored)
    await delete(filled, "leave")
    gone = await run(filled, stored)
    foreign = await run(filled, other)
    again = await run(filled, stored, good)
    assert [
        (one.regression.run, one.regression.baseline)
        for one in sorted(await regressions(filled), key=lambda one: one.regression.run != gone)
    ] == [(gone, good), (again, good)]
    await run(filled, stored, foreign)
    assert len(await regressions(filled)) == 2


async def test_runs_in_another_mode_are_compared_only_when_they_are_named(filled: House):
    stored = await import_set(filled, LEAVE_CASE)
    before = await run(filled, stored)
    await delete(filled, "leave")
    extractive = knowledge_service_pb2.AskRequest.EXTRACTIVE
    await run(filled, stored, mode=extractive)
    assert await regressions(filled) == []
    await run(filled, stored, before, mode=extractive)
    assert len(await regressions(filled)) == 1


async def test_a_question_that_could_not_be_asked_is_no_regression(filled: House):
    stored = await import_set(filled, PAY_CASE)
    await run(filled, stored)
    del filled.delegation.principals["acme", "users/partner"]
    await run(filled, stored)
    assert await regressions(filled) == []


async def test_documents_that_one_may_not_know_of_are_not_named(tmp_path: Path):
    judge = make_principal("knowledge.evaluations:manage", actor="users/judge")
    async with open_house(tmp_path, people={**PEOPLE, "judge": judge}) as house:
        await house.collection()
        await house.add(PAY, document_id="pay", labels=["hr/pay"])
        stored = await import_set(house, PAY_CASE)
        before = await run(house, stored)
        await house.add(PAY, document_id="copy", labels=["hr/other"])
        await house.as_("admin").SetDocumentLabels(
            knowledge_service_pb2.SetDocumentLabelsRequest(
                name="collections/handbook/documents/pay", labels=["board"]
            )
        )
        await run(house, stored, before)
        (by_manager,), (by_judge,) = await regressions(house), await regressions(house, "judge")
        assert by_manager.passages
        assert by_manager.regression.baseline_passages
        assert not by_judge.passages
        assert not by_judge.regression.baseline_passages


async def test_deleting_the_set_removes_its_regressions(filled: House):
    stored = await import_set(filled, LEAVE_CASE)
    await run(filled, stored)
    await delete(filled, "leave")
    await run(filled, stored)
    assert len(await regressions(filled)) == 1
    await client(filled).DeleteQuestionSet(
        evaluation_service_pb2.DeleteQuestionSetRequest(name=stored)
    )
    assert await regressions(filled) == []


async def test_pages_run_from_feedback_on_into_regressions(filled: House):
    stored = await import_set(filled, LEAVE_CASE, {**LEAVE_CASE, "as_user": "users/partner"})
    await run(filled, stored)
    await delete(filled, "leave")
    await run(filled, stored)
    for _ in range(2):
        await complain(filled)
    whole = list((await page(filled)).bad_cases)
    assert [bool(one.feedback) for one in whole] == [True, True, False, False]
    assert [one.regression.number for one in whole] == [0, 0, 1, 2]
    for size in (1, 2, 3):
        found, token = [], ""
        while not found or token:
            reply = await page(filled, page_size=size, page_token=token)
            found += reply.bad_cases
            token = reply.next_page_token
        assert found == whole


async def test_a_regression_is_exported_as_the_case_of_its_set(filled: House):
    case = {**LEAVE_CASE, "expected_facts": [{"any_of": ["25 days"]}], "language": "en"}
    stored = await import_set(filled, case)
    await run(filled, stored)
    await delete(filled, "leave")
    await run(filled, stored)
    call = client(filled).ExportBadCases(
        evaluation_service_pb2.ExportBadCasesRequest(
            parent="collections/handbook", role="roles/hr-partner"
        )
    )
    data = b"".join([part.chunk async for part in call])
    (line,) = [json.loads(one) for one in data.splitlines()]
    assert {name: value for name, value in line.items() if value} == case


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False),
        ({"latency_seconds": 9.0}, False),
        ({"decision": Decision.NOT_FOUND}, True),
        ({"passages": ELSEWHERE}, True),
        ({"passages": ("collections/c/documents/d/passages/2",)}, False),
        ({"passages": None}, False),
        ({"fact_verdict": Verdict.WRONG}, True),
        ({"forbidden_shown": (1,)}, True),
        ({"decision": None, "error_reason": "USER_DISABLED", "passages": ()}, False),
    ],
)
def test_what_is_another_answer(changes: dict[str, Any], expected: bool):
    assert replace(BEFORE, **changes).regressed(BEFORE) is expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (WRONG, {"passages": ELSEWHERE}, False),
        (WRONG, {"passages": ELSEWHERE, "fact_verdict": Verdict.WRONG}, False),
        (WRONG, {**WRONG, "passages": ELSEWHERE}, True),
        (
            {"decision_verdict": Verdict.WRONG},
            {"fact_verdict": Verdict.WRONG, "passages": ELSEWHERE},
            True,
        ),
        (WRONG, {"forbidden_shown": (2,)}, True),
        ({"forbidden_shown": (1, 2)}, {"forbidden_shown": (1,)}, False),
    ],
)
def test_what_only_turned_right_is_none(
    before: dict[str, Any], after: dict[str, Any], expected: bool
):
    assert replace(BEFORE, **after).regressed(replace(BEFORE, **before)) is expected
