"""The model server that everyone in the bench calls: it answers at once, with as little as it can.

``python -m tests.bench.gateway_servers.upstream PORT``
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import httptools
import uvloop

WORDS = 16
_TEXT = " ".join(f"word{n}" for n in range(WORDS))
_USAGE = {"prompt_tokens": 12, "completion_tokens": WORDS, "total_tokens": 12 + WORDS}
_FRAME = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": "mock"}


def _response(body: bytes, content_type: str = "application/json") -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _whole() -> bytes:
    message = {"role": "assistant", "content": _TEXT}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    reply = {**_FRAME, "object": "chat.completion", "choices": [choice], "usage": _USAGE}
    return _response(json.dumps(reply).encode())


def _events() -> bytes:
    """Return a chunked response, a chunk for each word, as model servers send them."""
    deltas: list[tuple[dict[str, Any], str | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": f"word{n} "}, None) for n in range(WORDS)]
    deltas += [({}, "stop")]
    frame = {**_FRAME, "object": "chat.completion.chunk"}
    events = [
        {**frame, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        for delta, reason in deltas
    ]
    events.append({**frame, "choices": [], "usage": _USAGE})
    lines = [f"data: {json.dumps(event)}\n\n".encode() for event in events] + [b"data: [DONE]\n\n"]
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    return head + b"".join(b"%x\r\n%b\r\n" % (len(line), line) for line in lines) + b"0\r\n\r\n"


_WHOLE, _EVENTS = _whole(), _events()
_MODELS = _response(json.dumps({"object": "list", "data": [{"id": "mock"}]}).encode())


class Connection(asyncio.Protocol):
    """One connection of a client."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)
        self._path, self._body = b"", b""

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path, self._body = url, b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._path.endswith(b"/models"):
            self._transport.write(_MODELS)
        elif json.loads(self._body).get("stream"):
            self._transport.write(_EVENTS)
        else:
            self._transport.write(_WHOLE)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
