"""Quotas, and what is used of them, in the service's database."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy import bindparam, delete, exists, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_gateway.adapters.tables import quota_leases as leases
from atrium_gateway.adapters.tables import quota_ledgers as ledgers
from atrium_gateway.adapters.tables import quota_processes as processes
from atrium_gateway.adapters.tables import quotas
from atrium_gateway.domain.errors import ProcessForgotten
from atrium_gateway.domain.quotas import (
    Allotment,
    Charged,
    Lease,
    LeaseAsk,
    Quota,
    allot,
)
from atrium_shared.database import Database
from atrium_shared.principal import QuotaUnit, QuotaWindow

T = TypeVar("T")

_MOST_AT_ONCE = 400  # names in one statement; SQLite allows 32,766 variables, rows stay locked


class SqlQuotas:
    """Tenants' own quotas, one row each.

    Args:
        database: The service's database, started.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_quotas(self, tenants: Collection[str]) -> Mapping[str, Sequence[Quota]]:
        """Return the quotas of tenants, by name."""
        found: dict[str, list[Quota]] = {}
        async with self._database.read() as session:
            for names in _parts(sorted(tenants)):
                query = select(quotas).where(quotas.c.tenant.in_(names)).order_by(quotas.c.name)
                for row in await session.execute(query):
                    quota = Quota(
                        row.name,
                        row.subject,
                        QuotaUnit(row.unit),
                        QuotaWindow(row.window),
                        row.quota_limit,
                    )
                    found.setdefault(row.tenant, []).append(quota)
        return found

    async def put_quota(self, tenant: str, quota: Quota) -> None:
        """Set a quota, replacing the one of the same name."""
        async with self._database.write() as session:
            await session.execute(
                delete(quotas).where(quotas.c.tenant == tenant, quotas.c.name == quota.name)
            )
            await session.execute(
                insert(quotas).values(
                    tenant=tenant,
                    name=quota.name,
                    subject=quota.subject,
                    unit=quota.unit.value,
                    window=quota.window.value,
                    quota_limit=quota.limit,
                )
            )

    async def delete_quota(self, tenant: str, name: str) -> bool:
        """Remove a quota. False when there was none."""
        one = delete(quotas).where(quotas.c.tenant == tenant, quotas.c.name == name)
        async with self._database.write() as session:
            return (await session.execute(one.returning(quotas.c.name))).first() is not None


class SqlLedgers:
    """Ledgers, leases and the processes that hold them.

    Rows are locked in one order everywhere, so that transactions never wait in a circle: the
    process, then ledgers by key, then leases. A lease of another process is changed only by who
    holds the lock of its ledger, and a transaction that takes no ledger locks leases of its own
    process alone.

    Args:
        database: The service's database, started.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def join(self, process: str) -> None:
        """Make a process known."""
        async with self._database.write() as session:
            await session.execute(insert(processes).values(process=process, beat=0))

    async def exchange(self, process: str, asks: Sequence[LeaseAsk]) -> Sequence[Allotment]:
        """Show that a process is alive and change its leases; see ``QuotaLedgers``."""
        answers: dict[str, Allotment] = {}
        if not asks:
            async with self._database.write() as session:
                await _beat(session, process)
        # In two kinds of transactions, as the second needs ledgers before any lease.
        for part in _parts([ask for ask in asks if not ask.whole]):
            async with self._database.write() as session:
                await _beat(session, process)
                answers |= await _move_marks(session, process, part)
        for part in _parts([ask for ask in asks if ask.whole]):
            async with self._database.write() as session:
                await _beat(session, process)
                answers |= await self._divide(session, process, part)
        return [answers[ask.ledger] for ask in asks]

    async def leave(self, process: str) -> None:
        """Forget a process that lives."""
        async with self._database.write() as session:
            await _bury(session, process, None)

    async def processes(self) -> Mapping[str, int]:
        """Return every process and its number."""
        async with self._database.read() as session:
            return {row.process: row.beat for row in await session.execute(select(processes))}

    async def bury(self, process: str, beat: int) -> bool:
        """Charge a dead process its marks and give the rest back; see ``QuotaLedgers``."""
        async with self._database.write() as session:
            return await _bury(session, process, beat)

    async def used(self, ledgers_: Collection[str]) -> Mapping[str, Charged]:
        """Return what is charged of budgets, and who holds how much of them."""
        found: dict[str, Charged] = {}
        async with self._database.read() as session:
            for keys in _parts(sorted(ledgers_)):
                # One statement, so that no lease moves between two.
                query = (
                    select(
                        ledgers.c.ledger,
                        ledgers.c.granted.label("total"),
                        leases.c.process,
                        leases.c.granted,
                        leases.c.mark,
                    )
                    .join_from(ledgers, leases, ledgers.c.ledger == leases.c.ledger, isouter=True)
                    .where(ledgers.c.ledger.in_(keys))
                )
                for row in await session.execute(query):
                    before = found.get(row.ledger, Charged(row.total, {}))
                    if row.process is not None:
                        marks = {**before.marks, row.process: row.mark}
                        before = Charged(before.settled - row.granted, marks)
                    found[row.ledger] = before
        return found

    async def forget_windows(self, before: datetime) -> None:
        """Remove the ledgers of windows that ended before a moment and are held by nobody."""
        held = exists().where(leases.c.ledger == ledgers.c.ledger)
        async with self._database.write() as session:
            await session.execute(delete(ledgers).where(ledgers.c.window_end < before, ~held))

    async def _divide(
        self, session: AsyncSession, process: str, asks: Sequence[LeaseAsk]
    ) -> dict[str, Allotment]:
        asks = sorted(asks, key=lambda ask: ask.ledger)
        keys = [ask.ledger for ask in asks]
        rows = [
            {
                "ledger": ask.ledger,
                "tenant": ask.tenant,
                "window_end": ask.window_end,
                "granted": 0,
            }
            for ask in asks
        ]
        insert_ = sqlite.insert if self._database.is_sqlite else postgresql.insert
        await session.execute(insert_(ledgers).on_conflict_do_nothing(), rows)
        query = select(ledgers.c.ledger, ledgers.c.granted).where(ledgers.c.ledger.in_(keys))
        locked = await session.execute(query.order_by(ledgers.c.ledger).with_for_update())
        granted = {row.ledger: row.granted for row in locked}
        held = await _own(session, process, keys)
        gone = {
            ask.ledger: Allotment(Lease(), gone=True)
            for ask in asks
            if ask.held and ask.ledger not in held
        }
        asks = [ask for ask in asks if ask.ledger not in gone]
        if not asks:
            return gone
        answers = {ask.ledger: allot(ask, granted[ask.ledger], _of(held, ask)) for ask in asks}
        short = [ask for ask in asks if answers[ask.ledger].unmet]
        if short:
            freed = await _take_unused(session, process, [ask.ledger for ask in short])
            for ask in short:
                granted[ask.ledger] -= freed.get(ask.ledger, 0)
                answers[ask.ledger] = allot(ask, granted[ask.ledger], _of(held, ask))
        for ask in asks:
            granted[ask.ledger] += answers[ask.ledger].lease.granted - _of(held, ask).granted
        await session.execute(
            update(ledgers)
            .where(ledgers.c.ledger == bindparam("one"))
            .values(granted=bindparam("now")),
            [{"one": ask.ledger, "now": granted[ask.ledger]} for ask in asks],
        )
        closed = [ask.ledger for ask in asks if ask.close]
        if closed:
            await session.execute(
                delete(leases).where(leases.c.process == process, leases.c.ledger.in_(closed))
            )
        kept = [
            {
                "ledger": ask.ledger,
                "process": process,
                "granted": answers[ask.ledger].lease.granted,
                "mark": answers[ask.ledger].lease.mark,
            }
            for ask in asks
            if not ask.close
        ]
        if kept:
            upsert = insert_(leases)
            upsert = upsert.on_conflict_do_update(
                index_elements=["ledger", "process"],
                set_={"granted": upsert.excluded.granted, "mark": upsert.excluded.mark},
            )
            await session.execute(upsert, kept)
        return answers | gone


async def _beat(session: AsyncSession, process: str) -> None:
    # Every change of a lease passes here first: the row is locked until the change is committed,
    # so nobody can bury the process in between, and one that was buried changes nothing.
    beat = update(processes).where(processes.c.process == process)
    beaten = beat.values(beat=processes.c.beat + 1).returning(processes.c.process)
    if (await session.execute(beaten)).first() is None:
        raise ProcessForgotten(process)


async def _own(session: AsyncSession, process: str, keys: Sequence[str]) -> dict[str, Lease]:
    query = select(leases).where(leases.c.process == process, leases.c.ledger.in_(keys))
    locked = await session.execute(query.order_by(leases.c.ledger).with_for_update())
    return {row.ledger: Lease(row.granted, row.mark) for row in locked}


def _of(held: Mapping[str, Lease], ask: LeaseAsk) -> Lease:
    return held.get(ask.ledger, Lease())


async def _move_marks(
    session: AsyncSession, process: str, asks: Sequence[LeaseAsk]
) -> dict[str, Allotment]:
    held = await _own(session, process, [ask.ledger for ask in asks])
    answers, moved = {}, []
    for ask in asks:
        before = _of(held, ask)
        lease = ask.within(before) or before  # others may have taken what was unused of it
        if lease.mark != before.mark:
            moved.append({"one": ask.ledger, "now": lease.mark})
        answers[ask.ledger] = Allotment(lease, gone=ask.held and ask.ledger not in held)
    if moved:
        await session.execute(
            update(leases)
            .where(leases.c.ledger == bindparam("one"), leases.c.process == process)
            .values(mark=bindparam("now")),
            moved,
        )
    return answers


async def _take_unused(session: AsyncSession, process: str, keys: Sequence[str]) -> dict[str, int]:
    """Take what other processes hold beyond their marks; their ledgers are locked."""
    query = select(leases).where(
        leases.c.ledger.in_(keys), leases.c.process != process, leases.c.granted > leases.c.mark
    )
    ordered = query.order_by(leases.c.ledger, leases.c.process)
    freed: dict[str, int] = {}
    rows = []
    for row in await session.execute(ordered.with_for_update()):
        freed[row.ledger] = freed.get(row.ledger, 0) + row.granted - row.mark
        rows.append({"one": row.ledger, "who": row.process, "now": row.mark})
    if rows:
        await session.execute(
            update(leases)
            .where(leases.c.ledger == bindparam("one"), leases.c.process == bindparam("who"))
            .values(granted=bindparam("now")),
            rows,
        )
    return freed


async def _bury(session: AsyncSession, process: str, beat: int | None) -> bool:
    gone = delete(processes).where(processes.c.process == process)
    if beat is not None:
        gone = gone.where(processes.c.beat == beat)
    if (await session.execute(gone.returning(processes.c.process))).first() is None:
        return False
    of_it = select(leases.c.ledger).where(leases.c.process == process)
    await session.execute(
        select(ledgers.c.ledger)
        .where(ledgers.c.ledger.in_(of_it))
        .order_by(ledgers.c.ledger)
        .with_for_update()
    )
    removed = await session.execute(
        delete(leases)
        .where(leases.c.process == process)
        .returning(leases.c.ledger, leases.c.granted, leases.c.mark)
    )
    rest = [{"one": row.ledger, "rest": row.granted - row.mark} for row in removed]
    if rest:
        await session.execute(
            update(ledgers)
            .where(ledgers.c.ledger == bindparam("one"))
            .values(granted=ledgers.c.granted - bindparam("rest")),
            rest,
        )
    return True


def _parts(items: Sequence[T]) -> list[Sequence[T]]:
    return [items[at : at + _MOST_AT_ONCE] for at in range(0, len(items), _MOST_AT_ONCE)]
