"""Which models serve a task, in order of preference."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from atrium_gateway.domain.generation import CacheMode, Grounding
from atrium_gateway.domain.models import Capability

ROUTE_PREFIX = "routes/"
DEFAULT_TASK = "default"
DEFAULT_TIMEOUT_SECONDS = 120.0
DEFAULT_MAX_TOKENS = 512

# Encoders also rerank and classify, so the route of "embed" serves these where they have none.
_ROUTE_NAMES = {
    Capability.GENERATE: (),
    Capability.EMBED: ("embed",),
    Capability.RERANK: ("rerank", "embed"),
    Capability.CLASSIFY: ("classify", "embed"),
    Capability.READ: ("read",),
}


class RouteOrigin(StrEnum):
    """Where a route was set."""

    FILE = "file"
    TENANT = "tenant"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One model of a route.

    Attributes:
        model: Resource name of the model.
        timeout_seconds: Longest wait for the whole reply.
        max_tokens: Most tokens to write when the request does not say.
        optional: Passed over without a word where the installation does not have the model, or
            has it switched off.
        weight: Share of the calls for which it is asked first, against the other weights of the
            route. 0: asked only when those before it fail.
    """

    model: str
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    max_tokens: int = DEFAULT_MAX_TOKENS
    optional: bool = False
    weight: int = 0


@dataclass(frozen=True, slots=True)
class Route:
    """The candidates of a task, first choice first.

    Attributes:
        task: A task ("knowledge.answer"), a prefix of tasks ("knowledge"), the name of a
            capability ("embed") or "default".
        candidates: At least one.
        origin: Where it was set.
        grounding: How closely replies keep to their sources when the request does not say.
        cache: Whether the cache may be used when the request does not say.
    """

    task: str
    candidates: tuple[Candidate, ...]
    origin: RouteOrigin
    grounding: Grounding = Grounding.TOLERANT
    cache: CacheMode = CacheMode.OFF

    @property
    def name(self) -> str:
        """Resource name, ``"routes/knowledge.answer"``."""
        return ROUTE_PREFIX + self.task


LOTS = 1 << 64
"""How many lots there are; see :func:`in_order`."""


def in_order(candidates: tuple[Candidate, ...], lot: int) -> tuple[Candidate, ...]:
    """Return the candidates in the order in which a call asks them.

    The arm that is drawn comes first, then the others in the order of the route. Without weights
    that is the order of the route.

    Args:
        candidates: At least one.
        lot: Where the caller falls, 0 to ``LOTS - 1``. When weights change and their order stays,
            no more lots change their arm than must.
    """
    total = sum(candidate.weight for candidate in candidates)
    if not total:
        return candidates
    mark = lot * total // LOTS  # whole numbers: no arm gains by rounding
    for drawn in candidates:
        mark -= drawn.weight
        if mark < 0:
            return (drawn, *(other for other in candidates if other is not drawn))
    raise AssertionError("unreachable: the mark lies below the sum of the weights")


class RouteTable:
    """The routes that hold for one tenant: its own over the operator's of the same name.

    Args:
        operator: Routes of the operator's file.
        tenant: Routes that the tenant set.
    """

    def __init__(self, operator: Iterable[Route], tenant: Iterable[Route] = ()) -> None:
        self._routes: Mapping[str, Route] = {
            route.task: route for routes in (operator, tenant) for route in routes
        }

    def routes(self) -> list[Route]:
        """All routes, by name."""
        return [self._routes[task] for task in sorted(self._routes)]

    def find(self, task: str) -> Route | None:
        """Return the route of a task or of the longest prefix that has one, or None."""
        for name in _prefixes(task):
            route = self._routes.get(name)
            if route is not None:
                return route
        return None

    def resolve(
        self,
        task: str,
        capability: Capability,
        capabilities_of: Callable[[Candidate], frozenset[Capability] | None],
    ) -> Route | None:
        """Return the most specific route with a candidate that can do what is asked.

        The task itself comes first, then its prefixes ("knowledge.answer", "knowledge"), then the
        routes named after what is asked ("rerank", "embed"), then "default". So a tenant that
        routes "knowledge" to a generator still embeds "knowledge.embed" on the installation's
        encoder.

        Args:
            task: Task of the request.
            capability: What is asked.
            capabilities_of: What a candidate's model can do; None when there is none to ask.

        Returns:
            The route with only the candidates that can do it, or None. A candidate without a
            model stays, unless it is optional: a route whose models are gone fails rather than
            sending its texts to where the tenant did not route them.
        """
        for name in _route_names(task, capability):
            route = self._routes.get(name)
            if route is None:
                continue
            able = []
            for candidate in route.candidates:
                capabilities = capabilities_of(candidate)
                if capabilities is None and candidate.optional:
                    continue
                if capabilities is None or capability in capabilities:
                    able.append(candidate)
            if len(able) == len(route.candidates):
                return route
            if able:
                return replace(route, candidates=tuple(able))
        return None


def _prefixes(task: str) -> Iterator[str]:
    name = task
    while name:
        yield name
        name = name.rpartition(".")[0]


def _route_names(task: str, capability: Capability) -> Iterator[str]:
    yield from _prefixes(task)
    yield from _ROUTE_NAMES[capability]
    yield DEFAULT_TASK
