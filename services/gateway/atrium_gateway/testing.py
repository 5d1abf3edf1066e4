"""What tests of the gateway need: a model server that misbehaves on demand, a served gateway."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import numpy as np
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from atrium.gateway.v1.gateway_service_pb2_grpc import ModelCatalogStub, ModelGatewayStub
from atrium_gateway.adapters.scripted_backend import ScriptedBackend
from atrium_gateway.app.catalog import ServedModel
from atrium_gateway.app.ports import PageReader
from atrium_gateway.bootstrap import Locate, build
from atrium_gateway.domain.pii import Detector
from atrium_gateway.settings import GatewaySettings
from atrium_shared.audit import MemoryAuditSink
from atrium_shared.clock import FixedClock
from atrium_shared.errors import NotFound
from atrium_shared.identity import Authenticator
from atrium_shared.principal import Residency, TenantQuota
from atrium_shared.rpc.channel import RemoteError, raise_from_rpc
from atrium_shared.settings import load_settings
from atrium_shared.testing import make_principal, running_server

if TYPE_CHECKING:
    from atrium.gateway.v1.gateway_service_pb2_grpc import (
        ModelCatalogAsyncStub,
        ModelGatewayAsyncStub,
    )

PERMISSIONS = (
    "gateway.models:use",
    "gateway.routes:read",
    "gateway.routes:manage",
    "gateway.usage:read",
    "gateway.quotas:read",
    "gateway.quotas:manage",
    "gateway.adapters:read",
    "gateway.adapters:manage",
)


@dataclass(frozen=True)
class Answer:
    """What :class:`FakeUpstream` does with one request.

    Attributes:
        chunks: Bytes to write one after the other; a float is a pause in seconds.
        status: HTTP status.
        content_type: Of the body.
        hang: Wait, after the chunks, until the client leaves.
        cut: Close the connection in the middle of the body.
        silent: Close the connection without a word.
        headers: Further ones.
    """

    chunks: Sequence[bytes | float] = ()
    status: int = 200
    content_type: str = "text/event-stream"
    hang: bool = False
    cut: bool = False
    silent: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """What a client sent: path, headers by lower-case name, and the JSON of the body."""

    path: str
    headers: Mapping[str, str]
    body: Any


def event(payload: object) -> bytes:
    """Return one server-sent event with ``payload`` as JSON, or as it is when it is a string."""
    data = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
    return f"data: {data}\n\n".encode()


def delta(text: str | None, finish: str | None = None) -> bytes:
    """Return the event of one part of a reply."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return event({"id": "c", "choices": [choice]})


def counts(prompt: int, completion: int, cached: int = 0) -> bytes:
    """Return the event that tells the usage."""
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
    return event({"choices": [], "usage": usage})


def reply(*texts: str, finish: str = "stop", prompt_tokens: int = 7) -> Answer:
    """Return a whole reply in the given parts."""
    parts = [delta(text) for text in texts]
    return Answer([*parts, delta(None, finish), counts(prompt_tokens, len(texts)), event("[DONE]")])


def failure(status: int, **error: object) -> Answer:
    """Return an error in OpenAI's shape."""
    return json_answer({"error": error}, status)


def json_answer(payload: object, status: int = 200) -> Answer:
    """Return a JSON body."""
    return Answer([json.dumps(payload).encode()], status, "application/json")


@dataclass
class FakeUpstream:
    """An OpenAI-compatible server on a socket, down to the bytes.

    Without a queued answer it lists :attr:`models`, echoes the last message word by word, and
    embeds a text by counting its letters.

    Attributes:
        port: Where it listens.
        models: What it lists.
        requests: What came, the lists of models included.
        left_at: When clients left before their reply ended, on the event loop's clock.
        connections: Connections made so far.
    """

    port: int = 0
    models: list[str] = field(default_factory=lambda: ["tiny"])
    requests: list[Request] = field(default_factory=list)
    left_at: list[float] = field(default_factory=list)
    connections: int = 0
    _answers: deque[Answer] = field(default_factory=deque)
    _listing: Answer | None = None

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def posted(self) -> list[Request]:
        """The requests without the lists of models."""
        return [request for request in self.requests if request.path != "/v1/models"]

    def enqueue(self, *answers: Answer) -> None:
        """Set the answers to the next requests."""
        self._answers.extend(answers)

    def answer_listing(self, answer: Answer) -> None:
        """Set the answer to ``/models``."""
        self._listing = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *rest = head.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (each.split(": ", 1) for each in rest)}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        request = Request(line.split()[1], headers, json.loads(raw) if raw else None)
        self.requests.append(request)
        if request.path != "/v1/models" and self._answers:
            answer = self._answers.popleft()
        else:
            answer = self._default(request)
        gone = asyncio.ensure_future(reader.read(1))
        try:
            return await self._write(answer, writer, gone)
        except ConnectionError:
            self._left()
            return False
        finally:
            gone.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await gone

    async def _write(
        self, answer: Answer, writer: asyncio.StreamWriter, gone: asyncio.Future[bytes]
    ) -> bool:
        if answer.silent:
            return False
        headers = {"content-type": answer.content_type, **answer.headers}
        lines = [f"{name}: {value}" for name, value in headers.items()]
        head = [f"HTTP/1.1 {answer.status} Status", *lines, "transfer-encoding: chunked", "", ""]
        writer.write("\r\n".join(head).encode())
        for chunk in answer.chunks:
            if gone.done():
                break
            if isinstance(chunk, float):
                await asyncio.wait({gone}, timeout=chunk)
            else:
                writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                await writer.drain()
        if answer.hang:
            await asyncio.wait({gone})
        if gone.done():
            self._left()
            return False
        if answer.cut:
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    def _left(self) -> None:
        self.left_at.append(asyncio.get_running_loop().time())

    def _default(self, request: Request) -> Answer:
        if request.path == "/v1/models":
            listed = {"data": [{"id": name} for name in self.models]}
            return self._listing or json_answer(listed)
        if request.path == "/v1/embeddings":
            return _embedded(request.body["input"])
        said = reply(*re.findall(r"\S+\s*", request.body["messages"][-1]["content"]))
        # With pauses, or a few words arrive as one part.
        return Answer([each for chunk in said.chunks for each in (chunk, 0.002)])


def _embedded(texts: Sequence[str]) -> Answer:
    rows = []
    for index, text in enumerate(texts):
        row = np.zeros(26, np.float32)
        row[0] = 0.01
        for letter in re.findall("[a-z]", text.lower()):
            row[ord(letter) - ord("a")] += 1
        encoded = base64.b64encode(row.tobytes()).decode()
        rows.append({"index": index, "embedding": encoded})
    read = sum(len(text.split()) for text in texts)
    return json_answer({"data": rows, "usage": {"prompt_tokens": read}})


F = TypeVar("F", bound=FakeUpstream)


@asynccontextmanager
async def serve_upstream(fake: F) -> AsyncIterator[F]:
    """Serve a :class:`FakeUpstream` on a free port while the block runs."""
    connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.create_task(fake.serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    fake.port = server.sockets[0].getsockname()[1]
    try:
        yield fake
    finally:
        server.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections)


def fake_upstream() -> AbstractAsyncContextManager[FakeUpstream]:
    """Serve a new :class:`FakeUpstream` on a free port while the block runs."""
    return serve_upstream(FakeUpstream())


class FilesMissing(NotFound):
    """A fake model store holds nothing."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is not there")


def locate_nothing(name: str) -> Path:
    """Find no model, like an empty store."""
    raise FilesMissing(name)


@dataclass
class ServedGateway:
    """A gateway that answers, and what surrounds it.

    Attributes:
        models: Model calls of an administrator of the tenant "acme".
        catalog: The same administrator's models, routes and usage.
        scripted: The scripted model.
        audit: What was recorded.
        clock: Stands still until it is advanced.
        target: Where it listens, host:port.
        http: What it answers over HTTP.
        authenticator: Whom it knows.
        open_channel: Gives a channel of "acme" or "globex" (administrators of the tenants of
            these names), "guest" (of acme, may nothing), or a channel without a credential.
    """

    models: ModelGatewayAsyncStub
    catalog: ModelCatalogAsyncStub
    scripted: ScriptedBackend
    audit: MemoryAuditSink
    clock: FixedClock
    target: str
    http: ASGIApp
    authenticator: Authenticator
    open_channel: Callable[..., grpc.aio.Channel]


@asynccontextmanager
async def serve_gateway(
    folder: Path,
    *,
    routes: Mapping[str, Sequence[Mapping[str, object]]] | None = None,
    models: Sequence[ServedModel] = (),
    with_scripted: bool = True,
    locate: Locate = locate_nothing,
    tokens: Mapping[str, str] | None = None,
    quotas: Mapping[str, Sequence[TenantQuota]] | None = None,
    pages: PageReader | None = None,
    residency: Residency = Residency.ANY,
    detector: Detector | None = None,
    **variables: str,
) -> AsyncIterator[ServedGateway]:
    """Serve a gateway on a free port while the block runs.

    Args:
        folder: For its database and files.
        routes: The operator's routes; those that ship when None.
        models: Further models.
        with_scripted: Whether there is ``models/scripted``.
        locate: Finds the files of local models.
        tokens: Further credentials, and the tenants whose administrators they stand for.
        quotas: What the operator allows a tenant, by tenant.
        pages: Reads web pages.
        residency: Where the tenants' texts may go.
        detector: Finds personal data; the one that ships when None.
        **variables: Environment variables; GATEWAY_MODELS is ``none`` when it is not among them.
    """
    if routes is not None:
        path = folder / "routes.yaml"
        path.write_text(json.dumps({"routes": routes}))
        variables["GATEWAY_ROUTES_FILE"] = str(path)
    defaults = {
        "GATEWAY_DATABASE_URL": f"sqlite+aiosqlite:///{folder}/gateway.db",
        "GATEWAY_MODELS": "none",
        "GATEWAY_BLOB_URL": (folder / "files").as_uri(),
        "GATEWAY_ADAPTER_DIR": str(folder / "encoder-adapters"),
    }
    scripted, audit = ScriptedBackend(), MemoryAuditSink()
    clock = FixedClock(datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC))
    app = build(
        load_settings(GatewaySettings, defaults | variables),
        audit=audit,
        clock=clock,
        locate=locate,
        scripted=scripted if with_scripted else None,
        models=models,
        pages=pages,
        detector=detector,
    )
    tenants = {"acme": "acme", "globex": "globex", **(tokens or {})}
    principals = {
        token: make_principal(
            *PERMISSIONS,
            tenant=tenant,
            residency=residency,
            quotas=tuple((quotas or {}).get(tenant, ())),
        )
        for token, tenant in tenants.items()
    }
    principals["guest"] = make_principal(tenant="acme", actor="users/guest")
    async with running_server([app], principals, audit=audit) as running:
        channel = running.open_channel("acme")
        yield ServedGateway(
            ModelGatewayStub(channel),
            ModelCatalogStub(channel),
            scripted,
            audit,
            clock,
            running.target,
            Starlette(routes=[Mount(*each) for each in running.server.http_apps().items()]),
            running.authenticator,
            running.open_channel,
        )


async def refusal(call: Any) -> RemoteError:
    """Return the error with which a call fails.

    Args:
        call: A call of a stub, unary or a stream of responses.

    Raises:
        AssertionError: It does not fail.
    """
    try:
        if hasattr(call, "read"):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        try:
            raise_from_rpc(error)
        except RemoteError as refused:
            return refused
    raise AssertionError("the call was answered")
