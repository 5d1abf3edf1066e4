"""Records who used which model from outside, without a word of what was said."""

from __future__ import annotations

import asyncio

from atrium_gateway.app.caller import Caller
from atrium_gateway.app.group_writer import GroupWriter
from atrium_shared.audit import AuditEvent, AuditSink, Decision
from atrium_shared.engines import NO_USAGE, Engine, Usage
from atrium_shared.errors import AtriumError

_MOST_WAITING = 10_000
_GROUP = 1_000


class AuditedCall:
    """What is known of a call so far; recorded when its block ends, if it came from outside.

    A class, since a generator costs every call more.

    Args:
        calls: Where it is recorded.
        caller: Who calls and what for.
        action: What is called, ``"gateway.Generate"``.

    Attributes:
        model: Model that answered, or empty.
        usage: What it cost.
    """

    __slots__ = ("_action", "_caller", "_calls", "model", "usage")

    def __init__(self, calls: AuditCalls, caller: Caller, action: str) -> None:
        self._calls = calls
        self._caller = caller
        self._action = action
        self.model = ""
        self.usage = NO_USAGE

    def answered(self, engine: Engine, usage: Usage) -> None:
        """Note what answered and what it cost."""
        self.model = engine.model
        self.usage = usage

    async def __aenter__(self) -> AuditedCall:
        if self._caller.outside:
            await self._calls.make_room()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, *_: object
    ) -> None:
        if not self._caller.outside:
            return
        decision, detail = Decision.ALLOWED, ""
        if isinstance(error, AtriumError):
            decision, detail = Decision.FAILED, error.reason
        elif isinstance(error, asyncio.CancelledError | GeneratorExit):
            detail = "CANCELLED"
        elif error is not None:
            decision, detail = Decision.FAILED, "INTERNAL"
        self._calls.add(
            AuditEvent.of(
                self._caller.principal,
                self._action,
                f"tasks/{self._caller.task}",
                decision,
                detail=detail,
                model=self.model,
                tokens=self.usage.total_tokens,
            )
        )


class AuditCalls:
    """Events of calls, handed to the audit log in groups.

    Calls do not wait for the log unless it lags by 10,000 events; then they do, and fail with its
    error when it refuses, so that no call goes unseen for long.

    Args:
        sink: The audit log.
        interval_seconds: Longest wait before an event is handed over.
    """

    def __init__(self, sink: AuditSink, *, interval_seconds: float = 0.5) -> None:
        self._sink = sink
        self._events: list[AuditEvent] = []
        self._writer = GroupWriter("audit", self._write, interval_seconds=interval_seconds)

    def call(self, caller: Caller, action: str) -> AuditedCall:
        """Return what records one call when its block ends, if it came from outside.

        Args:
            caller: Who calls and what for.
            action: What is called, ``"gateway.Generate"``.

        Raises:
            AuditQueueFull, AuditUnavailable: On entering, when the log lags too far.
        """
        return AuditedCall(self, caller, action)

    async def make_room(self) -> None:
        """Wait for the log while it lags too far.

        Raises:
            AuditQueueFull, AuditUnavailable: It refuses.
        """
        if len(self._events) >= _MOST_WAITING:
            await self._writer.flush()

    def add(self, event: AuditEvent) -> None:
        """Hand an event over soon."""
        self._events.append(event)
        self._writer.wake()

    async def start(self) -> None:
        """Start handing over."""
        await self._writer.start()

    async def stop(self) -> None:
        """Stop, and hand over what is left."""
        await self._writer.stop()

    async def _write(self) -> None:
        # Only what is there now: calls that end meanwhile wait for the next group. Otherwise a busy
        # gateway would hand them over one by one, as fast as the log takes them.
        left = len(self._events)
        while left > 0:
            group = self._events[: min(left, _GROUP)]
            await self._sink.record(*group)
            del self._events[: len(group)]
            left -= len(group)
