"""What is to be done from time to time: signing checkpoints, and forgetting old policies."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from atrium_admin.app.audit_checkpoints import SignCheckpoints
from atrium_admin.app.ports import Storage
from atrium_shared.clock import Clock
from atrium_shared.tasks import cancel_and_wait, repeat

_log = structlog.get_logger(__name__)

_LOOK_SECONDS = 1.0
_FORGET_EVERY_SECONDS = 3_600.0


class ForgetOldPolicies:
    """Drops the history of policies beyond a number of days.

    Args:
        storage: Where it is kept.
        clock: Tells today.
        days: How many days back the history reaches; 0 for ever.
    """

    def __init__(self, storage: Storage, clock: Clock, *, days: int) -> None:
        self._storage = storage
        self._clock = clock
        self._days = days

    async def __call__(self) -> None:
        """Do it. The policy in force on the oldest day stays."""
        if not self._days:
            return
        before = self._clock.now() - timedelta(days=self._days)
        async with self._storage.read() as uow:
            outlived = await uow.history.outlived(before)
        gone = 0
        for tenant, version in outlived:
            async with self._storage.write() as uow:
                # Replicas that drop the same rows at once, each in its own order, would wait for
                # each other until the database ends one.
                await uow.tenants.lock(tenant)
                gone += await uow.history.forget_before(tenant, version)
        if gone:
            _log.info("old policies forgotten", versions=gone, days=self._days)


class Upkeep:
    """Does both in the background.

    Args:
        sign: Signs checkpoints that are due.
        forget: Drops old history, when the service starts and each hour.
        clock: Tells the hour.
    """

    def __init__(self, sign: SignCheckpoints, forget: ForgetOldPolicies, clock: Clock) -> None:
        self._sign = sign
        self._forget = forget
        self._clock = clock
        self._forgot_at = float("-inf")
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(
            repeat(self._once, _LOOK_SECONDS, failed="upkeep failed"), name="upkeep"
        )

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            await cancel_and_wait(self._task)
            self._task = None

    async def _once(self) -> None:
        await self._sign.due()  # a checkpoint that comes later signs the same lines
        if self._clock.monotonic() - self._forgot_at >= _FORGET_EVERY_SECONDS:
            await self._forget()
            self._forgot_at = self._clock.monotonic()
