"""Sets of questions and evaluation runs in the relational database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from google.protobuf.message import Message
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_knowledge.adapters import tables
from atrium_knowledge.domain.answers import Decision, Rating
from atrium_knowledge.domain.errors import (
    CollectionNotFound,
    EvaluationRunNotFound,
    QuestionSetNotFound,
)
from atrium_knowledge.domain.evaluations import (
    BadCase,
    BadCasePlace,
    EvaluationCase,
    EvaluationResult,
    EvaluationRun,
    QuestionSet,
    Regression,
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
            if state is RunState.DONE:
                await _note_regressions(session, run)
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

    async def bad_cases(
        self, collection_uid: str, after: BadCasePlace, limit: int
    ) -> Sequence[BadCase]:
        """Return the bad cases behind a place, without any words."""
        feedback, regressions = _of_feedback(collection_uid, after), _regressed(collection_uid)
        async with self._database.read() as session:
            found = await _rows(session, feedback, regressions, after, limit)
        return [_to_bad_case(row) for row in found]

    async def bad_cases_in_words(
        self, collection_uid: str, after: BadCasePlace, limit: int
    ) -> Sequence[tuple[BadCase, EvaluationCase | None]]:
        """Return the bad cases behind a place, each with what was asked, as whom."""
        feedback = _of_feedback(collection_uid, after).add_columns(
            _FEEDBACK.c.question, _FEEDBACK.c.subject
        )
        async with self._database.read() as session:
            found = await _rows(session, feedback, _regressed(collection_uid), after, limit)
            named = {(row.tenant, row.set_id) for row in found if _is_regression(row)}
            query = sa.select(_SETS.c.id, _SETS.c.cases).where(
                sa.tuple_(_SETS.c.tenant, _SETS.c.id).in_(sorted(named))
            )
            sets = {row.id: row.cases for row in await session.execute(query)} if named else {}
        return [(_to_bad_case(row), _words(row, sets)) for row in found]


def _of_feedback(collection_uid: str, after: BadCasePlace) -> sa.Select[Any]:
    return (
        sa.select(
            _FEEDBACK.c.id.label("feedback_id"),
            _ANSWERS.c.decision,
            _FEEDBACK.c.question_hash,
            _ANSWERS.c.passages,
            _FEEDBACK.c.create_time,
            _ANSWERS.c.create_time.label("answer_time"),
        )
        .join(_ANSWERS)
        .where(
            _ANSWERS.c.collection_uid == collection_uid,
            _FEEDBACK.c.rating == Rating.NOT_HELPFUL,
            _FEEDBACK.c.id > after.feedback_id,
        )
        .order_by(_FEEDBACK.c.id)
    )


def _regressed(collection_uid: str) -> sa.Select[Any]:
    earlier = _RESULTS.alias("earlier")
    return (
        sa.select(
            _RESULTS.c.tenant,
            _RESULTS.c.run_id,
            _RESULTS.c.number,
            _RESULTS.c.result,
            _RESULTS.c.regressed_from,
            earlier.c.result.label("before"),
            _RUNS.c.set_id,
            _RUNS.c.create_time,
        )
        .select_from(_RESULTS)
        .join(_RUNS, sa.and_(_RUNS.c.tenant == _RESULTS.c.tenant, _RUNS.c.id == _RESULTS.c.run_id))
        .join(_SETS, sa.and_(_SETS.c.tenant == _RUNS.c.tenant, _SETS.c.id == _RUNS.c.set_id))
        .join(
            earlier,
            sa.and_(
                earlier.c.tenant == _RESULTS.c.tenant,
                earlier.c.run_id == _RESULTS.c.regressed_from,
                earlier.c.number == _RESULTS.c.number,
            ),
        )
        .where(_SETS.c.collection_uid == collection_uid)
        .order_by(_RESULTS.c.run_id, _RESULTS.c.number)
    )


async def _rows(
    session: AsyncSession,
    feedback: sa.Select[Any],
    regressions: sa.Select[Any],
    after: BadCasePlace,
    limit: int,
) -> list[sa.Row[Any]]:
    found: list[sa.Row[Any]] = []
    if after.run_id:
        regressions = regressions.where(
            sa.tuple_(_RESULTS.c.run_id, _RESULTS.c.number)
            > sa.tuple_(sa.literal(after.run_id), sa.literal(after.number))
        )
    else:
        found += (await session.execute(feedback.limit(limit))).all()
    if len(found) < limit:
        found += (await session.execute(regressions.limit(limit - len(found)))).all()
    return found


async def _note_regressions(session: AsyncSession, run: EvaluationRun) -> None:
    of_set = sa.select(_RUNS.c.id).where(
        _RUNS.c.tenant == run.tenant, _RUNS.c.set_id == run.set_id, _RUNS.c.id != run.id
    )
    before = await session.scalar(of_set.where(_RUNS.c.id == run.baseline))
    if before is None:
        newest = of_set.where(
            _RUNS.c.state == RunState.DONE,
            _RUNS.c.mode == run.mode,
            _RUNS.c.create_time <= run.create_time,
        ).order_by(_RUNS.c.create_time.desc(), _RUNS.c.id.desc())
        before = await session.scalar(newest.limit(1))
    if before is None:
        return
    query = sa.select(_RESULTS.c.run_id, _RESULTS.c.number, _RESULTS.c.result).where(
        _RESULTS.c.tenant == run.tenant, _RESULTS.c.run_id.in_((run.id, before))
    )
    results: dict[str, dict[int, EvaluationResult]] = {run.id: {}, before: {}}
    for row in await session.execute(query):
        results[row.run_id][row.number] = _to_result(row)
    regressed = [
        number
        for number, result in results[run.id].items()
        if number in results[before] and result.regressed(results[before][number])
    ]
    if regressed:
        await session.execute(
            sa.update(_RESULTS)
            .where(
                _RESULTS.c.tenant == run.tenant,
                _RESULTS.c.run_id == run.id,
                _RESULTS.c.number.in_(regressed),
            )
            .values(regressed_from=before)
        )


def _is_regression(row: sa.Row[Any]) -> bool:
    return "regressed_from" in row._fields


def _to_bad_case(row: sa.Row[Any]) -> BadCase:
    if not _is_regression(row):
        return BadCase(
            feedback_id=row.feedback_id,
            decision=Decision(row.decision),
            question_hash=row.question_hash or "",
            passages=tuple(row.passages),
            create_time=row.create_time,
            answer_time=row.answer_time,
        )
    return BadCase(
        feedback_id="",
        decision=Decision(row.result["decision"]),
        question_hash=row.result["question_hash"],
        passages=tuple(row.result["passages"] or ()),
        create_time=row.create_time,
        answer_time=row.create_time,
        regression=Regression(
            set_id=row.set_id,
            number=row.number,
            run_id=row.run_id,
            baseline_id=row.regressed_from,
            baseline_decision=Decision(row.before["decision"]),
            baseline_passages=tuple(row.before.get("passages") or ()),
        ),
    )


def _words(
    row: sa.Row[Any], sets: Mapping[str, Sequence[Mapping[str, Any]]]
) -> EvaluationCase | None:
    if _is_regression(row):
        return _to_case(sets[row.set_id][row.number - 1])
    return EvaluationCase(question=row.question, as_user=row.subject) if row.question else None


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
    passages = values.get("passages")
    values["passages"] = None if passages is None else tuple(passages)
    return EvaluationResult(number=row.number, **values)
