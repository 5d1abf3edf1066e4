"""Evaluations and benchmarks with models do without figures rather than without a model."""

from pathlib import Path

import pytest

from tests.bench import ingest
from tests.figures import Figures
from tests.suites import ModelsMissing, open_suite, wait_for_models


async def test_a_model_that_is_not_there_is_named(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("ATRIUM_MODELS_DIR", str(tmp_path / "models"))
    async with open_suite(tmp_path / "state", "small") as suite:
        with pytest.raises(ModelsMissing, match=r"atrium-reader is unavailable.*models pull small"):
            await wait_for_models(suite)


async def test_taking_documents_in_is_not_measured_without_the_models(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("ATRIUM_MODELS_DIR", str(tmp_path / "models"))
    figures = Figures("bench", "ingest", folder=tmp_path / "figures")
    with pytest.raises(ModelsMissing, match="models pull small"):
        await ingest.measure(figures, tmp_path, "small")
    assert not (tmp_path / "figures").exists()
