"""Find a meeting that the caller may read, or change."""

from __future__ import annotations

from typing import Final

from atrium_meeting.app.stores import MeetingStore
from atrium_meeting.domain.errors import MeetingNotFound, MeetingNotYours
from atrium_meeting.domain.meetings import Meeting, meeting_id
from atrium_shared.principal import Principal

READ_MEETINGS: Final = "meeting.meetings:read"
WRITE_MEETINGS: Final = "meeting.meetings:write"
MANAGE_MEETINGS: Final = "meeting.meetings:manage"


def may_read(principal: Principal, meeting: Meeting) -> bool:
    """Tell whether a meeting is there for somebody: who made it, or holds one of its labels."""
    return principal.subject == meeting.creator or principal.allow_set.may_read(meeting.labels)


class FindMeeting:
    """Finds meetings by their names.

    Args:
        meetings: Where meetings are stored.
    """

    def __init__(self, meetings: MeetingStore) -> None:
        self._meetings = meetings

    async def readable(self, principal: Principal, name: str) -> Meeting:
        """Return a meeting that ``principal`` may read.

        Raises:
            MeetingNotFound: There is none, or they may not: the two read the same.
        """
        meeting = await self._meetings.get(principal.tenant, meeting_id(name))
        if not may_read(principal, meeting):
            raise MeetingNotFound(name)
        return meeting

    async def changeable(self, principal: Principal, name: str) -> Meeting:
        """Return a meeting that ``principal`` may change.

        Raises:
            MeetingNotFound: There is none, or they may not read it.
            MeetingNotYours: They may read it only.
        """
        meeting = await self.readable(principal, name)
        if principal.subject != meeting.creator and not principal.may(MANAGE_MEETINGS):
            raise MeetingNotYours(name)
        return meeting
