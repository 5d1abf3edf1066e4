"""What calls cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from atrium_shared.engines import NO_USAGE, Usage


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
