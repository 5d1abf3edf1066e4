"""Adapters of tenants in the service's database.

Two gateways, or two calls, may change one adapter at the same time: every change first bumps the
one row of ``adapter_changes``, which lets writers take turns on PostgreSQL as SQLite does anyhow.
Adapters change a few times a day, so this costs nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_gateway.adapters import tables
from atrium_gateway.app.adapter_ports import Leftover, NewVersion, Rollout
from atrium_gateway.domain.adapter_errors import (
    AdapterInvalid,
    AdapterNotFound,
    AdapterUploadExpired,
    AdapterVersionNotFound,
)
from atrium_gateway.domain.adapters import (
    ADAPTER_PREFIX,
    Adapter,
    AdapterVersion,
    HeldVersion,
    VersionState,
    served_name,
)
from atrium_shared.clock import Ids
from atrium_shared.database import Database
from atrium_shared.errors import AtriumError
from atrium_shared.operations import Operation, OperationStore

_ADAPTERS = tables.adapters
_VERSIONS = tables.adapter_versions
_ROLLOUTS = tables.adapter_rollouts
_LEFTOVERS = tables.adapter_leftovers
_CHANGES = tables.adapter_changes

ProgressMessage = Callable[[str, int, int, int], Message]
"""Makes the metadata of an Operation: adapter's name, version, servers ready, servers in all."""


class SqlAdapters:
    """Implements ``AdapterStore``.

    Args:
        database: The service's database.
        operations: Operations of roll-outs.
        ids: Makes their identifiers.
        progress_message: Makes the metadata of an Operation.
        adapter_message: Makes its response.
    """

    def __init__(
        self,
        database: Database,
        operations: OperationStore,
        ids: Ids,
        *,
        progress_message: ProgressMessage,
        adapter_message: Callable[[Adapter], Message],
    ) -> None:
        self._database = database
        self._operations = operations
        self._ids = ids
        self._progress_message = progress_message
        self._adapter_message = adapter_message

    async def begin_upload(self, tenant: str, uid: str, remove_after: datetime) -> None:
        """Remember that files come."""
        async with self._database.write() as session:
            await session.execute(
                sa.insert(_LEFTOVERS).values(
                    uid=uid, tenant=tenant, served_name="", remove_after=remove_after
                )
            )

    async def end_upload(self, uid: str) -> None:
        """Forget files that are gone."""
        async with self._database.write() as session:
            await session.execute(sa.delete(_LEFTOVERS).where(_LEFTOVERS.c.uid == uid))

    async def leftovers(self, now: datetime) -> Sequence[Leftover]:
        """Return the files that are to go by now."""
        query = sa.select(_LEFTOVERS).where(_LEFTOVERS.c.remove_after <= now)
        async with self._database.read() as session:
            rows = await session.execute(query)
            return [Leftover(row.tenant, row.uid, row.served_name) for row in rows]

    async def add_version(self, new: NewVersion, now: datetime) -> tuple[Operation, Rollout]:
        """Add a version with its roll-out."""
        name = ADAPTER_PREFIX + new.adapter
        async with self._change() as session:
            # Its note guards the files; once its time is over they may be going already.
            kept = await session.execute(
                sa.delete(_LEFTOVERS)
                .where(_LEFTOVERS.c.uid == new.uid, _LEFTOVERS.c.remove_after > now)
                .returning(_LEFTOVERS.c.uid)
            )
            if kept.one_or_none() is None:
                raise AdapterUploadExpired(name)
            adapter = await _find(session, new.tenant, new.adapter)
            if adapter is None:
                await session.execute(
                    sa.insert(_ADAPTERS).values(
                        tenant=new.tenant,
                        id=new.adapter,
                        base_model=new.base_model,
                        serving=0,
                        previous=0,
                        asked=0,
                        serving_asked=0,
                    )
                )
            elif adapter.base_model != new.base_model:
                raise AdapterInvalid(
                    name,
                    f"its versions belong to {adapter.base_model!r}, not to {new.base_model!r}; "
                    "give the new one another name",
                )
            newest = await session.scalar(
                sa.select(sa.func.max(_VERSIONS.c.number)).where(
                    _VERSIONS.c.tenant == new.tenant, _VERSIONS.c.adapter == new.adapter
                )
            )
            number = (newest or 0) + 1
            await session.execute(
                sa.insert(_VERSIONS).values(
                    tenant=new.tenant,
                    adapter=new.adapter,
                    number=number,
                    uid=new.uid,
                    state=VersionState.ROLLING_OUT,
                    rank=new.rank,
                    size_bytes=new.size_bytes,
                    sha256=new.sha256,
                    create_time=now,
                    note=new.note,
                    failure="",
                )
            )
            version = HeldVersion(
                new.tenant,
                new.adapter,
                new.base_model,
                number,
                new.uid,
                VersionState.ROLLING_OUT,
            )
            return await self._begin(session, version, new.owner)

    async def begin_rollback(
        self, tenant: str, owner: str, adapter: str, number: int
    ) -> tuple[Operation, Rollout]:
        """Roll out a version that is stored already."""
        name = ADAPTER_PREFIX + adapter
        async with self._change() as session:
            found = await _find(session, tenant, adapter)
            if found is None:
                raise AdapterNotFound(name)
            which = number or found.previous
            row = (
                await session.execute(
                    sa.select(_VERSIONS.c.uid, _VERSIONS.c.state).where(
                        *_one(_VERSIONS, tenant, adapter), _VERSIONS.c.number == which
                    )
                )
            ).one_or_none()
            if row is None:
                raise AdapterVersionNotFound(name, number)
            state = VersionState(row.state)
            if state is not VersionState.SERVING:
                state = VersionState.ROLLING_OUT
                await _set_version(session, tenant, adapter, which, state=state, failure="")
            version = HeldVersion(tenant, adapter, found.base_model, which, row.uid, state)
            return await self._begin(session, version, owner)

    async def rollout(self, rollout_id: str) -> Rollout | None:
        """Return a roll-out that is not over, or None."""
        async with self._database.read() as session:
            row = (
                await session.execute(_rollouts().where(_ROLLOUTS.c.id == rollout_id))
            ).one_or_none()
        return None if row is None else self._to_rollout(row)

    async def unfinished(self) -> Sequence[Rollout]:
        """Return the roll-outs of all tenants that are not over."""
        async with self._database.read() as session:
            return [self._to_rollout(row) for row in await session.execute(_rollouts())]

    async def progress(self, rollout: Rollout, ready: int, replicas: int) -> None:
        """Tell the roll-out's Operation how many servers hold it."""
        version = rollout.version
        message = self._progress_message(
            ADAPTER_PREFIX + version.adapter, version.number, ready, replicas
        )
        await self._operations.update(rollout.operation, message)

    async def switch(self, rollout: Rollout) -> None:
        """Let the version answer, unless what was asked for later answers already."""
        tenant, id_, number = _key(rollout)
        async with self._change() as session:
            asked = await session.scalar(
                sa.select(_ROLLOUTS.c.asked).where(_ROLLOUTS.c.id == rollout.id)
            )
            adapter = await _find(session, tenant, id_)
            if asked is None or adapter is None:
                return
            if asked < adapter.serving_asked:
                if adapter.serving != number:
                    state = VersionState.KEPT
                    await _set_version(session, tenant, id_, number, state=state)
                return
            if adapter.serving != number:
                await _set_version(
                    session, tenant, id_, adapter.serving, state=VersionState.KEPT, failure=""
                )
            await _set_version(session, tenant, id_, number, state=VersionState.SERVING, failure="")
            values = {"serving": number, "serving_asked": asked}
            if adapter.serving != number:
                values["previous"] = adapter.serving
            await session.execute(sa.update(_ADAPTERS).where(*_adapter(tenant, id_)).values(values))

    async def finish(self, rollout: Rollout) -> None:
        """End a roll-out whose version every server holds."""
        tenant, id_, _ = _key(rollout)
        async with self._change() as session:
            if await _end(session, rollout):
                adapter = await _get(session, tenant, id_)
                await self._operations.finish(
                    rollout.operation, self._adapter_message(adapter), session=session
                )

    async def fail(self, rollout: Rollout, error: AtriumError, why: str) -> None:
        """End a roll-out that failed."""
        tenant, id_, number = _key(rollout)
        async with self._change() as session:
            if not await _end(session, rollout):
                return
            still = await session.scalar(
                sa.select(sa.func.count())
                .select_from(_ROLLOUTS)
                .where(*_one(_ROLLOUTS, tenant, id_), _ROLLOUTS.c.number == number)
            )
            if not still:
                await session.execute(
                    sa.update(_VERSIONS)
                    .where(
                        *_one(_VERSIONS, tenant, id_),
                        _VERSIONS.c.number == number,
                        _VERSIONS.c.state == VersionState.ROLLING_OUT,
                    )
                    .values(state=VersionState.FAILED, failure=why)
                )
            await self._operations.fail(rollout.operation, error, session=session)

    async def get(self, tenant: str, adapter: str) -> Adapter:
        """Return an adapter."""
        async with self._database.read() as session:
            return await _get(session, tenant, adapter)

    async def list(self, tenant: str, after: str, limit: int) -> Sequence[Adapter]:
        """Return the tenant's adapters whose ids follow ``after``."""
        query = (
            sa.select(_ADAPTERS)
            .where(_ADAPTERS.c.tenant == tenant, _ADAPTERS.c.id > after)
            .order_by(_ADAPTERS.c.id)
            .limit(limit)
        )
        async with self._database.read() as session:
            rows = (await session.execute(query)).all()
            versions = await session.execute(
                _newest_first().where(
                    _VERSIONS.c.tenant == tenant,
                    _VERSIONS.c.adapter.in_([row.id for row in rows]),
                )
            )
            by_adapter: dict[str, list[sa.Row[Any]]] = {}
            for version in versions:
                by_adapter.setdefault(version.adapter, []).append(version)
        return [_to_adapter(row, by_adapter.get(row.id, ())) for row in rows]

    async def delete(self, tenant: str, adapter: str, remove_after: datetime) -> None:
        """Remove an adapter with its versions; its files are to go by then."""
        name = ADAPTER_PREFIX + adapter
        async with self._change() as session:
            found = await _get(session, tenant, adapter)
            under_way = await session.scalars(
                sa.select(_ROLLOUTS.c.id).where(*_one(_ROLLOUTS, tenant, adapter))
            )
            for rollout in under_way.all():
                await self._operations.fail(
                    self._operations.name(rollout), AdapterNotFound(name), session=session
                )
            for version in found.versions:
                await session.execute(
                    sa.insert(_LEFTOVERS).values(
                        uid=version.uid,
                        tenant=tenant,
                        served_name=served_name(tenant, adapter, version.number, version.uid),
                        remove_after=remove_after,
                    )
                )
            await session.execute(sa.delete(_ADAPTERS).where(*_adapter(tenant, adapter)))

    async def held(self) -> Sequence[HeldVersion]:
        """Return what servers may hold, of all tenants."""
        states = (VersionState.SERVING, VersionState.ROLLING_OUT)
        query = _joined().where(
            sa.or_(_VERSIONS.c.state.in_(states), _VERSIONS.c.number == _ADAPTERS.c.previous)
        )
        async with self._database.read() as session:
            return [_to_held(row) for row in await session.execute(query)]

    async def stamp(self) -> object:
        """Return a value that differs when ``held`` may return something else."""
        async with self._database.read() as session:
            return await session.scalar(sa.select(_CHANGES.c.changes))

    @asynccontextmanager
    async def _change(self) -> AsyncIterator[AsyncSession]:
        async with self._database.write() as session:
            await session.execute(
                sa.update(_CHANGES).values(changes=_CHANGES.c.changes + 1)  # writers take turns
            )
            yield session

    async def _begin(
        self, session: AsyncSession, version: HeldVersion, owner: str
    ) -> tuple[Operation, Rollout]:
        tenant, adapter = version.tenant, version.adapter
        asked = await session.scalar(
            sa.update(_ADAPTERS)
            .where(*_adapter(tenant, adapter))
            .values(asked=_ADAPTERS.c.asked + 1)
            .returning(_ADAPTERS.c.asked)
        )
        id_ = self._ids.new("r")
        await session.execute(
            sa.insert(_ROLLOUTS).values(
                id=id_, tenant=tenant, adapter=adapter, number=version.number, asked=asked
            )
        )
        operation = await self._operations.create(
            session,
            op_id=id_,
            tenant=tenant,
            owner=owner,
            metadata=self._progress_message(ADAPTER_PREFIX + adapter, version.number, 0, 0),
        )
        return operation, Rollout(operation.name, id_, version)

    def _to_rollout(self, row: sa.Row[Any]) -> Rollout:
        return Rollout(self._operations.name(row.rollout), row.rollout, _to_held(row))


def _one(table: sa.Table, tenant: str, adapter: str) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.tenant == tenant, table.c.adapter == adapter


def _adapter(tenant: str, adapter: str) -> tuple[sa.ColumnElement[bool], ...]:
    return _ADAPTERS.c.tenant == tenant, _ADAPTERS.c.id == adapter


def _key(rollout: Rollout) -> tuple[str, str, int]:
    version = rollout.version
    return version.tenant, version.adapter, version.number


def _joined(*more: sa.ColumnElement[Any]) -> sa.Select[Any]:
    return sa.select(
        _VERSIONS.c.tenant,
        _VERSIONS.c.adapter,
        _ADAPTERS.c.base_model,
        _VERSIONS.c.number,
        _VERSIONS.c.uid,
        _VERSIONS.c.state,
        *more,
    ).join(_ADAPTERS)


def _rollouts() -> sa.Select[Any]:
    return _joined(_ROLLOUTS.c.id.label("rollout")).join(
        _ROLLOUTS,
        sa.and_(
            _ROLLOUTS.c.tenant == _VERSIONS.c.tenant,
            _ROLLOUTS.c.adapter == _VERSIONS.c.adapter,
            _ROLLOUTS.c.number == _VERSIONS.c.number,
        ),
    )


def _newest_first() -> sa.Select[Any]:
    return sa.select(_VERSIONS).order_by(_VERSIONS.c.number.desc())


async def _find(session: AsyncSession, tenant: str, adapter: str) -> sa.Row[Any] | None:
    query = sa.select(_ADAPTERS).where(*_adapter(tenant, adapter))
    return (await session.execute(query)).one_or_none()


async def _get(session: AsyncSession, tenant: str, adapter: str) -> Adapter:
    found = await _find(session, tenant, adapter)
    if found is None:
        raise AdapterNotFound(ADAPTER_PREFIX + adapter)
    versions = await session.execute(_newest_first().where(*_one(_VERSIONS, tenant, adapter)))
    return _to_adapter(found, versions.all())


async def _set_version(
    session: AsyncSession, tenant: str, adapter: str, number: int, **values: object
) -> None:
    await session.execute(
        sa.update(_VERSIONS)
        .where(*_one(_VERSIONS, tenant, adapter), _VERSIONS.c.number == number)
        .values(**values)
    )


async def _end(session: AsyncSession, rollout: Rollout) -> bool:
    gone = await session.execute(
        sa.delete(_ROLLOUTS).where(_ROLLOUTS.c.id == rollout.id).returning(_ROLLOUTS.c.id)
    )
    return gone.one_or_none() is not None


def _to_held(row: sa.Row[Any]) -> HeldVersion:
    return HeldVersion(
        row.tenant, row.adapter, row.base_model, row.number, row.uid, VersionState(row.state)
    )


def _to_adapter(row: sa.Row[Any], versions: Iterable[sa.Row[Any]]) -> Adapter:
    return Adapter(
        row.tenant,
        row.id,
        row.base_model,
        row.serving,
        row.previous,
        tuple(
            AdapterVersion(
                number=version.number,
                uid=version.uid,
                state=VersionState(version.state),
                rank=version.rank,
                size_bytes=version.size_bytes,
                sha256=version.sha256,
                create_time=version.create_time,
                note=version.note,
                failure=version.failure,
            )
            for version in versions
        ),
    )
