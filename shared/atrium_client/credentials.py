"""Puts the credential on every call of a channel, whatever its arity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio

from atrium_client.errors import AtriumCallError
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
        credential: API key or token, sent as ``authorization: Bearer``; white space around it, such
            as the end of a file's line, does not count.
        on_behalf_of: End user named in ``x-atrium-user``, or None.

    Raises:
        AtriumCallError: One of them is empty, or holds what no key and no user name holds.
    """
    credential = credential.strip()
    if not credential or not _is_word(credential):
        raise _malformed(
            "The key is empty." if not credential else "The key holds a character that no key has.",
            "It begins with atr_, or is a token, and is one word of plain ASCII: copy it anew.",
        )
    metadata = [("authorization", f"Bearer {credential}")]
    if on_behalf_of is not None:
        if not _is_word(on_behalf_of):
            # Left out it would be a call with the service's own rights, which is another thing.
            raise _malformed(
                f"{on_behalf_of!r} is no user name.",
                "The end user is named by id, such as lin; None is for a call of one's own.",
            )
        metadata.append(("x-atrium-user", on_behalf_of))
    return [kind(metadata) for kind in (_UnaryUnary, _UnaryStream, _StreamUnary, _StreamStream)]


def _is_word(text: str) -> bool:
    return text.isascii() and text.isprintable() and text != "" and " " not in text


def _malformed(what: str, expected: str) -> AtriumCallError:
    return AtriumCallError(
        grpc.StatusCode.UNAUTHENTICATED, "CREDENTIAL_MALFORMED", f"{what} {expected}"
    )
