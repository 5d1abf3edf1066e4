"""Take a recording: all of it is durable before the reply, or nothing of it is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from atrium_meeting.app.find_meeting import FindMeeting
from atrium_meeting.app.ports import Transcriber
from atrium_meeting.app.stores import ReceivedRecording, RecordingStore, RequestTaken
from atrium_meeting.domain.errors import (
    RecordingEmpty,
    RecordingTooLarge,
    UploadHeaderMissing,
    UploadHeaderRepeated,
)
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.blobs import BlobStore
from atrium_shared.clock import Ids
from atrium_shared.database import DatabaseUnavailable
from atrium_shared.incoming import IncomingFile
from atrium_shared.jobs import JobRunner
from atrium_shared.operations import Operation
from atrium_shared.principal import Principal
from atrium_shared.unbroken import Unbroken

TRANSCRIBE_JOB: Final = "meeting.transcribe"


@dataclass(frozen=True, slots=True)
class UploadHeader:
    """What comes before the bytes of a recording."""

    meeting: str
    """Name of the meeting."""
    filename: str
    """For people; may be empty."""
    write_minutes: bool
    request_id: str
    """Chosen by the caller; a repeated upload returns the first one's operation. May be empty."""


class UploadRecording:
    """The use case.

    What happens in which order, so that a crash at any point leaves an acknowledged upload whole
    and nothing of another: a note that a file is coming; the file; then in one transaction the
    recording, its operation and the end of the note; then the job (which a restart submits again
    when it is missing); then the reply.

    Args:
        find: Finds meetings.
        recordings: Where recordings are stored.
        blobs: Where files are stored.
        transcriber: Asked whether it can recognise anything.
        jobs: Runs the transcription.
        audit: Records calls.
        ids: Makes identifiers.
        max_bytes: Largest file where the tenant has no limit of its own.
    """

    def __init__(
        self,
        find: FindMeeting,
        recordings: RecordingStore,
        blobs: BlobStore,
        transcriber: Transcriber,
        jobs: JobRunner,
        audit: AuditTrail,
        ids: Ids,
        *,
        max_bytes: int,
    ) -> None:
        self._find = find
        self._recordings = recordings
        self._blobs = blobs
        self._transcriber = transcriber
        self._jobs = jobs
        self._audit = audit
        self._ids = ids
        self._max_bytes = max_bytes
        self._unbroken = Unbroken()

    async def __call__(
        self, principal: Principal, parts: AsyncIterator[UploadHeader | bytes]
    ) -> Operation:
        """Receive a recording; returned means received and durable.

        Args:
            principal: Who uploads.
            parts: The header, then the bytes.

        Raises:
            UploadHeaderMissing: The first part is no header.
            UploadHeaderRepeated: A later part is one.
            MeetingNotFound: There is no such meeting that the caller may read.
            MeetingNotYours: They may not change it.
            MeetingHasTranscript: It has a transcript.
            MeetingBusy: A recording of it is worked on, or it is live.
            RecognitionUnavailable: There is no model to recognise speech with.
            RecordingEmpty: The file has 0 bytes.
            RecordingTooLarge: It is larger than allowed; told as soon as it is.
        """
        header = await anext(parts, None)
        resource = header.meeting if isinstance(header, UploadHeader) else "meetings/-"
        async with self._audit.call(principal, "UploadRecording", resource):
            if not isinstance(header, UploadHeader):
                raise UploadHeaderMissing
            return await self._receive(principal, header, parts)

    async def close(self) -> None:
        """Wait for what goes on although its caller hung up."""
        await self._unbroken.close()

    async def _receive(
        self, principal: Principal, header: UploadHeader, parts: AsyncIterator[UploadHeader | bytes]
    ) -> Operation:
        meeting = await self._find.changeable(principal, header.meeting)
        request_key = f"{principal.subject}/{header.request_id}" if header.request_id else None
        if request_key is not None:
            earlier = await self._recordings.operation_of_request(meeting.uid, request_key)
            if earlier is not None:
                return earlier
        meeting.check_free()
        await asyncio.to_thread(self._transcriber.check)
        limit = principal.max_upload_bytes or self._max_bytes
        content = IncomingFile(
            _bytes_of(parts),
            limit_bytes=limit,
            empty=RecordingEmpty,
            too_large=lambda: RecordingTooLarge(limit),
        )
        await content.open()
        uid = self._ids.new("r")
        folder = f"{meeting.folder}/{uid}"
        try:
            await self._recordings.begin_upload(uid, folder)
            await content.save(self._blobs, f"{folder}/original")
        except BaseException:
            # A caller who hangs up cancels this task; note and file must go all the same.
            await self._unbroken.run(self._discard(uid, folder))
            raise
        received = ReceivedRecording(
            uid=uid,
            meeting=meeting,
            filename=header.filename,
            size_bytes=content.size_bytes,
            content_hash=content.hash,
            actor=principal.actor,
            on_behalf_of=principal.on_behalf_of,
            write_minutes=header.write_minutes,
            request_key=request_key,
        )
        return await self._unbroken.run(self._acknowledge(received, folder))

    async def _acknowledge(self, received: ReceivedRecording, folder: str) -> Operation:
        try:
            operation, recording = await self._recordings.register(received)
        except RequestTaken as taken:
            await self._discard(received.uid, folder)
            return taken.operation
        except DatabaseUnavailable:
            # It may be registered all the same: the note of the upload tells, and recovery asks it.
            raise
        except Exception:  # whatever it is, a file that was not acknowledged must not stay
            await self._discard(received.uid, folder)
            raise
        await self._jobs.submit(
            TRANSCRIBE_JOB, recording.operation_id, {"recording": recording.uid}
        )
        return operation

    async def _discard(self, uid: str, folder: str) -> None:
        await self._blobs.delete_folder(folder)
        await self._recordings.end_upload(uid)


async def _bytes_of(parts: AsyncIterator[UploadHeader | bytes]) -> AsyncIterator[bytes]:
    async for part in parts:
        if isinstance(part, UploadHeader):
            raise UploadHeaderRepeated
        yield part
