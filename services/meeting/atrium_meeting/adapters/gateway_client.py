"""Models behind the gateway, over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, Literal

import grpc
import numpy as np

from atrium.engine.v1 import engine_pb2
from atrium.gateway.v1 import gateway_pb2, gateway_service_pb2_grpc
from atrium_meeting.app.ports import ChatMessage, Embedding, Generated, Role
from atrium_meeting.domain.engines import Engine, EngineKind, Usage
from atrium_shared.principal import Principal
from atrium_shared.rpc.channel import metadata_for, raise_from_rpc

EMBED_TASK: Final = "meeting.embed"
IDEMPOTENT_METHODS: Final = ("atrium.gateway.v1.ModelGateway/Embed",)
"""What a channel to the gateway may repeat."""

_TEXTS_AT_ONCE: Final = 256
"""Most texts of one call of ``Embed``."""
_KINDS: Final = {
    "query": gateway_pb2.EmbedRequest.QUERY,
    "passage": gateway_pb2.EmbedRequest.PASSAGE,
}
_ENGINE_KINDS: Final = {
    engine_pb2.Engine.EXTRACTIVE: EngineKind.EXTRACTIVE,
    engine_pb2.Engine.GENERATIVE: EngineKind.GENERATIVE,
    engine_pb2.Engine.ENCODER: EngineKind.ENCODER,
    engine_pb2.Engine.RULES: EngineKind.RULES,
}
_ROLES: Final = {
    Role.SYSTEM: gateway_pb2.Message.SYSTEM,
    Role.USER: gateway_pb2.Message.USER,
    Role.ASSISTANT: gateway_pb2.Message.ASSISTANT,
}


class GatewayEmbedder:
    """Implements ``ports.Embedder``.

    Args:
        channel: Channel to the gateway.
        seconds: How long a call of at most 256 texts may take.
    """

    def __init__(self, channel: grpc.aio.Channel, *, seconds: float = 120.0) -> None:
        self._stub = gateway_service_pb2_grpc.ModelGatewayStub(channel)
        self._seconds = seconds

    async def embed(
        self, principal: Principal, texts: Sequence[str], kind: Literal["query", "passage"]
    ) -> Embedding:
        """Return one vector a text."""
        rows: list[np.ndarray[Any, np.dtype[np.float32]]] = []
        tokens, engine = 0, Engine(EngineKind.ENCODER, backend="")
        for first in range(0, len(texts), _TEXTS_AT_ONCE):
            part = texts[first : first + _TEXTS_AT_ONCE]
            try:
                response = await self._stub.Embed(
                    gateway_pb2.EmbedRequest(task=EMBED_TASK, texts=part, kind=_KINDS[kind]),
                    metadata=metadata_for(principal),
                    timeout=self._seconds,
                )
            except grpc.aio.AioRpcError as error:
                raise_from_rpc(error)
            vectors = np.frombuffer(response.vectors, dtype="<f4").astype(np.float32)
            rows.append(vectors.reshape(len(part), response.dimensions))
            tokens += response.usage.encoder_tokens
            engine = engine_from_proto(response.engine)
        return Embedding(np.concatenate(rows) if rows else _NO_VECTORS, tokens, engine)


_NO_VECTORS: Final = np.zeros((0, 0), dtype=np.float32)


class GatewayGenerator:
    """Implements ``ports.Generator``.

    Args:
        channel: Channel to the gateway.
        longest_seconds: How long writing a text may take.
    """

    def __init__(self, channel: grpc.aio.Channel, *, longest_seconds: float = 300.0) -> None:
        self._stub = gateway_service_pb2_grpc.ModelGatewayStub(channel)
        self._longest_seconds = longest_seconds

    async def generate(
        self,
        principal: Principal,
        task: str,
        messages: Sequence[ChatMessage],
        max_tokens: int,
        *,
        response_schema: Mapping[str, Any] | None = None,
    ) -> Generated:
        """Return a text; cancelling the call stops the model."""
        try:
            response = await self._stub.Generate(
                _request(task, messages, max_tokens, response_schema),
                metadata=metadata_for(principal),
                timeout=self._longest_seconds,
            )
        except grpc.aio.AioRpcError as error:
            raise_from_rpc(error)
        return _generated(response)

    async def stream(
        self,
        principal: Principal,
        task: str,
        messages: Sequence[ChatMessage],
        max_tokens: int,
        *,
        response_schema: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[str | Generated]:
        """Yield the text in parts, then one `Generated`; closing the iterator stops the model."""
        call = self._stub.StreamGenerate(
            _request(task, messages, max_tokens, response_schema),
            metadata=metadata_for(principal),
            timeout=self._longest_seconds,
        )
        try:
            async for response in call:
                if response.WhichOneof("event") == "delta":
                    yield response.delta
                else:
                    yield _generated(response.done)
        except grpc.aio.AioRpcError as error:
            raise_from_rpc(error)
        finally:
            call.cancel()


def engine_from_proto(engine: engine_pb2.Engine) -> Engine:
    """Return what made a reply."""
    return Engine(
        kind=_ENGINE_KINDS.get(engine.kind, EngineKind.RULES),
        backend=engine.backend,
        model=engine.model,
        degraded=engine.degraded,
        degraded_reason=engine.degraded_reason,
    )


def _request(
    task: str,
    messages: Sequence[ChatMessage],
    max_tokens: int,
    response_schema: Mapping[str, Any] | None,
) -> gateway_pb2.GenerateRequest:
    request = gateway_pb2.GenerateRequest(
        task=task,
        messages=[
            gateway_pb2.Message(role=_ROLES[one.role], content=one.content) for one in messages
        ],
        max_tokens=max_tokens,
    )
    if response_schema is not None:
        request.response_schema.update(response_schema)
    return request


def _generated(response: gateway_pb2.GenerateResponse) -> Generated:
    return Generated(
        text=response.text,
        engine=engine_from_proto(response.engine),
        usage=Usage(
            prompt_tokens=response.usage.prompt_tokens,
            completion_tokens=response.usage.completion_tokens,
            encoder_tokens=response.usage.encoder_tokens,
            cached_prompt_tokens=response.usage.cached_prompt_tokens,
        ),
        cut=response.finish_reason == gateway_pb2.GenerateResponse.LENGTH,
    )
