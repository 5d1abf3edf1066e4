"""A file on its way from a caller to the file store."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable

from atrium_shared.blobs import BlobStore


class IncomingFile:
    """The bytes of a file as they come: counted, hashed, held to a limit, stored whole or not.

    Args:
        parts: The bytes. What they raise ends the file and is raised.
        limit_bytes: Largest size.
        empty: Makes the error of a file with 0 bytes.
        too_large: Makes the error of a file over the limit; raised as soon as it is over.
    """

    def __init__(
        self,
        parts: AsyncIterator[bytes],
        *,
        limit_bytes: int,
        empty: Callable[[], Exception],
        too_large: Callable[[], Exception],
    ) -> None:
        self.size_bytes = 0
        """Of what came so far."""
        self._digest = hashlib.sha256()
        self._parts = parts
        self._limit_bytes = limit_bytes
        self._empty = empty
        self._too_large = too_large
        self._first = b""

    @property
    def hash(self) -> str:
        """SHA-256 of what came so far, in hexadecimal."""
        return self._digest.hexdigest()

    async def open(self) -> None:
        """Wait for the first byte, so that an empty file is refused before anything is stored."""
        while not self._first:
            part = await anext(self._parts, None)
            if part is None:
                raise self._empty()
            self._first = self._checked(part)

    async def save(self, blobs: BlobStore, key: str) -> None:
        """Store all of it under a key, or nothing; durable when it returns.

        Raises:
            BlobStoreUnavailable: The store failed.
        """
        await blobs.put(key, self._stream())

    async def _stream(self) -> AsyncIterator[bytes]:
        yield self._first
        async for part in self._parts:
            yield self._checked(part)

    def _checked(self, part: bytes) -> bytes:
        self.size_bytes += len(part)
        if self.size_bytes > self._limit_bytes:
            raise self._too_large()
        self._digest.update(part)
        return part
