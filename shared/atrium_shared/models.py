"""What services ask of models, and what they get; which model answers, the tenant's routes say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from atrium_shared.engines import Engine, Usage
from atrium_shared.principal import Principal


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
    finish: Finish = Finish.STOP


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


class WholeTextGenerator(Generator, Protocol):
    """Writes texts, and gives them whole to those who show no part."""

    async def generate(
        self,
        principal: Principal,
        task: str,
        messages: Sequence[ChatMessage],
        max_tokens: int,
        *,
        temperature: float = 0.0,
        stop: Sequence[str] = (),
        response_schema: Mapping[str, Any] | None = None,
    ) -> Generated:
        """Return a text. Cancelling the call stops the model.

        Arguments and errors are those of `stream`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Embedding:
    """Sentence vectors of some texts."""

    vectors: npt.NDArray[np.float32]
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
