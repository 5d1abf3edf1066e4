from __future__ import annotations

import httpx
import pytest

from atrium_shared.http_server import HttpServer
from atrium_shared.rpc.server import PartState
from atrium_suite.http import Readiness, build_http
from atrium_suite.listening import address_of, listen

READY = PartState("models/encoder", "READY")
STARTING = PartState("models/writer", "STARTING")
GONE = PartState("models/writer", "UNAVAILABLE", "Run: atrium models pull small")


@pytest.mark.parametrize(
    ("readiness", "code", "waiting_for"),
    [
        (Readiness(True, ()), 200, []),
        (Readiness(True, (READY,)), 200, []),
        (Readiness(True, (READY, STARTING)), 503, ["models/writer"]),
        (Readiness(True, (READY, GONE)), 200, []),
        (Readiness(False, (READY,)), 503, []),
    ],
)
async def test_it_is_ready_when_nothing_is_still_being_loaded(
    readiness: Readiness, code: int, waiting_for: list[str]
) -> None:
    async def now() -> Readiness:
        return readiness

    transport = httpx.ASGITransport(build_http(now))
    async with httpx.AsyncClient(transport=transport, base_url="http://suite") as client:
        response = await client.get("/readyz")
    assert response.status_code == code
    assert response.json()["ready"] is (code == 200)
    assert response.json()["waiting_for"] == waiting_for
    assert len(response.json()["parts"]) == len(readiness.parts)


async def test_it_serves_health_and_metrics_on_a_port_and_lets_go_of_it() -> None:
    async def now() -> Readiness:
        return Readiness(True, ())

    listener = listen("127.0.0.1:0", "--http-address", "SUITE_HTTP_ADDRESS")
    address = address_of(listener)
    server = HttpServer(build_http(now), listener)
    await server.start()
    async with httpx.AsyncClient(base_url=f"http://{address}") as client:
        assert (await client.get("/healthz")).text == "ok\n"
        metrics = await client.get("/metrics")
        assert "process_resident_memory_bytes" in metrics.text
        assert metrics.headers["content-type"].startswith("text/plain")
        assert (await client.get("/absent")).status_code == 404
    await server.stop()
    listen(address, "--http-address", "SUITE_HTTP_ADDRESS").close()
