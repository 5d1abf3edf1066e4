"""Services as real processes on free ports of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from atrium.admin.v1 import admin_service_pb2, admin_service_pb2_grpc
from atrium_client import AtriumClient
from atrium_shared.identity import ServiceIdentity
from tests.figures import ROOT

NAMES = ("admin", "gateway", "knowledge")
"""Which run unless a test says otherwise."""
_SECONDS_TO_START = 100.0
_SECONDS_TO_STOP = 20.0


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Processes:
    """The services; start them with :func:`running_processes`.

    Attributes:
        folder: Where they keep their state and logs.
        programs: What runs instead of ``python -m atrium_<name>``, as arguments of python.
        environment: Further variables of all.
        admin_target: Where the others reach admin; admin itself when empty.
        names: Which of them run.
    """

    folder: Path
    programs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    admin_target: str = ""
    names: Sequence[str] = NAMES

    def __post_init__(self) -> None:
        self.targets = {name: f"127.0.0.1:{free_port()}" for name in {*NAMES, *self.names}}
        self.secret = secrets.token_bytes(32)
        self._running: dict[str, asyncio.subprocess.Process] = {}

    def client(self, name: str, key: str, user: str | None = None) -> AtriumClient:
        """Return a client of one service."""
        return AtriumClient(key, target=self.targets[name], on_behalf_of=user)

    async def bootstrap(self, tenant: str) -> str:
        """Make the first tenant and return its administrator's key."""
        async with grpc.aio.insecure_channel(self.targets["admin"]) as channel:
            made = await admin_service_pb2_grpc.AdminServiceStub(channel).Bootstrap(
                admin_service_pb2.BootstrapRequest(tenant_id=tenant),
                metadata=ServiceIdentity("suite", self.secret).metadata(),
            )
        return str(made.secret)

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal to one process."""
        self._running[name].send_signal(number)

    def pid(self, name: str) -> int:
        """Return the process id of one of them."""
        return self._running[name].pid

    def log(self, name: str) -> str:
        """Return what a process wrote."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    async def start(self) -> None:
        """Start all and wait until they serve."""
        for name in self.names:
            self._running[name] = await self._spawn(name)
        await asyncio.gather(*(self._serving(name) for name in self.names))

    async def stop(self) -> None:
        """End all in order, the ones that others depend on last."""
        for name in reversed(self.names):
            process = self._running.pop(name, None)
            if process is None or process.returncode is not None:
                continue
            for number in (signal.SIGCONT, signal.SIGTERM):
                process.send_signal(number)
            try:
                await asyncio.wait_for(process.wait(), _SECONDS_TO_STOP)
            except TimeoutError:
                process.kill()
                await process.wait()

    async def _spawn(self, name: str) -> asyncio.subprocess.Process:
        state = self.folder / name
        state.mkdir(parents=True, exist_ok=True)
        database = f"sqlite+aiosqlite:///{state}/{name}.db"
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("LLM_")},
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "ATRIUM_SECRET": self.secret.hex(),
            "ATRIUM_ADMIN_TARGET": self.admin_target or self.targets["admin"],
            "ATRIUM_GATEWAY_TARGET": self.targets["gateway"],
            f"{name.upper()}_ADDRESS": self.targets[name],
            f"{name.upper()}_DATABASE_URL": database,
            "GATEWAY_MODELS": "none",
            "KNOWLEDGE_JOBS_URL": f"sqlite:///{state}/jobs.db",
            "KNOWLEDGE_BLOB_URL": (state / "files").as_uri(),
            "KNOWLEDGE_INDEX_DIR": str(state / "index"),
            "MEETING_RECOGNITION_MODEL": "none",
            "MEETING_JOBS_URL": f"sqlite:///{state}/jobs.db",
            "MEETING_BLOB_URL": (state / "files").as_uri(),
            **self.environment,
        }
        with (self.folder / f"{name}.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                *self.programs.get(name, ("-m", f"atrium_{name}")),
                env=environment,
                cwd=self.folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def _serving(self, name: str) -> None:
        async with (
            asyncio.timeout(_SECONDS_TO_START),
            grpc.aio.insecure_channel(self.targets[name]) as channel,
        ):
            stub = health_pb2_grpc.HealthStub(channel)
            while True:
                if self._running[name].returncode is not None:
                    raise RuntimeError(f"{name} did not start:\n{self.log(name)}")
                with contextlib.suppress(grpc.aio.AioRpcError):
                    answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return
                await asyncio.sleep(0.1)


@asynccontextmanager
async def running_processes(processes: Processes) -> AsyncIterator[Processes]:
    """Run them while the block runs."""
    try:
        await processes.start()
        yield processes
    finally:
        await processes.stop()
