"""What the use cases of knowledge need from outside, by role."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from atrium_knowledge.domain.answers import AnswerRecord, Exchange
from atrium_knowledge.domain.collections import Collection
from atrium_knowledge.domain.engines import Engine, Usage
from atrium_knowledge.domain.passages import Hit, Passage

if TYPE_CHECKING:
    from atrium_shared.principal import Principal

    from atrium_knowledge.domain.topics import CompiledTopic

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Embedding:
    """Sentence vectors of some texts."""

    vectors: Vectors
    """(texts, dimensions); each row has length 1."""
    tokens: int
    """Tokens read."""
    engine: Engine


class Embedder(Protocol):
    """Makes sentence vectors."""

    async def embed(
        self, principal: Principal, texts: Sequence[str], kind: Literal["query", "passage"]
    ) -> Embedding:
        """Return one vector a text, in the order of the texts.

        Raises:
            Unavailable: There is no encoder (reason ``TASK_HAS_NO_MODEL``), or it does not answer.
        """
        ...


class Role(StrEnum):
    """Who speaks in a conversation with a model."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a conversation with a model."""

    role: Role
    content: str


class Finish(StrEnum):
    """Why a model stopped."""

    STOP = "stop"
    """It was done, or met a stop string."""
    LENGTH = "length"
    """``max_tokens`` was reached."""
    FILTERED = "filtered"
    """The backend's own filter stopped it."""


@dataclass(frozen=True, slots=True)
class Generated:
    """The end of a generated text."""

    text: str
    """All of it."""
    engine: Engine
    usage: Usage
    finish: Finish


class Generator(Protocol):
    """Writes texts."""

    def stream(
        self,
        principal: Principal,
        task: str,
        messages: Sequence[ChatMessage],
        max_tokens: int,
        *,
        temperature: float = 0.0,
        stop: Sequence[str] = (),
        response_schema: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[str | Generated]:
        """Yield the text in parts as it is written, then one `Generated`.

        Closing the iterator stops the model.

        Args:
            principal: On whose account; the tenant's routes choose the model.
            task: What the text is for, such as "knowledge.answer".
            messages: The conversation, oldest first.
            max_tokens: Most tokens to write.
            temperature: 0 is greedy.
            stop: Strings at which writing stops; they are not returned.
            response_schema: A JSON schema that the text must follow.

        Raises:
            Unavailable: There is no generator (reason ``TASK_HAS_NO_MODEL``), or it failed.
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
