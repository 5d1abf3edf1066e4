"""Sets of questions with what is expected of their answers, and how runs of them went."""

from __future__ import annotations

import hashlib
import json
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from atrium_grounding import tokens
from atrium_knowledge.domain.answers import Decision
from atrium_knowledge.domain.errors import (
    MAX_QUESTION_CHARS,
    QuestionSetEmpty,
    QuestionSetLineInvalid,
    QuestionSetTooLarge,
)
from atrium_knowledge.domain.names import passage_name

MAX_CASES: Final = 1000
MAX_SET_BYTES: Final = 4 * 1024 * 1024
_FIELDS: Final = (
    "question",
    "language",
    "as_user",
    "role",
    "expected_decision",
    "expected_facts",
    "expected_document",
    "expected_section",
    "forbidden_phrases",
)


@dataclass(frozen=True, slots=True)
class EvaluationCase:
    """One question and what is expected of its answer. What is empty is not judged."""

    question: str
    language: str = ""
    as_user: str = ""
    """As whom it is asked, "users/lin"."""
    role: str = ""
    """The role that it speaks for, "roles/hr-partner"."""
    expected_decision: Decision | None = None
    expected_facts: tuple[tuple[str, ...], ...] = ()
    """The text should state one phrase of each."""
    expected_document: str = ""
    expected_section: str = ""
    forbidden_phrases: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """What it is reported under."""
        return self.role or self.as_user

    def to_json(self) -> dict[str, Any]:
        """Return it as a line of a file has it."""
        return {
            "question": self.question,
            "language": self.language,
            "as_user": self.as_user,
            "role": self.role,
            "expected_decision": self.expected_decision or "",
            "expected_facts": [{"any_of": list(choices)} for choices in self.expected_facts],
            "expected_document": self.expected_document,
            "expected_section": self.expected_section,
            "forbidden_phrases": list(self.forbidden_phrases),
        }


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """Questions to evaluate a collection with."""

    tenant: str
    id: str
    collection_uid: str
    collection_id: str
    display_name: str
    cases: tuple[EvaluationCase, ...]
    """Empty in lists."""
    case_count: int
    create_time: datetime
    """UTC."""

    @property
    def name(self) -> str:
        """Resource name, "questionSets/q7"."""
        return f"questionSets/{self.id}"


class Verdict(StrEnum):
    """Whether something is as expected."""

    RIGHT = "RIGHT"
    WRONG = "WRONG"


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """How one question went. It holds no text of the answer."""

    number: int
    """Place in the set, from 1."""
    as_user: str
    group: str
    decision: Decision | None
    """``None`` when it failed."""
    decision_verdict: Verdict | None
    """``None``: nothing was expected; so below."""
    fact_verdict: Verdict | None
    citation_verdict: Verdict | None
    forbidden_shown: tuple[int, ...]
    latency_seconds: float
    error_reason: str
    question_hash: str
    passages: tuple[str, ...] | None = None
    """Names of those that were cited; ``None`` of runs from before they were noted."""

    @property
    def verdicts(self) -> tuple[Verdict | None, Verdict | None, Verdict | None]:
        """On decision, facts and citations."""
        return self.decision_verdict, self.fact_verdict, self.citation_verdict

    def differs(self, other: EvaluationResult) -> bool:
        """Say whether the same question went another way."""
        return (
            self.decision is not other.decision
            or self.verdicts != other.verdicts
            or self.forbidden_shown != other.forbidden_shown
            or self._cites_otherwise(other)
        )

    def regressed(self, before: EvaluationResult) -> bool:
        """Say whether the answer is another than before, and not just a better one.

        Better is what turned right and in nothing wrong. A question that could not be asked has no
        answer to compare.
        """
        if self.error_reason or before.error_reason:
            return False
        turns = [
            now
            for now, then in zip(self.verdicts, before.verdicts, strict=True)
            if None not in (now, then) and now is not then
        ]
        worse = Verdict.WRONG in turns or bool({*self.forbidden_shown} - {*before.forbidden_shown})
        better = Verdict.RIGHT in turns
        other = self.decision is not before.decision or self._cites_otherwise(before)
        return worse or (other and not better)

    def _cites_otherwise(self, other: EvaluationResult) -> bool:
        if self.passages is None or other.passages is None:
            return False
        return _documents(self.passages) != _documents(other.passages)


class RunState(StrEnum):
    """Where a run stands."""

    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True)
class EvaluationRun:
    """Questions that are asked, or were."""

    tenant: str
    id: str
    """Also that of its operation."""
    set_id: str
    collection_uid: str
    baseline: str
    """Id of another run, or empty."""
    mode: str
    runner: str
    """Who runs it, "users/lin"."""
    state: RunState
    error_reason: str
    case_count: int
    create_time: datetime
    """UTC."""

    @property
    def name(self) -> str:
        """Resource name, "evaluationRuns/e3"."""
        return f"evaluationRuns/{self.id}"


@dataclass(frozen=True, slots=True)
class RoleReport:
    """How the questions of one role went; counts are of questions."""

    role: str
    cases: int
    decisions: tuple[int, int]
    """Right, judged; so below."""
    facts: tuple[int, int]
    citations: tuple[int, int]
    forbidden_shown: int
    errors: int
    latency_median_seconds: float
    latency_p95_seconds: float
    feedback: tuple[int, int]
    """Helpful, in all."""


def question_hash(collection_uid: str, question: str) -> str:
    """Return what the same question of a collection shares, whatever its case and spacing."""
    folded = " ".join(tokens.fold(question).split()).rstrip("?？。.!！ ")
    return hashlib.sha256(f"{collection_uid}\n{folded}".encode()).hexdigest()


def read_cases(data: bytes) -> tuple[EvaluationCase, ...]:
    """Return the questions in a file of JSON lines; empty lines are passed over.

    Raises:
        QuestionSetLineInvalid: A line is not JSON, or a field is not as it should be.
        QuestionSetEmpty: There are none.
        QuestionSetTooLarge: There are more than `MAX_CASES`.
    """
    cases: list[EvaluationCase] = []
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except UnicodeDecodeError as error:
            raise QuestionSetLineInvalid(number, "", "it is not UTF-8") from error
        except ValueError as error:
            raise QuestionSetLineInvalid(number, "", f"it is not JSON ({error})") from error
        if not isinstance(values, dict):
            raise QuestionSetLineInvalid(number, "", "it is no JSON object")
        cases.append(_case(number, values))
    return check_cases(cases)


def check_cases(cases: Sequence[EvaluationCase]) -> tuple[EvaluationCase, ...]:
    """Refuse questions that cannot be asked; lines count from 1.

    Raises:
        QuestionSetLineInvalid: A question names nobody, or a name is none.
        QuestionSetEmpty: There are none.
        QuestionSetTooLarge: There are more than `MAX_CASES`.
    """
    if not cases:
        raise QuestionSetEmpty
    if len(cases) > MAX_CASES:
        raise QuestionSetTooLarge(len(cases), MAX_CASES, "questions")
    for number, case in enumerate(cases, start=1):
        if not case.question.strip():
            raise QuestionSetLineInvalid(number, "question", "it is empty")
        if len(case.question) > MAX_QUESTION_CHARS:
            raise QuestionSetLineInvalid(
                number, "question", f"it is longer than {MAX_QUESTION_CHARS} characters"
            )
        if not case.group:
            raise QuestionSetLineInvalid(
                number, "as_user", "the line names neither `as_user` nor `role`"
            )
        for field, value, prefix in (
            ("as_user", case.as_user, "users/"),
            ("role", case.role, "roles/"),
        ):
            if value and not value.startswith(prefix):
                raise QuestionSetLineInvalid(number, field, f"{value!r} does not begin {prefix!r}")
    return tuple(cases)


def _case(number: int, values: Mapping[str, Any]) -> EvaluationCase:
    for field in values:
        if field not in _FIELDS:
            raise QuestionSetLineInvalid(
                number, str(field), f"there is no such field; the fields are {', '.join(_FIELDS)}"
            )
    language = _text(number, values, "language")
    if language not in ("", "zh", "en"):
        raise QuestionSetLineInvalid(number, "language", f"{language!r} is neither zh nor en")
    expected = _text(number, values, "expected_decision")
    if expected and expected not in list(Decision):
        raise QuestionSetLineInvalid(
            number, "expected_decision", f"{expected!r} is none of {', '.join(Decision)}"
        )
    return EvaluationCase(
        question=_text(number, values, "question"),
        language=language,
        as_user=_text(number, values, "as_user"),
        role=_text(number, values, "role"),
        expected_decision=Decision(expected) if expected else None,
        expected_facts=_facts(number, values.get("expected_facts", [])),
        expected_document=_text(number, values, "expected_document"),
        expected_section=_text(number, values, "expected_section"),
        forbidden_phrases=_texts(number, "forbidden_phrases", values.get("forbidden_phrases", [])),
    )


def _text(number: int, values: Mapping[str, Any], field: str) -> str:
    value = values.get(field, "")
    if not isinstance(value, str):
        raise QuestionSetLineInvalid(number, field, "it is no text")
    return value


def _texts(number: int, field: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise QuestionSetLineInvalid(number, field, "it is no list of texts")
    return tuple(value)


def _facts(number: int, value: Any) -> tuple[tuple[str, ...], ...]:
    """Return facts, each given as a text, a list of texts, or ``{"any_of": [...]}``."""
    if not isinstance(value, list):
        raise QuestionSetLineInvalid(number, "expected_facts", "it is no list")
    facts = []
    for one in value:
        choices = one.get("any_of") if isinstance(one, dict) else one
        listed = _texts(
            number, "expected_facts", [choices] if isinstance(choices, str) else choices
        )
        if not listed:
            raise QuestionSetLineInvalid(number, "expected_facts", "a fact has no phrase")
        facts.append(listed)
    return tuple(facts)


@dataclass(frozen=True, slots=True)
class Reply:
    """What an answer showed."""

    decision: Decision
    text: str
    shown: tuple[str, ...]
    """Everything else that its reader saw: passages, quotes."""
    cited: tuple[tuple[str, tuple[str, ...]], ...]
    """Document and headings of each citation."""
    passages: tuple[str, ...]
    """Names of those that are cited, each once."""


def judge(
    case: EvaluationCase, reply: Reply
) -> tuple[Verdict | None, Verdict | None, Verdict | None, tuple[int, ...]]:
    """Compare a reply with what was expected.

    Returns:
        The verdicts on decision, facts and citations, ``None`` where nothing was expected, and the
        places, from 1, of the forbidden phrases that were shown.
    """
    text = _folded(reply.text)
    everything = [text, *map(_folded, reply.shown)]
    facts = all(any(_folded(one) in text for one in choices) for choices in case.expected_facts)
    cited = any(
        case.expected_document in ("", document)
        and (not case.expected_section or case.expected_section in path)
        for document, path in reply.cited
    )
    return (
        _verdict(reply.decision is case.expected_decision) if case.expected_decision else None,
        _verdict(facts) if case.expected_facts else None,
        _verdict(cited) if case.expected_document or case.expected_section else None,
        tuple(
            number
            for number, phrase in enumerate(case.forbidden_phrases, start=1)
            if any(_folded(phrase) in one for one in everything)
        ),
    )


def reports(
    results: Iterable[EvaluationResult], feedback: Mapping[str, tuple[int, int]]
) -> list[RoleReport]:
    """Sum up results by role.

    Args:
        results: Of one run.
        feedback: By hash of a question: how often its answers helped, and feedback in all.
    """
    by_role: dict[str, list[EvaluationResult]] = {}
    for result in results:
        by_role.setdefault(result.group, []).append(result)
    return [_report(role, by_role[role], feedback) for role in sorted(by_role)]


def _report(
    role: str, results: Sequence[EvaluationResult], feedback: Mapping[str, tuple[int, int]]
) -> RoleReport:
    latencies = sorted(one.latency_seconds for one in results if not one.error_reason)
    hashes = {one.question_hash for one in results}
    given = [feedback[one] for one in hashes if one in feedback]
    return RoleReport(
        role=role,
        cases=len(results),
        decisions=_count(one.decision_verdict for one in results),
        facts=_count(one.fact_verdict for one in results),
        citations=_count(one.citation_verdict for one in results),
        forbidden_shown=sum(bool(one.forbidden_shown) for one in results),
        errors=sum(bool(one.error_reason) for one in results),
        latency_median_seconds=statistics.median(latencies) if latencies else 0.0,
        latency_p95_seconds=latencies[math.ceil(0.95 * len(latencies)) - 1] if latencies else 0.0,
        feedback=(sum(one for one, _ in given), sum(total for _, total in given)),
    )


def _count(verdicts: Iterable[Verdict | None]) -> tuple[int, int]:
    judged = [one for one in verdicts if one is not None]
    return sum(one is Verdict.RIGHT for one in judged), len(judged)


def _verdict(right: bool) -> Verdict:
    return Verdict.RIGHT if right else Verdict.WRONG


def _folded(text: str) -> str:
    return "".join(tokens.fold(text).split())


def _documents(passages: Iterable[str]) -> set[str]:
    return {passage_name(name).document_name for name in passages}


class BadCaseReason(StrEnum):
    """Why an answer is a bad case."""

    NOT_HELPFUL = "NOT_HELPFUL"
    REFUSAL_DISPUTED = "REFUSAL_DISPUTED"
    NOTHING_FOUND = "NOTHING_FOUND"
    REGRESSION = "REGRESSION"


@dataclass(frozen=True, slots=True)
class Regression:
    """Two runs of one set that answered a question otherwise."""

    set_id: str
    number: int
    """Place of the question in the set, from 1."""
    run_id: str
    baseline_id: str
    """The earlier run."""
    baseline_decision: Decision
    baseline_passages: tuple[str, ...]
    """Names of those that the earlier answer cites."""


@dataclass(frozen=True, slots=True)
class BadCase:
    """An answer that did not help, or is another than before. It holds no words."""

    feedback_id: str
    """Empty of a regression."""
    decision: Decision
    question_hash: str
    """Empty where the question was no longer known."""
    passages: tuple[str, ...]
    """Names of those that the answer cites."""
    create_time: datetime
    """Of the feedback, or of the run; UTC."""
    answer_time: datetime
    """When it was answered, of a regression when its run was begun; UTC."""
    regression: Regression | None = None

    @property
    def reason(self) -> BadCaseReason:
        """Why it is one."""
        return _REASONS[self.decision] if self.regression is None else BadCaseReason.REGRESSION

    @property
    def cited(self) -> tuple[str, ...]:
        """Names of all passages that it speaks of."""
        if self.regression is None:
            return self.passages
        return (*self.passages, *self.regression.baseline_passages)

    @property
    def place(self) -> BadCasePlace:
        """Where it stands among those of its collection."""
        if self.regression is None:
            return BadCasePlace(feedback_id=self.feedback_id)
        return BadCasePlace(run_id=self.regression.run_id, number=self.regression.number)


@dataclass(frozen=True, slots=True)
class BadCasePlace:
    """A place in the bad cases of a collection: first those of feedback, then regressions."""

    feedback_id: str = ""
    """Last feedback before; empty with an empty run: the beginning."""
    run_id: str = ""
    """Run of the last regression before; empty: among those of feedback."""
    number: int = 0
    """Number of the last regression before."""

    def __str__(self) -> str:
        return f"{self.run_id}/{self.number}" if self.run_id else self.feedback_id

    @classmethod
    def parse(cls, text: str) -> BadCasePlace:
        """Return the place that ``str`` made ``text`` of.

        Raises:
            ValueError: It is of none.
        """
        match = re.fullmatch(r"(?:([A-Za-z0-9_-]{1,64})/([0-9]{1,9})|([A-Za-z0-9_-]{0,64}))", text)
        if match is None:
            raise ValueError("It is no place of a bad case.")
        run_id, number, feedback_id = match.groups()
        return cls(feedback_id or "", run_id or "", int(number or 0))


_REASONS: Final = {
    Decision.ANSWERED: BadCaseReason.NOT_HELPFUL,
    Decision.REFUSED: BadCaseReason.REFUSAL_DISPUTED,
    Decision.NOT_FOUND: BadCaseReason.NOTHING_FOUND,
}
