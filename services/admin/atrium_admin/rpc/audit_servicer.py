"""AuditService: each method parses, calls one use case and converts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc

from atrium.admin.v1 import audit_service_pb2, audit_service_pb2_grpc
from atrium_admin.app.erase_user import EraseUser
from atrium_admin.app.list_readers import ListReaders
from atrium_admin.app.replay_permission import ReplayPermission
from atrium_admin.rpc import convert_audit as convert
from atrium_shared.rpc.context import principal

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True)
class AuditUseCases:
    """What the servicer calls; named like the methods."""

    erase_user: EraseUser
    list_readers: ListReaders
    replay_permission: ReplayPermission


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

    async def EraseUser(
        self, request: audit_service_pb2.EraseUserRequest, context: Context
    ) -> audit_service_pb2.EraseUserResponse:
        erased = await self._do.erase_user(principal(context), request.name)
        return audit_service_pb2.EraseUserResponse(erased_name=erased)
