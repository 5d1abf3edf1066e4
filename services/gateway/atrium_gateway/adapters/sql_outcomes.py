"""Outcomes of replies in the service's database."""

from __future__ import annotations

from datetime import date

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite

from atrium_gateway.adapters.tables import outcomes
from atrium_gateway.domain.outcomes import Generation, Outcome, OutcomeCount
from atrium_shared.database import Database


class SqlOutcomes:
    """One row for each reply that somebody told of.

    Args:
        database: The service's database, started.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, tenant: str, generation: Generation, outcome: Outcome) -> None:
        """Keep an outcome in place of the one told before; see ``OutcomeStore``."""
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        statement = insert(outcomes).values(
            tenant=tenant,
            generation=generation.id,
            day=generation.day,
            task=generation.task,
            model=generation.model,
            outcome=outcome.value,
        )
        statement = statement.on_conflict_do_update(
            index_elements=["tenant", "generation"],
            set_={"outcome": statement.excluded.outcome},
        )
        async with self._database.write() as session:
            await session.execute(statement)

    async def count_by_model(
        self, tenant: str, start: date, end: date
    ) -> dict[tuple[str, str], OutcomeCount]:
        """Return how many there are by task and model; see ``OutcomeStore``."""
        task, model, outcome, day = (
            outcomes.c.task,
            outcomes.c.model,
            outcomes.c.outcome,
            outcomes.c.day,
        )
        query = (
            select(task, model, outcome, func.count().label("replies"))
            .where(outcomes.c.tenant == tenant, day >= start, day <= end)
            .group_by(task, model, outcome)
        )
        async with self._database.read() as session:
            rows = (await session.execute(query)).all()
        told: dict[tuple[str, str], dict[str, int]] = {}
        for row in rows:
            told.setdefault((row.task, row.model), {})[row.outcome] = row.replies
        return {key: OutcomeCount(**counts) for key, counts in told.items()}
