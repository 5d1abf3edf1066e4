"""Question sets and evaluation runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2

from atrium.knowledge.v1 import (
    evaluation_service_pb2,
    evaluation_service_pb2_grpc,
    knowledge_pb2,
    knowledge_service_pb2,
)
from atrium_knowledge.testing import (
    FakeDelegation,
    House,
    away,
    database_url_in,
    open_house,
    run_sql,
)
from atrium_shared.testing import error_of, make_principal

Result = evaluation_service_pb2.EvaluationResult
Run = evaluation_service_pb2.EvaluationRun
LEAVE = "# Leave\n\nEvery employee has 25 days of paid leave a year."
PAY = "# Pay\n\nThe pay band of P5 is 5,100 euros a month."
LEAVE_QUESTION = "How many days of paid leave does an employee have?"
PAY_QUESTION = "What is the pay band of P5?"
CASES: list[dict[str, Any]] = [
    {
        "question": LEAVE_QUESTION,
        "role": "roles/member",
        "expected_decision": "ANSWERED",
        "expected_facts": ["25 days"],
        "expected_document": "collections/handbook/documents/leave",
        "expected_section": "Leave",
    },
    {
        "question": PAY_QUESTION,
        "as_user": "users/employee",
        "role": "roles/member",
        "expected_decision": "NOT_FOUND",
        "forbidden_phrases": ["5,100"],
    },
    {
        "question": PAY_QUESTION,
        "role": "roles/hr-partner",
        "expected_decision": "ANSWERED",
        "expected_facts": [["5100", "5,100"]],
        "forbidden_phrases": ["a secret", "5,100 EUROS"],
    },
    {"question": PAY_QUESTION, "as_user": "users/employee", "expected_decision": "ANSWERED"},
]


def client(
    house: House, who: str = "admin"
) -> evaluation_service_pb2_grpc.EvaluationServiceAsyncStub:
    return evaluation_service_pb2_grpc.EvaluationServiceStub(house.server.open_channel(who))


def lines(cases: Sequence[object]) -> bytes:
    return "\n".join(json.dumps(case, ensure_ascii=False) for case in cases).encode()


async def import_set(
    house: House, data: bytes, who: str = "admin", *, header: bool = True
) -> evaluation_service_pb2.QuestionSet:
    async def parts() -> AsyncIterator[evaluation_service_pb2.ImportQuestionSetRequest]:
        if header:
            yield evaluation_service_pb2.ImportQuestionSetRequest(
                header=evaluation_service_pb2.QuestionSet(
                    collection="collections/handbook", display_name="Handbook"
                )
            )
        for start in range(0, len(data), 1 << 18):
            yield evaluation_service_pb2.ImportQuestionSetRequest(
                chunk=data[start : start + (1 << 18)]
            )

    return await client(house, who).ImportQuestionSet(parts())


async def start(house: House, question_set: str, baseline: str = "") -> operations_pb2.Operation:
    return await client(house).RunEvaluation(
        evaluation_service_pb2.RunEvaluationRequest(question_set=question_set, baseline=baseline)
    )


async def finished(house: House, operation: operations_pb2.Operation, baseline: str = "") -> Run:
    done = await house.done(operation, "admin")
    assert not done.HasField("error"), done.error
    metadata = evaluation_service_pb2.RunEvaluationMetadata()
    done.metadata.Unpack(metadata)
    assert metadata.cases_done == metadata.cases_total
    return await client(house).GetEvaluationRun(
        evaluation_service_pb2.GetEvaluationRunRequest(name=metadata.run, baseline=baseline)
    )


async def run(house: House, question_set: str, baseline: str = "") -> Run:
    return await finished(house, await start(house, question_set, baseline))


@pytest.fixture
async def filled(house: House) -> House:
    await house.collection()
    await house.add(LEAVE, document_id="leave")
    await house.add(PAY, document_id="pay", labels=["hr/pay"])
    return house


async def test_each_question_is_asked_with_the_permissions_of_its_user(filled: House):
    stored = await import_set(filled, lines(CASES))
    assert stored.case_count == 4
    done = await run(filled, stored.name)
    assert done.state == Run.DONE
    assert done.runner == "users/admin"
    decisions = [one.decision for one in done.results]
    answered, absent = knowledge_pb2.Answer.ANSWERED, knowledge_pb2.Answer.NOT_FOUND
    assert decisions == [answered, absent, answered, absent]
    assert [one.as_user for one in done.results] == [
        "users/employee",
        "users/employee",
        "users/partner",
        "users/employee",
    ]
    first, second, third, fourth = done.results
    assert (first.decision_verdict, first.fact_verdict, first.citation_verdict) == (
        Result.RIGHT,
        Result.RIGHT,
        Result.RIGHT,
    )
    assert (second.decision_verdict, second.fact_verdict) == (
        Result.RIGHT,
        Result.VERDICT_UNSPECIFIED,
    )
    assert list(second.forbidden_shown) == []
    assert list(third.forbidden_shown) == [2]
    assert fourth.decision_verdict == Result.WRONG
    reports = {one.role: one for one in done.roles}
    assert set(reports) == {"roles/member", "roles/hr-partner", "users/employee"}
    member = reports["roles/member"]
    assert (member.cases, member.decisions_right, member.decisions_judged) == (2, 2, 2)
    assert (member.facts_right, member.facts_judged, member.citations_right) == (1, 1, 1)
    assert reports["roles/hr-partner"].forbidden_shown == 1
    assert reports["users/employee"].decisions_right == 0
    assert member.latency_p95_seconds >= member.latency_median_seconds > 0


async def test_a_run_holds_no_text_of_answers(filled: House):
    stored = await import_set(filled, lines([CASES[2]]))
    await run(filled, stored.name)
    assert "5,100 euros a month" not in str(filled.stored_rows("evaluation_results"))


async def test_satisfaction_comes_from_feedback_on_the_same_questions(filled: House):
    for question, rating in (
        (LEAVE_QUESTION, knowledge_service_pb2.Feedback.HELPFUL),
        (f" {LEAVE_QUESTION.upper()}", knowledge_service_pb2.Feedback.NOT_HELPFUL),
        ("Is there a gym?", knowledge_service_pb2.Feedback.NOT_HELPFUL),
    ):
        events = filled.as_("employee").Ask(
            knowledge_service_pb2.AskRequest(parent="collections/handbook", question=question)
        )
        (name,) = [one.answer.name async for one in events if one.HasField("answer")]
        await filled.as_("employee").GiveFeedback(
            knowledge_service_pb2.GiveFeedbackRequest(
                feedback=knowledge_service_pb2.Feedback(answer=name, rating=rating)
            )
        )
    stored = await import_set(filled, lines(CASES))
    reports = {one.role: one for one in (await run(filled, stored.name)).roles}
    assert reports["roles/member"].feedback_helpful == 1
    assert reports["roles/member"].feedback_total == 2
    assert reports["roles/hr-partner"].feedback_total == 0


async def test_a_run_says_what_changed_since_another(filled: House):
    stored = await import_set(filled, lines(CASES))
    before = await run(filled, stored.name)
    assert not any(one.changed for one in before.results)
    same = await run(filled, stored.name, before.name)
    assert not any(one.changed for one in same.results)
    await filled.as_("editor").DeleteDocument(
        knowledge_service_pb2.DeleteDocumentRequest(name="collections/handbook/documents/leave")
    )
    after = await run(filled, stored.name, before.name)
    assert [one.changed for one in after.results] == [True, False, False, False]
    assert after.baseline == before.name
    listed = await client(filled).ListEvaluationRuns(
        evaluation_service_pb2.ListEvaluationRunsRequest()
    )
    assert {one.name for one in listed.runs} == {before.name, same.name, after.name}


@pytest.mark.parametrize(
    ("line", "field", "problem"),
    [
        (b"{", "", "it is not JSON"),
        (b"[]", "", "it is no JSON object"),
        (b"\xff", "", "it is not UTF-8"),
        (b'{"question": 5, "as_user": "users/employee"}', "question", "it is no text"),
        (b'{"question": " ", "as_user": "users/employee"}', "question", "it is empty"),
        (b'{"question": "q"}', "as_user", "neither"),
        (b'{"question": "q", "as_user": "employee"}', "as_user", "does not begin"),
        (b'{"question": "q", "role": "member"}', "role", "does not begin"),
        (b'{"question": "q", "role": "roles/member", "answer": "a"}', "answer", "no such field"),
        (
            b'{"question": "q", "role": "roles/member", "expected_decision": "MAYBE"}',
            "expected_decision",
            "none of",
        ),
        (
            b'{"question": "q", "role": "roles/member", "expected_facts": [[]]}',
            "expected_facts",
            "no phrase",
        ),
        (b'{"question": "q", "role": "roles/member", "language": "de"}', "language", "neither"),
    ],
)
async def test_a_malformed_line_is_named_and_nothing_is_stored(
    filled: House, line: bytes, field: str, problem: str
):
    error = await error_of(import_set(filled, lines([CASES[0]]) + b"\n" + line))
    assert (error.code, error.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "QUESTION_SET_LINE_INVALID",
    )
    assert (error.metadata["line"], error.metadata["field_name"]) == ("2", field)
    assert problem in error.metadata["problem"]
    assert filled.stored_rows("question_sets") == []


async def test_unknown_users_and_roles_are_all_listed_and_nothing_is_stored(filled: House):
    unknown = [
        {"question": "q", "as_user": "users/nobody"},
        {"question": "q", "as_user": "users/none"},
        {"question": "q", "role": "roles/king"},
    ]
    error = await error_of(import_set(filled, lines([*CASES, *unknown])))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "SUBJECTS_UNKNOWN")
    assert error.metadata == {"users": "users/nobody, users/none", "roles": "roles/king"}
    assert filled.stored_rows("question_sets") == []


async def test_an_empty_set_and_one_that_is_too_large_are_refused(filled: House):
    for data in (b"", b"\n \n"):
        error = await error_of(import_set(filled, data))
        assert (error.code, error.reason) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "QUESTION_SET_EMPTY",
        )
    error = await error_of(import_set(filled, lines([CASES[0]] * 1001)))
    assert (error.code, error.reason) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "QUESTION_SET_TOO_LARGE",
    )
    assert error.metadata == {"size": "1001", "limit": "1000", "unit": "questions"}
    assert (await error_of(import_set(filled, b" " * (4 * 1024 * 1024 + 1)))).reason == (
        "QUESTION_SET_TOO_LARGE"
    )
    error = await error_of(import_set(filled, b"{}", header=False))
    assert error.reason == "UPLOAD_HEADER_MISSING"
    assert filled.stored_rows("question_sets") == []


async def test_a_set_may_be_given_as_it_is_and_read_back(filled: House):
    wanted = evaluation_service_pb2.QuestionSet(
        collection="collections/handbook",
        display_name="Leave",
        cases=[
            evaluation_service_pb2.EvaluationCase(
                question=LEAVE_QUESTION,
                as_user="users/employee",
                expected_decision=knowledge_pb2.Answer.ANSWERED,
                expected_facts=[evaluation_service_pb2.FactChoices(any_of=["25", "twenty-five"])],
            )
        ],
    )
    made = await client(filled).CreateQuestionSet(
        evaluation_service_pb2.CreateQuestionSetRequest(question_set=wanted)
    )
    found = await client(filled).GetQuestionSet(
        evaluation_service_pb2.GetQuestionSetRequest(name=made.name)
    )
    assert list(found.cases) == list(wanted.cases)
    (listed,) = (
        await client(filled).ListQuestionSets(evaluation_service_pb2.ListQuestionSetsRequest())
    ).question_sets
    assert (listed.name, listed.case_count, len(listed.cases)) == (made.name, 1, 0)
    await client(filled).DeleteQuestionSet(
        evaluation_service_pb2.DeleteQuestionSetRequest(name=made.name)
    )
    error = await error_of(start(filled, made.name))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "QUESTION_SET_NOT_FOUND")
    nobody = evaluation_service_pb2.QuestionSet(
        collection="collections/handbook",
        cases=[evaluation_service_pb2.EvaluationCase(question="q")],
    )
    error = await error_of(
        client(filled).CreateQuestionSet(
            evaluation_service_pb2.CreateQuestionSetRequest(question_set=nobody)
        )
    )
    assert error.reason == "QUESTION_SET_LINE_INVALID"


async def test_who_may_not_act_for_the_users_may_not_store_a_set(tmp_path: Path):
    judge = make_principal("knowledge.evaluations:manage", actor="users/judge")
    everyone = make_principal("knowledge.answers:ask", actor="users/employee")
    delegation = FakeDelegation([judge, everyone])
    async with open_house(
        tmp_path, people={"judge": judge, "admin": make_principal("*:*")}, delegation=delegation
    ) as house:
        await house.collection()
        error = await error_of(
            import_set(house, lines([{"question": "q", "as_user": "users/employee"}]), "judge")
        )
        assert (error.code, error.reason) == (
            grpc.StatusCode.PERMISSION_DENIED,
            "PERMISSION_DENIED",
        )
        assert house.stored_rows("question_sets") == []


@pytest.mark.parametrize("who", ["employee", "partner", "editor"])
async def test_others_may_not_evaluate(filled: House, who: str):
    error = await error_of(import_set(filled, lines(CASES), who))
    assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")


async def test_another_tenant_sees_neither_set_nor_run(filled: House):
    stored = await import_set(filled, lines(CASES[:1]))
    done = await run(filled, stored.name)
    other = client(filled, "stranger")
    error = await error_of(
        other.GetQuestionSet(evaluation_service_pb2.GetQuestionSetRequest(name=stored.name))
    )
    assert error.reason == "QUESTION_SET_NOT_FOUND"
    error = await error_of(
        other.GetEvaluationRun(evaluation_service_pb2.GetEvaluationRunRequest(name=done.name))
    )
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "EVALUATION_RUN_NOT_FOUND")
    assert not (
        await other.ListEvaluationRuns(evaluation_service_pb2.ListEvaluationRunsRequest())
    ).runs


async def test_a_user_who_is_gone_fails_their_questions_alone(filled: House):
    stored = await import_set(filled, lines(CASES))
    del filled.delegation.principals["acme", "users/partner"]
    done = await run(filled, stored.name)
    assert [one.error_reason for one in done.results] == ["", "", "USER_NOT_FOUND", ""]
    assert {one.role: one.errors for one in done.roles}["roles/hr-partner"] == 1


async def test_a_runner_who_may_no_longer_evaluate_ends_the_run(filled: House):
    stored = await import_set(filled, lines(CASES))
    filled.delegation.principals["acme", "users/admin"] = make_principal(actor="users/admin")
    operation = await filled.done(await start(filled, stored.name), "admin")
    assert operation.error.code == grpc.StatusCode.PERMISSION_DENIED.value[0]
    (listed,) = (
        await client(filled).ListEvaluationRuns(evaluation_service_pb2.ListEvaluationRunsRequest())
    ).runs
    assert (listed.state, listed.error_reason) == (Run.FAILED, "PERMISSION_DENIED")
    assert filled.stored_rows("evaluation_results") == []


async def test_an_interrupted_run_goes_on_where_it_was(house_at, tmp_path: Path):
    async with house_at() as house:
        await house.collection()
        await house.add(LEAVE, document_id="leave")
        await house.add(PAY, document_id="pay", labels=["hr/pay"])
        stored = await import_set(house, lines(CASES))
        done = await run(house, stored.name)
    # As a kill after two of four questions leaves it.
    for statement in (
        "UPDATE evaluation_runs SET state = 'RUNNING'",
        "UPDATE operations SET done = FALSE, response = NULL WHERE id LIKE 'e%'",
        "DELETE FROM evaluation_results WHERE number > 2",
    ):
        run_sql(database_url_in(tmp_path), statement)
    async with house_at() as house:
        operation = f"operations/knowledge.{done.name.removeprefix('evaluationRuns/')}"
        again = await finished(house, operations_pb2.Operation(name=operation))
        assert [one.decision for one in again.results] == [one.decision for one in done.results]
        kept = [one.latency_seconds for one in done.results[:2]]
        assert [one.latency_seconds for one in again.results[:2]] == kept
        asked = [event for event in house.audit.events if event.action == "knowledge.Ask"]
        assert len(asked) == 2


async def test_a_cancelled_run_asks_no_further_question(filled: House):
    stored = await import_set(filled, lines(CASES * 50))
    operation = await start(filled, stored.name)
    await filled.operations("admin").CancelOperation(
        operations_pb2.CancelOperationRequest(name=operation.name)
    )
    (row,) = filled.stored_rows("evaluation_runs")
    assert "CANCELLED" in row
    assert len(filled.stored_rows("evaluation_results")) < 200


async def test_a_run_waits_while_the_database_is_away(filled: House):
    stored = await import_set(filled, lines(CASES))
    undisturbed = await run(filled, stored.name)
    operation = await start(filled, stored.name)
    with away(filled.settings.database_url):
        await asyncio.sleep(0.5)
    again = await finished(filled, operation)
    assert [one.error_reason for one in again.results] == [""] * len(CASES)
    assert [one.decision for one in again.results] == [one.decision for one in undisturbed.results]
