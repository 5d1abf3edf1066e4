"""A pass-through from HTTP to HTTP that does nothing else: what a proxy costs at least.

``python -m tests.bench.gateway_servers.bare_http PORT UPSTREAM_URL``
"""

from __future__ import annotations

import sys
from typing import Any

import aiohttp
import uvicorn


class PassThrough:
    """Sends every body on and the answer back (ASGI 3)."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._client is None:
            self._client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        body, more = b"", True
        while more:
            message = await receive()
            body += message["body"]
            more = message["more_body"]
        headers = {"content-type": "application/json"}
        async with self._client.post(self._url, data=body, headers=headers) as response:
            kind = response.headers["content-type"].encode()
            start = {"type": "http.response.start", "status": response.status}
            await send({**start, "headers": [(b"content-type", kind)]})
            async for chunk in response.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    uvicorn.run(
        PassThrough(f"{sys.argv[2]}/chat/completions"),
        port=int(sys.argv[1]),
        lifespan="off",
        log_level="warning",
        access_log=False,
    )
