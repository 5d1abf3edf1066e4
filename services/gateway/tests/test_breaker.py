from __future__ import annotations

import pytest

from atrium_gateway.domain.breaker import Breaker, BreakerLimits

LIMITS = BreakerLimits(
    failures=3,
    share=0.5,
    least_calls=10,
    window_seconds=30,
    open_seconds=5,
    most_open_seconds=20,
)


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def breaker(time: Time) -> Breaker:
    return Breaker(LIMITS, time, chance=lambda: 0.5)


def call(breaker: Breaker, *, fails: bool, tenant: str = "acme") -> None:
    assert breaker.allows
    probe = breaker.begin()
    (breaker.failed if fails else breaker.succeeded)(tenant, probe=probe)


def fail(breaker: Breaker, times: int, tenant: str = "acme") -> None:
    for _ in range(times):
        call(breaker, fails=True, tenant=tenant)


def test_failures_in_a_row_open_it_and_an_answer_between_them_does_not(breaker: Breaker) -> None:
    fail(breaker, 2)
    call(breaker, fails=False)
    fail(breaker, 2)
    assert breaker.allows
    fail(breaker, 1)
    assert not breaker.allows
    assert breaker.seconds_left == 5


def test_a_large_share_of_failures_opens_it(breaker: Breaker) -> None:
    for _ in range(4):
        call(breaker, fails=False)
        call(breaker, fails=True)
    assert breaker.allows  # fewer calls than a share needs
    call(breaker, fails=False)
    call(breaker, fails=True)
    assert not breaker.allows


def test_failures_of_an_earlier_window_are_forgotten(breaker: Breaker, time: Time) -> None:
    for _ in range(4):
        call(breaker, fails=False)
        call(breaker, fails=True)
    time.now = 31
    call(breaker, fails=False)
    call(breaker, fails=True)
    assert breaker.allows


def test_a_row_of_failures_reaches_over_the_end_of_a_window(breaker: Breaker, time: Time) -> None:
    fail(breaker, 2)
    time.now = 31
    fail(breaker, 1)
    assert not breaker.allows


def test_one_probe_at_a_time_is_let_through_and_its_answer_closes_it(
    breaker: Breaker, time: Time
) -> None:
    fail(breaker, 3)
    time.now = 5
    assert breaker.allows
    probe = breaker.begin()
    assert probe
    assert not breaker.allows  # while the probe runs
    breaker.succeeded("acme", probe=probe)
    assert breaker.allows
    assert not breaker.is_open
    fail(breaker, 2)
    assert breaker.allows  # it counts anew


def test_a_failed_probe_doubles_the_rest_up_to_a_limit(breaker: Breaker, time: Time) -> None:
    fail(breaker, 3)
    rests = []
    for _ in range(4):
        time.now += breaker.seconds_left
        fail(breaker, 1)
        rests.append(breaker.seconds_left)
    assert rests == [10, 20, 20, 20]
    time.now += 20
    call(breaker, fails=False)
    fail(breaker, 3)
    assert breaker.seconds_left == 5


def test_a_probe_whose_caller_left_lets_the_next_one_probe(breaker: Breaker, time: Time) -> None:
    fail(breaker, 3)
    time.now = 5
    breaker.left(probe=breaker.begin())
    assert breaker.is_open
    call(breaker, fails=False)
    assert not breaker.is_open


def test_one_tenants_bad_requests_do_not_take_the_server_from_others(breaker: Breaker) -> None:
    call(breaker, fails=False, tenant="globex")
    fail(breaker, 50, tenant="acme")
    assert breaker.allows
    call(breaker, fails=True, tenant="globex")
    assert not breaker.allows


def test_calls_under_way_when_it_opens_do_not_prolong_the_rest(
    breaker: Breaker, time: Time
) -> None:
    begun = [breaker.begin() for _ in range(5)]
    for probe in begun[:3]:
        breaker.failed("acme", probe=probe)
    time.now = 3
    for probe in begun[3:]:
        breaker.failed("acme", probe=probe)
    assert breaker.seconds_left == 2


def test_rests_are_spread(time: Time) -> None:
    rests = []
    for chance in (0.0, 1.0):
        breaker = Breaker(LIMITS, time, chance=lambda chance=chance: chance)
        fail(breaker, 3)
        rests.append(breaker.seconds_left)
    assert rests == pytest.approx([4, 6])
