"""What was acknowledged is there after a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

from atrium.admin.v1 import admin_service_pb2
from atrium.knowledge.v1 import knowledge_pb2, knowledge_service_pb2

from .running_suite import RunningSuite

PARENT = "collections/notes"
QUESTION = "How long is the warranty of the kettle?"


async def test_a_restart_keeps_keys_documents_answers_and_the_audit_log(tmp_path: Path) -> None:
    first = await asyncio.to_thread(RunningSuite, tmp_path)
    try:
        assert first.suite.is_new
        key = await asyncio.to_thread(first.bootstrap)
        async with first.client(key) as client:
            await client.knowledge.CreateCollection(
                knowledge_service_pb2.CreateCollectionRequest(
                    collection_id="notes", collection=knowledge_pb2.Collection(display_name="Notes")
                )
            )
            operation = await client.upload_document(
                PARENT, b"# Kettle\n\nThe kettle has a warranty of seven years.\n",
                filename="kettle.md", document_id="kettle",
            )  # fmt: skip
            document = await client.wait_for_document(operation)
            before = await client.answer(PARENT, QUESTION)
    finally:
        await asyncio.to_thread(first.stop)

    second = await asyncio.to_thread(RunningSuite, tmp_path)
    try:
        assert not second.suite.is_new
        async with second.client(key) as client:
            kept = await client.knowledge.GetDocument(
                knowledge_service_pb2.GetDocumentRequest(name=document.name)
            )
            after = await client.answer(PARENT, QUESTION)
            verified = await client.admin.VerifyAuditLog(admin_service_pb2.VerifyAuditLogRequest())
    finally:
        await asyncio.to_thread(second.stop)
    assert kept == document
    assert before.decision == knowledge_pb2.Answer.ANSWERED
    assert "seven years" in before.text
    assert after.text == before.text
    assert [each.quote for each in after.citations] == [each.quote for each in before.citations]
    assert verified.intact
    assert verified.events >= 4
