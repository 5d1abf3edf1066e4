"""The records of evaluations as use cases see them. Every method is one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from atrium_knowledge.domain.evaluations import (
    BadCase,
    BadCasePlace,
    EvaluationCase,
    EvaluationResult,
    EvaluationRun,
    QuestionSet,
    RunState,
)
from atrium_shared.errors import AtriumError
from atrium_shared.operations import Operation


class EvaluationStore(Protocol):
    """Sets of questions, runs, results, and the operations of runs."""

    async def save_set(self, questions: QuestionSet) -> None:
        """Add a set.

        Raises:
            CollectionNotFound: The collection was deleted meanwhile.
        """
        ...

    async def get_set(self, tenant: str, set_id: str) -> QuestionSet:
        """Return a set with its questions.

        Raises:
            QuestionSetNotFound: There is none.
        """
        ...

    async def list_sets(self, tenant: str, after: str, limit: int) -> Sequence[QuestionSet]:
        """Return the sets whose ids follow ``after``, without their questions."""
        ...

    async def delete_set(self, tenant: str, set_id: str) -> None:
        """Remove a set and its runs.

        Raises:
            QuestionSetNotFound: There is none.
        """
        ...

    async def begin_run(self, run: EvaluationRun) -> Operation:
        """Add a run and its operation.

        Raises:
            QuestionSetNotFound: The set was deleted meanwhile.
        """
        ...

    async def get_run(self, tenant: str, run_id: str) -> EvaluationRun:
        """Return a run.

        Raises:
            EvaluationRunNotFound: There is none.
        """
        ...

    async def list_runs(self, tenant: str, after: str, limit: int) -> Sequence[EvaluationRun]:
        """Return the runs whose ids follow ``after``."""
        ...

    async def unfinished(self) -> Sequence[EvaluationRun]:
        """Return the runs of all tenants that still run."""
        ...

    async def run_of_operation(self, operation_id: str) -> EvaluationRun | None:
        """Return the run that an operation is about."""
        ...

    async def results(self, tenant: str, run_id: str) -> Sequence[EvaluationResult]:
        """Return the results of a run, in the order of its questions."""
        ...

    async def save_result(self, run: EvaluationRun, result: EvaluationResult) -> None:
        """Add a result and report progress; one that is there already stays."""
        ...

    async def end_run(
        self, run: EvaluationRun, state: RunState, error: AtriumError | None = None
    ) -> None:
        """End a run and its operation; one that has ended stays as it is.

        When it is done, results that an earlier run of the set had otherwise are noted: the
        baseline, or the newest run that was done before in the same mode.
        """
        ...

    async def feedback(self, tenant: str, hashes: Sequence[str]) -> Mapping[str, tuple[int, int]]:
        """Return how often answers to questions with these hashes helped, and feedback in all."""
        ...

    async def bad_cases(
        self, collection_uid: str, after: BadCasePlace, limit: int
    ) -> Sequence[BadCase]:
        """Return the bad cases behind a place, without any words."""
        ...

    async def bad_cases_in_words(
        self, collection_uid: str, after: BadCasePlace, limit: int
    ) -> Sequence[tuple[BadCase, EvaluationCase | None]]:
        """Return the bad cases behind a place, each with what was asked, as whom.

        Returns:
            Of a regression the case of its set, of feedback the question and who asked it; ``None``
            where the words are not kept.
        """
        ...
