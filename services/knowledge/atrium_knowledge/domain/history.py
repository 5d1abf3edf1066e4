"""Versions of a document, and the labels that were in force at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from atrium_knowledge.domain.documents import Revision, SectionLabels


@dataclass(frozen=True, slots=True)
class LabelPeriod:
    """Labels that were in force from a time on."""

    labels: frozenset[str]
    section_labels: tuple[SectionLabels, ...]
    start_time: datetime
    """UTC."""
    end_time: datetime | None
    """UTC, not included; ``None`` while they are in force."""


@dataclass(frozen=True, slots=True)
class DocumentVersion:
    """One upload under a document's id, and what labels it had while it was the current one."""

    revision: Revision
    periods: tuple[LabelPeriod, ...]
    """Oldest first; empty when it never was."""

    @property
    def name(self) -> str:
        """Resource name, "collections/handbook/documents/d3f9/versions/2"."""
        return f"{self.revision.document}/versions/{self.revision.version}"


@dataclass(frozen=True, slots=True)
class LabelsThen:
    """The labels in force at a time: of a whole document, or of one passage of it."""

    version: int
    """The document's version that was current."""
    since: datetime
    """Since when the labels were in force, UTC."""
    document: frozenset[str]
    """Any one of them was enough; empty: everyone of the tenant."""
    sections: tuple[frozenset[str], ...]
    """One set for each labelled section; of a passage, only those that it lies in."""


Outline = tuple[tuple[int, int, tuple[int, ...]], ...]
"""Runs of passages under the same labelled sections: first and last ordinal, and which of the
period's section labels apply. Passages in no run lie under none. It names no heading."""


def outline_of(section_labels: Sequence[SectionLabels], paths: Iterable[Sequence[str]]) -> Outline:
    """Return which section labels apply to which passages.

    Args:
        section_labels: Those of the document.
        paths: Headings above each passage, in the order of passages.
    """
    runs: list[tuple[int, int, tuple[int, ...]]] = []
    for ordinal, path in enumerate(paths, 1):
        applied = tuple(number for number, one in enumerate(section_labels) if one.heading in path)
        if not applied:
            continue
        if runs and runs[-1][1] == ordinal - 1 and runs[-1][2] == applied:
            runs[-1] = (runs[-1][0], ordinal, applied)
        else:
            runs.append((ordinal, ordinal, applied))
    return tuple(runs)


def sections_of_passage(
    section_labels: Sequence[SectionLabels], outline: Outline, ordinal: int
) -> tuple[frozenset[str], ...]:
    """Return the label sets of the labelled sections that a passage lies in."""
    for first, last, applied in outline:
        if first <= ordinal <= last:
            return tuple(section_labels[number].labels for number in applied)
    return ()
