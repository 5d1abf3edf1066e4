"""Take a transcript that was made elsewhere."""

from __future__ import annotations

from dataclasses import replace

import structlog

from atrium_meeting.app.find_meeting import FindMeeting
from atrium_meeting.app.mark_disfluencies import mark_disfluencies
from atrium_meeting.app.meeting_files import FileFormat, MeetingFiles
from atrium_meeting.app.ports import Cleaner
from atrium_meeting.app.stores import TranscriptStore
from atrium_meeting.app.workers import Workers
from atrium_meeting.domain.meetings import Meeting
from atrium_meeting.domain.recordings import Origin
from atrium_meeting.domain.speaker_names import suggest_names
from atrium_meeting.domain.transcript import Transcript
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.principal import Principal

_log = structlog.get_logger(__name__)


class ImportTranscript:
    """The use case.

    Args:
        find: Finds meetings.
        transcripts: Where transcripts are stored.
        files: Reads files.
        cleaner: Marks disfluencies; ``None``: nobody does.
        workers: Threads for both.
        audit: Records calls.
    """

    def __init__(
        self,
        find: FindMeeting,
        transcripts: TranscriptStore,
        files: MeetingFiles,
        cleaner: Cleaner | None,
        workers: Workers,
        audit: AuditTrail,
    ) -> None:
        self._find = find
        self._transcripts = transcripts
        self._files = files
        self._cleaner = cleaner
        self._workers = workers
        self._audit = audit

    async def __call__(
        self, principal: Principal, name: str, content: bytes, kind: FileFormat | None
    ) -> Meeting:
        """Make a file the first version of a meeting's transcript.

        It is cleaned up like a recognised one, unless it brings marks of its own.

        Args:
            principal: Who imports.
            name: Into which meeting, which has no transcript.
            content: The file.
            kind: Its format; ``None``: found out.

        Raises:
            MeetingNotFound: There is none that the caller may read.
            MeetingNotYours: They may not change it.
            MeetingHasTranscript: It has one.
            MeetingBusy: A recording of it is worked on, or it is live.
            TranscriptRefused: The file cannot be read; a subclass says why.
        """
        async with self._audit.call(principal, "ImportTranscript", name):
            meeting = await self._find.changeable(principal, name)
            read = await self._workers.run(self._files.read, content, kind)
            marked, origin = await self._marked(read)
            marked = await self._workers.run(suggest_names, marked)
            return await self._transcripts.publish(
                meeting.uid, marked, origin, author=principal.subject, change="imported"
            )

    async def _marked(self, transcript: Transcript) -> tuple[Transcript, Origin]:
        utterances = transcript.utterances
        if any(word.disfluency for utterance in utterances for word in utterance.words):
            return transcript, Origin()
        if self._cleaner is None:
            return transcript, Origin(degraded=True, degraded_reason="No model marks disfluencies.")
        try:
            marked = await self._workers.run(mark_disfluencies, self._cleaner, utterances)
        except Exception:  # whatever it is, the transcript must not be lost; nothing is marked then
            _log.exception("disfluencies not marked")
            return transcript, Origin(degraded=True, degraded_reason="Marking disfluencies failed.")
        return (
            replace(transcript, utterances=tuple(marked)),
            Origin(cleanup_model=self._cleaner.model),
        )
