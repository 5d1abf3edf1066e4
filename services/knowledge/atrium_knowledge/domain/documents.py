"""Documents and their versions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import PurePath

from atrium_documents.model import BlockKind, ParsedDocument
from atrium_knowledge.domain.access import AccessRule
from atrium_knowledge.domain.collections import VectorSpace
from atrium_knowledge.domain.errors import SectionNotFound


class DocumentState(StrEnum):
    """Where a document stands."""

    PROCESSING = "PROCESSING"
    """Received and durable; not yet searchable."""
    READY = "READY"
    """Searchable."""
    FAILED = "FAILED"
    """Could not be read. Nothing of it is searchable."""


@dataclass(frozen=True, slots=True)
class SectionLabels:
    """Labels of one section of a document."""

    heading: str
    """The section's heading exactly as it stands in the document."""
    labels: frozenset[str]


@dataclass(frozen=True, slots=True)
class Document:
    """A document as shown to somebody: its searchable version, else its newest."""

    tenant: str
    collection_id: str
    id: str
    title: str
    filename: str
    labels: frozenset[str]
    section_labels: tuple[SectionLabels, ...]
    state: DocumentState
    media_type: str
    size_bytes: int
    version: int
    """From 1."""
    language: str
    """"zh", "en" or "und"."""
    passage_count: int
    page_count: int
    """Pages or slides; 0 when the format has none."""
    error_reason: str
    error_message: str
    warnings: tuple[str, ...]
    create_time: datetime
    """When this version was uploaded, UTC."""
    update_time: datetime
    """When it last changed, UTC."""

    @property
    def name(self) -> str:
        """Resource name, "collections/handbook/documents/d3f9"."""
        return f"collections/{self.collection_id}/documents/{self.id}"


class RevisionState(StrEnum):
    """Where one version of a document stands."""

    PROCESSING = "PROCESSING"
    LIVE = "LIVE"
    """The document's searchable version; a document has at most one."""
    SUPERSEDED = "SUPERSEDED"
    """A later version took its place."""
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Revision:
    """One version of a document as it is stored."""

    seq: int
    """Number among all revisions of the installation; a later upload has a greater one."""
    uid: str
    tenant: str
    collection_uid: str
    collection_id: str
    document_uid: str
    document_id: str
    version: int
    """From 1 within the document."""
    state: RevisionState
    title: str
    filename: str
    labels: frozenset[str]
    section_labels: tuple[SectionLabels, ...]
    size_bytes: int
    media_type: str
    language: str
    page_count: int
    passage_count: int
    class_counts: Mapping[int, int]
    """Passages by access class."""
    warnings: tuple[str, ...]
    error_reason: str
    error_message: str
    actor: str
    """Who uploaded it, "users/portal"."""
    on_behalf_of: str | None
    operation_id: str
    content_hash: str
    """SHA-256 of the file in hexadecimal; empty for files from before hashes were kept."""
    text_kept: bool
    """Whether its file and text are still stored."""
    space: VectorSpace | None
    """Of its vectors in the index; ``None`` while it has none."""
    create_time: datetime
    update_time: datetime

    @property
    def document(self) -> str:
        """Resource name of the document."""
        return f"collections/{self.collection_id}/documents/{self.document_id}"

    @property
    def subject(self) -> str:
        """For whom it was uploaded."""
        return self.on_behalf_of or self.actor

    @property
    def folder(self) -> str:
        """Where its files lie in the file store."""
        return folder(self.tenant, self.collection_uid, self.uid)

    def rule_of(self, path: Iterable[str]) -> AccessRule:
        """Return who may read the passages under a heading path."""
        return access_rule(self.labels, self.section_labels, path)


def folder(tenant: str, collection_uid: str, revision_uid: str) -> str:
    """Return where the files of a revision lie in the file store."""
    return f"{tenant}/{collection_uid}/{revision_uid}"


def original_key(revision_folder: str) -> str:
    """Return the key of the file as it was uploaded."""
    return f"{revision_folder}/original"


def text_key(revision_folder: str) -> str:
    """Return the key of the parsed text, which offsets count in."""
    return f"{revision_folder}/text.json"


def access_rule(
    labels: frozenset[str], section_labels: Iterable[SectionLabels], path: Iterable[str]
) -> AccessRule:
    """Return who may read the passages under a heading path.

    A reader needs one of the document's labels, and one of those of each labelled section that the
    path runs through.
    """
    headings = set(path)
    return AccessRule.of(
        [labels, *(one.labels for one in section_labels if one.heading in headings)]
    )


def check_headings(
    document: str, section_labels: Iterable[SectionLabels], headings: Iterable[str]
) -> None:
    """Refuse labels for sections that a document lacks.

    Raises:
        SectionNotFound: A labelled heading is none of ``headings``.
    """
    known = set(headings)
    for one in section_labels:
        if one.heading not in known:
            raise SectionNotFound(one.heading, document)


def choose_title(
    given: str, parsed: ParsedDocument, filename: str, section_labels: Iterable[SectionLabels]
) -> str:
    """Return the title that everybody who may read the document is shown.

    The title given, else that of the file, else the file's name. A heading with labels of its own
    is never used: not every reader of the document may know it.
    """
    secret = {one.heading for one in section_labels}
    found = parsed.title or ""
    return given or (found if found not in secret else "") or _title_of_file(filename)


def open_title(title: str, filename: str, section_labels: Iterable[SectionLabels]) -> str:
    """Return the title after sections were labelled: no longer that of one of them.

    It was most likely taken from the heading, and not every reader of the document may know that
    heading now.
    """
    secret = {one.heading for one in section_labels if one.labels}
    return _title_of_file(filename) if title in secret else title


def _title_of_file(filename: str) -> str:
    return PurePath(filename).stem or filename


def headings_of(parsed: ParsedDocument) -> frozenset[str]:
    """Return every heading of a document."""
    stated = {
        parsed.text[block.start : block.end]
        for block in parsed.blocks
        if block.kind is BlockKind.HEADING
    }
    return frozenset(stated | {section.title for section in parsed.sections if section.title})


@dataclass(frozen=True, slots=True)
class Reader:
    """What somebody may be shown."""

    manages: bool
    """They manage documents: all is shown, except text that their labels do not cover."""
    classes: frozenset[int]
    """Access classes of the collection that they satisfy."""
    may_read: Callable[[Iterable[str]], bool]
    """Whether they may read any of some labels."""


def show(revision: Revision, reader: Reader) -> Document:
    """Return a revision as a document.

    To a reader who does not manage documents, sections that they may not read are as if they were
    not there: neither counted nor named, and figures about the whole file are left out. Labelled
    headings are named to who may read the whole document: a section that a reader holds the label
    of may lie inside one that they may not know of. Labels that they do not hold are left out.
    """
    whole = reader.manages or set(revision.class_counts) <= reader.classes

    def held(labels: frozenset[str]) -> frozenset[str]:
        if reader.manages:
            return labels
        return frozenset(label for label in labels if reader.may_read([label]))

    states = {
        RevisionState.PROCESSING: DocumentState.PROCESSING,
        RevisionState.FAILED: DocumentState.FAILED,
    }
    return Document(
        tenant=revision.tenant,
        collection_id=revision.collection_id,
        id=revision.document_id,
        title=revision.title,
        filename=revision.filename,
        labels=held(revision.labels),
        section_labels=tuple(
            SectionLabels(one.heading, held(one.labels))
            for one in revision.section_labels
            if reader.manages or (whole and reader.may_read(one.labels))
        ),
        state=states.get(revision.state, DocumentState.READY),
        media_type=revision.media_type,
        size_bytes=revision.size_bytes if whole else 0,
        version=revision.version,
        # The language of the whole file would tell that of hidden sections.
        language=revision.language if whole else "und",
        passage_count=sum(
            count
            for access_class, count in revision.class_counts.items()
            if reader.manages or access_class in reader.classes
        ),
        page_count=revision.page_count if whole else 0,
        error_reason=revision.error_reason,
        error_message=revision.error_message,
        warnings=revision.warnings if whole else (),
        create_time=revision.create_time,
        update_time=revision.update_time,
    )
