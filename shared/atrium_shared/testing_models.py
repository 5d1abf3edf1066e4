"""What tests need of models: ones that are not there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal

from atrium_shared.errors import Unavailable
from atrium_shared.models import ChatMessage, Embedding, Generated
from atrium_shared.principal import Principal


class NoModel(Unavailable):
    """What the gateway answers when a task has no model."""

    reason = "TASK_HAS_NO_MODEL"

    def __init__(self) -> None:
        super().__init__("The task has no model.")


class NoGenerator:
    """A generator that is not there."""

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
        """Raise `NoModel`."""
        raise NoModel

    async def stream(
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
        """Raise `NoModel`."""
        parts: tuple[str, ...] = ()
        for part in parts:
            yield part
        raise NoModel


class NoEmbedder:
    """An encoder that is not there."""

    async def embed(
        self, principal: Principal, texts: Sequence[str], kind: Literal["query", "passage"]
    ) -> Embedding:
        """Raise `NoModel`."""
        raise NoModel
