"""Remove a meeting."""

from __future__ import annotations

from atrium_meeting.app.clean_up import CleanUp
from atrium_meeting.app.find_meeting import FindMeeting
from atrium_meeting.app.stores import MeetingStore
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.jobs import JobRunner
from atrium_shared.principal import Principal


class DeleteMeeting:
    """The use case."""

    def __init__(
        self,
        meetings: MeetingStore,
        find: FindMeeting,
        jobs: JobRunner,
        clean_up: CleanUp,
        audit: AuditTrail,
    ) -> None:
        self._meetings = meetings
        self._find = find
        self._jobs = jobs
        self._clean_up = clean_up
        self._audit = audit

    async def __call__(self, principal: Principal, name: str) -> None:
        """Remove a meeting with recording, transcripts, minutes and feedback; returned means gone.

        Work on its recording ends; the operation then says that there is no such meeting.

        Raises:
            MeetingNotFound: There is none that the caller may read.
            MeetingNotYours: They may not change it.
        """
        async with self._audit.call(principal, "DeleteMeeting", name):
            meeting = await self._find.changeable(principal, name)
            purges, under_way = await self._meetings.delete(meeting.uid)
            for operation_id in under_way:
                await self._jobs.cancel(operation_id)
            await self._clean_up.run(purges)
