"""What a task cost on each model, and which cheaper one would do by the measured outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from atrium_gateway.domain.models import Price, plain_decimal
from atrium_gateway.domain.outcomes import NO_OUTCOMES, OutcomeCount
from atrium_gateway.domain.usage import UsageCount

_MAY_BE_LESS = 0.05
"""By how much the lower end of a cheaper model's interval may lie below a dearer one's share."""


@dataclass(frozen=True, slots=True)
class ModelCost:
    """One model's part in a task.

    Attributes:
        model: Resource name.
        count: Calls and tokens.
        price: The model's price now; None when it has none.
        outcomes: What became of its replies.
    """

    model: str
    count: UsageCount
    price: Price | None
    outcomes: OutcomeCount = NO_OUTCOMES

    @property
    def cost(self) -> Decimal | None:
        """What its tokens cost; None when it has no price."""
        return None if self.price is None else self.price.of(self.count.usage)

    def would_cost(self, other: ModelCost) -> Decimal:
        """Return what the tokens of another model would have cost here; nothing without price."""
        return Decimal(0) if self.price is None else self.price.of(other.count.usage)


@dataclass(frozen=True, slots=True)
class TaskCost:
    """One task.

    Attributes:
        task: The task.
        models: Its models, dearest first.
        suggested_model: A cheaper model that would do, or "".
        saving: What the period would have cost less with it.
        reason: Why it is suggested, or why none is.
    """

    task: str
    models: Sequence[ModelCost]
    suggested_model: str
    saving: Decimal
    reason: str

    @property
    def cost(self) -> Decimal:
        """What all its models cost together."""
        return sum((each.cost or Decimal(0) for each in self.models), Decimal(0))


def cost_of_task(task: str, models: Iterable[ModelCost]) -> TaskCost:
    """Return what a task cost and which cheaper model would do.

    A model would do in place of a dearer one when the lower end of its 95 % interval of replies
    taken as they were is at most five points below the dearer one's share, so that few outcomes
    suggest nothing. Of several, the one that saves most is suggested.
    """
    ordered = sorted(models, key=lambda each: (-(each.cost or Decimal(0)), each.model))
    best, saving = None, Decimal(0)
    dearest = ordered[0]
    for cheaper in ordered:
        saved = _saved_on(dearest, cheaper)
        if saved <= 0:
            continue
        saved += sum(
            (_saved_on(other, cheaper) for other in ordered if other is not dearest), Decimal(0)
        )
        if saved > saving:
            best, saving = cheaper, saved
    if best is None:
        return TaskCost(task, ordered, "", Decimal(0), _why_none(ordered))
    return TaskCost(task, ordered, best.model, saving, _why(dearest, best))


def _saved_on(dearer: ModelCost, cheaper: ModelCost) -> Decimal:
    """Return what the cheaper model saves; 0 when it saves nothing or would not do."""
    if dearer is cheaper or dearer.cost is None or not _would_do(dearer, cheaper):
        return Decimal(0)
    return max(dearer.cost - cheaper.would_cost(dearer), Decimal(0))


def _would_do(dearer: ModelCost, cheaper: ModelCost) -> bool:
    if not dearer.outcomes.total or not cheaper.outcomes.total:
        return False
    low, _ = cheaper.outcomes.accepted_interval
    return low >= dearer.outcomes.accepted_share - _MAY_BE_LESS


def _why(dearest: ModelCost, best: ModelCost) -> str:
    low, _ = best.outcomes.accepted_interval
    instead = plain_decimal(dearest.cost or Decimal(0))
    return (
        f"{_told(best)} (at least {low:.1%}), {_told(dearest)}; the tokens of {dearest.model} "
        f"would have cost {plain_decimal(best.would_cost(dearest))} instead of {instead}."
    )


def _why_none(ordered: Sequence[ModelCost]) -> str:
    dearest = ordered[0]
    if not dearest.cost:
        return "No model of this task cost anything."
    cheaper = [
        each
        for each in ordered
        if each is not dearest and each.would_cost(dearest) < (dearest.cost or 0)
    ]
    if not cheaper:
        return (
            "No cheaper model served this task. Give one a small weight in its route, and record "
            "outcomes, to compare them."
        )
    silent = [each.model for each in (dearest, *cheaper) if not each.outcomes.total]
    if silent:
        return f"No outcomes were recorded for {', '.join(silent)}; RecordOutcome takes them."
    closest = max(cheaper, key=lambda each: each.outcomes.accepted_interval[0])
    low, _ = closest.outcomes.accepted_interval
    return (
        f"It is not certain that a cheaper model does: {_told(closest)} (at least {low:.1%}), "
        f"{_told(dearest)}. More outcomes would tell."
    )


def _told(cost: ModelCost) -> str:
    outcomes = cost.outcomes
    return (
        f"{cost.model} was taken as it was in {outcomes.accepted_share:.1%} of "
        f"{outcomes.total} outcomes"
    )
