"""What holding to quotas costs a call: `make bench BENCH=quotas`.

Reserves and settles against three quotas, as each call does: of one busy tenant, and of 700 tenants
with quotas of their own at 1,400 calls a second, on SQLite on disk.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import atrium_gateway
from atrium_gateway.adapters.sql_quotas import SqlLedgers, SqlQuotas
from atrium_gateway.app.budgets import LeasedBudgets
from atrium_gateway.app.caller import Caller
from atrium_shared.clock import SystemClock
from atrium_shared.database import Database
from atrium_shared.principal import QuotaUnit, QuotaWindow, TenantQuota
from atrium_shared.testing import make_principal
from tests.figures import Figures

MIGRATIONS = Path(atrium_gateway.__file__).parent / "migrations"
QUOTAS = (
    TenantQuota(QuotaUnit.TOKENS, QuotaWindow.DAY, 10**9),
    TenantQuota(QuotaUnit.TOKENS, QuotaWindow.MONTH, 10**10),
    TenantQuota(QuotaUnit.REQUESTS, QuotaWindow.HOUR, 10**7),
)
CALLS = 100_000
TENANTS = 700
CALLS_A_SECOND = 1400
SECONDS = 12.0
WARM_SECONDS = 4.0


def caller(tenant: str) -> Caller:
    return Caller(replace(make_principal(tenant=tenant), quotas=QUOTAS), "docs.continue")


async def one_tenant(budgets: LeasedBudgets, figures: Figures) -> None:
    who = caller("busy")
    times = []
    for _ in range(3):
        started = time.process_time()
        for number in range(CALLS):
            (await budgets.reserve(who, 700)).settle(120)
            if number % 50 == 0:
                await asyncio.sleep(0)
        times.append((time.process_time() - started) / CALLS)
    figures.add(
        "reserve_and_settle", statistics.median(times) * 1e6, "us of CPU", n=3 * CALLS, target=30,
        at_most=True,
    )  # fmt: skip


async def many_tenants(budgets: LeasedBudgets, figures: Figures) -> None:
    callers = [caller(f"tenant{number}") for number in range(TENANTS)]
    waits: list[float] = []

    async def one(number: int) -> None:
        started = time.perf_counter()
        reserved = await budgets.reserve(callers[number % TENANTS], 700)
        waits.append(time.perf_counter() - started)
        await asyncio.sleep(0.02)
        reserved.settle(120)

    number, started, warm, cpu = 0, time.perf_counter(), 0, 0.0
    async with asyncio.TaskGroup() as group:
        while (now := time.perf_counter() - started) < SECONDS:
            if not warm and now > WARM_SECONDS:
                warm, cpu = len(waits), time.process_time()
            while number < now * CALLS_A_SECOND:
                group.create_task(one(number))
                number += 1
            await asyncio.sleep(0.005)
        cpu = time.process_time() - cpu
    waits = sorted(waits[warm:])
    seconds = SECONDS - WARM_SECONDS
    figures.add("700_tenants.p50", statistics.median(waits) * 1e6, "us", n=len(waits))
    waited = sum(wait > 0.0005 for wait in waits) / len(waits)
    figures.add("700_tenants.waited_for_database", waited, "share", n=len(waits))
    figures.add(
        "700_tenants.cpu", cpu / seconds, "cores, the calls' own tasks included", n=len(waits)
    )


async def main() -> int:
    figures = Figures("bench", "quotas")
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite+aiosqlite:///{folder}/gateway.db"
        database = Database(url, migrations=MIGRATIONS, name="gateway")
        await database.start()
        budgets = LeasedBudgets(SqlQuotas(database), SqlLedgers(database), SystemClock())
        await budgets.start()
        await one_tenant(budgets, figures)
        await many_tenants(budgets, figures)
        await budgets.stop()
        await database.close()
    return 1 if figures.missed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
