"""Read a meeting whole, on somebody's behalf."""

from __future__ import annotations

from atrium_meeting.app.find_meeting import FindMeeting
from atrium_meeting.app.ports import ReadableMeeting
from atrium_meeting.app.stores import TranscriptStore
from atrium_meeting.domain.errors import MeetingHasNoTranscript
from atrium_shared.principal import Principal


class ReadMeeting:
    """Implements ``ports.MeetingReader``.

    Args:
        find: Finds meetings.
        transcripts: Where transcripts are stored.
    """

    def __init__(self, find: FindMeeting, transcripts: TranscriptStore) -> None:
        self._find = find
        self._transcripts = transcripts

    async def read(self, principal: Principal, meeting: str) -> ReadableMeeting:
        """Return the newest version of a meeting."""
        return await self.read_version(principal, meeting, 0)

    async def read_version(
        self, principal: Principal, meeting: str, version: int
    ) -> ReadableMeeting:
        """Return a version of a meeting; 0: the newest.

        Raises:
            MeetingNotFound: There is none, or ``principal`` may not read it.
            MeetingHasNoTranscript: Nothing was said or recognised yet.
        """
        found = await self._find.readable(principal, meeting)
        transcript = await self._transcripts.load(found.uid, version)
        if transcript is None or not transcript.utterances:
            raise MeetingHasNoTranscript(meeting, found.state, found.failure_message)
        return ReadableMeeting(
            id=found.id,
            title=found.title,
            agenda=found.agenda,
            day=found.began.date(),
            transcript=transcript,
            known_until_ms=transcript.end_ms,
        )
