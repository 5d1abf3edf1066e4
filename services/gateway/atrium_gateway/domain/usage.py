"""What calls cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, or of many.

    Attributes:
        prompt_tokens: Read by generators.
        completion_tokens: Written by generators.
        encoder_tokens: Read by encoders.
        cached_prompt_tokens: The part of ``prompt_tokens`` that came from a prompt cache.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    encoder_tokens: int = 0
    cached_prompt_tokens: int = 0

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


NO_USAGE = Usage()


@dataclass(frozen=True, slots=True)
class UsageKey:
    """What usage is counted by.

    Attributes:
        tenant: Whose usage.
        day: In UTC.
        task: Task of the calls.
        model: Resource name of the model.
        credential: Key or identity provider with which the calls came; "" when it is not known.
    """

    tenant: str
    day: date
    task: str
    model: str
    credential: str = ""


@dataclass(frozen=True, slots=True)
class UsageCount:
    """Calls and tokens under one key.

    Attributes:
        requests: Calls that were answered.
        failures: Calls that failed.
        usage: Tokens of both.
        cached: Calls answered from the cache; a part of ``requests``.
    """

    requests: int = 0
    failures: int = 0
    usage: Usage = NO_USAGE
    cached: int = 0

    def __add__(self, other: UsageCount) -> UsageCount:
        return UsageCount(
            self.requests + other.requests,
            self.failures + other.failures,
            self.usage + other.usage,
            self.cached + other.cached,
        )


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """What one model did for one task of one tenant on one day (UTC)."""

    key: UsageKey
    count: UsageCount
