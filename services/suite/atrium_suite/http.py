"""The suite's HTTP side: is it alive, is it ready, what does it count."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from atrium_shared.rpc.server import PartState
from atrium_shared.telemetry import METRICS_CONTENT_TYPE, metrics_text


@dataclass(frozen=True)
class Readiness:
    """Whether calls are answered as well as they will be."""

    serving: bool
    """The services answer calls."""
    parts: tuple[PartState, ...]
    """Models and whatever else comes up after the services."""

    @property
    def ready(self) -> bool:
        """True when the services answer and nothing is still being loaded.

        An unavailable model does not change that: replies are then marked as degraded.
        """
        return self.serving and not self.waiting_for

    @property
    def waiting_for(self) -> tuple[str, ...]:
        """Names of the parts that are being loaded."""
        return tuple(part.name for part in self.parts if part.state == "STARTING")


def build_http(readiness: Callable[[], Awaitable[Readiness]]) -> Starlette:
    """Return the application.

    Args:
        readiness: Asked at each ``/readyz``.
    """

    async def alive(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(_: Request) -> Response:
        now = await readiness()
        body = {
            "ready": now.ready,
            "serving": now.serving,
            "waiting_for": now.waiting_for,
            "parts": [asdict(part) for part in now.parts],
        }
        return JSONResponse(body, status_code=200 if now.ready else 503)

    async def metrics(_: Request) -> Response:
        return Response(metrics_text(), media_type=METRICS_CONTENT_TYPE)

    return Starlette(
        routes=[
            Route("/healthz", alive),
            Route("/readyz", ready),
            Route("/metrics", metrics),
        ]
    )


class HttpServer:
    """Serves an application on a bound socket, in the running loop.

    Args:
        app: The application.
        listener: Bound socket; closed at the end.
    """

    def __init__(self, app: Starlette, listener: socket.socket) -> None:
        config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False)
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
        # Signals stop the suite as a whole, not this part of it.
        yield
