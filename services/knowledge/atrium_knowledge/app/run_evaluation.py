"""Ask the questions of a set as the users whom it names, and compare with what was expected."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Final

import structlog

from atrium_knowledge.app.ask_question import Answer, AskMode, AskQuestion, Sources
from atrium_knowledge.app.evaluation_store import EvaluationStore
from atrium_knowledge.app.ports import Delegation, RoleHolders
from atrium_knowledge.app.question_sets import act_for
from atrium_knowledge.app.stores import CollectionStore
from atrium_knowledge.domain.errors import EvaluationFailed, SubjectsUnknown
from atrium_knowledge.domain.evaluations import (
    EvaluationCase,
    EvaluationResult,
    EvaluationRun,
    QuestionSet,
    Reply,
    RoleReport,
    RunState,
    judge,
    question_hash,
    reports,
)
from atrium_knowledge.domain.names import evaluation_run_id, question_set_id
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.clock import Clock, Ids
from atrium_shared.database import DatabaseUnavailable
from atrium_shared.errors import AtriumError, NotFound
from atrium_shared.job_gate import JobGate
from atrium_shared.jobs import JSON, JobContext, JobRunner
from atrium_shared.operations import Operation
from atrium_shared.paging import decode_page_token, encode_page_token, page_size
from atrium_shared.principal import Principal

EVALUATE_JOB: Final = "knowledge.evaluate"
MANAGE_EVALUATIONS: Final = "knowledge.evaluations:manage"

_log = structlog.get_logger(__name__)


class RunEvaluation:
    """The use cases of runs, and the job that a run is.

    A question is a step of the job; its result is stored once, so a run that a crash interrupts
    goes on with the next question. Permissions are looked up anew for each: those of the runner,
    and those of the user as whom it is asked.

    Args:
        collections: Where collections are stored.
        evaluations: Where sets, runs and results are stored.
        ask: Answers.
        delegation: Says who users are and what they may do.
        roles: Finds users who hold a role.
        jobs: Runs the job.
        audit: Records calls.
        clock: Tells the time.
        ids: Makes names.
    """

    def __init__(
        self,
        collections: CollectionStore,
        evaluations: EvaluationStore,
        ask: AskQuestion,
        delegation: Delegation,
        roles: RoleHolders,
        jobs: JobRunner,
        audit: AuditTrail,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._collections = collections
        self._evaluations = evaluations
        self._ask = ask
        self._delegation = delegation
        self._roles = roles
        self._jobs = jobs
        self._audit = audit
        self._clock = clock
        self._ids = ids
        self.gate = JobGate()
        """Opened when the service has started, closed when it stops."""

    async def start(
        self, principal: Principal, question_set: str, baseline: str, mode: AskMode
    ) -> Operation:
        """Begin a run; returned means durable.

        Raises:
            QuestionSetNotFound: There is no such set in the caller's tenant.
            EvaluationRunNotFound: There is no such baseline.
        """
        async with self._audit.call(principal, "RunEvaluation", question_set):
            questions = await self._evaluations.get_set(
                principal.tenant, question_set_id(question_set)
            )
            if baseline:
                await self._evaluations.get_run(principal.tenant, evaluation_run_id(baseline))
            run = EvaluationRun(
                tenant=principal.tenant,
                id=self._ids.new("e"),
                set_id=questions.id,
                collection_uid=questions.collection_uid,
                baseline=evaluation_run_id(baseline) if baseline else "",
                mode=mode,
                runner=principal.subject,
                state=RunState.RUNNING,
                error_reason="",
                case_count=questions.case_count,
                create_time=self._clock.now(),
            )
            operation = await self._evaluations.begin_run(run)
            await self._submit(run)
            return operation

    async def get(
        self, principal: Principal, name: str, baseline: str
    ) -> tuple[EvaluationRun, list[RoleReport], Sequence[tuple[EvaluationResult, bool]]]:
        """Return a run, one report a role, and each result with whether it changed.

        Args:
            principal: Who asks.
            name: Which run.
            baseline: Another run to compare with; empty: the run's own baseline.

        Raises:
            EvaluationRunNotFound: There is no such run, or no such baseline.
        """
        async with self._audit.call(principal, "GetEvaluationRun", name):
            run = await self._evaluations.get_run(principal.tenant, evaluation_run_id(name))
            results = await self._evaluations.results(run.tenant, run.id)
            before: Sequence[EvaluationResult] = ()
            if baseline:
                other = await self._evaluations.get_run(
                    principal.tenant, evaluation_run_id(baseline)
                )
                before = await self._evaluations.results(run.tenant, other.id)
            elif run.baseline:
                before = await self._evaluations.results(run.tenant, run.baseline)
            earlier = {_identity(one): one for one in before}
            feedback = await self._evaluations.feedback(
                run.tenant, [one.question_hash for one in results]
            )
            compared = [
                (one, (old := earlier.get(_identity(one))) is not None and one.differs(old))
                for one in results
            ]
            return run, reports(results, feedback), compared

    async def list(
        self, principal: Principal, requested: int, page_token: str
    ) -> tuple[Sequence[EvaluationRun], str]:
        """Return a page of runs, and the token of the next page.

        Raises:
            PageTokenInvalid: The token was altered or made for another request.
        """
        async with self._audit.call(principal, "ListEvaluationRuns", "evaluationRuns"):
            fingerprint = f"{principal.tenant}/evaluationRuns"
            after = decode_page_token(page_token, fingerprint)
            size = page_size(requested)
            found = await self._evaluations.list_runs(principal.tenant, after, size + 1)
            page, more = found[:size], len(found) > size
            return page, encode_page_token(page[-1].id, fingerprint) if more else ""

    async def resume(self) -> None:
        """Submit the runs again that a crash kept from being submitted; others are unaffected."""
        for run in await self._evaluations.unfinished():
            await self._submit(run)

    async def cancel(self, operation_id: str) -> None:
        """End a run whose operation was cancelled; one that is done is left alone."""
        run = await self._evaluations.run_of_operation(operation_id)
        if run is not None:
            await self._evaluations.end_run(run, RunState.CANCELLED)

    async def handle(self, job: JobContext, payload: JSON) -> JSON:
        """Run the job of one run."""
        tenant, run_id = str(payload["tenant"]), str(payload["run"])
        for number in range(1, int(payload["cases"]) + 1):
            step = self._guarded(tenant, run_id, number)
            if (await job.step(f"question {number}", step))["over"]:
                return {}
        await job.step("end", self._guarded(tenant, run_id, 0))
        return {}

    async def _submit(self, run: EvaluationRun) -> None:
        payload = {"tenant": run.tenant, "run": run.id, "cases": run.case_count}
        await self._jobs.submit(EVALUATE_JOB, run.id, payload)

    def _guarded(self, tenant: str, run_id: str, number: int) -> Callable[[], Awaitable[JSON]]:
        return lambda: self.gate.run(lambda: self._step(tenant, run_id, number))

    async def _step(self, tenant: str, run_id: str, number: int) -> JSON:
        """Ask a question, or end the run (number 0); say whether the run is over."""
        try:
            run = await self._evaluations.get_run(tenant, run_id)
        except NotFound:
            return {"over": True}
        if run.state is not RunState.RUNNING:
            return {"over": True}
        failure: AtriumError
        try:
            if number == 0:
                await self._evaluations.end_run(run, RunState.DONE)
            else:
                done = await self._evaluations.results(tenant, run_id)
                if number not in {one.number for one in done}:
                    await self._question(run, number)
            return {"over": number == 0}
        except DatabaseUnavailable:
            raise  # no fault of the run; the gate waits for it
        except AtriumError as error:
            failure = error
        except Exception:  # whatever it is, the operation must end
            _log.exception("evaluation failed", run=run.name)
            failure = EvaluationFailed(run.name)
        await self._evaluations.end_run(run, RunState.FAILED, failure)
        return {"over": True}

    async def _question(self, run: EvaluationRun, number: int) -> None:
        runner = await self._delegation.delegate(run.tenant, run.runner, None)
        runner.require(MANAGE_EVALUATIONS)
        questions = await self._evaluations.get_set(run.tenant, run.set_id)
        case = questions.cases[number - 1]
        user, begun = case.as_user, self._clock.monotonic()
        reply, error_reason = None, ""
        try:
            user = user or await self._holder(runner, case.role)
            asker = await act_for(self._delegation, run.tenant, run.runner, user)
            begun = self._clock.monotonic()
            reply = await self._reply(asker, run, questions, case)
        except DatabaseUnavailable:
            raise  # no fault of the question; the gate waits for it
        except AtriumError as error:
            # One question that cannot be asked says something about it, not about the others.
            error_reason = error.reason
        seconds = self._clock.monotonic() - begun
        decision, facts, citation, forbidden = (
            judge(case, reply) if reply is not None else (None, None, None, ())
        )
        await self._evaluations.save_result(
            run,
            EvaluationResult(
                number=number,
                as_user=user,
                group=case.group,
                decision=reply.decision if reply is not None else None,
                decision_verdict=decision,
                fact_verdict=facts,
                citation_verdict=citation,
                forbidden_shown=forbidden,
                latency_seconds=round(seconds, 4),
                error_reason=error_reason,
                question_hash=question_hash(run.collection_uid, case.question),
                passages=reply.passages if reply is not None else (),
            ),
        )

    async def _holder(self, runner: Principal, role: str) -> str:
        holders = await self._roles.holders(runner, [role])
        if role not in holders:
            raise SubjectsUnknown((), [role])
        return holders[role]

    async def _reply(
        self, asker: Principal, run: EvaluationRun, questions: QuestionSet, case: EvaluationCase
    ) -> Reply:
        asker.require("knowledge.answers:ask")
        collection = await self._collections.get(run.tenant, questions.collection_id)
        events = self._ask.ask(asker, collection, case.question, AskMode(run.mode), case.language)
        shown: list[str] = []
        answer: Answer | None = None
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Sources):
                    for hit in event.hits:
                        shown += [hit.passage.text, hit.passage.document_title]
                        shown += hit.passage.section_path
                elif isinstance(event, Answer):
                    answer = event
        if answer is None:
            raise EvaluationFailed(run.name)
        shown += [one.quote for one in answer.citations]
        return Reply(
            answer.decision,
            answer.text,
            tuple(shown),
            tuple((one.passage.document, one.passage.section_path) for one in answer.citations),
            tuple(dict.fromkeys(one.passage.name for one in answer.citations)),
        )


def _identity(result: EvaluationResult) -> tuple[str, str]:
    return result.group, result.question_hash
