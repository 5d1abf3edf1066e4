"""``ModelGateway``, ``ModelCatalog`` and ``QuotaService`` over gRPC."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import empty_pb2

from atrium.gateway.v1 import (
    gateway_pb2,
    gateway_service_pb2,
    gateway_service_pb2_grpc,
    quota_service_pb2,
    quota_service_pb2_grpc,
)
from atrium_gateway.app.caller import Caller
from atrium_gateway.app.classify_texts import ClassifyTexts
from atrium_gateway.app.embed_texts import EmbedTexts
from atrium_gateway.app.generate_text import GenerateText
from atrium_gateway.app.list_models import ListModels
from atrium_gateway.app.list_usage import ListUsage
from atrium_gateway.app.manage_quotas import DeleteQuota, ListQuotas, UpdateQuota
from atrium_gateway.app.manage_routes import DeleteRoute, ListRoutes, UpdateRoute
from atrium_gateway.app.read_passages import ReadPassages
from atrium_gateway.app.record_outcome import RecordOutcome
from atrium_gateway.app.report_costs import ReportCosts
from atrium_gateway.app.rerank_texts import RerankTexts
from atrium_gateway.app.translate_texts import TranslateTexts
from atrium_gateway.rpc import convert
from atrium_shared.identity import is_internal_token
from atrium_shared.rpc.context import credential, principal

Context = grpc.aio.ServicerContext[Any, Any]


def _caller(context: Context, task: str) -> Caller:
    # Services hand on the internal token; only callers outside hold a key of their own.
    return Caller(principal(context), task, outside=not is_internal_token(credential()))


@dataclass(frozen=True)
class GatewayServicer(gateway_service_pb2_grpc.ModelGatewayServicer):
    """Model calls."""

    generate: GenerateText
    embed: EmbedTexts
    rerank: RerankTexts
    classify: ClassifyTexts
    read: ReadPassages
    translate: TranslateTexts
    record_outcome: RecordOutcome

    async def Generate(
        self, request: gateway_pb2.GenerateRequest, context: Context
    ) -> gateway_pb2.GenerateResponse:
        prompt = convert.prompt_from_proto(request)
        generated = await self.generate.whole(_caller(context, request.task), prompt)
        return convert.generated_to_proto(generated)

    async def StreamGenerate(
        self, request: gateway_pb2.GenerateRequest, context: Context
    ) -> AsyncGenerator[gateway_pb2.StreamGenerateResponse, None]:
        prompt = convert.prompt_from_proto(request)
        stream = self.generate.stream(_caller(context, request.task), prompt)
        async with aclosing(stream) as events:
            async for event in events:
                yield convert.event_to_proto(event)

    async def Embed(
        self, request: gateway_pb2.EmbedRequest, context: Context
    ) -> gateway_pb2.EmbedResponse:
        kind = convert.kind_from_proto(request.kind)
        embedded = await self.embed(_caller(context, request.task), request.texts, kind)
        return convert.embedded_to_proto(embedded)

    async def Rerank(
        self, request: gateway_pb2.RerankRequest, context: Context
    ) -> gateway_pb2.RerankResponse:
        caller = _caller(context, request.task)
        reranked = await self.rerank(caller, request.query, request.texts, request.top_n)
        return convert.reranked_to_proto(reranked)

    async def Classify(
        self, request: gateway_pb2.ClassifyRequest, context: Context
    ) -> gateway_pb2.ClassifyResponse:
        labels = convert.labels_from_proto(request)
        caller = _caller(context, request.task)
        return convert.classified_to_proto(await self.classify(caller, request.texts, labels))

    async def Read(
        self, request: gateway_pb2.ReadRequest, context: Context
    ) -> gateway_pb2.ReadResponse:
        passages = convert.passages_from_proto(request)
        relation = convert.relation_from_proto(request.relation)
        caller = _caller(context, request.task)
        read = await self.read(caller, request.question, passages, relation)
        return convert.passages_read_to_proto(read)

    async def Translate(
        self, request: gateway_pb2.TranslateRequest, context: Context
    ) -> gateway_pb2.TranslateResponse:
        job = convert.job_from_proto(request)
        return convert.translated_to_proto(
            await self.translate(_caller(context, request.task), job)
        )

    async def RecordOutcome(
        self, request: gateway_service_pb2.RecordOutcomeRequest, context: Context
    ) -> empty_pb2.Empty:
        outcome = convert.outcome_from_proto(request.outcome)
        await self.record_outcome(principal(context), request.generation, outcome)
        return empty_pb2.Empty()


@dataclass(frozen=True)
class CatalogServicer(gateway_service_pb2_grpc.ModelCatalogServicer):
    """Models, routes and usage."""

    list_models: ListModels
    list_routes: ListRoutes
    update_route: UpdateRoute
    delete_route: DeleteRoute
    list_usage: ListUsage
    report_costs: ReportCosts

    async def ListModels(
        self, request: gateway_service_pb2.ListModelsRequest, context: Context
    ) -> gateway_service_pb2.ListModelsResponse:
        page = await self.list_models(principal(context), request.page_size, request.page_token)
        return convert.models_to_proto(page)

    async def GetModel(
        self, request: gateway_service_pb2.GetModelRequest, context: Context
    ) -> gateway_pb2.Model:
        return convert.model_to_proto(await self.list_models.get(principal(context), request.name))

    async def ListRoutes(
        self, request: gateway_service_pb2.ListRoutesRequest, context: Context
    ) -> gateway_service_pb2.ListRoutesResponse:
        page = await self.list_routes(principal(context), request.page_size, request.page_token)
        return convert.routes_to_proto(page)

    async def UpdateRoute(
        self, request: gateway_service_pb2.UpdateRouteRequest, context: Context
    ) -> gateway_pb2.Route:
        route = convert.route_from_proto(request.route)
        return convert.route_to_proto(await self.update_route(principal(context), route))

    async def DeleteRoute(
        self, request: gateway_service_pb2.DeleteRouteRequest, context: Context
    ) -> empty_pb2.Empty:
        await self.delete_route(principal(context), request.name)
        return empty_pb2.Empty()

    async def ListUsage(
        self, request: gateway_service_pb2.ListUsageRequest, context: Context
    ) -> gateway_service_pb2.ListUsageResponse:
        page = await self.list_usage(
            principal(context),
            convert.time_from_proto(request, "start_time"),
            convert.time_from_proto(request, "end_time"),
            request.page_size,
            request.page_token,
        )
        return convert.usage_records_to_proto(page)

    async def ReportCosts(
        self, request: gateway_service_pb2.ReportCostsRequest, context: Context
    ) -> gateway_service_pb2.ReportCostsResponse:
        report = await self.report_costs(
            principal(context),
            convert.time_from_proto(request, "start_time"),
            convert.time_from_proto(request, "end_time"),
        )
        return convert.cost_report_to_proto(report)


@dataclass(frozen=True)
class QuotaServicer(quota_service_pb2_grpc.QuotaServiceServicer):
    """Quotas."""

    list_quotas: ListQuotas
    update_quota: UpdateQuota
    delete_quota: DeleteQuota

    async def ListQuotas(
        self, request: quota_service_pb2.ListQuotasRequest, context: Context
    ) -> quota_service_pb2.ListQuotasResponse:
        page = await self.list_quotas(principal(context), request.page_size, request.page_token)
        return convert.quotas_to_proto(page)

    async def UpdateQuota(
        self, request: quota_service_pb2.UpdateQuotaRequest, context: Context
    ) -> quota_service_pb2.Quota:
        quota = convert.quota_from_proto(request.quota)
        return convert.quota_to_proto(await self.update_quota(principal(context), quota))

    async def DeleteQuota(
        self, request: quota_service_pb2.DeleteQuotaRequest, context: Context
    ) -> empty_pb2.Empty:
        await self.delete_quota(principal(context), request.name)
        return empty_pb2.Empty()
