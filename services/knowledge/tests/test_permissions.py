"""A reply equals that of an index which holds only what the asker may read."""

import asyncio
import random
import time
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict

from atrium.knowledge.v1 import knowledge_service_pb2
from atrium_knowledge.app.refused_evenly import STEP_SECONDS, refused_evenly
from atrium_knowledge.domain.errors import DocumentNotFound
from atrium_knowledge.testing import PEOPLE, House, open_house
from atrium_shared.testing import error_of, make_principal

LABELS = ("", "", "hr/pay", "hr/leave", "finance", "board/minutes")
WORDS = (
    "leave pay budget office travel laptop review board salary holiday notice contract "
    "年假 薪酬 预算 差旅 审批 合同 会议 通知 加班 报销"
).split()
PAYROLL = make_principal(
    "knowledge.answers:ask",
    "knowledge.documents:read",
    "gateway.models:use",
    labels=["hr/*"],
    actor="users/payroll",
)


def random_documents(chance: random.Random) -> dict[str, tuple[str, str]]:
    """Text and label of documents, by id; each section has a few words of a small vocabulary."""
    documents = {}
    for number in range(24):
        parts = [f"# {chance.choice(WORDS)} {number}"]
        for section in range(4):
            parts.append(f"## {chance.choice(WORDS)} {section}")
            parts.append(" ".join(chance.choices(WORDS, k=chance.randrange(3, 30))))
        documents[f"d{number}"] = ("\n\n".join(parts), chance.choice(LABELS))
    return documents


async def fill(house: House, documents: dict[str, tuple[str, str]]) -> None:
    await house.collection()
    for document_id, (text, label) in documents.items():
        await house.add(text, document_id=document_id, labels=[label] if label else [], who="admin")


async def replies(house: House, who: str, queries: list[str]) -> list[object]:
    """Everything that a reader can be told, without the times."""
    told: list[object] = []
    for query in queries:
        told.append(MessageToDict(await house.search(query, who, most=100)))
    listed = await house.as_(who).ListDocuments(
        knowledge_service_pb2.ListDocumentsRequest(parent="collections/handbook")
    )
    for document in listed.documents:
        document.ClearField("create_time")
        document.ClearField("update_time")
        told.append(MessageToDict(document))
    return told


@pytest.mark.parametrize("seed", [1, 2])
async def test_replies_do_not_depend_on_forbidden_documents(tmp_path: Path, seed: int):
    chance = random.Random(seed)
    documents = random_documents(chance)
    queries = [" ".join(chance.choices(WORDS, k=chance.randrange(1, 5))) for _ in range(25)]
    may_read = PAYROLL.allow_set.may_read
    permitted = {
        one: (text, label)
        for one, (text, label) in documents.items()
        if may_read([label] if label else [])
    }
    assert 5 < len(permitted) < len(documents) - 5
    people = PEOPLE | {"payroll": PAYROLL}
    async with open_house(tmp_path / "all", people=people) as house:
        await fill(house, documents)
        with_forbidden = await replies(house, "payroll", queries)
    async with open_house(tmp_path / "permitted", people=people) as house:
        await fill(house, permitted)
        without_forbidden = await replies(house, "payroll", queries)
    assert with_forbidden == without_forbidden


async def test_results_do_not_depend_on_forbidden_sections(tmp_path: Path):
    chance = random.Random(3)
    open_parts = ["# Guide", "## Leave", "Holiday and notice of leave."]
    secret = ["## Pay", " ".join(chance.choices(WORDS, k=200))]
    labels = [{"heading": "Pay", "labels": ["hr/pay"]}]
    told = []
    for parts, section_labels in ((open_parts + secret, labels), (open_parts, [])):
        async with open_house(tmp_path / str(len(parts))) as house:
            await house.collection()
            await house.add("\n\n".join(parts), document_id="guide", section_labels=section_labels)
            await house.add("# Trips\n\nNotice before a holiday.", document_id="trips")
            listed = await house.as_("employee").ListDocuments(
                knowledge_service_pb2.ListDocumentsRequest(parent="collections/handbook")
            )
            told.append(
                [
                    [MessageToDict(await house.search(word, "employee")) for word in WORDS],
                    [(one.passage_count, len(one.section_labels)) for one in listed.documents],
                ]
            )
    assert told[0] == told[1]


async def test_a_hidden_document_reads_like_an_absent_one(house: House):
    await house.collection()
    await house.add("# Pay\n\nGrade 5 earns 30,000.", document_id="pay", labels=["hr/pay"])
    client = house.as_("employee")
    for document_id in ("pay", "none"):
        name = f"collections/handbook/documents/{document_id}"
        error = await error_of(
            client.GetDocument(knowledge_service_pb2.GetDocumentRequest(name=name))
        )
        assert (error.code.name, error.reason) == ("NOT_FOUND", "DOCUMENT_NOT_FOUND")
        assert error.message == f"Document {name!r} does not exist."
        assert error.metadata == {"document": name}


async def test_a_heading_inside_a_hidden_section_is_not_named(house: House):
    await house.collection()
    await house.add(
        "# Guide\n\nWelcome.\n\n## Layoffs\n\nIn May.\n\n### Severance\n\nA year.",
        document_id="guide",
        section_labels=[
            {"heading": "Layoffs", "labels": ["board/minutes"]},
            {"heading": "Severance", "labels": ["hr/pay"]},
        ],
    )
    request = knowledge_service_pb2.GetDocumentRequest(name="collections/handbook/documents/guide")
    shown = await house.as_("partner").GetDocument(request)
    assert (shown.passage_count, list(shown.section_labels)) == (1, [])


async def test_labels_that_a_reader_does_not_hold_are_not_shown(house: House):
    await house.collection()
    await house.add(
        "# Guide\n\n## Pay\n\nMonthly.",
        document_id="guide",
        labels=["hr/pay", "legal/merger"],
        section_labels=[{"heading": "Pay", "labels": ["hr/leave", "legal/layoffs"]}],
    )
    request = knowledge_service_pb2.GetDocumentRequest(name="collections/handbook/documents/guide")
    shown = await house.as_("partner").GetDocument(request)
    assert list(shown.labels) == ["hr/pay"]
    assert [list(one.labels) for one in shown.section_labels] == [["hr/leave"]]
    managed = await house.as_("admin").GetDocument(request)
    assert list(managed.labels) == ["hr/pay", "legal/merger"]


async def test_a_title_that_is_a_heading_goes_when_the_heading_is_labelled(house: House):
    await house.collection()
    document = await house.add(
        "# Layoffs in May\n\nAll of sales.\n\n# Trips\n\nBy train.", filename="news.md"
    )
    assert document.title == "Layoffs in May"
    await house.as_("editor").SetDocumentLabels(
        knowledge_service_pb2.SetDocumentLabelsRequest(
            name=document.name, section_labels=[{"heading": document.title, "labels": ["hr/pay"]}]
        )
    )
    found = await house.search("trips by train", "employee")
    assert [one.passage.document_title for one in found.results] == ["news"]


async def refuse_after(seconds: float) -> None:
    async with refused_evenly():
        await asyncio.sleep(seconds)
        raise DocumentNotFound("collections/handbook/documents/pay")


async def test_refusals_end_a_whole_number_of_steps_after_they_began():
    for seconds, steps in ((0.0, 1), (STEP_SECONDS * 1.2, 2)):
        began = time.monotonic()
        with pytest.raises(DocumentNotFound):
            await refuse_after(seconds)
        assert time.monotonic() - began >= steps * STEP_SECONDS - 0.001


async def test_the_time_of_a_refusal_does_not_tell_how_long_its_work_took():
    """On a busy machine most refusals end late, so each kind is tried until one ends on time."""

    async def refuse_at(time_: float) -> None:
        async with refused_evenly():
            while time.monotonic() < time_:
                pass
            raise DocumentNotFound("collections/handbook/documents/pay")

    async def earliest(work: float) -> float:
        give_up, taken = time.monotonic() + 20, float("inf")
        while taken >= STEP_SECONDS + 0.0001 and time.monotonic() < give_up:
            began = time.monotonic()
            with pytest.raises(DocumentNotFound):
                await refuse_at(began + work)
            taken = min(taken, time.monotonic() - began)
        return taken

    for work in (0.0011, 0.0014, 0.0017, 0.0019):
        assert STEP_SECONDS <= await earliest(work) < STEP_SECONDS + 0.0001
