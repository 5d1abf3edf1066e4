"""Time and identifiers as ports, so that tests can fix both."""

from __future__ import annotations

import base64
import secrets
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Where a service gets the time from."""

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds from some fixed point; never goes back, whatever the wall clock does."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds from an arbitrary point."""
        return time.monotonic()


class FixedClock:
    """A clock that moves only when it is told to.

    Args:
        start: Time that it shows first; aware.
    """

    def __init__(self, start: datetime = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)) -> None:
        self._start = start
        self._now = start

    def now(self) -> datetime:
        """Return the time that it was set to."""
        return self._now

    def monotonic(self) -> float:
        """Return the seconds by which it was advanced so far."""
        return (self._now - self._start).total_seconds()

    def advance(self, seconds: float) -> None:
        """Move forward by ``seconds``."""
        self._now += timedelta(seconds=seconds)


class Ids(Protocol):
    """Where new identifiers come from."""

    def new(self, prefix: str) -> str:
        """Return ``prefix`` followed by something that no other call returns."""
        ...


class RandomIds:
    """Identifiers of 80 random bits, 16 characters ``a-z2-7``."""

    def new(self, prefix: str) -> str:
        """Return ``prefix`` followed by 16 random characters."""
        return prefix + base64.b32encode(secrets.token_bytes(10)).decode().lower()


class SequentialIds:
    """Identifiers that count from 1 for each prefix: ``d1``, ``d2``."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def new(self, prefix: str) -> str:
        """Return ``prefix`` followed by its next number."""
        self._counts[prefix] += 1
        return f"{prefix}{self._counts[prefix]}"
