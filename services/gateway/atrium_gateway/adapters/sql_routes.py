"""Tenants' routes in the service's database."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict

from sqlalchemy import Delete, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_gateway.adapters.tables import route_stamps, routes
from atrium_gateway.domain.generation import CacheMode, Grounding
from atrium_gateway.domain.routes import Candidate, Route, RouteOrigin
from atrium_shared.database import Database


class SqlRoutes:
    """Routes, one row each.

    Args:
        database: The service's database, started.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_routes(self, tenant: str) -> list[Route]:
        """Return the routes of a tenant, by name."""
        query = (
            select(routes.c.task, routes.c.candidates, routes.c.grounding, routes.c.cache)
            .where(routes.c.tenant == tenant)
            .order_by(routes.c.task)
        )
        async with self._database.read() as session:
            rows = (await session.execute(query)).all()
        return [
            Route(
                row.task,
                tuple(Candidate(**candidate) for candidate in row.candidates),
                RouteOrigin.TENANT,
                Grounding(row.grounding),
                CacheMode(row.cache),
            )
            for row in rows
        ]

    async def put_route(self, tenant: str, route: Route) -> None:
        """Set a route, replacing the one of the same task."""
        candidates = [asdict(candidate) for candidate in route.candidates]
        async with self._database.write() as session:
            await _stamp(session, tenant)
            await session.execute(_one(tenant, route.task))
            await session.execute(
                insert(routes).values(
                    tenant=tenant,
                    task=route.task,
                    candidates=candidates,
                    grounding=route.grounding.value,
                    cache=route.cache.value,
                )
            )

    async def delete_route(self, tenant: str, task: str) -> bool:
        """Remove a route. False when there was none."""
        async with self._database.write() as session:
            await _stamp(session, tenant)
            deleted = await session.execute(_one(tenant, task).returning(routes.c.task))
            return deleted.first() is not None

    async def stamps(self) -> Mapping[str, int]:
        """Return a number for each tenant that ever set a route; every change gives a new one."""
        async with self._database.read() as session:
            rows = await session.execute(select(route_stamps.c.tenant, route_stamps.c.stamp))
            return {row.tenant: row.stamp for row in rows}


async def _stamp(session: AsyncSession, tenant: str) -> None:
    # By chance, not counted on: of two changes at once, one would else count on what it cannot see.
    await session.execute(delete(route_stamps).where(route_stamps.c.tenant == tenant))
    stamp = secrets.randbits(62) + 1
    await session.execute(insert(route_stamps).values(tenant=tenant, stamp=stamp))


def _one(tenant: str, task: str) -> Delete:
    return delete(routes).where(routes.c.tenant == tenant, routes.c.task == task)
