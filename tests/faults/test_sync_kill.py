"""kill -9 in the middle of syncs: items are whole, runs are gone on with, removals come last."""

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.longrunning import operations_pb2

from atrium.knowledge.v1 import knowledge_pb2, sync_pb2

from .test_ingestion_kill import (
    Service,
    check_stored,
    make_collection,
    metadata,
    nothing_under_way,
    running,
    text_of,
)

KILLS = int(os.environ.get("FAULTS_KILLS", "2"))
ITEMS = 8
SOURCE = "collections/handbook/sources/wiki"
Request = sync_pb2.SyncDocumentsRequest


async def requests(names: list[str], *, resume: bool) -> AsyncIterator[Request]:
    """A complete list of these items, with chunks small enough to be cut anywhere."""
    yield Request(header=Request.Header(source=SOURCE, sync_token="t", resume=resume))
    for name in names:
        data = text_of(name).encode()
        upsert = sync_pb2.SyncItem.Upsert(filename=f"{name}.md", size_bytes=len(data))
        yield Request(item=sync_pb2.SyncItem(id=name, revision="1", upsert=upsert))
        for at in range(0, len(data), 500):
            yield Request(chunk=data[at : at + 500])
    yield Request(end=Request.End(complete=True))


async def reached(service: Service) -> sync_pb2.SyncState:
    """Where the source stands."""
    return await service.knowledge.GetSyncState(
        sync_pb2.GetSyncStateRequest(name=SOURCE), metadata=metadata("editor")
    )


def rest_of(state: sync_pb2.SyncState, names: list[str]) -> AsyncIterator[Request]:
    """What is still to be sent."""
    broke = state.state == sync_pb2.SyncState.INTERRUPTED
    left = [name for name in names if not broke or name > state.last_item]
    return requests(left, resume=broke)


async def finished(service: Service, operation: str) -> sync_pb2.SyncReport:
    request = operations_pb2.WaitOperationRequest(name=operation)
    request.timeout.FromSeconds(60)
    done = await service.operations.WaitOperation(request, metadata=metadata("editor"))
    assert done.done
    assert not done.HasField("error"), done.error
    report = sync_pb2.SyncReport()
    assert done.response.Unpack(report)
    return report


@pytest.mark.timeout(120 + 30 * KILLS)
async def test_a_sync_goes_on_after_kills_and_removes_only_at_its_end(tmp_path: Path):
    old = [f"old{number}" for number in range(3)]
    names = [f"item{number}" for number in range(ITEMS)]
    async with running(tmp_path) as service:
        await make_collection(service)
        first = await service.knowledge.SyncDocuments(
            requests(old, resume=False), metadata=metadata("editor")
        )
        await finished(service, first.operation.name)
    for _ in range(KILLS):
        service = Service(tmp_path)
        await service.start()
        state = await reached(service)
        if state.operation == first.operation.name:
            call = service.knowledge.SyncDocuments(
                rest_of(state, names), metadata=metadata("editor")
            )
            with contextlib.suppress(TimeoutError, grpc.aio.AioRpcError):
                async with asyncio.timeout(random.uniform(0.05, 0.6)):
                    await call
        await service.kill()
        await service.channel.close()
    async with running(tmp_path) as service:
        state = await reached(service)
        operation = state.operation
        if operation == first.operation.name:
            # No end marker arrived: whatever was applied is whole, and nothing was removed.
            there = {one.filename.removesuffix(".md") for one in await nothing_under_way(service)}
            assert set(old) <= there <= {*old, *names}
            reply = await service.knowledge.SyncDocuments(
                rest_of(state, names), metadata=metadata("editor")
            )
            assert not reply.problems
            operation = reply.operation.name
        await finished(service, operation)
        documents = await nothing_under_way(service)
        assert sorted(one.filename for one in documents) == [f"{name}.md" for name in names]
        assert {one.version for one in documents} == {1}
        assert {one.state for one in documents} == {knowledge_pb2.Document.READY}
    assert check_stored(tmp_path) == ITEMS
