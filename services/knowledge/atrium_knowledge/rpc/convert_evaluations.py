"""Evaluations: protos to domain and back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import asdict
from typing import Final

from atrium.knowledge.v1 import evaluation_service_pb2, knowledge_pb2
from atrium_knowledge.app.export_bad_cases import ExportSummary
from atrium_knowledge.domain.answers import Decision
from atrium_knowledge.domain.evaluations import (
    BadCase,
    BadCaseReason,
    EvaluationCase,
    EvaluationResult,
    EvaluationRun,
    QuestionSet,
    Regression,
    RoleReport,
    RunState,
    Verdict,
)
from atrium_knowledge.rpc.convert import DECISIONS, timestamp

_DECISIONS_FROM_PROTO: Final = {number: decision for decision, number in DECISIONS.items()}
_VERDICTS: Final = {
    Verdict.RIGHT: evaluation_service_pb2.EvaluationResult.RIGHT,
    Verdict.WRONG: evaluation_service_pb2.EvaluationResult.WRONG,
    None: evaluation_service_pb2.EvaluationResult.VERDICT_UNSPECIFIED,
}
_STATES: Final = {
    RunState.RUNNING: evaluation_service_pb2.EvaluationRun.RUNNING,
    RunState.DONE: evaluation_service_pb2.EvaluationRun.DONE,
    RunState.FAILED: evaluation_service_pb2.EvaluationRun.FAILED,
    RunState.CANCELLED: evaluation_service_pb2.EvaluationRun.CANCELLED,
}

_REASONS: Final = {
    BadCaseReason.NOT_HELPFUL: evaluation_service_pb2.BadCase.NOT_HELPFUL,
    BadCaseReason.REFUSAL_DISPUTED: evaluation_service_pb2.BadCase.REFUSAL_DISPUTED,
    BadCaseReason.NOTHING_FOUND: evaluation_service_pb2.BadCase.NOTHING_FOUND,
    BadCaseReason.REGRESSION: evaluation_service_pb2.BadCase.REGRESSION,
}


def bad_case_to_proto(bad_case: BadCase) -> evaluation_service_pb2.BadCase:
    """Convert an answer that did not help, or is another than before."""
    return evaluation_service_pb2.BadCase(
        feedback=f"feedback/{bad_case.feedback_id}" if bad_case.feedback_id else "",
        reason=_REASONS[bad_case.reason],
        decision=DECISIONS[bad_case.decision],
        question_hash=bad_case.question_hash,
        passages=bad_case.passages,
        create_time=timestamp(bad_case.create_time),
        regression=_regression_to_proto(bad_case.regression) if bad_case.regression else None,
    )


def _regression_to_proto(regression: Regression) -> evaluation_service_pb2.BadCase.Regression:
    return evaluation_service_pb2.BadCase.Regression(
        question_set=f"questionSets/{regression.set_id}",
        number=regression.number,
        run=f"evaluationRuns/{regression.run_id}",
        baseline=f"evaluationRuns/{regression.baseline_id}",
        baseline_decision=DECISIONS[regression.baseline_decision],
        baseline_passages=regression.baseline_passages,
    )


def export_part_to_proto(
    part: bytes | ExportSummary,
) -> evaluation_service_pb2.ExportBadCasesResponse:
    """Convert a part of an export."""
    if isinstance(part, bytes):
        return evaluation_service_pb2.ExportBadCasesResponse(chunk=part)
    summary = evaluation_service_pb2.ExportBadCasesResponse.Summary(**asdict(part))
    return evaluation_service_pb2.ExportBadCasesResponse(summary=summary)


def cases_from_proto(
    cases: Iterable[evaluation_service_pb2.EvaluationCase],
) -> tuple[EvaluationCase, ...]:
    """Convert questions."""
    return tuple(
        EvaluationCase(
            question=case.question,
            language=case.language,
            as_user=case.as_user,
            role=case.role,
            expected_decision=_DECISIONS_FROM_PROTO.get(case.expected_decision),
            expected_facts=tuple(tuple(fact.any_of) for fact in case.expected_facts),
            expected_document=case.expected_document,
            expected_section=case.expected_section,
            forbidden_phrases=tuple(case.forbidden_phrases),
        )
        for case in cases
    )


def set_to_proto(questions: QuestionSet) -> evaluation_service_pb2.QuestionSet:
    """Convert a set."""
    return evaluation_service_pb2.QuestionSet(
        name=questions.name,
        collection=f"collections/{questions.collection_id}",
        display_name=questions.display_name,
        cases=[_case_to_proto(case) for case in questions.cases],
        case_count=questions.case_count,
        create_time=timestamp(questions.create_time),
    )


async def import_parts(
    requests: AsyncIterator[evaluation_service_pb2.ImportQuestionSetRequest],
) -> AsyncIterator[tuple[str, str] | bytes]:
    """Convert the messages of an import as they come; one without a part says nothing."""
    async for request in requests:
        match request.WhichOneof("part"):
            case "header":
                yield request.header.collection, request.header.display_name
            case "chunk":
                yield request.chunk


def progress_to_proto(
    run: EvaluationRun, done: int
) -> evaluation_service_pb2.RunEvaluationMetadata:
    """Convert how far a run is."""
    return evaluation_service_pb2.RunEvaluationMetadata(
        run=run.name, cases_done=done, cases_total=run.case_count
    )


def run_to_proto(
    run: EvaluationRun,
    roles: Sequence[RoleReport] = (),
    results: Sequence[tuple[EvaluationResult, bool]] = (),
) -> evaluation_service_pb2.EvaluationRun:
    """Convert a run, with its reports and results where they are wanted."""
    return evaluation_service_pb2.EvaluationRun(
        name=run.name,
        question_set=f"questionSets/{run.set_id}",
        baseline=f"evaluationRuns/{run.baseline}" if run.baseline else "",
        state=_STATES[run.state],
        error_reason=run.error_reason,
        roles=[_report_to_proto(role) for role in roles],
        results=[_result_to_proto(result, changed=changed) for result, changed in results],
        case_count=run.case_count,
        runner=run.runner,
        create_time=timestamp(run.create_time),
    )


def _case_to_proto(case: EvaluationCase) -> evaluation_service_pb2.EvaluationCase:
    return evaluation_service_pb2.EvaluationCase(
        question=case.question,
        language=case.language,
        as_user=case.as_user,
        role=case.role,
        expected_decision=_decision(case.expected_decision),
        expected_facts=[
            evaluation_service_pb2.FactChoices(any_of=choices) for choices in case.expected_facts
        ],
        expected_document=case.expected_document,
        expected_section=case.expected_section,
        forbidden_phrases=case.forbidden_phrases,
    )


def _report_to_proto(report: RoleReport) -> evaluation_service_pb2.RoleReport:
    return evaluation_service_pb2.RoleReport(
        role=report.role,
        cases=report.cases,
        decisions_right=report.decisions[0],
        decisions_judged=report.decisions[1],
        facts_right=report.facts[0],
        facts_judged=report.facts[1],
        citations_right=report.citations[0],
        citations_judged=report.citations[1],
        forbidden_shown=report.forbidden_shown,
        errors=report.errors,
        latency_median_seconds=report.latency_median_seconds,
        latency_p95_seconds=report.latency_p95_seconds,
        feedback_helpful=report.feedback[0],
        feedback_total=report.feedback[1],
    )


def _result_to_proto(
    result: EvaluationResult, *, changed: bool
) -> evaluation_service_pb2.EvaluationResult:
    return evaluation_service_pb2.EvaluationResult(
        number=result.number,
        as_user=result.as_user,
        role=result.group,
        decision=_decision(result.decision),
        decision_verdict=_VERDICTS[result.decision_verdict],
        fact_verdict=_VERDICTS[result.fact_verdict],
        citation_verdict=_VERDICTS[result.citation_verdict],
        forbidden_shown=result.forbidden_shown,
        latency_seconds=result.latency_seconds,
        error_reason=result.error_reason,
        changed=changed,
    )


def _decision(decision: Decision | None) -> knowledge_pb2.Answer.Decision.ValueType:
    return DECISIONS[decision] if decision else knowledge_pb2.Answer.DECISION_UNSPECIFIED
