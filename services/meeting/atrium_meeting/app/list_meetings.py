"""List meetings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from atrium_meeting.app.find_meeting import may_read
from atrium_meeting.app.stores import MeetingCursor, MeetingStore
from atrium_meeting.domain.meetings import Meeting
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.paging import cursor_time, decode_page_cursor, encode_page_token, page_size
from atrium_shared.principal import Principal

_READ_AT_ONCE: Final = 500


class ListMeetings:
    """The use case."""

    def __init__(self, meetings: MeetingStore, audit: AuditTrail) -> None:
        self._meetings = meetings
        self._audit = audit

    async def __call__(
        self, principal: Principal, size: int, token: str
    ) -> tuple[Sequence[Meeting], str]:
        """Return a page of the meetings that the caller may read, newest first, and the next token.

        Raises:
            PageTokenInvalid: The token belongs to another request.
        """
        async with self._audit.call(principal, "ListMeetings", "meetings/-"):
            limit = page_size(size)
            fingerprint = f"{principal.tenant} {principal.subject} meetings"
            after = decode_page_cursor(token, fingerprint, _cursor)
            found: list[tuple[Meeting, MeetingCursor]] = []
            while len(found) <= limit:
                read = await self._meetings.list(principal.tenant, after, _READ_AT_ONCE)
                found += [one for one in read if may_read(principal, one[0])]
                if len(read) < _READ_AT_ONCE:
                    break
                after = read[-1][1]
            page = [meeting for meeting, _ in found[:limit]]
            if len(found) <= limit:
                return page, ""
            last = found[limit - 1][1]
            cursor = f"{last.create_time.isoformat()} {last.uid}"
            return page, encode_page_token(cursor, fingerprint)


def _cursor(cursor: str) -> MeetingCursor:
    time, _, uid = cursor.partition(" ")
    return MeetingCursor(cursor_time(time), uid)
