import asyncio
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2
from google.rpc import error_details_pb2

from atrium.knowledge.v1 import knowledge_pb2, knowledge_service_pb2
from atrium_knowledge.testing import PEOPLE, FakeDelegation, House, NoSuchUser, away
from atrium_shared.testing import error_of, eventually, make_principal
from atrium_shared.testing_models import NoModel

TEXT = "# Leave\n\nEveryone has 25 days."


async def get(house: House, document_id: str, who: str = "editor") -> knowledge_pb2.Document:
    return await house.as_(who).GetDocument(
        knowledge_service_pb2.GetDocumentRequest(
            name=f"collections/handbook/documents/{document_id}"
        )
    )


def reason_of(operation: operations_pb2.Operation) -> str:
    info = error_details_pb2.ErrorInfo()
    operation.error.details[0].Unpack(info)
    return info.reason


async def assert_failed(house: House, operation: operations_pb2.Operation, reason: str) -> None:
    done = await house.done(operation)
    assert reason_of(done) == reason
    document = await get(house, "d")
    assert (document.state, document.error_reason) == (knowledge_pb2.Document.FAILED, reason)
    assert document.passage_count == 0
    assert document.error_message
    assert await house.find("days leave", "admin") == []
    assert house.stored_files() == []


async def test_a_document_that_cannot_be_read_fails_with_the_reason(house: House):
    await house.collection()
    operation = await house.upload("broken file", document_id="d")
    await assert_failed(house, operation, "DOCUMENT_BROKEN")


async def test_a_fault_of_the_service_ends_the_operation_too(house: House):
    await house.collection()
    operation = await house.upload("bug in here", document_id="d")
    await assert_failed(house, operation, "INGESTION_FAILED")


async def test_labels_of_a_section_that_is_not_there_fail_the_document(house: House):
    await house.collection()
    operation = await house.upload(
        TEXT, document_id="d", section_labels=[{"heading": "leave", "labels": ["hr/pay"]}]
    )
    await assert_failed(house, operation, "SECTION_NOT_FOUND")


async def test_permission_is_checked_again_when_the_work_is_done(house: House):
    await house.collection()
    house.parser.gate.clear()
    operation = await house.upload(TEXT, document_id="d")
    house.delegation.principals["acme", "users/editor"] = make_principal(
        "knowledge.documents:read", actor="users/editor"
    )
    house.parser.gate.set()
    await assert_failed(house, operation, "PERMISSION_DENIED")


async def test_a_document_in_processing_is_not_searchable_and_not_known_to_readers(house: House):
    await house.collection()
    house.parser.gate.clear()
    operation = await house.upload(TEXT, who="writer")
    progress = knowledge_service_pb2.UploadDocumentMetadata()
    operation.metadata.Unpack(progress)
    document_id = progress.document.rpartition("/")[2]
    assert (await get(house, document_id)).state == knowledge_pb2.Document.PROCESSING
    assert (await get(house, document_id, "writer")).state == knowledge_pb2.Document.PROCESSING
    error = await error_of(get(house, document_id, "employee"))
    assert error.reason == "DOCUMENT_NOT_FOUND"
    assert await house.find("days", "admin") == []
    house.parser.gate.set()
    await house.done(operation, "writer")
    assert (await get(house, document_id, "employee")).state == knowledge_pb2.Document.READY


async def test_a_new_version_replaces_the_old_one(house: House):
    await house.collection()
    await house.add(TEXT, document_id="d")
    newer = await house.add("# Leave\n\nEveryone has 30 days.", document_id="d")
    assert newer.version == 2
    assert await house.find("days") == ["Everyone has 30 days."]


async def test_the_old_version_is_found_until_the_new_one_is_ready(house: House):
    await house.collection()
    await house.add(TEXT, document_id="d")
    house.parser.gate.clear()
    operation = await house.upload("# Leave\n\nEveryone has 30 days.", document_id="d")
    assert await house.find("days") == ["Everyone has 25 days."]
    document = await get(house, "d")
    assert (document.version, document.state) == (1, knowledge_pb2.Document.READY)
    house.parser.gate.set()
    await house.done(operation)
    assert await house.find("days") == ["Everyone has 30 days."]


async def test_a_new_version_that_fails_leaves_the_old_one(house: House):
    await house.collection()
    await house.add(TEXT, document_id="d")
    operation = await house.done(await house.upload("broken", document_id="d"))
    assert reason_of(operation) == "DOCUMENT_BROKEN"
    document = await get(house, "d")
    assert (document.version, document.state) == (1, knowledge_pb2.Document.READY)
    assert await house.find("days") == ["Everyone has 25 days."]


async def test_a_version_that_a_later_one_overtook_does_not_come_back(house: House):
    await house.collection()
    house.parser.gate.clear()
    operations = [
        await house.upload(f"# Leave\n\nEveryone has {days} days.", document_id="d")
        for days in range(20, 26)
    ]
    house.parser.gate.set()
    for operation in operations:
        assert not (await house.done(operation)).HasField("error")
    assert (await get(house, "d")).version == len(operations)
    assert await house.find("days") == ["Everyone has 25 days."]


async def test_a_new_version_without_labels_keeps_those_of_the_old_one(house: House):
    await house.collection()
    await house.add(TEXT, document_id="d", labels=["hr/pay"])
    newer = await house.add("# Leave\n\nEveryone has 30 days.", document_id="d")
    assert list(newer.labels) == ["hr/pay"]
    assert await house.find("days", "employee") == []


async def test_a_cancelled_upload_is_never_found(house: House):
    await house.collection()
    house.parser.gate.clear()
    operation = await house.upload(TEXT, document_id="d")
    await house.operations("editor").CancelOperation(
        operations_pb2.CancelOperationRequest(name=operation.name)
    )
    house.parser.gate.set()
    done = await house.done(operation)
    assert done.error.code == grpc.StatusCode.CANCELLED.value[0]
    document = await get(house, "d")
    assert (document.state, document.error_reason) == (
        knowledge_pb2.Document.FAILED,
        "UPLOAD_CANCELLED",
    )
    assert await house.find("days", "admin") == []
    assert house.stored_files() == []


async def test_an_operation_belongs_to_who_asked_for_it(house: House):
    await house.collection()
    operation = await house.upload(TEXT)
    error = await error_of(
        house.operations("writer").GetOperation(
            operations_pb2.GetOperationRequest(name=operation.name)
        )
    )
    assert error.code == grpc.StatusCode.NOT_FOUND


async def test_documents_are_taken_in_side_by_side(house: House):
    await house.collection()
    house.parser.gate.clear()
    operations = await asyncio.gather(
        *(house.upload(TEXT, document_id=f"d{number}") for number in range(8))
    )
    house.parser.gate.set()
    for operation in operations:
        assert not (await house.done(operation)).HasField("error")
    assert len(await house.find("days", most=20)) == 8


async def test_without_an_encoder_keywords_do(house: House):
    house.embedder.failure = NoModel()
    await house.collection()
    await house.add(TEXT)
    found = (await house.search("days")).results
    assert [one.passage.text for one in found] == ["Everyone has 25 days."]
    assert (found[0].keyword_rank, found[0].vector_rank) == (1, 0)


async def test_the_passage_is_the_slice_of_the_text_and_carries_its_place(house: House):
    await house.collection()
    text = "# Guide\n\nIntro words.\n\n## Leave\n\nEveryone has 25 days."
    await house.add(text, document_id="guide")
    found = (await house.search("how many days")).results[0].passage
    assert list(found.section_path) == ["Guide", "Leave"]
    assert (found.document_title, found.version, found.paragraph) == ("Guide", 1, 4)
    assert found.end - found.start == len(found.text)
    plain = "Guide\n\nIntro words.\n\nLeave\n\nEveryone has 25 days."
    assert plain[found.start : found.end] == found.text


@pytest.mark.parametrize("heading", ["Pay", "Guide"])
async def test_a_labelled_heading_is_never_the_title(house: House, heading: str):
    await house.collection()
    document = await house.add(
        "# Guide\n\nIntro words.\n\n# Pay\n\nGrade 5 earns 30,000.",
        document_id="guide",
        filename="handbook-2026.md",
        section_labels=[{"heading": heading, "labels": ["hr/pay"]}],
    )
    assert document.title == ("handbook-2026" if heading == "Guide" else "Guide")


async def test_an_upload_waits_while_the_database_is_away(house: House):
    await house.collection()
    house.parser.gate.clear()
    operation = await house.upload(TEXT, document_id="d")
    with away(house.settings.database_url):
        house.parser.gate.set()
        failure = await error_of(get(house, "d"))
        assert (failure.code, failure.reason) == (
            grpc.StatusCode.UNAVAILABLE,
            "DATABASE_UNAVAILABLE",
        )
        await asyncio.sleep(0.5)
    assert not (await house.done(operation)).HasField("error")
    assert await house.find("days leave") == ["Everyone has 25 days."]


@pytest.mark.parametrize("end", ["done", "fails", "cancelled"])
async def test_nothing_is_kept_in_memory_of_a_document_that_was_taken_in(house_at, end: str):
    delegation = FakeDelegation(list(PEOPLE.values()))
    async with house_at(delegation=delegation) as house:
        await house.collection()
        ingest = house.jobs._handlers["knowledge.ingest"].__self__
        reported, gate = asyncio.Event(), asyncio.Event()
        report = ingest._report

        async def held(revision: Any, progress: Any) -> None:
            await report(revision, progress)
            reported.set()
            await gate.wait()

        ingest._report = held
        operation = await house.upload(TEXT, document_id="d")
        await reported.wait()
        assert len(ingest._reported_at) == 1
        if end == "fails":
            delegation.failure = NoSuchUser("users/editor")
        if end == "cancelled":
            request = operations_pb2.CancelOperationRequest(name=operation.name)
            await house.operations("editor").CancelOperation(request)
        gate.set()
        await house.done(operation)
        await eventually(lambda: not ingest._reported_at)


async def test_an_upload_that_is_repeated_after_its_operation_was_deleted_is_a_new_one(
    house: House,
):
    await house.collection()
    first = await house.done(await house.upload(TEXT, document_id="d", request_id="r"))
    delete = operations_pb2.DeleteOperationRequest(name=first.name)
    await house.operations("editor").DeleteOperation(delete)
    again = await house.upload(TEXT, document_id="d", request_id="r")
    assert again.name != first.name
    assert not (await house.done(again)).HasField("error")
    assert (await house.upload(TEXT, document_id="d", request_id="r")).name == again.name
