"""Pieces of text that can be found and cited."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of one section of a document's version."""

    name: str
    """Resource name, "collections/handbook/documents/d3f9/passages/12"."""
    document: str
    """Resource name of the document."""
    document_title: str
    section_path: tuple[str, ...]
    """Headings above it, outermost first."""
    text: str
    """Exactly the code points ``start:end`` of the version's stored text."""
    start: int
    end: int
    page: int
    """Page or slide, from 1; 0 where the format has none."""
    version: int
    """Version of the document, from 1."""
    paragraph: int
    """Number of its first block in the document, from 1."""
    language: str
    """"zh", "en" or "und"."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that answers a query."""

    passage: Passage
    score: float
    """Fused score, rounded to 1e-6; comparable within one reply only."""
    keyword_rank: int
    """Place in the keyword leg, from 1; 0 when it did not find the passage."""
    vector_rank: int
    """Place in the vector leg, from 1; 0 when it did not find the passage."""
    similarity: float | None = None
    """Cosine of query and passage, -1 to 1, rounded to 1e-6; ``None`` when the vector leg did not
    run or did not find the passage."""
