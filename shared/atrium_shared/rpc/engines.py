"""What made a reply and what it cost, in messages of ``atrium.engine.v1``."""

from __future__ import annotations

from typing import Final

from atrium.engine.v1 import engine_pb2
from atrium_shared.engines import Engine, EngineKind, Usage

_KINDS: Final = {
    EngineKind.EXTRACTIVE: engine_pb2.Engine.EXTRACTIVE,
    EngineKind.GENERATIVE: engine_pb2.Engine.GENERATIVE,
    EngineKind.ENCODER: engine_pb2.Engine.ENCODER,
    EngineKind.RULES: engine_pb2.Engine.RULES,
}
_KINDS_OF_PROTO: Final = {number: kind for kind, number in _KINDS.items()}


def engine_to_proto(engine: Engine) -> engine_pb2.Engine:
    """Return a message of what made a reply."""
    return engine_pb2.Engine(
        kind=_KINDS[engine.kind],
        backend=engine.backend,
        model=engine.model,
        degraded=engine.degraded,
        degraded_reason=engine.degraded_reason,
    )


def engine_from_proto(engine: engine_pb2.Engine) -> Engine:
    """Return what made a reply; a kind that is not known here counts as rules."""
    return Engine(
        kind=_KINDS_OF_PROTO.get(engine.kind, EngineKind.RULES),
        backend=engine.backend,
        model=engine.model,
        degraded=engine.degraded,
        degraded_reason=engine.degraded_reason,
    )


def usage_to_proto(usage: Usage) -> engine_pb2.Usage:
    """Return a message of what a reply cost."""
    return engine_pb2.Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        encoder_tokens=usage.encoder_tokens,
        cached_prompt_tokens=usage.cached_prompt_tokens,
    )


def usage_from_proto(usage: engine_pb2.Usage) -> Usage:
    """Return what a reply cost."""
    return Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        encoder_tokens=usage.encoder_tokens,
        cached_prompt_tokens=usage.cached_prompt_tokens,
    )
