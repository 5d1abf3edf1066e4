"""When to leave a failing server alone (circuit breaker; M. Nygard, *Release It!*, 2007).

Our own class because none of the kept libraries fits a server that tenants share: `pybreaker` and
`aiobreaker` count consecutive failures alone and let every waiting call through when half open,
`purgatory` has no share of failures; and none of them can tell one tenant's bad requests from a
server that is down.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """When a breaker opens and for how long.

    Attributes:
        failures: Failures in a row that open it.
        share: Share of failures in a window that opens it.
        least_calls: Calls that a window needs for its share to count.
        window_seconds: Length of a window.
        open_seconds: How long it stays open at first; each failed probe doubles it.
        most_open_seconds: How long at most.
    """

    failures: int = 5
    share: float = 0.5
    least_calls: int = 20
    window_seconds: float = 30.0
    open_seconds: float = 5.0
    most_open_seconds: float = 60.0


class Breaker:
    """Counts a server's answers; open, it lets nothing pass, then one probe at a time.

    One tenant's requests may fail where the server is well (a prompt on which it stumbles, a
    timeout of a millisecond). So it opens only when more than half of the tenants that called in
    the window saw their last call fail.

    Args:
        limits: When it opens.
        now: Returns seconds that never go back.
        chance: Returns a number from 0 to 1, for jitter.
    """

    __slots__ = (
        "_calls",
        "_chance",
        "_failed",
        "_failing",
        "_limits",
        "_now",
        "_open_for",
        "_open_until",
        "_probing",
        "_row",
        "_tenants",
        "_window_ends",
    )

    def __init__(
        self,
        limits: BreakerLimits,
        now: Callable[[], float],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._limits = limits
        self._now = now
        self._chance = chance
        self._open_until: float | None = None
        self._open_for = limits.open_seconds
        self._probing = False
        self._calls = self._failed = self._row = 0
        self._start_window()

    @property
    def is_open(self) -> bool:
        """Whether it is open or half open: the server is not known to be well."""
        return self._open_until is not None

    @property
    def allows(self) -> bool:
        """Whether a call may begin now."""
        until = self._open_until
        return until is None or (not self._probing and self._now() >= until)

    @property
    def seconds_left(self) -> float:
        """Seconds until the next probe; 0 when it may be now or is under way."""
        return max(0.0, (self._open_until or 0.0) - self._now())

    def begin(self) -> bool:
        """Begin a call that :attr:`allows` permitted; the end is told with what this returns.

        Returns:
            Whether the call is a probe.
        """
        if self._open_until is None:
            return False
        self._probing = True
        return True

    def left(self, *, probe: bool) -> None:
        """A call ended without saying anything about the server: its caller left."""
        if probe:
            self._probing = False

    def succeeded(self, tenant: str, *, probe: bool) -> None:
        """The server answered."""
        if probe:
            self._open_until = None
            self._probing = False
            self._open_for = self._limits.open_seconds
            self._start_window()
            return
        if self._now() >= self._window_ends:
            self._start_window()
        self._calls += 1
        self._row = 0
        self._tenants.add(tenant)
        if self._failing:
            self._failing.discard(tenant)

    def failed(self, tenant: str, *, probe: bool) -> None:
        """The server failed, or took too long."""
        if probe:
            self._open_for = min(2 * self._open_for, self._limits.most_open_seconds)
            self._open()
            return
        if self._open_until is not None:
            return  # it was under way when others opened it
        if self._now() >= self._window_ends:
            row = self._row
            self._start_window()
            self._row = row
        limits = self._limits
        self._calls += 1
        self._row += 1
        self._failed += 1
        self._tenants.add(tenant)
        self._failing.add(tenant)
        in_a_row = self._row >= limits.failures
        often = self._calls >= limits.least_calls and self._failed >= limits.share * self._calls
        if (in_a_row or often) and 2 * len(self._failing) > len(self._tenants):
            self._open()

    def _open(self) -> None:
        # Spread, so that replicas of the gateway do not probe in the same moment.
        self._open_until = self._now() + self._open_for * (0.8 + 0.4 * self._chance())
        self._probing = False

    def _start_window(self) -> None:
        self._window_ends = self._now() + self._limits.window_seconds
        self._calls = self._failed = self._row = 0
        self._tenants: set[str] = set()
        self._failing: set[str] = set()
