"""Telling everyone who caches permissions what changed.

The list of committed changes in the database is the one source: a change of this process and one of
another replica arrive the same way. Versions grow by one a change, so whoever misses one sees it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from atrium_admin.app.ports import PolicyChange, Storage
from atrium_admin.domain.errors import WatcherTooSlow
from atrium_shared.clock import Clock

_log = structlog.get_logger(__name__)

_CHANGES_AT_ONCE = 1_000

Listener = Callable[[PolicyChange], None]
"""Called with each change, in order. Must not block."""


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
        clock: Tells when the next heartbeat is due.
        poll_seconds: How often to look for changes of other replicas.
        heartbeat_seconds: How often watchers hear something at least. A heartbeat means that the
            list was read just now; when the database does not answer, none is sent, and watchers
            refuse their callers.
        max_waiting: Most messages that a watcher may leave unread before it is cut off.
    """

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        *,
        poll_seconds: float = 0.2,
        heartbeat_seconds: float = 1.0,
        max_waiting: int = 1_024,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._max_waiting = max_waiting
        self._version = 0
        self._heard_at = float("-inf")
        self._beat_at = float("-inf")
        self._reading = asyncio.Lock()
        self._watchers: set[_Watcher] = set()
        self._listeners: list[Listener] = []
        self._poller: asyncio.Task[None] | None = None

    @property
    def heard_at(self) -> float:
        """When the list was last read, on the clock's monotonic scale, in seconds."""
        return self._heard_at

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` at each change from now on."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Begin at the newest change."""
        async with self._storage.read() as uow:
            self._version = await uow.policies.last_change()
        self._heard_at = self._clock.monotonic()
        self._poller = asyncio.create_task(self._poll(), name="policy feed")

    async def stop(self) -> None:
        """End every watcher's stream."""
        if self._poller is not None:
            self._poller.cancel()
            with suppress(asyncio.CancelledError):
                await self._poller
            self._poller = None
        for watcher in tuple(self._watchers):
            self._offer(watcher, None)

    async def publish(self) -> None:
        """Hand on every committed change that was not yet; returns when it is done."""
        async with self._reading:
            while True:
                async with self._storage.read() as uow:
                    changes = await uow.policies.changes_after(self._version, _CHANGES_AT_ONCE)
                for change in changes:
                    self._version = change.version
                    for listener in self._listeners:
                        listener(change)
                    self._tell(FeedMessage(change.version, change))
                if len(changes) < _CHANGES_AT_ONCE:
                    break
            self._heard_at = self._clock.monotonic()

    async def watch(self, replica: str) -> AsyncGenerator[FeedMessage, None]:
        """Yield a heartbeat at once, then changes as they come and heartbeats between.

        Args:
            replica: Name of the watcher, for the log and the error.

        Raises:
            WatcherTooSlow: It left too many messages unread.
        """
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
        while True:
            try:
                await self.publish()
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
            await asyncio.sleep(self._poll_seconds)

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
