"""Knowledge keeps its records in PostgreSQL as it does in SQLite."""

import asyncio
from pathlib import Path

from atrium.knowledge.v1 import knowledge_service_pb2
from atrium_knowledge.testing import error_of, open_house

TEXT = "# Leave\n\n{} days.\n\n## Pay\n\nGrade 5."
NAME = "collections/handbook/documents/d"


async def test_documents_live_and_die_in_postgres(postgres_url: str, tmp_path: Path):
    url = f"postgresql+asyncpg://{postgres_url}"
    async with open_house(tmp_path, database_url=url) as house:
        await house.collection()
        pay = [{"heading": "Pay", "labels": ["hr/pay"]}]
        await house.add(TEXT.format(25), document_id="d", section_labels=pay)
        await house.add(TEXT.format(30), document_id="d")
        assert await house.find("days") == ["30 days."]
        assert len(await house.find("days", "partner")) == 2
        await house.as_("editor").SetDocumentLabels(
            knowledge_service_pb2.SetDocumentLabelsRequest(name=NAME, labels=["hr/pay"])
        )
        assert await house.find("days") == []
        await house.as_("editor").DeleteDocument(
            knowledge_service_pb2.DeleteDocumentRequest(name=NAME)
        )
        assert await house.find("days", "admin") == []
        assert house.stored_files() == []
        await house.as_("admin").DeleteCollection(
            knowledge_service_pb2.DeleteCollectionRequest(name="collections/handbook")
        )
        assert (await error_of(house.search("days"))).reason == "COLLECTION_NOT_FOUND"


async def test_uploads_at_once_do_not_get_in_each_others_way(postgres_url: str, tmp_path: Path):
    url = f"postgresql+asyncpg://{postgres_url}"
    async with open_house(tmp_path, database_url=url) as house:
        parent = "collections/busy"
        await house.collection("busy")
        same = await asyncio.gather(
            *(house.upload(TEXT.format(1), parent=parent, request_id="same") for _ in range(6))
        )
        assert len({operation.name for operation in same}) == 1
        versions = await asyncio.gather(
            *(
                house.upload(TEXT.format(n), parent=parent, document_id="d", labels=[f"l{n}"])
                for n in range(6)
            )
        )
        for operation in versions:
            assert not (await house.done(operation)).HasField("error")
        listed = await house.as_("admin").ListDocuments(
            knowledge_service_pb2.ListDocumentsRequest(parent=parent)
        )
        newest = next(one for one in listed.documents if one.name.endswith("/d"))
        assert newest.version == 6
        await house.as_("admin").DeleteCollection(
            knowledge_service_pb2.DeleteCollectionRequest(name=parent)
        )
