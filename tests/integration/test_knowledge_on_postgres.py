"""Knowledge keeps its records in PostgreSQL as it does in SQLite."""

import asyncio
from contextlib import suppress
from pathlib import Path

import grpc

from atrium.knowledge.v1 import (
    evaluation_service_pb2,
    evaluation_service_pb2_grpc,
    knowledge_service_pb2,
)
from atrium_knowledge.testing import open_house
from atrium_shared.testing import error_of

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


async def test_bad_cases_are_kept_listed_and_exported(postgres_url: str, tmp_path: Path):
    url = f"postgresql+asyncpg://{postgres_url}"
    parent, question = "collections/cases", "How many days of leave?"
    async with open_house(tmp_path, database_url=url) as house:
        await house.collection("cases", keep_questions=True)
        await house.add(TEXT.format(25), parent=parent, document_id="d")
        stub = evaluation_service_pb2_grpc.EvaluationServiceStub(house.server.open_channel("admin"))
        wanted = evaluation_service_pb2.QuestionSet(
            collection=parent,
            cases=[
                evaluation_service_pb2.EvaluationCase(question=question, as_user=f"users/{who}")
                for who in ("employee", "partner")
            ],
        )
        made = await stub.CreateQuestionSet(
            evaluation_service_pb2.CreateQuestionSetRequest(question_set=wanted)
        )
        events = house.as_("employee").Ask(
            knowledge_service_pb2.AskRequest(parent=parent, question="Who waters Mars?")
        )
        (answer,) = [event.answer.name async for event in events if event.HasField("answer")]
        await house.as_("employee").GiveFeedback(
            knowledge_service_pb2.GiveFeedbackRequest(
                feedback=knowledge_service_pb2.Feedback(
                    answer=answer, rating=knowledge_service_pb2.Feedback.NOT_HELPFUL
                )
            )
        )
        for _ in range(2):
            request = evaluation_service_pb2.RunEvaluationRequest(question_set=made.name)
            done = await house.done(await stub.RunEvaluation(request), "admin")
            assert not done.HasField("error"), done.error
            with suppress(grpc.aio.AioRpcError):
                await house.as_("admin").DeleteDocument(
                    knowledge_service_pb2.DeleteDocumentRequest(name=f"{parent}/documents/d")
                )
        numbers, token = [], ""
        while not numbers or token:
            page = await stub.ListBadCases(
                evaluation_service_pb2.ListBadCasesRequest(
                    parent=parent, page_size=1, page_token=token
                )
            )
            numbers += [one.regression.number for one in page.bad_cases]
            token = page.next_page_token
        assert numbers == [0, 1, 2]
        parts = stub.ExportBadCases(evaluation_service_pb2.ExportBadCasesRequest(parent=parent))
        assert [one.summary.exported async for one in parts if one.HasField("summary")] == [3]
        collection = await house.as_("admin").GetCollection(
            knowledge_service_pb2.GetCollectionRequest(name=parent)
        )
        collection.keep_questions = False
        await house.as_("admin").UpdateCollection(
            knowledge_service_pb2.UpdateCollectionRequest(collection=collection)
        )
        parts = stub.ExportBadCases(evaluation_service_pb2.ExportBadCasesRequest(parent=parent))
        assert [one.summary.without_words async for one in parts if one.HasField("summary")] == [1]
        await house.as_("admin").DeleteCollection(
            knowledge_service_pb2.DeleteCollectionRequest(name=parent)
        )
