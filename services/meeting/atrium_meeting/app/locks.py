"""What is written into a meeting's files, and their removal, exclude each other."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary


class MeetingLocks:
    """One lock a meeting of this process."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, folder: str) -> asyncio.Lock:
        """Return the lock of the meeting to which a folder of the file store belongs."""
        meeting = "/".join(folder.split("/", 2)[:2])
        return self._locks.setdefault(meeting, asyncio.Lock())
