"""A pass-through from gRPC to HTTP that does nothing else: what a gateway costs at least.

``python -m tests.bench.gateway_servers.bare_grpc PORT UPSTREAM_URL``
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import grpc
import uvloop

from atrium.gateway.v1 import gateway_pb2, gateway_service_pb2_grpc

_ROLES = {1: "system", 2: "user", 3: "assistant"}


class PassThrough(gateway_service_pb2_grpc.ModelGatewayServicer):  # type: ignore[misc]
    """Answers ``Generate`` and ``StreamGenerate`` alone."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def Generate(
        self, request: gateway_pb2.GenerateRequest, context: Any
    ) -> gateway_pb2.GenerateResponse:
        async with self._client.post(self._url, json=_body(request, stream=False)) as response:
            reply = await response.json()
        text = reply["choices"][0]["message"]["content"]
        return gateway_pb2.GenerateResponse(text=text)

    async def StreamGenerate(
        self, request: gateway_pb2.GenerateRequest, context: Any
    ) -> AsyncIterator[gateway_pb2.StreamGenerateResponse]:
        parts: list[str] = []
        async with self._client.post(self._url, json=_body(request, stream=True)) as response:
            async for line in response.content:
                if not line.startswith(b"data: {"):
                    continue
                choices = json.loads(line[len(b"data: ") :])["choices"]
                text = choices[0]["delta"].get("content") if choices else None
                if text:
                    parts.append(text)
                    yield gateway_pb2.StreamGenerateResponse(delta=text)
        done = gateway_pb2.GenerateResponse(text="".join(parts))
        yield gateway_pb2.StreamGenerateResponse(done=done)


def _body(request: gateway_pb2.GenerateRequest, *, stream: bool) -> dict[str, Any]:
    messages = [{"role": _ROLES[each.role], "content": each.content} for each in request.messages]
    return {"model": "mock", "messages": messages, "max_tokens": 64, "stream": stream}


async def _serve(port: int, url: str) -> None:
    server = grpc.aio.server()
    gateway_service_pb2_grpc.add_ModelGatewayServicer_to_server(PassThrough(url), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), f"{sys.argv[2]}/chat/completions"))
