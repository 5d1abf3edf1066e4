"""What the gateway keeps of outcomes and usage, on SQLite and on a real PostgreSQL server."""

from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import pytest

import atrium_gateway
from atrium_gateway.adapters.sql_outcomes import SqlOutcomes
from atrium_gateway.adapters.sql_usage import SqlUsage
from atrium_gateway.domain.outcomes import Generation, Outcome, OutcomeCount
from atrium_gateway.domain.usage import UsageCount, UsageKey
from atrium_shared.database import Database
from atrium_shared.engines import Usage

MIGRATIONS = Path(atrium_gateway.__file__).parent / "migrations"
DAYS = date(2030, 1, 1), date(2030, 1, 31)
KEY = "minutes.write", "models/m"


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    if request.param == "sqlite":
        url = f"sqlite+aiosqlite:///{tmp_path}/gateway.db"
    else:
        url = f"postgresql+asyncpg://{request.getfixturevalue('postgres_url')}"
    database = Database(url, migrations=MIGRATIONS, name="gateway_outcomes")
    await database.start()
    yield database
    await database.close()


async def test_the_last_outcome_of_a_reply_counts_for_its_own_tenant_and_day(
    database: Database,
) -> None:
    outcomes = SqlOutcomes(database)
    replies = [Generation(f"g{number}", *KEY, date(2030, 1, 2)) for number in range(3)]
    for reply in replies:
        await outcomes.put("acme", reply, Outcome.REJECTED)
    await outcomes.put("acme", replies[0], Outcome.ACCEPTED)
    await outcomes.put("globex", replies[1], Outcome.ACCEPTED)
    await outcomes.put("acme", Generation("g9", *KEY, date(2029, 12, 31)), Outcome.EDITED)
    assert await outcomes.count_by_model("acme", *DAYS) == {KEY: OutcomeCount(1, 0, 2)}
    assert await outcomes.count_by_model("globex", *DAYS) == {KEY: OutcomeCount(1)}
    assert await outcomes.count_by_model("initech", *DAYS) == {}


async def test_usage_is_summed_by_task_and_model_in_whole_numbers(database: Database) -> None:
    usage = SqlUsage(database)
    much = 2**53 + 1  # more than a float holds
    for day in (2, 3):
        key = UsageKey("acme", date(2030, 1, day), *KEY)
        await usage.add({key: UsageCount(1, 0, Usage(prompt_tokens=much))})
    summed = await usage.sum_by_model("acme", *DAYS)
    assert summed == {KEY: UsageCount(2, 0, Usage(prompt_tokens=2 * much))}
    assert type(summed[KEY].usage.prompt_tokens) is int
