"""How sentences about a meeting are to be made."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import Final

from atrium_shared.engines import Engine, EngineKind


class WriteMode(StrEnum):
    """How sentences are to be made."""

    AUTO = "auto"
    """Written by a model where there is one, else as they were said."""
    EXTRACTIVE = "extractive"
    """As they were said."""
    GENERATIVE = "generative"
    """Written by a model, or not at all."""


EXTRACTIVE: Final = Engine(EngineKind.EXTRACTIVE, "atrium")


def degraded(engine: Engine, reason: str) -> Engine:
    """Return an engine that stands in for a better one."""
    return replace(engine, degraded=True, degraded_reason=reason)
