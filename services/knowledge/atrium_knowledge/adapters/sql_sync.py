"""Sources and their items in the relational database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Collection as AnyCollection
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from google.protobuf.message import Message
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_knowledge.adapters import tables
from atrium_knowledge.app.stores import SyncedItem, SyncRun, SyncTally
from atrium_knowledge.domain.collections import Collection
from atrium_knowledge.domain.documents import RevisionState
from atrium_knowledge.domain.errors import (
    CollectionNotFound,
    DocumentExists,
    SyncListDoubtful,
    SyncListEmpty,
    SyncStateNotFound,
    SyncTokenWrong,
    SyncUnderWay,
)
from atrium_knowledge.domain.sync import (
    MAX_PROBLEMS,
    Outcome,
    SyncCounts,
    SyncEnd,
    SyncHeader,
    SyncProblem,
    SyncStage,
    SyncState,
)
from atrium_shared.clock import Clock, Ids
from atrium_shared.database import Database
from atrium_shared.errors import AtriumError
from atrium_shared.jobs import JSON
from atrium_shared.operations import Operation, OperationStore

LEASE: Final = timedelta(seconds=60)
"""A stream of another process that was silent for longer does not hold its source any more."""

_SOURCES = tables.sync_sources
_ITEMS = tables.sync_items
_REVISIONS = tables.revisions
_DOCUMENTS = tables.documents
_OPEN: Final = "OPEN"

# An item may have been claimed whose file never came whole: it has no document.
_IS_THERE = (
    sa.select(_DOCUMENTS.c.uid)
    .where(
        _DOCUMENTS.c.collection_uid == _ITEMS.c.collection_uid,
        _DOCUMENTS.c.id == _ITEMS.c.document_id,
    )
    .exists()
)


class SqlSync:
    """Implements ``stores.SyncStore``.

    Args:
        database: The service's database.
        operations: Operations of runs, in the same database.
        progress_message: Makes an operation's metadata of a source's name, counts, and documents
            still being taken in.
        report_message: Makes an operation's response of a source's name, counts and problems.
        clock: Tells the time.
        ids: Makes identifiers.
    """

    def __init__(
        self,
        database: Database,
        operations: OperationStore,
        *,
        progress_message: Callable[[str, SyncCounts, int], Message],
        report_message: Callable[[str, SyncCounts, Sequence[SyncProblem]], Message],
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._database = database
        self._operations = operations
        self._progress_message = progress_message
        self._report_message = report_message
        self._clock = clock
        self._ids = ids

    async def open(
        self,
        collection: Collection,
        source: str,
        header: SyncHeader,
        holder: str,
        others: AnyCollection[str],
    ) -> SyncRun:
        """Begin a run or go on with one."""
        name, now = header.source, self._clock.now()
        values: dict[str, Any] = {
            "holder": holder,
            "lease_time": now + LEASE,
            "update_time": now,
        }
        fresh: dict[str, Any] = {
            "stage": _OPEN,
            "token": header.token,
            "last_item": "",
            "counts": SyncCounts().as_dict(),
            "doubtful": False,
            "start_time": now,
        }
        try:
            async with self._database.write() as session:
                row = await self._row(session, collection.uid, source, lock=True)
                if row is None:
                    if header.resume or header.base_token:
                        raise SyncStateNotFound(name)
                    await session.execute(
                        sa.insert(_SOURCES).values(
                            collection_uid=collection.uid,
                            source=source,
                            run=1,
                            completed_token="",
                            operation_id="",
                            **fresh,
                            **values,
                        )
                    )
                    return SyncRun(collection, source, 1, header.token, holder)
                replica = holder.rpartition("/")[0]
                removing = row.stage == SyncStage.REMOVING
                if removing or self._held(row, replica, others):
                    raise SyncUnderWay(name)
                number = row.run
                if header.base_token and header.base_token != row.completed_token:
                    raise SyncTokenWrong(name, "base_token", header.base_token, row.completed_token)
                if header.resume:
                    expected = row.token if row.stage == _OPEN else ""
                    if header.token != expected:
                        raise SyncTokenWrong(name, "sync_token", header.token, expected)
                else:
                    number += 1
                    values |= {"run": number, **fresh}
                await session.execute(
                    sa.update(_SOURCES)
                    .where(_SOURCES.c.collection_uid == collection.uid, _SOURCES.c.source == source)
                    .values(**values)
                )
                return SyncRun(collection, source, number, header.token, holder)
        except IntegrityError as error:
            # Another stream made the source at the same moment.
            raise SyncUnderWay(name) from error

    async def renew(self, run: SyncRun) -> None:
        """Say that the stream is alive."""
        async with self._database.write() as session:
            await self._held_by(session, run)

    async def release(self, run: SyncRun) -> None:
        """Let another stream hold the source."""
        async with self._database.write() as session:
            await session.execute(
                sa.update(_SOURCES)
                .where(
                    _SOURCES.c.collection_uid == run.collection.uid,
                    _SOURCES.c.source == run.source,
                    _SOURCES.c.holder == run.holder,
                )
                .values(holder="", lease_time=self._clock.now())
            )

    async def item(self, run: SyncRun, item: str) -> SyncedItem | None:
        """Return what the source has under an id."""
        query = sa.select(_ITEMS).where(*_key(run, item))
        async with self._database.read() as session:
            row = (await session.execute(query)).one_or_none()
        return None if row is None else SyncedItem(row.document_id, row.revision)

    async def claim(self, run: SyncRun, item: str, document_id: str) -> None:
        """Make a document the source's, before it exists."""
        async with self._database.write() as session:
            await self._held_by(session, run)
            claimed = await session.execute(sa.select(_ITEMS.c.item).where(*_key(run, item)))
            if claimed.one_or_none() is not None:
                return
            taken = await session.execute(
                sa.select(_DOCUMENTS.c.id).where(
                    _DOCUMENTS.c.collection_uid == run.collection.uid,
                    _DOCUMENTS.c.id == document_id,
                )
            )
            if taken.one_or_none() is not None:
                raise DocumentExists(f"{run.collection.name}/documents/{document_id}")
            await session.execute(
                sa.insert(_ITEMS).values(
                    collection_uid=run.collection.uid,
                    source=run.source,
                    item=item,
                    document_id=document_id,
                    revision="",
                    run=run.number,
                )
            )

    async def acknowledge(
        self, run: SyncRun, item: str, revision: str | None, outcome: Outcome
    ) -> SyncCounts:
        """Make it durable that an item is done."""
        async with self._database.write() as session:
            row = await self._held_by(session, run)
            counts = dict(row.counts)
            counts["items"] += 1
            counts[outcome] += 1
            values: dict[str, Any] = {"counts": counts}
            if item:
                values["last_item"] = item
                if outcome is Outcome.REMOVED:
                    await session.execute(sa.delete(_ITEMS).where(*_key(run, item)))
                else:
                    known = {} if revision is None else {"revision": revision}
                    await session.execute(
                        sa.update(_ITEMS).where(*_key(run, item)).values(run=run.number, **known)
                    )
            else:
                values["doubtful"] = True
            await self._change(session, run, **values)
        return SyncCounts(**counts)

    async def end(
        self, run: SyncRun, end: SyncEnd, actor: str, on_behalf_of: str | None
    ) -> tuple[Operation, JSON]:
        """End a run."""
        collection = run.collection
        async with self._database.write() as session:
            row = await self._held_by(session, run)
            if end.complete:
                if row.doubtful:
                    raise SyncListDoubtful(run.name)
                mine = (
                    _ITEMS.c.collection_uid == collection.uid,
                    _ITEMS.c.source == run.source,
                )
                there, named = (
                    await session.execute(
                        sa.select(
                            sa.func.count(sa.case((_IS_THERE, 1))),
                            sa.func.count(sa.case((_ITEMS.c.run == run.number, 1))),
                        ).where(*mine)
                    )
                ).one()
                if there and not named and not end.allow_empty:
                    raise SyncListEmpty(run.name, there)
            counts = SyncCounts(**row.counts)
            operation_id = self._ids.new("op")
            operation = await self._operations.create(
                session,
                op_id=operation_id,
                tenant=collection.tenant,
                owner=on_behalf_of or actor,
                metadata=self._progress_message(run.name, counts, 0),
            )
            payload: dict[str, Any] = {
                "operation": operation_id,
                "tenant": collection.tenant,
                "collection": collection.id,
                "collection_uid": collection.uid,
                "source": run.source,
                "name": run.name,
                "run": run.number,
                "since": row.start_time.isoformat(),
                "complete": end.complete,
                "counts": row.counts,
                "actor": actor,
                "on_behalf_of": on_behalf_of,
            }
            await self._change(
                session,
                run,
                stage=SyncStage.REMOVING if end.complete else SyncStage.COMPLETE,
                completed_token=run.token,
                operation_id=operation_id,
                finishing=payload,
                holder="",
            )
        return operation, payload

    async def state(
        self, collection: Collection, source: str, replica: str, here: AnyCollection[str]
    ) -> SyncState:
        """Return where the syncing of a source stands."""
        name = f"{collection.name}/sources/{source}"
        counted = sa.select(sa.func.count()).where(
            _ITEMS.c.collection_uid == collection.uid, _ITEMS.c.source == source, _IS_THERE
        )
        async with self._database.read() as session:
            row = await self._row(session, collection.uid, source)
            if row is None:
                raise SyncStateNotFound(name)
            documents = (await session.execute(counted)).scalar_one()
        if row.stage == _OPEN:
            held = self._held(row, replica, here)
            stage = SyncStage.RUNNING if held else SyncStage.INTERRUPTED
        else:
            stage = SyncStage(row.stage)
        return SyncState(
            name=name,
            stage=stage,
            token=row.token,
            last_item=row.last_item,
            counts=SyncCounts(**row.counts),
            completed_token=row.completed_token,
            operation=self._operations.name(row.operation_id) if row.operation_id else "",
            start_time=row.start_time,
            update_time=row.update_time,
            document_count=documents,
        )

    async def unnamed(
        self, collection_uid: str, source: str, run: int, limit: int
    ) -> Sequence[tuple[str, str]]:
        """Return items with their documents that no run since ``run`` named."""
        query = (
            sa.select(_ITEMS.c.item, _ITEMS.c.document_id)
            .where(
                _ITEMS.c.collection_uid == collection_uid,
                _ITEMS.c.source == source,
                _ITEMS.c.run < run,
            )
            .order_by(_ITEMS.c.item)
            .limit(limit)
        )
        async with self._database.read() as session:
            return [(row.item, row.document_id) for row in await session.execute(query)]

    async def forget(self, collection_uid: str, source: str, item: str) -> None:
        """Forget an item whose document is gone."""
        async with self._database.write() as session:
            await session.execute(
                sa.delete(_ITEMS).where(
                    _ITEMS.c.collection_uid == collection_uid,
                    _ITEMS.c.source == source,
                    _ITEMS.c.item == item,
                )
            )

    async def removals_done(self, collection_uid: str, source: str, run: int, removed: int) -> None:
        """Let the next run begin."""
        async with self._database.write() as session:
            row = await self._row(session, collection_uid, source, lock=True)
            if row is None or row.run != run or row.stage != SyncStage.REMOVING:
                return
            await session.execute(
                sa.update(_SOURCES)
                .where(_SOURCES.c.collection_uid == collection_uid, _SOURCES.c.source == source)
                .values(
                    stage=SyncStage.COMPLETE,
                    counts={**row.counts, "removed": row.counts["removed"] + removed},
                    update_time=self._clock.now(),
                )
            )

    async def tally(
        self, collection_uid: str, source: str, run: int, since: datetime
    ) -> SyncTally | None:
        """Return how the documents of a run fare."""
        uploaded = (
            sa.select(_ITEMS.c.item, _REVISIONS.c.error_reason, _REVISIONS.c.error_message)
            .join(
                _DOCUMENTS,
                sa.and_(
                    _DOCUMENTS.c.collection_uid == _ITEMS.c.collection_uid,
                    _DOCUMENTS.c.id == _ITEMS.c.document_id,
                ),
            )
            .join(_REVISIONS, _REVISIONS.c.document_uid == _DOCUMENTS.c.uid)
            .where(
                _ITEMS.c.collection_uid == collection_uid,
                _ITEMS.c.source == source,
                _ITEMS.c.run >= run,
                _REVISIONS.c.create_time >= since,
            )
        )
        processing = uploaded.where(_REVISIONS.c.state == RevisionState.PROCESSING).subquery()
        failed = uploaded.where(
            _REVISIONS.c.state == RevisionState.FAILED,
            _REVISIONS.c.version == _DOCUMENTS.c.versions,
        )
        async with self._database.read() as session:
            if await self._row(session, collection_uid, source) is None:
                return None
            count = await session.execute(sa.select(sa.func.count()).select_from(processing))
            rows = await session.execute(failed.order_by(_ITEMS.c.item).limit(MAX_PROBLEMS))
            problems = tuple(
                SyncProblem(row.item, 0, row.error_reason, row.error_message) for row in rows
            )
            return SyncTally(count.scalar_one(), problems)

    async def report(self, payload: JSON, counts: SyncCounts, processing: int) -> None:
        """Update the operation of a run."""
        await self._operations.update(
            self._operations.name(payload["operation"]),
            self._progress_message(payload["name"], counts, processing),
        )

    async def finish(
        self,
        payload: JSON,
        counts: SyncCounts,
        problems: Sequence[SyncProblem],
        error: AtriumError | None,
    ) -> None:
        """End the operation of a run."""
        name = self._operations.name(payload["operation"])
        async with self._database.write() as session:
            if error is not None:
                await self._operations.fail(name, error, session=session)
            else:
                done = self._progress_message(payload["name"], counts, 0)
                await self._operations.update(name, done, session=session)
                report = self._report_message(payload["name"], counts, problems)
                await self._operations.finish(name, report, session=session)
            await self._settle(session, payload)

    async def abandon(self, payload: JSON) -> None:
        """Let the next run begin although this one is not finished."""
        async with self._database.write() as session:
            await self._settle(session, payload)

    async def unfinished(self) -> Sequence[JSON]:
        """Return what the jobs of runs need that ended and are not finished."""
        async with self._database.read() as session:
            rows = await session.execute(sa.select(_SOURCES.c.finishing))
            return [payload for payload in rows.scalars() if payload]

    async def _settle(self, session: AsyncSession, payload: JSON) -> None:
        """Whatever ended the job of a run, the next one may begin."""
        mine = _SOURCES.c.operation_id == payload["operation"]
        await session.execute(sa.update(_SOURCES).where(mine).values(finishing=None))
        await session.execute(
            sa.update(_SOURCES)
            .where(mine, _SOURCES.c.stage == SyncStage.REMOVING)
            .values(stage=SyncStage.COMPLETE, update_time=self._clock.now())
        )

    async def _row(
        self, session: AsyncSession, collection_uid: str, source: str, *, lock: bool = False
    ) -> sa.Row[Any] | None:
        query = sa.select(_SOURCES).where(
            _SOURCES.c.collection_uid == collection_uid, _SOURCES.c.source == source
        )
        return (await session.execute(query.with_for_update() if lock else query)).one_or_none()

    async def _held_by(self, session: AsyncSession, run: SyncRun) -> sa.Row[Any]:
        """Return the source, provided that the stream still holds it, and hold it on."""
        row = await self._row(session, run.collection.uid, run.source, lock=True)
        if row is None:
            raise CollectionNotFound(run.collection.name)
        if row.holder != run.holder:
            raise SyncUnderWay(run.name)
        await self._change(session, run)
        return row

    async def _change(self, session: AsyncSession, run: SyncRun, **values: object) -> None:
        now = self._clock.now()
        await session.execute(
            sa.update(_SOURCES)
            .where(_SOURCES.c.collection_uid == run.collection.uid, _SOURCES.c.source == run.source)
            .values(lease_time=now + LEASE, update_time=now, **values)
        )

    def _held(self, row: sa.Row[Any], replica: str, here: AnyCollection[str]) -> bool:
        """Say whether a stream that still lives holds a source."""
        if not row.holder:
            return False
        if row.holder.rpartition("/")[0] == replica:
            # Our own streams are known; one from before a restart is dead.
            return row.holder in here
        return bool(row.lease_time > self._clock.now())


def _key(run: SyncRun, item: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        _ITEMS.c.collection_uid == run.collection.uid,
        _ITEMS.c.source == run.source,
        _ITEMS.c.item == item,
    )
