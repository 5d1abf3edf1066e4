"""A folder as a source of documents: what is in it, who may read it, and sending it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import anyio

from atrium.knowledge.v1 import knowledge_pb2, sync_pb2
from atrium_client import AtriumCallError, AtriumClient, readable_errors
from atrium_shared.errors import Invalid
from atrium_suite.terminal.uploads import find_files

_CHUNK_BYTES = 256 * 1024


class LabelsInvalid(Invalid):
    """The file of labels cannot be used."""

    reason = "LABELS_INVALID"


@dataclass(frozen=True)
class FolderFile:
    """A file of the folder."""

    path: Path
    id: str
    """Its path inside the folder, with "/"."""
    size_bytes: int
    revision: str
    """Changes whenever the file was written."""
    access: sync_pb2.SyncItem.Access | None


@dataclass
class FolderSync:
    """How the sending of a folder goes."""

    total: int
    done: int = 0
    skipped: int = 0
    """Sent by the run that broke, and not again."""
    unreadable: list[str] = field(default_factory=list)
    """Files that could not be read; while there are any, nothing is removed."""


def read_folder(folder: Path, labels: Mapping[str, Any] | None) -> list[FolderFile]:
    """Return the files of a folder in the order of their ids.

    Args:
        folder: Hidden files are left out.
        labels: Patterns such as ``"hr/*"`` to labels, or to ``labels`` and ``sections``; the first
            that fits counts. ``None``: labels stay as they are.

    Raises:
        LabelsInvalid: No pattern fits a file, or what stands beside one are no labels.
        OSError: The folder cannot be read.
    """
    rules = None if labels is None else {key: _access(key, given) for key, given in labels.items()}
    found = []
    for path in find_files([folder]):
        name = path.relative_to(folder).as_posix()
        about = path.stat()
        revision = f"{about.st_mtime_ns}-{about.st_size}"
        access = None if rules is None else _access_of(name, rules)
        found.append(FolderFile(path, name, about.st_size, revision, access))
    return sorted(found, key=lambda one: one.id)


def token_of(files: Sequence[FolderFile]) -> str:
    """Return a token of a folder's state: the same files give the same."""
    lines = "".join(f"{one.id}\t{one.revision}\t{one.access}\n" for one in files)
    return hashlib.sha256(lines.encode()).hexdigest()


async def sync_folder(
    client: AtriumClient,
    source: str,
    files: Sequence[FolderFile],
    *,
    keep: bool = False,
    allow_empty: bool = False,
    on_change: Callable[[FolderSync], None] = lambda _: None,
) -> tuple[sync_pb2.SyncDocumentsResponse, FolderSync]:
    """Send a folder; a run of the same state that broke is gone on with.

    Args:
        client: On whose behalf.
        source: ``collections/handbook/sources/wiki``.
        files: As :func:`read_folder` returned them.
        keep: Documents of files that are gone stay.
        allow_empty: A folder without files removes everything.
        on_change: Called whenever it got further.

    Raises:
        AtriumCallError: The server refused the run.
    """
    token = token_of(files)
    after = await _reached(client, source, token)
    sync = FolderSync(len(files))
    header = sync_pb2.SyncDocumentsRequest.Header(
        source=source, sync_token=token, resume=after is not None
    )

    async def requests() -> AsyncIterator[sync_pb2.SyncDocumentsRequest]:
        yield sync_pb2.SyncDocumentsRequest(header=header)
        for file in files:
            if after is not None and file.id <= after:
                sync.skipped += 1
            else:
                async for request in _item(file, sync):
                    yield request
            sync.done += 1
            on_change(sync)
        yield sync_pb2.SyncDocumentsRequest(
            end=sync_pb2.SyncDocumentsRequest.End(
                complete=not keep and not sync.unreadable, allow_empty=allow_empty
            )
        )

    with readable_errors():
        return await client.knowledge.SyncDocuments(requests()), sync


async def _reached(client: AtriumClient, source: str, token: str) -> str | None:
    """Return the last item of a run of this token that broke; ``None``: there is none."""
    try:
        with readable_errors():
            state = await client.knowledge.GetSyncState(sync_pb2.GetSyncStateRequest(name=source))
    except AtriumCallError as error:
        if error.reason == "SYNC_STATE_NOT_FOUND":
            return None
        raise
    broken = state.state == sync_pb2.SyncState.INTERRUPTED and state.sync_token == token
    return state.last_item if broken else None


async def _item(file: FolderFile, sync: FolderSync) -> AsyncIterator[sync_pb2.SyncDocumentsRequest]:
    # Opened here and not in a thread, as the client does: nobody would close it after a refusal.
    try:
        opened = file.path.open("rb")
    except OSError:
        sync.unreadable.append(file.id)
        return
    with opened:
        content = anyio.wrap_file(opened)
        upsert = sync_pb2.SyncItem.Upsert(
            filename=file.path.name, size_bytes=file.size_bytes, access=file.access
        )
        yield sync_pb2.SyncDocumentsRequest(
            item=sync_pb2.SyncItem(id=file.id, revision=file.revision, upsert=upsert)
        )
        left = file.size_bytes
        while left and (chunk := await content.read(min(left, _CHUNK_BYTES))):
            left -= len(chunk)
            yield sync_pb2.SyncDocumentsRequest(chunk=chunk)


def _access_of(
    name: str, rules: Mapping[str, sync_pb2.SyncItem.Access]
) -> sync_pb2.SyncItem.Access:
    for pattern, access in rules.items():
        if fnmatchcase(name, pattern):
            return access
    raise LabelsInvalid(
        f'No pattern of the labels fits {name!r}. End the file with a line such as "*": [staff].',
        file=name,
    )


def _access(pattern: str, given: Any) -> sync_pb2.SyncItem.Access:
    whole: Any = {"labels": given} if isinstance(given, list) else given
    try:
        return sync_pb2.SyncItem.Access(
            labels=whole.get("labels", []),
            section_labels=[
                knowledge_pb2.SectionLabels(heading=heading, labels=needed)
                for heading, needed in whole.get("sections", {}).items()
            ],
        )
    except (AttributeError, TypeError) as error:
        raise LabelsInvalid(
            f"Beside {pattern!r} stand no labels. Expected [staff, hr/pay], or "
            "{labels: [staff], sections: {Pay: [hr/pay]}}.",
            pattern=pattern,
        ) from error
