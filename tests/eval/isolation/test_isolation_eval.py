"""The evaluation at a small size: nothing leaks, and with a guard taken out it says so."""

from __future__ import annotations

from .probes import SHARES
from .run import GUARDS, probe_world
from .worlds import TENANTS, TOPICS, Tally, World, paraphrases


async def small(sabotaged: str = "") -> Tally:
    return await probe_world(1, 900, partitions=24, sabotaged=sabotaged)


async def test_nothing_of_one_tenant_reaches_another() -> None:
    tally = await small()
    assert tally.leaks.total() == 0, tally.examples
    # Every kind was probed, and each found what is one's own.
    assert min(tally.probes[kind] for kind in SHARES) > 0
    for kind in (*SHARES, "audit"):
        assert tally.found[kind] == tally.sought[kind] > 0, kind


async def test_without_its_guards_leaks_of_each_kind_are_reported() -> None:
    tally = await small("1")
    for guard in GUARDS:
        assert tally.leaks[guard] > 0, guard


def test_every_question_has_paraphrases() -> None:
    assert all(len(paraphrases(text)) >= 3 for text in TOPICS.values())


def test_a_word_is_foreign_to_all_but_its_owner() -> None:
    world = World(1, 1)
    word = world.canary("acme")
    assert [tenant for tenant in TENANTS if not world.foreign(f"<{word}>", tenant)] == ["acme"]
