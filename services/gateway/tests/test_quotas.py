"""What quotas are, whose use they count, and how a budget is divided."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atrium_gateway.domain.errors import QuotaInvalid
from atrium_gateway.domain.quotas import (
    Lease,
    LeaseAsk,
    Quota,
    QuotaOrigin,
    allot,
    binding,
    check_tenants_quota,
    subjects,
    window_of,
)
from atrium_shared.principal import QuotaUnit, QuotaWindow, TenantQuota

TOKENS, REQUESTS = QuotaUnit.TOKENS, QuotaUnit.REQUESTS
MINUTE, DAY, MONTH = QuotaWindow.MINUTE, QuotaWindow.DAY, QuotaWindow.MONTH


def quota(name: str = "quotas/q", subject: str = "", limit: int = 10) -> Quota:
    return Quota(name, subject, TOKENS, DAY, limit)


# Bad input


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (quota(limit=-1), "quota.limit"),
        (quota(limit=10**15 + 1), "quota.limit"),
        (quota(name="quotas/operator-tokens-day"), "quota.name"),
        (quota(name="quotas/operator-"), "quota.name"),
        (quota(name="routes/q"), "quota.name"),
        (quota(name="quotas/Q"), "quota.name"),
        (quota(name="quotas/" + "q" * 64), "quota.name"),
        (quota(subject="k1"), "quota.subject"),
        (quota(subject="users/lin"), "quota.subject"),
        (quota(subject="apiKeys/"), "quota.subject"),
        (quota(subject="apiKeys/a b"), "quota.subject"),
        (quota(subject="apiKeys/k1/tasks/x"), "quota.subject"),
        (quota(subject="tasks/"), "quota.subject"),
        (quota(subject="tasks/docs."), "quota.subject"),
        (quota(subject="tasks/Docs"), "quota.subject"),
        (quota(subject="tasks/" + "d" * 65), "quota.subject"),
        (quota(subject="tasks/docs\n"), "quota.subject"),
        (quota(subject=" "), "quota.subject"),
    ],
)
def test_a_quota_that_cannot_be_is_refused_with_what_was_expected(wrong: Quota, field: str) -> None:
    with pytest.raises(QuotaInvalid) as refused:
        check_tenants_quota(wrong)
    assert refused.value.field == field
    assert refused.value.metadata["problem"]


@pytest.mark.parametrize(
    "right",
    [
        quota(limit=0),
        quota(limit=10**15),
        quota(name="quotas/operators"),
        quota(name="quotas/operator"),
        quota(subject="apiKeys/k1"),
        quota(subject="tasks/docs"),
        quota(subject="tasks/docs.continue.zh-en"),
    ],
)
def test_quotas_at_the_edge_can_be_set(right: Quota) -> None:
    check_tenants_quota(right)


# What counts


def test_a_call_counts_for_the_tenant_its_key_its_task_and_the_tasks_above() -> None:
    assert list(subjects("apiKeys/k1", "docs.continue.zh")) == [
        "",
        "apiKeys/k1",
        "tasks/docs.continue.zh",
        "tasks/docs.continue",
        "tasks/docs",
    ]


def test_of_quotas_that_share_a_count_the_least_binds() -> None:
    operator = Quota.of_operator(TenantQuota(TOKENS, DAY, 100))
    stricter, looser = quota("quotas/a", limit=50), quota("quotas/b", limit=500)
    other = quota("quotas/c", "tasks/docs", limit=500)
    limits = binding([operator, stricter, looser, other])
    assert sorted(each.name for each in limits.values()) == ["quotas/a", "quotas/c"]
    assert operator.origin is QuotaOrigin.OPERATOR
    assert operator.name == "quotas/operator-tokens-day"


@pytest.mark.parametrize(
    ("window", "start", "end"),
    [
        (MINUTE, "2028-02-29T23:59", "2028-03-01T00:00"),
        (QuotaWindow.HOUR, "2028-02-29T23:00", "2028-03-01T00:00"),
        (DAY, "2028-02-29T00:00", "2028-03-01T00:00"),
        (MONTH, "2028-02-01T00:00", "2028-03-01T00:00"),
    ],
)
def test_windows_begin_and_end_in_utc(window: QuotaWindow, start: str, end: str) -> None:
    now = datetime(2028, 3, 1, 7, 59, 59, tzinfo=timezone(timedelta(hours=8)))
    expected = tuple(datetime.fromisoformat(each).replace(tzinfo=UTC) for each in (start, end))
    assert window_of(window, now) == expected


@pytest.mark.parametrize("month", range(1, 13))
def test_a_month_ends_when_the_next_begins(month: int) -> None:
    start, end = window_of(MONTH, datetime(2030, month, 28, tzinfo=UTC))
    assert end == window_of(MONTH, end)[0]
    assert start < end <= start + timedelta(days=31)


# Dividing


def ask(limit: int = 1000, **more: object) -> LeaseAsk:
    end = datetime(2030, 1, 1, tzinfo=UTC)
    return LeaseAsk("l", "acme", end, limit, **{"floor": 0, "used": 0, **more})  # type: ignore[arg-type]


def test_a_need_larger_than_what_is_left_is_not_met_and_a_smaller_one_behind_it_is() -> None:
    answer = allot(ask(needs=[300, 50]), granted=900, lease=Lease())
    assert (answer.unmet, answer.lease.mark, answer.remaining) == (300, 50, 100)


def test_what_a_process_holds_already_serves_its_needs_first() -> None:
    answer = allot(ask(used=100, floor=100, needs=[300]), granted=1000, lease=Lease(400, 100))
    assert answer.unmet == 0
    assert answer.lease == Lease(400, 400)


def test_more_used_than_was_reserved_is_charged_beyond_the_limit() -> None:
    answer = allot(ask(used=1200, floor=1200), granted=1000, lease=Lease(1000, 1000))
    assert answer.lease.mark == 1200
    assert answer.remaining == 0


def test_a_lease_over_a_lowered_limit_gives_back_all_but_what_was_used() -> None:
    answer = allot(
        ask(limit=100, used=300, floor=300, margin=50, block=100, needs=[1]),
        granted=900,
        lease=Lease(500, 400),
    )
    assert answer.lease == Lease(300, 300)
    assert answer.unmet == 1


AMOUNTS = st.integers(0, 500)


@given(
    limit=st.integers(0, 2000),
    others=AMOUNTS,
    granted=AMOUNTS,
    used=AMOUNTS,
    ahead=AMOUNTS,
    needs=st.lists(AMOUNTS, max_size=5),
    margin=AMOUNTS,
    block=AMOUNTS,
)
def test_no_division_grants_more_than_the_limit_or_marks_less_than_was_promised(
    limit: int,
    others: int,
    granted: int,
    used: int,
    ahead: int,
    needs: list[int],
    margin: int,
    block: int,
) -> None:
    used = min(used, granted)
    floor = min(granted, used + ahead)
    asked = ask(limit, used=used, floor=floor, needs=needs, margin=margin, block=block)
    lease = allot(asked, others + granted, Lease(granted, floor)).lease
    assert floor <= lease.mark <= lease.granted
    # Where less was promised before than the limit is now, nothing more is granted.
    assert others + lease.granted <= max(limit, others + floor)
    assert lease.mark <= asked.wanted_mark
