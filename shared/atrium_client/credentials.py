"""Puts the credential on every call of a channel, whatever its arity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc.aio

from atrium_shared.rpc.early_end import stream_until_ended


class _WithMetadata:
    def __init__(self, metadata: Sequence[tuple[str, str]]) -> None:
        self._metadata = metadata

    def _details(self, details: grpc.aio.ClientCallDetails) -> grpc.aio.ClientCallDetails:
        merged = grpc.aio.Metadata(*(details.metadata or ()), *self._metadata)
        return grpc.aio.ClientCallDetails(
            method=details.method,
            timeout=details.timeout,
            metadata=merged,
            credentials=details.credentials,
            wait_for_ready=details.wait_for_ready,
        )


class _UnaryUnary(_WithMetadata, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        return await continuation(self._details(client_call_details), request)


class _UnaryStream(_WithMetadata, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        return await continuation(self._details(client_call_details), request)


class _StreamUnary(_WithMetadata, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:
        return await stream_until_ended(
            continuation, self._details(client_call_details), request_iterator
        )


class _StreamStream(_WithMetadata, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:
        return await stream_until_ended(
            continuation, self._details(client_call_details), request_iterator
        )


def credential_interceptors(
    credential: str, on_behalf_of: str | None
) -> list[grpc.aio.ClientInterceptor]:
    """Return interceptors that authenticate every call.

    Args:
        credential: API key or token, sent as ``authorization: Bearer``.
        on_behalf_of: End user named in ``x-atrium-user``, or None.
    """
    metadata = [("authorization", f"Bearer {credential}")]
    if on_behalf_of:
        metadata.append(("x-atrium-user", on_behalf_of))
    return [kind(metadata) for kind in (_UnaryUnary, _UnaryStream, _StreamUnary, _StreamStream)]
