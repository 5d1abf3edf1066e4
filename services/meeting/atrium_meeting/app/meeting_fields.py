"""What people say of a meeting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from atrium_meeting.app.find_meeting import MANAGE_MEETINGS
from atrium_meeting.domain.errors import LabelNotHeld
from atrium_meeting.domain.meetings import ChineseScript
from atrium_shared.principal import Principal


@dataclass(frozen=True, slots=True)
class MeetingFields:
    """What people set of a meeting; the fields of `Meeting` of the same names."""

    title: str = ""
    start_time: datetime | None = None
    languages: tuple[str, ...] = ()
    chinese_script: ChineseScript = ChineseScript.SIMPLIFIED
    hotwords: tuple[str, ...] = ()
    agenda: tuple[str, ...] = ()
    labels: frozenset[str] = frozenset()
    speaker_count: int = 0


def check_labels(principal: Principal, labels: Iterable[str]) -> None:
    """Do nothing when somebody may put these labels on a meeting.

    Raises:
        LabelNotHeld: They neither hold one of them nor manage meetings.
    """
    if principal.may(MANAGE_MEETINGS):
        return
    for label in sorted(labels):
        if not principal.allow_set.may_read([label]):
            raise LabelNotHeld(label)
