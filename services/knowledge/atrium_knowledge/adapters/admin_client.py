"""The admin service's knowledge of who holds which labels, over gRPC."""

from __future__ import annotations

from collections.abc import Collection as AnyCollection
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import grpc

from atrium.admin.v1 import audit_service_pb2, audit_service_pb2_grpc
from atrium_knowledge.app.ports import ReaderPage
from atrium_knowledge.domain.access import AccessGrant, AccessReader
from atrium_shared.principal import Principal
from atrium_shared.rpc.channel import metadata_for, raise_from_rpc

IDEMPOTENT_ADMIN_METHODS: Final = ("atrium.admin.v1.AuditService/ListReaders",)
"""What a channel to the admin service may repeat."""


class AdminReaderDirectory:
    """Implements ``ports.ReaderDirectory``.

    Args:
        channel: Channel to the admin service.
        longest_seconds: How long a page may take.
    """

    def __init__(self, channel: grpc.aio.Channel, *, longest_seconds: float = 30.0) -> None:
        self._stub: audit_service_pb2_grpc.AuditServiceAsyncStub = (
            audit_service_pb2_grpc.AuditServiceStub(channel)
        )
        self._longest_seconds = longest_seconds

    async def list_readers(
        self,
        principal: Principal,
        clauses: Sequence[AnyCollection[str]],
        read_time: datetime,
        page_size: int,
        page_token: str,
    ) -> ReaderPage:
        """Return who held at least one label of every clause."""
        request = audit_service_pb2.ListReadersRequest(
            clauses=[audit_service_pb2.LabelSet(labels=sorted(labels)) for labels in clauses],
            page_size=page_size,
            page_token=page_token,
        )
        request.read_time.FromDatetime(read_time)
        try:
            page = await self._stub.ListReaders(
                request, metadata=metadata_for(principal), timeout=self._longest_seconds
            )
        except grpc.aio.AioRpcError as error:
            raise_from_rpc(error)
        return ReaderPage(
            readers=tuple(map(_reader, page.readers)),
            next_page_token=page.next_page_token,
            policy_version=page.policy_version,
            policy_time=page.policy_time.ToDatetime(UTC),
        )


def _reader(reader: audit_service_pb2.Reader) -> AccessReader:
    return AccessReader(
        user=reader.user,
        grants=tuple(
            AccessGrant(
                role=one.role,
                via=tuple(one.via),
                grant=f"{one.grant.resource}:{one.grant.action}",
                permission=one.permission,
            )
            for one in reader.grants
        ),
    )
