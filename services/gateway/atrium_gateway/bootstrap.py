"""Wires the gateway: what there is, and what it is made of."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path, PurePosixPath
from secrets import token_bytes
from typing import Literal

from atrium.gateway.v1 import (
    adapter_service_pb2_grpc,
    gateway_service_pb2_grpc,
    quota_service_pb2_grpc,
)
from atrium_documents import DocumentParser
from atrium_gateway.adapters.absent_backend import AbsentBackend
from atrium_gateway.adapters.adapter_folders import SharedAdapterFolders
from atrium_gateway.adapters.config_files import (
    AdaptersEntry,
    ServedByServer,
    read_routes,
    read_servers,
)
from atrium_gateway.adapters.fair_threads import FairThreads
from atrium_gateway.adapters.json_schemas import JsonSchemaCompiler
from atrium_gateway.adapters.llama_cpp_backend import LlamaCppBackend
from atrium_gateway.adapters.local_models import (
    LOCAL_ENCODERS,
    LOCAL_GENERATORS,
    LOCAL_READERS,
    SMALL,
)
from atrium_gateway.adapters.metrics import UpstreamMetrics, count_call
from atrium_gateway.adapters.monty_sandbox import MontySandbox
from atrium_gateway.adapters.onnx_adapter_replica import EncoderAdapterReader, OnnxAdapterReplica
from atrium_gateway.adapters.onnx_adapters import OnnxAdapters
from atrium_gateway.adapters.onnx_backend import OnnxBackend, OnnxReaderBackend
from atrium_gateway.adapters.openai_encoder import OpenAIEncoder
from atrium_gateway.adapters.openai_generator import OpenAIGenerator
from atrium_gateway.adapters.openai_reranker import OpenAIReranker
from atrium_gateway.adapters.openai_server import OpenAIServer
from atrium_gateway.adapters.peft_backend import PeftBackend
from atrium_gateway.adapters.peft_files import PeftFiles
from atrium_gateway.adapters.scripted_backend import (
    CONTEXT_TOKENS,
    SCRIPTED_MODEL,
    ScriptedBackend,
)
from atrium_gateway.adapters.sql_adapters import SqlAdapters
from atrium_gateway.adapters.sql_outcomes import SqlOutcomes
from atrium_gateway.adapters.sql_quotas import SqlLedgers, SqlQuotas
from atrium_gateway.adapters.sql_routes import SqlRoutes
from atrium_gateway.adapters.sql_usage import SqlUsage
from atrium_gateway.adapters.vllm_replica import MakeGenerator, VllmReplica
from atrium_gateway.adapters.web_pages import HttpsPages
from atrium_gateway.app.adapter_fleet import AdapterBase, AdapterFleet
from atrium_gateway.app.adapter_models import AdapterModels
from atrium_gateway.app.audit_calls import AuditCalls
from atrium_gateway.app.budgets import LeasedBudgets
from atrium_gateway.app.calculate import Calculate
from atrium_gateway.app.catalog import Catalog, Replica, ServedModel
from atrium_gateway.app.classify_texts import ClassifyTexts
from atrium_gateway.app.deploy_adapter import AdapterLimits, DeployAdapter
from atrium_gateway.app.dispatch import Dispatch
from atrium_gateway.app.embed_texts import EmbedTexts
from atrium_gateway.app.fair_queue import FairQueue
from atrium_gateway.app.find_tasks import FindTasks
from atrium_gateway.app.generate_text import GenerateText
from atrium_gateway.app.generation_names import GenerationNames
from atrium_gateway.app.list_models import ListModels
from atrium_gateway.app.list_usage import ListUsage
from atrium_gateway.app.manage_adapters import (
    DeleteAdapter,
    ListAdapters,
    RollbackAdapter,
    SweepAdapters,
)
from atrium_gateway.app.manage_quotas import DeleteQuota, ListQuotas, UpdateQuota
from atrium_gateway.app.manage_routes import DeleteRoute, ListRoutes, UpdateRoute
from atrium_gateway.app.meter_usage import MeterUsage
from atrium_gateway.app.outside import OutsideEncoder, OutsideGenerator, OutsideReranker
from atrium_gateway.app.ports import PageReader, TextKind
from atrium_gateway.app.read_passages import ReadPassages
from atrium_gateway.app.read_web_pages import ReadWebPages
from atrium_gateway.app.record_outcome import RecordOutcome
from atrium_gateway.app.reply_cache import MemoryReplyCache, QuestionVectors
from atrium_gateway.app.report_costs import ReportCosts
from atrium_gateway.app.rerank_texts import RerankTexts
from atrium_gateway.app.residency import RedactingGuard
from atrium_gateway.app.resolve_route import ResolveRoute
from atrium_gateway.app.roll_out_adapter import ROLL_OUT_JOB, RollOutAdapter
from atrium_gateway.app.translate_texts import TranslateTexts
from atrium_gateway.app.upstreams import Upstream
from atrium_gateway.domain.errors import RouteModelUnknown
from atrium_gateway.domain.models import (
    MODEL_PREFIX,
    Capability,
    Location,
    Model,
    ModelState,
)
from atrium_gateway.domain.pii import Detector
from atrium_gateway.domain.routes import Route
from atrium_gateway.domain.similarity import SimilarityScale
from atrium_gateway.domain.web_pages import AllowedHosts
from atrium_gateway.openai_http.app import OpenAIEndpoints, OpenAIUseCases
from atrium_gateway.rpc import convert_adapters
from atrium_gateway.rpc.adapter_servicer import AdapterServicer
from atrium_gateway.rpc.servicer import CatalogServicer, GatewayServicer, QuotaServicer
from atrium_gateway.settings import GatewaySettings
from atrium_models import ModelStore
from atrium_shared.audit import AuditSink
from atrium_shared.blobs import BlobStore
from atrium_shared.clock import Clock, Ids, RandomIds, SystemClock
from atrium_shared.database import Database
from atrium_shared.jobs import JobRunner, MemoryJobs
from atrium_shared.operations import OperationStore
from atrium_shared.rpc.server import PartState, ServiceApp
from atrium_shared.settings import SettingsInvalid, secret_bytes
from atrium_shared.tasks import cancel_and_wait

_MIGRATIONS = Path(__file__).parent / "migrations"
_REMOTE_ALIAS = "models/remote"
_REMOTE_CONCURRENT = 64
_ATTEMPTS = 3
_MOST_LOCAL_ADAPTERS = 100_000
_ENCODES = frozenset({Capability.EMBED, Capability.RERANK, Capability.CLASSIFY})
_GENERATES = frozenset({Capability.GENERATE})
_READS = frozenset({Capability.READ})
_SERVED = {
    Capability.GENERATE: _GENERATES,
    Capability.EMBED: _ENCODES,
    Capability.RERANK: frozenset({Capability.RERANK}),
}
_PART_STATES: dict[ModelState, Literal["READY", "STARTING", "UNAVAILABLE"]] = {
    ModelState.READY: "READY",
    ModelState.STARTING: "STARTING",
    ModelState.UNAVAILABLE: "UNAVAILABLE",
}

Locate = Callable[[str], Path]
"""Returns the folder of a model of the store; raises AtriumError while it is not there."""


def build(
    settings: GatewaySettings,
    *,
    audit: AuditSink,
    clock: Clock | None = None,
    locate: Locate | None = None,
    scripted: ScriptedBackend | None = None,
    models: Iterable[ServedModel] = (),
    pages: PageReader | None = None,
    detector: Detector | None = None,
    jobs: JobRunner | None = None,
    ids: Ids | None = None,
) -> ServiceApp:
    """Return the gateway, ready to be served.

    Args:
        settings: What the operator set.
        audit: Where calls and changes are recorded.
        clock: Tells the time.
        locate: Finds the files of local models; the model store does when None.
        scripted: The scripted model; made when None and ``settings.scripted``.
        models: Further models, for tests.
        pages: Reads web pages; :class:`HttpsPages` does when None and ``settings.web_hosts``.
        detector: Finds personal data; the one that ships when None.
        jobs: Runs roll-outs of adapters. The caller starts it after all services of the process
            are built and before they start, and closes it after they have stopped. None: they run
            in memory, and what a crash interrupts begins anew at the next start.
        ids: Makes identifiers.

    Raises:
        SettingsInvalid: A file that the settings name is wrong.
    """
    clock, ids = clock or SystemClock(), ids or RandomIds()
    memory = MemoryJobs() if jobs is None else None
    jobs = jobs or memory
    assert jobs is not None
    database = Database(settings.database_url, migrations=_MIGRATIONS, name="gateway")
    routes_store, usage_store = SqlRoutes(database), SqlUsage(database)
    operations = OperationStore(database, "gateway", clock=clock)
    blobs = BlobStore(settings.blob_url)
    outcomes = SqlOutcomes(database)

    parts = _Parts(settings, clock, blobs)
    parts.add_local(locate or _store(settings))
    parts.add_peft()
    parts.add_servers()
    if settings.scripted or scripted is not None:
        parts.add_scripted(scripted or ScriptedBackend())
    adapters = SqlAdapters(
        database,
        operations,
        ids,
        progress_message=convert_adapters.progress_to_proto,
        adapter_message=lambda adapter: convert_adapters.adapter_to_proto(adapter, fleet.count),
    )
    fleet = AdapterFleet(
        parts.adapter_bases,
        adapters,
        clock,
        check_seconds=settings.adapter_check_seconds,
        rollout_seconds=settings.adapter_rollout_seconds,
        also=SweepAdapters(adapters, blobs, parts.adapter_bases, clock),
    )
    catalog = Catalog([*parts.models, *models], parts.aliases, AdapterModels(fleet, parts.models))
    operator = read_routes(settings.routes_file)
    _check_routes(operator, catalog)

    metrics = UpstreamMetrics(catalog)
    meter = MeterUsage(usage_store, clock, observe=count_call)
    quotas_store = SqlQuotas(database)
    budgets = LeasedBudgets(quotas_store, SqlLedgers(database), clock)
    calls = AuditCalls(audit)
    routes = ResolveRoute(operator, routes_store, catalog, clock)
    guard = RedactingGuard(detector or Detector(), timeout_seconds=settings.redaction_seconds)
    names = GenerationNames(_key(settings, "names of generations"), clock)
    dispatch = Dispatch(
        catalog,
        routes,
        meter,
        JsonSchemaCompiler(),
        budgets,
        guard,
        names,
        arms_key=_key(settings, "arms of routes"),
    )
    sandbox = MontySandbox(processes=settings.calculation_processes)
    calculate = Calculate(dispatch, sandbox)
    if pages is None and settings.web_hosts:
        pages = parts.add_pages()
    cache = MemoryReplyCache(
        clock,
        QuestionVectors(dispatch),
        most_bytes=settings.cache_megabytes << 20,
        keep_seconds=settings.cache_seconds,
    )
    generate = GenerateText(
        dispatch, calls, cache, ReadWebPages(pages), calculate, guard, names, meter
    )
    embed = EmbedTexts(dispatch, calls)
    gateway = GatewayServicer(
        generate,
        embed,
        RerankTexts(dispatch, calls),
        ClassifyTexts(dispatch, calls),
        ReadPassages(dispatch, calls),
        TranslateTexts(dispatch, calls),
        RecordOutcome(names, outcomes),
    )
    models_and_routes = CatalogServicer(
        ListModels(catalog),
        ListRoutes(routes),
        UpdateRoute(routes_store, routes, catalog, audit),
        DeleteRoute(routes_store, routes, audit),
        ListUsage(usage_store, meter, catalog, clock),
        ReportCosts(usage_store, meter, outcomes, catalog, clock),
    )
    openai = OpenAIUseCases(generate, embed, FindTasks(routes))
    quotas = QuotaServicer(
        ListQuotas(quotas_store, budgets),
        UpdateQuota(quotas_store, budgets, audit),
        DeleteQuota(quotas_store, budgets, audit),
    )
    roll_out = RollOutAdapter(adapters, fleet, jobs)
    deploy = DeployAdapter(
        adapters,
        blobs,
        PeftFiles(),
        fleet,
        roll_out,
        audit,
        clock,
        ids,
        AdapterLimits(settings.max_lora_rank, settings.max_adapter_bytes),
    )
    adapter_servicer = AdapterServicer(
        deploy,
        RollbackAdapter(adapters, roll_out, audit),
        ListAdapters(adapters),
        DeleteAdapter(adapters, routes_store, fleet, audit, clock),
        fleet,
    )

    async def cancel(operation: str) -> None:
        id_ = operation.rpartition(".")[2]
        await jobs.cancel(id_)
        await roll_out.cancel(id_)

    operations.on_cancel(cancel)
    jobs.register(ROLL_OUT_JOB, roll_out.handle, concurrency=4, soon=False)
    running = AsyncExitStack()

    async def start() -> None:
        async with AsyncExitStack() as stack:
            await database.start()
            stack.push_async_callback(database.close)
            stack.push_async_callback(parts.threads.close)
            stack.push_async_callback(sandbox.close)
            for backend in parts.local:
                stack.push_async_callback(backend.close)
                await backend.start()
            for server in parts.servers:
                stack.push_async_callback(server.close)
            if parts.page_parser is not None:
                await stack.enter_async_context(parts.page_parser)
            if parts.pages is not None:
                stack.push_async_callback(parts.pages.close)
            if memory is not None:
                stack.push_async_callback(memory.close)
            stack.push_async_callback(deploy.close)
            await fleet.refresh()
            roll_out.gate.open()
            stack.push_async_callback(roll_out.gate.close)
            await roll_out.resume()
            if fleet.bases:
                keeping = asyncio.create_task(fleet.run(), name="adapters")
                stack.push_async_callback(cancel_and_wait, keeping)
            for writer in (meter, calls, budgets):
                await writer.start()
                stack.push_async_callback(writer.stop)
            metrics.register()
            stack.callback(metrics.unregister)
            running.push_async_exit(stack.pop_all())

    async def parts_now() -> list[PartState]:
        views = await catalog.views(catalog.running())
        return [
            PartState(view.model.name, _PART_STATES[view.status.state], view.status.reason)
            for view in views
        ]

    return ServiceApp(
        name="gateway",
        services={
            "atrium.gateway.v1.ModelGateway": partial(
                gateway_service_pb2_grpc.add_ModelGatewayServicer_to_server, gateway
            ),
            "atrium.gateway.v1.ModelCatalog": partial(
                gateway_service_pb2_grpc.add_ModelCatalogServicer_to_server, models_and_routes
            ),
            "atrium.gateway.v1.QuotaService": partial(
                quota_service_pb2_grpc.add_QuotaServiceServicer_to_server, quotas
            ),
            "atrium.gateway.v1.AdapterService": partial(
                adapter_service_pb2_grpc.add_AdapterServiceServicer_to_server, adapter_servicer
            ),
        },
        start=start,
        stop=running.aclose,
        parts=parts_now,
        http={"/v1": lambda chain: OpenAIEndpoints(openai, chain, clock)},
        operations=operations,
    )


class _Parts:
    """Models and what must be started and closed for them.

    Args:
        settings: What the operator set.
        clock: Tells how long a failing server rests.
        blobs: Where adapters are stored.
    """

    def __init__(self, settings: GatewaySettings, clock: Clock, blobs: BlobStore) -> None:
        self._settings = settings
        self._clock = clock
        self._blobs = blobs
        self.adapter_bases: list[AdapterBase] = []
        self.models: list[ServedModel] = []
        self.aliases: dict[str, str] = {}
        self.local: list[
            LlamaCppBackend | OnnxBackend | OnnxReaderBackend | OnnxAdapters | PeftBackend
        ] = []
        # One queue for all: two models with threads of their own would share the cores blindly.
        self.threads = FairThreads(settings.threads(settings.encoder_threads))
        self.servers: list[OpenAIServer] = []
        self.pages: HttpsPages | None = None
        self.page_parser: DocumentParser | None = None

    def add_local(self, locate: Locate) -> None:
        """Add the models of the store, those that are switched off included."""
        settings = self._settings
        for id_, generates in LOCAL_GENERATORS.items():
            tokens = settings.generator_context_tokens
            model = _local(id_, "llama.cpp", _GENERATES, tokens, generates.million_parameters)
            if not self._switched_off(model):
                generator = LlamaCppBackend(
                    model.name,
                    _what_to_pull(id_),
                    partial(locate, id_),
                    threads=settings.threads(settings.generator_threads),
                    parallel=settings.generator_parallel,
                    context_tokens=tokens,
                )
                self.local.append(generator)
                queue = FairQueue(settings.generator_parallel, settings.queue_capacity)
                replica = Replica(self._process(model), generator, generator=generator)
                self.models.append(ServedModel(model, (replica,), (queue,)))
        for id_, encodes in LOCAL_ENCODERS.items():
            model = _local(
                id_, "onnxruntime", _ENCODES, encodes.window_tokens, encodes.million_parameters
            )
            if not self._switched_off(model):
                encoder = OnnxBackend(
                    model.name,
                    _what_to_pull(id_),
                    partial(locate, id_),
                    threads=self.threads,
                    similarity_scale=encodes.similarity_scale,
                )
                self.local.append(encoder)
                upstream = self._process(model)
                replica = Replica(upstream, encoder, encoder=encoder)
                self.models.append(ServedModel(model, (replica,)))
                adapters = OnnxAdapters(
                    model.name,
                    _what_to_pull(id_),
                    partial(locate, id_),
                    threads=self.threads,
                    similarity_scale=encodes.similarity_scale,
                    memory_bytes=settings.adapter_memory_mib << 20,
                )
                self.local.append(adapters)
                self.adapter_bases.append(
                    AdapterBase(
                        model.name,
                        (id_,),
                        (OnnxAdapterReplica(upstream, adapters),),
                        self._local_folders(model),
                        per_replica=_MOST_LOCAL_ADAPTERS,
                        reader=EncoderAdapterReader(id_, partial(locate, id_)),
                    )
                )
        for id_, reads in LOCAL_READERS.items():
            model = _local(
                id_, "onnxruntime", _READS, reads.window_tokens, reads.million_parameters
            )
            if not self._switched_off(model):
                reader = OnnxReaderBackend(
                    model.name, _what_to_pull(id_), partial(locate, id_), threads=self.threads
                )
                self.local.append(reader)
                replica = Replica(self._process(model), reader, reader=reader)
                self.models.append(ServedModel(model, (replica,)))

    def add_peft(self) -> None:
        """Add the model that transformers and peft run, where the operator named one."""
        settings = self._settings
        if settings.peft_model is None or settings.peft_python is None:
            return
        backend = PeftBackend(
            settings.peft_model,
            settings.peft_python,
            threads=settings.threads(settings.generator_threads),
        )
        self.local.append(backend)
        model = Model(backend.name, "peft", _GENERATES, location=Location.RESIDENT)
        # The worker writes one reply at a time.
        queue = FairQueue(1, settings.queue_capacity)
        upstream = self._process(model)
        replica = Replica(upstream, backend, generator=backend)
        self.models.append(ServedModel(model, (replica,), (queue,)))
        self.adapter_bases.append(
            AdapterBase(
                model.name,
                (model.id,),
                (VllmReplica(upstream, backend.server, backend.generator),),
                self._local_folders(model),
                per_replica=_MOST_LOCAL_ADAPTERS,
            )
        )

    def add_servers(self) -> None:
        """Add the models of LLM_URL and of the servers file."""
        settings = self._settings
        if settings.llm_url is not None:
            key = settings.llm_api_key.get_secret_value() if settings.llm_api_key else None
            served = ServedByServer(
                name=MODEL_PREFIX + settings.llm_model,
                upstream_model=settings.llm_model,
                context_tokens=settings.llm_context_tokens,
                concurrent=_REMOTE_CONCURRENT,
            )
            self._add_server([settings.llm_base_url], key, settings.llm_location, None, [served])
            self.aliases[_REMOTE_ALIAS] = served.name
        for server in read_servers(settings.servers_file):
            self._add_server(
                server.urls, server.api_key(), server.location, server.concurrent, server.models
            )
        names = [served.model.name for served in self.models]
        for name in names:
            if names.count(name) > 1:
                raise SettingsInvalid(
                    f"  GATEWAY_SERVERS_FILE, LLM_MODEL, GATEWAY_PEFT_MODEL: {name} is there twice"
                )

    def add_pages(self) -> HttpsPages:
        """Return what reads web pages, from the hosts that the operator allows."""
        settings = self._settings
        self.page_parser = DocumentParser(workers=1)
        self.pages = HttpsPages(
            AllowedHosts(settings.web_host_names), self.page_parser, http=settings.web_http
        )
        return self.pages

    def add_scripted(self, backend: ScriptedBackend) -> None:
        """Add the scripted model."""
        capabilities = _GENERATES | _ENCODES | _READS
        model = Model(
            SCRIPTED_MODEL, "scripted", capabilities, CONTEXT_TOKENS, location=Location.RESIDENT
        )
        queue = FairQueue(_REMOTE_CONCURRENT, self._settings.queue_capacity)
        replica = Replica(
            self._process(model), backend, generator=backend, encoder=backend, reader=backend
        )
        self.models.append(ServedModel(model, (replica,), (queue,)))

    def _switched_off(self, model: Model) -> bool:
        """Add a model that is not to run as one that says so; False when it is to run."""
        settings = self._settings
        if model.id in settings.running_models:
            return False
        why = (
            f"it is switched off (GATEWAY_MODELS={settings.models}); run `atrium models pull "
            f"{_what_to_pull(model.id)}` and start again with GATEWAY_MODELS (of the suite: "
            "--models) that includes it"
        )
        absent = AbsentBackend(model.name, why)
        replica = Replica(
            self._process(model), absent, generator=absent, encoder=absent, reader=absent
        )
        self.models.append(ServedModel(model, (replica,), switched_off=True))
        return True

    def _local_folders(self, model: Model) -> SharedAdapterFolders:
        folder = self._settings.adapter_dir / model.id
        return SharedAdapterFolders(self._blobs, folder, PurePosixPath(folder.absolute()))

    def _process(self, model: Model) -> Upstream:
        return Upstream(model.id, self._clock)

    def _add_server(
        self,
        urls: Sequence[str],
        api_key: str | None,
        location: Location,
        concurrent: int | None,
        models: Iterable[ServedByServer],
    ) -> None:
        # With other replicas to turn to, a busy one is not asked twice.
        attempts = 1 if len(urls) > 1 else _ATTEMPTS
        replicas = [
            (Upstream(url, self._clock), OpenAIServer(url, api_key, attempts=attempts))
            for url in urls
        ]
        self.servers.extend(server for _, server in replicas)
        capacity = self._settings.queue_capacity
        shared = (FairQueue(concurrent * len(urls), capacity),) if concurrent else ()
        for served in models:
            queue = FairQueue(served.concurrent, capacity)
            model = Model(
                served.name,
                "openai",
                _SERVED[served.capability],
                served.context_tokens,
                tier=served.tier,
                million_parameters=served.million_parameters,
                price=served.price.price() if served.price is not None else None,
                location=location,
                version=served.version,
            )
            self.models.append(
                ServedModel(
                    model,
                    tuple(
                        self._replica(model, served, upstream, server)
                        for upstream, server in replicas
                    ),
                    (queue, *shared),
                )
            )
            if served.adapters is not None:
                base = self._adapter_base(served, served.adapters, replicas)
                self.adapter_bases.append(base)

    def _adapter_base(
        self,
        served: ServedByServer,
        entry: AdaptersEntry,
        replicas: Sequence[tuple[Upstream, OpenAIServer]],
    ) -> AdapterBase:
        def generator(server: OpenAIServer) -> MakeGenerator:
            return lambda model, served_name: self._generator(model, served_name, served, server)

        return AdapterBase(
            served.name,
            (served.upstream_model, *entry.trained_as),
            tuple(
                VllmReplica(upstream, server, generator(server)) for upstream, server in replicas
            ),
            SharedAdapterFolders(
                self._blobs, entry.dir, entry.seen_as or PurePosixPath(entry.dir.absolute())
            ),
            per_replica=entry.per_replica,
            hidden_size=entry.hidden_size,
        )

    def _replica(
        self, model: Model, served: ServedByServer, upstream: Upstream, server: OpenAIServer
    ) -> Replica:
        outside = model.location is Location.OUTSIDE
        if served.capability is Capability.EMBED:
            encoder = OpenAIEncoder(
                model.name,
                served.upstream_model,
                server,
                context_tokens=served.context_tokens,
                prefixes={
                    TextKind.QUERY: served.query_prefix,
                    TextKind.PASSAGE: served.passage_prefix,
                },
                similarity_scale=SimilarityScale(served.unrelated_cosine, served.same_cosine),
            )
            guarded = OutsideEncoder(model.name, encoder) if outside else encoder
            return Replica(upstream, encoder, encoder=guarded)
        if served.capability is Capability.RERANK:
            reranker = OpenAIReranker(
                model.name, served.upstream_model, server, context_tokens=served.context_tokens
            )
            alone = OutsideReranker(model.name, reranker) if outside else reranker
            return Replica(upstream, reranker, reranker=alone)
        generator = self._generator(model.name, served.upstream_model, served, server)
        if outside:
            return Replica(upstream, generator, OutsideGenerator(model.name, generator, generator))
        return Replica(upstream, generator, generator, generator)

    def _generator(
        self, name: str, upstream_model: str, served: ServedByServer, server: OpenAIServer
    ) -> OpenAIGenerator:
        return OpenAIGenerator(
            name,
            upstream_model,
            server,
            context_tokens=served.context_tokens,
            idle_seconds=self._settings.idle_seconds,
        )


def _local(
    id_: str,
    backend: str,
    capabilities: frozenset[Capability],
    context_tokens: int,
    million_parameters: int,
) -> Model:
    return Model(
        MODEL_PREFIX + id_,
        backend,
        capabilities,
        context_tokens,
        million_parameters=million_parameters,
        location=Location.RESIDENT,
    )


def _key(settings: GatewaySettings, purpose: str) -> bytes:
    """Return a key of 32 bytes for one purpose, the same in every replica of the installation."""
    if settings.secret is None:  # only in tests: a gateway alone and the suite have one
        return token_bytes(32)  # a fixed key would be one that anybody knows
    return hmac.digest(secret_bytes(settings.secret), f"gateway: {purpose}".encode(), "sha256")


def _what_to_pull(id_: str) -> str:
    return "small" if id_ in SMALL else id_


def _store(settings: GatewaySettings) -> Locate:
    return ModelStore(settings.models_dir.expanduser()).path


def _check_routes(operator: tuple[Route, ...], catalog: Catalog) -> None:
    for route in operator:
        for index, candidate in enumerate(route.candidates):
            if catalog.find(candidate.model) is None and not candidate.optional:
                field = f"routes.{route.task}[{index}].model"
                error = RouteModelUnknown(route.name, candidate.model, field=field)
                raise SettingsInvalid(f"  GATEWAY_ROUTES_FILE: {error.message}")
