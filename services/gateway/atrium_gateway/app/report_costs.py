"""Tells what each task cost on each model, and which cheaper one would do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from atrium_gateway.app.catalog import Catalog
from atrium_gateway.app.meter_usage import MeterUsage
from atrium_gateway.app.ports import OutcomeStore, UsageStore
from atrium_gateway.app.usage_period import usage_days
from atrium_gateway.domain.costs import ModelCost, TaskCost, cost_of_task
from atrium_gateway.domain.outcomes import OutcomeCount
from atrium_gateway.domain.usage import UsageCount
from atrium_shared.clock import Clock
from atrium_shared.principal import Principal


@dataclass(frozen=True, slots=True)
class CostReport:
    """Tasks, dearest first, and the currency of all costs; "" when no model has a price."""

    tasks: Sequence[TaskCost]
    currency: str


class ReportCosts:
    """Use case of ``ReportCosts``. Tokens are counted at the prices that hold now.

    Args:
        usage: The stored sums.
        meter: Stores what was counted last, so that a caller sees its own calls.
        outcomes: What became of replies.
        catalog: The models and their prices.
        clock: Says what now is.
    """

    def __init__(
        self,
        usage: UsageStore,
        meter: MeterUsage,
        outcomes: OutcomeStore,
        catalog: Catalog,
        clock: Clock,
    ) -> None:
        self._usage = usage
        self._meter = meter
        self._outcomes = outcomes
        self._catalog = catalog
        self._clock = clock

    async def __call__(
        self, principal: Principal, start: datetime | None, end: datetime | None
    ) -> CostReport:
        """Return the costs of the tenant's tasks.

        Args:
            principal: Who asks.
            start: A moment of the first day (UTC); None for 30 days ago.
            end: First moment no longer included; None for now.

        Raises:
            UsagePeriodInvalid: The period is empty.
        """
        first, last = usage_days(start, end, self._clock.now())
        await self._meter.flush()
        sums = await self._usage.sum_by_model(principal.tenant, first, last)
        outcomes = await self._outcomes.count_by_model(principal.tenant, first, last)
        costs: defaultdict[str, list[ModelCost]] = defaultdict(list)
        # An outcome may be told of a reply whose usage was lost with a killed process.
        for task, model in sorted({*sums, *outcomes}):
            key = task, model
            served = self._catalog.find(model)
            costs[task].append(
                ModelCost(
                    model,
                    sums.get(key, UsageCount()),
                    served.model.price if served is not None else None,
                    outcomes.get(key, OutcomeCount()),
                )
            )
        tasks = [cost_of_task(task, models) for task, models in costs.items()]
        tasks.sort(key=lambda each: (-each.cost, each.task))
        return CostReport(tasks, self._catalog.currency)
