"""Documents and their versions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


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
