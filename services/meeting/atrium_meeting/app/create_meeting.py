"""Make a meeting."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from atrium_meeting.app.find_meeting import MANAGE_MEETINGS
from atrium_meeting.app.meeting_fields import MeetingFields, check_labels
from atrium_meeting.app.stores import MeetingStore
from atrium_meeting.domain.errors import MeetingIdReserved
from atrium_meeting.domain.meetings import Meeting
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.clock import Clock, Ids
from atrium_shared.principal import Principal


class CreateMeeting:
    """The use case.

    Args:
        meetings: Where meetings are stored.
        audit: Records calls.
        clock: Tells the time.
        ids: Makes identifiers.
    """

    def __init__(self, meetings: MeetingStore, audit: AuditTrail, clock: Clock, ids: Ids) -> None:
        self._meetings = meetings
        self._audit = audit
        self._clock = clock
        self._ids = ids

    async def __call__(
        self,
        principal: Principal,
        meeting_id: str,
        described: MeetingFields,
        request_id: str = "",
    ) -> Meeting:
        """Make a meeting without words.

        Args:
            principal: Who makes it; they may always read and change it.
            meeting_id: Its id; empty: chosen here.
            described: What is known of it.
            request_id: A repeated call with the same one returns the first one's meeting.

        Raises:
            MeetingIdReserved: The caller does not manage meetings and chooses an id.
            MeetingExists: The id is taken.
            LabelNotHeld: The caller puts it under a label that they do not hold.
        """
        id_ = meeting_id or self._ids.new("m")
        async with self._audit.call(principal, "CreateMeeting", f"meetings/{id_}"):
            request_key = f"{principal.subject}/{request_id}" if request_id else None
            if request_key is not None:
                earlier = await self._meetings.of_request(principal.tenant, request_key)
                if earlier is not None:
                    return earlier
            if meeting_id and not principal.may(MANAGE_MEETINGS):
                raise MeetingIdReserved
            check_labels(principal, described.labels)
            meeting = Meeting(
                tenant=principal.tenant,
                uid=self._ids.new("u"),
                id=id_,
                **values_of(described),
                create_time=self._clock.now(),
                creator=principal.subject,
            )
            return await self._meetings.create(meeting, request_key)


def values_of(described: MeetingFields) -> dict[str, Any]:
    """Return the fields by name."""
    return {field.name: getattr(described, field.name) for field in fields(described)}
