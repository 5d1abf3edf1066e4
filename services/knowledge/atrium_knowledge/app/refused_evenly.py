"""Let a refusal take as long whether something is hidden or not there at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from atrium_shared.errors import Denied, NotFound

STEP_SECONDS: Final = 0.025
"""Refusals end a whole number of these after they began: several times what the queries take that
tell the two cases apart, and little beside what a person notices."""
_LAST_SECONDS: Final = 0.002
"""An event loop wakes up to a millisecond late, by what was left to wait: that would show how long
the work took. The last of the wait therefore goes turn by turn."""


@asynccontextmanager
async def refused_evenly() -> AsyncIterator[None]:
    """Hold a refusal back that leaves the block, up to the next step of time.

    Looking at something hidden takes a little more work than finding nothing. Answered at once, a
    few hundred calls would tell the two apart by their times.
    """
    began = time.monotonic()
    try:
        yield
    except (NotFound, Denied):
        taken = time.monotonic() - began + _LAST_SECONDS
        end = began + (taken // STEP_SECONDS + 1) * STEP_SECONDS
        await asyncio.sleep(end - _LAST_SECONDS - time.monotonic())
        while time.monotonic() < end:  # noqa: ASYNC110 - no event tells the time
            await asyncio.sleep(0)
        raise
