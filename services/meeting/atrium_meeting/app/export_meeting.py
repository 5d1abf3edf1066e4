"""Write a meeting to a file."""

from __future__ import annotations

from collections import Counter

from atrium_meeting.app.find_meeting import FindMeeting
from atrium_meeting.app.meeting_files import ExportedMeeting, FileFormat, MeetingFile, MeetingFiles
from atrium_meeting.app.ports import MinutesStore
from atrium_meeting.app.stores import TranscriptStore
from atrium_meeting.app.workers import Workers
from atrium_meeting.domain.errors import MeetingHasNoTranscript, MinutesNotFound
from atrium_meeting.domain.meetings import Meeting
from atrium_meeting.domain.minutes import Minutes
from atrium_meeting.domain.minutes_records import parse_minutes_name
from atrium_meeting.domain.transcript import Transcript
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.principal import Principal


class ExportMeeting:
    """The use case.

    Args:
        find: Finds meetings.
        transcripts: Where transcripts are stored.
        minutes: Where minutes are stored.
        files: Writes files.
        workers: Threads for it.
        audit: Records calls.
    """

    def __init__(
        self,
        find: FindMeeting,
        transcripts: TranscriptStore,
        minutes: MinutesStore,
        files: MeetingFiles,
        workers: Workers,
        audit: AuditTrail,
    ) -> None:
        self._find = find
        self._transcripts = transcripts
        self._minutes = minutes
        self._files = files
        self._workers = workers
        self._audit = audit

    async def __call__(
        self,
        principal: Principal,
        name: str,
        kind: FileFormat,
        *,
        clean: bool,
        minutes: str,
        language: str,
    ) -> MeetingFile:
        """Return a meeting as a file.

        With minutes, the transcript is written in the version that they tell, so that every
        citation fits.

        Args:
            principal: Who exports.
            name: Which meeting.
            kind: The format.
            clean: Whether words that the clean view leaves out are left out.
            minutes: Name of the minutes that go along; empty: the newest, where there are any.
            language: Of headings; empty: that of the minutes, or of most that was said.

        Raises:
            MeetingNotFound: There is none that the caller may read.
            MeetingHasNoTranscript: Nothing was recognised yet.
            MinutesNotFound: There are no such minutes.
        """
        async with self._audit.call(principal, "ExportMeeting", name):
            meeting = await self._find.readable(principal, name)
            chosen = await self._chosen(meeting, name, minutes)
            version = chosen.transcript_version if chosen else 0
            transcript = await self._transcripts.load(meeting.uid, version)
            if transcript is None or not transcript.utterances:
                raise MeetingHasNoTranscript(name, meeting.state, meeting.failure_message)
            wanted = ExportedMeeting(
                title=meeting.title,
                start_time=meeting.began,
                transcript=transcript,
                minutes=chosen,
                language=language or (chosen.language if chosen else _spoken(transcript)),
                clean=clean,
            )
            return await self._workers.run(self._files.write, wanted, kind)

    async def _chosen(self, meeting: Meeting, name: str, minutes: str) -> Minutes | None:
        if minutes:
            of, minutes_id = parse_minutes_name(minutes)
            if of != meeting.id:
                raise MinutesNotFound(minutes)
            return (await self._minutes.get(meeting.tenant, meeting.id, minutes_id)).minutes
        newest = await self._minutes.list(meeting.tenant, meeting.id, before="", limit=1)
        return newest[0].minutes if newest else None


def _spoken(transcript: Transcript) -> str:
    counts = Counter[str]()
    for utterance in transcript.utterances:
        counts[utterance.language] += len(utterance.text)
    return "zh" if counts["zh"] > counts["en"] else "en"
