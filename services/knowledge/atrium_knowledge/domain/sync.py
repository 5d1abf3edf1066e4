"""Documents kept in step with a source system."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Final

from atrium_knowledge.domain.documents import SectionLabels
from atrium_knowledge.domain.errors import SyncStateNotFound
from atrium_shared.errors import AtriumError

MAX_PROBLEMS: Final = 1000
"""Problems that a reply lists."""

FINAL_REASONS: Final = frozenset(
    {
        "DOCUMENT_BROKEN",
        "DOCUMENT_ENCRYPTED",
        "DOCUMENT_HAS_NO_TEXT",
        "DOCUMENT_TOO_LARGE",
        "DOCUMENT_TYPE_UNKNOWN",
        "DOCUMENT_UNPACKS_TOO_LARGE",
        "DOCUMENT_UNSAFE",
    }
)
"""Why a file fails whenever it is read: the same bytes need not be tried again."""

_SOURCE = re.compile(
    r"collections/(?P<collection>[a-z][a-z0-9-]{0,62})/sources/(?P<source>[a-z][a-z0-9-]{0,62})"
)


@dataclass(frozen=True, slots=True)
class SourceName:
    """Ids in "collections/handbook/sources/wiki"."""

    collection: str
    source: str


def source_name(name: str) -> SourceName:
    """Return the ids in a source's name.

    Raises:
        SyncStateNotFound: It is no source's name.
    """
    match = _SOURCE.fullmatch(name)
    if match is None:
        raise SyncStateNotFound(name)
    return SourceName(match["collection"], match["source"])


def document_id_of(source: str, item: str) -> str:
    """Return the id of the document that an item of a source becomes.

    Readable, and always the same: a hash of both keeps items of like names apart.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", item.lower()).strip("-")[-40:].strip("-")
    mark = hashlib.sha256(f"{source}\0{item}".encode()).hexdigest()[:16]
    return f"{slug}-{mark}" if slug else f"d-{mark}"


@dataclass(frozen=True, slots=True)
class SyncHeader:
    """What comes before the items of a run."""

    source: str
    """Resource name."""
    token: str
    """The source's own name for this run."""
    resume: bool
    base_token: str
    """Token of the run that this one builds on; empty: on none."""


@dataclass(frozen=True, slots=True)
class ItemAccess:
    """Who may read a document."""

    labels: frozenset[str]
    section_labels: tuple[SectionLabels, ...]


@dataclass(frozen=True, slots=True)
class ItemContent:
    """A document's content, whose bytes follow."""

    filename: str
    title: str
    size_bytes: int
    access: ItemAccess | None
    """``None``: as before."""


class Removal:
    """The document is gone at the source."""


@dataclass(frozen=True, slots=True)
class SyncItem:
    """What happened to one document of the source."""

    id: str
    revision: str
    change: ItemContent | ItemAccess | Removal | AtriumError
    """An error: what is wrong with the item as it was sent."""


@dataclass(frozen=True, slots=True)
class SyncEnd:
    """The end of a run."""

    complete: bool
    allow_empty: bool


class Outcome(StrEnum):
    """What became of an item; the names of counts."""

    CREATED = "created"
    UPDATED = "updated"
    LABELLED = "labelled"
    UNCHANGED = "unchanged"
    REMOVED = "removed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SyncCounts:
    """What a run did so far."""

    items: int = 0
    created: int = 0
    updated: int = 0
    labelled: int = 0
    unchanged: int = 0
    removed: int = 0
    failed: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


@dataclass(frozen=True, slots=True)
class SyncProblem:
    """What was wrong with one item."""

    item: str
    """The source's id; empty: it had none."""
    position: int
    """Place in the stream, from 1; 0: found while the file was taken in."""
    reason: str
    message: str


class SyncStage(StrEnum):
    """Where the syncing of a source stands."""

    RUNNING = "RUNNING"
    INTERRUPTED = "INTERRUPTED"
    REMOVING = "REMOVING"
    COMPLETE = "COMPLETE"


@dataclass(frozen=True, slots=True)
class SyncState:
    """Where the syncing of a source stands."""

    name: str
    stage: SyncStage
    token: str
    last_item: str
    counts: SyncCounts
    completed_token: str
    operation: str
    """Resource name; empty before the first end."""
    start_time: datetime
    update_time: datetime
    document_count: int
