"""One HTTP request and its answer, whole or as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
from starlette.types import Message, Receive, Scope, Send

from atrium_gateway.openai_http.errors import BodyTooLarge
from atrium_shared.rpc.interceptors import combined

_JSON = [(b"content-type", b"application/json")]
_EVENTS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
_DONE = b"data: [DONE]\n\n"


class Exchange:
    """A request and what is answered.

    Args:
        scope: Of the request (ASGI 3).
        receive: Gives what the client sends.
        send: Takes what it gets.

    Attributes:
        headers: Headers by lower-case name.
        method: ``"POST"``.
        mount: Where the application is mounted, ``"/v1"``.
        path: Below the mount, ``"/chat/completions"``.
        streaming: Whether events were begun; an error is an event from then on.
        left: Whether the client left before its answer was written.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers: dict[str, str] = combined(
            [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        )
        self.method: str = scope["method"]
        self.mount: str = scope.get("root_path", "")
        self.path: str = scope["path"].removeprefix(self.mount)
        self.streaming = False
        self.left = False
        self._receive = receive
        self._send = send
        self._ending = False

    async def body(self, most_bytes: int) -> bytes:
        """Return the body.

        Raises:
            BodyTooLarge: It has more than ``most_bytes``.
            CancelledError: The client left before its end.
        """
        length = self.headers.get("content-length", "")
        if length.isdecimal() and int(length) > most_bytes:
            raise BodyTooLarge(most_bytes)
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.left = True
                raise asyncio.CancelledError
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > most_bytes:
                raise BodyTooLarge(most_bytes)
            parts.append(part)
            more = message.get("more_body", False)
        return b"".join(parts)

    @asynccontextmanager
    async def while_client_waits(self) -> AsyncIterator[None]:
        """Cancel the current task when the client leaves before the answer is written."""
        task = asyncio.current_task()
        assert task is not None

        async def watch() -> None:
            message: Message = {"type": "http.request"}
            while message["type"] != "http.disconnect":
                message = await self._receive()
            if not self._ending:
                self.left = True
                task.cancel()

        watcher = asyncio.create_task(watch(), name="watch client")
        try:
            yield
        finally:
            watcher.cancel()

    async def answer(
        self, value: Any, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """Write the whole answer as JSON."""
        body = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
        sent = [*_JSON, (b"content-length", b"%d" % len(body))]
        sent += [(name.encode(), text.encode("latin-1")) for name, text in (headers or {}).items()]
        self._ending = True
        await self._send({"type": "http.response.start", "status": status, "headers": sent})
        await self._send({"type": "http.response.body", "body": body})

    async def event(self, value: Any) -> None:
        """Write one event, after the headers when it is the first."""
        if not self.streaming:
            self.streaming = True
            await self._send({"type": "http.response.start", "status": 200, "headers": _EVENTS})
        data = b"data: %b\n\n" % orjson.dumps(value)
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, *, done: bool) -> None:
        """End the events; ``done`` says that the reply is whole."""
        self._ending = True
        await self._send({"type": "http.response.body", "body": _DONE if done else b""})
