"""``google.longrunning.Operations`` for all services of a process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf import empty_pb2

from atrium_shared.errors import Invalid
from atrium_shared.operations import OPERATION_NAME, Operation, OperationNotFound, OperationStore
from atrium_shared.paging import decode_page_token, encode_page_token, page_size
from atrium_shared.rpc.context import principal

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_DEFAULT_WAIT_SECONDS = 30.0
_MAX_WAIT_SECONDS = 600.0


class OperationFilterUnsupported(Invalid):
    """List operations takes no filter."""

    reason = "OPERATION_FILTER_UNSUPPORTED"

    def __init__(self, text: str) -> None:
        super().__init__(
            f"Operations cannot be filtered by {text!r}. Leave `filter` empty.", field="filter"
        )


def operation_to_proto(operation: Operation) -> operations_pb2.Operation:
    """Convert for the wire."""
    proto = operations_pb2.Operation(
        name=operation.name, metadata=operation.metadata, done=operation.done
    )
    if operation.error is not None:
        operation.error.Unpack(proto.error)
    elif operation.response is not None:
        proto.response.CopyFrom(operation.response)
    return proto


# googleapis-common-protos ships no types.
class OperationsServicer(operations_pb2_grpc.OperationsServicer):  # type: ignore[misc]
    """Answers ``google.longrunning.Operations`` for the stores of a process.

    Everyone sees the operations that they asked for themselves, and no others.
    """

    def __init__(self, stores: Sequence[OperationStore]) -> None:
        self._stores = {store.service: store for store in stores}

    async def GetOperation(
        self, request: operations_pb2.GetOperationRequest, context: Context
    ) -> operations_pb2.Operation:
        store, who = self._store(request.name), principal(context)
        found = await store.get(request.name, tenant=who.tenant, owner=who.subject)
        return operation_to_proto(found)

    async def WaitOperation(
        self, request: operations_pb2.WaitOperationRequest, context: Context
    ) -> operations_pb2.Operation:
        store, who = self._store(request.name), principal(context)
        # The message may hold more seconds than a timedelta or a float keeps exactly.
        asked = request.timeout.seconds + request.timeout.nanos / 1e9
        timeout = min(asked or _DEFAULT_WAIT_SECONDS, _MAX_WAIT_SECONDS)
        found = await store.wait(
            request.name, tenant=who.tenant, owner=who.subject, timeout_seconds=timeout
        )
        return operation_to_proto(found)

    async def CancelOperation(
        self, request: operations_pb2.CancelOperationRequest, context: Context
    ) -> empty_pb2.Empty:
        store, who = self._store(request.name), principal(context)
        await store.cancel(request.name, tenant=who.tenant, owner=who.subject)
        return empty_pb2.Empty()

    async def DeleteOperation(
        self, request: operations_pb2.DeleteOperationRequest, context: Context
    ) -> empty_pb2.Empty:
        store, who = self._store(request.name), principal(context)
        await store.delete(request.name, tenant=who.tenant, owner=who.subject)
        return empty_pb2.Empty()

    async def ListOperations(
        self, request: operations_pb2.ListOperationsRequest, context: Context
    ) -> operations_pb2.ListOperationsResponse:
        who = principal(context)
        if request.filter:
            raise OperationFilterUnsupported(request.filter)
        size = page_size(request.page_size)
        fingerprint = f"{who.tenant}/{who.subject}/operations/{request.name}"
        cursor = decode_page_token(request.page_token, fingerprint)
        # A page runs through the services in the order of their names.
        at_service, _, after = cursor.partition(".")
        found: list[Operation] = []
        for service in sorted(self._stores):
            if service < at_service or len(found) > size:
                continue
            found += await self._stores[service].list(
                tenant=who.tenant,
                owner=who.subject,
                after=after if service == at_service else "",
                limit=size + 1 - len(found),
            )
        response = operations_pb2.ListOperationsResponse(
            operations=map(operation_to_proto, found[:size])
        )
        if len(found) > size:
            cursor = found[size - 1].name.removeprefix("operations/")
            response.next_page_token = encode_page_token(cursor, fingerprint)
        return response

    def _store(self, name: str) -> OperationStore:
        match = OPERATION_NAME.fullmatch(name)
        if match is None or match["service"] not in self._stores:
            raise OperationNotFound(name)
        return self._stores[match["service"]]
