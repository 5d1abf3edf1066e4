import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from atrium.knowledge.v1 import knowledge_pb2, knowledge_service_pb2
from atrium_knowledge.adapters.sql_documents import SqlDocuments
from atrium_knowledge.testing import House, upload_requests
from atrium_shared.testing import error_of, eventually

TEXT = "# Leave\n\nEveryone has 25 days."
Request = knowledge_service_pb2.UploadDocumentRequest


def header(**fields: object) -> Request.Header:
    given = {
        "parent": "collections/handbook",
        "document": knowledge_pb2.Document(filename="leave.md"),
        **fields,
    }
    return Request.Header(**given)


async def documents_in(house: House, who: str = "admin") -> list[knowledge_pb2.Document]:
    listed = await house.as_(who).ListDocuments(
        knowledge_service_pb2.ListDocumentsRequest(parent="collections/handbook")
    )
    return list(listed.documents)


async def assert_nothing_stored(house: House) -> None:
    assert await documents_in(house) == []
    assert house.stored_files() == []


async def test_an_uploaded_document_is_searchable_and_described(house: House):
    await house.collection()
    document = await house.add(TEXT, document_id="leave", filename="leave.md")
    assert document.name == "collections/handbook/documents/leave"
    assert (document.title, document.filename, document.version) == ("Leave", "leave.md", 1)
    assert document.state == knowledge_pb2.Document.READY
    assert (document.size_bytes, document.passage_count) == (len(TEXT), 1)
    assert await house.find("how many days") == ["Everyone has 25 days."]


async def test_the_operation_tells_how_far_it_is(house: House):
    await house.collection()
    operation = await house.done(await house.upload(TEXT, document_id="leave"))
    progress = knowledge_service_pb2.UploadDocumentMetadata()
    operation.metadata.Unpack(progress)
    assert progress.document == "collections/handbook/documents/leave"
    assert progress.stage == knowledge_service_pb2.UploadDocumentMetadata.DONE
    assert (progress.passages_done, progress.passages_total) == (1, 1)
    assert progress.encoder_tokens > 0


async def test_without_an_id_the_server_chooses_one(house: House):
    await house.collection()
    one, other = await house.add(TEXT), await house.add(TEXT)
    assert one.name != other.name


async def test_a_chunk_before_the_header_is_refused(house: House):
    await house.collection()
    error = await error_of(house.as_("editor").UploadDocument(upload_requests(None, b"abc")))
    assert (error.code, error.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "UPLOAD_HEADER_MISSING",
    )
    await assert_nothing_stored(house)


async def test_an_upload_of_nothing_lacks_its_header(house: House):
    error = await error_of(house.as_("editor").UploadDocument(upload_requests(None, b"")))
    assert error.reason == "UPLOAD_HEADER_MISSING"


async def test_a_second_header_is_refused_and_nothing_stays(house: House):
    await house.collection()

    async def parts() -> AsyncIterator[Request]:
        yield Request(header=header())
        yield Request(chunk=b"# Leave")
        yield Request(header=header())

    error = await error_of(house.as_("editor").UploadDocument(parts()))
    assert (error.code, error.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "UPLOAD_HEADER_REPEATED",
    )
    await assert_nothing_stored(house)


async def test_an_empty_file_is_refused(house: House):
    await house.collection()
    error = await error_of(house.upload("", filename="leave.md"))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "DOCUMENT_EMPTY")
    assert error.metadata == {"filename": "leave.md"}
    await assert_nothing_stored(house)


async def test_a_file_over_the_tenants_limit_is_refused_as_soon_as_it_is(house: House):
    await house.collection()
    sent = 0

    async def endless() -> AsyncIterator[Request]:
        nonlocal sent
        yield Request(header=header())
        while sent < 100_000:
            sent += 1
            yield Request(chunk=b"x" * 300)
            await asyncio.sleep(0)

    error = await error_of(house.as_("writer").UploadDocument(endless()))
    assert (error.code, error.reason) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "DOCUMENT_TOO_LARGE",
    )
    assert error.metadata == {"filename": "leave.md", "limit_bytes": "1000"}
    assert sent < 100_000
    await assert_nothing_stored(house)


async def test_a_file_of_exactly_the_limit_is_taken(house: House):
    await house.collection()
    document = await house.add("a " * 500, who="writer")
    assert document.size_bytes == 1000


async def test_a_file_without_a_name_is_refused(house: House):
    await house.collection()
    error = await error_of(house.upload(TEXT, filename=""))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FILENAME_MISSING")


@pytest.mark.parametrize("who", ["editor", "stranger"])
async def test_a_collection_that_is_not_there_or_not_ones_own_is_not_found(house: House, who: str):
    parent = "collections/none"
    if who == "stranger":
        await house.collection()
        parent = "collections/handbook"
    error = await error_of(house.upload(TEXT, who=who, parent=parent))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "COLLECTION_NOT_FOUND")


async def test_members_may_not_upload(house: House):
    await house.collection()
    error = await error_of(house.upload(TEXT, who="employee"))
    assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")


async def test_a_repeated_request_returns_the_first_operation(house: House):
    await house.collection()
    first = await house.upload(TEXT, request_id="r1")
    again = await house.upload(TEXT, request_id="r1")
    other = await house.upload(TEXT, request_id="r2")
    assert again.name == first.name != other.name
    for operation in (first, other):
        await house.done(operation)
    assert len(await documents_in(house)) == 2


async def test_requests_repeated_at_once_make_one_document(house: House):
    await house.collection()
    operations = await asyncio.gather(*(house.upload(TEXT, request_id="r1") for _ in range(5)))
    assert len({operation.name for operation in operations}) == 1
    await house.done(operations[0])
    assert len(await documents_in(house)) == 1
    assert len(house.stored_files()) == 2


async def test_who_hangs_up_leaves_nothing(house: House):
    await house.collection()
    begun = asyncio.Event()

    async def stalled() -> AsyncIterator[Request]:
        yield Request(header=header())
        yield Request(chunk=b"# Leave")
        begun.set()
        await asyncio.sleep(60)

    call = house.as_("editor").UploadDocument(stalled())
    await begun.wait()
    await eventually(lambda: house.stored_rows("uploads"))
    call.cancel()
    await eventually(lambda: not house.stored_rows("uploads"))
    await assert_nothing_stored(house)


async def test_who_hangs_up_while_the_note_of_a_file_is_written_leaves_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    await house.collection()
    noted, note = asyncio.Event(), SqlDocuments.begin_upload

    async def held(self: SqlDocuments, revision_uid: str, folder: str) -> None:
        await note(self, revision_uid, folder)
        noted.set()
        await asyncio.sleep(60)

    monkeypatch.setattr(SqlDocuments, "begin_upload", held)

    async def requests() -> AsyncIterator[Request]:
        yield Request(header=header())
        yield Request(chunk=b"# Leave")

    call = house.as_("editor").UploadDocument(requests())
    await noted.wait()
    assert len(house.stored_rows("uploads")) == 1
    call.cancel()
    await eventually(lambda: not house.stored_rows("uploads"))
    await assert_nothing_stored(house)


async def test_trying_ids_tells_a_writer_nothing(house: House):
    await house.collection()
    await house.add(TEXT, document_id="pay", labels=["hr/pay"])
    for document_id in ("pay", "none"):
        error = await error_of(house.upload(TEXT, who="writer", document_id=document_id))
        name = f"collections/handbook/documents/{document_id}"
        assert error.code is grpc.StatusCode.PERMISSION_DENIED
        assert error.reason == "DOCUMENT_ID_RESERVED"
        assert error.message.startswith(f"You may not upload as {name!r}. Leave document_id empty")
        assert error.metadata == {"document": name}


async def test_a_writer_may_replace_what_they_may_read_whole(house: House):
    await house.collection()
    await house.add("# Guide\n\n## Leave\n\nTwenty days.", document_id="guide")
    assert (await house.add(TEXT, who="writer", document_id="guide")).version == 2


async def test_a_writer_may_not_replace_a_document_with_sections_that_they_may_not_read(
    house: House,
):
    await house.collection()
    await house.add(
        "# Guide\n\n## Leave\n\nTwenty days.\n\n## Severance\n\nA year.",
        document_id="guide",
        section_labels=[{"heading": "Severance", "labels": ["hr/pay"]}],
    )
    error = await error_of(house.upload(TEXT, who="writer", document_id="guide"))
    assert error.reason == "DOCUMENT_ID_RESERVED"
    assert "Severance" not in str(error)
