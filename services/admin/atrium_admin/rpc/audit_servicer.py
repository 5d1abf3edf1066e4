"""AuditService: each method parses, calls one use case and converts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import grpc

from atrium.admin.v1 import audit_service_pb2, audit_service_pb2_grpc
from atrium_admin.app.audit_checkpoints import ListAuditCheckpoints
from atrium_admin.app.erase_user import EraseUser
from atrium_admin.app.list_readers import ListReaders
from atrium_admin.app.replay_decision import ReplayDecision
from atrium_admin.app.replay_permission import ReplayPermission
from atrium_admin.app.search_audit_log import ExportAuditLog, SearchAuditEvents
from atrium_admin.rpc import convert_audit as convert
from atrium_shared.rpc.context import principal

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True)
class AuditUseCases:
    """What the servicer calls; named like the methods."""

    erase_user: EraseUser
    list_readers: ListReaders
    replay_permission: ReplayPermission
    replay_decision: ReplayDecision
    search_audit_events: SearchAuditEvents
    list_audit_checkpoints: ListAuditCheckpoints
    export_audit_log: ExportAuditLog


class AuditServicer(audit_service_pb2_grpc.AuditServiceServicer):
    """Serves ``atrium.admin.v1.AuditService``."""

    def __init__(self, use_cases: AuditUseCases) -> None:
        self._do = use_cases

    async def ListReaders(
        self, request: audit_service_pb2.ListReadersRequest, context: Context
    ) -> audit_service_pb2.ListReadersResponse:
        found = await self._do.list_readers(
            principal(context),
            convert.clauses(request),
            convert.read_time(request),
            convert.page(request),
        )
        return convert.readers_to_proto(found)

    async def ReplayPermission(
        self, request: audit_service_pb2.ReplayPermissionRequest, context: Context
    ) -> audit_service_pb2.ReplayPermissionResponse:
        found = await self._do.replay_permission(
            principal(context),
            request.user,
            request.resource,
            request.action,
            convert.read_time(request),
        )
        return convert.past_verdict_to_proto(found)

    async def ReplayDecision(
        self, request: audit_service_pb2.ReplayDecisionRequest, context: Context
    ) -> audit_service_pb2.ReplayDecisionResponse:
        found = await self._do.replay_decision(principal(context), request.sequence)
        return convert.replayed_to_proto(found)

    async def SearchAuditEvents(
        self, request: audit_service_pb2.SearchAuditEventsRequest, context: Context
    ) -> audit_service_pb2.SearchAuditEventsResponse:
        page = await self._do.search_audit_events(
            principal(context), convert.search_filter(request), convert.page(request)
        )
        return convert.events_to_proto(page)

    async def ListAuditCheckpoints(
        self, request: audit_service_pb2.ListAuditCheckpointsRequest, context: Context
    ) -> audit_service_pb2.ListAuditCheckpointsResponse:
        list_checkpoints = self._do.list_audit_checkpoints
        page = await list_checkpoints(principal(context), convert.page(request))
        return convert.checkpoints_to_proto(page, list_checkpoints.jwks)

    async def ExportAuditLog(
        self, request: audit_service_pb2.ExportAuditLogRequest, context: Context
    ) -> AsyncIterator[audit_service_pb2.ExportAuditLogResponse]:
        jwks = self._do.list_audit_checkpoints.jwks
        async with aclosing(self._do.export_audit_log(principal(context), request.after)) as parts:
            async for part in parts:
                yield convert.export_part_to_proto(part, jwks)

    async def EraseUser(
        self, request: audit_service_pb2.EraseUserRequest, context: Context
    ) -> audit_service_pb2.EraseUserResponse:
        erased = await self._do.erase_user(principal(context), request.name)
        return audit_service_pb2.EraseUserResponse(erased_name=erased)
