"""The gRPC service of evaluations: requests in, use cases, replies out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from google.longrunning import operations_pb2
from google.protobuf import empty_pb2

from atrium.knowledge.v1 import evaluation_service_pb2, evaluation_service_pb2_grpc
from atrium_knowledge.app.export_bad_cases import ExportBadCases
from atrium_knowledge.app.list_bad_cases import ListBadCases
from atrium_knowledge.app.question_sets import QuestionSets
from atrium_knowledge.app.run_evaluation import RunEvaluation
from atrium_knowledge.rpc import convert, convert_evaluations
from atrium_knowledge.rpc.servicer import Context
from atrium_shared.rpc.context import principal
from atrium_shared.rpc.operations_servicer import operation_to_proto


class EvaluationServicer(evaluation_service_pb2_grpc.EvaluationServiceServicer):
    """Implements ``atrium.knowledge.v1.EvaluationService``."""

    def __init__(
        self,
        sets: QuestionSets,
        runs: RunEvaluation,
        bad_cases: ListBadCases,
        export_bad_cases: ExportBadCases,
    ) -> None:
        self._sets = sets
        self._runs = runs
        self._bad_cases = bad_cases
        self._export_bad_cases = export_bad_cases

    async def CreateQuestionSet(
        self,
        request: evaluation_service_pb2.CreateQuestionSetRequest,
        context: Context,
    ) -> evaluation_service_pb2.QuestionSet:
        wanted = request.question_set
        cases = convert_evaluations.cases_from_proto(wanted.cases)
        stored = await self._sets.create(
            principal(context), wanted.collection, wanted.display_name, cases
        )
        return convert_evaluations.set_to_proto(stored)

    async def ImportQuestionSet(
        self,
        request_iterator: AsyncIterator[evaluation_service_pb2.ImportQuestionSetRequest],
        context: Context,
    ) -> evaluation_service_pb2.QuestionSet:
        parts = convert_evaluations.import_parts(request_iterator)
        stored = await self._sets.import_(principal(context), parts)
        return convert_evaluations.set_to_proto(stored)

    async def GetQuestionSet(
        self,
        request: evaluation_service_pb2.GetQuestionSetRequest,
        context: Context,
    ) -> evaluation_service_pb2.QuestionSet:
        found = await self._sets.get(principal(context), request.name)
        return convert_evaluations.set_to_proto(found)

    async def ListQuestionSets(
        self,
        request: evaluation_service_pb2.ListQuestionSetsRequest,
        context: Context,
    ) -> evaluation_service_pb2.ListQuestionSetsResponse:
        page, next_token = await self._sets.list(
            principal(context), request.page_size, request.page_token
        )
        return evaluation_service_pb2.ListQuestionSetsResponse(
            question_sets=map(convert_evaluations.set_to_proto, page), next_page_token=next_token
        )

    async def DeleteQuestionSet(
        self,
        request: evaluation_service_pb2.DeleteQuestionSetRequest,
        context: Context,
    ) -> empty_pb2.Empty:
        await self._sets.delete(principal(context), request.name)
        return empty_pb2.Empty()

    async def RunEvaluation(
        self,
        request: evaluation_service_pb2.RunEvaluationRequest,
        context: Context,
    ) -> operations_pb2.Operation:
        operation = await self._runs.start(
            principal(context),
            request.question_set,
            request.baseline,
            convert.mode_from_proto(request.mode),
        )
        return operation_to_proto(operation)

    async def GetEvaluationRun(
        self,
        request: evaluation_service_pb2.GetEvaluationRunRequest,
        context: Context,
    ) -> evaluation_service_pb2.EvaluationRun:
        found = await self._runs.get(principal(context), request.name, request.baseline)
        return convert_evaluations.run_to_proto(*found)

    async def ListEvaluationRuns(
        self,
        request: evaluation_service_pb2.ListEvaluationRunsRequest,
        context: Context,
    ) -> evaluation_service_pb2.ListEvaluationRunsResponse:
        page, next_token = await self._runs.list(
            principal(context), request.page_size, request.page_token
        )
        return evaluation_service_pb2.ListEvaluationRunsResponse(
            runs=map(convert_evaluations.run_to_proto, page), next_page_token=next_token
        )

    async def ListBadCases(
        self,
        request: evaluation_service_pb2.ListBadCasesRequest,
        context: Context,
    ) -> evaluation_service_pb2.ListBadCasesResponse:
        page, next_token = await self._bad_cases(
            principal(context), request.parent, request.page_size, request.page_token
        )
        return evaluation_service_pb2.ListBadCasesResponse(
            bad_cases=map(convert_evaluations.bad_case_to_proto, page), next_page_token=next_token
        )

    async def ExportBadCases(
        self,
        request: evaluation_service_pb2.ExportBadCasesRequest,
        context: Context,
    ) -> AsyncIterator[evaluation_service_pb2.ExportBadCasesResponse]:
        parts = self._export_bad_cases(principal(context), request.parent, request.role)
        async with aclosing(parts):
            async for part in parts:
                yield convert_evaluations.export_part_to_proto(part)
