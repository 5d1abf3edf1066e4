"""What made a reply, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a reply cost."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    encoder_tokens: int = 0
    cached_prompt_tokens: int = 0
    """A part of ``prompt_tokens``."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.encoder_tokens + other.encoder_tokens,
            self.cached_prompt_tokens + other.cached_prompt_tokens,
        )
