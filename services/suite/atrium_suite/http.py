"""The suite's HTTP side: is it alive, is it ready, what does it count, and what services add."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

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


def build_http(
    readiness: Callable[[], Awaitable[Readiness]], mounted: Mapping[str, ASGIApp] | None = None
) -> Starlette:
    """Return the application.

    Args:
        readiness: Asked at each ``/readyz``.
        mounted: Path -> application of a service, such as ``/scim``.
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
            *(Mount(path, app) for path, app in (mounted or {}).items()),
        ]
    )
