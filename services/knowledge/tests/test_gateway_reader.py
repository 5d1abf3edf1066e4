"""The reader behind the gateway, against a gateway that says what a test wants."""

from collections.abc import AsyncIterator

import grpc
import pytest
from google.protobuf.json_format import MessageToDict

from atrium.engine.v1 import engine_pb2
from atrium.gateway.v1 import gateway_pb2, gateway_service_pb2_grpc
from atrium_knowledge.adapters.gateway_reader import GatewayReader
from atrium_knowledge.app.encode import is_absence
from atrium_knowledge.app.ports import Readings
from atrium_knowledge.domain.answering.extraction import PassageToRead
from atrium_shared.engines import Engine, EngineKind
from atrium_shared.errors import Unavailable
from atrium_shared.rpc.channel import open_channel
from atrium_shared.rpc.status import error_to_status
from atrium_shared.testing import make_principal
from atrium_shared.testing_models import NoModel

PRINCIPAL = make_principal(token="a-token")


class FakeGateway(gateway_service_pb2_grpc.ModelGatewayServicer):
    """Remembers what it was asked, and fails when told to."""

    def __init__(self) -> None:
        self.requests: list[object] = []
        self.metadata: dict[str, object] = {}
        self.fails = False

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


ONE = [PassageToRead("", "x", ((0, 1),))]
READER = Engine(EngineKind.ENCODER, "onnxruntime", "atrium-reader")


async def test_readings_come_in_the_order_of_passages_and_segments(gateway):
    fake, channel = gateway
    passages = [
        PassageToRead("Leave", "25 days. 15 days.", ((0, 8), (9, 17))),
        PassageToRead("", "", ()),
    ]
    readings = await GatewayReader(channel).read(PRINCIPAL, "How long?", passages, "concerns")
    assert readings == Readings(((4.0, 8.5), ()), 20, READER)
    assert MessageToDict(fake.requests[0]) == {
        "task": "knowledge.read",
        "question": "How long?",
        "relation": "CONCERNS",
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
    readings = await GatewayReader(channel).read(PRINCIPAL, "How long?", passages, "answers")
    assert readings.log_odds == tuple((0.5 * at,) for at in range(1, 71))
    assert readings.tokens == 700
    assert [len(request.passages) for request in fake.requests] == [64, 6]


async def test_no_passages_need_no_reader(gateway):
    fake, channel = gateway
    fake.fails = True
    reader = GatewayReader(channel)
    assert (await reader.read(PRINCIPAL, "How long?", [], "answers")).log_odds == ()


async def test_a_missing_reader_is_an_absence_and_keeps_its_reason(gateway):
    fake, channel = gateway
    fake.fails = True
    with pytest.raises(Unavailable) as caught:
        await GatewayReader(channel).read(PRINCIPAL, "?", ONE, "answers")
    assert caught.value.reason == "TASK_HAS_NO_MODEL"
    assert is_absence(caught.value)


async def test_a_gateway_that_is_not_there_is_unavailable():
    async with open_channel("127.0.0.1:1") as channel:
        reader = GatewayReader(channel, seconds=0.5)
        with pytest.raises(Unavailable):
            await reader.read(PRINCIPAL, "?", ONE, "answers")
