"""Uploading files one after another or several at once, with what each is doing."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from atrium.knowledge.v1 import knowledge_pb2, knowledge_service_pb2
from atrium_client import AtriumCallError, AtriumClient
from atrium_suite.terminal.output import printable

Stage = knowledge_service_pb2.UploadDocumentMetadata.Stage

_IN_WORDS = {
    Stage.STAGE_UNSPECIFIED: "waiting",
    Stage.PARSING: "parsing",
    Stage.ENCODING: "encoding",
    Stage.INDEXING: "indexing",
    Stage.DONE: "done",
}


@dataclass(frozen=True)
class FileToAdd:
    """A file and what is to be said of it."""

    path: Path
    document_id: str
    title: str = ""
    labels: Sequence[str] = ()
    section_labels: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass
class FileAdded:
    """How one file went."""

    file: FileToAdd
    progress: knowledge_service_pb2.UploadDocumentMetadata = field(
        default_factory=knowledge_service_pb2.UploadDocumentMetadata
    )
    document: knowledge_pb2.Document | None = None
    error: AtriumCallError | OSError | None = None
    seconds: float = 0.0

    @property
    def stage(self) -> str:
        """What is being done now, in a word."""
        if self.error is not None:
            return "failed"
        return _IN_WORDS[self.progress.stage] if self.document is None else "done"

    @property
    def share_done(self) -> float:
        """How much of it is done, roughly, from 0 to 1."""
        if self.document is not None or self.error is not None:
            return 1.0
        # Encoding takes by far the longest; each stage gets about its share of the time.
        begin, width = {
            Stage.PARSING: (0.05, 0.15),
            Stage.ENCODING: (0.2, 0.7),
            Stage.INDEXING: (0.9, 0.1),
            Stage.DONE: (1.0, 0.0),
        }.get(self.progress.stage, (0.0, 0.0))
        total = self.progress.passages_total
        return begin + (width * self.progress.passages_done / total if total else 0.0)

    @property
    def reason(self) -> str:
        """Why it failed, for programs; "" when it did not."""
        if isinstance(self.error, AtriumCallError):
            return self.error.reason
        return "FILE_UNREADABLE" if self.error is not None else ""

    @property
    def message(self) -> str:
        """Why it failed, in words; "" when it did not."""
        if isinstance(self.error, AtriumCallError):
            return printable(self.error.message)
        return (self.error.strerror or str(self.error)) if self.error is not None else ""


async def add_files(
    client: AtriumClient,
    collection: str,
    files: Sequence[FileToAdd],
    *,
    at_once: int = 4,
    on_change: Callable[[FileAdded], None] = lambda _: None,
) -> list[FileAdded]:
    """Upload files and wait until each is searchable or has failed; one failure stops no other.

    Args:
        client: On whose behalf.
        collection: ``collections/handbook``.
        files: What to upload.
        at_once: Files under way at the same time.
        on_change: Called whenever one of them got further.

    Returns:
        How each went, in the order of ``files``.
    """
    free = asyncio.Semaphore(at_once)

    async def add(file: FileToAdd) -> FileAdded:
        added = FileAdded(file)

        def got_further(progress: knowledge_service_pb2.UploadDocumentMetadata) -> None:
            added.progress = progress
            on_change(added)

        async with free:
            on_change(added)
            begun = time.monotonic()
            try:
                operation = await client.upload_document(
                    collection,
                    file.path,
                    document_id=file.document_id,
                    title=file.title,
                    labels=file.labels,
                    section_labels=file.section_labels,
                )
                added.document = await client.wait_for_document(operation, got_further)
            except (AtriumCallError, OSError) as error:
                added.error = error
            added.seconds = time.monotonic() - begun
            on_change(added)
        return added

    return await asyncio.gather(*map(add, files))


def find_files(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield the files under files and folders in order; hidden ones only when named themselves.

    Raises:
        FileNotFoundError: A path does not exist.
    """
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(2, os.strerror(2), str(path))
        if path.is_file():
            yield path
            continue
        for each in sorted(path.rglob("*")):
            hidden = any(part.startswith(".") for part in each.relative_to(path).parts)
            if each.is_file() and not hidden:
                yield each


def document_id_for(path: Path) -> str:
    """Return an id by which the same file is the same document again.

    Readable, and unique by a hash of where the file lies.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", path.name.lower()).strip("-")[:48].rstrip("-")
    mark = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:8]
    return f"{slug}-{mark}" if slug else f"d-{mark}"
