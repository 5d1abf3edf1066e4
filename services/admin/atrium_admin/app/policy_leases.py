"""Who may serve callers on what they know of the policies, and until when.

A replica that follows the policy feed holds a lease of five seconds, which each acknowledgement
renews (Gray and Cheriton, "Leases: an efficient fault-tolerant mechanism for distributed file cache
consistency", 1989). So whoever takes a permission away need wait for five seconds at most: a
replica has either said that it applied the change, or lost its lease and refuses its callers.

Why that is sound:

- A replica counts its lease from when it sent the acknowledgement, and we from when it came.
- A lease is given under the version acknowledged. Five seconds after the first change above that
  version it ends, however often the replica renews it.
- A lease that somebody relied on having run out is marked as ended, and is not renewed. The replica
  registers anew, with nothing cached.
- A replica that registers has nothing cached and is given everything by the database as it is then.

The leases are in the database, so several admin processes see the same ones.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from atrium_admin.app.ports import ReplicaLease, Storage, UnitOfWork
from atrium_admin.domain.errors import PolicyVersionAhead
from atrium_shared.clock import Clock
from atrium_shared.identity import ReplicaUnknown

_log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=5)
"""How long a replica may serve on what it knows."""

_CLOCKS_APART = timedelta(seconds=1)
"""By how much the clocks of admin processes may differ; a lease counts as held for so much longer.
"""

_KEPT = timedelta(hours=1)

_LOOK_AGAIN_SECONDS = 0.05
"""Acknowledgements that another admin process took are found by looking."""


@dataclass(frozen=True, slots=True)
class Held:
    """Where a change holds.

    Attributes:
        version: Version of the change.
        acknowledged: Replicas that applied it, sorted.
        lapsed: Replicas that did not say so while their lease lasted; they refuse everybody.
    """

    version: int
    acknowledged: tuple[str, ...]
    lapsed: tuple[str, ...]


class PolicyLeaseBook:
    """Gives leases to replicas, and waits for them.

    Args:
        storage: Where the leases are kept.
        clock: Tells when they run out.
    """

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._news = asyncio.Event()

    async def register(self, replica: str) -> int:
        """Count a replica that has nothing cached among the live ones.

        One that holds a lease already keeps it as it is: it has not cleared its caches yet.

        Returns:
            Version of the newest change.
        """
        now = self._clock.now()
        async with self._storage.write() as uow:
            newest = await uow.policies.last_change()
            lease = await uow.leases.get(replica, for_update=True)
            if lease is None or lease.ended:
                await uow.leases.put(ReplicaLease(replica, newest, now + LEASE))
            await uow.leases.forget(now - _KEPT)
        return newest

    async def acknowledge(self, replica: str, version: int) -> timedelta:
        """Note that a replica applied every change up to ``version``.

        Returns:
            For how long it may serve from now; zero when it is too late with a later change.

        Raises:
            ReplicaUnknown: It does not watch, or its lease was ended.
            PolicyVersionAhead: There is no such version yet.
        """
        now = self._clock.now()
        async with self._storage.write() as uow:
            # Nearly always: every replica says so each second.
            if await uow.leases.renew(replica, version, now + LEASE):
                left = LEASE
            else:
                left = await _renew_late(uow, replica, version, now)
        self._news.set()
        return left

    async def leave(self, replica: str) -> None:
        """Note that a replica refuses everybody from now on, so that no change waits for it."""
        async with self._storage.write() as uow:
            lease = await uow.leases.get(replica, for_update=True)
            if lease is not None and not lease.ended:
                newest = await uow.policies.last_change()
                gone = replace(lease, acknowledged=newest, until=self._clock.now(), ended=True)
                await uow.leases.put(gone)
        self._news.set()

    async def wait_until_held(self, version: int) -> Held:
        """Return when every live replica applied ``version`` or lost its lease.

        That takes no longer than a lease and the difference that clocks may have.
        """
        leases = await self._look()
        live = {lease.replica for lease in leases if not lease.ended}
        while any(not lease.ended and lease.acknowledged < version for lease in leases):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), _LOOK_AGAIN_SECONDS)
            self._news.clear()
            leases = await self._look()
        acknowledged = {lease.replica for lease in leases if lease.acknowledged >= version}
        held = Held(version, tuple(sorted(live & acknowledged)), tuple(sorted(live - acknowledged)))
        if held.lapsed:
            _log.warning("replicas lost their lease", version=version, replicas=held.lapsed)
        return held

    async def _look(self) -> list[ReplicaLease]:
        async with self._storage.read() as uow:
            leases = await uow.leases.list_all()
        lapsed_before = self._clock.now() - _CLOCKS_APART
        if not any(not lease.ended and lease.until < lapsed_before for lease in leases):
            return leases
        async with self._storage.write() as uow:
            await uow.leases.end_lapsed(lapsed_before)
            return await uow.leases.list_all()


async def _renew_late(uow: UnitOfWork, replica: str, version: int, now: datetime) -> timedelta:
    """Renew the lease of a replica that has not applied the newest change; return what is left."""
    lease = await uow.leases.get(replica, for_update=True)
    if lease is None or lease.ended:
        raise ReplicaUnknown(replica)
    newest = await uow.policies.last_change()
    if version > newest:
        raise PolicyVersionAhead(replica, version, newest)
    acknowledged = max(version, lease.acknowledged)
    until = now + LEASE
    if acknowledged < newest:
        missed_since = await uow.policies.change_time(acknowledged + 1)
        until = now if missed_since is None else min(until, missed_since + LEASE)
    # What was promised before stays promised.
    until = max(until, lease.until)
    await uow.leases.put(replace(lease, acknowledged=acknowledged, until=until))
    return max(until - now, timedelta())
