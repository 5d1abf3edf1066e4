import asyncio
import gc
from datetime import UTC, datetime
from pathlib import Path

import pytest
from google.protobuf import wrappers_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from atrium_shared import operations
from atrium_shared.clock import FixedClock
from atrium_shared.database import Database
from atrium_shared.errors import Invalid
from atrium_shared.operations import OperationNotDone, OperationNotFound, OperationStore

REVISION = """
from alembic import op
from atrium_shared.operations import create_operations_table
revision, down_revision, branch_labels, depends_on = "0001", None, None, None
def upgrade():
    create_operations_table(op)
"""


class FileBroken(Invalid):
    reason = "FILE_BROKEN"


@pytest.fixture
async def store(tmp_path: Path):
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "0001_operations.py").write_text(REVISION)
    database = Database(
        f"sqlite+aiosqlite:///{tmp_path}/state.db", migrations=tmp_path, name="demo"
    )
    await database.start()
    clock = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
    yield OperationStore(database, "demo", clock=clock)
    await database.close()


async def begin(store: OperationStore, op_id: str = "a1", tenant: str = "acme") -> str:
    async with store._database.write() as session:
        operation = await store.create(
            session,
            op_id=op_id,
            tenant=tenant,
            owner="users/lin",
            metadata=wrappers_pb2.StringValue(value="parsing"),
        )
    return operation.name


def string(packed) -> str:
    value = wrappers_pb2.StringValue()
    assert packed.Unpack(value)
    return value.value


async def test_an_operation_tells_its_progress_and_its_result(store):
    name = await begin(store)
    assert name == "operations/demo.a1"
    await store.update(name, wrappers_pb2.StringValue(value="indexing"))
    running = await store.get(name, tenant="acme")
    assert (running.done, string(running.metadata)) == (False, "indexing")
    await store.finish(name, wrappers_pb2.StringValue(value="ready"))
    done = await store.get(name, tenant="acme", owner="users/lin")
    assert done.done
    assert string(done.response) == "ready"


async def test_a_failure_keeps_reason_field_and_data(store):
    name = await begin(store)
    await store.fail(name, FileBroken("Page 3 is cut off.", field="document", page=3))
    status = status_pb2.Status()
    assert (await store.get(name, tenant="acme")).error.Unpack(status)
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (status.code, info.reason) == (code_pb2.INVALID_ARGUMENT, "FILE_BROKEN")
    assert dict(info.metadata) == {"page": "3"}


async def test_waiting_returns_as_soon_as_the_work_is_done(store):
    name = await begin(store)
    waiting = asyncio.create_task(store.wait(name, tenant="acme", timeout_seconds=30))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await store.finish(name, wrappers_pb2.StringValue(value="ready"))
    async with asyncio.timeout(1):
        assert (await waiting).done


async def test_waiting_ends_with_its_time(store):
    name = await begin(store)
    async with asyncio.timeout(2):
        assert not (await store.wait(name, tenant="acme", timeout_seconds=0.05)).done


@pytest.mark.parametrize(
    ("name", "tenant", "owner"),
    [
        ("operations/demo.a1", "globex", "users/lin"),
        ("operations/demo.a1", "acme", "users/max"),
        ("operations/demo.zz", "acme", "users/lin"),
        ("operations/other.a1", "acme", "users/lin"),
        ("operations/demo.a1/x", "acme", "users/lin"),
    ],
)
async def test_somebody_elses_operation_reads_as_absent(store, name, tenant, owner):
    await begin(store)
    with pytest.raises(OperationNotFound) as caught:
        await store.get(name, tenant=tenant, owner=owner)
    assert str(caught.value) == f"Operation {name!r} does not exist."


async def test_cancelling_stops_the_work_and_a_late_result_changes_nothing(store):
    stopped = []

    async def stop(name: str) -> None:
        stopped.append(name)

    store.on_cancel(stop)
    name = await begin(store)
    await store.cancel(name, tenant="acme")
    await store.finish(name, wrappers_pb2.StringValue(value="too late"))
    operation = await store.get(name, tenant="acme")
    assert stopped == [name]
    assert operation.response is None
    status = status_pb2.Status()
    assert operation.error.Unpack(status)
    assert status.code == code_pb2.CANCELLED


async def test_a_running_operation_cannot_be_deleted(store):
    name = await begin(store)
    with pytest.raises(OperationNotDone):
        await store.delete(name, tenant="acme")
    await store.finish(name, wrappers_pb2.StringValue())
    await store.delete(name, tenant="acme")
    with pytest.raises(OperationNotFound):
        await store.get(name, tenant="acme")


async def test_listing_goes_on_after_an_id(store):
    for op_id in ("a1", "a2", "a3"):
        await begin(store, op_id)
    await begin(store, "b1", tenant="globex")
    page = await store.list(tenant="acme", owner="users/lin", after="a1", limit=5)
    assert [operation.name for operation in page] == ["operations/demo.a2", "operations/demo.a3"]


async def test_nothing_is_kept_of_those_who_waited(store):
    name = await begin(store)

    async def wait_and_go() -> None:
        for number in range(3):
            absent = f"operations/demo.none-{number}"
            with pytest.raises(OperationNotFound):
                await store.wait(absent, tenant="acme", timeout_seconds=1)
        await store.wait(name, tenant="acme", timeout_seconds=0.01)
        given_up = asyncio.create_task(store.wait(name, tenant="acme", timeout_seconds=30))
        await asyncio.sleep(0.05)
        given_up.cancel()
        await asyncio.wait([given_up])

    await asyncio.create_task(wait_and_go())
    await asyncio.sleep(0)
    gc.collect()
    assert list(store._changed) == []


async def test_whose_time_is_over_leaves_the_others_waiting(store, monkeypatch):
    monkeypatch.setattr(operations, "_POLL_SECONDS", 3600.0)
    name = await begin(store)
    waiting = asyncio.create_task(store.wait(name, tenant="acme", timeout_seconds=30))
    await asyncio.sleep(0.05)
    await store.wait(name, tenant="acme", timeout_seconds=0.01)
    await store.finish(name, wrappers_pb2.StringValue(value="ready"))
    async with asyncio.timeout(10):
        assert (await waiting).done
