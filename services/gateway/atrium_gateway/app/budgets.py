"""Reserves what a call may use before it is sent, and settles what it used after.

Limits hold over all processes of the gateway, and over their deaths. Each process leases blocks of
a budget from its ledger, and moves a *mark* through its lease, durably and ahead of need: whatever
lies below the mark is charged should the process die. Calls reserve below the mark in memory, which
takes microseconds, and wait for the database only where the mark or the lease ends.

So nothing depends on time: a process that was paused, taken for dead and charged may go on
spending below its old mark, which was charged; its mark cannot move any more. Clocks say when a
process seems dead, never whether it may spend.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import structlog

from atrium_gateway.app.caller import Caller
from atrium_gateway.app.ports import QuotaLedgers, QuotaStore
from atrium_gateway.domain.errors import ProcessForgotten, QuotaExhausted
from atrium_gateway.domain.quotas import (
    Allotment,
    Charged,
    LeaseAsk,
    Quota,
    binding,
    subjects,
    window_of,
)
from atrium_shared.clock import Clock, Ids, RandomIds
from atrium_shared.errors import AtriumError
from atrium_shared.principal import Principal, QuotaUnit, TenantQuota

_log = structlog.get_logger(__name__)

_FAR = datetime.max.replace(tzinfo=UTC)
_GATHER_SECONDS = 0.01  # how long a change that nobody waits for waits for others
_REFUSED_SECONDS = 0.2  # how long "not enough" is believed without looking again
_BUSY_SECONDS = 0.5  # a margin that is used up faster than this doubles
_CALM_SECONDS = 4.0  # one that lasts longer is halved
_IDLE_BEATS = 5  # a lease that is not used for so long is given up
_QUOTAS_SECONDS = 3.0  # how old a tenant's quotas may grow
_TENANT_BEATS = 60  # a tenant that does not call for so long is forgotten
_DEAD_SECONDS = 5.0
_DEAD_LOOKS = 4  # a database that was away must not make everybody look dead
_KEEP_LEDGERS = timedelta(hours=1)
_FORGET_BEATS = 60
_MOST_PLANS = 2000  # of one tenant
_MOST_TURNS = 200
_MOST_BESIDE_WAITING = 50
_CLOSED = -1


class _Count:
    """What this process holds and uses of one budget.

    Attributes:
        spent: Settled and reserved since the lease began.
        ceiling: Reservations stay below it. Never above the durable mark.
        pending: Reservations that are not settled.
        kept: What calls take of it as soon as another budget has enough for them, too.
    """

    __slots__ = (
        "block", "ceiling", "close", "end", "granted", "held", "idle", "kept", "largest", "ledger",
        "low", "margin", "needs", "pending", "queued", "quota", "raised", "refused",
        "refused_until", "remaining", "scarce", "spent", "tenant", "touched", "whole",
    )  # fmt: skip

    def __init__(self, ledger: str, tenant: str, quota: Quota, end: datetime) -> None:
        self.ledger = ledger
        self.tenant = tenant
        self.quota = quota
        self.end = end
        self.spent = 0
        self.ceiling = 0
        self.granted = 0
        self.held = False
        self.pending = 0
        self.kept = 0
        self.needs: list[int] = []
        self.largest = 0
        self.margin = 0
        self.block = 0
        self.low = 0
        self.touched = True
        self.idle = 0
        self.queued = False
        self.scarce = False
        self.close = False
        self.whole = False
        self.raised = 0.0
        self.refused = 0
        self.refused_until = 0.0
        self.remaining = quota.limit

    def ask(self) -> LeaseAsk:
        """Return what to ask for now; from here on nothing is reserved above its floor."""
        self.close = self.close and not (self.pending or self.needs or self.kept)
        margin = self.ahead
        needs, self.needs = tuple(self.needs), []
        wanted = self.spent + sum(needs) + margin
        self.ceiling = max(self.spent, min(self.ceiling, wanted + self.kept))
        whole = self.whole or self.close or wanted > self.granted
        return LeaseAsk(
            self.ledger,
            self.tenant,
            self.end,
            self.quota.limit,
            floor=self.ceiling,
            used=self.spent,
            needs=needs,
            margin=margin,
            block=0 if self.scarce else self.block,
            whole=whole,
            held=self.held,
            close=self.close,
        )

    def got(self, allotment: Allotment, now: float) -> None:
        """Take the answer to :meth:`ask`."""
        self.held = True
        self.granted = allotment.lease.granted
        self.ceiling = allotment.lease.mark
        if allotment.remaining is not None:
            self._looked(allotment.remaining, allotment.unmet, now)
        # Of what there is, not of the margin: one that just grew would be raised at once, and grow.
        self.low = 0 if self.scarce else max(1, self.slack // 2)

    def _looked(self, remaining: int, unmet: int, now: float) -> None:
        """Take in what is left of the whole budget."""
        self.whole = False
        self.remaining = remaining
        self.scarce = remaining < max(self.quota.limit // 64, 4 * self.largest)
        self.refused = unmet
        self.refused_until = now + _REFUSED_SECONDS if unmet else 0.0

    def grow(self, need: int) -> None:
        """Take note of how large calls are."""
        self.largest = max(self.largest, need)
        self._resize(max(self.margin, 2 * need))

    def adapt(self, now: float) -> None:
        """Choose the margin so that it lasts about a second or two, before it is raised again."""
        if now - self.raised < _BUSY_SECONDS:
            self._resize(max(2 * self.margin, 1))
        self.raised = now

    def calm(self, now: float) -> None:
        """Let a margin shrink that lasts longer than it need."""
        if now - self.raised > _CALM_SECONDS:
            self._resize(max(self.margin // 2, min(self.largest, self.margin)))
            self.raised = now

    def _resize(self, margin: int) -> None:
        # A dead process is charged its margin, so it is a small part of the budget.
        limit = self.quota.limit
        self.margin = min(margin, max(limit // 64, min(self.largest, limit // 16)))
        self.block = min(8 * self.margin, limit // 16)

    @property
    def slack(self) -> int:
        """How much may be reserved without the database."""
        return self.ceiling - self.spent

    @property
    def ahead(self) -> int:
        """How much to have ready for calls to come; nobody else can have it meanwhile."""
        if self.scarce or self.close or self.idle >= _IDLE_BEATS:
            return 0
        return min(self.margin, self.largest) if self.idle else self.margin

    @property
    def short(self) -> bool:
        """Whether half is used of what there was, or those who wait need more than there is.

        Calls that go on while it is raised may have it looked after once more, in vain.
        """
        return self.slack < max(self.low, sum(self.needs))


class _Plan:
    """The counts that one kind of call goes to, until the first of their windows ends."""

    __slots__ = ("operator", "requests", "tokens", "until")

    def __init__(
        self,
        operator: tuple[TenantQuota, ...],
        until: datetime,
        tokens: tuple[_Count, ...],
        requests: tuple[_Count, ...],
    ) -> None:
        self.operator = operator
        self.until = until
        self.tokens = tokens
        self.requests = requests

    def needs(self, tokens: int, requests: int) -> Iterator[tuple[_Count, int]]:
        """Yield every count with what a call needs of it."""
        for count in self.tokens:
            yield count, tokens
        for count in self.requests:
            yield count, requests


class _Tenant:
    """A tenant's own quotas, and the plans made of them."""

    __slots__ = ("idle", "plans", "quotas", "read_at")

    def __init__(self, quotas: Sequence[Quota], read_at: float) -> None:
        self.quotas = tuple(quotas)
        self.read_at = read_at
        self.plans: dict[tuple[str, str], _Plan] = {}
        self.idle = 0


class LeasedReservation:
    """What one call reserved of every quota that it counts for."""

    __slots__ = ("_budgets", "_counts", "_difference", "_tokens")

    def __init__(self, budgets: LeasedBudgets, counts: tuple[_Count, ...], tokens: int) -> None:
        self._budgets = budgets
        self._counts: tuple[_Count, ...] | None = counts
        self._tokens = tokens
        self._difference = 0

    def settle(self, tokens: int) -> int:
        """Charge what the call used, and give the rest back. Only the first time counts.

        Args:
            tokens: Read and written, also where the call failed or its caller left. More than was
                reserved is charged too, beyond the limit where it must be.

        Returns:
            Reserved minus used.
        """
        counts = self._counts
        if counts is None:
            return self._difference
        self._counts = None
        # Servers tell what was used, and not all of them can count.
        self._difference = difference = self._tokens - max(tokens, 0)
        for count in counts:
            count.spent -= difference
            count.pending -= 1
            if count.scarce or count.spent > count.ceiling:
                count.refused_until = 0.0
                self._budgets.look_after(count)
        return difference


class LeasedBudgets:
    """The budgets of all tenants, as far as this process uses them.

    Args:
        store: The tenants' own quotas.
        ledgers: What is used, shared by all processes.
        clock: Says which window it is.
        ids: Names this process.
        beat_seconds: How often the process shows that it lives, gives back what it does not need
            and looks for dead ones.
        dead_seconds: A process that shows no life for so long is dead.
    """

    def __init__(
        self,
        store: QuotaStore,
        ledgers: QuotaLedgers,
        clock: Clock,
        *,
        ids: Ids | None = None,
        beat_seconds: float = 1.0,
        dead_seconds: float = _DEAD_SECONDS,
    ) -> None:
        self._store = store
        self._ledgers = ledgers
        self._clock = clock
        self._ids = ids or RandomIds()
        self._beat_seconds = beat_seconds
        self._dead_seconds = dead_seconds
        self._process: str | None = None
        self._tenants: dict[str, _Tenant] = {}
        self._counts: dict[str, _Count] = {}
        self._queue: list[_Count] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._unread: dict[str, asyncio.Future[AtriumError | None]] = {}
        self._others: dict[str, tuple[int, float, int]] = {}
        self._beats = 0
        self._changes = 0
        self._something = asyncio.Event()
        self._urgent = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start to look after leases in the background."""
        self._stopping = False
        self._task = asyncio.create_task(self._run(), name="quota leases")

    async def stop(self) -> None:
        """Give back what is not used; calls under way are charged what they reserved.

        Raises:
            DatabaseUnavailable: It could not be given back; other processes will find it.
        """
        if self._task is not None:
            self._stopping = True
            self._something.set()
            self._urgent.set()
            await self._task
            self._task = None
        waiting, self._waiting = self._waiting, []
        unread, self._unread = self._unread, {}
        for each in waiting:
            each.cancel()
        for read in unread.values():
            read.cancel()
        for count in self._counts.values():
            count.close, count.pending = True, 0
            count.needs.clear()
            self.look_after(count)
        while self._queue:
            await self._exchange(self._take_queue())
        await self._leave()
        self._tenants.clear()

    async def reserve(self, caller: Caller, tokens: int, requests: int = 1) -> LeasedReservation:
        """Reserve tokens and requests of every quota that a call counts for, or nothing.

        Args:
            caller: Who calls and what for.
            tokens: Most that the call can use.
            requests: 0 where an attempt before of the same call was counted.

        Raises:
            QuotaExhausted: One of the quotas does not have as much left.
            DatabaseUnavailable: It cannot be known.
            ValueError: ``tokens`` is negative.
        """
        if tokens < 0:
            raise ValueError(f"a call cannot need {tokens} tokens")
        principal = caller.principal
        tenant = self._tenants.get(principal.tenant)
        if tenant is not None:
            plan = tenant.plans.get((principal.credential, caller.task))
            if (
                plan is not None
                and (plan.operator is principal.quotas or plan.operator == principal.quotas)
                and self._clock.now() < plan.until
            ):
                tenant.idle = 0
                reserved = self._reserve_now(plan, tokens, requests)
                if reserved is not None:
                    return reserved
        return await self._reserve_waiting(principal, caller.task, tokens, requests)

    def look_after(self, count: _Count) -> None:
        """Have the background see to a count soon."""
        if not count.queued:
            count.queued = True
            self._queue.append(count)
            self._something.set()

    def forget(self, tenant: str) -> None:
        """Read the tenant's quotas again at its next call; they changed."""
        self._changes += 1
        self._tenants.pop(tenant, None)

    async def used(
        self, tenant: str, quotas: Sequence[Quota]
    ) -> Sequence[tuple[Quota, int, datetime]]:
        """Return what is used of a tenant's quotas now, and when their windows end."""
        now = self._clock.now()
        windows = [window_of(quota.window, now) for quota in quotas]
        keys = [
            quota.counter.ledger(tenant, start)
            for quota, (start, _) in zip(quotas, windows, strict=True)
        ]
        charged = await self._ledgers.used(set(keys))
        return [
            (quota, self._used(key, charged.get(key)), end)
            for quota, key, (_, end) in zip(quotas, keys, windows, strict=True)
        ]

    def _used(self, ledger: str, charged: Charged | None) -> int:
        if charged is None:
            return 0
        used = charged.settled
        for process, mark in charged.marks.items():
            # What this process reserved is known better here: its mark lies ahead of it.
            own = self._counts.get(ledger) if process == self._process else None
            used += mark if own is None else own.spent
        return used

    def _reserve_now(self, plan: _Plan, tokens: int, requests: int) -> LeasedReservation | None:
        for count in plan.tokens:
            if count.spent + tokens > count.ceiling:
                return None
        for count in plan.requests:
            if count.spent + requests > count.ceiling:
                return None
        for count in plan.tokens:
            count.spent += tokens
            count.pending += 1
            count.touched = True
            if count.ceiling - count.spent < count.low:
                self.look_after(count)
        for count in plan.requests:
            count.spent += requests
            count.touched = True
            if count.ceiling - count.spent < count.low:
                self.look_after(count)
        return LeasedReservation(self, plan.tokens, tokens)

    async def _reserve_waiting(
        self, principal: Principal, task: str, tokens: int, requests: int
    ) -> LeasedReservation:
        for _ in range(_MOST_TURNS):
            plan = await self._plan(principal, task)
            reserved = self._reserve_now(plan, tokens, requests)
            if reserved is not None:
                return reserved
            needs = list(plan.needs(tokens, requests))
            short = [each for each in needs if each[0].spent + each[1] > each[0].ceiling]
            enough = [each for each in needs if each not in short]
            now = asyncio.get_running_loop().time()
            for count, need in short:
                if now < count.refused_until and need >= count.refused:
                    raise self._exhausted(count, need)
            for count, need in short:
                count.grow(need)
                count.needs.append(need)
                count.touched = True
                count.idle = 0  # else it would be raised call by call until the next beat
                self.look_after(count)
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            self._urgent.set()
            # Else a beat might give back what is there while that is on its way which is not, and
            # the other way round, for ever.
            for count, need in enough:
                count.kept += need
            try:
                await waiting
            finally:
                for count, need in enough:
                    count.kept -= need
        raise self._exhausted(*short[0])

    async def _plan(self, principal: Principal, task: str) -> _Plan:
        tenant = await self._known(principal.tenant)
        tenant.idle = 0
        key = (principal.credential, task)
        plan = tenant.plans.get(key)
        now = self._clock.now()
        if (
            plan is not None
            and plan.operator == principal.quotas
            and now < plan.until
            and all(self._counts.get(count.ledger) is count for count, _ in plan.needs(0, 0))
        ):
            return plan
        of_call = set(subjects(*key))
        limits = binding(
            [
                *map(Quota.of_operator, principal.quotas),
                *(quota for quota in tenant.quotas if quota.subject in of_call),
            ]
        )
        tokens: list[_Count] = []
        requests: list[_Count] = []
        until = _FAR
        for name, quota in limits.items():
            start, end = window_of(quota.window, now)
            count = self._count(name.ledger(principal.tenant, start), principal.tenant, quota, end)
            (tokens if quota.unit is QuotaUnit.TOKENS else requests).append(count)
            until = min(until, end)
        plan = _Plan(principal.quotas, until, tuple(tokens), tuple(requests))
        if len(tenant.plans) >= _MOST_PLANS:
            tenant.plans.clear()
        tenant.plans[key] = plan
        return plan

    def _count(self, ledger: str, tenant: str, quota: Quota, end: datetime) -> _Count:
        count = self._counts.get(ledger)
        if count is None:
            count = self._counts[ledger] = _Count(ledger, tenant, quota, end)
        elif count.quota != quota:
            if quota.limit != count.quota.limit:
                # What was leased under the old limit may be more than the new one leaves.
                count.ceiling = min(count.ceiling, count.spent)
                count.refused_until = 0.0
                count.whole = True
                self.look_after(count)
            count.quota = quota
        return count

    async def _known(self, name: str) -> _Tenant:
        while True:
            tenant = self._tenants.get(name)
            if tenant is not None:
                return tenant
            read = self._unread.get(name)
            if read is None:
                read = self._unread[name] = asyncio.get_running_loop().create_future()
                self._something.set()
                self._urgent.set()
            # Others may wait for the same.
            failure = await asyncio.shield(read)
            if failure is not None:
                raise failure

    def _exhausted(self, count: _Count, needed: int) -> QuotaExhausted:
        quota = count.quota
        return QuotaExhausted(
            quota.name,
            unit=quota.unit.value,
            window=quota.window.value,
            limit=quota.limit,
            remaining=count.remaining,
            needed=needed,
            reset_time=count.end,
            now=self._clock.now(),
        )

    # The background: one transaction at a time serves all who wait, and all that is to be done.

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        next_beat = loop.time() + self._beat_seconds
        while not self._stopping:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(next_beat):
                    await self._something.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(_GATHER_SECONDS):
                    await self._urgent.wait()
            due = loop.time() >= next_beat
            try:
                if due:
                    next_beat = loop.time() + self._beat_seconds
                    self._tidy()
                await self._turn(show_life=due)
                if due:
                    await self._refresh()
                    await self._bury_dead()
            except AtriumError as error:
                _log.warning("quota_leases_failed", reason=error.reason)
                await asyncio.sleep(_GATHER_SECONDS)
            except Exception:  # the loop must outlive any failure of the store
                _log.exception("quota_leases_failed")
                await asyncio.sleep(self._beat_seconds)

    async def _read(self) -> None:
        """Read the quotas of all tenants that somebody waits for, in one query."""
        unread, self._unread = self._unread, {}
        if not unread:
            return
        changes, now = self._changes, asyncio.get_running_loop().time()
        failure: AtriumError | None = None
        try:
            found = await self._store.list_quotas(unread)
            # Else what was read may be older than a change made meanwhile.
            if changes == self._changes:
                for name in unread:
                    self._tenants.setdefault(name, _Tenant(found.get(name, ()), now))
        except AtriumError as error:
            failure = error
        finally:
            for read in unread.values():
                read.set_result(failure)

    async def _turn(self, *, show_life: bool) -> None:
        self._something.clear()
        self._urgent.clear()
        await self._read()
        waiting, self._waiting = self._waiting, []
        counts = self._take_queue()
        later: list[_Count] = []
        if waiting and len(counts) > _MOST_BESIDE_WAITING:
            later = [count for count in counts if not count.needs]
            counts = [count for count in counts if count.needs]
        try:
            if counts or (show_life and self._process is not None):
                await self._exchange(counts)
        except BaseException as error:
            for each in waiting:
                if isinstance(error, AtriumError) and not each.done():
                    each.set_exception(error)
                each.cancel()
            raise
        for each in waiting:
            if not each.done():
                each.set_result(None)
        if later:
            await self._exchange(later)

    def _take_queue(self) -> list[_Count]:
        counts, self._queue = self._queue, []
        for count in counts:
            count.queued = False
        return counts

    async def _exchange(self, counts: Sequence[_Count]) -> None:
        counts = [count for count in counts if self._counts.get(count.ledger) is count]
        if self._process is None and counts:
            process = self._ids.new("q")
            await self._ledgers.join(process)
            self._process = process
        if self._process is None:
            return
        short = {count.ledger for count in counts if count.short}
        asks = [count.ask() for count in counts]
        try:
            answers = await self._ledgers.exchange(self._process, asks)
        except ProcessForgotten as error:
            _log.warning("quota_process_forgotten", holder=error.metadata["process"])
            self._start_anew()
            return
        now = asyncio.get_running_loop().time()
        for count, ask, answer in zip(counts, asks, answers, strict=True):
            if count.close or answer.gone:
                self._closed(count)
                continue
            count.got(answer, now)
            if ask.margin and count.ceiling > ask.floor and count.ledger in short:
                count.adapt(now)
            if answer.remaining is None and count.slack < ask.margin // 2:
                self.look_after(count)  # others took what was unused of the lease

    def _closed(self, count: _Count) -> None:
        # Whatever was used is charged by now. Calls that came meanwhile found no room here, and
        # will make a count anew.
        del self._counts[count.ledger]
        count.ceiling = _CLOSED

    def _start_anew(self) -> None:
        """Go on as another process: what was leased has been taken, what was marked charged."""
        self._process = None
        for count in self._counts.values():
            count.ceiling = _CLOSED
        self._counts.clear()
        for tenant in self._tenants.values():
            tenant.plans.clear()

    async def _leave(self) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            await self._ledgers.leave(process)

    def _tidy(self) -> None:
        """Give back what is not needed, forget who does not call."""
        self._beats += 1
        loop_now, now = asyncio.get_running_loop().time(), self._clock.now()
        for count in self._counts.values():
            if count.touched:
                count.touched = False
                count.idle = 0
                count.calm(loop_now)
                if count.slack > 2 * count.margin:
                    self.look_after(count)
                continue
            count.idle += 1
            over = count.idle >= _IDLE_BEATS or count.end <= now
            if over and not (count.pending or count.needs or count.kept):
                count.close = True
                self.look_after(count)
            elif count.slack > count.ahead:
                self.look_after(count)
        for name, tenant in list(self._tenants.items()):
            tenant.idle += 1
            if tenant.idle > _TENANT_BEATS:
                del self._tenants[name]

    async def _refresh(self) -> None:
        """Read again the quotas of tenants that call; another process may have changed them."""
        started = asyncio.get_running_loop().time()
        stale = [
            name
            for name, tenant in self._tenants.items()
            if started - tenant.read_at > _QUOTAS_SECONDS
        ]
        if not stale:
            return
        changes = self._changes
        found = await self._store.list_quotas(stale)
        if changes != self._changes:
            return
        for name in stale:
            tenant = self._tenants.get(name)
            if tenant is None:
                continue
            tenant.read_at = started
            quotas = tuple(found.get(name, ()))
            if quotas != tenant.quotas:
                tenant.quotas = quotas
                tenant.plans.clear()

    async def _bury_dead(self) -> None:
        """Find processes that show no life, and give back what they did not use."""
        if self._process is not None and not self._counts:
            await self._leave()
        now = asyncio.get_running_loop().time()
        seen = await self._ledgers.processes()
        self._others = {
            name: kept for name, kept in self._others.items() if kept[0] == seen.get(name)
        }
        for name, beat in seen.items():
            if name == self._process:
                continue
            _, since, looks = self._others.setdefault(name, (beat, now, 0))
            self._others[name] = (beat, since, looks + 1)
            if now - since >= self._dead_seconds and looks >= _DEAD_LOOKS:
                if await self._ledgers.bury(name, beat):
                    _log.warning("quota_process_buried", holder=name)
                del self._others[name]
        if self._beats % _FORGET_BEATS == 0:
            await self._ledgers.forget_windows(self._clock.now() - _KEEP_LEDGERS)
