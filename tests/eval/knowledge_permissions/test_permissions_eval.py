"""The evaluation at a small size: nothing leaks, and with a guard taken out it says so."""

from __future__ import annotations

import math

import pytest

from .run import compare, interrogate_all
from .running import Tally
from .timing import mann_whitney
from .worlds import Policy, Rule, World, canaries_in


async def small(sabotaged: str = "", worlds: int = 1) -> Tally:
    return await interrogate_all(
        range(worlds), sabotaged=sabotaged, documents=10, users=6, rounds=2, questions=5
    )


async def test_no_canary_shows_where_it_may_not() -> None:
    tally = await small()
    assert tally.counts["cases"] == 60
    assert tally.leaks.total() == 0, tally.examples
    assert tally.counts["permitted found"] >= 0.99 * tally.counts["permitted"]
    # Something was there to be leaked and to be found, and every channel was looked at.
    assert tally.counts["permitted"] > 5
    assert tally.counts["forbidden"] > 10
    assert min(tally.looks.values()) > 0
    assert tally.counts["cases over gRPC"] > 0
    assert {"candidates", "prompts", "memory", "logs", "refusals", "stored feedback"} <= set(
        tally.looks
    )


async def test_without_the_permission_filter_leaks_are_reported() -> None:
    tally = await small("1")
    for channel in ("candidates", "search", "prompts", "answers", "citations", "lists"):
        assert tally.leaks[channel] > 0, channel


async def test_an_index_that_ignores_who_asks_is_reported_though_the_records_hold_it_back() -> None:
    tally = await small("index")
    assert tally.leaks["candidates"] > 0
    assert tally.leaks["search"] == tally.leaks["prompts"] == tally.leaks["answers"] == 0


@pytest.mark.parametrize("sabotaged", ["", "1"])
async def test_replies_equal_those_without_the_hidden_documents_unless_the_filter_is_out(
    sabotaged: str,
) -> None:
    tally = await compare(5, documents=8, users=5, readers=2, questions=5, sabotaged=sabotaged)
    assert tally.looks["compared replies"] == 10
    assert tally.looks["compared lists"] == 2
    assert (tally.leaks.total() > 0) == bool(sabotaged), tally.examples


def test_a_deny_wins_over_every_role_however_it_came() -> None:
    policy = Policy(
        rules={
            "all": [Rule("labels/*", "read", True)],
            "no-pay": [Rule("labels/hr/pay", "*", False)],
            "write": [Rule("labels/sales", "write", True)],
        },
        inherits={"all": ["no-pay"], "no-pay": [], "write": []},
        groups={"g": (["ann"], ["all"])},
        users={"ann": ["write"], "bob": ["write"]},
    )
    assert "hr/pay" not in policy.readable_labels("ann")
    assert "hr/leave" in policy.readable_labels("ann")
    assert policy.readable_labels("bob") == frozenset()


def test_every_passage_has_a_canary_of_its_own() -> None:
    documents = list(World(1, 30, 5).documents.values())
    facts = [fact for one in documents for fact in one.facts()]
    assert len({fact.canary for fact in facts}) == len(facts)
    assert all(canaries_in(fact.text) == {fact.canary} for fact in facts)


@pytest.mark.parametrize(
    ("one", "other", "p_value"),
    # By hand: U = 0 of 16 with n = m = 4; U = 8 is the mean.
    [
        ([1, 2, 3, 4], [5, 6, 7, 8], 0.0209),
        ([1, 4, 5, 8], [2, 3, 6, 7], 1.0),
        ([1, 1], [1, 1], 1.0),
    ],
)
def test_the_rank_sum_test_tells_samples_apart(
    one: list[float], other: list[float], p_value: float
) -> None:
    assert math.isclose(mann_whitney(one, other), p_value, abs_tol=1e-4)
