"""A PostgreSQL server that stops and starts again costs nobody what was acknowledged."""

import asyncio
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from atrium.knowledge.v1 import knowledge_service_pb2
from atrium_knowledge.testing import open_house
from atrium_shared.testing import error_of, eventually
from tests.postgres import PostgresServer


@pytest.mark.parametrize("graceful", [True, False])
async def test_an_upload_outlives_an_outage(
    own_postgres: PostgresServer, tmp_path: Path, graceful: bool
):
    url = f"postgresql+asyncpg://{own_postgres.address}"
    get = knowledge_service_pb2.GetDocumentRequest(name="collections/handbook/documents/d")
    async with open_house(tmp_path, database_url=url) as house:
        await house.collection()
        house.parser.gate.clear()
        operation = await house.upload("# Leave\n\n25 days.", document_id="d")
        waiting = asyncio.create_task(house.done(operation))
        await asyncio.to_thread(own_postgres.stop, graceful=graceful)
        house.parser.gate.set()
        for _ in range(3):
            failure = await error_of(house.as_("editor").GetDocument(get))
            assert failure.code == grpc.StatusCode.UNAVAILABLE
            assert failure.reason == "DATABASE_UNAVAILABLE"
            await asyncio.sleep(0.3)
        assert (await error_of(waiting)).reason == "DATABASE_UNAVAILABLE"
        await asyncio.to_thread(own_postgres.start)

        async def ready() -> bool:
            with suppress(grpc.aio.AioRpcError):
                return not (await house.done(operation)).HasField("error")
            return False

        await eventually(ready)
        assert await house.find("days") == ["25 days."]
