"""Lists, shows, rolls back and removes adapters; removes files that nobody needs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from atrium_gateway.app.adapter_fleet import AdapterBase, AdapterFleet
from atrium_gateway.app.adapter_ports import AdapterStore
from atrium_gateway.app.page import Page, cut_page
from atrium_gateway.app.ports import RouteStore
from atrium_gateway.app.roll_out_adapter import RollOutAdapter
from atrium_gateway.domain.adapter_errors import AdapterInUse
from atrium_gateway.domain.adapters import ADAPTER_PREFIX, Adapter, folder_key
from atrium_shared.audit import AuditEvent, AuditSink, Decision
from atrium_shared.blobs import BlobStore
from atrium_shared.clock import Clock
from atrium_shared.operations import Operation
from atrium_shared.paging import decode_page_token, page_size
from atrium_shared.principal import Principal

_UNLOADED_BY = timedelta(minutes=1)
"""Servers read an adapter's files again while they list it, so files go after its name."""


class ListAdapters:
    """Use case of ``ListAdapters`` and ``GetAdapter``.

    Args:
        store: Keeps adapters.
    """

    def __init__(self, store: AdapterStore) -> None:
        self._store = store

    async def __call__(self, principal: Principal, size: int, token: str) -> Page[Adapter]:
        """Return a page of the tenant's adapters, by name.

        Raises:
            PageTokenInvalid: The token belongs to another request.
        """
        fingerprint = f"{principal.tenant} ListAdapters"
        after = decode_page_token(token, fingerprint)
        most = page_size(size)
        adapters = await self._store.list(principal.tenant, after, most + 1)
        return cut_page(adapters, most, lambda adapter: adapter.id, fingerprint)

    async def get(self, principal: Principal, name: str) -> Adapter:
        """Return an adapter of the tenant.

        Raises:
            AdapterNotFound: The tenant has no such adapter.
        """
        return await self._store.get(principal.tenant, name.removeprefix(ADAPTER_PREFIX))


class RollbackAdapter:
    """Use case of ``RollbackAdapter``.

    Args:
        store: Keeps adapters.
        roll_out: Brings versions to servers.
        audit: Records the change.
    """

    def __init__(self, store: AdapterStore, roll_out: RollOutAdapter, audit: AuditSink) -> None:
        self._store = store
        self._roll_out = roll_out
        self._audit = audit

    async def __call__(self, principal: Principal, name: str, version: int) -> Operation:
        """Begin to answer with an earlier version.

        Args:
            principal: Who asks.
            name: Resource name.
            version: Which; 0: the one that answered before.

        Raises:
            AdapterNotFound: The tenant has no such adapter.
            AdapterVersionNotFound: It has no such version.
        """
        await self._audit.record(
            AuditEvent.of(
                principal,
                "gateway.RollbackAdapter",
                name,
                Decision.ALLOWED,
                detail=f"version {version}",
            )
        )
        adapter = name.removeprefix(ADAPTER_PREFIX)
        operation, rollout = await self._store.begin_rollback(
            principal.tenant, principal.subject, adapter, version
        )
        await self._roll_out.submit(rollout)
        return operation


class DeleteAdapter:
    """Use case of ``DeleteAdapter``.

    Args:
        store: Keeps adapters.
        routes: Says which routes name it.
        fleet: The servers that hold it.
        audit: Records the change.
        clock: Tells the time.
    """

    def __init__(
        self,
        store: AdapterStore,
        routes: RouteStore,
        fleet: AdapterFleet,
        audit: AuditSink,
        clock: Clock,
    ) -> None:
        self._store = store
        self._routes = routes
        self._fleet = fleet
        self._audit = audit
        self._clock = clock

    async def __call__(self, principal: Principal, name: str) -> None:
        """Remove an adapter with all versions.

        Raises:
            AdapterNotFound: The tenant has no such adapter.
            AdapterInUse: A route of the tenant names it.
        """
        adapter = await self._store.get(principal.tenant, name.removeprefix(ADAPTER_PREFIX))
        naming = [
            route.name
            for route in await self._routes.list_routes(principal.tenant)
            if any(candidate.model == adapter.model for candidate in route.candidates)
        ]
        if naming:
            raise AdapterInUse(name, naming)
        await self._audit.record(
            AuditEvent.of(principal, "gateway.DeleteAdapter", name, Decision.ALLOWED)
        )
        remove_after = self._clock.now() + _UNLOADED_BY
        await self._store.delete(principal.tenant, adapter.id, remove_after)
        await self._fleet.refresh()
        self._fleet.check_now()


class SweepAdapters:
    """Removes the files of deleted adapters and of uploads that never ended.

    Args:
        store: Says which.
        blobs: Where files are stored.
        bases: Say where servers read them.
        clock: Tells the time.
    """

    def __init__(
        self, store: AdapterStore, blobs: BlobStore, bases: Iterable[AdapterBase], clock: Clock
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._bases = tuple(bases)
        self._clock = clock

    async def __call__(self) -> None:
        """Remove what is to go by now."""
        for left in await self._store.leftovers(self._clock.now()):
            if left.served_name:
                for base in self._bases:
                    await base.folders.remove(left.served_name)
            await self._blobs.delete_folder(folder_key(left.tenant, left.uid))
            await self._store.end_upload(left.uid)
