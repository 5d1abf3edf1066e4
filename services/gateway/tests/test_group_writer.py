from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import date

import pytest

from atrium_gateway.app.audit_calls import AuditCalls
from atrium_gateway.app.caller import Caller
from atrium_gateway.app.meter_usage import MeterUsage
from atrium_gateway.app.ports import UsageCursor
from atrium_gateway.domain.usage import UsageCount, UsageKey, UsageRecord
from atrium_shared.audit import AuditEvent, AuditUnavailable
from atrium_shared.clock import FixedClock
from atrium_shared.engines import Engine, EngineKind, Usage
from atrium_shared.errors import Unavailable
from atrium_shared.testing import eventually, make_principal

CALLER = Caller(make_principal(), "t")
KEY = UsageKey("acme", date(2030, 1, 2), "t", "models/m", "apiKeys/test")


class FakeUsage:
    """Keeps sums, notes each write, and fails when told to."""

    def __init__(self) -> None:
        self.sums: dict[UsageKey, UsageCount] = {}
        self.writes = 0
        self.failures: list[Exception] = []
        self.may_write = asyncio.Event()
        self.may_write.set()

    async def add(self, counts: Mapping[UsageKey, UsageCount]) -> None:
        await self.may_write.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.writes += 1
        for key, count in counts.items():
            self.sums[key] = self.sums.get(key, UsageCount()) + count

    async def list_records(
        self, tenant: str, start: date, end: date, after: UsageCursor | None, limit: int
    ) -> list[UsageRecord]:
        return []


async def test_many_counts_become_few_writes_within_a_second() -> None:
    store = FakeUsage()
    meter = MeterUsage(store, FixedClock(), interval_seconds=0.02)
    await meter.start()
    for _ in range(1000):
        meter.answered(CALLER, "models/m", Usage(1, 2))
    meter.failed(CALLER, "models/m")
    await eventually(lambda: store.sums)
    assert store.sums == {KEY: UsageCount(1000, 1, Usage(1000, 2000))}
    assert store.writes == 1
    await meter.stop()
    assert store.writes == 1


async def test_what_could_not_be_stored_is_stored_later_once() -> None:
    store = FakeUsage()
    store.failures = [Unavailable("down"), RuntimeError("down")]
    meter = MeterUsage(store, FixedClock(), interval_seconds=0.01)
    await meter.start()
    meter.answered(CALLER, "models/m", Usage(1))
    await eventually(lambda: not store.failures)
    meter.answered(CALLER, "models/m", Usage(1))
    await eventually(lambda: store.sums)
    await meter.stop()
    assert store.sums == {KEY: UsageCount(2, 0, Usage(2))}


async def test_stopping_stores_what_is_left() -> None:
    store = FakeUsage()
    meter = MeterUsage(store, FixedClock(), interval_seconds=60)
    await meter.start()
    meter.answered(CALLER, "models/m", Usage(1))
    await meter.stop()
    assert store.sums == {KEY: UsageCount(1, 0, Usage(1))}


async def test_one_who_gives_up_on_a_flush_does_not_break_it() -> None:
    store = FakeUsage()
    store.may_write.clear()
    meter = MeterUsage(store, FixedClock(), interval_seconds=60)
    meter.answered(CALLER, "models/m", Usage(1))
    flush = asyncio.ensure_future(meter.flush())
    await asyncio.sleep(0.01)
    flush.cancel()
    meter.answered(CALLER, "models/m", Usage(1))
    store.may_write.set()
    await meter.stop()
    assert store.sums == {KEY: UsageCount(2, 0, Usage(2))}


class FakeLog:
    """An audit log that may be down."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []
        self.groups: list[int] = []
        self.down = False

    async def record(self, *events: AuditEvent) -> None:
        if self.down:
            raise AuditUnavailable("DOWN")
        self.groups.append(len(events))
        self.events.extend(events)


CALLER = Caller(make_principal(), "t", outside=True)
ENGINE = Engine(EngineKind.GENERATIVE, "b", "m")


async def call(calls: AuditCalls, number: int) -> None:
    async with calls.call(CALLER, "gateway.Generate") as audited:
        audited.answered(ENGINE, Usage(number))


async def test_audit_events_go_in_groups_and_in_order() -> None:
    log = FakeLog()
    calls = AuditCalls(log, interval_seconds=60)
    await calls.start()
    for number in range(2500):
        await call(calls, number)
    await calls.stop()
    assert log.groups == [1000, 1000, 500]
    assert [event.tokens for event in log.events] == list(range(2500))


async def test_calls_that_end_while_a_group_is_written_wait_for_the_next() -> None:
    log = FakeLog()
    calls = AuditCalls(log, interval_seconds=0.05)

    async def busy(*events: AuditEvent) -> None:
        log.groups.append(len(events))
        if len(log.groups) == 1:
            for number in range(3):
                await call(calls, number)

    log.record = busy  # type: ignore[method-assign]
    await calls.start()
    await call(calls, 9)
    await eventually(lambda: len(log.groups) == 2)
    await calls.stop()
    assert log.groups == [1, 3]


async def test_calls_go_on_while_the_log_is_down_and_none_is_forgotten() -> None:
    log = FakeLog()
    log.down = True
    calls = AuditCalls(log, interval_seconds=0.01)
    await calls.start()
    for number in range(10):
        await call(calls, number)
    await asyncio.sleep(0.05)
    log.down = False
    await eventually(lambda: len(log.events) == 10)
    await calls.stop()
    assert [event.tokens for event in log.events] == list(range(10))


async def test_when_too_many_events_wait_calls_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("atrium_gateway.app.audit_calls._MOST_WAITING", 3)
    log = FakeLog()
    log.down = True
    calls = AuditCalls(log, interval_seconds=60)
    for number in range(3):
        await call(calls, number)
    with pytest.raises(AuditUnavailable):
        await call(calls, 3)
    log.down = False
    await call(calls, 4)
    await calls.stop()
    assert [event.tokens for event in log.events] == [0, 1, 2, 4]
