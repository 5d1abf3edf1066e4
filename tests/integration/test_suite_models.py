"""Evaluations and benchmarks with models do without figures rather than without a model."""

from pathlib import Path

import pytest

from atrium_suite.bootstrap import build
from atrium_suite.settings import SuiteSettings
from tests.bench import ingest
from tests.figures import Figures
from tests.suite_models import ModelsMissing, wait_for_models


async def test_a_model_that_is_not_there_is_named(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("ATRIUM_MODELS_DIR", str(tmp_path / "models"))
    suite = build(
        SuiteSettings(
            state_dir=tmp_path / "state",
            address="127.0.0.1:0",
            http_address="127.0.0.1:0",
            models="small",
        )
    )
    await suite.start()
    try:
        with pytest.raises(ModelsMissing, match=r"atrium-reader is unavailable.*models pull small"):
            await wait_for_models(suite)
    finally:
        await suite.stop()


async def test_taking_documents_in_is_not_measured_without_the_models(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("ATRIUM_MODELS_DIR", str(tmp_path / "models"))
    figures = Figures("bench", "ingest", folder=tmp_path / "figures")
    with pytest.raises(ModelsMissing, match="models pull small"):
        await ingest.measure(figures, tmp_path, "small")
    assert not (tmp_path / "figures").exists()
