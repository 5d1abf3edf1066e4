"""kill -9 of gateways that share budgets: nothing is served over a limit, little of it is lost.

Real gateways behind gRPC, on one database, in front of a model server that counts what it serves.
`make test-faults FAULTS=quota` runs four on a PostgreSQL of their own with 200 calls at a time;
otherwise it is two on SQLite with a few. SABOTAGE=1 charges dead processes nothing: it must fail.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

import atrium_gateway
from atrium.gateway.v1 import gateway_pb2, quota_service_pb2
from atrium.gateway.v1.gateway_service_pb2_grpc import ModelGatewayStub
from atrium.gateway.v1.quota_service_pb2_grpc import QuotaServiceStub
from atrium_shared.database import Database
from atrium_shared.rpc.channel import metadata_interceptors
from atrium_shared.testing import memory_folder
from tests.figures import Figures
from tests.postgres import running_postgres
from tests.processes import free_port

MIGRATIONS = Path(atrium_gateway.__file__).parent / "migrations"
PROGRAM = Path(__file__).parent / "quota_process.py"
FULL = os.environ.get("FAULTS") == "quota"
SECONDS_TO_GIVE_BACK = 10.0


@dataclass(frozen=True)
class Size:
    """How much is done."""

    gateways: int
    calls: int
    kills: int
    limit: int  # tokens of the tenant; the others follow


SIZE = Size(4, 200, 10, 150_000) if FULL else Size(2, 12, 1, 9_000)


# The model server


@dataclass
class Upstream:
    """Speaks OpenAI's protocol and counts each prompt token it takes and each it writes.

    A prompt says whose it is: "alpha k1 docs.a ...".
    """

    tokens: Counter[tuple[str, ...]] = field(default_factory=Counter)
    requests: Counter[tuple[str, ...]] = field(default_factory=Counter)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                    length = int(head.partition("content-length: ")[2].partition("\r\n")[0] or 0)
                    body = json.loads(await reader.readexactly(length) or "null")
                    await self._reply(body, writer)
        finally:
            writer.close()

    async def _reply(self, body: dict, writer: asyncio.StreamWriter) -> None:
        prompt = body["messages"][0]["content"]
        who = tuple(prompt.split()[:3])
        read = len(prompt) // 4
        self.requests[who] += 1
        self.tokens[who] += read
        wanted = random.randint(1, body["max_tokens"])
        head = "HTTP/1.1 200 OK\r\ncontent-type: {}\r\n{}\r\n\r\n"
        usage = {"prompt_tokens": read, "completion_tokens": wanted}
        if not body.get("stream"):
            await asyncio.sleep(random.uniform(0, 0.2))
            self.tokens[who] += wanted
            message = {"role": "assistant", "content": "eight.. " * wanted}
            choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
            data = json.dumps({"id": "c", "choices": choices, "usage": usage}).encode()
            writer.write(head.format("application/json", f"content-length: {len(data)}").encode())
            writer.write(data)
            await writer.drain()
            return
        writer.write(head.format("text/event-stream", "transfer-encoding: chunked").encode())
        parts = min(wanted, 5)
        for part in range(parts):
            written = wanted * (part + 1) // parts - wanted * part // parts
            self.tokens[who] += written
            _event(writer, {"choices": [{"index": 0, "delta": {"content": "eight.. " * written}}]})
            await writer.drain()
            await asyncio.sleep(random.uniform(0, 0.06))
        _event(writer, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        _event(writer, {"choices": [], "usage": usage})
        writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        await writer.drain()


def _event(writer: asyncio.StreamWriter, payload: dict) -> None:
    data = f"data: {json.dumps(payload)}\n\n".encode()
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))


# The gateways


class Gateway:
    """One process, always on the same port."""

    def __init__(self, arguments: list[str], log: Path) -> None:
        self.port = free_port()
        self._arguments = arguments
        self._log = log
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, str(PROGRAM), str(self.port), *self._arguments,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        assert self.process.stdout is not None
        while (line := await self.process.stdout.readline()).strip() != b"ready":
            assert line, self._log.read_text()

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> None:
        for channel in self._channels.values():
            await channel.close()
        if self.process.returncode is None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            await asyncio.wait_for(self.process.wait(), 20)

    def channel(self, who: str) -> grpc.aio.Channel:
        """Return a channel whose calls carry a key, "alpha/k1"."""
        if who not in self._channels:
            self._channels[who] = grpc.aio.insecure_channel(
                f"127.0.0.1:{self.port}",
                options=[
                    ("grpc.use_local_subchannel_pool", 1),
                    ("grpc.initial_reconnect_backoff_ms", 100),
                    ("grpc.max_reconnect_backoff_ms", 200),
                ],
                interceptors=metadata_interceptors(lambda: (("authorization", f"Bearer {who}"),)),
            )
        return self._channels[who]


@dataclass
class World:
    """What a run has."""

    gateways: list[Gateway]
    upstream: Upstream
    engine: AsyncEngine
    refused: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    given_back: list[float] = field(default_factory=list)

    async def rows(self, statement: str) -> list[tuple]:
        async with self.engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(sqlalchemy.text(statement))]


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[World]:
    limit = SIZE.limit
    # Alpha is stopped by tokens, beta by requests, gamma by quotas of its own.
    operator = {"alpha": [("tokens", limit)], "beta": [("requests", limit // 100)]}
    routes = folder / "routes.yaml"
    routes.write_text(json.dumps({"routes": {"default": [{"model": "models/remote"}]}}))
    async with contextlib.AsyncExitStack() as stack:
        if FULL:
            address = stack.enter_context(running_postgres())
            database = f"postgresql+asyncpg://{address}"
            engine = create_async_engine(
                database, connect_args={"server_settings": {"search_path": "gateway"}}
            )
        else:
            database = f"sqlite+aiosqlite:///{folder}/gateway.db"
            engine = create_async_engine(database)
        stack.push_async_callback(engine.dispose)
        upstream = Upstream()
        connections: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.add(asyncio.create_task(upstream.serve(reader, writer)))

        async def hang_up() -> None:
            server.close()
            for connection in connections:
                connection.cancel()
            await asyncio.gather(*connections, return_exceptions=True)

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        stack.push_async_callback(hang_up)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        arguments = [database, url, str(routes), json.dumps(operator)]
        gateways = [Gateway(arguments, folder / f"{n}.log") for n in range(SIZE.gateways)]
        tables = Database(database, migrations=MIGRATIONS, name="gateway")
        await tables.start()
        await tables.close()
        for gateway in gateways:
            stack.push_async_callback(gateway.stop)
        await asyncio.gather(*(gateway.start() for gateway in gateways))
        quotas = QuotaServiceStub(gateways[0].channel("gamma/k1"))
        for name, subject in (("key", "apiKeys/k1"), ("docs", "tasks/docs")):
            quota = quota_service_pb2.Quota(
                name=f"quotas/{name}",
                subject=subject,
                unit=quota_service_pb2.Quota.TOKENS,
                window=quota_service_pb2.Quota.MONTH,
                limit=limit // 2,
            )
            await quotas.UpdateQuota(quota_service_pb2.UpdateQuotaRequest(quota=quota))
        yield World(gateways, upstream, engine)


# What happens

CALLERS = [
    (tenant, key, task)
    for tenant in ("alpha", "beta", "gamma")
    for key in ("k1", "k2")
    for task in ("docs.a", "docs.b", "meeting")
    if (tenant, key, task) != ("gamma", "k2", "meeting")  # nothing limits it
]


async def call(world: World, who: tuple[str, str, str], gateway: Gateway, most: int) -> bool:
    """Make one call, by stream or whole, given up halfway now and then; False: refused."""
    tenant, key, task = who
    message = gateway_pb2.Message(
        role=gateway_pb2.Message.USER, content=f"{tenant} {key} {task} " + "word " * 20
    )
    request = gateway_pb2.GenerateRequest(task=task, messages=[message], max_tokens=most)
    models = ModelGatewayStub(gateway.channel(f"{tenant}/{key}"))
    try:
        if random.random() < 0.3:
            await models.Generate(request)
        else:
            stream = models.StreamGenerate(request)
            leaves = random.random() < 0.1
            async for _ in stream:
                if leaves:
                    stream.cancel()
                    break
    except grpc.aio.AioRpcError as error:
        if "quotas/" in (error.details() or ""):
            world.refused[tenant] += 1
            return False
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        await asyncio.sleep(0.05)  # killed in the middle, or not there again yet
        return True
    world.answered[tenant] += 1
    return True


async def calls_without_end(world: World, enough: asyncio.Event) -> None:
    while not enough.is_set():
        who = random.choice(CALLERS)
        if not await call(world, who, random.choice(world.gateways), random.randint(10, 200)):
            await asyncio.sleep(random.uniform(0.02, 0.1))


async def kills(world: World, enough: asyncio.Event) -> None:
    """Kill at random until it was often enough and every budget was used up, or nearly."""
    deadline = time.monotonic() + (100 if FULL else 30)
    living = list(world.gateways)  # who lives longest comes first
    starting: set[asyncio.Task[None]] = set()

    async def again(gateway: Gateway) -> None:
        await asyncio.sleep(random.uniform(0, 0.5))
        await gateway.start()
        living.append(gateway)

    while world.kills < SIZE.kills or (len(world.refused) < 3 and time.monotonic() < deadline):
        await asyncio.sleep(random.uniform(0.3, 3.0) if FULL else random.uniform(0.3, 1.0))
        used = _sum(world.upstream.tokens, "alpha")
        # With one kill alone, the dead process must have used something to be charged for.
        if len(living) <= SIZE.gateways // 2 or used < SIZE.limit // (20 if FULL else 3):
            continue
        # To give back what the dead held, somebody must have watched them for some seconds.
        known = await world.rows("select process from quota_processes")
        if len(known) < len(living):
            continue  # one has not begun, and would have nothing to give back
        gateway = random.choice(living[1:] if len(known) > len(living) or not FULL else living)
        living.remove(gateway)
        await gateway.kill()
        world.kills += 1
        starting.add(asyncio.create_task(again(gateway)))
    await asyncio.gather(*starting)
    enough.set()


async def watch(world: World) -> None:
    """Note how long the leases of a process outlive its last sign of life."""
    beats: dict[str, tuple[int, float]] = {}
    while True:
        now = time.monotonic()
        seen = dict(await world.rows("select process, beat from quota_processes"))
        held = {name for (name,) in await world.rows("select distinct process from quota_leases")}
        for name, beat in seen.items():
            if beats.get(name, (None, 0))[0] != beat:
                beats[name] = (beat, now)
        for name in [name for name in beats if name not in seen and name not in held]:
            world.given_back.append(now - beats.pop(name)[1])
        await asyncio.sleep(0.1)


async def use_up(world: World) -> None:
    """Make smaller and smaller calls until every process refuses the smallest."""
    for tenant, key, task in (
        ("alpha", "k1", "docs.a"),
        ("beta", "k1", "docs.a"),
        ("gamma", "k1", "meeting"),
        ("gamma", "k2", "docs.a"),
    ):
        for most in (200, 20, 1):
            while True:
                before = world.refused[tenant]
                many = [call(world, (tenant, key, task), each, most) for each in world.gateways]
                await asyncio.gather(*many)
                if world.refused[tenant] - before == len(many):
                    break


Served = Callable[[Upstream], int]


def _sum(counted: Counter[tuple[str, ...]], tenant: str, key: str = "", task: str = "") -> int:
    return sum(
        number
        for (whose, by, what), number in counted.items()
        if whose == tenant and by.startswith(key) and what.startswith(task)
    )


@pytest.mark.timeout(400)
async def test_nothing_is_served_over_a_limit_whoever_is_killed() -> None:
    limit = SIZE.limit
    with memory_folder() as folder:
        async with running(folder) as world:
            enough = asyncio.Event()
            watching = asyncio.create_task(watch(world))
            async with asyncio.TaskGroup() as group:
                for _ in range(SIZE.calls):
                    group.create_task(calls_without_end(world, enough))
                group.create_task(kills(world, enough))
            killed_at = time.monotonic()
            living = SIZE.gateways
            # A process that has begun again may not be listed yet: numbers alone prove nothing.
            while (
                not world.given_back
                or len(await world.rows("select process from quota_processes")) > living
            ):
                assert time.monotonic() - killed_at < SECONDS_TO_GIVE_BACK
                await asyncio.sleep(0.1)
            await use_up(world)
            tokens, requests = world.upstream.tokens, world.upstream.requests
            served = {
                "alpha": (_sum(tokens, "alpha"), limit),
                "beta": (_sum(requests, "beta"), limit // 100),
                "gamma.key": (_sum(tokens, "gamma", key="k1"), limit // 2),
                "gamma.docs": (_sum(tokens, "gamma", task="docs"), limit // 2),
            }
            charged = await _charged(world)
            told_until = time.monotonic() + SECONDS_TO_GIVE_BACK
            # A process hears with its next exchange what the others have charged last.
            while any(charged[name] < used for name, (used, _) in served.items()):
                assert time.monotonic() < told_until, f"{served} were served, {charged} charged"
                await asyncio.sleep(0.1)
                charged = await _charged(world)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            calls = sum(world.answered.values())
    over = sum(max(0, used - most) for used, most in served.values())
    figures = Figures("faults", "quota")
    figures.add("over_budget", over, "tokens and requests", n=calls, target=0, at_most=True)
    figures.add(
        "given_back",
        max(world.given_back, default=0.0),
        "s",
        n=len(world.given_back),
        target=SECONDS_TO_GIVE_BACK,
        at_most=True,
    )
    lost = sum(most - used for used, most in served.values()) / sum(m for _, m in served.values())
    figures.add("charged_to_deaths", max(lost, 0.0), "share", n=world.kills)
    for name, (used, most) in served.items():
        assert used <= most, f"{name}: {used} of {most} were served"
        # What was served is charged; only deaths cost more.
        assert used <= charged[name] <= most
    assert world.given_back
    assert not figures.missed


async def _charged(world: World) -> dict[str, int]:
    """Return what the gateways say is used."""
    names = {
        "alpha": "quotas/operator-tokens-month",
        "beta": "quotas/operator-requests-month",
        "gamma.key": "quotas/key",
        "gamma.docs": "quotas/docs",
    }
    charged = {}
    for name, quota in names.items():
        stub = QuotaServiceStub(world.gateways[0].channel(f"{name.partition('.')[0]}/k1"))
        page = await stub.ListQuotas(quota_service_pb2.ListQuotasRequest())
        charged[name] = next(each.used for each in page.quotas if each.name == quota)
    return charged
