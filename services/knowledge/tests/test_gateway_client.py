"""The client of the gateway, against a gateway that says what a test wants."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict

from atrium.engine.v1 import engine_pb2
from atrium.gateway.v1 import gateway_pb2, gateway_service_pb2_grpc
from atrium_knowledge.adapters.gateway_client import (
    GatewayEmbedder,
    GatewayGenerator,
    GatewayReader,
)
from atrium_knowledge.app.encode import is_absence
from atrium_knowledge.app.ports import ChatMessage, Finish, Generated, Readings, Role
from atrium_knowledge.domain.answering.extraction import PassageToRead
from atrium_knowledge.domain.collections import VectorSpace
from atrium_knowledge.domain.engines import Engine, EngineKind, Usage
from atrium_knowledge.testing import NoModel
from atrium_shared.errors import Unavailable
from atrium_shared.rpc.channel import open_channel
from atrium_shared.rpc.status import error_to_status
from atrium_shared.testing import make_principal

PRINCIPAL = make_principal(token="a-token")
ASKED = [ChatMessage(Role.SYSTEM, "Be brief."), ChatMessage(Role.USER, "How long is leave?")]


class FakeGateway(gateway_service_pb2_grpc.ModelGatewayServicer):
    """Remembers what it was asked, and fails when told to."""

    def __init__(self) -> None:
        self.requests: list[object] = []
        self.metadata: dict[str, object] = {}
        self.fails = False
        self.stopped = asyncio.Event()

    async def Embed(self, request, context):
        await self._receive(request, context)
        rows = np.arange(2 * len(request.texts), dtype="<f4")
        return gateway_pb2.EmbedResponse(
            vectors=rows.tobytes(),
            dimensions=2,
            engine=engine_pb2.Engine(
                kind=engine_pb2.Engine.ENCODER, backend="onnxruntime", model="models/e5"
            ),
            usage=engine_pb2.Usage(encoder_tokens=7),
        )

    async def Read(self, request, context):
        await self._receive(request, context)
        return gateway_pb2.ReadResponse(
            passages=[
                gateway_pb2.PassageReading(
                    segment_scores=[0.5 * segment.end for segment in passage.segments], score=9
                )
                for passage in request.passages
            ],
            engine=engine_pb2.Engine(
                kind=engine_pb2.Engine.ENCODER, backend="onnxruntime", model="atrium-reader"
            ),
            usage=engine_pb2.Usage(encoder_tokens=10 * len(request.passages)),
        )

    async def StreamGenerate(self, request, context):
        await self._receive(request, context)
        try:
            for part in ("25 ", "days"):
                yield gateway_pb2.StreamGenerateResponse(delta=part)
                await asyncio.sleep(5 if "slow" in request.task else 0)
            yield gateway_pb2.StreamGenerateResponse(
                done=gateway_pb2.GenerateResponse(
                    text="25 days",
                    finish_reason=gateway_pb2.GenerateResponse.LENGTH,
                    engine=engine_pb2.Engine(
                        kind=engine_pb2.Engine.GENERATIVE,
                        backend="llama.cpp",
                        model="models/qwen",
                        degraded=True,
                        degraded_reason="the first was busy",
                    ),
                    usage=engine_pb2.Usage(prompt_tokens=9, completion_tokens=3),
                )
            )
        finally:
            self.stopped.set()

    async def _receive(self, request, context):
        self.requests.append(request)
        self.metadata = dict(context.invocation_metadata())
        if self.fails:
            status = error_to_status(NoModel())
            context.set_trailing_metadata([("grpc-status-details-bin", status.SerializeToString())])
            await context.abort(grpc.StatusCode.UNAVAILABLE, "none")


@pytest.fixture
async def gateway() -> AsyncIterator[tuple[FakeGateway, grpc.aio.Channel]]:
    fake, server = FakeGateway(), grpc.aio.server()
    gateway_service_pb2_grpc.add_ModelGatewayServicer_to_server(fake, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with open_channel(f"127.0.0.1:{port}") as channel:
        yield fake, channel
    await server.stop(0)


@pytest.mark.parametrize(("kind", "sent"), [("query", "QUERY"), ("passage", "PASSAGE")])
async def test_vectors_come_row_by_row_with_their_space(gateway, kind: str, sent: str):
    fake, channel = gateway
    embedding = await GatewayEmbedder(channel).embed(PRINCIPAL, ["a", "b", "c"], kind)
    assert embedding.vectors.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert (embedding.tokens, embedding.space) == (7, VectorSpace("models/e5", 2))
    assert MessageToDict(fake.requests[0]) == {
        "task": "knowledge.embed",
        "texts": ["a", "b", "c"],
        "kind": sent,
    }
    assert fake.metadata["authorization"] == "Bearer a-token"


async def test_a_missing_encoder_keeps_its_reason(gateway):
    fake, channel = gateway
    fake.fails = True
    with pytest.raises(Unavailable) as caught:
        await GatewayEmbedder(channel).embed(PRINCIPAL, ["a"], "query")
    assert caught.value.reason == "TASK_HAS_NO_MODEL"


READER = Engine(EngineKind.ENCODER, "onnxruntime", "atrium-reader")


async def test_readings_come_in_the_order_of_passages_and_segments(gateway):
    fake, channel = gateway
    passages = [
        PassageToRead("Leave", "25 days. 15 days.", ((0, 8), (9, 17))),
        PassageToRead("", "", ()),
    ]
    readings = await GatewayReader(channel).read(PRINCIPAL, "How long?", passages)
    assert readings == Readings(((4.0, 8.5), ()), 20, READER)
    assert MessageToDict(fake.requests[0]) == {
        "task": "knowledge.read",
        "question": "How long?",
        "passages": [
            {
                "heading": "Leave",
                "text": "25 days. 15 days.",
                "segments": [{"end": 8}, {"start": 9, "end": 17}],
            },
            {},
        ],
    }
    assert fake.metadata["authorization"] == "Bearer a-token"


async def test_many_passages_are_read_in_several_calls(gateway):
    fake, channel = gateway
    passages = [PassageToRead("", "x" * 100, ((0, at),)) for at in range(1, 71)]
    readings = await GatewayReader(channel).read(PRINCIPAL, "How long?", passages)
    assert readings.log_odds == tuple((0.5 * at,) for at in range(1, 71))
    assert readings.tokens == 700
    assert [len(request.passages) for request in fake.requests] == [64, 6]


async def test_no_passages_need_no_reader(gateway):
    fake, channel = gateway
    fake.fails = True
    assert (await GatewayReader(channel).read(PRINCIPAL, "How long?", [])).log_odds == ()


async def test_a_missing_reader_is_an_absence_and_keeps_its_reason(gateway):
    fake, channel = gateway
    fake.fails = True
    with pytest.raises(Unavailable) as caught:
        await GatewayReader(channel).read(PRINCIPAL, "?", [PassageToRead("", "x", ((0, 1),))])
    assert caught.value.reason == "TASK_HAS_NO_MODEL"
    assert is_absence(caught.value)


async def test_a_gateway_that_is_not_there_is_unavailable():
    async with open_channel("127.0.0.1:1") as channel:
        with pytest.raises(Unavailable):
            await GatewayEmbedder(channel, query_seconds=0.5).embed(PRINCIPAL, ["a"], "query")


async def test_a_text_comes_in_parts_and_ends_with_what_made_it(gateway):
    fake, channel = gateway
    stream = GatewayGenerator(channel).stream(
        PRINCIPAL, "knowledge.answer", ASKED, 50, stop=["\n"], response_schema={"type": "object"}
    )
    assert [part async for part in stream] == [
        "25 ",
        "days",
        Generated(
            text="25 days",
            engine=Engine(
                EngineKind.GENERATIVE, "llama.cpp", "models/qwen", True, "the first was busy"
            ),
            usage=Usage(prompt_tokens=9, completion_tokens=3),
            finish=Finish.LENGTH,
        ),
    ]
    assert MessageToDict(fake.requests[0]) == {
        "task": "knowledge.answer",
        "messages": [
            {"role": "SYSTEM", "content": "Be brief."},
            {"role": "USER", "content": "How long is leave?"},
        ],
        "maxTokens": 50,
        "stop": ["\n"],
        "responseSchema": {"type": "object"},
    }


async def test_a_missing_generator_keeps_its_reason(gateway):
    fake, channel = gateway
    fake.fails = True
    with pytest.raises(Unavailable) as caught:
        async for _ in GatewayGenerator(channel).stream(PRINCIPAL, "knowledge.answer", ASKED, 5):
            pass
    assert caught.value.reason == "TASK_HAS_NO_MODEL"


async def test_closing_the_stream_stops_the_model(gateway):
    fake, channel = gateway
    stream = GatewayGenerator(channel).stream(PRINCIPAL, "knowledge.slow", ASKED, 50)
    assert await anext(stream) == "25 "
    await stream.aclose()
    async with asyncio.timeout(2):
        await fake.stopped.wait()
