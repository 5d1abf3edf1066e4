"""Minutes as they are kept, and what readers think of their sentences."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from atrium_meeting.domain.errors import MinutesNotFound
from atrium_meeting.domain.minutes import Minutes
from atrium_shared.engines import Usage

_NAME: Final = re.compile(r"meetings/(?P<meeting>[^/]+)/minutes/(?P<id>[^/]+)")


@dataclass(frozen=True, slots=True)
class MinutesRecord:
    """Minutes with what is known of how they came about.

    Args:
        tenant: Whose.
        meeting: Identifier of the meeting, "m1".
        id: Identifier within the meeting, "n4".
        author: Who asked for them, "users/lin".
        minutes: What was written.
        type_detected: The type was found out, not given.
        usage: Tokens spent.
        sentences_dropped: Sentences of a generator that their citations do not support.
        create_time: When they were written.
    """

    tenant: str
    meeting: str
    id: str
    author: str
    minutes: Minutes
    type_detected: bool
    usage: Usage
    sentences_dropped: int
    create_time: datetime

    @property
    def name(self) -> str:
        """Resource name, "meetings/m1/minutes/n4"."""
        return f"meetings/{self.meeting}/minutes/{self.id}"


class Rating(StrEnum):
    """What somebody thinks of a sentence."""

    HELPFUL = "helpful"
    NOT_HELPFUL = "not_helpful"


@dataclass(frozen=True, slots=True)
class Feedback:
    """What one user thinks of a sentence of minutes, or of the minutes.

    Args:
        tenant: Whose.
        id: Identifier, "f77"; it stays when the same user says something else of the same sentence.
        meeting: Identifier of the meeting, "m1".
        minutes: Identifier of the minutes, "n4".
        sentence: Identifier of the sentence, "s7"; empty: the minutes as a whole.
        subject: Who says so, "users/lin".
        rating: Right or wrong.
        comment: What is wrong with it; may be empty.
        correction: How it should read; may be empty.
        create_time: When they said so last.
    """

    tenant: str
    id: str
    meeting: str
    minutes: str
    sentence: str
    subject: str
    rating: Rating
    comment: str
    correction: str
    create_time: datetime

    @property
    def name(self) -> str:
        """Resource name, "feedback/f77"."""
        return f"feedback/{self.id}"


def parse_minutes_name(name: str) -> tuple[str, str]:
    """Return the identifiers of the meeting and of the minutes.

    Raises:
        MinutesNotFound: It is no name of minutes.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise MinutesNotFound(name)
    return match["meeting"], match["id"]
