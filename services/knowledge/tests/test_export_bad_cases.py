"""Bad cases as lines of a question set: whose words are kept, and who may have them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from atrium.knowledge.v1 import (
    evaluation_service_pb2,
    evaluation_service_pb2_grpc,
    knowledge_pb2,
    knowledge_service_pb2,
)
from atrium_knowledge.testing import (
    PEOPLE,
    FakeDelegation,
    House,
    database_url_in,
    open_house,
    run_sql,
)
from atrium_shared.principal import Principal
from atrium_shared.testing import error_of, make_principal

Summary = evaluation_service_pb2.ExportBadCasesResponse.Summary
LEAVE = "# Leave\n\nEvery employee has 25 days of paid leave a year."
PAY = "# Pay\n\nThe pay band of P5 is 5,100 euros a month."
LEAVE_QUESTION = "How many days of paid leave does an employee have?"
PAY_QUESTION = "What is the pay band of P5?"
PLANTS_QUESTION = "Who waters the plants on Mars?"
JUDGES = {
    # Acts for everybody, and reads what has no labels.
    "judge": make_principal(
        "knowledge.evaluations:manage", "users/*:impersonate", actor="users/judge"
    ),
    "hr-judge": make_principal(
        "knowledge.evaluations:manage",
        "users/*:impersonate",
        labels=["hr/*"],
        actor="users/hr-judge",
    ),
    # Sees that hidden documents exist, not what they say.
    "archivist": make_principal(
        "knowledge.evaluations:manage",
        "knowledge.documents:manage",
        "users/*:impersonate",
        actor="users/archivist",
    ),
    "loner": make_principal("knowledge.evaluations:manage", actor="users/loner"),
}


@asynccontextmanager
async def opened(
    folder: Path, people: Mapping[str, Principal] = {**PEOPLE, **JUDGES}, **parts: Any
) -> AsyncIterator[House]:
    async with open_house(folder, people=people, **parts) as house:
        yield house


async def fill(house: House, *, keep_questions: bool = True) -> None:
    await house.collection(keep_questions=keep_questions)
    await house.add(LEAVE, document_id="leave")
    await house.add(PAY, document_id="pay", labels=["hr/pay"])


async def complain(
    house: House, who: str, question: str, parent: str = "collections/handbook"
) -> None:
    """Ask, and say that the answer did not help."""
    events = house.as_(who).Ask(knowledge_service_pb2.AskRequest(parent=parent, question=question))
    (name,) = [event.answer.name async for event in events if event.HasField("answer")]
    await house.as_(who).GiveFeedback(
        knowledge_service_pb2.GiveFeedbackRequest(
            feedback=knowledge_service_pb2.Feedback(
                answer=name, rating=knowledge_service_pb2.Feedback.NOT_HELPFUL
            )
        )
    )


def client(house: House, who: str) -> evaluation_service_pb2_grpc.EvaluationServiceAsyncStub:
    return evaluation_service_pb2_grpc.EvaluationServiceStub(house.server.open_channel(who))


async def exported(house: House, who: str, **fields: str) -> tuple[bytes, Summary]:
    request = evaluation_service_pb2.ExportBadCasesRequest(
        **{"parent": "collections/handbook", **fields}
    )
    parts = [part async for part in client(house, who).ExportBadCases(request)]
    assert [one.WhichOneof("part") for one in parts[-1:]] == ["summary"]
    assert all(one.chunk.endswith(b"\n") for one in parts[:-1])
    return b"".join(one.chunk for one in parts[:-1]), parts[-1].summary


async def lines(house: House, who: str, **fields: str) -> list[dict[str, Any]]:
    data, summary = await exported(house, who, **fields)
    found = [json.loads(line) for line in data.splitlines()]
    assert summary.exported == len(found)
    return found


def asked(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return sorted((one["as_user"], one["question"]) for one in found)


async def keep(house: House, value: bool | None, *mask: str) -> knowledge_pb2.Collection:
    wanted = knowledge_pb2.Collection(name="collections/handbook", display_name="Handbook")
    if value is not None:
        wanted.keep_questions = value
    return await house.as_("admin").UpdateCollection(
        knowledge_service_pb2.UpdateCollectionRequest(
            collection=wanted, update_mask=FieldMask(paths=mask) if mask else None
        )
    )


async def relabel(house: House, document: str, *labels: str) -> None:
    await house.as_("admin").SetDocumentLabels(
        knowledge_service_pb2.SetDocumentLabelsRequest(
            name=f"collections/handbook/documents/{document}", labels=labels
        )
    )


@pytest.mark.parametrize("who", ["employee", "partner", "editor"])
async def test_others_may_not_export(house: House, who: str):
    await house.collection()
    error = await error_of(exported(house, who))
    assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")


async def test_another_tenants_collection_reads_like_one_that_is_not_there(house: House):
    await house.collection()
    theirs = await error_of(exported(house, "stranger"))
    absent = await error_of(exported(house, "admin", parent="collections/absent"))
    for error in (theirs, absent):
        assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "COLLECTION_NOT_FOUND")
    assert theirs.message.replace("handbook", "absent") == absent.message


async def test_a_role_that_nobody_holds_or_that_is_none_is_refused(house: House):
    await house.collection()
    error = await error_of(exported(house, "admin", role="roles/king"))
    assert (error.code, error.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "ROLE_HELD_BY_NOBODY",
    )
    assert error.metadata == {"role": "roles/king"}
    error = await error_of(exported(house, "admin", role="member"))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")


async def test_without_bad_cases_there_is_a_summary_alone(house: House):
    await house.collection()
    assert await exported(house, "admin") == (b"", Summary())


async def test_words_are_not_exported_unless_the_collection_keeps_them(tmp_path: Path):
    async with opened(tmp_path) as house:
        await fill(house, keep_questions=False)
        await complain(house, "employee", LEAVE_QUESTION)
        assert await exported(house, "judge") == (b"", Summary(without_words=1))


async def test_a_bad_case_is_imported_and_asked_again(tmp_path: Path):
    async with opened(tmp_path) as house:
        await fill(house)
        await complain(house, "employee", LEAVE_QUESTION)
        await complain(house, "employee", PLANTS_QUESTION)
        await complain(house, "employee", LEAVE_QUESTION.upper())
        data, summary = await exported(house, "judge")
        assert summary == Summary(exported=2, duplicates=1)
        assert (await exported(house, "judge", parent="collections/handbook"))[0] == data
        stub = client(house, "judge")
        requests = [
            evaluation_service_pb2.ImportQuestionSetRequest(
                header=evaluation_service_pb2.QuestionSet(collection="collections/handbook")
            ),
            evaluation_service_pb2.ImportQuestionSetRequest(chunk=data),
        ]
        made = await stub.ImportQuestionSet(iter(requests))
        assert made.case_count == 2
        operation = await stub.RunEvaluation(
            evaluation_service_pb2.RunEvaluationRequest(question_set=made.name)
        )
        await house.done(operation, "judge")
        (run,) = (
            await stub.ListEvaluationRuns(evaluation_service_pb2.ListEvaluationRunsRequest())
        ).runs
        done = await stub.GetEvaluationRun(
            evaluation_service_pb2.GetEvaluationRunRequest(name=run.name)
        )
        decisions = [one.decision for one in done.results]
        assert sorted(decisions) == [knowledge_pb2.Answer.ANSWERED, knowledge_pb2.Answer.NOT_FOUND]


async def test_only_answers_that_the_caller_may_see_are_exported(tmp_path: Path):
    async with opened(tmp_path) as house:
        await fill(house)
        await complain(house, "partner", PAY_QUESTION)
        await complain(house, "employee", PAY_QUESTION)
        nothing_found = [("users/employee", PAY_QUESTION)]
        assert asked(await lines(house, "judge")) == nothing_found
        assert asked(await lines(house, "archivist")) == nothing_found
        assert (await exported(house, "judge"))[1] == Summary(exported=1, withheld=1)
        everything = [*nothing_found, ("users/partner", PAY_QUESTION)]
        assert asked(await lines(house, "hr-judge")) == everything


async def test_what_was_closed_since_or_only_opened_since_is_not_exported(tmp_path: Path):
    async with opened(tmp_path) as house:
        await fill(house)
        await complain(house, "partner", PAY_QUESTION)
        await complain(house, "employee", LEAVE_QUESTION)
        await relabel(house, "pay")
        await relabel(house, "leave", "board")
        assert await lines(house, "judge") == []
        assert asked(await lines(house, "hr-judge")) == [("users/partner", PAY_QUESTION)]
        # The new version opens what the old one, which was cited, kept closed.
        await relabel(house, "pay", "hr/pay")
        await house.add("# Pay\n\nAsk HR.", document_id="pay")
        await relabel(house, "pay")
        assert await lines(house, "judge") == []


async def test_a_section_that_the_caller_may_not_read_keeps_the_case_back(tmp_path: Path):
    async with opened(tmp_path) as house:
        await house.collection(keep_questions=True)
        await house.add(
            f"{LEAVE}\n{PAY}",
            document_id="guide",
            section_labels=[knowledge_pb2.SectionLabels(heading="Pay", labels=["hr/pay"])],
        )
        await complain(house, "partner", PAY_QUESTION)
        await complain(house, "partner", LEAVE_QUESTION)
        assert asked(await lines(house, "judge")) == [("users/partner", LEAVE_QUESTION)]
        assert len(await lines(house, "hr-judge")) == 2


async def test_users_for_whom_the_caller_may_not_act_are_not_named(tmp_path: Path):
    async with opened(tmp_path) as house:
        await fill(house)
        await complain(house, "employee", LEAVE_QUESTION)
        await complain(house, "partner", LEAVE_QUESTION)
        assert await exported(house, "loner") == (b"", Summary(withheld=2))
        data, summary = await exported(house, "loner", role="roles/member")
        assert summary == Summary(exported=1, duplicates=1)
        assert b"users/" not in data
        (line,) = [json.loads(one) for one in data.splitlines()]
        assert (line["role"], line["question"]) == ("roles/member", LEAVE_QUESTION)
        del house.delegation.principals["acme", "users/partner"]
        assert asked(await lines(house, "judge")) == [("users/employee", LEAVE_QUESTION)]


async def test_an_export_that_cannot_ask_for_permissions_fails(tmp_path: Path):
    class Away(FakeDelegation):
        async def delegate(self, tenant: str, actor: str, on_behalf_of: str | None) -> Principal:
            if on_behalf_of is not None:
                raise TimeoutError
            return await super().delegate(tenant, actor, on_behalf_of)

    people = {**PEOPLE, **JUDGES}
    async with opened(tmp_path, delegation=Away(list(people.values()))) as house:
        await fill(house)
        await complain(house, "employee", LEAVE_QUESTION)
        error = await error_of(exported(house, "judge"))
        assert error.code == grpc.StatusCode.INTERNAL


async def test_an_export_is_audited_before_its_first_line_and_without_words(tmp_path: Path):
    async with opened(tmp_path) as house:
        await fill(house)
        await complain(house, "employee", LEAVE_QUESTION)
        request = evaluation_service_pb2.ExportBadCasesRequest(parent="collections/handbook")
        call = client(house, "judge").ExportBadCases(request)
        async for _ in call:
            break
        last = house.audit.events[-1]
        assert (last.action, last.resource, last.actor) == (
            "knowledge.ExportBadCases",
            "collections/handbook",
            "users/judge",
        )
        assert LEAVE_QUESTION not in str(house.audit.events)
        call.cancel()


async def test_switching_off_removes_the_words_that_were_kept(tmp_path: Path):
    async with opened(tmp_path) as house:
        await fill(house)
        await house.collection("other", keep_questions=True)
        await complain(house, "employee", LEAVE_QUESTION)
        await complain(house, "employee", PLANTS_QUESTION, "collections/other")
        assert LEAVE_QUESTION in str(house.stored_rows("feedback"))
        assert not (await keep(house, False)).keep_questions
        assert LEAVE_QUESTION not in str(house.stored_rows("feedback"))
        assert PLANTS_QUESTION in str(house.stored_rows("feedback"))
        assert await exported(house, "judge") == (b"", Summary(without_words=1))


async def test_keeping_questions_changes_only_when_it_is_named(house: House):
    assert not (await house.collection("plain")).keep_questions
    await house.collection(keep_questions=True)
    assert (await keep(house, None)).keep_questions
    assert (await keep(house, False, "display_name")).keep_questions
    assert not (await keep(house, None, "keep_questions")).keep_questions
    assert (await keep(house, True, "keep_questions")).keep_questions


async def test_words_of_an_older_schema_go(
    house_at: Callable[..., AbstractAsyncContextManager[House]], tmp_path: Path
):
    async with house_at() as house:
        await fill(house)
        await complain(house, "employee", LEAVE_QUESTION)
        assert LEAVE_QUESTION in str(house.stored_rows("feedback"))
    for statement in (
        "DROP INDEX ix_evaluation_results_regressed_from",
        "ALTER TABLE evaluation_results DROP COLUMN regressed_from",
        "ALTER TABLE collections DROP COLUMN keep_questions",
        "UPDATE schema_version_knowledge SET version_num = '0006'",
    ):
        run_sql(database_url_in(tmp_path), statement)
    async with house_at() as house:
        assert LEAVE_QUESTION not in str(house.stored_rows("feedback"))
        found = await house.as_("admin").GetCollection(
            knowledge_service_pb2.GetCollectionRequest(name="collections/handbook")
        )
        assert not found.keep_questions
