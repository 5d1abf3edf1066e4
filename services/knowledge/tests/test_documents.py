import grpc
import pytest

from atrium.knowledge.v1 import knowledge_service_pb2
from atrium_knowledge.testing import House
from atrium_shared.testing import error_of

PARENT = "collections/handbook"
NAME = f"{PARENT}/documents/guide"
TEXT = "# Guide\n\nIntro words.\n\n## Leave\n\n25 days of leave.\n\n## Pay\n\nGrade 5 earns 30,000."


async def list_all(house: House, who: str, page_size: int) -> list[str]:
    names, token = [], ""
    while True:
        page = await house.as_(who).ListDocuments(
            knowledge_service_pb2.ListDocumentsRequest(
                parent=PARENT, page_size=page_size, page_token=token
            )
        )
        names += [one.name.rpartition("/")[2] for one in page.documents]
        token = page.next_page_token
        if not token:
            return names
        assert len(page.documents) == page_size


async def read(
    house: House, who: str = "employee", **fields: object
) -> knowledge_service_pb2.ReadPassagesResponse:
    return await house.as_(who).ReadPassages(knowledge_service_pb2.ReadPassagesRequest(**fields))


async def test_pages_are_full_and_leave_out_what_may_not_be_known(house: House):
    await house.collection()
    for number in range(9):
        labels = ["hr/pay"] if number % 3 else []
        await house.add(TEXT, document_id=f"d{number}", labels=labels)
    for page_size in (1, 2, 3, 100):
        assert await list_all(house, "employee", page_size) == ["d0", "d3", "d6"]
        everything = [f"d{number}" for number in range(9)]
        assert await list_all(house, "editor", page_size) == everything


async def test_a_page_token_serves_its_own_collection_only(house: House):
    await house.collection()
    await house.collection("other")
    for number in range(3):
        await house.add(TEXT, document_id=f"d{number}")
    page = await house.as_("editor").ListDocuments(
        knowledge_service_pb2.ListDocumentsRequest(parent=PARENT, page_size=1)
    )
    error = await error_of(
        house.as_("editor").ListDocuments(
            knowledge_service_pb2.ListDocumentsRequest(
                parent="collections/other", page_token=page.next_page_token
            )
        )
    )
    assert error.reason == "PAGE_TOKEN_INVALID"


async def test_a_deleted_document_is_gone_from_everywhere(house: House):
    await house.collection()
    await house.add(TEXT, document_id="guide")
    await house.add(TEXT, document_id="guide")
    await house.as_("editor").DeleteDocument(knowledge_service_pb2.DeleteDocumentRequest(name=NAME))
    assert await house.find("leave", "admin") == []
    assert await list_all(house, "admin", 10) == []
    assert house.stored_files() == []
    for table in ("documents", "revisions", "passages", "purges"):
        assert house.stored_rows(table) == []
    uid = house.stored_rows("collections")[0][0]
    assert await house.index.revisions(uid) == {}


async def test_a_document_can_be_deleted_while_it_is_taken_in(house: House):
    await house.collection()
    house.parser.gate.clear()
    operation = await house.upload(TEXT, document_id="guide")
    await house.as_("editor").DeleteDocument(knowledge_service_pb2.DeleteDocumentRequest(name=NAME))
    house.parser.gate.set()
    done = await house.done(operation)
    assert "DOCUMENT_NOT_FOUND" in str(done.error)
    assert await house.find("leave", "admin") == []
    assert house.stored_files() == []


@pytest.mark.parametrize(
    ("who", "name"),
    [
        ("editor", f"{PARENT}/documents/none"),
        ("editor", f"{PARENT}/documents/Not A Name"),
        ("editor", "collections/none/documents/guide"),
        ("stranger", NAME),
    ],
)
async def test_a_document_that_is_not_ones_own_reads_as_absent(house: House, who: str, name: str):
    await house.collection()
    await house.add(TEXT, document_id="guide")
    client = house.as_(who)
    for call in (
        client.GetDocument(knowledge_service_pb2.GetDocumentRequest(name=name)),
        client.DeleteDocument(knowledge_service_pb2.DeleteDocumentRequest(name=name)),
        client.SetDocumentLabels(knowledge_service_pb2.SetDocumentLabelsRequest(name=name)),
    ):
        error = await error_of(call)
        assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "DOCUMENT_NOT_FOUND")
        assert error.metadata == {"document": name}


async def test_passages_are_read_by_name_in_the_order_of_the_names(house: House):
    await house.collection()
    await house.add(TEXT, document_id="guide")
    found = await read(house, names=[f"{NAME}/passages/3", f"{NAME}/passages/1"])
    assert [one.text for one in found.passages] == ["Grade 5 earns 30,000.", "Intro words."]


async def test_passages_are_read_from_an_offset_on(house: House):
    await house.collection()
    await house.add(TEXT, document_id="guide")
    everything = (await read(house, document=NAME)).passages
    assert [one.text for one in everything] == [
        "Intro words.",
        "25 days of leave.",
        "Grade 5 earns 30,000.",
    ]
    inside_second = everything[1].start + 1
    found = await read(house, document=NAME, start=inside_second, page_size=1)
    assert [one.text for one in found.passages] == ["25 days of leave."]


async def test_forbidden_passages_are_left_out_and_read_as_absent_by_name(house: House):
    await house.collection()
    labels = [{"heading": "Pay", "labels": ["hr/pay"]}]
    await house.add(TEXT, document_id="guide", section_labels=labels)
    found = await read(house, document=NAME, page_size=100)
    assert [one.text for one in found.passages] == ["Intro words.", "25 days of leave."]
    for name in (f"{NAME}/passages/3", f"{NAME}/passages/77", "collections/x/documents/y"):
        error = await error_of(read(house, names=[f"{NAME}/passages/1", name]))
        assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "PASSAGE_NOT_FOUND")
        assert error.message == f"Passage {name!r} does not exist."
    found = await read(house, "partner", names=[f"{NAME}/passages/3"])
    assert [one.text for one in found.passages] == ["Grade 5 earns 30,000."]


async def test_a_request_for_no_passages_is_refused(house: House):
    error = await error_of(read(house))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "PASSAGES_NOT_NAMED")


async def test_passages_of_a_hidden_document_are_not_found(house: House):
    await house.collection()
    await house.add(TEXT, document_id="guide", labels=["hr/pay"])
    error = await error_of(read(house, document=NAME))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "DOCUMENT_NOT_FOUND")


@pytest.mark.parametrize("characters", ["q", "问"])
async def test_a_long_query_is_refused_before_anything_is_done(house: House, characters: str):
    error = await error_of(house.search(characters * 4001, parent="collections/none"))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "QUESTION_TOO_LONG")
    assert error.metadata == {"length": "4001", "limit": "4000"}
    assert house.embedder.texts == []
    assert (await error_of(house.search("q" * 100_000))).reason == "QUESTION_TOO_LONG"


async def test_a_query_of_the_longest_length_is_answered(house: House):
    await house.collection()
    assert await house.find("q" * 4000) == []


async def test_a_query_without_words_finds_nothing_by_keyword(house: House):
    await house.collection()
    await house.add(TEXT)
    found = await house.search("?!")
    assert all(result.keyword_rank == 0 for result in found.results)


async def test_an_unknown_collection_is_not_found(house: House):
    error = await error_of(house.search("leave", parent="collections/none"))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "COLLECTION_NOT_FOUND")
