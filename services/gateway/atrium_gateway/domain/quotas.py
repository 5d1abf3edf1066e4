"""Limits on what a tenant, a key or a task may use, and how one budget is shared by processes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from atrium_gateway.domain.errors import QuotaInvalid
from atrium_shared.principal import QuotaUnit, QuotaWindow, TenantQuota

QUOTA_PREFIX = "quotas/"
OPERATOR_PREFIX = "quotas/operator-"
MOST_QUOTAS = 500
"""Most quotas that a tenant may set."""

_NAME = re.compile(r"quotas/[a-z][a-z0-9-]{0,62}")
_SUBJECT = re.compile(
    r"|apiKeys/[A-Za-z0-9][A-Za-z0-9._-]{0,127}|tasks/[a-z][a-z0-9_-]*([.][a-z0-9_-]+)*"
)
_MOST_TASK_CHARS = 64
_MOST_LIMIT = 10**15
# No process takes more than this part of what is left ahead of its calls.
_SHARES = 8
_EXPECTED_SUBJECT = (
    'expected "" for the whole tenant, "apiKeys/ID" for a key, or "tasks/TASK" for a task and the '
    'tasks below it, such as "tasks/docs.continue"'
)


class QuotaOrigin(StrEnum):
    """Who set a quota."""

    OPERATOR = "operator"
    TENANT = "tenant"


@dataclass(frozen=True, slots=True)
class Quota:
    """At most ``limit`` of ``unit`` in each ``window``.

    Attributes:
        name: Resource name, ``"quotas/assistant-daily"``.
        subject: Whose use counts: ``"apiKeys/k1"``, ``"tasks/docs.continue"``, or empty for the
            whole tenant.
        unit: What is counted.
        window: Over which time.
        limit: Most in one window; 0 stops all use.
        origin: Who set it.
    """

    name: str
    subject: str
    unit: QuotaUnit
    window: QuotaWindow
    limit: int
    origin: QuotaOrigin = QuotaOrigin.TENANT

    @classmethod
    def of_operator(cls, quota: TenantQuota) -> Quota:
        """Return what the operator allows a tenant, under a name that no tenant can set."""
        name = f"{OPERATOR_PREFIX}{quota.unit.value}-{quota.window.value}"
        return cls(name, "", quota.unit, quota.window, quota.limit, QuotaOrigin.OPERATOR)

    @property
    def counter(self) -> CounterName:
        """What is counted. Quotas that differ only in name and limit share one count."""
        return CounterName(self.subject, self.unit, self.window)


@dataclass(frozen=True, slots=True, order=True)
class CounterName:
    """Whose use of what is counted over which time, within one tenant."""

    subject: str
    unit: QuotaUnit
    window: QuotaWindow

    def ledger(self, tenant: str, start: datetime) -> str:
        """Return the key of the count in one window, unique over all tenants."""
        moment = start.strftime("%Y%m%dT%H%M")
        return f"{tenant}|{self.subject}|{self.unit.value}|{self.window.value}|{moment}"


def check_tenants_quota(quota: Quota) -> None:
    """Do nothing when a tenant may set this quota.

    Raises:
        QuotaInvalid: It may not.
    """
    if quota.name.startswith(OPERATOR_PREFIX):
        raise QuotaInvalid(
            "quota.name",
            quota.name,
            f'names that begin with "{OPERATOR_PREFIX}" are the operator\'s; choose another',
        )
    if not _NAME.fullmatch(quota.name):
        raise QuotaInvalid(
            "quota.name",
            quota.name,
            'expected "quotas/" and 1 to 63 of a-z, 0-9 and -, beginning with a letter',
        )
    task = quota.subject.removeprefix("tasks/")
    too_long = task != quota.subject and len(task) > _MOST_TASK_CHARS
    if too_long or not _SUBJECT.fullmatch(quota.subject):
        raise QuotaInvalid("quota.subject", quota.subject, _EXPECTED_SUBJECT)
    if not 0 <= quota.limit <= _MOST_LIMIT:
        raise QuotaInvalid("quota.limit", str(quota.limit), f"expected 0 to {_MOST_LIMIT}")


def subjects(credential: str, task: str) -> Iterator[str]:
    """Yield every subject that a call counts for.

    Args:
        credential: Resource name of the caller's key.
        task: Task of the call; the tasks above it count too.
    """
    yield ""
    yield credential
    while task:
        yield f"tasks/{task}"
        task = task.rpartition(".")[0]


def binding(quotas: Iterable[Quota]) -> dict[CounterName, Quota]:
    """Return the quota that binds of those that share a count: the one with the least limit."""
    least: dict[CounterName, Quota] = {}
    for quota in quotas:
        other = least.get(quota.counter)
        if other is None or quota.limit < other.limit:
            least[quota.counter] = quota
    return least


def window_of(window: QuotaWindow, now: datetime) -> tuple[datetime, datetime]:
    """Return the first moment of the running window and of the next, in UTC.

    Args:
        window: Which kind.
        now: Any moment of it; aware.
    """
    now = now.astimezone(UTC)
    match window:
        case QuotaWindow.MINUTE:
            start = now.replace(second=0, microsecond=0)
            return start, start + timedelta(minutes=1)
        case QuotaWindow.HOUR:
            start = now.replace(minute=0, second=0, microsecond=0)
            return start, start + timedelta(hours=1)
        case QuotaWindow.DAY:
            start = now.replace(hour=0, minute=0, second=0, microsecond=0)
            return start, start + timedelta(days=1)
        case QuotaWindow.MONTH:
            start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
            return start, (start + timedelta(days=31)).replace(day=1)


@dataclass(frozen=True, slots=True)
class Lease:
    """What one process holds of a budget.

    Attributes:
        granted: Taken from the budget for this process.
        mark: The part of it that is charged if the process dies: at least what it has settled and
            reserved, for it reserves below the mark only. The rest is nobody's yet, and any
            process may take it back.
    """

    granted: int = 0
    mark: int = 0


@dataclass(frozen=True, slots=True)
class Charged:
    """What is used of a budget.

    Attributes:
        settled: By processes that hold no lease of it any more.
        marks: Of each process that holds one: used or reserved, or about to be.
    """

    settled: int
    marks: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LeaseAsk:
    """What a process wants of one budget.

    Attributes:
        ledger: Key of the budget.
        tenant: Whose budget.
        window_end: When its window ends.
        limit: Most that all processes together may be granted.
        floor: The mark must not become less: the process reserves below this without asking. At
            least ``used``.
        used: Settled and reserved since the lease began.
        needs: Calls that wait, first come first.
        margin: How far the mark should lie ahead of what is used.
        block: How much more than the mark to hold.
        whole: Whether to divide the budget itself anew; otherwise only the mark moves, as far as
            the lease allows.
        held: Whether the process has had a lease of this budget. When there is none, it was closed
            by an ask whose answer did not arrive.
        close: End the lease and charge what was used; with ``whole``.
    """

    ledger: str
    tenant: str
    window_end: datetime
    limit: int
    floor: int
    used: int
    needs: Sequence[int] = ()
    margin: int = 0
    block: int = 0
    whole: bool = False
    held: bool = False
    close: bool = False

    @property
    def wanted_mark(self) -> int:
        """The mark that serves every need, with the margin."""
        return max(self.floor, self.used + sum(self.needs) + self.margin)

    def within(self, lease: Lease) -> Lease | None:
        """Return the lease with the mark that is asked for; None when it does not reach so far."""
        if self.wanted_mark > lease.granted:
            return None
        return Lease(lease.granted, self.wanted_mark)


@dataclass(frozen=True, slots=True)
class Allotment:
    """The answer to a :class:`LeaseAsk`.

    Attributes:
        lease: What the process holds now.
        remaining: What is neither used nor reserved, as far as anybody may still have it; None
            when nobody looked, as the lease sufficed.
        unmet: The least of the needs for which there was not enough; 0 when all were met.
        gone: The lease has ended and what was used is charged; nothing was changed.
    """

    lease: Lease
    remaining: int | None = None
    unmet: int = 0
    gone: bool = False


def allot(ask: LeaseAsk, granted: int, lease: Lease) -> Allotment:
    """Divide what is left of a budget between one process and the others.

    Far from the limit a process gets its block. Near it the block and the margin shrink with what
    is left, so that the last tokens can be had by whoever asks.

    Args:
        ask: What the process wants.
        granted: What all processes hold of the budget, this one included.
        lease: What this process holds.
    """
    # Less than nothing where the limit was lowered, or a model wrote more than it was allowed.
    room = ask.limit - (granted - lease.granted)
    if ask.close:
        return Allotment(Lease(ask.used, ask.used), max(0, room - ask.used))
    served, unmet = ask.used, 0
    for need in ask.needs:
        if served + need <= room:
            served += need
        else:
            unmet = min(unmet or need, need)
    mark = max(served, ask.floor)
    spare = max(0, room - mark) // _SHARES
    mark = max(mark, min(served + ask.margin, mark + spare))
    block = min(ask.block, max(0, room - mark) // _SHARES)
    return Allotment(Lease(mark + block, mark), max(0, room - ask.used), unmet)
