"""A question read together with passages: what is read and what comes of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

CUT_OFF = -100.0
"""Log-odds of what the model did not get to see; nothing that it sees comes near."""


class Relation(Enum):
    """How a passage may stand to what is read with it."""

    ANSWERS = "answers"
    """It answers the question."""
    CONCERNS = "concerns"
    """It describes a topic that the question is about."""
    STATES = "states"
    """It says the same as the statement."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A unit of a passage that may answer: a sentence, a list item, a table row.

    Attributes:
        start: First code point in the passage's text.
        end: Code point behind the last.
    """

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ReadPassage:
    """A passage to read.

    Attributes:
        heading: What stands above it; may be empty.
        text: The passage.
        segments: Its units, in order, without overlap.
    """

    heading: str
    text: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class PassageReading:
    """What a model made of one passage.

    Attributes:
        segment_scores: For each unit the log-odds that it answers, against nothing here
            answering; :data:`CUT_OFF` for a unit that the model did not see.
        score: Log-odds that any unit answers; :data:`CUT_OFF` when none was seen.
        truncated: Whether the passage or the question was cut to the model's window.
    """

    segment_scores: tuple[float, ...]
    score: float
    truncated: bool

    @classmethod
    def of(cls, segment_scores: Iterable[float], *, truncated: bool) -> PassageReading:
        """Return the reading of a passage whose units have these log-odds."""
        scores = tuple(segment_scores)
        seen = [score for score in scores if score != CUT_OFF]
        if not seen:
            return cls(scores, CUT_OFF, truncated)
        top = max(seen)
        whole = top + math.log(sum(math.exp(score - top) for score in seen))
        return cls(scores, whole, truncated)
