"""Return a meeting."""

from __future__ import annotations

from atrium_meeting.app.find_meeting import FindMeeting
from atrium_meeting.domain.meetings import Meeting
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.principal import Principal


class GetMeeting:
    """The use case."""

    def __init__(self, find: FindMeeting, audit: AuditTrail) -> None:
        self._find = find
        self._audit = audit

    async def __call__(self, principal: Principal, name: str) -> Meeting:
        """Return a meeting.

        Raises:
            MeetingNotFound: There is none that the caller may read.
        """
        async with self._audit.call(principal, "GetMeeting", name):
            return await self._find.readable(principal, name)
