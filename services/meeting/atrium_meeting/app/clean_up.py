"""Remove from the file store what is gone from the records."""

from __future__ import annotations

from collections.abc import Iterable

from atrium_meeting.app.locks import MeetingLocks
from atrium_meeting.app.stores import Purge, RecordingStore
from atrium_shared.blobs import BlobStore


class CleanUp:
    """Carries out purges. One that a crash interrupts is carried out at the next start."""

    def __init__(self, recordings: RecordingStore, blobs: BlobStore, locks: MeetingLocks) -> None:
        self._recordings = recordings
        self._blobs = blobs
        self._locks = locks

    async def run(self, purges: Iterable[Purge]) -> None:
        """Carry out ``purges``; returned means gone."""
        for purge in purges:
            async with self._locks.of(purge.folder):
                await self._blobs.delete_folder(purge.folder)
                await self._recordings.purged(purge)
