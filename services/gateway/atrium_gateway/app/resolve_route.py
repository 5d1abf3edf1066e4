"""Which route a call of a tenant takes. Asked by every call, so tables are kept a while."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial

from atrium_gateway.app.catalog import Catalog
from atrium_gateway.app.ports import RouteStore
from atrium_gateway.domain.errors import TaskHasNoModel
from atrium_gateway.domain.models import Capability
from atrium_gateway.domain.routes import Route, RouteTable
from atrium_shared.clock import Clock


class ResolveRoute:
    """Route tables of tenants: the tenant's routes over the operator's.

    Every ``keep_seconds`` one question tells whose routes changed, and their tables are read again
    when they call; so a change made through another replica is seen by then. A change made through
    this one is seen at once.

    Args:
        operator: Routes of the operator's file.
        store: The tenants' own routes.
        catalog: The models.
        clock: Tells the age of a table.
        keep_seconds: How old what is known may be.
        keep_tenants: Most tables kept; the least recently used goes first.
    """

    def __init__(
        self,
        operator: tuple[Route, ...],
        store: RouteStore,
        catalog: Catalog,
        clock: Clock,
        *,
        keep_seconds: float = 5.0,
        keep_tenants: int = 10_000,
    ) -> None:
        self._operator = operator
        self._store = store
        self._catalog = catalog
        self._clock = clock
        self._keep_seconds = keep_seconds
        self._keep_tenants = keep_tenants
        self._tables: OrderedDict[str, tuple[int, RouteTable]] = OrderedDict()
        self._changes = 0
        self._stamps: Mapping[str, int] = {}
        self._known_until = -math.inf
        self._asking = asyncio.Lock()

    async def route(self, tenant: str, task: str, capability: Capability) -> Route:
        """Return the route of a task with the candidates that can do what is asked, at least one.

        Raises:
            TaskHasNoModel: No route of the task leads to a model that can do it.
        """
        table = await self.table(tenant)
        capabilities_of = partial(self._catalog.capabilities_of, tenant=tenant)
        route = table.resolve(task, capability, capabilities_of)
        if route is None:
            raise TaskHasNoModel(task, capability.value)
        return route

    async def table(self, tenant: str) -> RouteTable:
        """Return the routes that hold for a tenant."""
        if self._clock.monotonic() >= self._known_until:
            await self._ask_for_stamps()
        stamp = self._stamps.get(tenant, 0)
        kept = self._tables.get(tenant)
        if kept is not None and kept[0] == stamp:
            self._tables.move_to_end(tenant)
            return kept[1]
        changes = self._changes
        # Not older than its stamp; when it is newer, the next stamp has it read once more.
        table = RouteTable(self._operator, await self._store.list_routes(tenant))
        if changes == self._changes:  # else what was read may be older than a change made meanwhile
            self._tables[tenant] = (stamp, table)
            self._tables.move_to_end(tenant)
            if len(self._tables) > self._keep_tenants:
                self._tables.popitem(last=False)
        return table

    async def _ask_for_stamps(self) -> None:
        async with self._asking:
            now = self._clock.monotonic()
            if now < self._known_until:
                return  # somebody else asked meanwhile
            self._stamps = await self._store.stamps()
            self._known_until = now + self._keep_seconds

    def forget(self, tenant: str) -> None:
        """Read the tenant's routes again at its next call; they changed."""
        self._changes += 1
        self._tables.pop(tenant, None)
