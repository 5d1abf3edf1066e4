"""Put right at the start what a crash left undone."""

from __future__ import annotations

import structlog

from atrium_meeting.app.clean_up import CleanUp
from atrium_meeting.app.stores import RecordingStore
from atrium_meeting.app.upload_recording import TRANSCRIBE_JOB
from atrium_shared.blobs import BlobStore
from atrium_shared.jobs import JobRunner

_log = structlog.get_logger(__name__)


class Recover:
    """Runs before the service answers."""

    def __init__(
        self, recordings: RecordingStore, blobs: BlobStore, jobs: JobRunner, clean_up: CleanUp
    ) -> None:
        self._recordings = recordings
        self._blobs = blobs
        self._jobs = jobs
        self._clean_up = clean_up

    async def __call__(self) -> None:
        """Drop files that were never acknowledged, finish what was begun, resume what was."""
        interrupted = await self._recordings.interrupted_uploads()
        for uid, folder in interrupted:
            await self._blobs.delete_folder(folder)
            await self._recordings.end_upload(uid)
        purges = await self._recordings.purges()
        await self._clean_up.run(purges)
        unfinished = await self._recordings.unfinished()
        for recording in unfinished:
            # The same id again changes nothing; it is new only when the crash came before.
            await self._jobs.submit(
                TRANSCRIBE_JOB, recording.operation_id, {"recording": recording.uid}
            )
        if interrupted or purges or unfinished:
            _log.info(
                "recovered",
                uploads_dropped=len(interrupted),
                removals_finished=len(purges),
                transcriptions_resumed=len(unfinished),
            )
