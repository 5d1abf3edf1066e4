"""One Operations service answers for every app of a process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf import wrappers_pb2

from atrium_shared.database import Database
from atrium_shared.errors import Invalid
from atrium_shared.operations import OperationStore
from atrium_shared.rpc.channel import RemoteError, raise_from_rpc
from atrium_shared.rpc.server import ServiceApp
from atrium_shared.testing import make_principal, running_server

REVISION = """
from alembic import op
from atrium_shared.operations import create_operations_table
revision, down_revision, branch_labels, depends_on = "0001", None, None, None
def upgrade():
    create_operations_table(op)
"""


class FileBroken(Invalid):
    reason = "FILE_BROKEN"


class World:
    """Two apps with operations, one server, and who calls it."""

    def __init__(self, stores: dict[str, tuple[Database, OperationStore]], server: Any) -> None:
        self._stores = stores
        self._server = server

    def stub(self, token: str = "lin") -> operations_pb2_grpc.OperationsStub:
        return operations_pb2_grpc.OperationsStub(self._server.open_channel(token))

    async def begin(self, service: str, op_id: str, owner: str = "users/lin") -> str:
        database, store = self._stores[service]
        async with database.write() as session:
            metadata = wrappers_pb2.StringValue(value="parsing")
            operation = await store.create(
                session, op_id=op_id, tenant="acme", owner=owner, metadata=metadata
            )
        return operation.name

    def store(self, service: str) -> OperationStore:
        return self._stores[service][1]


async def _nothing() -> None:
    return None


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "0001_operations.py").write_text(REVISION)
    stores = {}
    async with AsyncExitStack() as stack:
        for name in ("knowledge", "studio"):
            url = f"sqlite+aiosqlite:///{tmp_path}/{name}.db"
            database = Database(url, migrations=tmp_path, name=name)
            await database.start()
            stack.push_async_callback(database.close)
            stores[name] = (database, OperationStore(database, name))
        apps = [
            ServiceApp(name, {}, start=_nothing, stop=_nothing, operations=store)
            for name, (_, store) in stores.items()
        ]
        principals = {
            "lin": make_principal(actor="users/lin"),
            "mei": make_principal(actor="users/mei"),
            "stranger": make_principal(actor="users/lin", tenant="globex"),
        }
        server = await stack.enter_async_context(running_server(apps, principals))
        yield World(stores, server)


async def failure(call: Any) -> RemoteError:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        try:
            raise_from_rpc(error)
        except RemoteError as remote:
            return remote
    raise AssertionError("The call did not fail.")


async def test_an_operation_is_found_by_its_name(world: World) -> None:
    for service in ("knowledge", "studio"):
        name = await world.begin(service, "a1")
        found = await world.stub().GetOperation(operations_pb2.GetOperationRequest(name=name))
        metadata = wrappers_pb2.StringValue()
        assert found.metadata.Unpack(metadata)
        assert (found.name, found.done, metadata.value) == (name, False, "parsing")


@pytest.mark.parametrize("token", ["mei", "stranger"])
async def test_anothers_operation_reads_like_one_that_does_not_exist(
    world: World, token: str
) -> None:
    name = await world.begin("knowledge", "a1")
    absent = name.replace("a1", "zz")
    answers = []
    for asked in (name, absent):
        request = operations_pb2.GetOperationRequest(name=asked)
        error = await failure(world.stub(token).GetOperation(request))
        answers.append((error.code, error.reason, error.message.replace(asked, "X")))
    assert answers[0] == answers[1]
    assert answers[0][:2] == (grpc.StatusCode.NOT_FOUND, "OPERATION_NOT_FOUND")


@pytest.mark.parametrize("name", ["", "operations/", "operations/docs.a1", "operations/knowledge"])
async def test_a_name_of_no_service_here_does_not_exist(world: World, name: str) -> None:
    error = await failure(world.stub().GetOperation(operations_pb2.GetOperationRequest(name=name)))
    assert (error.reason, error.metadata) == ("OPERATION_NOT_FOUND", {"operation": name})


async def test_waiting_ends_when_the_work_does(world: World) -> None:
    name = await world.begin("studio", "a1")
    request = operations_pb2.WaitOperationRequest(name=name)
    request.timeout.FromSeconds(20)
    waiting = asyncio.ensure_future(world.stub().WaitOperation(request))
    await asyncio.sleep(0.05)
    await world.store("studio").fail(name, FileBroken("Page 3 is cut off.", page=3))
    async with asyncio.timeout(5):
        done = await waiting
    assert done.done
    assert (done.error.code, done.error.message) == (3, "Page 3 is cut off.")


async def test_waiting_ends_when_its_time_is_over(world: World) -> None:
    request = operations_pb2.WaitOperationRequest(name=await world.begin("studio", "a1"))
    request.timeout.FromMilliseconds(50)
    assert not (await world.stub().WaitOperation(request)).done


async def test_who_would_wait_for_ever_is_answered_when_the_work_is_done(world: World) -> None:
    name = await world.begin("studio", "a1")
    await world.store("studio").fail(name, FileBroken("Page 3 is cut off.", page=3))
    request = operations_pb2.WaitOperationRequest(name=name)
    request.timeout.seconds = 10**18
    assert (await world.stub().WaitOperation(request)).done


async def test_a_cancelled_operation_is_done_and_can_be_deleted(world: World) -> None:
    name = await world.begin("knowledge", "a1")
    stub = world.stub()
    delete = operations_pb2.DeleteOperationRequest(name=name)
    error = await failure(stub.DeleteOperation(delete))
    assert (error.code, error.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "OPERATION_NOT_DONE",
    )
    await stub.CancelOperation(operations_pb2.CancelOperationRequest(name=name))
    found = await stub.GetOperation(operations_pb2.GetOperationRequest(name=name))
    assert (found.done, found.error.code) == (True, 1)
    await stub.DeleteOperation(delete)
    assert (await failure(stub.DeleteOperation(delete))).reason == "OPERATION_NOT_FOUND"


async def test_pages_run_through_all_apps_without_gaps(world: World) -> None:
    names = [
        await world.begin(service, op_id)
        for service in ("knowledge", "studio")
        for op_id in ("a1", "a2", "a3")
    ]
    await world.begin("studio", "b1", owner="users/mei")
    for size in (1, 2, 3, 4, 6, 100):
        seen: list[str] = []
        request = operations_pb2.ListOperationsRequest(page_size=size)
        while True:
            page = await world.stub().ListOperations(request)
            assert len(page.operations) <= size
            seen += [operation.name for operation in page.operations]
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        assert seen == names


async def test_a_page_token_is_for_its_owner_alone(world: World) -> None:
    for op_id in ("a1", "a2"):
        await world.begin("knowledge", op_id)
    first = operations_pb2.ListOperationsRequest(page_size=1)
    token = (await world.stub().ListOperations(first)).next_page_token
    stolen = operations_pb2.ListOperationsRequest(page_size=1, page_token=token)
    error = await failure(world.stub("mei").ListOperations(stolen))
    assert (error.code, error.reason, error.field) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "PAGE_TOKEN_INVALID",
        "page_token",
    )


async def test_a_filter_is_refused(world: World) -> None:
    request = operations_pb2.ListOperationsRequest(filter="done=true")
    error = await failure(world.stub().ListOperations(request))
    assert (error.reason, error.field) == ("OPERATION_FILTER_UNSUPPORTED", "filter")


async def test_operations_need_a_credential(world: World) -> None:
    stub = operations_pb2_grpc.OperationsStub(world._server.open_channel())
    error = await failure(stub.ListOperations(operations_pb2.ListOperationsRequest()))
    assert error.reason == "CREDENTIAL_MISSING"
