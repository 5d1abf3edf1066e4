"""The gateway's real parts in this process; only servers of models are played."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import atrium_gateway
from atrium_gateway.adapters.json_schemas import JsonSchemaCompiler
from atrium_gateway.adapters.monty_sandbox import MontySandbox
from atrium_gateway.adapters.sql_outcomes import SqlOutcomes
from atrium_gateway.adapters.sql_quotas import SqlLedgers, SqlQuotas
from atrium_gateway.adapters.sql_routes import SqlRoutes
from atrium_gateway.adapters.sql_usage import SqlUsage
from atrium_gateway.app.adapter_fleet import AdapterBase, AdapterFleet
from atrium_gateway.app.adapter_models import AdapterModels
from atrium_gateway.app.audit_calls import AuditCalls
from atrium_gateway.app.budgets import LeasedBudgets
from atrium_gateway.app.calculate import Calculate
from atrium_gateway.app.caller import Caller
from atrium_gateway.app.catalog import Catalog, Replica, ServedModel
from atrium_gateway.app.dispatch import Dispatch
from atrium_gateway.app.generate_text import GenerateText
from atrium_gateway.app.generation_names import GenerationNames
from atrium_gateway.app.list_usage import ListUsage
from atrium_gateway.app.manage_quotas import DeleteQuota, ListQuotas, UpdateQuota
from atrium_gateway.app.manage_routes import DeleteRoute, ListRoutes, UpdateRoute
from atrium_gateway.app.meter_usage import MeterUsage
from atrium_gateway.app.read_web_pages import ReadWebPages
from atrium_gateway.app.record_outcome import RecordOutcome
from atrium_gateway.app.reply_cache import MemoryReplyCache, Vector
from atrium_gateway.app.report_costs import ReportCosts
from atrium_gateway.app.residency import RedactingGuard
from atrium_gateway.app.resolve_route import ResolveRoute
from atrium_gateway.app.upstreams import Upstream
from atrium_gateway.domain.adapters import HeldVersion
from atrium_gateway.domain.generation import Completed, Delta, Finished, FinishReason, Prompt
from atrium_gateway.domain.models import READY, Capability, Location, Model, ModelStatus
from atrium_gateway.domain.pii import Detector
from atrium_gateway.domain.similarity import PLAIN_SCALE, SimilarityScale
from atrium_grounding.tokens import fold
from atrium_shared.audit import MemoryAuditSink
from atrium_shared.clock import FixedClock
from atrium_shared.database import Database
from atrium_shared.engines import Usage

from .worlds import TOPICS

BASE = "models/base"
_KEY = bytes(range(32))
_MIGRATIONS = Path(atrium_gateway.__file__).parent / "migrations"


async def topic_vectors(caller: Caller, text: str) -> tuple[Vector, SimilarityScale]:
    """Return the same vector for all questions of one topic, whoever asks.

    The best encoder there could be, and so the one that holds the least apart.
    """
    folded = " ".join(fold(text).split())
    found = next((place for place, topic in enumerate(TOPICS) if topic in folded), 0)
    return np.eye(len(TOPICS), dtype=np.float32)[found], PLAIN_SCALE


class Speaker:
    """A model that says one thing.

    Args:
        says: What.
    """

    def __init__(self, says: str) -> None:
        self._says = says

    async def status(self) -> ModelStatus:
        """Return that it answers."""
        return READY

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta | Finished, None]:
        """Say it in one part."""
        yield Delta(self._says)
        yield Finished(FinishReason.STOP, Usage(7, 3))

    async def complete(self, prompt: Prompt) -> Completed:
        """Say it whole."""
        return Completed(self._says, FinishReason.STOP, Usage(7, 3))


@dataclass
class Server:
    """A server of the base model. Whoever knows an adapter's name there is answered by it.

    Attributes:
        upstream: What dispatch knows of it.
        says: What each adapter says, by its name there.
    """

    upstream: Upstream
    says: dict[str, str] = field(default_factory=dict)

    async def held(self) -> frozenset[str]:
        """Return the names of all adapters."""
        return frozenset(self.says)

    async def load(self, served_name: str, folder: str) -> None:
        """Hold it already."""

    async def unload(self, served_name: str) -> None:
        """Keep it."""

    def generator(self, model: str, served_name: str) -> Speaker:
        """Return what speaks with an adapter."""
        return Speaker(self.says[served_name])

    def encoder(self, model: str, served_name: str) -> None:
        """Return None: its adapters write text."""


class _Folders:
    async def put(self, version: HeldVersion) -> str:
        return version.served_name

    async def remove(self, served_name: str) -> None:
        pass


@dataclass
class Versions:
    """What servers may hold; the part of ``AdapterStore`` that a fleet reads."""

    versions: list[HeldVersion] = field(default_factory=list)

    async def stamp(self) -> int:
        """Return a number that changes with them."""
        return len(self.versions)

    async def held(self) -> Sequence[HeldVersion]:
        """Return all."""
        return list(self.versions)


@dataclass
class House:
    """The use cases that are probed, and what they stand on."""

    cache: MemoryReplyCache
    server: Server
    versions: Versions
    fleet: AdapterFleet
    catalog: Catalog
    names: GenerationNames
    meter: MeterUsage
    budgets: LeasedBudgets
    audit: MemoryAuditSink
    calls: AuditCalls
    routes_store: SqlRoutes
    routes: ResolveRoute
    generate: GenerateText
    record_outcome: RecordOutcome
    list_usage: ListUsage
    report_costs: ReportCosts
    list_quotas: ListQuotas
    update_quota: UpdateQuota
    delete_quota: DeleteQuota
    list_routes: ListRoutes
    update_route: UpdateRoute
    delete_route: DeleteRoute


@asynccontextmanager
async def open_house(folder: Path) -> AsyncIterator[House]:
    """Put the parts together as ``bootstrap`` does, on a database of their own."""
    clock = FixedClock()
    database = Database(
        f"sqlite+aiosqlite:///{folder}/gateway.db", migrations=_MIGRATIONS, name="gateway"
    )
    server = Server(Upstream("server", clock))
    base = Model(BASE, "openai", frozenset({Capability.GENERATE}), location=Location.RESIDENT)
    speaker = Speaker("the base model")
    served = ServedModel(base, (Replica(server.upstream, speaker, speaker, speaker),))
    versions = Versions()
    fleet = AdapterFleet(
        [AdapterBase(BASE, (BASE,), (server,), _Folders())],
        versions,
        clock,
        check_seconds=60,
        rollout_seconds=60,
        also=versions.stamp,
    )
    catalog = Catalog([served], None, AdapterModels(fleet, [served]))
    routes_store, usage_store = SqlRoutes(database), SqlUsage(database)
    quotas, outcomes = SqlQuotas(database), SqlOutcomes(database)
    audit = MemoryAuditSink()
    calls, meter = AuditCalls(audit), MeterUsage(usage_store, clock)
    budgets = LeasedBudgets(quotas, SqlLedgers(database), clock)
    routes = ResolveRoute((), routes_store, catalog, clock)
    guard, names = RedactingGuard(Detector(), timeout_seconds=5), GenerationNames(_KEY, clock)
    dispatch = Dispatch(
        catalog, routes, meter, JsonSchemaCompiler(), budgets, guard, names, arms_key=_KEY
    )
    cache = MemoryReplyCache(clock, topic_vectors, most_bytes=256 << 20)
    calculate = Calculate(dispatch, MontySandbox())
    async with AsyncExitStack() as stack:
        await database.start()
        stack.push_async_callback(database.close)
        for writer in (meter, calls, budgets):
            await writer.start()
            stack.push_async_callback(writer.stop)
        yield House(
            cache,
            server,
            versions,
            fleet,
            catalog,
            names,
            meter,
            budgets,
            audit,
            calls,
            routes_store,
            routes,
            GenerateText(
                dispatch, calls, cache, ReadWebPages(None), calculate, guard, names, meter
            ),
            RecordOutcome(names, outcomes),
            ListUsage(usage_store, meter, catalog, clock),
            ReportCosts(usage_store, meter, outcomes, catalog, clock),
            ListQuotas(quotas, budgets),
            UpdateQuota(quotas, budgets, audit),
            DeleteQuota(quotas, budgets, audit),
            ListRoutes(routes),
            UpdateRoute(routes_store, routes, catalog, audit),
            DeleteRoute(routes_store, routes, audit),
        )
