"""Finds the tasks that have routes: to an OpenAI client they are the models."""

from __future__ import annotations

import re

from atrium_gateway.app.resolve_route import ResolveRoute
from atrium_gateway.domain.routes import Route
from atrium_shared.principal import Principal

_TASK = re.compile(r"(?=.{1,64}\Z)[a-z][a-z0-9_-]*([.][a-z0-9_-]+)*")


class FindTasks:
    """Use case of the OpenAI API's list of models.

    Args:
        routes: The tables of all tenants.
    """

    def __init__(self, routes: ResolveRoute) -> None:
        self._routes = routes

    async def __call__(self, principal: Principal) -> list[Route]:
        """Return the routes that hold for the tenant, by task."""
        return (await self._routes.table(principal.tenant)).routes()

    async def find(self, principal: Principal, task: str) -> Route | None:
        """Return the most specific route of a task, or None when it has none of its own.

        "knowledge.answer" has one where "knowledge" has; "default" is no other task's own.
        """
        if _TASK.fullmatch(task) is None:
            return None
        return (await self._routes.table(principal.tenant)).find(task)
