"""The servers and processes that run models: how busy each is, and whether it is well."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from atrium_gateway.domain.breaker import Breaker, BreakerLimits
from atrium_gateway.domain.errors import (
    ModelUnavailable,
    ResidencyForbids,
    UpstreamFailed,
    UpstreamTimedOut,
)
from atrium_shared.clock import Clock
from atrium_shared.errors import AtriumError


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

    @contextmanager
    def call(self, tenant: str) -> Iterator[None]:
        """Run one call: an error in the block that is the server's counts against it."""
        breaker = self._breaker
        probe = breaker.begin()
        self.in_flight += 1
        try:
            yield
        except (UpstreamFailed, UpstreamTimedOut, TimeoutError):
            breaker.failed(tenant, probe=probe)
            raise
        except (ModelUnavailable, ResidencyForbids, GeneratorExit, asyncio.CancelledError):
            # Still loading, not asked at all, or left by the caller.
            breaker.left(probe=probe)
            raise
        except AtriumError:
            # It answered; that the request or the reply will not do is another matter.
            breaker.succeeded(tenant, probe=probe)
            raise
        except BaseException:
            breaker.failed(tenant, probe=probe)
            raise
        else:
            breaker.succeeded(tenant, probe=probe)
        finally:
            self.in_flight -= 1
