"""End live meetings to which nobody returns."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import structlog

from atrium_meeting.app.stores import LiveStore
from atrium_shared.clock import Clock
from atrium_shared.tasks import repeat

_log = structlog.get_logger(__name__)

_LOOK_SECONDS: Final = 60.0


class EndAbandoned:
    """Runs beside the service.

    Args:
        store: Where live meetings are kept.
        clock: Tells the time.
        after: A live meeting without a stream for so long is abandoned.
    """

    def __init__(self, store: LiveStore, clock: Clock, after: timedelta) -> None:
        self._store = store
        self._clock = clock
        self._after = after

    async def run(self) -> None:
        """Look for abandoned meetings until cancelled."""
        pause = min(_LOOK_SECONDS, self._after.total_seconds())
        # Not at once: whose stream ended because the service did may return now that it is there
        # again, however long it was away.
        await asyncio.sleep(pause)
        await repeat(self.once, pause, failed="abandoned meetings not ended")

    async def once(self) -> None:
        """End those that are abandoned by now."""
        ended = await self._store.end_abandoned(self._clock.now() - self._after)
        if ended:
            _log.info("abandoned meetings ended", meetings=ended)
