"""The models of a suite that is measured: all of them, or none of its figures."""

from __future__ import annotations

from typing import Final

from atrium_suite.bootstrap import Suite

_SECONDS: Final = 600.0
"""How long models may take to load."""


class ModelsMissing(Exception):
    """A model is not there: figures without it would pass for those of the engine with it."""

    def __init__(self, missing: list[str]) -> None:
        super().__init__(
            f"{'; '.join(missing)}. What is measured with models needs all of them: pull them with"
            " `atrium models pull small`, or choose the engine that needs none."
        )


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
