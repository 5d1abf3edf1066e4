"""Wires the gateway: what there is, and what it is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Literal

from atrium.gateway.v1 import gateway_service_pb2_grpc
from atrium_gateway.adapters.absent_backend import AbsentBackend
from atrium_gateway.adapters.config_files import ServedByServer, read_routes, read_servers
from atrium_gateway.adapters.fair_threads import FairThreads
from atrium_gateway.adapters.json_schemas import JsonSchemaCompiler
from atrium_gateway.adapters.llama_cpp_backend import LlamaCppBackend
from atrium_gateway.adapters.local_models import (
    LOCAL_ENCODERS,
    LOCAL_GENERATORS,
    LOCAL_READERS,
    SMALL,
)
from atrium_gateway.adapters.onnx_backend import OnnxBackend, OnnxReaderBackend
from atrium_gateway.adapters.openai_encoder import OpenAIEncoder
from atrium_gateway.adapters.openai_generator import OpenAIGenerator
from atrium_gateway.adapters.openai_server import OpenAIServer
from atrium_gateway.adapters.scripted_backend import (
    CONTEXT_TOKENS,
    SCRIPTED_MODEL,
    ScriptedBackend,
)
from atrium_gateway.adapters.sql_routes import SqlRoutes
from atrium_gateway.adapters.sql_usage import SqlUsage
from atrium_gateway.app.audit_calls import AuditCalls
from atrium_gateway.app.catalog import Catalog, ServedModel
from atrium_gateway.app.classify_texts import ClassifyTexts
from atrium_gateway.app.dispatch import Dispatch
from atrium_gateway.app.embed_texts import EmbedTexts
from atrium_gateway.app.fair_queue import FairQueue
from atrium_gateway.app.find_tasks import FindTasks
from atrium_gateway.app.generate_text import GenerateText
from atrium_gateway.app.list_models import ListModels
from atrium_gateway.app.list_usage import ListUsage
from atrium_gateway.app.manage_routes import DeleteRoute, ListRoutes, UpdateRoute
from atrium_gateway.app.meter_usage import MeterUsage
from atrium_gateway.app.ports import TextKind
from atrium_gateway.app.read_passages import ReadPassages
from atrium_gateway.app.rerank_texts import RerankTexts
from atrium_gateway.app.resolve_route import ResolveRoute
from atrium_gateway.domain.errors import RouteModelUnknown
from atrium_gateway.domain.models import MODEL_PREFIX, Capability, Model, ModelState
from atrium_gateway.domain.routes import Route
from atrium_gateway.domain.similarity import SimilarityScale
from atrium_gateway.openai_http.app import OpenAIEndpoints, OpenAIUseCases
from atrium_gateway.rpc.servicer import CatalogServicer, GatewayServicer
from atrium_gateway.settings import GatewaySettings
from atrium_models import ModelStore
from atrium_shared.audit import AuditSink
from atrium_shared.clock import Clock, SystemClock
from atrium_shared.database import Database
from atrium_shared.rpc.server import PartState, ServiceApp
from atrium_shared.settings import SettingsInvalid

_MIGRATIONS = Path(__file__).parent / "migrations"
_REMOTE_ALIAS = "models/remote"
_REMOTE_CONCURRENT = 64
_ENCODES = frozenset({Capability.EMBED, Capability.RERANK, Capability.CLASSIFY})
_GENERATES = frozenset({Capability.GENERATE})
_READS = frozenset({Capability.READ})
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
) -> ServiceApp:
    """Return the gateway, ready to be served.

    Args:
        settings: What the operator set.
        audit: Where calls and changes are recorded.
        clock: Tells the time.
        locate: Finds the files of local models; the model store does when None.
        scripted: The scripted model; made when None and ``settings.scripted``.
        models: Further models, for tests.

    Raises:
        SettingsInvalid: A file that the settings name is wrong.
    """
    clock = clock or SystemClock()
    database = Database(settings.database_url, migrations=_MIGRATIONS, name="gateway")
    routes_store, usage_store = SqlRoutes(database), SqlUsage(database)

    parts = _Parts(settings)
    parts.add_local(locate or _store(settings))
    parts.add_servers()
    if settings.scripted or scripted is not None:
        parts.add_scripted(scripted or ScriptedBackend())
    catalog = Catalog([*parts.models, *models], parts.aliases)
    operator = read_routes(settings.routes_file)
    _check_routes(operator, catalog)

    meter = MeterUsage(usage_store, clock)
    calls = AuditCalls(audit)
    routes = ResolveRoute(operator, routes_store, catalog, clock)
    dispatch = Dispatch(catalog, routes, meter, JsonSchemaCompiler())
    generate, embed = GenerateText(dispatch, calls), EmbedTexts(dispatch, calls)
    gateway = GatewayServicer(
        generate,
        embed,
        RerankTexts(dispatch, calls),
        ClassifyTexts(dispatch, calls),
        ReadPassages(dispatch, calls),
    )
    models_and_routes = CatalogServicer(
        ListModels(catalog),
        ListRoutes(routes),
        UpdateRoute(routes_store, routes, catalog, audit),
        DeleteRoute(routes_store, routes, audit),
        ListUsage(usage_store, meter, clock),
    )
    openai = OpenAIUseCases(generate, embed, FindTasks(routes))
    running = AsyncExitStack()

    async def start() -> None:
        async with AsyncExitStack() as stack:
            await database.start()
            stack.push_async_callback(database.close)
            stack.push_async_callback(parts.threads.close)
            for backend in parts.local:
                stack.push_async_callback(backend.close)
                await backend.start()
            for server in parts.servers:
                stack.push_async_callback(server.close)
            for writer in (meter, calls):
                await writer.start()
                stack.push_async_callback(writer.stop)
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
        },
        start=start,
        stop=running.aclose,
        parts=parts_now,
        http={"/v1": lambda chain: OpenAIEndpoints(openai, chain, clock)},
    )


class _Parts:
    """Models and what must be started and closed for them.

    Args:
        settings: What the operator set.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self.models: list[ServedModel] = []
        self.aliases: dict[str, str] = {}
        self.local: list[LlamaCppBackend | OnnxBackend | OnnxReaderBackend] = []
        # One queue for all: two models with threads of their own would share the cores blindly.
        self.threads = FairThreads(settings.threads(settings.encoder_threads))
        self.servers: list[OpenAIServer] = []

    def add_local(self, locate: Locate) -> None:
        """Add the models of the store, those that are switched off included."""
        settings = self._settings
        for id_ in LOCAL_GENERATORS:
            tokens = settings.generator_context_tokens
            model = Model(MODEL_PREFIX + id_, "llama.cpp", _GENERATES, tokens)
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
                self.models.append(ServedModel(model, generator, generator=generator, queue=queue))
        for id_, kind in LOCAL_ENCODERS.items():
            model = Model(MODEL_PREFIX + id_, "onnxruntime", _ENCODES, kind.window_tokens)
            if not self._switched_off(model):
                encoder = OnnxBackend(
                    model.name,
                    _what_to_pull(id_),
                    partial(locate, id_),
                    threads=self.threads,
                    similarity_scale=kind.similarity_scale,
                )
                self.local.append(encoder)
                self.models.append(ServedModel(model, encoder, encoder=encoder))
        for id_, window_tokens in LOCAL_READERS.items():
            model = Model(MODEL_PREFIX + id_, "onnxruntime", _READS, window_tokens)
            if not self._switched_off(model):
                reader = OnnxReaderBackend(
                    model.name, _what_to_pull(id_), partial(locate, id_), threads=self.threads
                )
                self.local.append(reader)
                self.models.append(ServedModel(model, reader, reader=reader))

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
            self._add_server(settings.llm_base_url, key, [served])
            self.aliases[_REMOTE_ALIAS] = served.name
        for server in read_servers(settings.servers_file):
            self._add_server(str(server.url).rstrip("/"), server.api_key(), server.models)
        names = [served.model.name for served in self.models]
        for name in names:
            if names.count(name) > 1:
                raise SettingsInvalid(f"  GATEWAY_SERVERS_FILE, LLM_MODEL: {name} is there twice")

    def add_scripted(self, backend: ScriptedBackend) -> None:
        """Add the scripted model."""
        capabilities = _GENERATES | _ENCODES | _READS
        model = Model(SCRIPTED_MODEL, "scripted", capabilities, CONTEXT_TOKENS)
        queue = FairQueue(_REMOTE_CONCURRENT, self._settings.queue_capacity)
        self.models.append(ServedModel(model, backend, backend, backend, backend, queue))

    def _switched_off(self, model: Model) -> bool:
        """Add a model that is not to run as one that says so; False when it is to run."""
        settings = self._settings
        if model.id in settings.running_models:
            return False
        why = (
            f"it is switched off (GATEWAY_MODELS={settings.models}); run `atrium models pull "
            f"{_what_to_pull(model.id)}` and set GATEWAY_MODELS to include it"
        )
        absent = AbsentBackend(model.name, why)
        self.models.append(ServedModel(model, absent, absent, absent, absent, switched_off=True))
        return True

    def _add_server(self, url: str, api_key: str | None, models: Iterable[ServedByServer]) -> None:
        server = OpenAIServer(lambda: url, api_key)
        self.servers.append(server)
        for served in models:
            self.models.append(self._served(served, server))

    def _served(self, served: ServedByServer, server: OpenAIServer) -> ServedModel:
        queue = FairQueue(served.concurrent, self._settings.queue_capacity)
        encodes = served.capability is Capability.EMBED
        model = Model(
            served.name, "openai", _ENCODES if encodes else _GENERATES, served.context_tokens
        )
        if encodes:
            encoder = OpenAIEncoder(
                served.name,
                served.upstream_model,
                server,
                context_tokens=served.context_tokens,
                prefixes={
                    TextKind.QUERY: served.query_prefix,
                    TextKind.PASSAGE: served.passage_prefix,
                },
                similarity_scale=SimilarityScale(served.unrelated_cosine, served.same_cosine),
            )
            return ServedModel(model, encoder, encoder=encoder, queue=queue)
        generator = OpenAIGenerator(
            served.name,
            served.upstream_model,
            server,
            context_tokens=served.context_tokens,
            idle_seconds=self._settings.idle_seconds,
        )
        return ServedModel(model, generator, generator=generator, queue=queue)


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
