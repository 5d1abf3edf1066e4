"""Evaluations with models do without figures rather than without a model."""

from pathlib import Path

import pytest

from atrium_suite.bootstrap import build
from atrium_suite.settings import SuiteSettings
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
