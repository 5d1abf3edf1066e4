"""What Prometheus is told, and whether the dashboard asks for what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path

from atrium.gateway.v1 import gateway_pb2
from atrium_gateway.testing import FakeUpstream, ServedGateway, failure, refusal, serve_gateway
from atrium_shared.telemetry import METRICS, metrics_text

DASHBOARD = Path(__file__).parents[3] / "charts" / "atrium" / "dashboards" / "gateway.json"


def value(name: str, **labels: str) -> float:
    return METRICS.get_sample_value(name, labels) or 0.0


def ask(**fields: object) -> gateway_pb2.GenerateRequest:
    message = gateway_pb2.Message(role=gateway_pb2.Message.USER, content="hello world")
    return gateway_pb2.GenerateRequest(task="t", messages=[message], **fields)


async def test_calls_and_tokens_are_counted_by_model(served: ServedGateway) -> None:
    def calls(result: str) -> float:
        return value("atrium_model_calls_total", model="models/scripted", result=result)

    def tokens(kind: str) -> float:
        return value("atrium_model_tokens_total", model="models/scripted", kind=kind)

    before = calls("answered"), calls("cached"), tokens("prompt"), tokens("completion")
    reply = await served.models.Generate(ask(cache=gateway_pb2.EXACT))
    await served.models.Generate(ask(cache=gateway_pb2.EXACT))
    after = calls("answered"), calls("cached"), tokens("prompt"), tokens("completion")
    usage = reply.usage
    assert [now - then for now, then in zip(after, before, strict=True)] == [
        1, 1, usage.prompt_tokens, usage.completion_tokens,
    ]  # fmt: skip


async def test_a_server_at_rest_shows(tmp_path: Path, upstream: FakeUpstream) -> None:
    routes = {"default": [{"model": "models/tiny"}]}
    variables = {"LLM_URL": upstream.url, "LLM_MODEL": "tiny"}
    async with serve_gateway(tmp_path, routes=routes, **variables) as served:
        text = metrics_text().decode()
        (upstream_name,) = re.findall(
            r'atrium_upstream_resting\{upstream="(http[^"]+)"\} 0\.0', text
        )
        for _ in range(20):
            upstream.enqueue(failure(500))
            await refusal(served.models.Generate(ask()))
        assert value("atrium_upstream_resting", upstream=upstream_name) == 1
        assert value("atrium_upstream_in_flight", upstream=upstream_name) == 0
        assert value("atrium_model_calls_total", model="models/tiny", result="failed") > 0
    assert "atrium_upstream_resting{" not in metrics_text().decode()


async def test_the_dashboard_asks_for_metrics_that_there_are(served: ServedGateway) -> None:
    await served.models.Generate(ask())
    there = set(re.findall(r"^(atrium_\w+)\{", metrics_text().decode(), re.MULTILINE))
    panels = json.loads(DASHBOARD.read_text())["panels"]
    asked = {
        name
        for panel in panels
        for target in panel["targets"]
        for name in re.findall(r"\batrium_\w+", target["expr"])
    }
    assert len(panels) >= 8
    assert asked
    assert asked <= there
