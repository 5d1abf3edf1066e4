"""Callers: as little as a call can be made with, so that what is measured is the other side."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

from atrium.gateway.v1 import gateway_pb2
from atrium.gateway.v1.gateway_service_pb2_grpc import ModelGatewayStub

TASK = "default"
_NOT_COUNTED = 5
PROMPT = "How many days of annual leave do I have, and who decides about more? " * 4
_REQUEST = gateway_pb2.GenerateRequest(
    task=TASK,
    messages=[gateway_pb2.Message(role=gateway_pb2.Message.USER, content=PROMPT)],
    max_tokens=64,
)


class CallFailed(Exception):
    """A contender did not answer as it should; the message shows its answer."""


@dataclass(frozen=True)
class Contender:
    """Something that answers chat requests.

    Attributes:
        name: In the figures.
        port: Where it listens on this machine.
        grpc: Whether it speaks gRPC, else HTTP.
        path: Of its chat completions.
        keys: Bearer credentials, used in turn.
        model: What HTTP requests name.
    """

    name: str
    port: int
    grpc: bool = False
    path: str = "/v1/chat/completions"
    keys: Sequence[str] = ("",)
    model: str = TASK

    def request(self, key: str, *, stream: bool) -> bytes:
        """Return an HTTP request, byte for byte."""
        messages = [{"role": "user", "content": PROMPT}]
        sent: dict[str, Any] = {"model": self.model, "messages": messages, "max_tokens": 64}
        if stream:
            sent["stream"] = True
        body = json.dumps(sent).encode()
        head = (
            f"POST {self.path} HTTP/1.1\r\nhost: 127.0.0.1:{self.port}\r\n"
            f"authorization: Bearer {key}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def metadata(self, key: str) -> tuple[tuple[str, str], ...]:
        """Return the metadata of a gRPC call."""
        return (("authorization", f"Bearer {key}"),)


class OneCaller:
    """Calls one after the other, over one connection, without an event loop.

    Args:
        contender: Who is called.
    """

    def __init__(self, contender: Contender) -> None:
        self._contender = contender
        self._address = f"127.0.0.1:{contender.port}"

    def seconds(self, calls: int) -> list[float]:
        """Return how long each of some calls took; the first few are not counted.

        The connection is made anew, as servers close those that rest.
        """
        key = self._contender.keys[0]
        if self._contender.grpc:
            with grpc.insecure_channel(self._address) as channel:
                stub, metadata = ModelGatewayStub(channel), self._contender.metadata(key)
                return _timed(lambda: stub.Generate(_REQUEST, metadata=metadata).text, calls)
        with socket.create_connection(("127.0.0.1", self._contender.port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            request = self._contender.request(key, stream=False)
            return _timed(lambda: self._answer(connection, request), calls)

    def _answer(self, connection: socket.socket, request: bytes) -> str:
        connection.sendall(request)
        answer = b""
        while not _is_whole(answer):
            part = connection.recv(65_536)
            if not part:
                raise CallFailed(f"{self._contender.name} closed the connection: {answer[:500]!r}")
            answer += part
        return answer.decode()


def _timed(call: Callable[[], str], calls: int) -> list[float]:
    for _ in range(_NOT_COUNTED):
        _check(call())
    spent = []
    for _ in range(calls):
        begun = time.perf_counter()
        text = call()
        spent.append(time.perf_counter() - begun)
        _check(text)
    return spent


def _is_whole(answer: bytes) -> bool:
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        return False
    head = head.lower()
    if b"transfer-encoding: chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    return len(body) >= length


def _check(text: str) -> None:
    if "word15" not in text:
        raise CallFailed(f"Not the reply that was expected: {text[:500]}")


@dataclass
class ManyCallers:
    """Calls over several connections at once.

    Attributes:
        contender: Who is called.
        at_once: Calls under way at any time.
        stream: Whether replies come in parts.
        seconds: How long each call took, of the last run.
    """

    contender: Contender
    at_once: int
    stream: bool = False
    seconds: list[float] = field(default_factory=list)
    _turn: int = 0

    async def run(self, *, for_seconds: float = 0.0, calls: int = 0) -> float:
        """Call for a time, or so many times; return calls finished a second."""
        self.seconds = []
        begun = time.perf_counter()
        self._until = begun + for_seconds if for_seconds else float("inf")
        self._left = calls or 1 << 62
        if self.contender.grpc:
            await self._over_grpc()
        else:
            await asyncio.gather(*(self._over_http() for _ in range(self.at_once)))
        return len(self.seconds) / (time.perf_counter() - begun)

    async def _repeat(self, call: Callable[[str], Awaitable[None]]) -> None:
        keys = self.contender.keys
        while self._left > 0 and (begun := time.perf_counter()) < self._until:
            self._left -= 1
            self._turn += 1
            await call(keys[self._turn % len(keys)])
            self.seconds.append(time.perf_counter() - begun)

    async def _over_grpc(self) -> None:
        target = f"127.0.0.1:{self.contender.port}"
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(target, options=options) as channel:
            stub = ModelGatewayStub(channel)

            async def whole(key: str) -> None:
                metadata = self.contender.metadata(key)
                _check((await stub.Generate(_REQUEST, metadata=metadata)).text)

            async def in_parts(key: str) -> None:
                text = ""
                metadata = self.contender.metadata(key)
                async for event in stub.StreamGenerate(_REQUEST, metadata=metadata):
                    text += event.delta
                _check(text)

            call = in_parts if self.stream else whole
            await asyncio.gather(*(self._repeat(call) for _ in range(self.at_once)))

    async def _over_http(self) -> None:
        contender = self.contender
        reader, writer = await asyncio.open_connection("127.0.0.1", contender.port, limit=1 << 20)
        requests = {key: contender.request(key, stream=self.stream) for key in contender.keys}

        async def call(key: str) -> None:
            writer.write(requests[key])
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if b"transfer-encoding: chunked" in head:
                body = await reader.readuntil(b"0\r\n\r\n")
            else:
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
                body = await reader.readexactly(length)
            if not head.startswith(b"http/1.1 200") or b"word15" not in body:
                raise CallFailed(f"{contender.name} answered {head!r} {body[:500]!r}")

        try:
            await self._repeat(call)
        finally:
            writer.close()
