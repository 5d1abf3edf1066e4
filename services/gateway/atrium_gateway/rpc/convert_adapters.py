"""Adapters: proto to domain and back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from atrium.gateway.v1 import adapter_service_pb2
from atrium_gateway.app.adapter_ports import ReplicaCount
from atrium_gateway.app.deploy_adapter import AdapterChunk, AdapterHeader
from atrium_gateway.app.page import Page
from atrium_gateway.domain.adapters import Adapter, AdapterVersion, VersionState

Count = Callable[[Adapter, AdapterVersion], ReplicaCount]

_STATES = {
    VersionState.ROLLING_OUT: adapter_service_pb2.Adapter.ROLLING_OUT,
    VersionState.SERVING: adapter_service_pb2.Adapter.SERVING,
    VersionState.KEPT: adapter_service_pb2.Adapter.KEPT,
    VersionState.FAILED: adapter_service_pb2.Adapter.FAILED,
}


async def parts_from_proto(
    requests: AsyncIterator[adapter_service_pb2.DeployAdapterRequest],
) -> AsyncIterator[AdapterHeader | AdapterChunk]:
    """Convert the messages of an upload as they come; a message without a part says nothing."""
    async for request in requests:
        match request.WhichOneof("part"):
            case "header":
                header = request.header
                yield AdapterHeader(header.name, header.base_model, header.note)
            case "chunk":
                yield AdapterChunk(request.chunk.file, request.chunk.content)


def progress_to_proto(
    adapter: str, version: int, ready: int, replicas: int
) -> adapter_service_pb2.DeployAdapterProgress:
    """Convert how far a roll-out is."""
    return adapter_service_pb2.DeployAdapterProgress(
        adapter=adapter, version=version, replicas_ready=ready, replicas=replicas
    )


def adapter_to_proto(adapter: Adapter, count: Count) -> adapter_service_pb2.Adapter:
    """Convert an adapter.

    Args:
        adapter: The adapter.
        count: Says how many servers hold a version, and how many there are.
    """
    proto = adapter_service_pb2.Adapter(
        name=adapter.name, base_model=adapter.base_model, serving_version=adapter.serving_version
    )
    for version in adapter.versions:
        ready, proto.replicas = count(adapter, version)
        row = proto.versions.add(
            number=version.number,
            state=_STATES[version.state],
            rank=version.rank,
            size_bytes=version.size_bytes,
            sha256=version.sha256,
            note=version.note,
            failure=version.failure,
            replicas_ready=ready,
        )
        row.create_time.FromDatetime(version.create_time)
    return proto


def page_to_proto(page: Page[Adapter], count: Count) -> adapter_service_pb2.ListAdaptersResponse:
    """Convert a page of adapters."""
    return adapter_service_pb2.ListAdaptersResponse(
        adapters=[adapter_to_proto(adapter, count) for adapter in page.items],
        next_page_token=page.next_page_token,
    )
