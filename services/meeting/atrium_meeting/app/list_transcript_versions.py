"""List who changed a transcript, and what."""

from __future__ import annotations

from collections.abc import Sequence

from atrium_meeting.app.find_meeting import FindMeeting
from atrium_meeting.app.stores import TranscriptStore, VersionInfo
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.paging import cursor_number, decode_page_cursor, encode_page_token, page_size
from atrium_shared.principal import Principal


class ListTranscriptVersions:
    """The use case."""

    def __init__(self, find: FindMeeting, transcripts: TranscriptStore, audit: AuditTrail) -> None:
        self._find = find
        self._transcripts = transcripts
        self._audit = audit

    async def __call__(
        self, principal: Principal, name: str, size: int, token: str
    ) -> tuple[Sequence[VersionInfo], str]:
        """Return a page of versions, newest first, and the token of the next one.

        Raises:
            MeetingNotFound: There is none that the caller may read.
            PageTokenInvalid: The token belongs to another request.
        """
        async with self._audit.call(principal, "ListTranscriptVersions", name):
            meeting = await self._find.readable(principal, name)
            limit = page_size(size)
            fingerprint = f"{meeting.uid} versions"
            before = decode_page_cursor(token, fingerprint, cursor_number)
            found = await self._transcripts.versions(meeting.uid, before, limit + 1)
            page = found[:limit]
            if len(found) <= limit:
                return page, ""
            return page, encode_page_token(str(page[-1].version), fingerprint)
