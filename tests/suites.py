"""A suite that is measured, in this process; with all of its models, or without figures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from atrium_suite.bootstrap import Suite, build
from atrium_suite.settings import SuiteSettings

_SECONDS: Final = 600.0
"""How long models may take to load."""


class ModelsMissing(Exception):
    """A model is not there: figures without it would pass for those of the engine with it."""

    def __init__(self, missing: list[str]) -> None:
        super().__init__(
            f"{'; '.join(missing)}. What is measured with models needs all of them: pull them with"
            " `atrium models pull small`, or choose the engine that needs none."
        )


@asynccontextmanager
async def open_suite(state_dir: Path, models: str) -> AsyncIterator[Suite]:
    """Run a suite on free ports while the block runs; its models load meanwhile.

    Args:
        state_dir: Its state folder.
        models: The set of models: `small`, or `none`.
    """
    suite = build(
        SuiteSettings(
            state_dir=state_dir, address="127.0.0.1:0", http_address="127.0.0.1:0", models=models
        )
    )
    await suite.start()
    try:
        yield suite
    finally:
        await suite.stop()


async def wait_for_models(suite: Suite) -> None:
    """Return when every model of the suite has been loaded; at once where it has none.

    Raises:
        ModelsMissing: One is not there, or did not load in ten minutes.
    """
    readiness = await suite.wait_until_ready(_SECONDS)
    missing = [
        f"{part.name} is {part.state.lower()} ({part.reason})"
        for part in readiness.parts
        if part.state != "READY"
    ]
    if missing:
        raise ModelsMissing(missing)
