"""Counts that know of nothing but what the caller may read."""

from __future__ import annotations

from pathlib import Path

import grpc

from atrium.knowledge.v1 import (
    knowledge_pb2,
    knowledge_service_pb2,
    statistics_pb2,
)
from atrium_knowledge.testing import House, open_house
from atrium_shared.testing import error_of

OPEN = {
    "leave": "# Leave\n\nEveryone has 25 days.",
    "假期": "# 假期\n\n每位员工每年有二十五天年假。",
}
MIXED = "# Guide\n\nThe gym is on floor 2.\n\n## 薪酬\n\n薪酬范围只有人力资源部门可以查阅。"
SECTION = knowledge_pb2.SectionLabels(heading="薪酬", labels=["hr/pay"])


async def counted(
    house: House, who: str, name: str = "collections/handbook"
) -> statistics_pb2.CollectionStatistics:
    return await house.as_(who).GetCollectionStatistics(
        statistics_pb2.GetCollectionStatisticsRequest(name=name)
    )


async def fill(house: House, *, whole: bool) -> None:
    await house.collection()
    for number, text in enumerate(OPEN):
        await house.add(text, document_id=f"d{number}")
    if whole:
        await house.add(MIXED, document_id="guide", section_labels=[SECTION])
        await house.add("# Pay\n\nP5 earns 5,100.", document_id="pay", labels=["hr/pay"])
    else:
        await house.add(MIXED.split("## ")[0], document_id="guide")


async def test_counts_equal_those_of_an_index_without_what_is_forbidden(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    async with open_house(tmp_path / "a") as house:
        await fill(house, whole=True)
        seen = [await counted(house, who) for who in ("employee", "editor")]
        partner = await counted(house, "partner")
        listed = await house.as_("employee").ListDocuments(
            knowledge_service_pb2.ListDocumentsRequest(parent="collections/handbook")
        )
    async with open_house(tmp_path / "b") as house:
        await fill(house, whole=False)
        expected = await counted(house, "employee")
        expected_list = await house.as_("employee").ListDocuments(
            knowledge_service_pb2.ListDocumentsRequest(parent="collections/handbook")
        )
    assert seen == [expected] * 2
    assert (expected.documents, expected.passages) == (3, 3)
    assert {one.language: one.passages for one in expected.languages} == {"en": 2, "zh": 1}
    assert (partner.documents, partner.passages) == (4, 5)
    shown = [(one.name, one.passage_count) for one in listed.documents]
    assert shown == [(one.name, one.passage_count) for one in expected_list.documents]


async def test_the_language_of_hidden_sections_is_not_told(house: House):
    await house.collection()
    hidden = "薪酬范围只有人力资源部门可以查阅。" * 20
    await house.add(
        f"# Guide\n\nThe gym.\n\n## 薪酬\n\n{hidden}", document_id="guide", section_labels=[SECTION]
    )
    request = knowledge_service_pb2.GetDocumentRequest(name="collections/handbook/documents/guide")
    assert (await house.as_("employee").GetDocument(request)).language == "und"
    assert (await house.as_("partner").GetDocument(request)).language == "zh"


async def test_an_empty_collection_counts_nothing(house: House):
    await house.collection()
    found = await counted(house, "employee")
    assert (found.documents, found.passages, list(found.languages)) == (0, 0, [])


async def test_another_tenants_collection_is_absent(house: House):
    await house.collection()
    error = await error_of(counted(house, "stranger"))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "COLLECTION_NOT_FOUND")
