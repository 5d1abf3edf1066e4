"""What the gateway costs, beside pass-throughs that do nothing and LiteLLM's proxy.

`make bench BENCH=gateway`. One mock model server answers at once. In front of it stand, each in
processes of its own: nothing (`direct`), a bare HTTP pass-through, a bare gRPC-to-HTTP
pass-through, LiteLLM's proxy with a master key (`make .tools/litellm`; left out when it is not
there), and this gateway with authentication, permissions, routing, budgets, residency, usage and
audit on, its admin service in another process. They are asked in turns within one run, so that
whatever else the machine does meets all of them.

Overhead is the median time of a call less that of `direct`, one call at a time. Throughput is with
16 calls at once. Then the memory of the gateway's process over many calls, and 700 tenants with
routes and quotas of their own beside one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import psutil
import uvloop
import yaml

from atrium.admin.v1 import admin_pb2, admin_service_pb2, admin_service_pb2_grpc
from atrium.gateway.v1 import (
    gateway_pb2,
    gateway_service_pb2,
    gateway_service_pb2_grpc,
    quota_service_pb2,
    quota_service_pb2_grpc,
)
from tests.bench.gateway_servers.load import TASK, Contender, ManyCallers, OneCaller
from tests.figures import ROOT, Figures
from tests.processes import Processes, free_port, running_processes

LITELLM = ROOT / ".tools" / "litellm" / "bin" / "litellm"
AT_ONCE = 16
WARM_UP_CALLS = 100
SECONDS_TO_START = 120.0

OVERHEAD_TARGET_MS = 1.0
OVERHEAD_SHARE_TARGET = 1 / 12
THROUGHPUT_OVER_LITELLM_TARGET = 20.0
THROUGHPUT_OVER_BARE_TARGET = 0.6
MEMORY_SHARE_TARGET = 0.5
MEMORY_GROWTH_TARGET_MB = 10.0
TENANTS_SHARE_TARGET = 0.9


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        rounds: Turns that everyone has.
        calls: Calls of a turn, one at a time.
        seconds: Length of a turn with many calls at once.
        memory_calls: Calls over which memory must not grow.
        tenants: Tenants with routes and quotas of their own.
    """

    rounds: int
    calls: int
    seconds: float
    memory_calls: int
    tenants: int


@contextmanager
def serving(
    name: str, port: int, command: Sequence[str], environment: Mapping[str, str], log: Path
) -> Iterator[psutil.Process]:
    """Run a server while the block runs; begins when it listens.

    Raises:
        RuntimeError: It ended, or does not listen in time.
    """
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **environment}, stdout=out, stderr=out
        )
    try:
        until = time.monotonic() + SECONDS_TO_START
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{name} did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.1)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def python_server(name: str, *arguments: str, folder: Path) -> Iterator[int]:
    """Run one of the servers beside this file on a free port; gives the port."""
    port = free_port()
    command = [sys.executable, "-m", f"tests.bench.gateway_servers.{name}", str(port), *arguments]
    with serving(name, port, command, {"PYTHONPATH": str(ROOT)}, folder / f"{name}.log"):
        yield port


@contextmanager
def litellm_proxy(url: str, folder: Path) -> Iterator[tuple[Contender, psutil.Process]]:
    """Run LiteLLM's proxy, one worker, with a master key."""
    port, key = free_port(), "sk-bench"
    route = {
        "model_name": TASK,
        "litellm_params": {"model": "openai/mock", "api_base": url, "api_key": "none"},
    }
    config = folder / "litellm.yaml"
    config.write_text(
        yaml.safe_dump({"model_list": [route], "general_settings": {"master_key": key}})
    )
    environment = {
        # It would look on the network for prices and for newer versions of itself.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_TELEMETRY": "False",
        "LITELLM_LOG": "ERROR",
        "NO_PROXY": "*",
    }
    command = [
        str(LITELLM), "--config", str(config), "--host", "127.0.0.1", "--port", str(port),
        "--num_workers", "1",
    ]  # fmt: skip
    with serving("litellm", port, command, environment, folder / "litellm.log") as process:
        contender = Contender("litellm", port, keys=(key,))
        _wait_until_ready(f"http://127.0.0.1:{port}/health/readiness")
        yield contender, process


def _wait_until_ready(url: str) -> None:
    until = time.monotonic() + SECONDS_TO_START
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
            if answer.status == 200:
                return
        if time.monotonic() > until:
            raise RuntimeError(f"{url} does not answer")
        time.sleep(0.2)


@dataclass
class Atrium:
    """The gateway as an installation runs it: admin and gateway, a process each.

    Attributes:
        processes: The processes.
        http_port: Where the gateway serves the OpenAI API.
        key: Key of the first tenant's administrator.
        keys: Keys of the other tenants' administrators.
    """

    processes: Processes
    http_port: int
    key: str
    keys: tuple[str, ...] = ()

    @property
    def by_grpc(self) -> Contender:
        """The gateway over gRPC, the first tenant alone calling."""
        port = int(self.processes.targets["gateway"].rpartition(":")[2])
        return Contender("grpc", port, grpc=True, keys=(self.key,))

    @property
    def by_http(self) -> Contender:
        """The gateway over HTTP."""
        return Contender("http", self.http_port, keys=(self.key,))

    @property
    def process(self) -> psutil.Process:
        """The gateway's process."""
        return psutil.Process(self.processes.pid("gateway"))


@asynccontextmanager
async def atrium(url: str, folder: Path, tenants: int) -> AsyncIterator[Atrium]:
    """Run admin and gateway in front of the model server, with further tenants."""
    http_port = free_port()
    environment = {
        "LLM_URL": url,
        "LLM_MODEL": "mock",
        "LLM_CONTEXT_TOKENS": "32768",
        "GATEWAY_HTTP_ADDRESS": f"127.0.0.1:{http_port}",
        "GATEWAY_QUEUE_CAPACITY": "1000",
    }
    processes = Processes(folder, environment=environment, names=("admin", "gateway"))
    async with running_processes(processes):
        key = await processes.bootstrap("operator")
        # The mock counts as a server elsewhere, so texts may leave.
        await _let_leave(processes, key)
        keys = await _make_tenants(processes, key, tenants)
        yield Atrium(processes, http_port, key, keys)


async def _let_leave(processes: Processes, key: str) -> None:
    async with grpc.aio.insecure_channel(processes.targets["admin"]) as channel:
        request = admin_service_pb2.UpdateTenantRequest(
            tenant=admin_pb2.Tenant(name="tenants/operator", residency=admin_pb2.Tenant.ANY)
        )
        request.update_mask.paths.append("residency")
        metadata = (("authorization", f"Bearer {key}"),)
        await admin_service_pb2_grpc.AdminServiceStub(channel).UpdateTenant(
            request, metadata=metadata
        )


async def _make_tenants(processes: Processes, operator: str, tenants: int) -> tuple[str, ...]:
    """Make tenants, each with a route and quotas of its own; return their keys."""
    candidate = gateway_pb2.Route.Candidate(model="models/mock", timeout_seconds=30)
    route = gateway_pb2.Route(name=f"routes/{TASK}", candidates=[candidate])
    quotas = [
        quota_service_pb2.Quota(
            name="quotas/tokens-daily",
            unit=quota_service_pb2.Quota.TOKENS,
            window=quota_service_pb2.Quota.DAY,
            limit=10**12,
        ),
        quota_service_pb2.Quota(
            name="quotas/requests-hourly",
            unit=quota_service_pb2.Quota.REQUESTS,
            window=quota_service_pb2.Quota.HOUR,
            limit=10**9,
        ),
    ]
    keys = []
    async with (
        grpc.aio.insecure_channel(processes.targets["admin"]) as admin_channel,
        grpc.aio.insecure_channel(processes.targets["gateway"]) as gateway_channel,
    ):
        admin = admin_service_pb2_grpc.AdminServiceStub(admin_channel)
        catalog = gateway_service_pb2_grpc.ModelCatalogStub(gateway_channel)
        quota_service = quota_service_pb2_grpc.QuotaServiceStub(gateway_channel)

        async def configure(key: str) -> None:
            metadata = (("authorization", f"Bearer {key}"),)
            await catalog.UpdateRoute(
                gateway_service_pb2.UpdateRouteRequest(route=route), metadata=metadata
            )
            for quota in quotas:
                await quota_service.UpdateQuota(
                    quota_service_pb2.UpdateQuotaRequest(quota=quota), metadata=metadata
                )

        await configure(operator)
        for number in range(tenants):
            tenant = admin_pb2.Tenant(residency=admin_pb2.Tenant.ANY)
            made = await admin.CreateTenant(
                admin_service_pb2.CreateTenantRequest(tenant_id=f"t{number}", tenant=tenant),
                metadata=(("authorization", f"Bearer {operator}"),),
            )
            await configure(made.secret)
            keys.append(made.secret)
    return tuple(keys)


def measure_overhead(figures: Figures, contenders: Sequence[Contender], sizes: Sizes) -> None:
    """Time calls one at a time, everyone in turns."""
    callers = {each.name: OneCaller(each) for each in contenders}
    spent: dict[str, list[float]] = {name: [] for name in callers}
    for caller in callers.values():
        caller.seconds(WARM_UP_CALLS)
    for _ in range(sizes.rounds):
        for name, caller in callers.items():
            # LiteLLM is slow enough that fewer calls tell as much.
            spent[name] += caller.seconds(sizes.calls if name != "litellm" else sizes.calls // 8)
    direct = statistics.median(spent.pop("direct")) * 1e3
    figures.add("direct.p50", direct, "ms", n=sizes.rounds * sizes.calls)
    overhead = {name: statistics.median(times) * 1e3 - direct for name, times in spent.items()}
    for name, value in overhead.items():
        target = OVERHEAD_TARGET_MS if name == "grpc" else None
        n = len(spent[name])
        figures.add(f"overhead.{name}_p50", value, "ms", n=n, target=target, at_most=True)
        figures.add(f"overhead.{name}_p99", _at(spent[name], 0.99) * 1e3 - direct, "ms", n=n)
    if "litellm" in overhead:
        for name in ("grpc", "http"):
            figures.add(
                f"overhead.{name}_over_litellm",
                overhead[name] / overhead["litellm"],
                "ratio",
                n=len(spent[name]),
                target=OVERHEAD_SHARE_TARGET if name == "grpc" else None,
                at_most=True,
            )


async def measure_throughput(
    figures: Figures, contenders: Sequence[Contender], sizes: Sizes, *, stream: bool
) -> None:
    """Call with 16 at once, everyone in turns."""
    kind = "streams" if stream else "calls"
    callers = [ManyCallers(each, AT_ONCE, stream) for each in contenders]
    rates: dict[str, list[float]] = {each.name: [] for each in contenders}
    for caller in callers:
        await caller.run(for_seconds=sizes.seconds / 2)
    for _ in range(sizes.rounds):
        for caller in callers:
            rates[caller.contender.name].append(await caller.run(for_seconds=sizes.seconds))
    median = {name: statistics.median(found) for name, found in rates.items()}
    for name, rate in median.items():
        figures.add(f"{kind}.{name}", rate, "1/s", n=round(rate * sizes.seconds * sizes.rounds))
    bare = {"grpc": "bare_grpc", "http": "bare_http"}
    for name, passed in bare.items():
        # Of the same turn, so that what the machine did meanwhile met both.
        ratios = [mine / its for mine, its in zip(rates[name], rates[passed], strict=True)]
        figures.add(
            f"{kind}.{name}_over_{passed}",
            statistics.median(ratios),
            "ratio",
            n=sizes.rounds,
            target=THROUGHPUT_OVER_BARE_TARGET if name == "grpc" else None,
        )
        if "litellm" in median:
            figures.add(
                f"{kind}.{name}_over_litellm",
                median[name] / median["litellm"],
                "ratio",
                n=sizes.rounds,
                target=THROUGHPUT_OVER_LITELLM_TARGET,
            )


async def measure_tenants(figures: Figures, running: Atrium, sizes: Sizes) -> None:
    """Call for one tenant and for all of them in turns."""
    one = ManyCallers(running.by_grpc, AT_ONCE)
    many = ManyCallers(replace(running.by_grpc, keys=running.keys), AT_ONCE)
    await many.run(calls=2 * len(running.keys))  # everyone known, as in a running installation
    shares = []
    for _ in range(sizes.rounds):
        alone = await one.run(for_seconds=sizes.seconds)
        shares.append(await many.run(for_seconds=sizes.seconds) / alone)
    figures.add(
        f"tenants_{sizes.tenants}.throughput_share",
        statistics.median(shares),
        "ratio",
        n=sizes.rounds,
        target=TENANTS_SHARE_TARGET,
    )


async def measure_memory(figures: Figures, running: Atrium, sizes: Sizes) -> None:
    """Call often, whole and in parts, by gRPC and by HTTP, and watch the gateway's memory."""
    callers = [
        ManyCallers(contender, AT_ONCE, stream)
        for contender in (running.by_grpc, running.by_http)
        for stream in (False, True)
    ]
    tenth = sizes.memory_calls // 10
    sizes_mb = []
    for _ in range(10):
        for caller in callers:
            await caller.run(calls=tenth // len(callers))
        sizes_mb.append(_resident_mb(running.process))
    figures.add("memory.rss_after_a_tenth", sizes_mb[0], "MB", n=tenth)
    figures.add("memory.rss_at_the_end", sizes_mb[-1], "MB", n=sizes.memory_calls)
    figures.add(
        "memory.growth_in_the_second_half",
        sizes_mb[-1] - sizes_mb[4],
        "MB",
        n=sizes.memory_calls // 2,
        target=MEMORY_GROWTH_TARGET_MB,
        at_most=True,
    )


def _resident_mb(process: psutil.Process) -> float:
    """Return the resident memory of a process and of what it started."""
    family = [process, *process.children(recursive=True)]
    return sum(each.memory_info().rss for each in family) / 1e6


def _at(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


async def measure(figures: Figures, folder: Path, sizes: Sizes) -> None:
    """Start everyone and measure."""
    with ExitStack() as stack:
        upstream = stack.enter_context(python_server("upstream", folder=folder))
        url = f"http://127.0.0.1:{upstream}/v1"
        bare_http = stack.enter_context(python_server("bare_http", url, folder=folder))
        bare_grpc = stack.enter_context(python_server("bare_grpc", url, folder=folder))
        contenders = [
            Contender("direct", upstream),
            Contender("bare_http", bare_http),
            Contender("bare_grpc", bare_grpc, grpc=True),
        ]
        litellm = None
        if LITELLM.exists():
            contender, litellm = stack.enter_context(litellm_proxy(url, folder))
            contenders.append(contender)
        else:
            print("LiteLLM is left out: run `make .tools/litellm` to install it.", file=sys.stderr)
        async with atrium(url, folder, sizes.tenants) as running:
            contenders += [running.by_grpc, running.by_http]
            await asyncio.to_thread(measure_overhead, figures, contenders, sizes)
            for stream in (False, True):
                await measure_throughput(figures, contenders, sizes, stream=stream)
            mine = _resident_mb(running.process)
            figures.add("memory.gateway", mine, "MB", n=1)
            if litellm is not None:
                theirs = _resident_mb(litellm)
                figures.add("memory.litellm", theirs, "MB", n=1)
                figures.add(
                    "memory.gateway_over_litellm",
                    mine / theirs,
                    "ratio",
                    n=1,
                    target=MEMORY_SHARE_TARGET,
                    at_most=True,
                )
            if running.keys:
                await measure_tenants(figures, running, sizes)
            if sizes.memory_calls:
                await measure_memory(figures, running, sizes)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="make bench BENCH=gateway", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--memory-calls", type=int, default=20_000, help="200000 for the full run")
    parser.add_argument("--tenants", type=int, default=700)
    chosen = parser.parse_args()
    sizes = Sizes(chosen.rounds, chosen.calls, chosen.seconds, chosen.memory_calls, chosen.tenants)
    with tempfile.TemporaryDirectory() as folder:
        uvloop.run(measure(Figures("bench", "gateway"), Path(folder), sizes))


if __name__ == "__main__":
    main()
