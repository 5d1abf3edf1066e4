"""Change what is known of a meeting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Final

from atrium_meeting.app.create_meeting import values_of
from atrium_meeting.app.find_meeting import FindMeeting
from atrium_meeting.app.meeting_fields import MeetingFields, check_labels
from atrium_meeting.app.stores import MeetingStore
from atrium_meeting.domain.meetings import Meeting
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.principal import Principal
from atrium_shared.update_masks import resolve_mask

_FIELDS: Final = tuple(field.name for field in fields(MeetingFields))


class UpdateMeeting:
    """The use case."""

    def __init__(self, meetings: MeetingStore, find: FindMeeting, audit: AuditTrail) -> None:
        self._meetings = meetings
        self._find = find
        self._audit = audit

    async def __call__(
        self, principal: Principal, name: str, described: MeetingFields, mask: Sequence[str]
    ) -> Meeting:
        """Change a meeting.

        Args:
            principal: Who changes it.
            name: Which meeting.
            described: What is known of it now.
            mask: Which fields to take.

        Raises:
            MeetingNotFound: There is none that the caller may read.
            MeetingNotYours: They may not change it.
            UpdateMaskUnknown: The mask names something else.
            LabelNotHeld: A label is new that the caller does not hold.
        """
        async with self._audit.call(principal, "UpdateMeeting", name):
            meeting = await self._find.changeable(principal, name)
            values = values_of(described)
            taken = {path: values[path] for path in resolve_mask(mask, _FIELDS)} if mask else {}

            def change(before: Meeting) -> Meeting:
                after = replace(before, **taken)
                check_labels(principal, after.labels - before.labels)
                return after

            return await self._meetings.change(meeting.uid, change)
