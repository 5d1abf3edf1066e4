"""Calling other services."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from atrium_shared.principal import Principal
from atrium_shared.rpc.context import traceparent
from atrium_shared.rpc.early_end import stream_until_ended
from atrium_shared.rpc.status import RemoteError, raise_from_rpc

if TYPE_CHECKING:
    from atrium_shared.identity import ServiceIdentity

__all__ = [
    "MAX_MESSAGE_BYTES",
    "ChannelTls",
    "RemoteError",
    "metadata_for",
    "open_channel",
    "raise_from_rpc",
]

MAX_MESSAGE_BYTES = 8 * 1024 * 1024

_IDEMPOTENT = (
    "atrium.admin.v1.IdentityService/ExchangeCredential",
    "atrium.admin.v1.IdentityService/IssueDelegatedToken",
    "atrium.admin.v1.IdentityService/GetSigningKeys",
    "google.longrunning.Operations/GetOperation",
    "google.longrunning.Operations/ListOperations",
    "google.longrunning.Operations/WaitOperation",
    "grpc.health.v1.Health/Check",
)

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ChannelTls:
    """How to trust the server and to be known to it; everything is PEM.

    Attributes:
        server_ca: Certificates that may sign the server's; ``None``: those of the system.
        certificate: Our own certificate chain for mutual TLS, or ``None``.
        private_key: Its key, a secret.
    """

    server_ca: bytes | None = None
    certificate: bytes | None = None
    private_key: bytes | None = None


def open_channel(
    target: str,
    *,
    service: ServiceIdentity | None = None,
    tls: ChannelTls | None = None,
    idempotent: Iterable[str] = (),
    max_message_bytes: int = MAX_MESSAGE_BYTES,
) -> grpc.aio.Channel:
    """Return a channel to another service; it connects when it is first used.

    Args:
        target: ``"host:port"``, or a gRPC name such as ``"dns:///gateway:7401"``.
        service: Calls without an ``authorization`` of their own carry its assertion. Leave it out
            where each call carries :func:`metadata_for`: the interceptors that do this cost time.
        tls: ``None``: no encryption.
        idempotent: Methods that may be repeated after UNAVAILABLE, as
            ``"atrium.gateway.v1.ModelGateway/Embed"``; up to three attempts with jitter.
        max_message_bytes: Largest message sent or received.
    """
    names = [
        dict(zip(("service", "method"), name.split("/"), strict=True))
        for name in (*_IDEMPOTENT, *idempotent)
    ]
    config = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {
                "name": names,
                "retryPolicy": {
                    "maxAttempts": 3,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 3,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
    }
    options = [
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_metadata_size", 16 * 1024),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # Despite its name: how long one attempt to connect may take. A busy server takes a while.
        ("grpc.min_reconnect_backoff_ms", 5_000),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.enable_retries", 1),
        ("grpc.service_config", json.dumps(config)),
    ]
    interceptors = None if service is None else metadata_interceptors(service.metadata)
    if tls is None:
        return grpc.aio.insecure_channel(target, options, interceptors=interceptors)
    credentials = grpc.ssl_channel_credentials(tls.server_ca, tls.private_key, tls.certificate)
    return grpc.aio.secure_channel(target, credentials, options, interceptors=interceptors)


def metadata_for(principal: Principal) -> Metadata:
    """Return the metadata with which a service calls on for the one who called it.

    The token says for whom; no ``x-atrium-user`` goes with it. The trace goes on as well.
    """
    authorization = ("authorization", f"Bearer {principal.token}")
    trace = traceparent()
    if trace is None:
        return (authorization,)
    return (authorization, ("traceparent", trace))


def metadata_interceptors(
    metadata: Callable[[], Metadata],
) -> list[grpc.aio.ClientInterceptor]:
    """Return interceptors that add ``metadata()`` to calls that carry no ``authorization``."""
    return [
        _AddToUnaryUnary(metadata),
        _AddToUnaryStream(metadata),
        _AddToStreamUnary(metadata),
        _AddToStreamStream(metadata),
    ]


class _Adding:
    def __init__(self, metadata: Callable[[], Metadata]) -> None:
        self._metadata = metadata

    def _added(self, details: grpc.aio.ClientCallDetails) -> grpc.aio.ClientCallDetails:
        metadata = grpc.aio.Metadata(*(details.metadata or ()))
        if metadata.get("authorization") is None:
            for key, value in self._metadata():
                metadata.add(key, value)
        return grpc.aio.ClientCallDetails(
            method=details.method,
            timeout=details.timeout,
            metadata=metadata,
            credentials=details.credentials,
            wait_for_ready=details.wait_for_ready,
        )


class _AddToUnaryUnary(_Adding, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self,
        continuation: Callable[..., Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        return await continuation(self._added(client_call_details), request)


class _AddToUnaryStream(_Adding, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self,
        continuation: Callable[..., Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        return await continuation(self._added(client_call_details), request)


class _AddToStreamUnary(_Adding, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self,
        continuation: Callable[..., Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request_iterator: AsyncIterable[Any] | Iterable[Any],
    ) -> Any:
        return await stream_until_ended(
            continuation, self._added(client_call_details), request_iterator
        )


class _AddToStreamStream(_Adding, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self,
        continuation: Callable[..., Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request_iterator: AsyncIterable[Any] | Iterable[Any],
    ) -> Any:
        return await stream_until_ended(
            continuation, self._added(client_call_details), request_iterator
        )
