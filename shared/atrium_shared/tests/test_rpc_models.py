"""The adapters that call models, against a gateway that says what a test wants."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict

from atrium.engine.v1 import engine_pb2
from atrium.gateway.v1 import gateway_pb2, gateway_service_pb2_grpc
from atrium_shared.engines import Engine, EngineKind, Usage
from atrium_shared.errors import Unavailable
from atrium_shared.models import ChatMessage, Finish, Generated, Role
from atrium_shared.rpc.channel import open_channel
from atrium_shared.rpc.engines import (
    engine_from_proto,
    engine_to_proto,
    usage_from_proto,
    usage_to_proto,
)
from atrium_shared.rpc.models import GatewayEmbedder, GatewayGenerator
from atrium_shared.rpc.status import error_to_status
from atrium_shared.testing import make_principal
from atrium_shared.testing_models import NoModel

PRINCIPAL = make_principal(token="a-token")
ASKED = [ChatMessage(Role.SYSTEM, "Be brief."), ChatMessage(Role.USER, "What was said?")]
SCHEMA = {"type": "object"}
WRITTEN = Generated(
    "We ship.",
    Engine(EngineKind.GENERATIVE, "llama.cpp", "models/qwen", True, "the first was busy"),
    Usage(prompt_tokens=9, completion_tokens=3),
    Finish.LENGTH,
)


class FakeGateway(gateway_service_pb2_grpc.ModelGatewayServicer):
    """Remembers what it was asked, and fails when told to."""

    def __init__(self) -> None:
        self.requests: list[object] = []
        self.metadata: dict[str, object] = {}
        self.fails = False
        self.stopped = asyncio.Event()

    async def Embed(self, request, context):
        await self._receive(request, context)
        return gateway_pb2.EmbedResponse(
            vectors=np.arange(2 * len(request.texts), dtype="<f4").tobytes(),
            dimensions=2,
            engine=engine_pb2.Engine(kind=engine_pb2.Engine.ENCODER, backend="onnxruntime"),
            usage=engine_pb2.Usage(encoder_tokens=7),
        )

    async def Generate(self, request, context):
        await self._receive(request, context)
        return _reply()

    async def StreamGenerate(self, request, context):
        await self._receive(request, context)
        try:
            for part in ("We ", "ship."):
                yield gateway_pb2.StreamGenerateResponse(delta=part)
                await asyncio.sleep(5 if "slow" in request.task else 0)
            yield gateway_pb2.StreamGenerateResponse(done=_reply())
        finally:
            self.stopped.set()

    async def _receive(self, request, context):
        self.requests.append(request)
        self.metadata = dict(context.invocation_metadata())
        if self.fails:
            status = error_to_status(NoModel())
            context.set_trailing_metadata([("grpc-status-details-bin", status.SerializeToString())])
            await context.abort(grpc.StatusCode.UNAVAILABLE, "none")


def _reply() -> gateway_pb2.GenerateResponse:
    return gateway_pb2.GenerateResponse(
        text="We ship.",
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
async def test_vectors_come_row_by_row(gateway, kind: str, sent: str):
    fake, channel = gateway
    embedding = await GatewayEmbedder(channel, "test.embed").embed(PRINCIPAL, ["a", "b", "c"], kind)
    assert embedding.vectors.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert (embedding.tokens, embedding.engine.backend) == (7, "onnxruntime")
    assert MessageToDict(fake.requests[0]) == {
        "task": "test.embed",
        "texts": ["a", "b", "c"],
        "kind": sent,
    }
    assert fake.metadata["authorization"] == "Bearer a-token"


async def test_many_texts_are_sent_in_several_calls(gateway):
    fake, channel = gateway
    embedding = await GatewayEmbedder(channel, "test.embed").embed(
        PRINCIPAL, ["a"] * 300, "passage"
    )
    assert embedding.vectors.shape == (300, 2)
    assert embedding.tokens == 14
    assert [len(request.texts) for request in fake.requests] == [256, 44]


async def test_no_texts_need_no_encoder(gateway):
    fake, channel = gateway
    fake.fails = True
    assert (
        len((await GatewayEmbedder(channel, "test.embed").embed(PRINCIPAL, [], "passage")).vectors)
        == 0
    )


async def test_a_text_comes_whole_with_its_engine_and_usage(gateway):
    fake, channel = gateway
    generator = GatewayGenerator(channel)
    written = await generator.generate(PRINCIPAL, "test.minutes", ASKED, 50, response_schema=SCHEMA)
    assert written == WRITTEN
    assert MessageToDict(fake.requests[0]) == {
        "task": "test.minutes",
        "messages": [
            {"role": "SYSTEM", "content": "Be brief."},
            {"role": "USER", "content": "What was said?"},
        ],
        "maxTokens": 50,
        "responseSchema": {"type": "object"},
    }
    assert fake.metadata["authorization"] == "Bearer a-token"


async def test_a_text_comes_in_parts_and_then_whole(gateway):
    fake, channel = gateway
    stream = GatewayGenerator(channel).stream(
        PRINCIPAL, "test.ask", ASKED, 50, temperature=0.5, stop=["\n"], response_schema=SCHEMA
    )
    assert [part async for part in stream] == ["We ", "ship.", WRITTEN]
    sent = MessageToDict(fake.requests[0])
    assert (sent["temperature"], sent["stop"], sent["responseSchema"]) == (0.5, ["\n"], SCHEMA)


async def test_who_stops_reading_stops_the_model(gateway):
    fake, channel = gateway
    stream = GatewayGenerator(channel).stream(PRINCIPAL, "test.slow", ASKED, 50)
    assert await anext(stream) == "We "
    await stream.aclose()
    await asyncio.wait_for(fake.stopped.wait(), 3)


@pytest.mark.parametrize("call", ["embed", "generate", "stream"])
async def test_a_missing_model_keeps_its_reason(gateway, call: str):
    fake, channel = gateway
    fake.fails = True
    generator = GatewayGenerator(channel)
    calls = {
        "embed": lambda: GatewayEmbedder(channel, "test.embed").embed(PRINCIPAL, ["a"], "query"),
        "generate": lambda: generator.generate(PRINCIPAL, "test.ask", ASKED, 50),
        "stream": lambda: anext(generator.stream(PRINCIPAL, "test.ask", ASKED, 50)),
    }
    with pytest.raises(Unavailable) as caught:
        await calls[call]()
    assert caught.value.reason == "TASK_HAS_NO_MODEL"


async def test_a_gateway_that_is_not_there_is_unavailable():
    async with open_channel("127.0.0.1:1") as channel:
        embedder = GatewayEmbedder(channel, "test.embed", query_seconds=0.5)
        with pytest.raises(Unavailable):
            await embedder.embed(PRINCIPAL, ["a"], "query")


def test_an_engine_of_a_kind_that_is_not_known_yet_counts_as_rules():
    newer = engine_pb2.Engine(kind=99, backend="new")  # type: ignore[arg-type]
    assert engine_from_proto(newer) == Engine(EngineKind.RULES, "new")


@pytest.mark.parametrize("kind", EngineKind)
def test_engines_and_usage_survive_the_wire(kind: EngineKind):
    engine = Engine(kind, "backend", "model", True, "why")
    assert engine_from_proto(engine_to_proto(engine)) == engine
    usage = Usage(4, 3, 2, 1)
    assert usage_from_proto(usage_to_proto(usage)) == usage
