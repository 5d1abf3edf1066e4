"""The records of the service as use cases see them. Every method is one transaction."""

from __future__ import annotations

from collections.abc import Collection as AnyCollection
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from atrium_knowledge.domain.access import AccessRule
from atrium_knowledge.domain.answers import AnswerRecord, Feedback
from atrium_knowledge.domain.chunking import Chunk
from atrium_knowledge.domain.collections import Collection, RestrictedTopic, VectorSpace
from atrium_knowledge.domain.documents import Revision, SectionLabels
from atrium_knowledge.domain.history import DocumentVersion, LabelsThen
from atrium_knowledge.domain.sync import (
    Outcome,
    SyncCounts,
    SyncEnd,
    SyncHeader,
    SyncProblem,
    SyncState,
)
from atrium_shared.errors import AtriumError
from atrium_shared.jobs import JSON
from atrium_shared.operations import Operation


@dataclass(frozen=True, slots=True)
class Purge:
    """What is gone from the records, and still has to go from the index and the file store.

    It is recorded in the transaction that removes the records, and forgotten once the rest is
    done; a crash in between leaves it to the next start. Until then its revisions are hidden.
    """

    id: int
    collection_uid: str
    revisions: tuple[int, ...]
    """Whose points go from the index."""
    folders: tuple[str, ...]
    """What goes from the file store."""
    whole: bool
    """The whole collection goes, with its shard."""


@dataclass(frozen=True, slots=True)
class TopicVectors:
    """Vectors of a collection's restricted topics."""

    space: VectorSpace
    fingerprint: str
    """Of the topics whose vectors these are."""
    vectors: NDArray[np.float32]
    """(texts, dimensions): for each topic its description, examples, counter-examples."""


class CollectionStore(Protocol):
    """Collections with their access rules and topics."""

    async def create(self, collection: Collection, actor: str, on_behalf_of: str | None) -> None:
        """Add a collection.

        Raises:
            CollectionExists: The id is taken.
        """
        ...

    async def get(self, tenant: str, collection_id: str) -> Collection:
        """Return a collection of a tenant.

        Raises:
            CollectionNotFound: There is none.
        """
        ...

    async def list(self, tenant: str, after: str, limit: int) -> Sequence[Collection]:
        """Return the collections whose ids follow ``after``, in the order of ids."""
        ...

    async def list_all(self) -> Sequence[tuple[Collection, str, str | None]]:
        """Return the collections of all tenants, each with who last set its topics."""
        ...

    async def update(
        self,
        tenant: str,
        collection_id: str,
        *,
        etag: str,
        display_name: str | None,
        topics: tuple[RestrictedTopic, ...] | None,
        versions_kept: int | None,
        keep_questions: bool | None,
        actor: str,
        on_behalf_of: str | None,
    ) -> tuple[Collection, Sequence[Purge]]:
        """Change what is not ``None``. Without ``keep_questions`` no words are left of feedback.

        Returns:
            The collection, and what is left to do for texts that are not kept any more.

        Raises:
            CollectionNotFound: There is none.
            CollectionChanged: ``etag`` is neither empty nor that of the collection.
        """
        ...

    async def delete(self, tenant: str, collection_id: str) -> Purge:
        """Remove a collection's records; return what is left to do.

        Raises:
            CollectionNotFound: There is none.
        """
        ...

    async def adopt_space(self, uid: str, space: VectorSpace) -> None:
        """Set the space of a collection that has none."""
        ...

    async def switch_space(
        self, uid: str, space: VectorSpace, topics: TopicVectors | None
    ) -> VectorSpace | None:
        """Make ``space`` the collection's, with the topics' vectors in it; return the old one."""
        ...

    async def save_topics(self, uid: str, vectors: TopicVectors) -> None:
        """Replace the vectors of a collection's topics."""
        ...

    async def topics(self, uid: str) -> TopicVectors | None:
        """Return the vectors of a collection's topics, when there are any."""
        ...

    async def access_rules(self, uid: str, after: int) -> Mapping[int, AccessRule]:
        """Return the collection's access classes that are numbered higher than ``after``."""
        ...


@dataclass(frozen=True, slots=True)
class Upload:
    """A file whose bytes are in the file store."""

    collection: Collection
    document_id: str
    revision_uid: str
    title: str
    filename: str
    labels: frozenset[str]
    section_labels: tuple[SectionLabels, ...]
    size_bytes: int
    actor: str
    on_behalf_of: str | None
    content_hash: str
    """SHA-256 of the file in hexadecimal."""
    request_key: str | None = None
    """Who and which request id, when the caller chose one."""
    inherit_labels: bool = True
    """Whether a further version without labels takes over those of its document."""


class RequestTaken(Exception):
    """Another upload with the same request id was registered meanwhile; it stands."""

    def __init__(self, operation: Operation) -> None:
        super().__init__(operation.name)
        self.operation = operation


@dataclass(frozen=True, slots=True)
class Parsed:
    """What parsing found out about a revision."""

    title: str
    media_type: str
    language: str
    page_count: int
    warnings: tuple[str, ...]
    chunks: Sequence[Chunk]
    texts: Sequence[str]
    """Of the chunks."""


@dataclass(frozen=True, slots=True)
class StoredPassage:
    """A passage as it is stored."""

    revision: int
    ordinal: int
    """From 1."""
    section_path: tuple[str, ...]
    text: str
    start: int
    end: int
    page: int
    paragraph: int
    language: str
    access_class: int

    @property
    def point(self) -> int:
        """Its identifier in the index: later revisions have greater ones."""
        return point_of(self.revision, self.ordinal)


def point_of(revision: int, ordinal: int) -> int:
    """Return the identifier of a passage in the index."""
    return revision << 20 | ordinal


def passage_of(point: int) -> tuple[int, int]:
    """Return revision and ordinal of an identifier in the index."""
    return point >> 20, point & (1 << 20) - 1


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an upload is."""

    stage: str
    """"PARSING", "ENCODING", "INDEXING" or "DONE"."""
    passages_done: int = 0
    passages_total: int = 0
    parse_seconds: float = 0.0
    encode_seconds: float = 0.0
    index_seconds: float = 0.0
    encoder_tokens: int = 0


@dataclass(frozen=True, slots=True)
class LiveRevision:
    """What the index should have of a searchable revision."""

    passage_count: int
    space: VectorSpace | None
    """Of its vectors; ``None`` while it has none."""


class DocumentStore(Protocol):
    """Documents, their versions and passages, and the operations of uploads."""

    async def begin_upload(self, revision_uid: str, folder: str) -> None:
        """Note that a file is being received, so that a crash leaves nothing of it."""
        ...

    async def end_upload(self, revision_uid: str) -> None:
        """Forget the note: nothing of the file is left."""
        ...

    async def interrupted_uploads(self) -> Sequence[tuple[str, str]]:
        """Return (revision uid, folder) of files whose receiving process has died."""
        ...

    async def operation_of_request(self, collection_uid: str, request_key: str) -> Operation | None:
        """Return the operation that an earlier upload with this request id got."""
        ...

    async def register(self, upload: Upload) -> tuple[Operation, int]:
        """Make an upload durable: document, revision, operation. The note of it goes.

        Without labels of its own, a further version takes over those of its document.

        Returns:
            The operation and the revision.

        Raises:
            CollectionNotFound: It was deleted meanwhile.
            RequestTaken: Its request id was used meanwhile.
        """
        ...

    async def shown(self, collection_uid: str, document_id: str) -> Revision | None:
        """Return the revision that stands for a document: the searchable one, else the newest."""
        ...

    async def list_shown(self, collection_uid: str, after: str, limit: int) -> Sequence[Revision]:
        """Return the revision that stands for each document whose id follows ``after``."""
        ...

    async def revision(self, seq: int) -> Revision | None:
        """Return a revision, or ``None`` when it is gone."""
        ...

    async def revision_of_operation(self, operation_id: str) -> Revision | None:
        """Return the revision that an operation takes in."""
        ...

    async def unfinished(self) -> Sequence[Revision]:
        """Return every revision that is being processed."""
        ...

    async def live(self, collection_uid: str) -> Mapping[int, LiveRevision]:
        """Return the searchable revisions of a collection."""
        ...

    async def uploaders(self, collection_uid: str) -> Sequence[tuple[str, str | None]]:
        """Return who uploaded searchable documents: actor and on whose behalf."""
        ...

    async def store_parsed(self, seq: int, parsed: Parsed) -> int | None:
        """Store what parsing found, with passages and access classes, replacing earlier results.

        From here on the revision may have points in the index.

        Returns:
            The number of passages; ``None`` when the revision is not being processed any more.
        """
        ...

    async def passages(self, seq: int, first: int, count: int) -> Sequence[StoredPassage]:
        """Return passages of a revision from an ordinal on."""
        ...

    async def passages_by_point(
        self, points: AnyCollection[int]
    ) -> Mapping[int, tuple[StoredPassage, Revision]]:
        """Return the passages of searchable revisions, by their identifier in the index."""
        ...

    async def section(self, seq: int, path: tuple[str, ...]) -> Sequence[StoredPassage]:
        """Return the passages under exactly this heading path, in order."""
        ...

    async def passages_from(
        self, seq: int, start: int, classes: frozenset[int], limit: int
    ) -> Sequence[StoredPassage]:
        """Return passages of these classes that end after code point ``start``, in order."""
        ...

    async def hidden(self, collection_uid: str) -> frozenset[int]:
        """Return the revisions that may have points and are not searchable."""
        ...

    async def report(self, revision: Revision, progress: Progress) -> None:
        """Update the operation of an upload."""
        ...

    async def publish(
        self, seq: int, space: VectorSpace | None, progress: Progress
    ) -> Sequence[Purge]:
        """Make a revision the searchable one, and end its operation with the document.

        A revision that is not being processed any more is left as it is; one that a later version
        has overtaken becomes superseded.

        Returns:
            What is left to do for the version that it replaces.

        Raises:
            SectionNotFound: Its labels changed since it was parsed, to a heading that it lacks.
        """
        ...

    async def fail(
        self, seq: int, error: AtriumError, *, end_operation: bool = True
    ) -> Sequence[Purge]:
        """Mark a revision as failed, and end its operation with the error.

        Returns:
            What is left to do.
        """
        ...

    async def set_labels(
        self,
        collection_uid: str,
        document_id: str,
        labels: frozenset[str],
        section_labels: tuple[SectionLabels, ...],
    ) -> tuple[Revision, Mapping[int, int]]:
        """Replace the labels of a document: of its searchable version and of those under way.

        Returns:
            The revision that stands for it, and the access class of each of its points in the
            index. Until `labels_applied` they count as pending.

        Raises:
            DocumentNotFound: There is none.
            SectionNotFound: The searchable version lacks a heading.
        """
        ...

    async def labels_applied(self, collection_uid: str, document_id: str) -> None:
        """Note that the index has the document's access classes."""
        ...

    async def pending_labels(self) -> Mapping[str, Mapping[str, Mapping[int, int]]]:
        """Return changes that a crash kept from the index: collection, document, classes."""
        ...

    async def delete(self, collection_uid: str, document_id: str) -> tuple[Purge, Sequence[str]]:
        """Remove a document's records, and the answers that cite it.

        Returns:
            What is left to do, and the operations that were under way.

        Raises:
            DocumentNotFound: There is none.
        """
        ...

    async def versions(
        self, collection_uid: str, document_id: str, before: int | None, limit: int
    ) -> Sequence[DocumentVersion]:
        """Return the versions of a document, newest first.

        Args:
            collection_uid: Of which collection.
            document_id: Of which document.
            before: Only versions with smaller numbers; ``None``: all.
            limit: Most versions.
        """
        ...

    async def labels_at(
        self, collection_uid: str, document_id: str, ordinal: int | None, time: datetime
    ) -> LabelsThen | None:
        """Return the labels in force at a time, or ``None`` when nothing could be read then.

        Args:
            collection_uid: Of which collection.
            document_id: Of which document.
            ordinal: Of this passage of the version that was current; ``None``: of the document.
            time: UTC.

        Raises:
            PassageNotFound: That version had no such passage.
        """
        ...

    async def first_read_time(self, collection_uid: str, document_id: str) -> datetime | None:
        """Return since when a document can be read; ``None`` when it never could."""
        ...

    async def set_space(self, seq: int, space: VectorSpace | None) -> None:
        """Note in which space the vectors of a revision lie."""
        ...

    async def purges(self) -> Sequence[Purge]:
        """Return what is left to do."""
        ...

    async def purged(self, purge: Purge) -> None:
        """Forget what has been done."""
        ...


class AnswerStore(Protocol):
    """Answers and feedback."""

    async def save(self, record: AnswerRecord) -> None:
        """Add an answer."""
        ...

    async def get(self, tenant: str, answer_id: str) -> AnswerRecord:
        """Return an answer.

        Raises:
            AnswerNotFound: There is none.
        """
        ...

    async def save_feedback(self, feedback: Feedback) -> None:
        """Add what somebody thinks of an answer; its words only where the collection keeps them.

        Raises:
            AnswerNotFound: The answer is gone.
        """
        ...

    async def forget(self, before: datetime) -> None:
        """Remove answers from before that nobody gave feedback on."""
        ...


@dataclass(frozen=True, slots=True)
class SyncRun:
    """A run of a source, held by one stream."""

    collection: Collection
    source: str
    """Id of the source."""
    number: int
    token: str
    holder: str
    """Which stream: its replica, "/", and an id of its own."""

    @property
    def name(self) -> str:
        """Resource name of the source."""
        return f"{self.collection.name}/sources/{self.source}"


@dataclass(frozen=True, slots=True)
class SyncedItem:
    """A document of a source."""

    document_id: str
    revision: str
    """The source's; empty: not known."""


@dataclass(frozen=True, slots=True)
class SyncTally:
    """How the documents of a run fare."""

    processing: int
    """Still being taken in."""
    problems: tuple[SyncProblem, ...]
    """Files that could not be taken in; the first 1000."""


class SyncStore(Protocol):
    """What sources have here, and how far their runs are."""

    async def open(
        self,
        collection: Collection,
        source: str,
        header: SyncHeader,
        holder: str,
        others: AnyCollection[str],
    ) -> SyncRun:
        """Begin a run or go on with one; from here on the stream holds the source.

        Args:
            collection: Of the source.
            source: Its id.
            header: What the stream asked for.
            holder: The stream.
            others: Streams that this process is receiving.

        Raises:
            SyncUnderWay: Another stream holds it, or removals still go on.
            SyncStateNotFound: There is no run to go on with or to build on.
            SyncTokenWrong: It is another run than the header says.
        """
        ...

    async def renew(self, run: SyncRun) -> None:
        """Say that the stream is alive.

        Raises:
            SyncUnderWay: Another stream took the source over.
        """
        ...

    async def release(self, run: SyncRun) -> None:
        """Let another stream hold the source."""
        ...

    async def item(self, run: SyncRun, item: str) -> SyncedItem | None:
        """Return what the source has under an id."""
        ...

    async def claim(self, run: SyncRun, item: str, document_id: str) -> None:
        """Make a document the source's, before it exists.

        Raises:
            DocumentExists: There is one already that is not the source's.
            SyncUnderWay: Another stream took the source over.
        """
        ...

    async def acknowledge(
        self, run: SyncRun, item: str, revision: str | None, outcome: Outcome
    ) -> SyncCounts:
        """Make it durable that an item is done; return the counts with it.

        Args:
            run: The run.
            item: The source's id; empty: the item had none.
            revision: The source's revision that holds now; ``None``: as before.
            outcome: What became of it.

        Raises:
            SyncUnderWay: Another stream took the source over.
        """
        ...

    async def end(
        self, run: SyncRun, end: SyncEnd, actor: str, on_behalf_of: str | None
    ) -> tuple[Operation, JSON]:
        """End a run; return its operation and what the job of its end needs.

        Raises:
            SyncListDoubtful: A complete list has items without id.
            SyncListEmpty: A complete list names nothing, and that is not said to be meant.
            SyncUnderWay: Another stream took the source over.
        """
        ...

    async def state(
        self, collection: Collection, source: str, replica: str, here: AnyCollection[str]
    ) -> SyncState:
        """Return where the syncing of a source stands.

        Args:
            collection: Of the source.
            source: Its id.
            replica: Name of this process.
            here: Streams that this process is receiving.

        Raises:
            SyncStateNotFound: Nothing was synced from it.
        """
        ...

    async def unnamed(
        self, collection_uid: str, source: str, run: int, limit: int
    ) -> Sequence[tuple[str, str]]:
        """Return items with their documents that no run since ``run`` named."""
        ...

    async def forget(self, collection_uid: str, source: str, item: str) -> None:
        """Forget an item whose document is gone."""
        ...

    async def removals_done(self, collection_uid: str, source: str, run: int, removed: int) -> None:
        """Let the next run begin."""
        ...

    async def tally(
        self, collection_uid: str, source: str, run: int, since: datetime
    ) -> SyncTally | None:
        """Return how the documents of a run fare; ``None`` when the source is gone."""
        ...

    async def report(self, payload: JSON, counts: SyncCounts, processing: int) -> None:
        """Update the operation of a run."""
        ...

    async def finish(
        self,
        payload: JSON,
        counts: SyncCounts,
        problems: Sequence[SyncProblem],
        error: AtriumError | None,
    ) -> None:
        """End the operation of a run with its report, or with an error."""
        ...

    async def abandon(self, payload: JSON) -> None:
        """Let the next run begin although this one is not finished."""
        ...

    async def unfinished(self) -> Sequence[JSON]:
        """Return what the jobs of runs need that ended and are not finished."""
        ...
