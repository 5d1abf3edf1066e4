"""``AdapterService`` over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2

from atrium.gateway.v1 import adapter_service_pb2, adapter_service_pb2_grpc
from atrium_gateway.app.adapter_fleet import AdapterFleet
from atrium_gateway.app.deploy_adapter import DeployAdapter
from atrium_gateway.app.manage_adapters import DeleteAdapter, ListAdapters, RollbackAdapter
from atrium_gateway.rpc import convert_adapters as convert
from atrium_shared.rpc.context import principal
from atrium_shared.rpc.operations_servicer import operation_to_proto

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True)
class AdapterServicer(adapter_service_pb2_grpc.AdapterServiceServicer):
    """Adapters of tenants."""

    deploy: DeployAdapter
    rollback: RollbackAdapter
    list_adapters: ListAdapters
    delete: DeleteAdapter
    fleet: AdapterFleet

    async def DeployAdapter(
        self,
        request_iterator: AsyncIterator[adapter_service_pb2.DeployAdapterRequest],
        context: Context,
    ) -> operations_pb2.Operation:
        parts = convert.parts_from_proto(request_iterator)
        return operation_to_proto(await self.deploy(principal(context), parts))

    async def RollbackAdapter(
        self, request: adapter_service_pb2.RollbackAdapterRequest, context: Context
    ) -> operations_pb2.Operation:
        operation = await self.rollback(principal(context), request.name, request.version)
        return operation_to_proto(operation)

    async def ListAdapters(
        self, request: adapter_service_pb2.ListAdaptersRequest, context: Context
    ) -> adapter_service_pb2.ListAdaptersResponse:
        page = await self.list_adapters(principal(context), request.page_size, request.page_token)
        return convert.page_to_proto(page, self.fleet.count)

    async def GetAdapter(
        self, request: adapter_service_pb2.GetAdapterRequest, context: Context
    ) -> adapter_service_pb2.Adapter:
        adapter = await self.list_adapters.get(principal(context), request.name)
        return convert.adapter_to_proto(adapter, self.fleet.count)

    async def DeleteAdapter(
        self, request: adapter_service_pb2.DeleteAdapterRequest, context: Context
    ) -> empty_pb2.Empty:
        await self.delete(principal(context), request.name)
        return empty_pb2.Empty()
