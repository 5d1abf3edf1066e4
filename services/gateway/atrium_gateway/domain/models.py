"""A model, what it can do, and whether it can be used now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

MODEL_PREFIX = "models/"


class Capability(StrEnum):
    """What a model does."""

    GENERATE = "generate"
    EMBED = "embed"
    RERANK = "rerank"
    CLASSIFY = "classify"
    READ = "read"


class ModelState(StrEnum):
    """Whether a model can be used now."""

    READY = "ready"
    STARTING = "starting"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """State of a model now.

    Attributes:
        state: Whether it answers.
        reason: Why not, and what to do; empty when it does.
    """

    state: ModelState
    reason: str = ""


READY = ModelStatus(ModelState.READY)


@dataclass(frozen=True, slots=True)
class Model:
    """A model that the gateway knows.

    Attributes:
        name: Resource name, ``"models/qwen2.5-0.5b"``.
        backend: What serves it: ``"llama.cpp"``, ``"onnxruntime"``, ``"openai"``, ``"scripted"``.
        capabilities: What it can do.
        context_tokens: Largest prompt plus reply, in tokens. 0: not known.
    """

    name: str
    backend: str
    capabilities: frozenset[Capability]
    context_tokens: int = 0

    @property
    def id(self) -> str:
        """The name without its prefix, as replies show it."""
        return self.name.removeprefix(MODEL_PREFIX)


class EngineKind(StrEnum):
    """The kind of engine behind a reply."""

    GENERATIVE = "generative"
    ENCODER = "encoder"
    RULES = "rules"


@dataclass(frozen=True, slots=True)
class Engine:
    """What made a reply.

    Attributes:
        kind: The kind of engine.
        backend: What ran it.
        model: Model without its prefix; empty for rules.
        degraded: Whether a lesser choice answered because the first could not.
        degraded_reason: Why, in plain words.
    """

    kind: EngineKind
    backend: str
    model: str = ""
    degraded: bool = False
    degraded_reason: str = ""

    def degraded_because(self, reason: str) -> Engine:
        """Return the same engine, marked as a lesser choice."""
        return replace(self, degraded=True, degraded_reason=reason)
