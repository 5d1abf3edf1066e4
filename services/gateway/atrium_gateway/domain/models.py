"""A model, what it can do, and whether it can be used now."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext
from enum import StrEnum

from atrium_shared.engines import Usage

MODEL_PREFIX = "models/"
_DIGITS = 60


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


class Tier(StrEnum):
    """How special a model is."""

    GENERAL = "general"
    """Does many things."""
    SCENARIO = "scenario"
    """Tuned for one kind of work, such as minutes."""
    VERTICAL = "vertical"
    """Small, for one task of one trade or tenant."""


class Location(StrEnum):
    """Where the texts of a call go."""

    RESIDENT = "resident"
    """They stay inside the installation."""
    OUTSIDE = "outside"
    """They leave it. Also what holds where nothing is said."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens cost.

    Attributes:
        currency: ISO 4217 code; one for the whole installation.
        prompt: Read by a generator.
        completion: Written by it.
        encoder: Read by an encoder.
    """

    currency: str
    prompt: Decimal = Decimal(0)
    completion: Decimal = Decimal(0)
    encoder: Decimal = Decimal(0)

    def of(self, usage: Usage) -> Decimal:
        """Return what ``usage`` costs, exactly."""
        with localcontext() as context:
            context.prec = _DIGITS
            whole = (
                self.prompt * usage.prompt_tokens
                + self.completion * usage.completion_tokens
                + self.encoder * usage.encoder_tokens
            )
            return whole / 1_000_000


def plain_decimal(number: Decimal) -> str:
    """Return a decimal number without exponent and without zeros that say nothing."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True, slots=True)
class Model:
    """A model that the gateway knows.

    Attributes:
        name: Resource name, ``"models/qwen2.5-0.5b"``.
        backend: What serves it: ``"llama.cpp"``, ``"onnxruntime"``, ``"openai"``, ``"scripted"``.
        capabilities: What it can do.
        context_tokens: Largest prompt plus reply, in tokens. 0: not known.
        tier: How special it is.
        million_parameters: Its size. 0: not known.
        price: What it costs; None: nothing is charged for.
        location: Where its texts go.
        version: Of model and adapter; replies kept under another are not used. Empty: not known.
    """

    name: str
    backend: str
    capabilities: frozenset[Capability]
    context_tokens: int = 0
    tier: Tier = Tier.GENERAL
    million_parameters: int = 0
    price: Price | None = None
    location: Location = Location.OUTSIDE
    version: str = ""

    @property
    def id(self) -> str:
        """The name without its prefix, as replies show it."""
        return self.name.removeprefix(MODEL_PREFIX)
