"""What the use cases of knowledge need from outside, by role."""

from __future__ import annotations

from collections.abc import Collection as AnyCollection
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from atrium_knowledge.domain.access import AccessReader
from atrium_knowledge.domain.answers import AnswerRecord, Exchange
from atrium_knowledge.domain.collections import Collection, VectorSpace
from atrium_knowledge.domain.fusion import Scored
from atrium_knowledge.domain.passages import Hit, Passage
from atrium_shared.engines import Engine

if TYPE_CHECKING:
    from atrium_documents.model import ParsedDocument
    from atrium_knowledge.domain.answering.extraction import PassageToRead
    from atrium_knowledge.domain.topics import CompiledTopic
    from atrium_shared.principal import Principal

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Readings:
    """What a reader says of the segments of some passages."""

    log_odds: tuple[tuple[float, ...], ...]
    """For each passage, for each segment: that it answers, against that nothing in it does."""
    tokens: int
    """Tokens read."""
    engine: Engine


Relation = Literal["answers", "concerns"]
"""What a reader looks for: whether a segment answers a question, or whether it describes a topic
that the question is about."""


class Reader(Protocol):
    """Reads a question beside passages and says how their segments stand to it."""

    async def read(
        self,
        principal: Principal,
        question: str,
        passages: Sequence[PassageToRead],
        relation: Relation,
    ) -> Readings:
        """Return what it says, in the order of the passages and of their segments.

        Raises:
            Unavailable: There is no reader (reason ``TASK_HAS_NO_MODEL``), or it does not answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class SearchOutcome:
    """What a search found."""

    hits: tuple[Hit, ...]
    """Best first."""
    query_vector: NDArray[np.float32] | None
    """(dimensions,), length 1; ``None`` without an encoder."""
    encoder_tokens: int
    degraded: bool
    """True when it ran on keywords alone although vectors were wanted."""
    degraded_reason: str = ""
    """Why, in plain words."""


class PassageSearch(Protocol):
    """Finds permitted passages (:class:`atrium_knowledge.app.search_passages.SearchPassages`)."""

    async def search(
        self, principal: Principal, collection: Collection, query: str, limit: int
    ) -> SearchOutcome:
        """Return the passages that answer ``query`` best, of those that ``principal`` may read.

        The outcome equals that of an index which holds only what ``principal`` may read.

        Raises:
            QuestionTooLong: ``query`` has more than 4,000 code points.
        """
        ...

    async def context_of(self, principal: Principal, passage: Passage) -> tuple[Passage, ...]:
        """Return the permitted passages of the same section, ``passage`` among them, in order.

        Empty when the passage is gone, has been replaced, or may no longer be read.
        """
        ...


class TopicSource(Protocol):
    """Restricted topics of a collection, with their vectors."""

    async def compiled(self, collection: Collection) -> tuple[CompiledTopic, ...]:
        """Return the topics in the order in which they were declared.

        Vectors are ``None`` while there is no encoder.
        """
        ...


class AnswerLog(Protocol):
    """Answers that were given, so that feedback can be given on them."""

    async def save(self, record: AnswerRecord, exchange: Exchange) -> None:
        """Store ``record``; keep ``exchange`` in memory only, until feedback asks for it."""
        ...


@dataclass(frozen=True, slots=True)
class IndexPoint:
    """A passage as the index holds it: numbers only, no text."""

    point: int
    """Identifier; points of a later version are greater."""
    revision: int
    """The document's version that it is of."""
    access_class: int
    keywords: Mapping[int, float]
    """Weights by term id."""
    vector: NDArray[np.float32] | None
    """(dimensions,), length 1; ``None`` while there is no encoder."""


@dataclass(frozen=True, slots=True)
class View:
    """The part of an index that a query may know of. All else is as if it were not there."""

    classes: frozenset[int]
    """Access classes that the asker satisfies."""
    hidden: frozenset[int]
    """Revisions that are not (or no longer) to be found."""


class PassageIndex(Protocol):
    """Finds points by keywords and by vectors; one shard a collection.

    A shard comes into being with its first point. Repeating a write changes nothing. Writes survive
    the end of the process at once, and that of the machine after :meth:`flush`.
    """

    async def upsert(
        self, shard: str, points: Sequence[IndexPoint], space: VectorSpace | None
    ) -> None:
        """Add points or replace them; their vectors lie in ``space``."""
        ...

    async def set_vectors(
        self, shard: str, vectors: Mapping[int, NDArray[np.float32]], space: VectorSpace
    ) -> None:
        """Give existing points vectors of another space, beside those that they have."""
        ...

    async def set_classes(self, shard: str, classes: Mapping[int, int]) -> None:
        """Change the access class of existing points."""
        ...

    async def remove_revisions(self, shard: str, revisions: AnyCollection[int]) -> None:
        """Remove all points of some revisions."""
        ...

    async def remove_space(self, shard: str, space: VectorSpace) -> None:
        """Remove all vectors of a space."""
        ...

    async def revisions(self, shard: str) -> Mapping[int, int]:
        """Return the revisions that have points, and how many."""
        ...

    async def flush(self, shard: str) -> None:
        """Return when all writes are on disk."""
        ...

    async def drop(self, shard: str) -> None:
        """Remove a shard with all its points."""
        ...

    async def find_keywords(
        self, shard: str, query: Mapping[int, float], view: View, depth: int
    ) -> list[Scored]:
        """Return the best points by BM25, ranked; counts and scores know only of ``view``.

        The inverse document frequency of a term is ``ln(1 + (N - n + 1/2) / (n + 1/2))`` with the
        N points of the view, n of which have the term.
        """
        ...

    async def find_vectors(
        self, shard: str, query: NDArray[np.float32], space: VectorSpace, view: View, depth: int
    ) -> list[Scored]:
        """Return the points of ``view`` nearest by cosine, ranked; exact, not approximate."""
        ...

    async def close(self) -> None:
        """Close every shard."""
        ...


class DocumentParser(Protocol):
    """Reads files, in a process that a hostile file cannot take down with it."""

    async def parse(self, data: bytes | Path, filename: str) -> ParsedDocument:
        """Return a file's text with structure.

        Raises:
            AtriumError: The file cannot be read; the reason says why.
        """
        ...


@dataclass(frozen=True, slots=True)
class ReaderPage:
    """Some of those who could read something."""

    readers: tuple[AccessReader, ...]
    """Ordered by name."""
    next_page_token: str
    """Empty on the last page."""
    policy_version: int
    """Version of the tenant's policy that was in force."""
    policy_time: datetime
    """Since when it was in force, UTC."""


class ReaderDirectory(Protocol):
    """Knows who held which labels, now and in the past."""

    async def list_readers(
        self,
        principal: Principal,
        clauses: Sequence[AnyCollection[str]],
        read_time: datetime,
        page_size: int,
        page_token: str,
    ) -> ReaderPage:
        """Return who held at least one label of every clause.

        Args:
            principal: Who asks; needs ``admin.audit:read``.
            clauses: Sets of labels, none empty. No clause: everyone of the tenant.
            read_time: Under the policy in force at this time, UTC.
            page_size: Most readers.
            page_token: Of the page before; empty: from the start.

        Raises:
            Invalid: The time lies before the history begins, or ahead.
            Unavailable: Nobody can tell now.
        """
        ...


class Delegation(Protocol):
    """Asks anew who somebody is and what they may do (``IdentityClient``)."""

    async def delegate(self, tenant: str, actor: str, on_behalf_of: str | None) -> Principal:
        """Return the principal of work that goes on after its request ended.

        Raises:
            Denied: They may no longer act.
            Unavailable: Nobody can tell now.
        """
        ...


class RoleHolders(Protocol):
    """Knows who holds a role."""

    async def holders(self, principal: Principal, roles: Sequence[str]) -> Mapping[str, str]:
        """Return for each role ("roles/hr-partner") a person who holds it, directly or by a group.

        Roles that nobody holds are left out. Disabled users count as nobody.

        Args:
            principal: Who asks; they need to be allowed to list users.
            roles: Names of roles.

        Raises:
            Denied: They may not list users.
        """
        ...


@dataclass(frozen=True, slots=True)
class ErasedUser:
    """Somebody of whom nothing is to be kept."""

    sequence: int
    """Place in the list, from 1."""
    tenant: str
    user: str
    """Their name, "users/lin". Somebody else may have it since."""
    erase_time: datetime
    """UTC. What is newer is not theirs."""


class ErasedUsers(Protocol):
    """The list of users who were erased, of all tenants."""

    async def after(self, sequence: int) -> Sequence[ErasedUser]:
        """Return who was erased after a place in the list, in order; empty at its end.

        Raises:
            Unavailable: Nobody can tell now.
        """
        ...


@dataclass(frozen=True, slots=True)
class PassageCount:
    """How many passages of a document are in one language and one access class."""

    revision: int
    access_class: int
    language: str
    passages: int


class PassageCounts(Protocol):
    """Counts searchable passages."""

    async def count(self, collection_uid: str) -> Sequence[PassageCount]:
        """Return the counts of a collection, of its searchable versions only."""
        ...


class ErasureStore(Protocol):
    """Forgets users, and notes how far the list of erased users was read."""

    async def sequence(self) -> int:
        """Return the place up to which users are forgotten; 0 at the beginning."""
        ...

    async def forget(self, erased: ErasedUser) -> None:
        """Forget what was stored of a user until they were erased, and note the place.

        Their conversations, answers and feedback go.
        """
        ...
