import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2

from atrium.knowledge.v1 import (
    knowledge_pb2,
    knowledge_service_pb2,
    sync_pb2,
    versions_pb2,
)
from atrium_knowledge.app import sync_documents
from atrium_knowledge.domain.sync import document_id_of
from atrium_knowledge.testing import EDITOR, PEOPLE, FakeReaders, House, away, run_sql
from atrium_shared.audit import AuditEvent, AuditUnavailable, Decision
from atrium_shared.testing import error_of, eventually, make_principal

SOURCE = "collections/handbook/sources/wiki"
ITEMS = ("leave", "pay", "one", "two")
Request = sync_pb2.SyncDocumentsRequest
Item = sync_pb2.SyncItem
Opened = Callable[..., AbstractAsyncContextManager[House]]
INVALID = grpc.StatusCode.INVALID_ARGUMENT
CONFLICT = grpc.StatusCode.FAILED_PRECONDITION


def header(token: str = "t1", **fields: Any) -> Request:
    return Request(header=Request.Header(source=SOURCE, sync_token=token, **fields))


def upsert(
    item: str,
    text: str,
    revision: str = "",
    *,
    labels: list[str] | None = None,
    size: int | None = None,
    **fields: Any,
) -> list[Request]:
    data = text.encode()
    content = Item.Upsert(
        filename=f"{item or 'file'}.md", size_bytes=len(data) if size is None else size, **fields
    )
    if labels is not None:
        content.access.labels.extend(labels)
    chunks = [Request(chunk=data[at : at + 10]) for at in range(0, len(data), 10)]
    return [Request(item=Item(id=item, revision=revision, upsert=content)), *chunks]


def relabel(item: str, *labels: str, **sections: list[str]) -> list[Request]:
    access = Item.Access(
        labels=labels,
        section_labels=[
            knowledge_pb2.SectionLabels(heading=heading, labels=needed)
            for heading, needed in sections.items()
        ],
    )
    return [Request(item=Item(id=item, access=access))]


def remove(item: str) -> list[Request]:
    return [Request(item=Item(id=item, removal=Item.Removal()))]


def end(**fields: bool) -> Request:
    return Request(end=Request.End(**fields))


async def sync(
    house: House, *parts: Request | list[Request], who: str = "editor"
) -> sync_pb2.SyncDocumentsResponse:
    async def requests() -> AsyncIterator[Request]:
        for part in parts:
            for one in part if isinstance(part, list) else [part]:
                yield one

    return await house.as_(who).SyncDocuments(requests())


async def report(
    house: House, reply: sync_pb2.SyncDocumentsResponse, who: str = "editor"
) -> sync_pb2.SyncReport:
    operation = await house.done(reply.operation, who)
    assert operation.done
    assert not operation.HasField("error"), operation.error
    found = sync_pb2.SyncReport()
    assert operation.response.Unpack(found)
    return found


async def run(house: House, *parts: Request | list[Request], who: str = "editor") -> Any:
    """Sync, and wait until everything is taken in and removed."""
    reply = await sync(house, *parts, who=who)
    return reply, await report(house, reply, who)


async def state(house: House, name: str = SOURCE) -> sync_pb2.SyncState:
    return await house.as_("editor").GetSyncState(sync_pb2.GetSyncStateRequest(name=name))


async def documents(house: House) -> dict[str, knowledge_pb2.Document]:
    listed = await house.as_("editor").ListDocuments(
        knowledge_service_pb2.ListDocumentsRequest(parent="collections/handbook")
    )
    return {one.filename.removesuffix(".md"): one for one in listed.documents}


def counts(found: sync_pb2.SyncCounts) -> dict[str, int]:
    return {field.name: value for field, value in found.ListFields()}


def problems(found: Iterable[sync_pb2.SyncProblem]) -> list[tuple[str, int, str]]:
    return [(one.item, one.position, one.reason) for one in found]


@pytest.fixture
async def wiki(house: House) -> House:
    """A collection with two documents of a source."""
    await house.collection()
    await run(
        house,
        header("t1"),
        upsert("leave", "# Leave\n\n25 days.", "r1", labels=["staff"]),
        upsert("pay", "# Pay\n\nGrade 5.", "r1"),
        end(complete=True),
    )
    house.embedder.texts.clear()
    return house


async def test_a_first_run_makes_documents_that_are_found(house: House):
    await house.collection()
    reply, done = await run(
        house,
        header(),
        upsert("a/leave", "# Leave\n\n25 days.", title="Days off"),
        upsert("b/leave", "# Leave\n\nOther days.", labels=["hr/pay"]),
        end(complete=True),
    )
    assert counts(reply.counts) == {"items": 2, "created": 2} == counts(done.counts)
    assert not reply.problems
    assert not done.problems
    assert await house.find("days", "employee") == ["25 days."]
    assert sorted(await house.find("days", "partner")) == ["25 days.", "Other days."]
    assert {one.title for one in (await documents(house)).values()} == {"Days off", "Leave"}
    reached = await state(house)
    assert reached.state == sync_pb2.SyncState.COMPLETE
    assert (reached.completed_token, reached.last_item) == ("t1", "b/leave")
    assert (reached.document_count, reached.operation) == (2, reply.operation.name)


async def test_the_same_revisions_again_embed_nothing(wiki: House):
    reply, _ = await run(
        wiki,
        header("t2"),
        upsert("leave", "# Leave\n\n25 days.", "r1", labels=["staff"]),
        upsert("pay", "bytes that are passed over", "r1"),
        end(complete=True),
    )
    assert counts(reply.counts) == {"items": 2, "unchanged": 2}
    assert wiki.embedder.texts == []
    assert {one.version for one in (await documents(wiki)).values()} == {1}
    assert len(wiki.stored_files()) == 4


async def test_equal_content_under_another_revision_embeds_nothing(wiki: House):
    reply, _ = await run(wiki, header("t2"), upsert("pay", "# Pay\n\nGrade 5.", "r2"), end())
    assert counts(reply.counts) == {"items": 1, "unchanged": 1}
    assert wiki.embedder.texts == []
    assert len(wiki.stored_files()) == 4
    assert wiki.stored_rows("uploads") == []


async def test_new_content_is_a_new_version_with_the_labels_of_before(wiki: House):
    reply, _ = await run(wiki, header("t2"), upsert("leave", "# Leave\n\n30 days.", "r2"), end())
    assert counts(reply.counts) == {"items": 1, "updated": 1}
    leave = (await documents(wiki))["leave"]
    assert (leave.version, list(leave.labels)) == (2, ["staff"])


async def test_new_content_can_open_a_document_when_the_source_says_so(wiki: House):
    await run(wiki, header("t2"), upsert("leave", "# Leave\n\n30 days.", labels=[]), end())
    assert list((await documents(wiki))["leave"].labels) == []


async def test_labels_alone_change_who_finds_it_and_embed_nothing(wiki: House):
    reply, _ = await run(
        wiki,
        header("t2"),
        relabel("leave"),
        upsert("pay", "# Pay\n\nGrade 5.", "r1", labels=["hr/pay"]),
        end(),
    )
    assert counts(reply.counts) == {"items": 2, "labelled": 2}
    assert wiki.embedder.texts == []
    assert await wiki.find("days", "employee") == ["25 days."]
    assert "Grade 5." in await wiki.find("Grade", "partner")


async def test_what_a_complete_list_does_not_name_goes_everywhere(wiki: House):
    reply, done = await run(wiki, header("t2"), upsert("pay", "# Pay\n\nGrade 5.", "r1"),
                            end(complete=True))  # fmt: skip
    assert counts(reply.counts) == {"items": 1, "unchanged": 1}
    assert counts(done.counts) == {"items": 1, "unchanged": 1, "removed": 1}
    assert list(await documents(wiki)) == ["pay"]
    assert await wiki.find("days", "admin") == ["Grade 5."]
    assert len(wiki.stored_files()) == 2
    assert (await state(wiki)).document_count == 1


async def test_what_an_incomplete_list_does_not_name_stays(wiki: House):
    await run(wiki, header("t2"), upsert("pay", "# Pay\n\nGrade 6."), end())
    assert sorted(await documents(wiki)) == ["leave", "pay"]


async def test_documents_that_others_uploaded_are_never_removed_or_replaced(wiki: House):
    await wiki.add("# Mine", document_id="mine", filename="mine.md")
    _, done = await run(wiki, header("t2"), end(complete=True, allow_empty=True))
    assert done.counts.removed == 2
    assert list(await documents(wiki)) == ["mine"]


async def test_a_removal_is_one_of_the_items_and_may_come_twice(wiki: House):
    reply, _ = await run(wiki, header("t2"), remove("leave"), remove("leave"), end())
    assert counts(reply.counts) == {"items": 2, "removed": 1, "unchanged": 1}
    assert list(await documents(wiki)) == ["pay"]


async def test_a_document_deleted_here_comes_back_with_the_next_run(wiki: House):
    name = (await documents(wiki))["pay"].name
    await wiki.as_("editor").DeleteDocument(knowledge_service_pb2.DeleteDocumentRequest(name=name))
    reply, _ = await run(wiki, header("t2"), upsert("pay", "# Pay\n\nGrade 5.", "r1"), end())
    assert reply.counts.created == 1
    assert await wiki.find("Grade", "employee") == ["Grade 5."]


async def test_wrong_items_are_reported_and_stop_no_other(wiki: House):
    big = "x" * 1001
    reply, done = await run(
        wiki,
        header("t2"),
        upsert("", "# No id"),
        upsert("empty", ""),
        upsert("big", big),
        upsert("short", "# Short", size=100),
        upsert("long", "# Long", size=3),
        upsert("pay", "# Pay", labels=["no label!"]),
        relabel("unknown", "staff"),
        relabel("leave", "staff", Absent=["hr/pay"]),
        [Request(item=Item(id="nothing"))],
        upsert("nul\0", "# Nul"),
        upsert("torn", "broken"),
        upsert("good", "# Good\n\nGood words."),
        end(),
        who="limited",
    )
    assert problems(reply.problems) == [
        ("", 1, "SYNC_ITEM_WITHOUT_ID"),
        ("empty", 2, "DOCUMENT_EMPTY"),
        ("big", 3, "DOCUMENT_TOO_LARGE"),
        ("short", 4, "SYNC_ITEM_INCOMPLETE"),
        ("long", 5, "SYNC_ITEM_INCOMPLETE"),
        ("pay", 6, "FIELD_INVALID"),
        ("unknown", 7, "DOCUMENT_NOT_FOUND"),
        ("leave", 8, "SECTION_NOT_FOUND"),
        ("nothing", 9, "FIELD_INVALID"),
        ("nul\ufffd", 10, "FIELD_INVALID"),
    ]
    assert all(one.message for one in reply.problems)
    assert counts(reply.counts) == {"items": 12, "created": 2, "failed": 10}
    assert problems(done.problems) == [("torn", 0, "DOCUMENT_BROKEN")]
    assert "Good words." in await wiki.find("Good words", "employee")
    assert sorted(await documents(wiki)) == ["good", "leave", "pay", "torn"]
    assert wiki.stored_rows("uploads") == []


async def test_a_broken_file_that_comes_again_is_reported_and_not_read_again(wiki: House):
    await run(wiki, header("t2"), upsert("torn", "broken", "r1"), end())
    for revision in ("r1", "r2"):
        reply = await sync(wiki, header("t3"), upsert("torn", "broken", revision), end())
        assert problems(reply.problems) == [("torn", 1, "DOCUMENT_BROKEN")]
    listed = await wiki.as_("editor").ListDocumentVersions(
        versions_pb2.ListDocumentVersionsRequest(parent=(await documents(wiki))["torn"].name)
    )
    assert len(listed.versions) == 1


async def test_an_item_without_id_keeps_a_complete_list_from_removing(wiki: House):
    error = await error_of(
        sync(wiki, header("t2"), upsert("", "# No id"), remove("pay"), end(complete=True))
    )
    assert (error.code, error.reason) == (CONFLICT, "SYNC_LIST_DOUBTFUL")
    assert error.metadata == {"source": SOURCE}
    assert sorted(await documents(wiki)) == ["leave"]


async def test_a_complete_list_that_names_nothing_must_be_meant(wiki: House):
    error = await error_of(sync(wiki, header("t2"), end(complete=True)))
    assert (error.code, error.reason) == (INVALID, "SYNC_LIST_EMPTY")
    assert error.metadata == {"source": SOURCE, "document_count": "2"}
    assert len(await documents(wiki)) == 2


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([], "SYNC_HEADER_MISSING"),
        ([end()], "SYNC_HEADER_MISSING"),
        ([header("t2"), header("t2")], "SYNC_HEADER_REPEATED"),
        ([header("t2")], "SYNC_END_MISSING"),
        ([header("t2"), remove("unknown")], "SYNC_END_MISSING"),
        ([header("t2"), upsert("pay", "# Half", size=100)], "SYNC_END_MISSING"),
        ([header("t2"), end(complete=True), end(complete=True)], "SYNC_AFTER_END"),
        ([header("t2"), end(complete=True), remove("pay")], "SYNC_AFTER_END"),
        ([header("t2"), Request(chunk=b"abc")], "SYNC_CHUNK_UNEXPECTED"),
    ],
)
async def test_a_run_in_the_wrong_order_is_refused_and_removes_nothing(
    wiki: House, parts: list[Any], reason: str
):
    error = await error_of(sync(wiki, *parts))
    assert (error.code, error.reason) == (INVALID, reason)
    assert sorted(await documents(wiki)) == ["leave", "pay"]
    assert (await state(wiki)).completed_token == "t1"


async def test_a_source_must_be_named_like_one(wiki: House):
    for name in ("collections/handbook", f"{SOURCE}/x", "collections/handbook/sources/A"):
        request = Request(header=Request.Header(source=name, sync_token="t"))
        error = await error_of(sync(wiki, request, end()))
        assert (error.code, error.reason) == (INVALID, "FIELD_INVALID")


async def test_a_collection_that_is_not_there_is_not_found(house: House):
    error = await error_of(sync(house, header(), end()))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "COLLECTION_NOT_FOUND")


@pytest.mark.parametrize("name", [SOURCE, "collections/none/sources/wiki", "collections/x"])
async def test_an_unknown_source_has_no_state(house: House, name: str):
    await house.collection()
    error = await error_of(state(house, name))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "SYNC_STATE_NOT_FOUND")
    assert error.metadata == {"source": name}


@pytest.mark.parametrize("fields", [{"resume": True}, {"base_token": "t0"}])
async def test_a_run_that_builds_on_nothing_is_refused(house: House, fields: dict[str, Any]):
    await house.collection()
    error = await error_of(sync(house, header(**fields), end()))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "SYNC_STATE_NOT_FOUND")


@pytest.mark.parametrize(
    ("fields", "given", "expected"),
    [
        ({"token": "t1", "resume": True}, "t1", ""),
        ({"token": "t2", "base_token": "t0"}, "t0", "t1"),
    ],
)
async def test_a_wrong_token_is_refused(
    wiki: House, fields: dict[str, Any], given: str, expected: str
):
    error = await error_of(sync(wiki, header(**fields), end()))
    assert (error.code, error.reason) == (CONFLICT, "SYNC_TOKEN_WRONG")
    assert error.metadata == {"source": SOURCE, "given": given, "expected": expected}


async def test_changes_build_on_the_run_that_they_name(wiki: House):
    await run(wiki, header("t2", base_token="t1"), remove("pay"), end())
    assert (await state(wiki)).completed_token == "t2"
    assert list(await documents(wiki)) == ["leave"]


class Held:
    """A stream that waits after some parts until it is let go."""

    def __init__(
        self, house: House, *parts: Request | list[Request], complete: bool = True
    ) -> None:
        self.go = asyncio.Event()

        async def requests() -> AsyncIterator[Request]:
            for part in parts:
                for one in part if isinstance(part, list) else [part]:
                    yield one
            await self.go.wait()
            yield end(complete=complete)

        self.call = house.as_("editor").SyncDocuments(requests())
        self.task = asyncio.ensure_future(self._wait())

    async def _wait(self) -> Any:
        return await self.call

    async def reached(self, house: House, items: int) -> None:
        """Return when so many items are acknowledged."""
        async with asyncio.timeout(20):
            while True:
                try:
                    found = await state(house)
                except grpc.aio.AioRpcError:
                    found = sync_pb2.SyncState()
                if (found.state, found.counts.items) == (sync_pb2.SyncState.RUNNING, items):
                    return
                await asyncio.sleep(0.01)

    async def break_off(self, house: House) -> None:
        """Hang up as a lost connection does."""
        self.call.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        async with asyncio.timeout(20):
            while True:
                if (await state(house)).state == sync_pb2.SyncState.INTERRUPTED:
                    return
                await asyncio.sleep(0.01)


async def test_a_broken_stream_keeps_whole_items_and_is_gone_on_with(house: House):
    await house.collection()
    half = upsert("half", "# Half\n\nMore words than came.")[:2]
    held = Held(house, header(), upsert("one", "# One"), upsert("two", "# Two"), half)
    await held.reached(house, 2)
    await held.break_off(house)
    broken = await state(house)
    assert (broken.sync_token, broken.last_item, broken.counts.items) == ("t1", "two", 2)
    assert broken.completed_token == ""
    reply, done = await run(
        house,
        header("t1", resume=True),
        upsert("half", "# Half\n\nMore words than came."),
        end(complete=True),
    )
    assert counts(reply.counts) == {"items": 3, "created": 3}
    assert done.counts.removed == 0
    assert sorted(await documents(house)) == ["half", "one", "two"]
    assert {one.version for one in (await documents(house)).values()} == {1}
    assert house.stored_rows("uploads") == []


async def test_a_document_that_never_came_whole_is_not_counted(house: House):
    await house.collection()
    half = upsert("half", "# Half\n\nMore words than came.")[:2]
    held = Held(house, header(), upsert("one", "# One"), half)
    await held.reached(house, 1)
    await eventually(lambda: len(house.stored_rows("sync_items")) == 2)
    await held.break_off(house)
    assert (await state(house)).document_count == 1
    error = await error_of(sync(house, header("t2"), end(complete=True)))
    assert error.metadata["document_count"] == "1"


async def test_items_that_come_again_after_a_break_change_nothing(house: House):
    await house.collection()
    held = Held(house, header(), upsert("one", "# One"))
    await held.reached(house, 1)
    await held.break_off(house)
    reply, _ = await run(
        house, header("t1", resume=True), upsert("one", "# One"), end(complete=True)
    )
    assert counts(reply.counts) == {"items": 2, "created": 1, "unchanged": 1}
    assert (await documents(house))["one"].version == 1


async def test_a_run_that_broke_removes_nothing_and_a_new_one_gives_it_up(wiki: House):
    held = Held(wiki, header("t2"), upsert("pay", "# Pay\n\nGrade 6."))
    await held.reached(wiki, 1)
    await held.break_off(wiki)
    assert sorted(await documents(wiki)) == ["leave", "pay"]
    _, done = await run(wiki, header("t3"), upsert("leave", "# Leave\n\n25 days.", "r1"),
                        end(complete=True))  # fmt: skip
    assert done.counts.removed == 1
    assert list(await documents(wiki)) == ["leave"]


async def test_two_runs_of_one_source_at_once_are_refused(wiki: House):
    held = Held(wiki, header("t2"), upsert("pay", "# Pay\n\nGrade 6."))
    await held.reached(wiki, 1)
    error = await error_of(sync(wiki, header("t3"), end()))
    assert (error.code, error.reason) == (CONFLICT, "SYNC_UNDER_WAY")
    assert error.metadata == {"source": SOURCE}
    other = Request(
        header=Request.Header(source="collections/handbook/sources/files", sync_token="f1")
    )
    await run(wiki, other, upsert("other", "# Other"), end(complete=True))
    held.go.set()
    await report(wiki, await held.task)
    assert sorted(await documents(wiki)) == ["other", "pay"]


async def test_a_run_is_gone_on_with_after_a_restart(house_at: Opened):
    async with house_at() as house:
        await house.collection()
        held = Held(house, header(), upsert("one", "# One"))
        await held.reached(house, 1)
        held.call.cancel()
        await asyncio.gather(held.task, return_exceptions=True)
    async with house_at() as house:
        assert (await state(house)).state == sync_pb2.SyncState.INTERRUPTED
        await run(house, header("t1", resume=True), upsert("two", "# Two"), end(complete=True))
        assert sorted(await documents(house)) == ["one", "two"]


async def test_a_user_who_is_gone_removes_nothing_and_lets_the_next_run_begin(wiki: House):
    known = dict(wiki.delegation.principals)
    wiki.delegation.principals.clear()
    reply = await sync(wiki, header("t2"), remove("pay"), end(complete=True, allow_empty=True))
    operation = await wiki.done(reply.operation)
    assert operation.error.code == grpc.StatusCode.NOT_FOUND.value[0]
    assert list(await documents(wiki)) == ["leave"]
    wiki.delegation.principals.update(known)
    _, done = await run(wiki, header("t3"), end(complete=True, allow_empty=True))
    assert done.counts.removed == 1


async def test_who_may_not_manage_any_more_removes_nothing(wiki: House):
    subject = EDITOR.subject
    wiki.delegation.principals["acme", subject] = make_principal(actor=subject)
    reply = await sync(wiki, header("t2"), end(complete=True, allow_empty=True))
    operation = await wiki.done(reply.operation)
    assert operation.error.code == grpc.StatusCode.PERMISSION_DENIED.value[0]
    assert len(await documents(wiki)) == 2
    assert (await state(wiki)).state == sync_pb2.SyncState.COMPLETE


async def test_a_cancelled_operation_lets_the_next_run_begin(wiki: House):
    wiki.parser.gate.clear()
    reply = await sync(wiki, header("t2"), upsert("slow", "# Slow"), end())
    await wiki.operations("editor").CancelOperation(
        operations_pb2.CancelOperationRequest(name=reply.operation.name)
    )
    wiki.parser.gate.set()
    await run(wiki, header("t3"), remove("slow"), end())
    assert sorted(await documents(wiki)) == ["leave", "pay"]


async def test_deleting_the_collection_ends_its_syncs(wiki: House):
    wiki.parser.gate.clear()
    reply = await sync(wiki, header("t2"), upsert("slow", "# Slow"), end())
    await wiki.as_("admin").DeleteCollection(
        knowledge_service_pb2.DeleteCollectionRequest(name="collections/handbook")
    )
    wiki.parser.gate.set()
    operation = await wiki.done(reply.operation)
    assert operation.error.code == grpc.StatusCode.NOT_FOUND.value[0]
    assert wiki.stored_rows("sync_sources") == []
    assert wiki.stored_rows("sync_items") == []


@pytest.mark.parametrize("who", ["employee", "writer", "partner"])
async def test_only_managers_sync(wiki: House, who: str):
    error = await error_of(sync(wiki, header("t2"), end(), who=who))
    assert (error.code, error.reason) == (
        grpc.StatusCode.PERMISSION_DENIED,
        "PERMISSION_DENIED",
    )


def changes(house: House) -> list[tuple[str, str]]:
    """What the sync changed as the audit log has it: method, and document by its item."""
    found = [event for event in house.audit.events if event.detail == SOURCE]
    assert {(one.actor, one.decision) for one in found} <= {("users/editor", Decision.ALLOWED)}
    folder = "collections/handbook/documents/"
    items = {f"{folder}{document_id_of('wiki', item)}": item for item in ITEMS}
    return [(one.action.removeprefix("knowledge."), items[one.resource]) for one in found]


async def test_each_change_of_a_sync_is_audited_like_the_single_call(wiki: House):
    assert changes(wiki) == [("UploadDocument", "leave"), ("UploadDocument", "pay")]
    wiki.audit.events.clear()
    await run(
        wiki,
        header("t2"),
        relabel("leave", "hr/pay"),
        upsert("pay", "# Pay\n\nGrade 6."),
        upsert("one", "# One"),
        remove("one"),
        end(),
    )
    assert changes(wiki) == [
        ("SetDocumentLabels", "leave"),
        ("UploadDocument", "pay"),
        ("UploadDocument", "one"),
        ("DeleteDocument", "one"),
    ]
    wiki.audit.events.clear()
    await run(wiki, header("t3"), upsert("pay", "# Pay\n\nGrade 6."), end(complete=True))
    assert changes(wiki) == [("DeleteDocument", "leave")]


async def test_what_changes_nothing_is_not_audited_as_a_change(wiki: House):
    wiki.audit.events.clear()
    await run(
        wiki,
        header("t2"),
        upsert("leave", "# Leave\n\n25 days.", "r1", labels=["staff"]),
        relabel("leave", "staff"),
        relabel("leave", "staff", Absent=["hr/pay"]),
        remove("unknown"),
        upsert("empty", ""),
        end(),
    )
    assert changes(wiki) == []


async def test_a_document_deleted_here_is_audited_once(wiki: House):
    name = (await documents(wiki))["pay"].name
    await wiki.as_("editor").DeleteDocument(knowledge_service_pb2.DeleteDocumentRequest(name=name))
    wiki.audit.events.clear()
    await run(wiki, header("t2"), remove("pay"), remove("leave"), end())
    assert changes(wiki) == [("DeleteDocument", "leave")]


async def test_changes_of_a_stream_that_breaks_are_audited(house: House):
    await house.collection()
    held = Held(house, header(), upsert("one", "# One"), upsert("two", "# Two"))
    await held.reached(house, 2)
    await held.break_off(house)
    assert changes(house) == [("UploadDocument", "one"), ("UploadDocument", "two")]


async def test_changes_that_come_while_the_log_is_slow_share_an_append(
    wiki: House, monkeypatch: pytest.MonkeyPatch
):
    sizes: list[int] = []
    record, confirmed = wiki.audit.record, asyncio.Event()

    async def slow(*events: AuditEvent) -> None:
        if events[0].detail == SOURCE:
            sizes.append(len(events))
            await confirmed.wait()
        await record(*events)

    monkeypatch.setattr(wiki.audit, "record", slow)
    labels = [relabel("leave", f"label-{number}") for number in range(12)]
    held = Held(wiki, header("t2"), *labels, complete=False)
    await held.reached(wiki, 12)
    confirmed.set()
    held.go.set()
    await report(wiki, await held.task)
    assert sizes == [1, 11]
    assert [item for _, item in changes(wiki)][2:] == ["leave"] * 12


async def test_a_sync_whose_changes_are_not_recorded_ends_and_is_gone_on_with(
    wiki: House, monkeypatch: pytest.MonkeyPatch
):
    wiki.audit.events.clear()
    record = wiki.audit.record
    down = [True]

    async def failing(*events: AuditEvent) -> None:
        if down[0] and events[0].detail == SOURCE:
            raise AuditUnavailable("UNAVAILABLE")
        await record(*events)

    monkeypatch.setattr(wiki.audit, "record", failing)
    error = await error_of(sync(wiki, header("t2"), upsert("one", "# One"), end()))
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "AUDIT_UNAVAILABLE")
    assert (await state(wiki)).completed_token == "t1"
    down[0] = False
    await run(wiki, header("t2", resume=True), upsert("two", "# Two"), end())
    assert changes(wiki) == [("UploadDocument", "two")]


async def test_labels_that_nobody_holds_are_accepted_with_a_warning(house_at: Opened):
    readers = FakeReaders({"users/lin": ["staff"]})
    async with house_at(readers=readers) as house:
        await house.collection()
        reply, _ = await run(
            house, header(), upsert("one", "# One", labels=["staff", "stuff"]), end(), who="admin"
        )
        assert [(one.reason, dict(one.metadata)) for one in reply.warnings] == [
            ("LABEL_HELD_BY_NOBODY", {"label": "stuff"})
        ]
        request = knowledge_service_pb2.SetDocumentLabelsRequest(
            name=(await documents(house))["one"].name, labels=["ghosts"]
        )
        labelled = await house.as_("admin").SetDocumentLabels(request)
        assert list(labelled.labels) == ["ghosts"]
        assert [one.metadata["label"] for one in labelled.label_warnings] == ["ghosts"]
        unseen = await house.as_("editor").SetDocumentLabels(request)
        assert not unseen.label_warnings


async def test_the_end_of_a_run_waits_while_the_database_is_away(wiki: House):
    wiki.parser.gate.clear()
    reply = await sync(wiki, header("t2"), upsert("new", "# New\n\nNew."), end(complete=True))
    with away(wiki.settings.database_url):
        wiki.parser.gate.set()
        await asyncio.sleep(0.5)
    await report(wiki, reply)
    assert set(await documents(wiki)) == {"new"}


async def test_a_stream_keeps_its_source_over_an_outage(
    wiki: House, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sync_documents, "_RENEW_SECONDS", 0.02)
    go_on = asyncio.Event()

    async def requests() -> AsyncIterator[Request]:
        yield header("t2")
        await go_on.wait()
        yield end(complete=False)

    def lease() -> Any:
        return run_sql(wiki.settings.database_url, "SELECT lease_time FROM sync_sources")

    stream = asyncio.ensure_future(wiki.as_("editor").SyncDocuments(requests()))
    before = lease()
    await eventually(lambda: lease() != before)
    with away(wiki.settings.database_url):
        await asyncio.sleep(0.2)
    before = lease()
    await eventually(lambda: lease() != before)
    go_on.set()
    await stream


@pytest.fixture(autouse=True)
def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who may upload no more than 1,000 bytes at once."""
    monkeypatch.setitem(
        PEOPLE,
        "limited",
        make_principal("knowledge.documents:*", actor="users/limited", max_upload_bytes=1000),
    )
