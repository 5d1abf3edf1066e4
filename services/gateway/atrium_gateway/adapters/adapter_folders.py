"""Adapters' files in a folder that model servers read, such as a volume that both mount."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from pathlib import Path, PurePosixPath

from atrium_gateway.app.adapter_ports import AdapterFolderUnavailable
from atrium_gateway.domain.adapters import ADAPTER_FILES, HeldVersion, folder_key
from atrium_shared.blobs import BlobStore

_PARTIAL = ".coming-"
_ABANDONED_SECONDS = 3600.0


class SharedAdapterFolders:
    """Copies adapters from the file store; see ``AdapterFolders``.

    A folder appears whole or not at all, whichever of several gateways makes it.

    Args:
        blobs: Where they are stored.
        folder: Where they are copied to.
        seen_as: The same folder as the servers see it.
    """

    def __init__(self, blobs: BlobStore, folder: Path, seen_as: PurePosixPath) -> None:
        self._blobs = blobs
        self._folder = folder
        self._seen_as = seen_as

    async def put(self, version: HeldVersion) -> str:
        """Copy a version's files there unless they are."""
        target = self._folder / version.served_name
        seen_as = str(self._seen_as / version.served_name)
        if await asyncio.to_thread(target.is_dir):
            return seen_as
        try:
            coming = Path(await asyncio.to_thread(self._begin))
            try:
                for file in ADAPTER_FILES:
                    await self._copy(f"{folder_key(version.tenant, version.uid)}/{file}", coming)
                await asyncio.to_thread(_appear, coming, target)
            finally:
                await asyncio.to_thread(shutil.rmtree, coming, ignore_errors=True)
        except OSError as error:
            raise AdapterFolderUnavailable(
                f"the folder of adapters cannot be written ({error.strerror})"
            ) from error
        return seen_as

    async def remove(self, served_name: str) -> None:
        """Remove a version's files."""
        await asyncio.to_thread(shutil.rmtree, self._folder / served_name, ignore_errors=True)

    def _begin(self) -> str:
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in self._folder.glob(f"{_PARTIAL}*"):  # by a gateway that died while it copied
            try:
                age = time.time() - left.stat().st_mtime
            except FileNotFoundError:  # its gateway lives, and is done with it
                continue
            if age > _ABANDONED_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
        return tempfile.mkdtemp(prefix=_PARTIAL, dir=self._folder)

    async def _copy(self, key: str, folder: Path) -> None:
        path = folder / key.rpartition("/")[2]
        descriptor = await asyncio.to_thread(os.open, path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            async for part in self._blobs.stream(key):
                await asyncio.to_thread(_write_all, descriptor, part)
            await asyncio.to_thread(os.fsync, descriptor)
        finally:
            os.close(descriptor)


def _write_all(descriptor: int, part: bytes) -> None:
    left = memoryview(part)
    while left:
        left = left[os.write(descriptor, left) :]


def _appear(coming: Path, target: Path) -> None:
    coming.chmod(0o755)  # servers run as another user
    try:
        coming.rename(target)
    except OSError:
        if not target.is_dir():  # another gateway was faster, with the same files
            raise
