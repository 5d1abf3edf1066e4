"""The reader behind the gateway, over gRPC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import grpc

from atrium.gateway.v1 import gateway_pb2, gateway_service_pb2_grpc
from atrium_knowledge.app.ports import Readings, Relation
from atrium_knowledge.domain.answering.extraction import PassageToRead
from atrium_shared.engines import Engine, EngineKind
from atrium_shared.principal import Principal
from atrium_shared.rpc.channel import metadata_for, raise_from_rpc
from atrium_shared.rpc.engines import engine_from_proto

READ_TASK: Final = "knowledge.read"

_PASSAGES_AT_ONCE: Final = 64
"""Most passages of one call of ``Read``."""
_RELATIONS: Final[dict[Relation, gateway_pb2.ReadRequest.Relation.ValueType]] = {
    "answers": gateway_pb2.ReadRequest.ANSWERS,
    "concerns": gateway_pb2.ReadRequest.CONCERNS,
}


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
        self,
        principal: Principal,
        question: str,
        passages: Sequence[PassageToRead],
        relation: Relation,
    ) -> Readings:
        """Return the log-odds of every segment."""
        log_odds: list[tuple[float, ...]] = []
        tokens, engine = 0, Engine(EngineKind.ENCODER, backend="")
        for first in range(0, len(passages), _PASSAGES_AT_ONCE):
            part = passages[first : first + _PASSAGES_AT_ONCE]
            try:
                response = await self._stub.Read(
                    _read_request(question, part, relation),
                    metadata=metadata_for(principal),
                    timeout=self._seconds,
                )
            except grpc.aio.AioRpcError as error:
                raise_from_rpc(error)
            log_odds += [tuple(passage.segment_scores) for passage in response.passages]
            tokens += response.usage.encoder_tokens
            engine = engine_from_proto(response.engine)
        return Readings(tuple(log_odds), tokens, engine)


def _read_request(
    question: str, passages: Sequence[PassageToRead], relation: Relation
) -> gateway_pb2.ReadRequest:
    return gateway_pb2.ReadRequest(
        task=READ_TASK,
        question=question,
        relation=_RELATIONS[relation],
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
