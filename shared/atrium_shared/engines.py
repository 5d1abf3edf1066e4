"""What made a reply, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final


class EngineKind(StrEnum):
    """The kind of thing that made a text or a number."""

    EXTRACTIVE = "extractive"
    """Text taken verbatim from sources."""
    GENERATIVE = "generative"
    ENCODER = "encoder"
    RULES = "rules"
    """Rules, keywords or dictionaries."""


@dataclass(frozen=True, slots=True)
class Engine:
    """The engine and model behind a reply."""

    kind: EngineKind
    backend: str
    """Such as "llama.cpp", "onnxruntime", "atrium"."""
    model: str = ""
    """Model and version; empty for rules and extraction."""
    degraded: bool = False
    """The first choice was not available and a lesser one answered."""
    degraded_reason: str = ""
    """Why, in plain words; empty when it is not degraded."""

    def degraded_because(self, reason: str) -> Engine:
        """Return the same engine, marked as a lesser choice."""
        return replace(self, degraded=True, degraded_reason=reason)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one reply, or of many."""

    prompt_tokens: int = 0
    """Read by generators."""
    completion_tokens: int = 0
    """Written by generators."""
    encoder_tokens: int = 0
    """Read by encoders."""
    cached_prompt_tokens: int = 0
    """The part of ``prompt_tokens`` that came from a prompt cache."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.encoder_tokens + other.encoder_tokens,
            self.cached_prompt_tokens + other.cached_prompt_tokens,
        )

    @property
    def total_tokens(self) -> int:
        """All tokens read or written."""
        return self.prompt_tokens + self.completion_tokens + self.encoder_tokens


NO_USAGE: Final = Usage()
