"""Lists, sets and removes routes."""

from __future__ import annotations

from dataclasses import replace

from atrium_gateway.app.catalog import Catalog
from atrium_gateway.app.page import Page, cut_page
from atrium_gateway.app.ports import RouteStore
from atrium_gateway.app.resolve_route import ResolveRoute
from atrium_gateway.domain.errors import RouteModelUnknown, RouteNotFound
from atrium_gateway.domain.routes import ROUTE_PREFIX, Route, RouteOrigin
from atrium_shared.audit import AuditEvent, AuditSink, Decision
from atrium_shared.paging import decode_page_token, page_size
from atrium_shared.principal import Principal


class ListRoutes:
    """Use case of ``ListRoutes``.

    Args:
        routes: The tables of all tenants.
    """

    def __init__(self, routes: ResolveRoute) -> None:
        self._routes = routes

    async def __call__(self, principal: Principal, size: int, token: str) -> Page[Route]:
        """Return a page of the routes that hold for the tenant, by name.

        Raises:
            PageTokenInvalid: The token belongs to another request.
        """
        fingerprint = f"{principal.tenant} ListRoutes"
        after = decode_page_token(token, fingerprint)
        table = await self._routes.table(principal.tenant)
        routes = [route for route in table.routes() if route.task > after]
        return cut_page(routes, page_size(size), lambda route: route.task, fingerprint)


class UpdateRoute:
    """Use case of ``UpdateRoute``.

    Args:
        store: Keeps the tenants' routes.
        routes: The tables to refresh.
        catalog: The models that a route may name.
        audit: Records the change.
    """

    def __init__(
        self, store: RouteStore, routes: ResolveRoute, catalog: Catalog, audit: AuditSink
    ) -> None:
        self._store = store
        self._routes = routes
        self._catalog = catalog
        self._audit = audit

    async def __call__(self, principal: Principal, route: Route) -> Route:
        """Set the tenant's route and return it.

        Raises:
            RouteModelUnknown: It names a model that the installation does not have.
        """
        for index, candidate in enumerate(route.candidates):
            if self._catalog.find(candidate.model, principal.tenant) is None:
                field = f"route.candidates[{index}].model"
                raise RouteModelUnknown(route.name, candidate.model, field=field)
        route = replace(route, origin=RouteOrigin.TENANT)
        models = ", ".join(candidate.model for candidate in route.candidates)
        # Before the change: what the log does not hold must not happen.
        await self._audit.record(
            AuditEvent.of(
                principal, "gateway.UpdateRoute", route.name, Decision.ALLOWED, detail=models
            )
        )
        await self._store.put_route(principal.tenant, route)
        self._routes.forget(principal.tenant)
        return route


class DeleteRoute:
    """Use case of ``DeleteRoute``.

    Args:
        store: Keeps the tenants' routes.
        routes: The tables to refresh.
        audit: Records the change.
    """

    def __init__(self, store: RouteStore, routes: ResolveRoute, audit: AuditSink) -> None:
        self._store = store
        self._routes = routes
        self._audit = audit

    async def __call__(self, principal: Principal, name: str) -> None:
        """Remove the tenant's route, so that the operator's holds again.

        Args:
            principal: Who asks.
            name: Resource name, ``"routes/knowledge.answer"``.

        Raises:
            RouteNotFound: The tenant has no such route.
        """
        task = name.removeprefix(ROUTE_PREFIX)
        owned = await self._store.list_routes(principal.tenant)
        if all(route.task != task for route in owned):
            raise RouteNotFound(name)
        await self._audit.record(
            AuditEvent.of(principal, "gateway.DeleteRoute", name, Decision.ALLOWED)
        )
        await self._store.delete_route(principal.tenant, task)
        self._routes.forget(principal.tenant)
