"""Remove from the file store what is gone from the records."""

from __future__ import annotations

import asyncio
import shutil
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
                await remove_folder(self._blobs, purge.folder)
                await self._recordings.purged(purge)


async def remove_folder(blobs: BlobStore, folder: str) -> None:
    """Remove all files under a folder of the file store, half-written ones included."""
    await blobs.delete_prefix(f"{folder}/")
    path = blobs.open_path(folder)
    if path is not None:
        # A process that died while it received a file leaves a part that the store does not list.
        await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
