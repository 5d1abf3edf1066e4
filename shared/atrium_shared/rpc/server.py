"""Serving the apps of a process: access rules, health, reflection, operations, drain."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import grpc
import structlog
from google.longrunning import operations_pb2_grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from atrium_shared.audit import AuditSink
from atrium_shared.identity import Authenticator, ServiceIdentity
from atrium_shared.rpc.access import AccessRule, access_rules, describe_service
from atrium_shared.rpc.interceptors import Interceptors

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from atrium_shared.http_server import HttpServer
    from atrium_shared.operations import OperationStore

_log = structlog.get_logger(__name__)
_SERVING = health_pb2.HealthCheckResponse.SERVING
_OPERATIONS = "google.longrunning.Operations"
_HEALTH = "grpc.health.v1.Health"
_SECONDS_TO_SEND_STATUS = 1.0
_SECONDS_TO_CLEAN_UP = 10.0

Adder = Callable[[grpc.aio.Server], None]


class ServerMisconfigured(Exception):
    """The server cannot start as it is put together; the message says why."""


@dataclass(frozen=True)
class PartState:
    """How a part of a service is that comes up on its own, such as a model.

    Attributes:
        name: ``"models/qwen2.5-0.5b"``.
        state: ``STARTING`` will be ready soon; ``UNAVAILABLE`` will not by itself.
        reason: Why it is unavailable and what to do; "" otherwise.
    """

    name: str
    state: Literal["READY", "STARTING", "UNAVAILABLE"]
    reason: str = ""


@dataclass(frozen=True)
class ServiceApp:
    """One service, wired and ready to be served, alone or with others in one process.

    Attributes:
        name: ``"knowledge"``; also its name in the health service.
        services: Full name of each gRPC service and what registers its servicer, such as
            ``lambda server: add_KnowledgeServiceServicer_to_server(servicer, server)``.
        start: Awaited before the server listens: opens databases, resumes jobs.
        stop: Awaited after the last call ended.
        operations: Its long-running work, answered by the one Operations service of the process.
        extra_access: Rules of methods whose protos are not ours, by ``"service/method"``.
        parts: Tells how its parts are that come up after :attr:`start`; None: it has none.
        http: What it answers over HTTP beside: path -> what makes the application, such as
            ``"/v1"``. Its endpoints stand in the chain that it is given.
    """

    name: str
    services: Mapping[str, Adder]
    start: Callable[[], Awaitable[None]]
    stop: Callable[[], Awaitable[None]]
    operations: OperationStore | None = None
    extra_access: Mapping[str, AccessRule] = field(default_factory=dict)
    parts: Callable[[], Awaitable[Sequence[PartState]]] | None = None
    http: Mapping[str, Callable[[Interceptors], ASGIApp]] = field(default_factory=dict)


@dataclass(frozen=True)
class RpcLimits:
    """Bounds of a server.

    Attributes:
        max_message_bytes: Largest message received or sent; gRPC answers RESOURCE_EXHAUSTED.
        max_concurrent_calls: Calls under way at once, streams included; more get
            RESOURCE_EXHAUSTED.
        keepalive_seconds: After so long without traffic the server pings the client.
        keepalive_timeout_seconds: A connection whose ping is not answered for so long is closed.
        min_client_ping_seconds: Clients that ping more often are disconnected.
    """

    max_message_bytes: int = 8 * 1024 * 1024
    max_concurrent_calls: int = 2000
    keepalive_seconds: float = 60.0
    keepalive_timeout_seconds: float = 20.0
    min_client_ping_seconds: float = 10.0


@dataclass(frozen=True)
class ServerTls:
    """Certificates of a server; everything is PEM.

    Attributes:
        certificate: The server's certificate chain.
        private_key: Its key, a secret.
        client_ca: Certificates that may sign those of clients, which then must have one (mutual
            TLS); ``None``: clients need none.
    """

    certificate: bytes
    private_key: bytes = field(repr=False)
    client_ca: bytes | None = None


class _Collector(grpc.aio.Server):
    """Stands in for the server while servicers register, and keeps their handlers."""

    def __init__(self) -> None:
        self.registered: dict[str, Mapping[str, grpc.RpcMethodHandler[Any, Any]]] = {}
        self.generic: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(
        self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]
    ) -> None:
        self.generic.extend(generic_rpc_handlers)

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        self.registered[service_name] = method_handlers

    def handlers(self, service: str) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        """Return the handler of every method of ``service``, by method name."""
        found = dict(self.registered.get(service, {}))
        descriptor = describe_service(service)
        for method in descriptor.methods if descriptor is not None else ():
            for generic in self.generic:
                handler = generic.service(_Details(f"/{service}/{method.name}"))
                if handler is not None:
                    found.setdefault(method.name, handler)
        return found

    def add_insecure_port(self, address: str) -> int:
        raise NotImplementedError("Servicers register handlers here, and open no ports.")

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> int:
        raise NotImplementedError("Servicers register handlers here, and open no ports.")

    async def start(self) -> None:
        raise NotImplementedError("Servicers register handlers here, and start nothing.")

    async def stop(self, grace: float | None) -> None:
        raise NotImplementedError("Servicers register handlers here, and stop nothing.")

    async def wait_for_termination(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109
        raise NotImplementedError("Servicers register handlers here, and wait for nothing.")


class _AllMethods(grpc.GenericRpcHandler):
    """Finds the handler of a call by its path.

    Not registered method by method: grpc.aio then waits anew, at each call, for the next call of
    every method, which costs more the more methods there are.
    """

    def __init__(self, services: Mapping[str, Mapping[str, grpc.RpcMethodHandler[Any, Any]]]):
        self._handlers = {
            f"/{service}/{name}": handler
            for service, handlers in services.items()
            for name, handler in handlers.items()
        }

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        return self._handlers.get(handler_call_details.method)


@dataclass(frozen=True)
class _Details(grpc.HandlerCallDetails):
    method: str
    invocation_metadata: Any = ()


class RpcServer:
    """Serves apps on one address.

    Args:
        apps: In the order in which they start; they stop in the reverse order.
        address: ``"127.0.0.1:7400"``; port 0 takes a free one.
        authenticator: Turns credentials into principals.
        audit: Where calls denied for lack of a permission are recorded.
        service: Verifies other services; needed when a method is for services alone.
        limits: Bounds.
        reflection: Whether clients may ask for the descriptors of the services.
        tls: ``None``: no encryption.
    """

    def __init__(
        self,
        apps: Sequence[ServiceApp],
        *,
        address: str,
        authenticator: Authenticator,
        audit: AuditSink,
        service: ServiceIdentity | None = None,
        limits: RpcLimits | None = None,
        reflection: bool = True,
        tls: ServerTls | None = None,
    ) -> None:
        self._apps = tuple(apps)
        self._address = address
        self._interceptors = Interceptors(authenticator=authenticator, audit=audit, service=service)
        self._limits = limits or RpcLimits()
        self._with_reflection = reflection
        self._tls = tls
        self._health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None
        self._started: list[ServiceApp] = []

    async def start(self) -> int:
        """Start the apps, then listen.

        Returns:
            The port.

        Raises:
            ServerMisconfigured: A method has no access rule or no handler, or the address cannot
                be had. Nothing was started.
            Exception: What an app's ``start`` raised; the apps before it were stopped again.
        """
        server = grpc.aio.server(
            options=_options(self._limits),
            maximum_concurrent_rpcs=self._limits.max_concurrent_calls,
        )
        server.add_generic_rpc_handlers((_AllMethods(self._wrapped_handlers()),))
        port = self._bind(server)
        try:
            for app in self._apps:
                await app.start()
                self._started.append(app)
                await self._health.set(app.name, _SERVING)
            await server.start()
        except BaseException:
            await server.stop(None)
            await self._stop_apps()
            raise
        self._server = server
        _log.info("serving", address=self._address, port=port, apps=[a.name for a in self._apps])
        return port

    def http_apps(self) -> dict[str, ASGIApp]:
        """Return what the apps answer over HTTP, by path, for whoever serves HTTP.

        Calls that come so are drained by :meth:`stop` like the others.
        """
        return {
            path: make(self._interceptors) for app in self._apps for path, make in app.http.items()
        }

    async def stop(self, grace_seconds: float = 30.0) -> None:
        """Drain, then stop the apps in the reverse order of their start.

        Health turns NOT_SERVING and new calls from outside are refused at once; calls under way,
        and the calls that these make on other services of this process, have ``grace_seconds``.
        Feeds and streams that are still open then are ended, the other calls cancelled; the apps
        stop when all have cleaned up after themselves, or ten seconds later.

        Raises:
            ExceptionGroup: What the ``stop`` of apps raised, after all were stopped.
        """
        if self._server is None:
            return
        server, self._server = self._server, None
        await self._health.enter_graceful_shutdown()
        self._interceptors.drain()
        if not await self._interceptors.wait_until_idle(grace_seconds):
            _log.warning("calls cut short", after_seconds=grace_seconds)
        self._interceptors.end_streams()
        await server.stop(_SECONDS_TO_SEND_STATUS)
        # gRPC cancels calls and goes on at once, while they may still need what the apps hold.
        if not await self._interceptors.wait_until_ended(_SECONDS_TO_CLEAN_UP):
            _log.warning("calls did not end", after_seconds=_SECONDS_TO_CLEAN_UP)
        await self._stop_apps()

    async def _stop_apps(self) -> None:
        failures: list[Exception] = []
        while self._started:
            app = self._started.pop()
            try:
                await app.stop()
            except Exception as error:  # the other apps must stop all the same
                _log.exception("app did not stop", app=app.name)
                failures.append(error)
        if failures:
            raise ExceptionGroup("Apps did not stop cleanly.", failures)

    def _bind(self, server: grpc.aio.Server) -> int:
        try:
            if self._tls is None:
                return server.add_insecure_port(self._address)
            credentials = grpc.ssl_server_credentials(
                [(self._tls.private_key, self._tls.certificate)],
                root_certificates=self._tls.client_ca,
                require_client_auth=self._tls.client_ca is not None,
            )
            return server.add_secure_port(self._address, credentials)
        except RuntimeError as error:
            raise ServerMisconfigured(
                f"Cannot listen on {self._address}. Is another process listening there, and is "
                "the address one of this machine?"
            ) from error

    def _wrapped_handlers(self) -> dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]]:
        adders, extra_access = self._services()
        wrapped: dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]] = {}
        for service, add in adders.items():
            collector = _Collector()
            add(collector)
            handlers = collector.handlers(service)
            descriptor = describe_service(service)
            described = {method.name for method in descriptor.methods} if descriptor else set()
            if not handlers or described - handlers.keys():
                missing = ", ".join(sorted(described - handlers.keys())) or "any method"
                raise ServerMisconfigured(f"{service} has no handler for {missing}.")
            rules = access_rules(service)
            wrapped[service] = {}
            for name, handler in handlers.items():
                rule = rules.get(name) or extra_access.get(f"{service}/{name}")
                if rule is None:
                    raise ServerMisconfigured(
                        f"{service}/{name} has no access rule. Give it the option "
                        "(atrium.authz.v1.access) in its proto."
                    )
                try:
                    wrapped[service][name] = self._interceptors.wrap(
                        service, name, handler, rule, validated=name in described
                    )
                except ValueError as error:
                    raise ServerMisconfigured(str(error)) from error
        return wrapped

    def _services(self) -> tuple[dict[str, Adder], dict[str, AccessRule]]:
        """Return what registers each service, and the rules beside those of the protos."""
        adders: dict[str, Adder] = {}
        extra_access: dict[str, AccessRule] = {}
        for app in self._apps:
            for service in app.services:
                if service in adders:
                    raise ServerMisconfigured(f"{service} is served by two apps.")
            adders.update(app.services)
            extra_access.update(app.extra_access)
        stores = [app.operations for app in self._apps if app.operations is not None]
        if stores:
            # Imported here because it brings the database, which not every process has.
            from atrium_shared.rpc.operations_servicer import OperationsServicer

            operations = OperationsServicer(stores)
            adders[_OPERATIONS] = lambda server: (
                operations_pb2_grpc.add_OperationsServicer_to_server(operations, server)
            )
        adders[_HEALTH] = lambda server: health_pb2_grpc.add_HealthServicer_to_server(
            self._health, server
        )
        if self._with_reflection:
            names = [*adders, reflection.SERVICE_NAME]
            adders[reflection.SERVICE_NAME] = lambda server: (
                reflection_pb2_grpc.add_ServerReflectionServicer_to_server(  # type: ignore[no-untyped-call]
                    reflection.aio.ReflectionServicer(names), server
                )
            )
        return adders, extra_access


def _options(limits: RpcLimits) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", limits.max_message_bytes),
        ("grpc.max_send_message_length", limits.max_message_bytes),
        ("grpc.max_metadata_size", 16 * 1024),
        ("grpc.keepalive_time_ms", int(limits.keepalive_seconds * 1000)),
        ("grpc.keepalive_timeout_ms", int(limits.keepalive_timeout_seconds * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        (
            "grpc.http2.min_recv_ping_interval_without_data_ms",
            int(limits.min_client_ping_seconds * 1000),
        ),
        # Two processes on one port would share the calls between them by chance.
        ("grpc.so_reuseport", 0),
    ]


def _spare_the_collector() -> None:
    """Let the garbage collector pass over what was made until now: it stays until the end.

    Modules, wiring and compiled validators are some 300,000 objects. Walked through again and
    again, they took a tenth of the time of calls over HTTP.
    """
    gc.collect()
    gc.freeze()


async def serve_until_signal(
    server: RpcServer, http: HttpServer | None = None, *, grace_seconds: float = 30.0
) -> None:
    """Start ``server``, wait for SIGTERM or SIGINT, and drain it. A second signal ends at once.

    Args:
        server: The server.
        http: Answers over HTTP from when the server does until it has drained.
        grace_seconds: How long calls under way may go on.

    Raises:
        ServerMisconfigured: See :meth:`RpcServer.start`.
    """
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, asked.set)
    try:
        await server.start()
        if http is not None:
            await http.start()
        _spare_the_collector()
        await asked.wait()
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
        await server.stop(grace_seconds)
        if http is not None:
            await http.stop()
