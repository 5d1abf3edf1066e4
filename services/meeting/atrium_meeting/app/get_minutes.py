"""Return minutes that were written, or list them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from atrium_meeting.app.find_meeting import FindMeeting
from atrium_meeting.app.ports import MinutesStore
from atrium_meeting.app.stores import TranscriptStore, WrittenMinutes
from atrium_meeting.domain.errors import MeetingNotFound, MinutesNotFound
from atrium_meeting.domain.minutes_records import parse_minutes_name
from atrium_meeting.domain.transcript import Utterance
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.paging import decode_page_token, encode_page_token, page_size
from atrium_shared.principal import Principal


class GetMinutes:
    """The use cases: one, and a page of them."""

    def __init__(
        self,
        find: FindMeeting,
        minutes: MinutesStore,
        transcripts: TranscriptStore,
        audit: AuditTrail,
    ) -> None:
        self._find = find
        self._minutes = minutes
        self._transcripts = transcripts
        self._audit = audit

    async def __call__(self, principal: Principal, name: str) -> WrittenMinutes:
        """Return minutes with the words that they cite.

        Raises:
            MinutesNotFound: There are none, or their meeting is not the caller's to read.
        """
        async with self._audit.call(principal, "GetMinutes", name):
            meeting_id, minutes_id = parse_minutes_name(name)
            try:
                meeting = await self._find.readable(principal, f"meetings/{meeting_id}")
            except MeetingNotFound as error:
                raise MinutesNotFound(name) from error
            record = await self._minutes.get(principal.tenant, meeting_id, minutes_id)
            version = record.minutes.transcript_version
            return WrittenMinutes(record, await self._utterances(meeting.uid, version))

    async def list(
        self, principal: Principal, name: str, size: int, token: str
    ) -> tuple[Sequence[WrittenMinutes], str]:
        """Return a page of a meeting's minutes, newest first, and the token of the next one.

        Raises:
            MeetingNotFound: There is none that the caller may read.
            PageTokenInvalid: The token belongs to another request.
        """
        async with self._audit.call(principal, "ListMinutes", name):
            meeting = await self._find.readable(principal, name)
            limit = page_size(size)
            fingerprint = f"{meeting.uid} minutes"
            before = decode_page_token(token, fingerprint)
            found = await self._minutes.list(
                principal.tenant, meeting.id, before=before, limit=limit + 1
            )
            page = found[:limit]
            versions = {one.minutes.transcript_version for one in page}
            words = {one: await self._utterances(meeting.uid, one) for one in versions}
            written = [WrittenMinutes(one, words[one.minutes.transcript_version]) for one in page]
            if len(found) <= limit:
                return written, ""
            return written, encode_page_token(page[-1].id, fingerprint)

    async def _utterances(self, meeting_uid: str, version: int) -> Mapping[str, Utterance]:
        transcript = await self._transcripts.load(meeting_uid, version)
        return {} if transcript is None else {one.id: one for one in transcript.utterances}
