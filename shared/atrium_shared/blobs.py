"""Files: a folder by default, an S3-compatible store where users outgrow it (through obstore)."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from atrium_shared.errors import NotFound, Unavailable


class BlobNotFound(NotFound):
    """No blob has this key."""

    reason = "BLOB_NOT_FOUND"

    def __init__(self, key: str) -> None:
        super().__init__(f"Blob {key!r} does not exist.", key=key)


class BlobStoreUnavailable(Unavailable):
    """The store does not answer, or is full."""

    reason = "BLOB_STORE_UNAVAILABLE"

    def __init__(self, cause: Exception) -> None:
        super().__init__(
            "The file store does not answer or is full. Check its disk or its server, then repeat "
            "the call.",
            cause=type(cause).__name__,
        )


class BlobStore:
    """Keys to bytes. A blob is visible whole or not at all.

    Args:
        url: ``file:///path`` or ``s3://bucket/prefix``; S3 credentials come from the usual
            ``AWS_*`` variables.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._root: Path | None = None
        self._store: ObjectStore
        if parts.scheme == "file":
            self._root = Path(unquote(parts.path))
            self._store = LocalStore(self._root, mkdir=True, automatic_cleanup=True)
        else:
            self._store = from_url(url)

    async def put(self, key: str, data: bytes | AsyncIterator[bytes]) -> int:
        """Store under a key, replacing what was there; durable when it returns.

        Args:
            key: ``/``-separated name.
            data: The bytes, or an iterator of parts. If the iterator raises, nothing is stored,
                and what it raised is raised.

        Returns:
            Number of bytes stored.

        Raises:
            BlobStoreUnavailable: The store failed.
        """
        size = 0
        callers_error: BaseException | None = None

        async def counted(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            nonlocal size, callers_error
            try:
                async for part in parts:
                    size += len(part)
                    yield part
            except BaseException as error:
                callers_error = error
                raise

        try:
            if isinstance(data, bytes):
                size = len(data)
                await obstore.put_async(self._store, key, data)
            else:
                await obstore.put_async(self._store, key, counted(data))
            if self._root is not None:
                await asyncio.to_thread(_sync_to_disk, self._root / key)
        except Exception as error:
            # What ended the parts is the reason, whatever the store made of it.
            if callers_error is not None:
                raise callers_error from None
            if isinstance(error, BaseError | OSError):
                raise BlobStoreUnavailable(error) from error
            raise
        return size

    async def get(self, key: str) -> bytes:
        """Return the bytes.

        Raises:
            BlobNotFound: No blob has this key.
            BlobStoreUnavailable: The store failed.
        """
        try:
            result = await obstore.get_async(self._store, key)
            return bytes(await result.bytes_async())
        except FileNotFoundError as error:
            raise BlobNotFound(key) from error
        except (BaseError, OSError) as error:
            raise BlobStoreUnavailable(error) from error

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """Yield the bytes in parts of a few MiB.

        Raises:
            BlobNotFound: No blob has this key.
            BlobStoreUnavailable: The store failed.
        """
        try:
            result = await obstore.get_async(self._store, key)
            async for part in result.stream():
                yield bytes(part)
        except FileNotFoundError as error:
            raise BlobNotFound(key) from error
        except (BaseError, OSError) as error:
            raise BlobStoreUnavailable(error) from error

    def open_path(self, key: str) -> Path | None:
        """Return the file behind a key where the store is a folder, else None."""
        return None if self._root is None else self._root / key

    async def exists(self, key: str) -> bool:
        """Say whether a blob has this key."""
        try:
            await obstore.head_async(self._store, key)
        except FileNotFoundError:
            return False
        except BaseError as error:
            raise BlobStoreUnavailable(error) from error
        return True

    async def keys(self, prefix: str = "") -> list[str]:
        """Return the keys under a prefix, sorted."""
        keys: list[str] = []
        async for batch in obstore.list(self._store, prefix or None):
            keys.extend(entry["path"] for entry in batch)
        return sorted(keys)

    async def delete(self, key: str) -> None:
        """Remove a blob; one that does not exist is no error."""
        await self._delete_all([key])

    async def delete_folder(self, folder: str) -> None:
        """Remove all that is under a folder, half-written blobs included.

        Args:
            folder: Key without a slash at its end; not the whole store.
        """
        if not folder.strip("/"):
            raise ValueError("name a folder: the whole store is not deleted")
        await self._delete_all(await self.keys(f"{folder}/"))
        if self._root is not None:
            # A process that died while it received a file leaves a part that no list shows.
            await asyncio.to_thread(shutil.rmtree, self._root / folder, ignore_errors=True)

    async def _delete_all(self, keys: list[str]) -> None:
        for key in keys:
            try:
                await obstore.delete_async(self._store, key)
            except FileNotFoundError:
                continue
            except BaseError as error:
                raise BlobStoreUnavailable(error) from error


def _sync_to_disk(path: Path) -> None:
    # The store renames a finished file into place; durable needs the file and its folder on disk.
    for target in (path, path.parent):
        descriptor = os.open(target, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
