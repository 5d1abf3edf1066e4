"""Copying and hashing at once, so that no byte is believed before it was counted."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

from atrium_models.catalog import FileSpec
from atrium_models.errors import ModelChecksumMismatch

_BLOCK_BYTES = 1 << 20


def blocks(stream: IO[bytes]) -> Iterable[bytes]:
    """The rest of ``stream``, in blocks of 1 MiB."""
    while block := stream.read(_BLOCK_BYTES):
        yield block


def sha256_of(path: Path) -> str:
    """SHA-256 of the file ``path``, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def matches(path: Path, expected: FileSpec) -> bool:
    """Whether the file ``path`` exists and is the expected one."""
    try:
        return path.stat().st_size == expected.bytes and sha256_of(path) == expected.sha256
    except OSError:
        return False


def size_of(folder: Path) -> int:
    """Bytes of all files under ``folder``, even while another process changes them."""
    total = 0
    # os.walk passes over folders that vanish, which Path.rglob of Python 3.11 does not.
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(parent, name)).st_size
    return total


def write_checked(
    content: Iterable[bytes],
    path: Path,
    expected: FileSpec,
    *,
    model: str,
    source: str,
    advance: Callable[[int], None],
) -> None:
    """Write ``content`` to ``path`` and make sure that it is the expected file.

    No more than the expected size is ever written. On failure ``path`` is removed.

    Args:
        content: The bytes, in blocks.
        path: Where they go; its folder is made.
        expected: Size and digest.
        model: For the error.
        source: For the error.
        advance: Called with the size of each block.

    Raises:
        ModelChecksumMismatch: Size or digest differ.
        OSError: The disk is full, or the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    size = 0
    try:
        with path.open("wb") as stream:
            for block in content:
                size += len(block)
                if size > expected.bytes:
                    break
                digest.update(block)
                stream.write(block)
                advance(len(block))
            stream.flush()
            os.fsync(stream.fileno())
        check_size_and_digest(path.name, size, digest.hexdigest(), expected, model, source)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def check_size_and_digest(
    file: str, size: int, sha256: str, expected: FileSpec, model: str, source: str
) -> None:
    """Compare what came with what was expected.

    Raises:
        ModelChecksumMismatch: They differ.
    """
    if size != expected.bytes:
        more = "more than " if size > expected.bytes else ""
        got = f"{more}{min(size, expected.bytes)} bytes"
        raise ModelChecksumMismatch(
            model, file, source=source, expected=f"{expected.bytes} bytes", got=got
        )
    if sha256 != expected.sha256:
        raise ModelChecksumMismatch(
            model,
            file,
            source=source,
            expected=f"SHA-256 {expected.sha256}",
            got=f"SHA-256 {sha256}",
        )
