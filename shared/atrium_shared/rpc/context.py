"""What is known about the call that the current task serves."""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar
from typing import Any

import grpc
from opentelemetry import trace

from atrium_shared.principal import Principal

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


class CallContext:
    """One call, from the moment it arrives.

    Attributes:
        principal: Who calls; ``None`` until authenticated, and in anonymous methods.
        credential: What the caller showed, without ``Bearer``; "" until then.
    """

    __slots__ = ("_trace_id", "_traceparent", "credential", "principal")

    def __init__(self, traceparent: str | None) -> None:
        self.principal: Principal | None = None
        self.credential = ""
        self._traceparent = traceparent
        self._trace_id = ""

    @property
    def traceparent(self) -> str:
        """W3C Trace Context header to send on, made up when the caller sent none."""
        self._resolve()
        assert self._traceparent is not None
        return self._traceparent

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits that identify the trace."""
        self._resolve()
        return self._trace_id

    def continue_as(self, traceparent: str) -> None:
        """Send on ``traceparent``, that of a span inside the caller's trace."""
        self._traceparent = traceparent
        self._trace_id = ""

    def _resolve(self) -> None:
        # Most calls never ask, so nothing is parsed or made up before.
        if self._trace_id:
            return
        match = _TRACEPARENT.fullmatch(self._traceparent or "")
        if match is None:
            self._trace_id = secrets.token_hex(16)
            self._traceparent = f"00-{self._trace_id}-{secrets.token_hex(8)}-01"
        else:
            self._trace_id = match[1]


CURRENT_CALL: ContextVar[CallContext | None] = ContextVar("atrium_current_call", default=None)


def principal(context: grpc.aio.ServicerContext[Any, Any]) -> Principal:
    """Return who calls.

    Args:
        context: The servicer's context. The answer comes from the task that serves the call and
            from tasks that it started.

    Raises:
        RuntimeError: The method is anonymous, or no call is being served.
    """
    call = CURRENT_CALL.get()
    if call is None or call.principal is None:
        raise RuntimeError("No principal here: the method is anonymous, or no call is served.")
    return call.principal


def credential() -> str:
    """Return what the caller of the current call showed; "" in anonymous methods and outside."""
    call = CURRENT_CALL.get()
    return "" if call is None else call.credential


def trace_id() -> str:
    """Return the trace id of the current call, 32 hexadecimal digits; empty outside a call."""
    call = CURRENT_CALL.get()
    return "" if call is None else call.trace_id


def traceparent() -> str | None:
    """Return the W3C ``traceparent`` to send on, or ``None`` outside of calls and spans."""
    current = trace.get_current_span().get_span_context()
    if current.is_valid:
        return (
            f"00-{trace.format_trace_id(current.trace_id)}"
            f"-{trace.format_span_id(current.span_id)}-{current.trace_flags:02x}"
        )
    call = CURRENT_CALL.get()
    return None if call is None else call.traceparent
