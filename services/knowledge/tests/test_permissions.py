"""A reply equals that of an index which holds only what the asker may read."""

import random
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict

from atrium.knowledge.v1 import knowledge_service_pb2
from atrium_knowledge.testing import PEOPLE, House, error_of, open_house
from atrium_shared.testing import make_principal

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
