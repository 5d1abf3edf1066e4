"""Makes sentence vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atrium_gateway.app.audit_calls import AuditCalls
from atrium_gateway.app.caller import Caller
from atrium_gateway.app.dispatch import Dispatch
from atrium_gateway.app.ports import Embedding, EncoderBackend, TextKind
from atrium_gateway.domain.models import Capability
from atrium_gateway.domain.tokens import most_encoder_tokens
from atrium_shared.engines import Engine, Usage


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors, what made them and what they cost."""

    embedding: Embedding
    engine: Engine
    usage: Usage


class EmbedTexts:
    """Use case of ``Embed``.

    Args:
        dispatch: Runs the call on an encoder.
        audit: Records it.
    """

    def __init__(self, dispatch: Dispatch, audit: AuditCalls) -> None:
        self._dispatch = dispatch
        self._audit = audit

    async def __call__(self, caller: Caller, texts: Sequence[str], kind: TextKind) -> Embedded:
        """Return one vector a text, in order.

        Raises:
            AtriumError: See :meth:`Dispatch.encode`.
        """

        async def run(encoder: EncoderBackend) -> tuple[Embedding, int]:
            embedding = await encoder.embed(texts, kind)
            return embedding, embedding.tokens

        async with self._audit.call(caller, "gateway.Embed") as call:
            embedding, engine, usage = await self._dispatch.encode(
                caller, Capability.EMBED, run, most_encoder_tokens(texts)
            )
            call.answered(engine, usage)
            return Embedded(embedding, engine, usage)
