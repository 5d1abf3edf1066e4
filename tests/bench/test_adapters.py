"""The bench on a tiny encoder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from atrium_gateway.adapters.onnx_lora import Attention
from tests.encoder_adapters import HIDDEN, LAYERS, TINY, write_encoder
from tests.figures import Figures

from .adapters import RANK, measure


async def test_the_bench_measures_apart_equal_and_small_adapters(tmp_path: Path) -> None:
    figures, kept_in = Figures("bench", "adapters", folder=tmp_path), tmp_path / "kept"
    encoder = write_encoder(tmp_path / TINY)
    await measure(figures, encoder, Attention(LAYERS, HIDDEN), 6, 40, kept_in, strength=0.3)
    told = {
        line["name"]: line
        for line in map(json.loads, (tmp_path / "adapters.jsonl").read_text().splitlines())
    }
    for name in (
        "adapters.isolation.vectors_of_another",
        "adapters.base.vectors_changed",
        "adapters.equality.vectors_changed_by_no_adapter",
    ):
        assert told[name]["value"] == 0
        assert told[name]["n"] > 0
    assert told["adapters.equality.cosine_distance_max"]["value"] < 1e-5
    assert told["adapters.equality.adapter_moves_p50"]["value"] > 1e-3
    matrices = 6 * 2 * LAYERS * 2 * HIDDEN * RANK * 4 / 1e6  # A and B of two projections a layer
    assert told["adapters.memory.matrices_mb"]["value"] == pytest.approx(matrices, rel=1e-3)
    assert {
        "adapters.switch.from_disk.p95_ms",
        "adapters.call.from_disk.p95_ms",
        "adapters.throughput.mixed_to_single",
    } <= set(told)
    assert os.listdir(kept_in) == []


async def test_sabotage_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SABOTAGE", "1")
    figures = Figures("bench", "adapters", folder=tmp_path)
    encoder = write_encoder(tmp_path / TINY)
    await measure(figures, encoder, Attention(LAYERS, HIDDEN), 3, 20, tmp_path / "kept")
    assert "adapters.isolation.vectors_of_another" in figures.missed
