"""The bench in small, without LiteLLM: everyone starts, answers and is measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.figures import Figures

from . import gateway
from .gateway import Sizes, measure


@pytest.mark.timeout(200)
async def test_everyone_is_measured_in_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "LITELLM", tmp_path / "not-installed")
    sizes = Sizes(rounds=1, calls=8, seconds=0.1, memory_calls=40, tenants=1)
    await measure(Figures("bench", "gateway", folder=tmp_path), tmp_path, sizes)
    lines = (tmp_path / "gateway.jsonl").read_text().splitlines()
    figures = {
        line["name"].removeprefix("gateway."): line["value"] for line in map(json.loads, lines)
    }
    for name in ("direct", "bare_http", "bare_grpc", "grpc", "http"):
        assert figures[f"calls.{name}"] > 0
        assert figures[f"streams.{name}"] > 0
    assert figures["overhead.grpc_p50"] > 0
    assert figures["memory.gateway"] > 50
    assert figures["tenants_1.throughput_share"] > 0
    assert "calls.litellm" not in figures
