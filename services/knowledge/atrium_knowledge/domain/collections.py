"""Bodies of documents that questions are asked of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from atrium_knowledge.domain.errors import TopicRepeated
from atrium_shared.models import Embedding

DEFAULT_VERSIONS_KEPT = 10
"""Superseded versions of a document that keep their file and text, unless a collection says
otherwise."""


@dataclass(frozen=True, slots=True)
class VectorSpace:
    """Where vectors lie: they compare when encoder and dimensions are the same."""

    encoder: str
    """Name of the model."""
    dimensions: int

    @classmethod
    def of(cls, embedding: Embedding) -> VectorSpace:
        """Return the space of vectors that a model made."""
        return cls(embedding.engine.model, embedding.vectors.shape[1])


@dataclass(frozen=True, slots=True)
class RestrictedTopic:
    """A subject that is refused in words when the asker may not ask about it."""

    id: str
    description: str
    examples: tuple[str, ...]
    labels: frozenset[str]
    """Who may read any of these labels may ask."""
    refusals: Mapping[str, str]
    """Words of the refusal by language, such as ``{"en": "...", "zh": "..."}``."""
    counter_examples: tuple[str, ...] = ()
    """Questions that sound alike and are not of the topic."""


@dataclass(frozen=True, slots=True)
class Collection:
    """A body of documents of one tenant."""

    tenant: str
    id: str
    """Id within the tenant, "handbook"."""
    uid: str
    """Unique for ever: a collection made again under the same id has another."""
    display_name: str
    create_time: datetime
    """UTC."""
    revision: int = 1
    """Grows by one with every change."""
    restricted_topics: tuple[RestrictedTopic, ...] = ()
    versions_kept: int = DEFAULT_VERSIONS_KEPT
    """Superseded versions of each document that keep their file and text."""
    keep_questions: bool = False
    """Whether the words of a question and its answer are stored when the answer did not help."""
    space: VectorSpace | None = None
    """Of the vectors that the index holds; ``None`` while it holds none."""

    @property
    def name(self) -> str:
        """Resource name, "collections/handbook"."""
        return f"collections/{self.id}"

    @property
    def etag(self) -> str:
        """Changes with every change of the collection."""
        return f"{self.uid}.{self.revision}"


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts over the passages that somebody may read."""

    documents: int
    """Documents with such a passage."""
    passages: int
    languages: tuple[tuple[str, int], ...]
    """Passages by language, most first."""


def check_topics(topics: Sequence[RestrictedTopic]) -> None:
    """Refuse topics of which two have one id.

    Raises:
        TopicRepeated: They do.
    """
    seen: set[str] = set()
    for position, topic in enumerate(topics):
        if topic.id in seen:
            raise TopicRepeated(topic.id, position)
        seen.add(topic.id)
