"""Clocks and identifiers."""

from __future__ import annotations

from datetime import UTC, datetime

from atrium_shared.clock import FixedClock, RandomIds, SequentialIds, SystemClock


def test_a_fixed_clock_moves_only_when_told() -> None:
    clock = FixedClock(datetime(2030, 1, 1, tzinfo=UTC))
    assert (clock.now(), clock.monotonic()) == (datetime(2030, 1, 1, tzinfo=UTC), 0)
    clock.advance(1.5)
    assert clock.now() == datetime(2030, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)
    assert clock.monotonic() == 1.5


def test_the_system_clock_is_aware_and_does_not_go_back() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() <= clock.monotonic()


def test_random_ids_differ_and_suit_a_resource_name() -> None:
    ids = {RandomIds().new("d") for _ in range(1000)}
    assert len(ids) == 1000
    assert all(i.startswith("d") and len(i) == 17 and i.isalnum() and i.islower() for i in ids)


def test_sequential_ids_count_each_prefix() -> None:
    ids = SequentialIds()
    assert [ids.new("d"), ids.new("d"), ids.new("c")] == ["d1", "d2", "c1"]
