"""Name a speaker, or make two speakers one."""

from __future__ import annotations

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

from atrium_meeting.app.edit_utterance import MOST_TRIES
from atrium_meeting.app.find_meeting import FindMeeting
from atrium_meeting.app.stores import TranscriptStore
from atrium_meeting.domain.errors import (
    MeetingBusy,
    MeetingHasNoTranscript,
    SpeakerNotFound,
    TranscriptChanged,
)
from atrium_meeting.domain.meetings import Meeting, MeetingState
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.principal import Principal


class NameSpeaker:
    """The use case."""

    def __init__(self, find: FindMeeting, transcripts: TranscriptStore, audit: AuditTrail) -> None:
        self._find = find
        self._transcripts = transcripts
        self._audit = audit

    async def __call__(
        self,
        principal: Principal,
        name: str,
        speaker: str,
        *,
        display_name: str = "",
        same_as: str = "",
        version: int = 0,
    ) -> Meeting:
        """Make the next version of a transcript, in which a speaker is called or is another.

        Args:
            principal: Who says so.
            name: Of which meeting.
            speaker: Whom.
            display_name: Their name; empty: not known. Not looked at with ``same_as``.
            same_as: The speaker that they are the same as; empty: they are named.
            version: The version that was edited; 0: the newest.

        Raises:
            MeetingNotFound: There is none that the caller may read.
            MeetingNotYours: They may not change it.
            MeetingHasNoTranscript: Nothing was recognised yet.
            MeetingBusy: Speakers of a live meeting cannot be made one yet.
            SpeakerNotFound: One of them does not speak.
            TranscriptChanged: Another version is in force.
        """
        async with self._audit.call(principal, "NameSpeaker", name):
            # Who names no version means the newest, also when another edit comes first.
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(TranscriptChanged),
                stop=stop_after_attempt(1 if version else MOST_TRIES),
                reraise=True,
            ):
                with attempt:
                    return await self._change(
                        principal, name, speaker, display_name.strip(), same_as, version
                    )
        raise AssertionError("the last attempt raises")

    async def _change(
        self,
        principal: Principal,
        name: str,
        speaker: str,
        display_name: str,
        same_as: str,
        version: int,
    ) -> Meeting:
        meeting = await self._find.changeable(principal, name)
        if not meeting.transcript_version:
            raise MeetingHasNoTranscript(name, meeting.state, meeting.failure_message)
        if version and version != meeting.transcript_version:
            raise TranscriptChanged(name, meeting.transcript_version)
        names = {one.id: one.display_name for one in meeting.speakers}
        for field, one in (("speaker", speaker), ("same_as", same_as or speaker)):
            if one not in names:
                raise SpeakerNotFound(name, one, names, field=field)
        if same_as:
            return await self._merge(principal, meeting, speaker, same_as)
        if display_name == names[speaker]:
            return meeting
        return await self._transcripts.name_speaker(
            meeting,
            meeting.transcript_version,
            speaker,
            display_name,
            author=principal.subject,
            change=f"{speaker} named {display_name}" if display_name else f"{speaker} unnamed",
        )

    async def _merge(
        self, principal: Principal, meeting: Meeting, speaker: str, same_as: str
    ) -> Meeting:
        if meeting.state is MeetingState.LIVE:
            raise MeetingBusy(meeting.name)
        if speaker == same_as:
            return meeting
        return await self._transcripts.merge_speakers(
            meeting,
            meeting.transcript_version,
            speaker,
            same_as,
            author=principal.subject,
            change=f"{speaker} is {same_as}",
        )
