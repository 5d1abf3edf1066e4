"""DirectoryService: each method parses, calls one use case and converts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from atrium.admin.v1 import directory_service_pb2 as pb
from atrium.admin.v1 import directory_service_pb2_grpc
from atrium_admin.app.change_identity_providers import (
    CreateIdentityProvider,
    DeleteIdentityProvider,
    UpdateIdentityProvider,
)
from atrium_admin.app.pages import PageRequest
from atrium_admin.app.read_identity_providers import GetIdentityProvider, ListIdentityProviders
from atrium_admin.rpc import convert_directory as convert
from atrium_shared.rpc.context import principal

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True)
class DirectoryUseCases:
    """What the servicer calls; named like the methods."""

    create_identity_provider: CreateIdentityProvider
    get_identity_provider: GetIdentityProvider
    list_identity_providers: ListIdentityProviders
    update_identity_provider: UpdateIdentityProvider
    delete_identity_provider: DeleteIdentityProvider


class DirectoryServicer(directory_service_pb2_grpc.DirectoryServiceServicer):
    """Serves ``atrium.admin.v1.DirectoryService``."""

    def __init__(self, use_cases: DirectoryUseCases) -> None:
        self._do = use_cases

    async def CreateIdentityProvider(
        self, request: pb.CreateIdentityProviderRequest, context: Context
    ) -> pb.IdentityProvider:
        draft = convert.identity_provider_draft(request.identity_provider)
        provider = await self._do.create_identity_provider(
            principal(context), request.identity_provider_id, draft
        )
        return convert.identity_provider_to_proto(provider)

    async def GetIdentityProvider(
        self, request: pb.GetIdentityProviderRequest, context: Context
    ) -> pb.IdentityProvider:
        provider = await self._do.get_identity_provider(principal(context), request.name)
        return convert.identity_provider_to_proto(provider)

    async def ListIdentityProviders(
        self, request: pb.ListIdentityProvidersRequest, context: Context
    ) -> pb.ListIdentityProvidersResponse:
        page = await self._do.list_identity_providers(
            principal(context), PageRequest(request.page_size, request.page_token)
        )
        return pb.ListIdentityProvidersResponse(
            identity_providers=map(convert.identity_provider_to_proto, page.items),
            next_page_token=page.next_page_token,
        )

    async def UpdateIdentityProvider(
        self, request: pb.UpdateIdentityProviderRequest, context: Context
    ) -> pb.IdentityProvider:
        draft = convert.identity_provider_draft(request.identity_provider)
        provider = await self._do.update_identity_provider(
            principal(context), request.identity_provider.name, draft, request.update_mask.paths
        )
        return convert.identity_provider_to_proto(provider)

    async def DeleteIdentityProvider(
        self, request: pb.DeleteIdentityProviderRequest, context: Context
    ) -> Empty:
        await self._do.delete_identity_provider(principal(context), request.name)
        return Empty()
