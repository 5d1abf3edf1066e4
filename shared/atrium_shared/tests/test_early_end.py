"""A server that ends a stream of requests before its end is heard."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest

from atrium_client.credentials import credential_interceptors
from atrium_shared.rpc.channel import metadata_interceptors

# Without what is tested here about a quarter of these calls are told INTERNAL.
ROUNDS, AT_ONCE = 2, 25
WAYS: dict[str, Callable[[], list[grpc.aio.ClientInterceptor]]] = {
    "between services": lambda: metadata_interceptors(lambda: ()),
    "from the client": lambda: credential_interceptors("atr_x", None),
}


async def refuse(parts: AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
    await context.read()
    await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too large")


async def refuse_live(
    parts: AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]
) -> None:
    await refuse(parts, context)


async def count(parts: AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
    return str(len([part async for part in parts])).encode()


async def parts() -> AsyncIterator[bytes]:
    for _ in range(64):
        yield b"x" * (1 << 16)


@pytest.fixture
async def target() -> AsyncIterator[str]:
    server = grpc.aio.server()
    handlers = {
        "Refuse": grpc.stream_unary_rpc_method_handler(refuse),
        "RefuseLive": grpc.stream_stream_rpc_method_handler(refuse_live),
        "Count": grpc.stream_unary_rpc_method_handler(count),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Files", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(1)


@pytest.fixture(params=WAYS)
async def channel(request: pytest.FixtureRequest, target: str) -> AsyncIterator[grpc.aio.Channel]:
    interceptors = WAYS[request.param]()
    async with grpc.aio.insecure_channel(target, interceptors=interceptors) as channel:
        yield channel


async def test_a_write_that_fails_after_a_refusal_does_not_hide_it(
    channel: grpc.aio.Channel,
) -> None:
    heard: Counter[str] = Counter()

    async def upload() -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.stream_unary("/Files/Refuse")(parts())
        heard[f"{caught.value.code().name}: {caught.value.details()}"] += 1

    for _ in range(ROUNDS):
        await asyncio.gather(*(upload() for _ in range(AT_ONCE)))
    assert heard == {"RESOURCE_EXHAUSTED: too large": ROUNDS * AT_ONCE}


async def test_a_refused_live_stream_is_told_why(channel: grpc.aio.Channel) -> None:
    heard: Counter[str] = Counter()

    async def stream() -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in channel.stream_stream("/Files/RefuseLive")(parts()):
                pass
        heard[f"{caught.value.code().name}: {caught.value.details()}"] += 1

    for _ in range(ROUNDS):
        await asyncio.gather(*(stream() for _ in range(AT_ONCE)))
    assert heard == {"RESOURCE_EXHAUSTED: too large": ROUNDS * AT_ONCE}


async def test_all_of_a_stream_arrives_however_it_is_given(channel: grpc.aio.Channel) -> None:
    upload = channel.stream_unary("/Files/Count")
    assert await upload([b"part"] * 64) == await upload(parts()) == b"64"
