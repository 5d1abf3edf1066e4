"""An HTTP server inside the running loop, beside the gRPC server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

_SECONDS_TO_STOP = 5
"""What a client may still read; calls of services are drained before, by their own server."""


class AddressTaken(Exception):
    """The address of the HTTP side cannot be had; the message says which and why."""


def listen(address: str, variable: str) -> socket.socket:
    """Return a socket that listens.

    Args:
        address: ``"127.0.0.1:7480"``; port 0 takes a free one.
        variable: What sets it, for the error.

    Raises:
        AddressTaken: It cannot be had.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # Said to be TCP, it is served without Nagle's pauses (40 ms between head and body).
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
            listener.listen(128)
        except BaseException:
            listener.close()
            raise
        return listener
    except (OSError, ValueError, OverflowError) as error:
        raise AddressTaken(
            f"{variable} is {address!r}, expected HOST:PORT of this machine that no other "
            f"program listens on ({error})."
        ) from error


class HttpServer:
    """Serves an application on a bound socket, in the running loop.

    Args:
        app: The application.
        listener: Bound socket; closed at the end.
    """

    def __init__(self, app: ASGIApp, listener: socket.socket) -> None:
        config = uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=_SECONDS_TO_STOP,
        )
        self._server = _Server(config)
        self._listener = listener
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to answer."""
        self._task = asyncio.create_task(self._server.serve([self._listener]), name="http")
        started = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait({self._task, started}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        """Answer what is under way, then stop."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._listener.close()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        # Signals stop the process as a whole, not this part of it.
        yield
