"""What is kept about an answer, so that feedback can be given on it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from atrium_shared.engines import Engine


class Decision(StrEnum):
    """How a question was decided."""

    ANSWERED = "ANSWERED"
    REFUSED = "REFUSED"
    """A restricted topic that the asker may not ask about."""
    NOT_FOUND = "NOT_FOUND"
    """Nothing that the asker may read answers it."""


class Rating(StrEnum):
    """Thumb up or down."""

    HELPFUL = "HELPFUL"
    NOT_HELPFUL = "NOT_HELPFUL"


@dataclass(frozen=True, slots=True)
class AnswerRecord:
    """An answer that was given. Its question and text are not part of it."""

    tenant: str
    id: str
    """Id within the tenant, "a81c" of "answers/a81c"."""
    subject: str
    """Who asked, "users/lin". Only they may give feedback."""
    collection_uid: str
    decision: Decision
    engine: Engine
    passages: tuple[str, ...]
    """Names of the passages that it cites, in order."""
    policy_version: int
    create_time: datetime
    """UTC."""

    @property
    def name(self) -> str:
        """Resource name, "answers/a81c"."""
        return f"answers/{self.id}"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and its answer in words: kept in memory for a while, stored of bad cases only."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Feedback:
    """What somebody thinks of an answer."""

    tenant: str
    id: str
    answer_id: str
    subject: str
    rating: Rating
    comment: str
    exchange: Exchange | None
    """Question and answer of a bad case, when they were still known."""
    create_time: datetime
    """UTC."""
    question_hash: str = ""
    """What the same questions share, when the question was still known."""

    @property
    def name(self) -> str:
        """Resource name, "feedback/f77"."""
        return f"feedback/{self.id}"
