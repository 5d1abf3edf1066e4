"""What surrounds every method: telemetry, errors, authenticate, authorise, validate.

The chain is built once for each method when the server starts: it wraps the method's handler, so a
call pays for no look-up of rules, labels or validators, and gRPC's own interceptor machinery is
not involved. Requests are parsed inside the chain, so an unknown caller's bytes are never parsed.
HTTP endpoints of a service stand in the same chain (:meth:`Interceptors.http`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from contextvars import Token
from typing import Any

import grpc
import structlog
from google.protobuf.message import DecodeError
from google.rpc import status_pb2
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from atrium_shared import telemetry
from atrium_shared.audit import AuditEvent, AuditSink, Decision
from atrium_shared.errors import AtriumError, Conflict, Exhausted, Invalid, Unavailable
from atrium_shared.identity import (
    Authenticator,
    CredentialMalformed,
    CredentialMissing,
    IdentityUnavailable,
    ServiceAssertionInvalid,
    ServiceIdentity,
    ServiceOnly,
    is_internal_token,
    is_service_assertion,
    user_name,
)
from atrium_shared.principal import AllowSet, PermissionDenied, Principal
from atrium_shared.rpc.access import Access, AccessRule
from atrium_shared.rpc.context import CURRENT_CALL, CallContext
from atrium_shared.rpc.status import (
    DETAILS_KEY,
    FieldInvalid,
    TextUnstorable,
    error_to_status,
    internal_status,
    status_code,
)
from atrium_shared.rpc.violations import described, is_taken, nul_fields, violations_of

_SECONDS_TO_END_A_STREAM = 1.0
_MOST_LASTING = 100
_LATE_SECONDS = 0.25
"""Who leaves so shortly before a deadline left because of it: a call takes its time to arrive, so
the caller's deadline comes before the one that is read here."""

HttpCall = Callable[[Mapping[str, str]], AbstractAsyncContextManager[Principal]]
"""Surrounds one HTTP request; takes its headers by lower-case name, gives who calls."""

_log = structlog.get_logger(__name__)
_propagator = TraceContextTextMapPropagator()


class RequestMalformed(Invalid):
    """The bytes of a request are no message of the method's type."""

    reason = "REQUEST_MALFORMED"

    def __init__(self, method: str) -> None:
        super().__init__(
            f"The request of {method} cannot be parsed. Use a client made from the same protos.",
            method=method,
        )


class PermissionsChanged(Conflict):
    """The caller lost permissions while the call was under way."""

    reason = "PERMISSIONS_CHANGED"

    def __init__(self) -> None:
        super().__init__("Permissions of the caller changed during the call. Call again.")


class ShuttingDown(Unavailable):
    """This replica is about to end and takes no new calls."""

    reason = "SHUTTING_DOWN"

    def __init__(self) -> None:
        super().__init__("This server is shutting down. Call again; another replica will answer.")


class _Method:
    """What one method needs, worked out when the server starts."""

    def __init__(
        self,
        service: str,
        name: str,
        rule: AccessRule,
        parse: Callable[[bytes], Any] | None,
        *,
        validated: bool,
        feed: bool,
        system: str = "grpc",
    ) -> None:
        self.system = system
        self.service = service
        self.name = name
        self.path = f"/{service}/{name}"
        self.access = rule.access
        self.permission = rule.permission
        self.resource, _, self.action = rule.permission.rpartition(":")
        area = service.removeprefix("atrium.").partition(".")[0]
        self.audit_action = f"{area}.{name}"
        # A server stream for services or for anybody is a feed: it ends with the server.
        self.feed = feed
        self.in_flight = telemetry.RPC_IN_FLIGHT.labels(service, name)
        self.seconds = telemetry.RPC_SECONDS.labels(service, name)
        self._finished = {"OK": telemetry.RPC_TOTAL.labels(service, name, "OK")}
        self._parse = parse
        self._validated = validated
        if self._validated and parse is not None:
            # Compiles the rules of the message now instead of in the first call (some 10 ms).
            violations_of(parse(b""))

    def finished(self, code: str, seconds: float) -> None:
        self.in_flight.dec()
        self.seconds.observe(seconds)
        counter = self._finished.get(code)
        if counter is None:
            counter = telemetry.RPC_TOTAL.labels(self.service, self.name, code)
            self._finished[code] = counter
        counter.inc()

    def read(self, raw: bytes) -> Any:
        """Parse and validate one request message."""
        if self._parse is None:
            return raw
        try:
            message = self._parse(raw)
        except DecodeError as error:
            raise RequestMalformed(self.path) from error
        broken = violations_of(message) if self._validated else ()
        problems = [described(each) for each in broken if is_taken(message, each)]
        if problems:
            raise FieldInvalid(problems)
        # Nothing is to be looked for in nearly every request.
        unstorable = list(nul_fields(message)) if b"\0" in raw else []
        if unstorable:
            raise TextUnstorable(unstorable)
        return message


def combined(pairs: Collection[tuple[str, Any]]) -> dict[str, Any]:
    """Return metadata or headers by name; the values of a name that stands twice, with commas.

    As RFC 9110, section 5.3, has it. Two users or two credentials are thereby neither of them.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        for name in found:
            values = [value for other, value in pairs if other == name]
            if len(values) > 1 and isinstance(values[0], str):
                found[name] = ", ".join(values)
    return found


class _Call(CallContext):
    """One call under way."""

    __slots__ = (
        "cut",
        "method",
        "on_behalf_of",
        "span",
        "span_token",
        "started",
        "task",
        "writing",
    )

    def __init__(self, method: _Method, traceparent: str | None) -> None:
        super().__init__(traceparent)
        self.method = method
        self.started = time.perf_counter()
        self.span: trace.Span | None = None
        self.span_token: Token[otel_context.Context] | None = None
        self.on_behalf_of: str | None = None
        # Of streams alone: what ends the call from outside, and why.
        self.task: asyncio.Task[Any] | None = None
        self.cut: AtriumError | None = None
        self.writing = False


class _Requests:
    """The messages of a client stream, each parsed and validated.

    It reads from the context, since gRPC's own iterator is a generator that somebody would have to
    close when a servicer stops in the middle.
    """

    __slots__ = ("_next", "_read")

    def __init__(self, method: _Method, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        self._read = method.read
        self._next = context.read

    def __aiter__(self) -> _Requests:
        return self

    async def __anext__(self) -> Any:
        raw = await self._next()
        if raw is grpc.aio.EOF:
            raise StopAsyncIteration
        return self._read(raw)


def _read_one(method: _Method, raw: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
    return method.read(raw)


def _read_stream(
    method: _Method, raw: object, context: grpc.aio.ServicerContext[Any, Any]
) -> _Requests:
    return _Requests(method, context)


def _kind(call: _Call) -> tuple[str, str]:
    """Return what calls have in common that fail, and work again, together."""
    return call.method.path, call.principal.tenant if call.principal is not None else ""


class Interceptors:
    """Wraps handlers, and knows the calls that are under way.

    Args:
        authenticator: Turns credentials into principals. When it is a
            :class:`~atrium_shared.identity.ChangeSource` too, streams whose caller lost
            permissions are ended.
        audit: Where calls denied here are recorded.
        service: Verifies the assertions of other services; ``None`` where no method is for
            services alone.
    """

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        audit: AuditSink,
        service: ServiceIdentity | None,
    ) -> None:
        self._authenticator = authenticator
        self._audit = audit
        self._service = service
        self._service_principals: dict[str, Principal] = {}
        self._streams: set[_Call] = set()
        # Lasting errors that the log has told, by kind of call.
        self._lasting: dict[tuple[str, str], set[str]] = {}
        self._rechecks: set[asyncio.Task[None]] = set()
        self._changes = 0
        self._running = 0
        self._feeds = 0
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._ended = asyncio.Event()
        self._ended.set()
        on_change = getattr(authenticator, "on_change", None)
        if on_change is not None:
            on_change(self._recheck_streams)

    def wrap(
        self,
        service: str,
        name: str,
        handler: grpc.RpcMethodHandler[Any, Any],
        rule: AccessRule,
        *,
        validated: bool,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Return a handler that runs ``handler`` inside the chain.

        Args:
            service: Full name of the service.
            name: Name of the method.
            handler: Handler of any arity, as generated code registers it. Servicers that read
                a client stream take the iterator; ``context.read()`` would pass validation by.
            rule: Who may call.
            validated: Whether requests carry ``buf.validate`` limits.

        Raises:
            ValueError: The method is for services and there is nothing to verify them with.
        """
        if rule.access is Access.SERVICE and self._service is None:
            raise ValueError(f"/{service}/{name} is for services: a service identity is needed.")
        feed = bool(
            handler.response_streaming and rule.access in (Access.SERVICE, Access.ANONYMOUS)
        )
        method = _Method(
            service, name, rule, handler.request_deserializer, validated=validated, feed=feed
        )
        serializer = handler.response_serializer
        if handler.request_streaming and handler.response_streaming:
            assert handler.stream_stream is not None
            return grpc.stream_stream_rpc_method_handler(
                self._stream(method, handler.stream_stream, _read_stream), None, serializer
            )
        if handler.request_streaming:
            assert handler.stream_unary is not None
            return grpc.stream_unary_rpc_method_handler(
                self._stream_unary(method, handler.stream_unary), None, serializer
            )
        if handler.response_streaming:
            assert handler.unary_stream is not None
            return grpc.unary_stream_rpc_method_handler(
                self._stream(method, handler.unary_stream, _read_one), None, serializer
            )
        assert handler.unary_unary is not None
        return grpc.unary_unary_rpc_method_handler(
            self._unary(method, handler.unary_unary), None, serializer
        )

    def http(self, service: str, name: str, permission: str) -> HttpCall:
        """Return what surrounds the requests of an HTTP endpoint, as it does those of a method.

        Leaving the context with an error counts and logs it; the error goes on to whoever writes
        the answer. A caller who loses permissions ends the request with the error that says so.

        Args:
            service: Name in metrics and logs, ``"atrium.gateway.v1.OpenAI"``.
            name: Name of the endpoint there and in the audit log, ``"ChatCompletions"``.
            permission: What the caller must hold, ``"gateway.models:use"``.
        """
        rule = AccessRule(Access.PERMISSION, permission)
        method = _Method(service, name, rule, None, validated=False, feed=False, system="http")

        @asynccontextmanager
        async def surround(headers: Mapping[str, str]) -> AsyncIterator[Principal]:
            call = self._begin(method, headers)
            try:
                self._enlist(call)
                await self._admit(call, headers)
                assert call.principal is not None
                yield call.principal
                await _end_if_cut(call)
            except (Exception, asyncio.CancelledError) as error:
                cause = _cause(call, error)
                code, _ = self._conclude(call, cause, late=False)
                self._end(call, code.name)
                if cause is error:
                    raise
                raise cause from error
            self._end(call, "OK")

        return surround

    def _unary(self, method: _Method, behaviour: Callable[..., Awaitable[Any]]) -> Any:
        async def serve(raw: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            metadata = combined(context.invocation_metadata() or ())
            call = self._begin(method, metadata)
            try:
                await self._admit(call, metadata)
                response = await behaviour(method.read(raw), context)
            except (Exception, asyncio.CancelledError) as error:
                await self._answer(call, context, error)
                raise
            self._end(call, "OK")
            return response

        return serve

    def _stream_unary(self, method: _Method, behaviour: Callable[..., Awaitable[Any]]) -> Any:
        async def serve(
            raw: AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]
        ) -> Any:
            metadata = combined(context.invocation_metadata() or ())
            call = self._begin(method, metadata)
            try:
                self._enlist(call)
                await self._admit(call, metadata)
                response = await behaviour(_Requests(method, context), context)
                await _end_if_cut(call)
            except (Exception, asyncio.CancelledError) as error:
                await self._answer(call, context, error)
                raise
            self._end(call, "OK")
            return response

        return serve

    def _stream(
        self,
        method: _Method,
        behaviour: Callable[..., Any],
        read: Callable[[_Method, Any, grpc.aio.ServicerContext[Any, Any]], Any],
    ) -> Any:
        # A coroutine that writes, not a generator: the servicer's generator then runs and is
        # closed in the task of the call, whatever ends the call.
        async def serve(raw: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            metadata = combined(context.invocation_metadata() or ())
            call = self._begin(method, metadata)
            try:
                self._enlist(call)
                await self._admit(call, metadata)
                responses = behaviour(read(method, raw, context), context)
                if hasattr(responses, "__aiter__"):
                    async with aclosing(responses):
                        async for response in responses:
                            await _end_if_cut(call)
                            call.writing = True
                            try:
                                await context.write(response)
                            finally:
                                call.writing = False
                            await _end_if_cut(call)
                else:
                    await responses  # a servicer that calls context.write() itself
            except (Exception, asyncio.CancelledError) as error:
                await self._answer(call, context, error)
                raise
            self._end(call, "OK")

        return serve

    # Telemetry

    def _begin(self, method: _Method, metadata: Mapping[str, Any]) -> _Call:
        call = _Call(method, metadata.get("traceparent"))
        tracer = telemetry.tracer()
        if tracer is not None:
            _start_span(tracer, call, metadata)
        CURRENT_CALL.set(call)
        method.in_flight.inc()
        if method.feed:
            self._feeds += 1
        else:
            self._running += 1
        return call

    def _end(self, call: _Call, code: str) -> None:
        method = call.method
        method.finished(code, time.perf_counter() - call.started)
        if self._lasting and code == "OK":
            self._lasting.pop(_kind(call), None)
        if call.task is not None:
            self._streams.discard(call)
        if method.feed:
            self._feeds -= 1
        else:
            self._running -= 1
        if self._draining and not self._running:
            self._idle.set()
            if not self._feeds:
                self._ended.set()
        if call.span is not None:
            call.span.set_attribute("rpc.response.status_code", code)
            call.span.end()
            assert call.span_token is not None
            otel_context.detach(call.span_token)

    # Errors

    async def _answer(
        self,
        call: _Call,
        context: grpc.aio.ServicerContext[Any, Any],
        error: Exception | asyncio.CancelledError,
    ) -> None:
        """Count the end of a failed call and send its status, unless it has none to send."""
        left = context.time_remaining()
        cause = _cause(call, error)
        if isinstance(cause, grpc.aio.AbortError):
            # A servicer of another project (health, reflection) answered by itself.
            code, status = _as_code(context.code()), None
        else:
            code, status = self._conclude(
                call, cause, late=left is not None and left <= _LATE_SECONDS
            )
        self._end(call, code.name)
        if status is not None:
            await context.abort(code, status.message, ((DETAILS_KEY, status.SerializeToString()),))

    def _conclude(
        self, call: _Call, error: Exception | asyncio.CancelledError, *, late: bool
    ) -> tuple[grpc.StatusCode, status_pb2.Status | None]:
        """Log why a call failed; return its code, and its status unless nobody waits for one."""
        if isinstance(error, AtriumError):
            code = status_code(error)
            self._log_failure(call, code, error)
            return code, error_to_status(error, call.trace_id)
        if isinstance(error, asyncio.CancelledError):
            return (grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED), None
        if call.span is not None:
            call.span.set_status(trace.StatusCode.ERROR)
        self._log_failure(call, grpc.StatusCode.INTERNAL, error)
        return grpc.StatusCode.INTERNAL, internal_status(call.trace_id)

    def _log_failure(self, call: _Call, code: grpc.StatusCode, error: Exception) -> None:
        fields: dict[str, Any] = {"method": call.method.path, "code": code.name}
        if call.principal is not None:
            fields.update(
                tenant=call.principal.tenant,
                actor=call.principal.actor,
                on_behalf_of=call.principal.on_behalf_of,
            )
        fields["ms"] = round((time.perf_counter() - call.started) * 1000, 1)
        fields["trace"] = call.trace_id
        if not isinstance(error, AtriumError):
            # The one place where the stack is kept; the caller sees the trace id alone.
            _log.error("call failed", **fields, exc_info=error)
        elif error.lasting and self._told_before(call, error):
            _log.debug("call failed", reason=error.reason, **fields)
        elif isinstance(error, Unavailable | Exhausted):
            _log.warning("call failed", reason=error.reason, **fields)
        else:
            _log.info("call failed", reason=error.reason, **fields)

    def _told_before(self, call: _Call, error: AtriumError) -> bool:
        """Note a lasting error; say whether it was told since such a call last worked."""
        told = self._lasting.setdefault(_kind(call), set())
        if error.message in told:
            return True
        if len(told) == _MOST_LASTING:  # callers choose what is in messages
            told.clear()
        told.add(error.message)
        return False

    # Authenticate and authorise

    async def _admit(self, call: _Call, metadata: Mapping[str, Any]) -> None:
        method = call.method
        if method.access is Access.ANONYMOUS:
            return
        header = metadata.get("authorization")
        if header is None:
            raise CredentialMissing
        if header[:7].lower() != "bearer ":
            raise CredentialMalformed("The metadata `authorization` is no Bearer credential.")
        credential = header[7:]
        if self._draining and not is_internal_token(credential):
            # Calls that calls under way depend on still go through; others find another replica.
            raise ShuttingDown
        if method.access is Access.SERVICE:
            call.principal = self._service_principal(method, credential)
            return
        on_behalf_of = metadata.get("x-atrium-user")
        # An empty one is a mistake of the caller, not nobody: the rights of a service are others.
        on_behalf_of = None if on_behalf_of is None else user_name(on_behalf_of)
        changes = self._changes
        principal = await self._authenticator.authenticate(credential, on_behalf_of)
        # A change that came meanwhile counts: whoever made it may rely on it from now on.
        while changes != self._changes:
            changes = self._changes
            principal = await self._authenticator.authenticate(credential, on_behalf_of)
        call.credential, call.on_behalf_of = credential, on_behalf_of
        call.principal = principal
        if method.permission and not principal.allow_set.permits(method.resource, method.action):
            await self._audit_denial(method, principal)
            raise PermissionDenied(principal.subject, method.permission)

    def _service_principal(self, method: _Method, credential: str) -> Principal:
        assert self._service is not None
        try:
            name = self._service.verify(credential)
        except ServiceAssertionInvalid:
            if is_service_assertion(credential):
                raise
            raise ServiceOnly(method.path) from None
        principal = self._service_principals.get(name)
        if principal is None:
            principal = self._service_principals[name] = Principal(
                tenant="",
                actor=f"services/{name}",
                on_behalf_of=None,
                allow_set=AllowSet(),
                credential="",
                service=name,
            )
        return principal

    async def _audit_denial(self, method: _Method, principal: Principal) -> None:
        event = AuditEvent.of(
            principal,
            method.audit_action,
            method.resource,
            Decision.DENIED,
            detail=PermissionDenied.reason,
        )
        try:
            await self._audit.record(event)
        except AtriumError as error:
            # The call is denied either way; nothing was done that would have to be undone.
            _log.warning("denial not audited", method=method.path, reason=error.reason)

    # Streams that outlive a permission, and the end of the server

    def _enlist(self, call: _Call) -> None:
        call.task = asyncio.current_task()
        self._streams.add(call)

    def _recheck_streams(self, tenant: str, users: frozenset[str]) -> Awaitable[object]:
        """Look again at the streams that a change concerns; done when those to end have ended."""
        self._changes += 1
        rechecks: list[asyncio.Task[None]] = []
        for call in self._streams:
            principal = call.principal
            if principal is None or principal.service is not None:
                continue
            if tenant and principal.tenant != tenant:
                continue
            if users and principal.actor not in users and principal.on_behalf_of not in users:
                continue
            task = asyncio.create_task(self._recheck(call, principal), name="recheck stream")
            self._rechecks.add(task)
            task.add_done_callback(self._rechecks.discard)
            rechecks.append(task)
        return asyncio.gather(*rechecks)

    async def _recheck(self, call: _Call, before: Principal) -> None:
        try:
            self._judge(
                call,
                before,
                await self._authenticator.authenticate(call.credential, call.on_behalf_of),
            )
        except AtriumError as error:
            self._cut(call, error)
        except Exception as error:
            # A stream that cannot be judged must not go on, whatever the reason.
            _log.error("stream not rechecked", method=call.method.path, exc_info=error)
            self._cut(call, IdentityUnavailable(type(error).__name__))
        if call.cut is not None:
            # Nothing is sent from here on; whoever called should be told before others rely on it.
            assert call.task is not None
            await asyncio.wait([call.task], timeout=_SECONDS_TO_END_A_STREAM)

    def _judge(self, call: _Call, before: Principal, now: Principal) -> None:
        if not now.may(call.method.permission) and call.method.permission:
            self._cut(call, PermissionDenied(now.subject, call.method.permission))
        elif before.allow_set.loses_to(now.allow_set):
            self._cut(call, PermissionsChanged())

    def _cut(self, call: _Call, error: AtriumError) -> None:
        if call in self._streams and call.cut is None:
            call.cut = error
            if call.writing:
                # A status beside a message breaks the call without a reason. The message is nearly
                # always gone at once; a client that does not read is waited for no longer.
                loop = asyncio.get_running_loop()
                loop.call_later(_SECONDS_TO_END_A_STREAM, self._cancel, call)
            else:
                self._cancel(call)

    def _cancel(self, call: _Call) -> None:
        if call in self._streams:
            assert call.task is not None
            call.task.cancel()

    def drain(self) -> None:
        """Refuse new calls from outside; calls from services for calls under way go on."""
        self._draining = True
        if self._running:
            self._idle.clear()

    async def wait_until_idle(self, seconds: float) -> bool:
        """Return whether all calls but feeds ended within ``seconds``."""
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def wait_until_ended(self, seconds: float) -> bool:
        """Return whether all calls, feeds and those that were cancelled too, ended in time.

        A call that is cancelled ends when it has cleaned up after itself.
        """
        if self._running or self._feeds:
            self._ended.clear()
        try:
            await asyncio.wait_for(self._ended.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def end_streams(self) -> None:
        """End the streams that are still open, feeds among them."""
        for call in list(self._streams):
            self._cut(call, ShuttingDown())


async def _end_if_cut(call: _Call) -> None:
    """Let nothing pass that a servicer makes after its call was ended from outside."""
    if call.cut is not None:
        await asyncio.sleep(0)  # the cancellation may still be on its way
        raise call.cut


def _cause(
    call: _Call, error: Exception | asyncio.CancelledError
) -> Exception | asyncio.CancelledError:
    """Return why a call failed: what ended it from outside, else ``error``."""
    if isinstance(error, asyncio.CancelledError) and call.cut is not None:
        assert call.task is not None
        call.task.uncancel()
        return call.cut
    return error


def _start_span(tracer: trace.Tracer, call: _Call, metadata: Mapping[str, Any]) -> None:
    method = call.method
    span = tracer.start_span(
        f"{method.service}/{method.name}",
        context=_propagator.extract(metadata),
        kind=trace.SpanKind.SERVER,
        attributes={
            "rpc.system.name": method.system,
            "rpc.method": f"{method.service}/{method.name}",
        },
    )
    call.span = span
    call.span_token = otel_context.attach(trace.set_span_in_context(span))
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    call.continue_as(carrier["traceparent"])


def _as_code(code: Any) -> grpc.StatusCode:
    if isinstance(code, grpc.StatusCode):
        return code
    return next(
        (known for known in grpc.StatusCode if known.value[0] == code), grpc.StatusCode.UNKNOWN
    )
