"""Client streams that the server may end before it has read them all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Any

import grpc


async def stream_until_ended(
    continuation: Callable[..., Any],
    details: grpc.aio.ClientCallDetails,
    requests: AsyncIterable[Any] | Iterable[Any],
) -> Any:
    """Go on with a call that streams requests, and stop writing as soon as it has its status.

    A server refuses a file that is too large, or a live stream, while more of it is on its way.
    gRPC for asyncio then replaces the status of the server by INTERNAL when a write fails after the
    status came (https://github.com/grpc/grpc/issues/36066), and the reason is lost. So the status
    ends the task that writes, before its failure is looked at.

    Args:
        continuation: What an interceptor of calls that stream requests is given to go on with.
        details: Of the call.
        requests: What is written.

    Returns:
        The call.
    """
    writer: asyncio.Task[Any] | None = None

    async def written() -> AsyncIterator[Any]:
        nonlocal writer
        writer = asyncio.current_task()  # gRPC iterates in the task that writes
        if isinstance(requests, AsyncIterable):
            async for request in requests:
                yield request
        else:
            for request in requests:
                yield request

    def stop(call: Any) -> None:
        if writer is not None:
            writer.cancel()

    call = await continuation(details, written())
    call.add_done_callback(stop)
    return call
