"""What a generator is asked and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from atrium_shared.engines import Engine, Usage


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class FinishReason(StrEnum):
    """Why writing stopped."""

    STOP = "stop"
    LENGTH = "length"
    FILTERED = "filtered"
    TOOL_CALLS = "tool_calls"


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may ask the caller to run.

    Attributes:
        name: As the model writes it.
        description: What it does, handed on word for word.
        parameters: JSON schema of its arguments, an object; None for no arguments.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] | None = field(default=None, hash=False)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asks for a tool.

    Attributes:
        id: Names the call within the conversation.
        name: Which tool.
        arguments: A JSON object as text, as the model wrote it.
    """

    id: str
    name: str
    arguments: str


class ToolMode(StrEnum):
    """How freely the model chooses tools."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether and which tools the model should ask for; ``tool`` names the only one allowed."""

    mode: ToolMode = ToolMode.AUTO
    tool: str = ""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a conversation.

    Attributes:
        role: Who speaks.
        content: Plain text.
        tool_calls: What the model asked for in this turn; only with ``ASSISTANT``.
        tool_call_id: The call that this message answers; only with ``TOOL``.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """A text that a reply may rest on."""

    id: str
    text: str


class Grounding(StrEnum):
    """How closely a reply must keep to its sources."""

    STRICT = "strict"
    """A sentence that no source supports is dropped."""
    TOLERANT = "tolerant"
    """The reply stands as the model wrote it."""


class Aid(StrEnum):
    """Help that the gateway gives the model."""

    CALCULATE = "calculate"


class CacheMode(StrEnum):
    """Whether a reply may come from the cache and go there."""

    OFF = "off"
    EXACT = "exact"
    SEMANTIC = "semantic"


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
        tools: Tools that the model may ask for.
        tool_choice: Whether and which.
        sources: What the reply may rest on.
        grounding: How closely it must keep to them; None: as the route says.
        aids: Help for the model.
        web_pages: Addresses of pages to read with the last message.
        cache: Whether the cache may be used; None: as the route says.
    """

    messages: tuple[ChatMessage, ...]
    max_tokens: int = 0
    temperature: float = 0.0
    response_schema: Mapping[str, Any] | None = field(default=None, hash=False)
    stop: tuple[str, ...] = ()
    seed: int | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    sources: tuple[Source, ...] = ()
    grounding: Grounding | None = None
    aids: frozenset[Aid] = frozenset()
    web_pages: tuple[str, ...] = ()
    cache: CacheMode | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """The next characters of a reply."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """The next characters of a tool call; id and name come with its first part only."""

    index: int
    arguments: str = ""
    id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a reply, once, after its last part.

    Attributes:
        reason: Why it ended.
        usage: What it cost, estimated where the backend does not count.
    """

    reason: FinishReason
    usage: Usage


@dataclass(frozen=True, slots=True)
class Completed:
    """A whole reply of a backend, where it gives replies in one piece.

    Attributes:
        text: What it wrote.
        reason: Why it ended.
        usage: What it cost, estimated where the backend does not count.
        tool_calls: What it asks for.
    """

    text: str
    reason: FinishReason
    usage: Usage
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Calculation:
    """What a calculation was.

    Attributes:
        program: What the model wrote and the gateway ran; empty when quantities were missing.
        result: Its result, as shown in the text.
        missing: Quantities that the question would have to give, in words.
    """

    program: str = ""
    result: str = ""
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Support:
    """What supports one sentence of a reply: code points ``start`` to ``end``, ids of sources."""

    start: int
    end: int
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Generated:
    """A whole reply.

    Attributes:
        text: What was written.
        reason: Why it ended.
        engine: What wrote it.
        usage: What it cost.
        tool_calls: Tools that the model asks for; the arguments of each fit its schema.
        generation: Name under which an outcome can be recorded.
        cached: Whether it came from the cache.
        calculation: The calculation behind it, if one was made.
        supports: What supports which sentence, under ``STRICT``.
        dropped_sentences: Sentences dropped because no source supports them.
        redacted_values: Values replaced before the prompt left, and put back.
    """

    text: str
    reason: FinishReason
    engine: Engine
    usage: Usage
    tool_calls: tuple[ToolCall, ...] = ()
    generation: str = ""
    cached: bool = False
    calculation: Calculation | None = None
    supports: tuple[Support, ...] = ()
    dropped_sentences: int = 0
    redacted_values: int = 0


GenerateEvent = Delta | ToolCallDelta | Generated
"""What a streamed reply consists of: parts, then exactly one :class:`Generated`."""
