"""Builds the suite: every service, one server, one HTTP side, one state folder."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack

from pydantic import SecretStr
from starlette.types import ASGIApp
from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_after_delay, wait_fixed

import atrium_admin.bootstrap
import atrium_gateway.bootstrap
import atrium_knowledge.bootstrap
import atrium_meeting.bootstrap
from atrium.admin.v1 import admin_service_pb2, admin_service_pb2_grpc
from atrium_admin.settings import AdminSettings
from atrium_client import readable_errors
from atrium_gateway.settings import GatewaySettings
from atrium_knowledge.adapters.admin_client import AdminReaderDirectory
from atrium_knowledge.adapters.admin_users import AdminErasedUsers, AdminRoleHolders
from atrium_knowledge.adapters.gateway_reader import GatewayReader
from atrium_knowledge.app.encode import EMBED_TASK as KNOWLEDGE_EMBED_TASK
from atrium_knowledge.settings import KnowledgeSettings
from atrium_meeting.app.analyse_meeting import EMBED_TASK as MEETING_EMBED_TASK
from atrium_meeting.settings import MeetingSettings
from atrium_shared.http_server import HttpServer
from atrium_shared.identity import ServiceIdentity
from atrium_shared.jobs import Jobs
from atrium_shared.rpc.channel import open_channel
from atrium_shared.rpc.models import GatewayEmbedder, GatewayGenerator
from atrium_shared.rpc.server import RpcServer, ServiceApp
from atrium_shared.settings import secret_bytes
from atrium_suite.http import Readiness, build_http
from atrium_suite.installation import StateDir
from atrium_suite.listening import address_of, listen
from atrium_suite.settings import SuiteSettings, load_service_settings

_EXECUTOR_ID = "suite"
"""Under this name the suite finds the jobs that a crash interrupted."""


class Suite:
    """All services in this process. It starts once, and a process runs one at a time.

    Args:
        settings: What the operator set.
    """

    def __init__(self, settings: SuiteSettings) -> None:
        self._settings = settings
        self._state = StateDir(settings.state_dir)
        self._running = AsyncExitStack()
        self._apps: Sequence[ServiceApp] = ()
        self._mounted: dict[str, ASGIApp] = {}
        self._serving = False
        self.address = settings.address
        """Where gRPC listens, ``host:port``."""
        self.http_address = settings.http_address
        """Where HTTP listens, ``host:port``."""
        self.state_dir = self._state.folder
        """Where everything is kept."""
        self.is_new = False
        """True when the state folder was made by this start."""

    async def start(self) -> None:
        """Start everything; models go on loading in the background.

        Raises:
            StateDirInUse: Another suite has the state folder.
            StateDirUnusable: The state folder cannot be made or written to.
            AddressInUse: Another program listens there.
            AddressUnusable: This machine cannot listen there.
            SettingsInvalid: A setting of a service is wrong.
        """
        async with AsyncExitStack() as stack:
            self._state.lock()
            stack.callback(self._state.release)
            self.is_new = not (self._state.folder / "admin.db").exists()
            http_listener = listen(
                self._settings.http_address, "--http-address", "SUITE_HTTP_ADDRESS"
            )
            stack.callback(http_listener.close)
            # The server binds by itself; this finds out whether it can, and where for port 0.
            with listen(self._settings.address, "--address", "SUITE_ADDRESS") as listener:
                self.address = address_of(listener)
            self.http_address = address_of(http_listener)
            secret = self._settings.secret or self._state.secret()
            self._service = ServiceIdentity("suite", secret_bytes(secret))
            # No method is repeated here: a service of this process that does not answer at once has
            # no network to blame.
            self._channel = await stack.enter_async_context(open_channel(_loopback(self.address)))
            server = await self._start_services(secret, stack)
            http = HttpServer(build_http(self.readiness, self._mounted), http_listener)
            await http.start()
            stack.push_async_callback(http.stop)
            # Before the HTTP side stops listening: it drains the calls that came over it.
            stack.push_async_callback(server.stop, self._settings.drain_seconds)
            self._serving = True
            self._running = stack.pop_all()

    async def stop(self) -> None:
        """Let calls under way end, then stop everything."""
        self._serving = False
        await self._running.aclose()

    async def readiness(self) -> Readiness:
        """Say whether the services answer and how far the models are."""
        parts = [part for app in self._apps if app.parts is not None for part in await app.parts()]
        return Readiness(self._serving, tuple(parts))

    async def wait_until_ready(self, seconds: float) -> Readiness:
        """Return when nothing is being loaded any more, or as it is when the time is over."""

        def as_it_is(state: RetryCallState) -> Readiness:
            assert state.outcome is not None
            found: Readiness = state.outcome.result()
            return found

        waiting = AsyncRetrying(
            retry=retry_if_result(lambda readiness: not readiness.ready),
            wait=wait_fixed(0.1),
            stop=stop_after_delay(seconds),
            retry_error_callback=as_it_is,
        )
        return await waiting(self.readiness)

    async def bootstrap_tenant(self, tenant: str, *, display_name: str = "") -> str:
        """Make the first tenant and return its administrator's key.

        Raises:
            AtriumCallError: There is a tenant already.
        """
        stub: admin_service_pb2_grpc.AdminServiceAsyncStub = (
            admin_service_pb2_grpc.AdminServiceStub(self._channel)
        )
        request = admin_service_pb2.BootstrapRequest(tenant_id=tenant, display_name=display_name)
        with readable_errors():
            made = await stub.Bootstrap(request, metadata=self._service.metadata())
        return made.secret

    async def _start_services(self, secret: SecretStr, stack: AsyncExitStack) -> RpcServer:
        settings, state = self._settings, self._state
        admin = atrium_admin.bootstrap.build(
            load_service_settings(AdminSettings, state.admin_variables(secret)),
            served=("admin", "gateway", "knowledge", "meeting"),
        )
        jobs = Jobs(state.jobs_url(), executor_id=_EXECUTOR_ID, name="atrium")
        gateway = atrium_gateway.bootstrap.build(
            load_service_settings(
                GatewaySettings,
                {
                    "ATRIUM_SECRET": secret.get_secret_value(),
                    "GATEWAY_DATABASE_URL": state.database_url("gateway"),
                    "GATEWAY_MODELS": settings.models,
                    "GATEWAY_BLOB_URL": (state.folder / "gateway-files").as_uri(),
                    "GATEWAY_ADAPTER_DIR": str(state.folder / "gateway-adapters"),
                    "GATEWAY_REPLICA": _EXECUTOR_ID,
                },
            ),
            audit=admin.audit,
            jobs=jobs,
        )
        knowledge = atrium_knowledge.bootstrap.build(
            load_service_settings(
                KnowledgeSettings,
                {
                    "KNOWLEDGE_DATABASE_URL": state.database_url("knowledge"),
                    "KNOWLEDGE_BLOB_URL": (state.folder / "files").as_uri(),
                    "KNOWLEDGE_INDEX_DIR": str(state.folder / "index"),
                    "KNOWLEDGE_REPLICA": _EXECUTOR_ID,
                },
                # A scan takes seconds; other files need not wait for it.
                defaults={"KNOWLEDGE_PARSER_PROCESSES": "2"},
            ),
            audit=admin.audit,
            jobs=jobs,
            embedder=GatewayEmbedder(self._channel, KNOWLEDGE_EMBED_TASK),
            generator=GatewayGenerator(self._channel),
            reader=GatewayReader(self._channel),
            delegation=admin.authenticator,
            role_holders=AdminRoleHolders(self._channel),
            erased_users=AdminErasedUsers(self._channel, self._service),
            reader_directory=AdminReaderDirectory(self._channel),
        )
        meeting_settings = load_service_settings(
            MeetingSettings,
            {
                "MEETING_DATABASE_URL": state.database_url("meeting"),
                "MEETING_BLOB_URL": (state.folder / "meeting-files").as_uri(),
                "MEETING_REPLICA": _EXECUTOR_ID,
            },
            defaults={"MEETING_RECOGNITION_MODEL": "none"} if settings.models == "none" else None,
        )
        meeting = atrium_meeting.bootstrap.build(
            meeting_settings,
            audit=admin.audit,
            jobs=jobs,
            delegation=admin.authenticator,
            engines=atrium_meeting.bootstrap.open_engines(meeting_settings),
            embedder=GatewayEmbedder(self._channel, MEETING_EMBED_TASK),
            generator=GatewayGenerator(self._channel),
        )
        self._apps = (admin.service_app, gateway, knowledge, meeting)
        await jobs.start()
        stack.push_async_callback(jobs.close)
        server = RpcServer(
            self._apps,
            address=self.address,
            authenticator=admin.authenticator,
            audit=admin.audit,
            service=self._service,
        )
        await server.start()
        stack.push_async_callback(server.stop)  # in case what starts after it does not
        self._mounted = {"/scim": admin.scim, **server.http_apps()}
        return server


def build(settings: SuiteSettings) -> Suite:
    """Return the suite; nothing is opened before it starts."""
    return Suite(settings)


def _loopback(address: str) -> str:
    """Return where this process reaches an address that it listens on."""
    host, _, port = address.rpartition(":")
    wildcards = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - not bound here
    return f"{wildcards.get(host, host)}:{port}"
