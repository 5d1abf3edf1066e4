"""What a crash leaves is put right at the start. Crashes are states of the store, made by hand."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from google.longrunning import operations_pb2

from atrium.knowledge.v1 import knowledge_service_pb2
from atrium_knowledge.adapters.sql_documents import SqlDocuments
from atrium_knowledge.app.stores import Upload
from atrium_knowledge.testing import House, database_url_in, run_sql
from atrium_shared.database import DatabaseUnavailable
from atrium_shared.operations import Operation
from atrium_shared.testing import error_of, eventually

TEXT = "# Leave\n\nEveryone has 25 days."
At = Callable[..., AbstractAsyncContextManager[House]]


async def change(folder: Path, statement: str, **values: Any) -> None:
    # The service may be writing: it ends that only if this leaves it the event loop.
    await asyncio.to_thread(run_sql, database_url_in(folder), statement, **values)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(text)


def uid_of_collection(house: House) -> str:
    return house.stored_rows("collections")[0][0]


async def test_a_file_that_was_never_acknowledged_is_dropped(house_at: At, tmp_path: Path):
    async with house_at() as house:
        await house.collection()
    for name in ("original", "original#1"):
        write(tmp_path / "files" / "acme" / "c" / f"v-{name}" / name, "half a file")
        await change(
            tmp_path,
            "INSERT INTO uploads VALUES (:uid, :key, 'knowledge', '2030-01-01 00:00:00')",
            uid=f"v-{name}",
            key=f"acme/c/v-{name}",
        )
    async with house_at() as house:
        assert house.stored_files() == []
        assert house.stored_rows("uploads") == []


async def test_a_file_that_another_replica_receives_is_left_alone(house_at: At, tmp_path: Path):
    async with house_at() as house:
        await house.collection()
    write(tmp_path / "files" / "acme" / "c" / "v" / "original", "half a file")
    await change(
        tmp_path,
        "INSERT INTO uploads VALUES ('v', 'acme/c/v', 'peer', '2999-01-01 00:00:00')",
    )
    async with house_at() as house:
        assert house.stored_files() == ["acme/c/v/original"]


@pytest.mark.parametrize("committed", [True, False])
async def test_a_connection_lost_while_an_upload_is_registered_leaves_all_of_it_or_nothing(
    house_at: At, monkeypatch: pytest.MonkeyPatch, committed: bool
):
    register = SqlDocuments.register

    async def lost(store: SqlDocuments, upload: Upload) -> tuple[Operation, int]:
        if committed:
            await register(store, upload)
        raise DatabaseUnavailable("knowledge")

    async with house_at() as house:
        await house.collection()
        with monkeypatch.context() as broken:
            broken.setattr(SqlDocuments, "register", lost)
            error = await error_of(house.upload(TEXT, document_id="leave"))
        assert error.reason == "DATABASE_UNAVAILABLE"
    async with house_at() as house:
        if committed:

            async def found() -> list[str]:
                return await house.find("days")

            await eventually(found)
        else:
            assert house.stored_files() == []
        assert house.stored_rows("uploads") == []


async def test_an_acknowledged_upload_whose_job_was_lost_is_taken_in(house_at: At):
    async with house_at() as house:
        await house.collection()
        house.parser.gate.clear()
        operation = await house.upload(TEXT, document_id="d")
    async with house_at() as house:
        done = await house.done(operation)
        assert not done.HasField("error")
        assert await house.find("days") == ["Everyone has 25 days."]


async def test_a_stop_in_the_middle_fails_no_document(house_at: At):
    async with house_at() as house:
        await house.collection()
        house.parser.gate.clear()
        operation = await house.upload(TEXT, document_id="d")
    async with house_at() as house:
        house.parser.gate.clear()
        state = await house.operations("editor").GetOperation(
            operations_pb2.GetOperationRequest(name=operation.name)
        )
        assert not state.done
        house.parser.gate.set()
        assert not (await house.done(operation)).HasField("error")


async def test_a_removal_that_was_begun_is_finished(house_at: At, tmp_path: Path):
    async with house_at() as house:
        await house.collection()
        await house.add(TEXT, document_id="d")
        uid = uid_of_collection(house)
    await change(tmp_path, "INSERT INTO purges VALUES (1, :uid, '[1]', '[]', FALSE)", uid=uid)
    await change(tmp_path, "DELETE FROM revisions")
    await change(tmp_path, "DELETE FROM documents")
    async with house_at() as house:
        assert await house.index.revisions(uid) == {}
        assert house.stored_rows("purges") == []


async def test_a_collection_whose_removal_was_begun_leaves_no_shard(house_at: At, tmp_path: Path):
    async with house_at() as house:
        await house.collection()
        await house.add(TEXT, document_id="d")
        uid = uid_of_collection(house)
    folders = f'["acme/{uid}"]'
    await change(
        tmp_path,
        "INSERT INTO purges VALUES (1, :uid, '[]', :folders, TRUE)",
        uid=uid,
        folders=folders,
    )
    for table in ("passages", "revisions", "documents", "access_classes", "collections"):
        await change(tmp_path, f"DELETE FROM {table}")
    async with house_at() as house:
        assert house.stored_files() == []
        assert not (house.settings.index_dir / uid).exists()


async def test_points_whose_removal_is_pending_are_hidden_meanwhile(house: House, tmp_path: Path):
    await house.collection()
    await house.add(TEXT, document_id="d")
    await house.add(TEXT, document_id="e")
    before = await house.search("days")
    uid = uid_of_collection(house)
    await change(tmp_path, "INSERT INTO purges VALUES (1, :uid, '[2]', '[]', FALSE)", uid=uid)
    during = await house.search("days")
    assert [one.passage.document[-1] for one in before.results] == ["d", "e"]
    assert [one.passage.document[-1] for one in during.results] == ["d"]


async def test_points_of_a_version_that_is_not_ready_are_hidden(house: House, tmp_path: Path):
    await house.collection()
    await house.add(TEXT, document_id="d")
    await change(tmp_path, "UPDATE revisions SET state = 'PROCESSING'")
    assert (await house.search("days")).results == []


async def test_labels_that_the_index_did_not_get_are_applied(house_at: At, tmp_path: Path):
    async with house_at() as house:
        await house.collection()
        await house.add(TEXT, document_id="d")
        await house.add(TEXT, document_id="e", labels=["hr/pay"])
        request = knowledge_service_pb2.SetDocumentLabelsRequest(
            name="collections/handbook/documents/d", labels=["hr/pay"]
        )
        await house.as_("editor").SetDocumentLabels(request)
        uid = uid_of_collection(house)
        # The state between the records and the index: the points still have the old class.
        await house.index.set_classes(uid, {1 << 20 | 1: 1})
    await change(tmp_path, "UPDATE revisions SET labels_pending = TRUE WHERE seq = 1")
    async with house_at() as house:
        assert await house.find("days", "employee") == []
        assert len(await house.find("days", "partner")) == 2


async def test_records_win_over_an_index_that_lags(house: House):
    await house.collection()
    await house.add(TEXT, document_id="d", labels=["hr/pay"])
    await house.add("# Other\n\nOther words.", document_id="e")
    uid = uid_of_collection(house)
    open_class = next(row[1] for row in house.stored_rows("access_classes") if row[2] in ("[]", []))
    await house.index.set_classes(uid, {1 << 20 | 1: open_class})
    assert await house.find("days", "employee") == ["Other words."]
