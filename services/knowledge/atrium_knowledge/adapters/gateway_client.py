"""Models behind the gateway, over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, Literal

import grpc
import numpy as np

from atrium.engine.v1 import engine_pb2
from atrium.gateway.v1 import gateway_pb2, gateway_service_pb2_grpc
from atrium_knowledge.app.ports import ChatMessage, Embedding, Finish, Generated, Readings, Role
from atrium_knowledge.domain.answering.extraction import PassageToRead
from atrium_knowledge.domain.engines import Engine, EngineKind, Usage
from atrium_shared.principal import Principal
from atrium_shared.rpc.channel import metadata_for, raise_from_rpc

EMBED_TASK: Final = "knowledge.embed"
READ_TASK: Final = "knowledge.read"
IDEMPOTENT_METHODS: Final = (
    "atrium.gateway.v1.ModelGateway/Embed",
    "atrium.gateway.v1.ModelGateway/Read",
)
"""What a channel to the gateway may repeat."""

_PASSAGES_AT_ONCE: Final = 64
"""Most passages of one call of ``Read``."""
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
_FINISHES: Final = {
    gateway_pb2.GenerateResponse.LENGTH: Finish.LENGTH,
    gateway_pb2.GenerateResponse.FILTERED: Finish.FILTERED,
}


class GatewayEmbedder:
    """Implements ``ports.Embedder``.

    Args:
        channel: Channel to the gateway.
        query_seconds: How long the vector of a question may take: somebody waits for it.
        passages_seconds: How long a batch of passages may take.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        query_seconds: float = 10.0,
        passages_seconds: float = 300.0,
    ) -> None:
        self._stub = gateway_service_pb2_grpc.ModelGatewayStub(channel)
        self._seconds = {"query": query_seconds, "passage": passages_seconds}

    async def embed(
        self, principal: Principal, texts: Sequence[str], kind: Literal["query", "passage"]
    ) -> Embedding:
        """Return one vector a text."""
        try:
            response = await self._stub.Embed(
                gateway_pb2.EmbedRequest(task=EMBED_TASK, texts=texts, kind=_KINDS[kind]),
                metadata=metadata_for(principal),
                timeout=self._seconds[kind],
            )
        except grpc.aio.AioRpcError as error:
            raise_from_rpc(error)
        vectors = np.frombuffer(response.vectors, dtype="<f4")
        return Embedding(
            vectors=vectors.reshape(len(texts), response.dimensions),
            tokens=response.usage.encoder_tokens,
            engine=engine_from_proto(response.engine),
        )


class GatewayReader:
    """Implements ``ports.Reader``.

    Args:
        channel: Channel to the gateway.
        seconds: How long reading 64 passages may take: somebody waits for it.
    """

    def __init__(self, channel: grpc.aio.Channel, *, seconds: float = 30.0) -> None:
        self._stub = gateway_service_pb2_grpc.ModelGatewayStub(channel)
        self._seconds = seconds

    async def read(
        self, principal: Principal, question: str, passages: Sequence[PassageToRead]
    ) -> Readings:
        """Return the log-odds of every segment."""
        log_odds: list[tuple[float, ...]] = []
        tokens, engine = 0, Engine(EngineKind.ENCODER, backend="")
        for first in range(0, len(passages), _PASSAGES_AT_ONCE):
            part = passages[first : first + _PASSAGES_AT_ONCE]
            try:
                response = await self._stub.Read(
                    _read_request(question, part),
                    metadata=metadata_for(principal),
                    timeout=self._seconds,
                )
            except grpc.aio.AioRpcError as error:
                raise_from_rpc(error)
            log_odds += [tuple(passage.segment_scores) for passage in response.passages]
            tokens += response.usage.encoder_tokens
            engine = engine_from_proto(response.engine)
        return Readings(tuple(log_odds), tokens, engine)


class GatewayGenerator:
    """Implements ``ports.Generator``.

    Args:
        channel: Channel to the gateway.
        longest_seconds: How long writing a text may take.
    """

    def __init__(self, channel: grpc.aio.Channel, *, longest_seconds: float = 300.0) -> None:
        self._stub = gateway_service_pb2_grpc.ModelGatewayStub(channel)
        self._longest_seconds = longest_seconds

    async def stream(
        self,
        principal: Principal,
        task: str,
        messages: Sequence[ChatMessage],
        max_tokens: int,
        *,
        temperature: float = 0.0,
        stop: Sequence[str] = (),
        response_schema: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[str | Generated]:
        """Yield the text in parts, then one `Generated`; closing the iterator stops the model."""
        request = gateway_pb2.GenerateRequest(
            task=task,
            messages=[
                gateway_pb2.Message(role=_ROLES[one.role], content=one.content) for one in messages
            ],
            max_tokens=max_tokens,
            temperature=temperature,
            stop=stop,
        )
        if response_schema is not None:
            request.response_schema.update(response_schema)
        call = self._stub.StreamGenerate(
            request, metadata=metadata_for(principal), timeout=self._longest_seconds
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


def _read_request(question: str, passages: Sequence[PassageToRead]) -> gateway_pb2.ReadRequest:
    return gateway_pb2.ReadRequest(
        task=READ_TASK,
        question=question,
        passages=[
            gateway_pb2.ReadPassage(
                heading=passage.heading,
                text=passage.text,
                segments=[
                    gateway_pb2.ReadPassage.Segment(start=start, end=end)
                    for start, end in passage.segments
                ],
            )
            for passage in passages
        ],
    )


def engine_from_proto(engine: engine_pb2.Engine) -> Engine:
    """Return what made a reply."""
    return Engine(
        kind=_ENGINE_KINDS.get(engine.kind, EngineKind.RULES),
        backend=engine.backend,
        model=engine.model,
        degraded=engine.degraded,
        degraded_reason=engine.degraded_reason,
    )


def _generated(done: gateway_pb2.GenerateResponse) -> Generated:
    return Generated(
        text=done.text,
        engine=engine_from_proto(done.engine),
        usage=Usage(
            prompt_tokens=done.usage.prompt_tokens,
            completion_tokens=done.usage.completion_tokens,
            encoder_tokens=done.usage.encoder_tokens,
            cached_prompt_tokens=done.usage.cached_prompt_tokens,
        ),
        finish=_FINISHES.get(done.finish_reason, Finish.STOP),
    )
