import grpc
import pytest

from atrium.knowledge.v1 import knowledge_pb2, knowledge_service_pb2
from atrium_knowledge.testing import House
from atrium_shared.testing import error_of

TEXT = "# Guide\n\nIntro words.\n\n## Leave\n\n25 days of leave.\n\n## Pay\n\nGrade 5 earns 30,000."
NAME = "collections/handbook/documents/guide"


async def set_labels(
    house: House,
    *labels: str,
    sections: dict[str, list[str]] | None = None,
    name: str = NAME,
    who: str = "editor",
) -> knowledge_pb2.Document:
    return await house.as_(who).SetDocumentLabels(
        knowledge_service_pb2.SetDocumentLabelsRequest(
            name=name,
            labels=labels,
            section_labels=[
                knowledge_pb2.SectionLabels(heading=heading, labels=needed)
                for heading, needed in (sections or {}).items()
            ],
        )
    )


async def readers(house: House, words: str) -> list[str]:
    """Who finds the passage with these words."""
    return [
        who
        for who in ("employee", "partner", "admin")
        if any(words in text for text in await house.find(words, who))
    ]


@pytest.fixture
async def guide(house: House) -> House:
    await house.collection()
    await house.add(TEXT, document_id="guide")
    return house


async def test_labels_are_in_force_when_the_call_returns(guide: House):
    assert await readers(guide, "Grade 5") == ["employee", "partner", "admin"]
    labelled = await set_labels(guide, "hr/pay")
    assert list(labelled.labels) == ["hr/pay"]
    assert await readers(guide, "Grade 5") == ["partner", "admin"]
    await set_labels(guide)
    assert await readers(guide, "Grade 5") == ["employee", "partner", "admin"]


async def test_a_labelled_section_is_hidden_and_the_rest_is_not(guide: House):
    await set_labels(guide, sections={"Pay": ["hr/pay"]})
    assert await readers(guide, "Grade 5") == ["partner", "admin"]
    assert await readers(guide, "25 days") == ["employee", "partner", "admin"]


async def test_a_section_needs_one_of_its_labels_and_one_of_the_documents(guide: House):
    await set_labels(guide, "finance", sections={"Pay": ["hr/pay"]})
    assert await readers(guide, "Grade 5") == ["admin"]
    await set_labels(guide, "finance", "hr/leave", sections={"Pay": ["hr/pay"]})
    assert await readers(guide, "Grade 5") == ["partner", "admin"]


async def test_an_outer_section_covers_the_sections_inside(guide: House):
    await set_labels(guide, sections={"Guide": ["hr/pay"]})
    for words in ("Intro words", "25 days", "Grade 5"):
        assert await readers(guide, words) == ["partner", "admin"]


async def test_labels_that_nobody_holds_hide_from_all_but_who_may_read_any(guide: House):
    await set_labels(guide, "no/such/label")
    assert await readers(guide, "Grade 5") == ["admin"]


async def test_a_heading_that_is_not_there_is_refused_and_nothing_changes(guide: House):
    error = await error_of(set_labels(guide, "hr/pay", sections={"pay": ["hr/pay"]}))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "SECTION_NOT_FOUND")
    assert error.metadata == {"heading": "pay", "document": NAME}
    assert await readers(guide, "Grade 5") == ["employee", "partner", "admin"]


async def test_an_unknown_document_is_not_found(guide: House):
    error = await error_of(set_labels(guide, name="collections/handbook/documents/none"))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "DOCUMENT_NOT_FOUND")
    error = await error_of(set_labels(guide, who="stranger"))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "DOCUMENT_NOT_FOUND")


async def test_a_malformed_label_is_refused(guide: House):
    error = await error_of(set_labels(guide, "no spaces allowed"))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")


async def test_labels_set_while_a_version_is_on_its_way_hold_for_it_too(guide: House):
    guide.parser.gate.clear()
    operation = await guide.upload(TEXT.replace("30,000", "40,000"), document_id="guide")
    await set_labels(guide, "hr/pay")
    guide.parser.gate.set()
    await guide.done(operation)
    assert await readers(guide, "40,000") == ["partner", "admin"]


async def test_a_version_that_lacks_a_heading_labelled_meanwhile_fails(guide: House):
    guide.parser.gate.clear()
    operation = await guide.upload("# Guide\n\nNo pay section here.", document_id="guide")
    await set_labels(guide, sections={"Pay": ["hr/pay"]})
    guide.parser.gate.set()
    done = await guide.done(operation)
    assert "SECTION_NOT_FOUND" in str(done.error)
    assert await readers(guide, "25 days") == ["employee", "partner", "admin"]


async def test_readers_are_shown_what_they_may_read_of_a_document(guide: House):
    await set_labels(guide, sections={"Pay": ["hr/pay"]})
    request = knowledge_service_pb2.GetDocumentRequest(name=NAME)
    shown = {who: await guide.as_(who).GetDocument(request) for who in ("employee", "partner")}
    assert shown["employee"].passage_count == 2
    assert not shown["employee"].section_labels
    assert shown["employee"].size_bytes == 0
    assert shown["partner"].passage_count == 3
    assert shown["partner"].section_labels[0].heading == "Pay"
    assert shown["partner"].size_bytes == len(TEXT)


async def test_managers_see_that_a_document_exists_and_not_what_it_says(guide: House):
    await set_labels(guide, "hr/pay")
    document = await guide.as_("editor").GetDocument(
        knowledge_service_pb2.GetDocumentRequest(name=NAME)
    )
    assert (document.passage_count, list(document.labels)) == (3, ["hr/pay"])
    assert await guide.find("Grade 5", "editor") == []
