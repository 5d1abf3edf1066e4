"""Models behind the gateway, over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, Literal

import grpc
import numpy as np

from atrium.gateway.v1 import gateway_pb2, gateway_service_pb2_grpc
from atrium_shared.engines import Engine, EngineKind
from atrium_shared.models import ChatMessage, Embedding, Finish, Generated, Role
from atrium_shared.principal import Principal
from atrium_shared.rpc.channel import metadata_for, raise_from_rpc
from atrium_shared.rpc.engines import engine_from_proto, usage_from_proto

IDEMPOTENT_METHODS: Final = (
    "atrium.gateway.v1.ModelGateway/Embed",
    "atrium.gateway.v1.ModelGateway/Read",
)
"""What a channel to the gateway may repeat."""

_TEXTS_AT_ONCE: Final = 256
"""Most texts of one call of ``Embed``."""
_NO_VECTORS: Final = np.zeros((0, 0), dtype=np.float32)
_TEXT_KINDS: Final = {
    "query": gateway_pb2.EmbedRequest.QUERY,
    "passage": gateway_pb2.EmbedRequest.PASSAGE,
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
    """Implements :class:`atrium_shared.models.Embedder`.

    Args:
        channel: Channel to the gateway.
        task: What the vectors are for, such as "knowledge.embed".
        query_seconds: How long the vectors of questions may take: somebody waits for them.
        passages_seconds: How long at most 256 passages may take.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        task: str,
        *,
        query_seconds: float = 10.0,
        passages_seconds: float = 300.0,
    ) -> None:
        self._stub = gateway_service_pb2_grpc.ModelGatewayStub(channel)
        self._task = task
        self._seconds = {"query": query_seconds, "passage": passages_seconds}

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
                    gateway_pb2.EmbedRequest(task=self._task, texts=part, kind=_TEXT_KINDS[kind]),
                    metadata=metadata_for(principal),
                    timeout=self._seconds[kind],
                )
            except grpc.aio.AioRpcError as error:
                raise_from_rpc(error)
            vectors = np.frombuffer(response.vectors, dtype="<f4")
            rows.append(vectors.reshape(len(part), response.dimensions))
            tokens += response.usage.encoder_tokens
            engine = engine_from_proto(response.engine)
        return Embedding(_joined(rows), tokens, engine)


class GatewayGenerator:
    """Implements :class:`atrium_shared.models.WholeTextGenerator`.

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
        temperature: float = 0.0,
        stop: Sequence[str] = (),
        response_schema: Mapping[str, Any] | None = None,
    ) -> Generated:
        """Return a text; cancelling the call stops the model."""
        try:
            response = await self._stub.Generate(
                _request(task, messages, max_tokens, temperature, stop, response_schema),
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
        temperature: float = 0.0,
        stop: Sequence[str] = (),
        response_schema: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[str | Generated]:
        """Yield the text in parts, then one `Generated`; closing the iterator stops the model."""
        call = self._stub.StreamGenerate(
            _request(task, messages, max_tokens, temperature, stop, response_schema),
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


def _joined(
    rows: Sequence[np.ndarray[Any, np.dtype[np.float32]]],
) -> np.ndarray[Any, np.dtype[np.float32]]:
    if not rows:
        return _NO_VECTORS
    return rows[0] if len(rows) == 1 else np.concatenate(rows)


def _request(
    task: str,
    messages: Sequence[ChatMessage],
    max_tokens: int,
    temperature: float,
    stop: Sequence[str],
    response_schema: Mapping[str, Any] | None,
) -> gateway_pb2.GenerateRequest:
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
    return request


def _generated(response: gateway_pb2.GenerateResponse) -> Generated:
    return Generated(
        text=response.text,
        engine=engine_from_proto(response.engine),
        usage=usage_from_proto(response.usage),
        finish=_FINISHES.get(response.finish_reason, Finish.STOP),
    )
