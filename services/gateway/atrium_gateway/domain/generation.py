"""What a generator is asked and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from atrium_gateway.domain.models import Engine
from atrium_gateway.domain.usage import Usage


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


class FinishReason(StrEnum):
    """Why writing stopped."""

    STOP = "stop"
    LENGTH = "length"
    FILTERED = "filtered"


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a conversation: who speaks, and the plain text."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request to write text.

    Attributes:
        messages: The conversation, oldest first.
        max_tokens: Most tokens to write. 0 takes the route's default.
        temperature: 0 (greedy) to 2.
        response_schema: JSON schema that the reply must follow, or None for free text.
        stop: Strings at which writing stops.
        seed: Seed for sampling, or None for the backend's choice.
    """

    messages: tuple[ChatMessage, ...]
    max_tokens: int = 0
    temperature: float = 0.0
    response_schema: Mapping[str, Any] | None = field(default=None, hash=False)
    stop: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """The next characters of a reply."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a reply, once, after the last :class:`Delta`.

    Attributes:
        reason: Why it ended.
        usage: What it cost, estimated where the backend does not count.
    """

    reason: FinishReason
    usage: Usage


@dataclass(frozen=True, slots=True)
class Generated:
    """A whole reply."""

    text: str
    reason: FinishReason
    engine: Engine
    usage: Usage
