"""The servers and processes that run models: how busy each is, and whether it is well."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager

from atrium_gateway.domain.breaker import Breaker, BreakerLimits
from atrium_gateway.domain.errors import (
    ModelUnavailable,
    ResidencyForbids,
    UpstreamFailed,
    UpstreamTimedOut,
)
from atrium_shared.clock import Clock
from atrium_shared.errors import AtriumError

_FAULTS = (UpstreamFailed, UpstreamTimedOut, TimeoutError)
# Still loading, not asked at all, or left by the caller.
_SAYS_NOTHING = (ModelUnavailable, ResidencyForbids, GeneratorExit, asyncio.CancelledError)


class Upstream:
    """One server or process; models that it runs share it.

    Args:
        name: For the log and metrics, such as its URL.
        clock: Tells how long it rests.
        limits: When its breaker opens.

    Attributes:
        in_flight: Calls that it works on now.
        adapters: Adapters that it holds; whoever rolls them out keeps this up to date.
    """

    def __init__(self, name: str, clock: Clock, limits: BreakerLimits | None = None) -> None:
        self.name = name
        self.in_flight = 0
        self.adapters: set[str] = set()
        self._breaker = Breaker(limits or BreakerLimits(), clock.monotonic)

    def holds(self, adapter: str) -> bool:
        """Return whether it can serve ``adapter`` at once; "" stands for the base alone."""
        return not adapter or adapter in self.adapters

    @property
    def resting(self) -> bool:
        """Whether it failed so often that it is left alone now."""
        return not self._breaker.allows

    @property
    def failing(self) -> bool:
        """Whether it rests, or did and has not answered since."""
        return self._breaker.is_open

    @property
    def seconds_left(self) -> float:
        """Seconds until it is asked again."""
        return self._breaker.seconds_left

    def call(self, tenant: str) -> AbstractContextManager[None]:
        """Run one call: an error in the block that is the server's counts against it."""
        return _UpstreamCall(self, self._breaker, tenant)


class _UpstreamCall:
    """See :meth:`Upstream.call`; a class, since a generator costs every call more."""

    __slots__ = ("_breaker", "_probe", "_tenant", "_upstream")

    def __init__(self, upstream: Upstream, breaker: Breaker, tenant: str) -> None:
        self._upstream = upstream
        self._breaker = breaker
        self._tenant = tenant
        self._probe = False

    def __enter__(self) -> None:
        self._probe = self._breaker.begin()
        self._upstream.in_flight += 1

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._upstream.in_flight -= 1
        breaker, probe = self._breaker, self._probe
        if kind is None:
            breaker.succeeded(self._tenant, probe=probe)
        elif issubclass(kind, _FAULTS):
            breaker.failed(self._tenant, probe=probe)
        elif issubclass(kind, _SAYS_NOTHING):
            breaker.left(probe=probe)
        elif issubclass(kind, AtriumError):
            # It answered; that the request or the reply will not do is another matter.
            breaker.succeeded(self._tenant, probe=probe)
        else:
            breaker.failed(self._tenant, probe=probe)
