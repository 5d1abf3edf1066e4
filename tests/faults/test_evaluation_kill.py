"""kill -9 in the middle of an evaluation: it goes on, and each question has one result."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

from google.longrunning import operations_pb2

from atrium.knowledge.v1 import (
    evaluation_service_pb2,
    evaluation_service_pb2_grpc,
    knowledge_pb2,
    knowledge_service_pb2,
)
from tests.faults.test_ingestion_kill import Ledger, Service, all_done, metadata, running, upload

CASES = 8
ADMIN = metadata("admin")


async def parts() -> AsyncIterator[evaluation_service_pb2.ImportQuestionSetRequest]:
    yield evaluation_service_pb2.ImportQuestionSetRequest(
        header=evaluation_service_pb2.QuestionSet(collection="collections/handbook")
    )
    lines = [
        json.dumps({"question": f"What stands in section {number}?", "as_user": "users/employee"})
        for number in range(CASES)
    ]
    yield evaluation_service_pb2.ImportQuestionSetRequest(chunk="\n".join(lines).encode())


async def progress(service: Service, name: str, seconds: float) -> tuple[int, bool]:
    """Wait a while; return how many questions are done, and whether all is."""
    request = operations_pb2.WaitOperationRequest(name=name)
    request.timeout.FromMilliseconds(int(seconds * 1000))
    operation = await service.operations.WaitOperation(request, metadata=ADMIN)
    assert not operation.HasField("error"), operation.error
    said = evaluation_service_pb2.RunEvaluationMetadata()
    operation.metadata.Unpack(said)
    return said.cases_done, operation.done


async def test_an_evaluation_survives_a_kill(tmp_path: Path) -> None:
    kills = 0
    async with running(tmp_path) as service:
        await service.knowledge.CreateCollection(
            knowledge_service_pb2.CreateCollectionRequest(
                collection_id="handbook",
                collection=knowledge_pb2.Collection(display_name="Handbook"),
            ),
            metadata=ADMIN,
        )
        ledger = Ledger()
        await upload(service, ledger, "d-1")
        await all_done(service, ledger)
        stub = evaluation_service_pb2_grpc.EvaluationServiceStub(service.channel)
        stored = await stub.ImportQuestionSet(parts(), metadata=ADMIN)
        operation = await stub.RunEvaluation(
            evaluation_service_pb2.RunEvaluationRequest(question_set=stored.name), metadata=ADMIN
        )
        done, over = 0, False
        while not over:
            before = done
            while done <= before and not over:
                done, over = await progress(service, operation.name, 0.1)
            assert done >= before
            if not over and kills == 0 and done >= 2:
                await service.kill()
                await service.channel.close()
                await service.start()
                kills += 1
        stub = evaluation_service_pb2_grpc.EvaluationServiceStub(service.channel)
        said = evaluation_service_pb2.RunEvaluationMetadata()
        ended = await service.operations.GetOperation(
            operations_pb2.GetOperationRequest(name=operation.name), metadata=ADMIN
        )
        ended.metadata.Unpack(said)
        run = await stub.GetEvaluationRun(
            evaluation_service_pb2.GetEvaluationRunRequest(name=said.run), metadata=ADMIN
        )
    assert kills == 1
    assert run.state == evaluation_service_pb2.EvaluationRun.DONE
    assert [one.number for one in run.results] == list(range(1, CASES + 1))
    assert not any(one.error_reason for one in run.results)
