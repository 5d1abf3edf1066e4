"""Sets of questions and evaluation runs in the relational database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from google.protobuf.message import Message
from sqlalchemy.exc import IntegrityError

from atrium_knowledge.adapters import tables
from atrium_knowledge.domain.answers import Decision, Rating
from atrium_knowledge.domain.errors import (
    CollectionNotFound,
    EvaluationRunNotFound,
    QuestionSetNotFound,
)
from atrium_knowledge.domain.evaluations import (
    BadCase,
    EvaluationCase,
    EvaluationResult,
    EvaluationRun,
    QuestionSet,
    RunState,
    Verdict,
)
from atrium_shared.database import Database
from atrium_shared.errors import AtriumError
from atrium_shared.operations import Operation, OperationStore

_SETS = tables.question_sets
_RUNS = tables.evaluation_runs
_RESULTS = tables.evaluation_results
_COLLECTIONS = tables.collections
_FEEDBACK = tables.feedback
_ANSWERS = tables.answers


class SqlEvaluations:
    """Implements ``evaluation_store.EvaluationStore``.

    Args:
        database: The service's database.
        operations: Operations of runs.
        progress_message: Makes the metadata of an operation: run, questions done.
        run_message: Makes the response of an operation.
    """

    def __init__(
        self,
        database: Database,
        operations: OperationStore,
        *,
        progress_message: Callable[[EvaluationRun, int], Message],
        run_message: Callable[[EvaluationRun], Message],
    ) -> None:
        self._database = database
        self._operations = operations
        self._progress_message = progress_message
        self._run_message = run_message

    async def save_set(self, questions: QuestionSet) -> None:
        """Add a set."""
        try:
            async with self._database.write() as session:
                await session.execute(
                    sa.insert(_SETS).values(
                        tenant=questions.tenant,
                        id=questions.id,
                        collection_uid=questions.collection_uid,
                        display_name=questions.display_name,
                        cases=[case.to_json() for case in questions.cases],
                        case_count=questions.case_count,
                        create_time=questions.create_time,
                    )
                )
        except IntegrityError as error:
            raise CollectionNotFound(f"collections/{questions.collection_id}") from error

    async def get_set(self, tenant: str, set_id: str) -> QuestionSet:
        """Return a set with its questions."""
        query = (
            sa.select(_SETS, _COLLECTIONS.c.id.label("collection_id"))
            .join(_COLLECTIONS)
            .where(_SETS.c.tenant == tenant, _SETS.c.id == set_id)
        )
        async with self._database.read() as session:
            row = (await session.execute(query)).one_or_none()
        if row is None:
            raise QuestionSetNotFound(f"questionSets/{set_id}")
        return _to_set(row, row.cases)

    async def list_sets(self, tenant: str, after: str, limit: int) -> Sequence[QuestionSet]:
        """Return the sets whose ids follow ``after``, without their questions."""
        columns = [column for column in _SETS.c if column is not _SETS.c.cases]
        query = (
            sa.select(*columns, _COLLECTIONS.c.id.label("collection_id"))
            .join(_COLLECTIONS, _COLLECTIONS.c.uid == _SETS.c.collection_uid)
            .where(_SETS.c.tenant == tenant, _SETS.c.id > after)
            .order_by(_SETS.c.id)
            .limit(limit)
        )
        async with self._database.read() as session:
            return [_to_set(row, ()) for row in await session.execute(query)]

    async def delete_set(self, tenant: str, set_id: str) -> None:
        """Remove a set and its runs."""
        async with self._database.write() as session:
            gone = await session.execute(
                sa.delete(_SETS)
                .where(_SETS.c.tenant == tenant, _SETS.c.id == set_id)
                .returning(_SETS.c.id)
            )
            if gone.one_or_none() is None:
                raise QuestionSetNotFound(f"questionSets/{set_id}")

    async def begin_run(self, run: EvaluationRun) -> Operation:
        """Add a run and its operation."""
        try:
            async with self._database.write() as session:
                await session.execute(
                    sa.insert(_RUNS).values(
                        tenant=run.tenant,
                        id=run.id,
                        set_id=run.set_id,
                        baseline=run.baseline,
                        mode=run.mode,
                        runner=run.runner,
                        state=run.state,
                        error_reason=run.error_reason,
                        case_count=run.case_count,
                        create_time=run.create_time,
                    )
                )
                return await self._operations.create(
                    session,
                    op_id=run.id,
                    tenant=run.tenant,
                    owner=run.runner,
                    metadata=self._progress_message(run, 0),
                )
        except IntegrityError as error:
            raise QuestionSetNotFound(f"questionSets/{run.set_id}") from error

    async def get_run(self, tenant: str, run_id: str) -> EvaluationRun:
        """Return a run."""
        query = _runs().where(_RUNS.c.tenant == tenant, _RUNS.c.id == run_id)
        async with self._database.read() as session:
            row = (await session.execute(query)).one_or_none()
        if row is None:
            raise EvaluationRunNotFound(f"evaluationRuns/{run_id}")
        return _to_run(row)

    async def list_runs(self, tenant: str, after: str, limit: int) -> Sequence[EvaluationRun]:
        """Return the runs whose ids follow ``after``."""
        query = (
            _runs()
            .where(_RUNS.c.tenant == tenant, _RUNS.c.id > after)
            .order_by(_RUNS.c.id)
            .limit(limit)
        )
        async with self._database.read() as session:
            return [_to_run(row) for row in await session.execute(query)]

    async def unfinished(self) -> Sequence[EvaluationRun]:
        """Return the runs of all tenants that still run."""
        query = _runs().where(_RUNS.c.state == RunState.RUNNING)
        async with self._database.read() as session:
            return [_to_run(row) for row in await session.execute(query)]

    async def run_of_operation(self, operation_id: str) -> EvaluationRun | None:
        """Return the run that an operation is about."""
        async with self._database.read() as session:
            row = (await session.execute(_runs().where(_RUNS.c.id == operation_id))).one_or_none()
        return None if row is None else _to_run(row)

    async def results(self, tenant: str, run_id: str) -> Sequence[EvaluationResult]:
        """Return the results of a run, in the order of its questions."""
        query = (
            sa.select(_RESULTS.c.number, _RESULTS.c.result)
            .where(_RESULTS.c.tenant == tenant, _RESULTS.c.run_id == run_id)
            .order_by(_RESULTS.c.number)
        )
        async with self._database.read() as session:
            return [_to_result(row) for row in await session.execute(query)]

    async def save_result(self, run: EvaluationRun, result: EvaluationResult) -> None:
        """Add a result and report progress; one that is there already stays."""
        values = asdict(result)
        number = values.pop("number")
        try:
            async with self._database.write() as session:
                await session.execute(
                    sa.insert(_RESULTS).values(
                        tenant=run.tenant, run_id=run.id, number=number, result=values
                    )
                )
                done = await session.scalar(
                    sa.select(sa.func.count())
                    .select_from(_RESULTS)
                    .where(_RESULTS.c.tenant == run.tenant, _RESULTS.c.run_id == run.id)
                )
                await self._operations.update(
                    self._operations.name(run.id),
                    self._progress_message(run, done or 0),
                    session=session,
                )
        except IntegrityError:
            # It is there already, or the run was removed: both are well.
            return

    async def end_run(
        self, run: EvaluationRun, state: RunState, error: AtriumError | None = None
    ) -> None:
        """End a run and its operation; one that has ended stays as it is."""
        reason = error.reason if error is not None else ""
        async with self._database.write() as session:
            ended = await session.execute(
                sa.update(_RUNS)
                .where(
                    _RUNS.c.tenant == run.tenant,
                    _RUNS.c.id == run.id,
                    _RUNS.c.state == RunState.RUNNING,
                )
                .values(state=state, error_reason=reason)
                .returning(_RUNS.c.id)
            )
            if ended.one_or_none() is None or state is RunState.CANCELLED:
                return
            name = self._operations.name(run.id)
            if error is not None:
                await self._operations.fail(name, error, session=session)
                return
            row = (
                await session.execute(
                    _runs().where(_RUNS.c.tenant == run.tenant, _RUNS.c.id == run.id)
                )
            ).one()
            await self._operations.finish(name, self._run_message(_to_run(row)), session=session)

    async def feedback(self, tenant: str, hashes: Sequence[str]) -> Mapping[str, tuple[int, int]]:
        """Return how often answers to questions with these hashes helped, and feedback in all."""
        helpful = sa.func.sum(sa.case((_FEEDBACK.c.rating == Rating.HELPFUL, 1), else_=0))
        query = (
            sa.select(_FEEDBACK.c.question_hash, helpful, sa.func.count())
            .where(_FEEDBACK.c.tenant == tenant, _FEEDBACK.c.question_hash.in_(set(hashes)))
            .group_by(_FEEDBACK.c.question_hash)
        )
        async with self._database.read() as session:
            rows = (await session.execute(query)).all()
        return {hashed: (int(right), total) for hashed, right, total in rows}

    async def bad_cases(self, collection_uid: str, after: str, limit: int) -> Sequence[BadCase]:
        """Return the answers that did not help whose feedback ids follow ``after``."""
        query = (
            sa.select(
                _FEEDBACK.c.id,
                _ANSWERS.c.decision,
                _FEEDBACK.c.question_hash,
                _ANSWERS.c.passages,
                _FEEDBACK.c.create_time,
            )
            .join(_ANSWERS)
            .where(
                _ANSWERS.c.collection_uid == collection_uid,
                _FEEDBACK.c.rating == Rating.NOT_HELPFUL,
                _FEEDBACK.c.id > after,
            )
            .order_by(_FEEDBACK.c.id)
            .limit(limit)
        )
        async with self._database.read() as session:
            rows = (await session.execute(query)).all()
        return [
            BadCase(
                feedback_id=row.id,
                decision=Decision(row.decision),
                question_hash=row.question_hash or "",
                passages=tuple(row.passages),
                create_time=row.create_time,
            )
            for row in rows
        ]


def _runs() -> sa.Select[Any]:
    return sa.select(_RUNS, _SETS.c.collection_uid).join(_SETS)


def _to_set(row: Any, cases: Sequence[Mapping[str, Any]]) -> QuestionSet:
    return QuestionSet(
        tenant=row.tenant,
        id=row.id,
        collection_uid=row.collection_uid,
        collection_id=row.collection_id,
        display_name=row.display_name,
        cases=tuple(_to_case(one) for one in cases),
        case_count=row.case_count,
        create_time=row.create_time,
    )


def _to_case(values: Mapping[str, Any]) -> EvaluationCase:
    expected = values["expected_decision"]
    return EvaluationCase(
        **{
            **values,
            "expected_decision": Decision(expected) if expected else None,
            "expected_facts": tuple(tuple(one["any_of"]) for one in values["expected_facts"]),
            "forbidden_phrases": tuple(values["forbidden_phrases"]),
        }
    )


def _to_run(row: sa.Row[Any]) -> EvaluationRun:
    return EvaluationRun(
        tenant=row.tenant,
        id=row.id,
        set_id=row.set_id,
        collection_uid=row.collection_uid,
        baseline=row.baseline,
        mode=row.mode,
        runner=row.runner,
        state=RunState(row.state),
        error_reason=row.error_reason,
        case_count=row.case_count,
        create_time=row.create_time,
    )


def _to_result(row: Any) -> EvaluationResult:
    values = dict(row.result)
    for field in ("decision_verdict", "fact_verdict", "citation_verdict"):
        values[field] = Verdict(values[field]) if values[field] else None
    values["decision"] = Decision(values["decision"]) if values["decision"] else None
    values["forbidden_shown"] = tuple(values["forbidden_shown"])
    return EvaluationResult(number=row.number, **values)
