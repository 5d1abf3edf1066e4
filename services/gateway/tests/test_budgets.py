"""Budgets that several processes share, deaths and pauses included.

Processes are simulated by one `LeasedBudgets` each on the same database. With
GATEWAY_TEST_DATABASE_URL that is PostgreSQL; its schema is dropped.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

import atrium_gateway
from atrium_gateway.adapters.sql_quotas import SqlLedgers, SqlQuotas
from atrium_gateway.app.budgets import LeasedBudgets
from atrium_gateway.app.caller import Caller
from atrium_gateway.domain.errors import QuotaExhausted
from atrium_gateway.domain.quotas import LeaseAsk, Quota
from atrium_shared.clock import FixedClock
from atrium_shared.database import Database, DatabaseUnavailable
from atrium_shared.principal import QuotaUnit, QuotaWindow, TenantQuota
from atrium_shared.testing import eventually, make_principal, memory_folder

TOKENS, REQUESTS = QuotaUnit.TOKENS, QuotaUnit.REQUESTS
MINUTE, DAY = QuotaWindow.MINUTE, QuotaWindow.DAY
POSTGRES = os.environ.get("GATEWAY_TEST_DATABASE_URL", "")
MIGRATIONS = Path(atrium_gateway.__file__).parent / "migrations"


class World:
    """A database, and processes that come and go."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self.url = url
        self.clock = FixedClock(datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC))
        self._stack = stack
        self._databases: dict[LeasedBudgets, Database] = {}

    async def database(self) -> Database:
        database = Database(self.url, migrations=MIGRATIONS, name="gateway", pool_size=2)
        await database.start()
        self._stack.push_async_callback(database.close)
        return database

    async def process(
        self, *, dead_seconds: float = 5.0, beat_seconds: float = 0.03
    ) -> LeasedBudgets:
        database = await self.database()
        budgets = LeasedBudgets(
            SqlQuotas(database),
            SqlLedgers(database),
            self.clock,
            beat_seconds=beat_seconds,
            dead_seconds=dead_seconds,
        )
        self._databases[budgets] = database
        await budgets.start()
        self._stack.push_async_callback(self._end, budgets)
        return budgets

    async def kill(self, budgets: LeasedBudgets) -> None:
        """Stop it in the middle of whatever it does; nothing more reaches the database."""
        task = budgets._task
        assert task is not None
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        budgets._task = None
        del self._databases[budgets]

    async def used(self, budgets: LeasedBudgets, quota: Quota, tenant: str = "acme") -> int:
        return (await budgets.used(tenant, [quota]))[0][1]

    async def rows(self, table: str) -> int:
        database = await self.database()
        async with database.read() as session:
            return int(await session.scalar(sqlalchemy.text(f"select count(*) from {table}")) or 0)

    async def _end(self, budgets: LeasedBudgets) -> None:
        if budgets in self._databases:
            await budgets.stop()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        if POSTGRES:
            engine = create_async_engine(POSTGRES)
            async with engine.begin() as connection:
                await connection.execute(sqlalchemy.text("DROP SCHEMA IF EXISTS gateway CASCADE"))
            await engine.dispose()
            url = POSTGRES
        else:
            url = f"sqlite+aiosqlite:///{stack.enter_context(memory_folder())}/gateway.db"
        yield World(url, stack)


def caller(
    *quotas: TenantQuota, tenant: str = "acme", key: str = "k1", task: str = "docs.continue"
) -> Caller:
    principal = make_principal(tenant=tenant)
    return Caller(replace(principal, credential=f"apiKeys/{key}", quotas=quotas), task)


def tokens(limit: int, window: QuotaWindow = DAY) -> TenantQuota:
    return TenantQuota(TOKENS, window, limit)


def requests(limit: int, window: QuotaWindow = DAY) -> TenantQuota:
    return TenantQuota(REQUESTS, window, limit)


async def refused(budgets: LeasedBudgets, who: Caller, needed: int = 1) -> QuotaExhausted:
    with pytest.raises(QuotaExhausted) as error:
        await budgets.reserve(who, needed)
    return error.value


async def all_that_fits(budgets: LeasedBudgets, who: Caller, needed: int) -> int:
    """Reserve until refused; return how often it went well."""
    count = 0
    with suppress(QuotaExhausted):
        while True:
            await budgets.reserve(who, needed)
            count += 1
    return count


# Refusals


async def test_a_limit_of_zero_stops_all_use(world: World) -> None:
    budgets = await world.process()
    assert (await refused(budgets, caller(requests(0)))).metadata["limit"] == "0"
    error = await refused(budgets, caller(tokens(0)))
    assert error.retry_seconds is None  # it never fits


async def test_a_refusal_says_which_quota_what_is_left_and_when_it_begins_anew(
    world: World,
) -> None:
    budgets = await world.process()
    who = caller(tokens(100, MINUTE))
    await budgets.reserve(who, 70)
    error = await refused(budgets, who, 50)
    assert error.metadata == {
        "quota": "quotas/operator-tokens-minute",
        "limit": "100",
        "remaining": "30",
        "needed": "50",
        "reset_time": "2030-01-02T03:05:00Z",
    }
    assert error.retry_seconds == 55
    await budgets.reserve(who, 30)


@pytest.mark.parametrize("amount", [-1, -(10**9)])
async def test_negative_amounts_are_refused_and_give_no_credit(world: World, amount: int) -> None:
    budgets = await world.process()
    who = caller(tokens(100))
    reserved = await budgets.reserve(who, 10)
    with pytest.raises(ValueError, match="cannot need"):
        await budgets.reserve(who, amount)
    assert reserved.settle(amount) == 10
    assert await all_that_fits(budgets, who, 10) == 10


async def test_a_call_that_one_of_its_quotas_refuses_reserves_nothing_of_the_others(
    world: World,
) -> None:
    budgets = await world.process()
    await refused(budgets, caller(tokens(1000), requests(0)), 600)
    assert await all_that_fits(budgets, caller(tokens(1000)), 100) == 10


async def test_without_quotas_nothing_is_held_and_nothing_is_written(world: World) -> None:
    budgets = await world.process()
    reserved = await budgets.reserve(caller(), 10**9)
    assert reserved.settle(5) == 10**9 - 5
    assert await world.rows("quota_processes") == 0


# Settling


async def test_what_was_not_used_can_be_reserved_again(world: World) -> None:
    budgets = await world.process()
    who = caller(tokens(1000))
    for _ in range(10):
        reserved = await budgets.reserve(who, 900)
        assert reserved.settle(10) == 890
    assert await world.used(budgets, Quota.of_operator(tokens(1000))) == 100


async def test_settling_twice_counts_once(world: World) -> None:
    budgets = await world.process()
    who = caller(tokens(1000))
    reserved = await budgets.reserve(who, 900)
    assert [reserved.settle(100), reserved.settle(0)] == [800, 800]
    assert await all_that_fits(budgets, who, 100) == 9


async def test_a_model_that_wrote_more_than_was_reserved_is_charged_for_it(world: World) -> None:
    budgets = await world.process()
    who = caller(tokens(1000))
    assert (await budgets.reserve(who, 900)).settle(1500) == -600
    assert (await refused(budgets, who)).metadata["remaining"] == "0"
    await eventually(lambda: _used_is(world, budgets, Quota.of_operator(tokens(1000)), 1500))


async def _used_is(world: World, budgets: LeasedBudgets, quota: Quota, expected: int) -> bool:
    return await world.used(budgets, quota) == expected


async def test_requests_count_when_they_are_reserved_and_refused_ones_do_not(world: World) -> None:
    budgets = await world.process()
    who = caller(requests(3), tokens(10))
    await refused(budgets, who, 11)
    for _ in range(3):
        (await budgets.reserve(who, 10)).settle(0)
    assert (await refused(budgets, who)).metadata["quota"] == "quotas/operator-requests-day"


async def test_a_call_that_waits_for_one_budget_keeps_its_room_in_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = SqlLedgers.exchange

    async def slow(self: SqlLedgers, process: str, asks: Sequence[LeaseAsk]) -> object:
        await asyncio.sleep(0.04)  # longer than a beat, at each of which unused room is given back
        return await exchange(self, process, asks)

    monkeypatch.setattr(SqlLedgers, "exchange", slow)
    budgets = await world.process()
    await refused(budgets, caller(requests(3), tokens(10)), 11)
    async with asyncio.timeout(20):
        for _ in range(3):
            (await budgets.reserve(caller(requests(3), tokens(10)), 10)).settle(0)


# Windows


async def test_a_new_window_begins_anew_and_calls_stay_with_the_window_they_began_in(
    world: World,
) -> None:
    budgets = await world.process()
    who = caller(tokens(100, MINUTE))
    long = await budgets.reserve(who, 100)
    world.clock.advance(60)
    short = await budgets.reserve(who, 60)
    assert long.settle(0) == 100
    await refused(budgets, who, 41)
    short.settle(20)
    await budgets.reserve(who, 80)


async def test_ledgers_of_windows_long_past_are_removed(world: World) -> None:
    budgets = await world.process()
    (await budgets.reserve(caller(tokens(100, MINUTE)), 10)).settle(10)
    assert await world.rows("quota_ledgers") == 1
    await eventually(lambda: not budgets._counts)
    ledgers = SqlLedgers(await world.database())
    await ledgers.forget_windows(world.clock.now())
    assert await world.rows("quota_ledgers") == 1
    world.clock.advance(120)
    await ledgers.forget_windows(world.clock.now())
    assert await world.rows("quota_ledgers") == 0


# Several processes


async def test_processes_together_never_get_more_than_the_limit(world: World) -> None:
    who = caller(tokens(10_000), requests(2000))
    processes = [await world.process() for _ in range(4)]
    got = await asyncio.gather(*(all_that_fits(each, who, 7) for each in processes * 3))
    assert sum(got) <= 10_000 // 7
    # The last tokens are not stranded in anybody's lease, once every process told what it needs.
    async with asyncio.timeout(60):
        while 10_000 - 7 * sum(got) >= 7:
            await asyncio.sleep(0.03)
            got.append(await all_that_fits(processes[0], who, 7))
    assert sum(got) == 10_000 // 7


async def test_what_one_process_leased_and_does_not_use_serves_another_at_once(
    world: World,
) -> None:
    one, other = await world.process(), await world.process()
    who = caller(tokens(64_000))
    await one.reserve(who, 1000)
    assert any(count.granted > count.ceiling for count in one._counts.values())
    assert await all_that_fits(other, who, 1000) >= 61  # all but what the first may use just now
    assert await all_that_fits(one, who, 1000) + 61 <= 63


async def test_who_is_refused_keeps_nothing_from_the_others(world: World) -> None:
    one, other = await world.process(), await world.process()
    who = caller(tokens(24))
    await one.reserve(who, 7)
    await other.reserve(who, 7)
    await refused(one, who, 11)
    await eventually(lambda: _fits(other, who, 10))


async def test_who_has_calls_under_way_and_no_new_ones_keeps_nothing_from_the_others(
    world: World,
) -> None:
    one, other = await world.process(), await world.process()
    who = caller(tokens(1000))
    await one.reserve(who, 7)
    await eventually(lambda: _fits(other, who, 993))


async def _fits(budgets: LeasedBudgets, who: Caller, needed: int) -> bool:
    return await all_that_fits(budgets, who, needed) == 1


async def test_a_dead_process_is_charged_what_it_reserved_and_the_rest_comes_back(
    world: World,
) -> None:
    dying, living = await world.process(), await world.process(dead_seconds=0.2)
    who, quota = caller(tokens(10_000)), Quota.of_operator(tokens(10_000))
    (await dying.reserve(who, 1000)).settle(400)
    for _ in range(3):
        await dying.reserve(who, 500)
    await eventually(lambda: all(c.idle > 1 and not c.queued for c in dying._counts.values()))
    await world.kill(dying)
    margin = 10_000 // 16  # at most so much is reserved ahead of calls
    assert 1900 <= await world.used(living, quota) <= 1900 + margin
    await living.reserve(who, 1)
    await eventually(lambda: _no_lease_but(world, 1))
    assert 1900 <= await world.used(living, quota) <= 1901 + margin
    assert await all_that_fits(living, who, 10) * 10 >= 8100 - margin - 10


async def _no_lease_but(world: World, number: int) -> bool:
    return await world.rows("quota_leases") == number


async def test_a_process_that_seemed_dead_goes_on_and_spends_nothing_twice(world: World) -> None:
    paused, living = await world.process(), await world.process(dead_seconds=0.2)
    who = caller(tokens(10_000))
    reserved = await paused.reserve(who, 3000)
    task = paused._task
    assert task is not None
    task.cancel()  # its background stands still, as the whole of a paused process would
    with suppress(asyncio.CancelledError):
        await task
    await living.reserve(who, 1)
    await eventually(lambda: _no_lease_but(world, 1))
    reserved.settle(0)  # too late: it was charged in full
    await paused.start()
    got = await all_that_fits(paused, who, 100) + await all_that_fits(living, who, 100)
    # Nothing beyond the budget, though below its old mark it may spend what was charged.
    assert got * 100 <= 10_000 - 1
    await eventually(lambda: _no_lease_but(world, 2))


async def test_what_a_paused_process_spends_below_its_old_mark_was_charged(world: World) -> None:
    paused, living = await world.process(), await world.process(dead_seconds=0.2)
    who = caller(tokens(1000))
    (await paused.reserve(who, 1000)).settle(0)
    count = next(iter(paused._counts.values()))
    ceiling = count.ceiling
    await world.kill(paused)
    free = 1000 - ceiling
    await eventually(lambda: _no_lease_but(world, 0))
    assert await all_that_fits(living, who, 10) * 10 <= free


async def test_a_stopped_process_gives_back_everything_but_what_it_used(world: World) -> None:
    leaving, staying = await world.process(), await world.process()
    who = caller(tokens(1000))
    (await leaving.reserve(who, 500)).settle(100)
    await leaving.reserve(who, 200)
    await world.kill(leaving)
    await leaving.stop()
    assert await world.used(staying, Quota.of_operator(tokens(1000))) == 300
    assert await world.rows("quota_leases") == 0
    assert await all_that_fits(staying, who, 100) == 7


async def test_a_burst_after_a_pause_does_not_wait_for_the_database_call_by_call(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets = await world.process(beat_seconds=0.2)
    who = caller(requests(10**6))
    for _ in range(300):
        await budgets.reserve(who, 0)
        await asyncio.sleep(0)
    await eventually(lambda: all(count.idle for count in budgets._counts.values()))
    exchange, exchanges = SqlLedgers.exchange, 0

    async def counted(self: SqlLedgers, process: str, asks: Sequence[LeaseAsk]) -> object:
        nonlocal exchanges
        exchanges += 1
        return await exchange(self, process, asks)

    monkeypatch.setattr(SqlLedgers, "exchange", counted)
    for _ in range(100):
        await budgets.reserve(who, 0)
    assert exchanges < 10


async def test_no_more_is_reserved_ahead_than_steady_calls_use(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = SqlLedgers.exchange

    async def slow(self: SqlLedgers, process: str, asks: Sequence[LeaseAsk]) -> object:
        await asyncio.sleep(0.005)  # several calls go on meanwhile
        return await exchange(self, process, asks)

    monkeypatch.setattr(SqlLedgers, "exchange", slow)
    # Without beats, each of which takes a short pause of this machine for the end of the calls.
    budgets = await world.process(beat_seconds=60)
    who = caller(requests(10**12))
    for _ in range(300):
        await budgets.reserve(who, 0)
        await asyncio.sleep(0.001)
    (count,) = budgets._counts.values()
    assert count.margin <= 4 * 300


async def test_an_idle_process_holds_nothing(world: World) -> None:
    budgets = await world.process()
    (await budgets.reserve(caller(tokens(1000)), 500)).settle(100)
    await eventually(lambda: not budgets._counts)
    await eventually(lambda: _no_lease_but(world, 0))
    assert await world.used(budgets, Quota.of_operator(tokens(1000))) == 100
    assert await all_that_fits(budgets, caller(tokens(1000)), 100) == 9


# The tenant's own quotas


async def test_a_quota_counts_for_its_key_or_task_alone(world: World) -> None:
    budgets = await world.process()
    store = SqlQuotas(await world.database())
    await store.put_quota("acme", Quota("quotas/key", "apiKeys/k1", REQUESTS, DAY, 2))
    await store.put_quota("acme", Quota("quotas/docs", "tasks/docs", REQUESTS, DAY, 3))
    await store.put_quota("globex", Quota("quotas/none", "", REQUESTS, DAY, 0))
    for _ in range(2):
        await budgets.reserve(caller(), 1)
    assert (await refused(budgets, caller())).metadata["quota"] == "quotas/key"
    await budgets.reserve(caller(key="k2", task="docs"), 1)
    assert (await refused(budgets, caller(key="k2"))).metadata["quota"] == "quotas/docs"
    await budgets.reserve(caller(key="k2", task="documents"), 1)
    assert (await refused(budgets, caller(tenant="globex"))).metadata["limit"] == "0"


async def test_a_changed_limit_holds_with_what_was_used_before(world: World) -> None:
    budgets = await world.process()
    store = SqlQuotas(await world.database())
    await store.put_quota("acme", Quota("quotas/q", "", TOKENS, DAY, 1000))
    await budgets.reserve(caller(), 300)
    await store.put_quota("acme", Quota("quotas/q", "", TOKENS, DAY, 310))
    budgets.forget("acme")
    assert (await refused(budgets, caller(), 11)).metadata["limit"] == "310"
    await budgets.reserve(caller(), 10)
    await store.put_quota("acme", Quota("quotas/q", "", TOKENS, DAY, 2000))
    budgets.forget("acme")
    assert await all_that_fits(budgets, caller(), 10) == 169


async def test_many_tenants_that_call_at_once_are_read_together(world: World) -> None:
    class CountingQuotas(SqlQuotas):
        reads = 0

        async def list_quotas(self, tenants: Collection[str]) -> Mapping[str, Sequence[Quota]]:
            self.reads += 1
            return await super().list_quotas(tenants)

    database = await world.database()
    store = CountingQuotas(database)
    budgets = LeasedBudgets(store, SqlLedgers(database), world.clock)
    await budgets.start()
    callers = [caller(tokens(1000), tenant=f"t{number}") for number in range(500)]
    reserved = await asyncio.gather(*(budgets.reserve(each, 10) for each in callers * 2))
    assert store.reads < 10
    for each in reserved:
        each.settle(10)
    await budgets.stop()
    assert await world.rows("quota_leases") == 0


# Faults of the store


class BrokenLedgers(SqlLedgers):
    """Does what it is asked, and loses the answer when told to."""

    lose_answers = False

    async def exchange(self, process, asks):  # type: ignore[no-untyped-def]
        answers = await super().exchange(process, asks)
        if self.lose_answers:
            raise DatabaseUnavailable("gateway")
        return answers


@asynccontextmanager
async def forgetful(world: World) -> AsyncIterator[tuple[LeasedBudgets, BrokenLedgers]]:
    database = await world.database()
    ledgers = BrokenLedgers(database)
    budgets = LeasedBudgets(SqlQuotas(database), ledgers, world.clock, beat_seconds=0.03)
    await budgets.start()
    try:
        yield budgets, ledgers
    finally:
        ledgers.lose_answers = False
        await budgets.stop()


async def test_a_lost_answer_charges_nothing_twice(world: World) -> None:
    who, quota = caller(tokens(1000)), Quota.of_operator(tokens(1000))
    async with forgetful(world) as (budgets, ledgers):
        (await budgets.reserve(who, 300)).settle(100)
        ledgers.lose_answers = True
        with pytest.raises(DatabaseUnavailable):
            await budgets.reserve(who, 800)
        # Idle by now, the lease is closed, and the process does not hear of it.
        await eventually(lambda: _no_lease_but(world, 0))
        await asyncio.sleep(0.1)
        ledgers.lose_answers = False
        assert await all_that_fits(budgets, who, 100) == 9
        assert await world.used(budgets, quota) == 1000
