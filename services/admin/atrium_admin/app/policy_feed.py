"""Telling everyone who caches permissions what changed.

The list of committed changes in the database is the one source: a change of this process and one of
another replica arrive the same way. Versions grow by one a change, so whoever misses one sees it.
This process caches permissions too, so it holds a lease like any other replica.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import structlog

from atrium_admin.app.policy_leases import LEASE, Held, PolicyLeaseBook
from atrium_admin.app.ports import PolicyChange, Storage
from atrium_admin.domain.errors import WatcherTooSlow
from atrium_shared.clock import Clock
from atrium_shared.errors import AtriumError
from atrium_shared.identity import ReplicaUnknown

_log = structlog.get_logger(__name__)

_CHANGES_AT_ONCE = 1_000

_RENEW_OWN_LEASE_SECONDS = 2.0

_SECONDS_BETWEEN_LEASE_CHECKS = 0.2

_SECONDS_TO_STOP = 5.0

Listener = Callable[[PolicyChange | None], Awaitable[object] | None]
"""Called with each change, in order; with None when changes may have been missed. Must not block.

What it returns, if anything, is done when the change holds for whatever it keeps open.
"""


@dataclass(frozen=True, slots=True)
class FeedMessage:
    """What a watcher hears.

    Attributes:
        version: Version of the change; in a heartbeat, of the newest change.
        change: The change; None in a heartbeat.
    """

    version: int
    change: PolicyChange | None = None


class _Watcher:
    """A bounded queue of messages for one replica."""

    def __init__(self, replica: str, limit: int) -> None:
        self.replica = replica
        self.queue: asyncio.Queue[FeedMessage | None] = asyncio.Queue(limit)
        self.cut = False


class PolicyFeed:
    """Reads the list of changes and hands them on.

    Args:
        storage: Where the list is kept.
        leases: Who may serve, and until when.
        clock: Tells when the next heartbeat is due.
        replica: Name under which this process holds its lease; no other process has it.
        poll_seconds: How often to look for changes of other replicas.
        heartbeat_seconds: How often watchers hear something at least. A heartbeat means that the
            list was read just now; when the database does not answer, none is sent, and watchers
            refuse their callers.
        max_waiting: Most messages that a watcher may leave unread before it is cut off.
    """

    def __init__(
        self,
        storage: Storage,
        leases: PolicyLeaseBook,
        clock: Clock,
        *,
        replica: str,
        poll_seconds: float = 0.2,
        heartbeat_seconds: float = 1.0,
        max_waiting: int = 1_024,
    ) -> None:
        self._storage = storage
        self._leases = leases
        self._clock = clock
        self._replica = replica
        self._poll_seconds = poll_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._max_waiting = max_waiting
        self._version = 0
        # Versions that were read here, with what must be done before they hold here.
        self._unsettled: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._settled = 0
        self._acknowledged = 0
        # On the monotonic clock, in seconds.
        self._leased_until = float("-inf")
        self._renewed_at = float("-inf")
        self._lost = False
        self._beat_at = float("-inf")
        self._reading = asyncio.Lock()
        self._watchers: set[_Watcher] = set()
        self._listeners: list[Listener] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()

    @property
    def is_current(self) -> bool:
        """Whether this process may decide on what it has cached."""
        return self._clock.monotonic() <= self._leased_until

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` at each change from now on."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Begin at the newest change."""
        self._stopping.clear()
        await self._register()
        self._tasks = [
            asyncio.create_task(self._poll(), name="policy feed"),
            asyncio.create_task(self._watch_lease(), name="policy lease"),
        ]

    async def stop(self) -> None:
        """End every watcher's stream, and the lease of this process."""
        tasks, self._tasks = self._tasks, []
        self._stopping.set()
        if tasks:
            # Not in the middle of a transaction, unless the database hangs.
            _, hanging = await asyncio.wait(tasks, timeout=_SECONDS_TO_STOP)
            for task in hanging:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for watcher in tuple(self._watchers):
            self._offer(watcher, None)
        if tasks:
            self._leased_until = float("-inf")
            try:
                await self._leases.leave(self._replica)
            except AtriumError as error:
                # It runs out by itself.
                _log.warning("policy lease not given back", reason=error.reason)

    async def publish(self) -> None:
        """Hand on every committed change that was not yet; returns when it is done."""
        async with self._reading:
            while True:
                async with self._storage.read() as uow:
                    changes = await uow.policies.changes_after(self._version, _CHANGES_AT_ONCE)
                for change in changes:
                    self._version = change.version
                    self._unsettled.append((change.version, self._notify(change)))
                    self._tell(FeedMessage(change.version, change))
                if len(changes) < _CHANGES_AT_ONCE:
                    break

    async def wait_until_held(self, version: int | None) -> Held:
        """Return when a published change holds everywhere.

        Args:
            version: Version of the change; None: the newest that was published.
        """
        version = self._version if version is None else version
        here = [settled for number, settled in self._unsettled if number <= version]
        if here:
            await asyncio.wait(here, timeout=LEASE.total_seconds())
        await self._renew_lease()
        return await self._leases.wait_until_held(version)

    async def acknowledge(self, replica: str, version: int) -> timedelta:
        """Note what a watcher applied; see :meth:`PolicyLeaseBook.acknowledge`."""
        return await self._leases.acknowledge(replica, version)

    async def leave(self, replica: str) -> None:
        """Note that a watcher refuses everybody from now on."""
        await self._leases.leave(replica)

    async def watch(self, replica: str) -> AsyncGenerator[FeedMessage, None]:
        """Yield a heartbeat at once, then changes as they come and heartbeats between.

        Args:
            replica: Name of the watcher. It counts as live from now on.

        Raises:
            WatcherTooSlow: It left too many messages unread.
        """
        await self._leases.register(replica)
        watcher = _Watcher(replica, self._max_waiting)
        self._watchers.add(watcher)
        self._offer(watcher, FeedMessage(self._version))
        _log.info("policy watcher connected", replica=replica)
        try:
            while (message := await watcher.queue.get()) is not None:
                if watcher.cut:
                    break
                yield message
            if watcher.cut:
                raise WatcherTooSlow(replica, self._max_waiting)
        finally:
            self._watchers.discard(watcher)
            _log.info("policy watcher gone", replica=replica)

    async def _poll(self) -> None:
        failing = False
        while not self._stopping.is_set():
            try:
                await self.publish()
                await self._renew_lease_when_due()
                failing = False
            except Exception:
                # The feed must outlive whatever the database throws at it. Without a heartbeat the
                # watchers refuse, so nothing is hidden by going on.
                if not failing:
                    _log.exception("policy changes cannot be read")
                failing = True
            now = self._clock.monotonic()
            if not failing and now - self._beat_at >= self._heartbeat_seconds:
                self._beat_at = now
                self._tell(FeedMessage(self._version))
            await self._pause(self._poll_seconds)

    async def _watch_lease(self) -> None:
        while not self._stopping.is_set():
            await self._pause(_SECONDS_BETWEEN_LEASE_CHECKS)
            if not self._lost and not self.is_current:
                # Beside the poller, which may be waiting for a database that hangs.
                self._lost = True
                _log.warning("policy lease lost", replica=self._replica)
                self._notify(None)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _register(self) -> None:
        sent_at = self._clock.monotonic()
        self._version = self._settled = await self._leases.register(self._replica)
        self._unsettled.clear()
        self._note_lease(sent_at, LEASE)

    async def _renew_lease_when_due(self) -> None:
        self._settle()
        due = self._clock.monotonic() - self._renewed_at >= _RENEW_OWN_LEASE_SECONDS
        if due or self._settled > self._acknowledged:
            await self._renew_lease()

    async def _renew_lease(self) -> None:
        self._settle()
        sent_at, settled = self._clock.monotonic(), self._settled
        try:
            lease = await self._leases.acknowledge(self._replica, settled)
        except ReplicaUnknown:
            # Somebody did not wait for this process: it starts anew, with nothing cached.
            await self._notify(None)
            await self._register()
        else:
            self._acknowledged = max(self._acknowledged, settled)
            self._note_lease(sent_at, lease)

    def _settle(self) -> None:
        while self._unsettled and self._unsettled[0][1].done():
            self._settled, _ = self._unsettled.popleft()

    def _note_lease(self, sent_at: float, lease: timedelta) -> None:
        self._renewed_at = sent_at
        self._leased_until = sent_at + lease.total_seconds()
        self._lost = not self.is_current

    def _notify(self, change: PolicyChange | None) -> asyncio.Future[None]:
        """Call the listeners; done when the change holds for what they keep open."""
        holds = [listener(change) for listener in self._listeners]
        return asyncio.ensure_future(_all_done([hold for hold in holds if hold is not None]))

    def _tell(self, message: FeedMessage) -> None:
        for watcher in tuple(self._watchers):
            self._offer(watcher, message)

    def _offer(self, watcher: _Watcher, message: FeedMessage | None) -> None:
        try:
            watcher.queue.put_nowait(message)
        except asyncio.QueueFull:
            watcher.cut = True
            self._watchers.discard(watcher)
            _log.warning("policy watcher cut off", replica=watcher.replica)


async def _all_done(holds: Sequence[Awaitable[object]]) -> None:
    await asyncio.gather(*holds)
