"""A real server on a free port, called over every arity."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import grpc
import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from atrium_shared import telemetry
from atrium_shared.audit import Decision, MemoryAuditSink
from atrium_shared.clock import FixedClock, SystemClock
from atrium_shared.errors import (
    Conflict,
    Denied,
    Exhausted,
    Invalid,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from atrium_shared.identity import ServiceIdentity, TokenExpired, TokenInvalid, TokenSigner
from atrium_shared.principal import Principal
from atrium_shared.rpc.access import ANONYMOUS
from atrium_shared.rpc.channel import (
    ChannelTls,
    RemoteError,
    metadata_for,
    open_channel,
    raise_from_rpc,
)
from atrium_shared.rpc.context import principal, trace_id
from atrium_shared.rpc.server import (
    RpcLimits,
    RpcServer,
    ServerMisconfigured,
    ServerTls,
    serve_until_signal,
)
from atrium_shared.testing import (
    TEST_SECRET,
    FakeAuthenticator,
    RunningServer,
    eventually,
    make_principal,
    running_server,
)
from atrium_shared.unbroken import unbroken

LIN = make_principal("testing.echo:use", actor="users/lin", token="token-of-lin")
PORTAL = make_principal("testing.echo:use", "users/*:impersonate", actor="users/portal")
GUEST = make_principal(actor="users/guest")
PRINCIPALS = {"lin": LIN, "portal": PORTAL, "guest": GUEST}
ARITIES = ("Say", "Repeat", "Collect", "Chat")


class BookNotFound(NotFound):
    reason = "BOOK_NOT_FOUND"

    def __init__(self, book: str) -> None:
        super().__init__(f"Book {book!r} does not exist.", book=book)


class BookExists(Conflict):
    reason = "BOOK_EXISTS"


class BookChanged(Conflict):
    reason = "BOOK_CHANGED"


class BookLent(Conflict):
    reason = "BOOK_LENT"


class TitleInvalid(Invalid):
    reason = "TITLE_INVALID"


async def invoke(echo: Any, channel: grpc.aio.Channel, method: str, *requests: Any) -> list[Any]:
    """Call a method of any arity and return all answers."""
    requests = requests or (echo.words(text="hello"),)
    stub = echo.call(channel, method)
    if method in ("Collect", "Chat"):

        async def send() -> AsyncIterator[Any]:
            for request in requests:
                yield request

        call = stub(send())
    else:
        call = stub(requests[0])
    try:
        if method in ("Repeat", "Chat", "Feed"):
            return [answer async for answer in call]
        return [await call]
    finally:
        call.cancel()


async def failure(awaitable: Any) -> RemoteError:
    """Return the error that a call ends with, as the client sees it."""
    try:
        await awaitable
    except grpc.aio.AioRpcError as error:
        try:
            raise_from_rpc(error)
        except RemoteError as remote:
            return remote
    raise AssertionError("The call did not fail.")


@pytest.fixture
async def server(echo: Any) -> AsyncIterator[RunningServer]:
    async with running_server([echo.app()], PRINCIPALS) as running:
        yield running


@pytest.mark.parametrize("method", ARITIES)
async def test_every_arity_answers_a_permitted_caller(
    echo: Any, server: RunningServer, method: str
) -> None:
    answers = await invoke(echo, server.open_channel("lin"), method)
    assert [answer.text for answer in answers] == ["hello"] * (3 if method == "Repeat" else 1)


@pytest.mark.parametrize("method", [*ARITIES, "WhoAmI"])
async def test_a_call_without_credential_is_refused(
    echo: Any, server: RunningServer, method: str
) -> None:
    error = await failure(invoke(echo, server.open_channel(), method))
    assert (error.code, error.reason) == (
        grpc.StatusCode.UNAUTHENTICATED,
        "CREDENTIAL_MISSING",
    )
    assert len(error.trace_id) == 32


async def test_a_method_that_nobody_serves_is_unimplemented(server: RunningServer) -> None:
    call = server.open_channel("lin").unary_unary("/atrium.testing.v1.EchoService/Unknown")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(b"")
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("method", ["Tell", "Feed"])
async def test_a_service_method_without_credential_is_refused(
    echo: Any, server: RunningServer, method: str
) -> None:
    error = await failure(invoke(echo, server.open_channel(), method))
    assert error.reason == "CREDENTIAL_MISSING"


async def test_a_credential_of_another_scheme_is_malformed(
    echo: Any, server: RunningServer
) -> None:
    call = echo.call(server.open_channel(), "Say")(
        echo.words(text="hello"), metadata=(("authorization", "Basic bGluOng="),)
    )
    error = await failure(call)
    assert (error.code, error.reason) == (
        grpc.StatusCode.UNAUTHENTICATED,
        "CREDENTIAL_MALFORMED",
    )


async def test_an_end_user_with_an_impossible_name_is_malformed(
    echo: Any, server: RunningServer
) -> None:
    error = await failure(invoke(echo, server.open_channel("portal", "users/a b"), "Say"))
    assert error.reason == "CREDENTIAL_MALFORMED"


@pytest.mark.parametrize("method", ARITIES)
async def test_an_unknown_key_is_refused_with_the_authenticators_reason(
    echo: Any, server: RunningServer, method: str
) -> None:
    error = await failure(invoke(echo, server.open_channel("nobody"), method))
    assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, "API_KEY_UNKNOWN")


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        (TokenExpired(FixedClock().now()), "TOKEN_EXPIRED"),
        (TokenInvalid("its signature does not fit"), "TOKEN_INVALID"),
    ],
)
async def test_a_bad_token_is_told_apart_from_an_expired_one(
    echo: Any, raised: Unauthenticated, reason: str
) -> None:
    class Refusing:
        async def authenticate(self, credential: str, on_behalf_of: str | None) -> Principal:
            raise raised

    async with running_server([echo.app()], authenticator=Refusing()) as server:
        error = await failure(invoke(echo, server.open_channel("x.y.z"), "Say"))
    assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, reason)
    assert error.metadata == raised.metadata


@pytest.mark.parametrize("method", ARITIES)
async def test_a_caller_without_the_permission_is_denied_and_audited(
    echo: Any, method: str
) -> None:
    audit = MemoryAuditSink()
    async with running_server([echo.app()], PRINCIPALS, audit=audit) as server:
        error = await failure(invoke(echo, server.open_channel("guest"), method))
    assert (error.code, error.reason) == (
        grpc.StatusCode.PERMISSION_DENIED,
        "PERMISSION_DENIED",
    )
    assert error.metadata == {"subject": "users/guest", "permission": "testing.echo:use"}
    (event,) = audit.events
    assert (event.tenant, event.actor, event.action, event.resource) == (
        "acme",
        "users/guest",
        f"testing.{method}",
        "testing.echo",
    )
    assert (event.decision, event.detail) == (Decision.DENIED, "PERMISSION_DENIED")


async def test_a_denial_stands_when_the_audit_log_does_not_answer(echo: Any) -> None:
    class Broken:
        async def record(self, *events: Any) -> None:
            raise Unavailable("down")

    async with running_server([echo.app()], PRINCIPALS, audit=Broken()) as server:
        error = await failure(invoke(echo, server.open_channel("guest"), "Say"))
    assert error.reason == "PERMISSION_DENIED"


async def test_any_valid_credential_opens_an_authenticated_method(
    echo: Any, server: RunningServer
) -> None:
    (answer,) = await invoke(echo, server.open_channel("guest"), "WhoAmI")
    assert answer.text == "hello"


async def test_an_anonymous_method_needs_no_credential(echo: Any, server: RunningServer) -> None:
    (answer,) = await invoke(echo, server.open_channel(), "Ping")
    assert answer.text == "hello"


async def test_a_service_method_takes_assertions_alone(echo: Any, server: RunningServer) -> None:
    (answer,) = await invoke(echo, server.open_service_channel("gateway"), "Tell")
    assert answer.text == "hello"
    error = await failure(invoke(echo, server.open_channel("lin"), "Tell"))
    assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "SERVICE_ONLY")
    assert error.metadata == {"method": "/atrium.testing.v1.EchoService/Tell"}


async def test_an_assertion_under_another_secret_is_refused(
    echo: Any, server: RunningServer
) -> None:
    forged = ServiceIdentity("gateway", b"x" * 32).assertion()
    error = await failure(invoke(echo, server.open_channel(forged), "Tell"))
    assert (error.code, error.reason) == (
        grpc.StatusCode.UNAUTHENTICATED,
        "SERVICE_ASSERTION_INVALID",
    )


async def test_the_servicer_sees_which_service_calls(echo: Any) -> None:
    async def tell(request: Any, context: Any) -> Any:
        who = principal(context)
        return echo.words(text=f"{who.service} {who.actor} {who.tenant!r}")

    async with running_server([echo.app(Tell=tell)]) as server:
        (answer,) = await invoke(echo, server.open_service_channel("gateway"), "Tell")
    assert answer.text == "gateway services/gateway ''"


async def test_a_service_account_acts_for_a_user_when_it_may(echo: Any) -> None:
    async def who(request: Any, context: Any) -> Any:
        return echo.words(text=f"{principal(context).actor} for {principal(context).subject}")

    async with running_server([echo.app(WhoAmI=who)], PRINCIPALS) as server:
        for user in ("lin", "users/lin"):
            (answer,) = await invoke(echo, server.open_channel("portal", user), "WhoAmI")
            assert answer.text == "users/portal for users/lin"
        error = await failure(invoke(echo, server.open_channel("guest", "users/lin"), "WhoAmI"))
    assert (error.code, error.reason) == (
        grpc.StatusCode.PERMISSION_DENIED,
        "IMPERSONATION_DENIED",
    )
    assert error.metadata == {"actor": "users/guest", "user": "users/lin"}


@pytest.mark.parametrize("method", ARITIES)
async def test_every_violation_of_a_request_is_named(
    echo: Any, server: RunningServer, method: str
) -> None:
    bad = echo.words(text="x" * 41, numbers=[{"value": 1}, {"value": -1}])
    requests = (echo.words(text="fine"), bad) if method in ("Collect", "Chat") else (bad,)
    error = await failure(invoke(echo, server.open_channel("lin"), method, *requests))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert error.metadata == {"violations": "2"}
    assert [field for field, _ in error.violations] == ["text", "numbers[1].value"]
    assert "40" in error.violations[0][1]
    assert error.field == "text"


@pytest.mark.parametrize("method", ARITIES)
async def test_a_text_with_the_character_nul_is_refused(
    echo: Any, server: RunningServer, method: str
) -> None:
    bad = echo.words(text="a\0b")
    error = await failure(invoke(echo, server.open_channel("lin"), method, bad))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "TEXT_UNSTORABLE")
    assert error.field == "text"
    assert "U+0000" in error.message


async def test_a_status_with_a_thousand_violations_still_arrives(
    echo: Any, server: RunningServer
) -> None:
    bad = echo.words(numbers=[{"value": -1}] * 1000)
    error = await failure(invoke(echo, server.open_channel("lin"), "Say", bad))
    assert error.reason == "FIELD_INVALID"
    assert error.metadata == {"violations": "1000"}
    assert len(error.violations) > 10


@pytest.mark.parametrize("method", ARITIES)
async def test_bytes_that_are_no_message_are_refused(
    echo: Any, server: RunningServer, method: str
) -> None:
    error = await failure(invoke(echo, server.open_channel("lin"), method, b"\xff\xff"))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_MALFORMED")


async def test_a_request_is_not_looked_at_before_its_caller(
    echo: Any, server: RunningServer
) -> None:
    error = await failure(invoke(echo, server.open_channel("guest"), "Say", b"\xff\xff"))
    assert error.reason == "PERMISSION_DENIED"


@pytest.mark.parametrize("method", ARITIES)
@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (BookNotFound("emma"), grpc.StatusCode.NOT_FOUND),
        (Unauthenticated("who?"), grpc.StatusCode.UNAUTHENTICATED),
        (Denied("no"), grpc.StatusCode.PERMISSION_DENIED),
        (BookExists("there is one"), grpc.StatusCode.ALREADY_EXISTS),
        (BookChanged("meanwhile"), grpc.StatusCode.ABORTED),
        (BookLent("to somebody"), grpc.StatusCode.FAILED_PRECONDITION),
        (TitleInvalid("too long", field="book.title", limit=3), grpc.StatusCode.INVALID_ARGUMENT),
        (Exhausted("full"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (Unavailable("down"), grpc.StatusCode.UNAVAILABLE),
    ],
    ids=lambda value: value.name if isinstance(value, grpc.StatusCode) else type(value).__name__,
)
async def test_each_kind_of_error_crosses_the_wire(
    echo: Any, method: str, raised: Any, code: grpc.StatusCode
) -> None:
    async def one(request: Any, context: Any) -> Any:
        raise raised

    async def many(request: Any, context: Any) -> AsyncIterator[Any]:
        yield echo.words(text="first")
        raise raised

    behaviour = many if method in ("Repeat", "Chat") else one
    async with running_server([echo.app(**{method: behaviour})], PRINCIPALS) as server:
        error = await failure(invoke(echo, server.open_channel("lin"), method))
    assert error.code is code
    assert (error.reason, error.message, error.field) == (
        raised.reason,
        raised.message,
        raised.field,
    )
    assert error.metadata == raised.metadata
    kinds = (NotFound, Unauthenticated, Denied, Conflict, Invalid, Exhausted, Unavailable)
    assert [isinstance(error, kind) for kind in kinds] == [
        isinstance(raised, kind) for kind in kinds
    ]


@pytest.mark.parametrize("method", ARITIES)
async def test_an_unforeseen_error_shows_its_trace_id_and_nothing_else(
    echo: Any, method: str
) -> None:
    async def one(request: Any, context: Any) -> Any:
        raise ZeroDivisionError("secret text")

    async def many(request: Any, context: Any) -> AsyncIterator[Any]:
        yield echo.words(text="first")
        raise ZeroDivisionError("secret text")

    behaviour = many if method in ("Repeat", "Chat") else one
    async with running_server([echo.app(**{method: behaviour})], PRINCIPALS) as server:
        with structlog.testing.capture_logs() as lines:
            error = await failure(invoke(echo, server.open_channel("lin"), method))
    assert (error.code, error.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "secret" not in error.message
    assert error.trace_id in error.message
    (line,) = [line for line in lines if line["event"] == "call failed"]
    assert line["log_level"] == "error"
    assert line["trace"] == error.trace_id
    assert isinstance(line["exc_info"], ZeroDivisionError)


@pytest.mark.parametrize("users", [("",), (" ",), ("users/",), ("lin ma",), ("lin", "guest")])
async def test_who_names_no_user_or_two_does_not_act_for_the_service_itself(
    echo: Any, server: RunningServer, users: tuple[str, ...]
) -> None:
    named = [("x-atrium-user", user) for user in users]
    call = echo.call(server.open_channel("portal"), "Say")
    error = await failure(call(echo.words(text="hello"), metadata=named))
    assert (error.code, error.reason) == (
        grpc.StatusCode.UNAUTHENTICATED,
        "CREDENTIAL_MALFORMED",
    )


async def test_two_credentials_are_none(echo: Any, server: RunningServer) -> None:
    call = echo.call(server.open_channel(), "Say")
    both = [("authorization", f"Bearer {key}") for key in ("guest", "lin")]
    error = await failure(call(echo.words(text="hello"), metadata=both))
    assert error.code is grpc.StatusCode.UNAUTHENTICATED


async def test_a_failed_call_is_one_line_without_content(echo: Any, server: RunningServer) -> None:
    bad = echo.words(text="very private " * 5)
    with structlog.testing.capture_logs() as lines:
        await failure(invoke(echo, server.open_channel("portal", "lin"), "Say", bad))
    (line,) = lines
    assert (line["reason"], line["code"]) == ("FIELD_INVALID", "INVALID_ARGUMENT")
    assert (line["tenant"], line["actor"], line["on_behalf_of"]) == (
        "acme",
        "users/portal",
        "users/lin",
    )
    assert "private" not in str(line)


class NoModel(Unavailable):
    reason = "NO_MODEL"
    lasting = True


async def test_an_error_that_lasts_is_told_once_until_such_a_call_works(echo: Any) -> None:
    async def say(request: Any, context: Any) -> Any:
        if request.text == "works":
            return request
        raise NoModel(request.text)

    async def told(server: RunningServer, *texts: str) -> list[str]:
        with structlog.testing.capture_logs() as lines:
            for text in texts:
                call = invoke(echo, server.open_channel("lin"), "Say", echo.words(text=text))
                await (call if text == "works" else failure(call))
        return [line["log_level"] for line in lines if line["event"] == "call failed"]

    async with running_server([echo.app(Say=say)], PRINCIPALS) as server:
        assert await told(server, "a", "a", "a") == ["warning", "debug", "debug"]
        assert await told(server, "b", "a", "b") == ["warning", "debug", "debug"]
        assert await told(server, "works", "a", "a") == ["warning", "debug"]
        # However many ways of failing there are, what is remembered of them stays small.
        many = [f"m{number}" for number in range(100)]
        assert set(await told(server, *many)) == {"warning"}
        assert await told(server, "a", "a") == ["warning", "debug"]


async def test_a_long_chinese_message_fits_into_the_metadata(echo: Any) -> None:
    async def say(request: Any, context: Any) -> Any:
        raise TitleInvalid("标题太长。" * 2000, field="标题" * 500, value="值" * 5000)

    async with running_server([echo.app(Say=say)], PRINCIPALS) as server:
        error = await failure(invoke(echo, server.open_channel("lin"), "Say"))
    assert error.reason == "TITLE_INVALID"
    assert error.message.startswith("标题太长。")


async def test_a_message_larger_than_the_limit_is_refused(echo: Any) -> None:
    limits = RpcLimits(max_message_bytes=1000)
    async with running_server([echo.app()], PRINCIPALS, limits=limits) as server:
        channel = server.open_channel("lin")
        error = await failure(invoke(echo, channel, "Say", echo.words(text="x" * 2000)))
    assert error.code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_calls_beyond_the_bound_are_refused(echo: Any) -> None:
    release, begun = asyncio.Event(), []

    async def say(request: Any, context: Any) -> Any:
        begun.append(request)
        await release.wait()
        return request

    limits = RpcLimits(max_concurrent_calls=2)
    async with running_server([echo.app(Say=say)], PRINCIPALS, limits=limits) as server:
        channel = server.open_channel("lin")
        under_way = [asyncio.create_task(invoke(echo, channel, "Say")) for _ in range(2)]
        await eventually(lambda: len(begun) == 2)
        error = await failure(invoke(echo, channel, "Ping"))
        release.set()
        await asyncio.gather(*under_way)
    assert error.code is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("method", ["Say", "Repeat", "Collect", "Chat"])
async def test_a_cancelled_call_cancels_the_work(echo: Any, method: str) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    async def one(request: Any, context: Any) -> Any:
        await work()

    async def many(request: Any, context: Any) -> AsyncIterator[Any]:
        yield echo.words(text="first")
        await work()

    behaviour = many if method in ("Repeat", "Chat") else one
    async with running_server([echo.app(**{method: behaviour})], PRINCIPALS) as server:
        task = asyncio.create_task(invoke(echo, server.open_channel("lin"), method))
        await started.wait()
        task.cancel()
        async with asyncio.timeout(2):
            await cancelled.wait()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_generator_closes_in_its_own_call_when_the_reader_goes_away(echo: Any) -> None:
    mark: ContextVar[str] = ContextVar("mark", default="")
    closed: asyncio.Future[tuple[bool, str]] = asyncio.get_running_loop().create_future()

    async def repeat(request: Any, context: Any) -> AsyncIterator[Any]:
        task = asyncio.current_task()
        token = mark.set("mine")
        try:
            while True:
                yield echo.words(text=mark.get())
        finally:
            mark.reset(token)  # fails in any other context
            closed.set_result((asyncio.current_task() is task, principal(context).subject))

    async with running_server([echo.app(Repeat=repeat)], PRINCIPALS) as server:
        call = echo.call(server.open_channel("lin"), "Repeat")(echo.words(text="go"))
        assert (await call.read()).text == "mine"
        call.cancel()
        async with asyncio.timeout(2):
            assert await closed == (True, "users/lin")


async def test_calls_at_once_keep_their_principals_apart(echo: Any) -> None:
    async def repeat(request: Any, context: Any) -> AsyncIterator[Any]:
        for _ in range(5):
            await asyncio.sleep(0.001)
            inner = await asyncio.create_task(_subject(context))
            yield echo.words(text=inner)

    async def _subject(context: Any) -> str:
        return principal(context).subject

    async with running_server([echo.app(Repeat=repeat)], PRINCIPALS) as server:
        users = [f"users/u{number}" for number in range(20)]
        answers = await asyncio.gather(
            *(invoke(echo, server.open_channel("portal", user), "Repeat") for user in users)
        )
    assert [{answer.text for answer in five} for five in answers] == [{user} for user in users]


async def test_a_deadline_is_counted_as_such(echo: Any) -> None:
    async def say(request: Any, context: Any) -> Any:
        await asyncio.sleep(60)

    async with running_server([echo.app(Say=say)], PRINCIPALS) as server:
        before = _count("Say", "DEADLINE_EXCEEDED")
        stub = echo.call(server.open_channel("lin"), "Say")
        error = await failure(stub(echo.words(text="hello"), timeout=0.5))
        # The caller leaves a little before or after the server's own clock says so.
        await eventually(lambda: _count("Say", "DEADLINE_EXCEEDED") > before)
    assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert isinstance(error, Unavailable)
    assert _count("Say", "DEADLINE_EXCEEDED") == before + 1


async def test_who_leaves_long_before_the_deadline_is_counted_as_gone(echo: Any) -> None:
    begun = asyncio.Event()

    async def say(request: Any, context: Any) -> Any:
        begun.set()
        await asyncio.sleep(60)

    async with running_server([echo.app(Say=say)], PRINCIPALS) as server:
        before = _count("Say", "CANCELLED")
        call = echo.call(server.open_channel("lin"), "Say")(echo.words(text="hello"), timeout=30)
        await begun.wait()
        call.cancel()
        await eventually(lambda: _count("Say", "CANCELLED") > before)
    assert _count("Say", "CANCELLED") == before + 1


def _count(method: str, code: str) -> float:
    labels = {"service": "atrium.testing.v1.EchoService", "method": method, "code": code}
    return telemetry.METRICS.get_sample_value("atrium_rpc_total", labels) or 0.0


async def test_calls_are_counted_and_timed_by_method_and_code(
    echo: Any, server: RunningServer
) -> None:
    labels = {"service": "atrium.testing.v1.EchoService", "method": "Chat"}
    timed = telemetry.METRICS.get_sample_value("atrium_rpc_seconds_count", labels) or 0.0
    fine, denied = _count("Chat", "OK"), _count("Chat", "PERMISSION_DENIED")
    await invoke(echo, server.open_channel("lin"), "Chat")
    await failure(invoke(echo, server.open_channel("guest"), "Chat"))
    assert _count("Chat", "OK") == fine + 1
    assert _count("Chat", "PERMISSION_DENIED") == denied + 1
    assert telemetry.METRICS.get_sample_value("atrium_rpc_seconds_count", labels) == timed + 2
    assert telemetry.METRICS.get_sample_value("atrium_rpc_in_flight", labels) == 0
    assert b"atrium_rpc_seconds_bucket" in telemetry.metrics_text()


async def test_the_callers_trace_goes_on(echo: Any) -> None:
    async def say(request: Any, context: Any) -> Any:
        sent = dict(metadata_for(principal(context)))
        assert sent["authorization"] == "Bearer token-of-lin"
        return echo.words(text=f"{trace_id()} {sent['traceparent'][3:9]}")

    async with running_server([echo.app(Say=say)], PRINCIPALS) as server:
        stub = echo.call(server.open_channel("lin"), "Say")
        trace = uuid.uuid4().hex
        answer = await stub(
            echo.words(text="hello"),
            metadata=(("traceparent", f"00-{trace}-00f067aa0ba902b7-01"),),
        )
        assert answer.text == f"{trace} {trace[:6]}"
        first = await stub(echo.words(text="hello"))
        second = await stub(echo.words(text="hello"))
    assert first.text != second.text


async def test_spans_join_the_callers_trace_and_name_the_failure(echo: Any) -> None:
    async def say(request: Any, context: Any) -> Any:
        with telemetry.span("inner", words=1):
            sent = dict(metadata_for(principal(context)))
        if request.text == "fail":
            raise ZeroDivisionError
        return echo.words(text=sent["traceparent"][:40])

    spans = InMemorySpanExporter()
    telemetry.configure_tracing("echo", None, exporter=spans)
    try:
        async with running_server([echo.app(Say=say)], PRINCIPALS) as server:
            stub = echo.call(server.open_channel("lin"), "Say")
            trace = uuid.uuid4().hex
            parent = (("traceparent", f"00-{trace}-00f067aa0ba902b7-01"),)
            answer = await stub(echo.words(text="hello"), metadata=parent)
            error = await failure(stub(echo.words(text="fail"), metadata=parent))
        telemetry.flush_traces()
    finally:
        telemetry.shut_down_tracing()
    inner, outer, _, failed = spans.get_finished_spans()
    assert outer.name == "atrium.testing.v1.EchoService/Say"
    assert f"{outer.context.trace_id:032x}" == trace == error.trace_id
    assert f"{outer.parent.span_id:016x}" == "00f067aa0ba902b7"
    assert inner.parent.span_id == outer.context.span_id
    assert answer.text[36:40] == f"{inner.context.span_id:016x}"[:4]
    assert outer.attributes["rpc.response.status_code"] == "OK"
    assert failed.attributes["rpc.response.status_code"] == "INTERNAL"
    assert not failed.status.is_ok


async def test_a_revoked_caller_loses_the_open_stream(echo: Any) -> None:
    ended = asyncio.Event()

    async def repeat(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            while True:
                yield echo.words(text=principal(context).subject)
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    authenticator = FakeAuthenticator(PRINCIPALS)
    async with running_server([echo.app(Repeat=repeat)], authenticator=authenticator) as server:
        mine = echo.call(server.open_channel("lin"), "Repeat")(echo.words(text="go"))
        other = echo.call(server.open_channel("portal"), "Repeat")(echo.words(text="go"))
        await mine.read()
        await other.read()
        authenticator.change("lin", None, users=["users/lin"])
        error = await failure(_drain(mine))
        assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, "API_KEY_UNKNOWN")
        async with asyncio.timeout(2):
            await ended.wait()
        assert (await other.read()).text == "users/portal"
        other.cancel()


async def _drain(call: Any) -> None:
    async with asyncio.timeout(2):
        async for _ in call:
            pass


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (make_principal(actor="users/lin"), "PERMISSION_DENIED"),
        (make_principal("testing.echo:use", actor="users/lin"), "PERMISSIONS_CHANGED"),
    ],
)
async def test_a_stream_ends_when_its_caller_lost_something(
    echo: Any, now: Principal, reason: str
) -> None:
    before = make_principal("testing.echo:use", labels=["hr"], actor="users/lin")
    authenticator = FakeAuthenticator({"lin": before})
    async with running_server([echo.app()], authenticator=authenticator) as server:
        call = echo.call(server.open_channel("lin"), "Chat")()
        await call.write(echo.words(text="one"))
        await call.read()
        authenticator.change("lin", now)
        error = await failure(_drain(call))
    assert error.reason == reason


async def test_a_change_while_a_stream_is_let_in_counts(echo: Any) -> None:
    class Slow(FakeAuthenticator):
        async def authenticate(self, credential: str, on_behalf_of: str | None) -> Principal:
            found = await super().authenticate(credential, on_behalf_of)
            if found is LIN:
                self.change(credential, GUEST)  # revoked just after it was looked up
            return found

    async with running_server([echo.app()], authenticator=Slow({"lin": LIN})) as server:
        error = await failure(invoke(echo, server.open_channel("lin"), "Repeat"))
    assert error.reason == "PERMISSION_DENIED"


async def test_a_change_holds_when_the_streams_that_it_ends_have_ended(echo: Any) -> None:
    ending = asyncio.Event()
    seen: list[str] = []

    async def repeat(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            while True:
                yield echo.words(text="on")
                await asyncio.sleep(0.01)
        finally:
            ending.set()
            await asyncio.sleep(0.1)
            seen.append("ended")

    authenticator = FakeAuthenticator({"lin": LIN})
    async with running_server([echo.app(Repeat=repeat)], authenticator=authenticator) as server:
        call = echo.call(server.open_channel("lin"), "Repeat")(echo.words(text="go"))
        await call.read()
        await authenticator.change("lin", None)
        assert ending.is_set()
        assert seen == ["ended"]
        await failure(_drain(call))


async def test_a_servicer_that_does_not_end_says_nothing_more_to_a_revoked_caller(
    echo: Any,
) -> None:
    async def repeat(request: Any, context: Any) -> AsyncIterator[Any]:
        yield echo.words(text="before")
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(10)
        yield echo.words(text="after")

    authenticator = FakeAuthenticator({"lin": LIN})
    async with running_server([echo.app(Repeat=repeat)], authenticator=authenticator) as server:
        call = echo.call(server.open_channel("lin"), "Repeat")(echo.words(text="go"))
        assert (await call.read()).text == "before"
        await authenticator.change("lin", None)
        error = await failure(_read_none(call))
        assert error.reason == "API_KEY_UNKNOWN"


async def _read_none(call: Any) -> None:
    async for message in call:
        raise AssertionError(message)


async def test_a_stream_that_cannot_be_judged_is_ended(
    echo: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    authenticator = FakeAuthenticator({"lin": LIN})
    async with running_server([echo.app()], authenticator=authenticator) as server:
        call = echo.call(server.open_channel("lin"), "Chat")()
        await call.write(echo.words(text="one"))
        await call.read()
        authenticator.authenticate = None  # type: ignore[method-assign,assignment]
        await authenticator.change("lin", LIN)
        error = await failure(_drain(call))
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "IDENTITY_UNAVAILABLE")
    assert error.metadata == {"cause": "TypeError"}


async def test_a_change_while_a_single_call_is_let_in_counts(echo: Any) -> None:
    class Slow(FakeAuthenticator):
        async def authenticate(self, credential: str, on_behalf_of: str | None) -> Principal:
            found = await super().authenticate(credential, on_behalf_of)
            if found is LIN:
                self.change(credential, GUEST)
            return found

    async with running_server([echo.app()], authenticator=Slow({"lin": LIN})) as server:
        error = await failure(invoke(echo, server.open_channel("lin"), "Say"))
    assert error.reason == "PERMISSION_DENIED"


async def test_a_stream_goes_on_when_its_caller_gained_something(echo: Any) -> None:
    authenticator = FakeAuthenticator({"lin": LIN})
    async with running_server([echo.app()], authenticator=authenticator) as server:
        call = echo.call(server.open_channel("lin"), "Chat")()
        await call.write(echo.words(text="one"))
        await call.read()
        authenticator.change("lin", make_principal("testing.echo:use", labels=["hr"]))
        await call.write(echo.words(text="two"))
        assert (await call.read()).text == "two"
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF


async def test_health_tells_of_every_app_and_of_the_whole(echo: Any, server: RunningServer) -> None:
    stub = health_pb2_grpc.HealthStub(server.open_channel())
    for name in ("", "echo"):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Check(health_pb2.HealthCheckRequest(service="other"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_lists_the_services(echo: Any, server: RunningServer) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(server.open_channel())
    call = stub.ServerReflectionInfo(
        iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    )
    (answer,) = [answer async for answer in call]
    names = {service.name for service in answer.list_services_response.service}
    assert {"atrium.testing.v1.EchoService", "grpc.health.v1.Health"} <= names


async def test_a_stopping_server_says_so_and_lets_calls_finish(echo: Any) -> None:
    begun, release, order = asyncio.Event(), asyncio.Event(), []

    async def say(request: Any, context: Any) -> Any:
        begun.set()
        await release.wait()
        order.append("call ended")
        return request

    async def stop() -> None:
        order.append("app stopped")

    async with running_server([echo.app(Say=say, stop=stop)], PRINCIPALS) as server:
        channel = server.open_channel("lin")
        health = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert (await health.read()).status == health_pb2.HealthCheckResponse.SERVING
        under_way = asyncio.create_task(invoke(echo, channel, "Say"))
        await begun.wait()
        stopping = asyncio.create_task(server.server.stop(5))
        assert (await health.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        error = await failure(invoke(echo, channel, "Say"))
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
        release.set()
        (answer,) = await under_way
        assert answer.text == "hello"
        async with asyncio.timeout(2):
            await stopping
    assert order == ["call ended", "app stopped"]


async def test_calls_under_way_may_still_call_services_of_a_stopping_server(echo: Any) -> None:
    begun, release = asyncio.Event(), asyncio.Event()
    nested, _ = TokenSigner.generate("k1").sign(
        tenant="acme",
        actor="users/lin",
        on_behalf_of=None,
        allow_set=LIN.allow_set,
        credential="apiKeys/k1",
        audiences=["test"],
    )
    target = ""

    async def say(request: Any, context: Any) -> Any:
        begun.set()
        await release.wait()
        async with open_channel(target) as channel:
            return await echo.call(channel, "WhoAmI")(
                request, metadata=metadata_for(principal(context))
            )

    lin = make_principal("testing.echo:use", token=nested)
    async with running_server([echo.app(Say=say)], {"lin": lin, nested: lin}) as server:
        target = server.target
        channel = server.open_channel("lin")
        health = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert (await health.read()).status == health_pb2.HealthCheckResponse.SERVING
        under_way = asyncio.create_task(invoke(echo, channel, "Say"))
        await begun.wait()
        stopping = asyncio.create_task(server.server.stop(5))
        assert (await health.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert (await failure(invoke(echo, channel, "WhoAmI"))).reason == "SHUTTING_DOWN"
        release.set()
        (answer,) = await under_way
        assert answer.text == "hello"
        await stopping


async def test_open_streams_do_not_hold_up_the_end_of_the_server_for_ever(echo: Any) -> None:
    async def endless(request: Any, context: Any) -> AsyncIterator[Any]:
        yield request
        await asyncio.sleep(60)

    app = echo.app(Repeat=endless, Feed=endless)
    async with running_server([app], PRINCIPALS) as server:
        feed = echo.call(server.open_service_channel("gateway"), "Feed")(echo.words())
        await feed.read()
        stream = echo.call(server.open_channel("lin"), "Repeat")(echo.words())
        await stream.read()
        loop = asyncio.get_running_loop()
        began = loop.time()
        await server.server.stop(0.2)
        assert loop.time() - began < 2
        for call in (feed, stream):
            error = await failure(_drain(call))
            assert error.reason == "SHUTTING_DOWN"


@pytest.mark.parametrize("method", [*ARITIES, "Feed"])
async def test_apps_stop_after_the_calls_that_were_cut_short_have_cleaned_up(
    echo: Any, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atrium_shared.rpc.server._SECONDS_TO_SEND_STATUS", 0.05)
    started, order = asyncio.Event(), []

    async def clean_up() -> None:
        await asyncio.sleep(0.3)
        order.append("call ended")

    async def work() -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            await unbroken(clean_up())

    async def one(request: Any, context: Any) -> Any:
        await work()

    async def many(request: Any, context: Any) -> AsyncIterator[Any]:
        yield echo.words(text="first")
        await work()

    async def stop() -> None:
        order.append("app stopped")

    streaming = method in ("Repeat", "Chat", "Feed")
    app = echo.app(stop=stop, **{method: many if streaming else one})
    async with running_server([app], PRINCIPALS) as server:
        channel = (
            server.open_service_channel("gateway")
            if method == "Feed"
            else server.open_channel("lin")
        )
        call = asyncio.create_task(failure(invoke(echo, channel, method)))
        await started.wait()
        await server.server.stop(0.1)
        assert order == ["call ended", "app stopped"]
        await call


async def test_a_call_that_never_ends_keeps_no_app_from_stopping(
    echo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atrium_shared.rpc.server._SECONDS_TO_CLEAN_UP", 0.1)
    started, release, order = asyncio.Event(), asyncio.Event(), []

    async def say(request: Any, context: Any) -> Any:
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            await release.wait()
            order.append("call ended")

    async def stop() -> None:
        order.append("app stopped")

    async with running_server([echo.app(Say=say, stop=stop)], PRINCIPALS) as server:
        call = asyncio.create_task(failure(invoke(echo, server.open_channel("lin"), "Say")))
        await started.wait()
        async with asyncio.timeout(5):
            await server.server.stop(0.1)
        assert order == ["app stopped"]
        release.set()
        await call


async def test_a_feed_alone_does_not_make_the_server_wait(echo: Any) -> None:
    async def endless(request: Any, context: Any) -> AsyncIterator[Any]:
        yield request
        await asyncio.sleep(60)

    async with running_server([echo.app(Feed=endless)]) as server:
        feed = echo.call(server.open_service_channel("gateway"), "Feed")(echo.words())
        await feed.read()
        async with asyncio.timeout(3):
            await server.server.stop(60)


def _server(echo_app: Any, **arguments: Any) -> RpcServer:
    return RpcServer(
        [echo_app] if not isinstance(echo_app, list) else echo_app,
        address=arguments.pop("address", "127.0.0.1:0"),
        authenticator=FakeAuthenticator({}),
        audit=MemoryAuditSink(),
        **arguments,
    )


IDENTITY = ServiceIdentity("test", TEST_SECRET)


async def test_a_method_without_an_access_rule_stops_the_start(echo: Any) -> None:
    app = echo.app("atrium.testing.v1.BareService")
    with pytest.raises(ServerMisconfigured, match=r"BareService/Say has no access rule"):
        await _server(app, service=IDENTITY).start()


async def test_a_method_without_a_proto_and_a_rule_stops_the_start(echo: Any) -> None:
    def add(server: grpc.aio.Server) -> None:
        async def say(request: bytes, context: Any) -> bytes:
            return request

        handlers = {"Say": grpc.unary_unary_rpc_method_handler(say)}
        server.add_registered_method_handlers("made.up.Service", handlers)

    app = echo.app()
    app.services["made.up.Service"] = add
    with pytest.raises(ServerMisconfigured, match=r"made.up.Service/Say has no access rule"):
        await _server(app, service=IDENTITY).start()


async def test_a_rule_given_beside_the_proto_counts(echo: Any) -> None:
    bare = "atrium.testing.v1.BareService"
    app = echo.app(bare, extra_access={f"{bare}/Say": ANONYMOUS})
    async with running_server([app]) as server:
        answer = await echo.call(server.open_channel(), "Say", bare)(echo.words(text="hello"))
    assert answer.text == "hello"


async def test_a_service_without_handlers_stops_the_start(echo: Any) -> None:
    app = echo.app()
    app.services["atrium.testing.v1.BareService"] = lambda server: None
    with pytest.raises(ServerMisconfigured, match="has no handler for Say"):
        await _server(app, service=IDENTITY).start()


async def test_two_apps_with_one_service_stop_the_start(echo: Any) -> None:
    with pytest.raises(ServerMisconfigured, match="is served by two apps"):
        await _server([echo.app(), echo.app(name="other")], service=IDENTITY).start()


async def test_a_service_method_needs_something_to_verify_services_with(echo: Any) -> None:
    with pytest.raises(ServerMisconfigured, match="a service identity is needed"):
        await _server(echo.app()).start()


async def test_an_address_in_use_stops_the_start(echo: Any, server: RunningServer) -> None:
    with pytest.raises(ServerMisconfigured, match="Cannot listen on"):
        await _server(echo.app(), service=IDENTITY, address=server.target).start()


async def test_apps_that_started_are_stopped_when_a_later_one_fails(echo: Any) -> None:
    events: list[str] = []

    def app(name: str, service: str, fails: bool) -> Any:
        async def start() -> None:
            events.append(f"start {name}")
            if fails:
                raise RuntimeError("no disk")

        async def stop() -> None:
            events.append(f"stop {name}")

        bare = "atrium.testing.v1.BareService"
        access = {f"{bare}/Say": ANONYMOUS}
        return echo.app(service, name=name, start=start, stop=stop, extra_access=access)

    apps = [
        app("one", "atrium.testing.v1.EchoService", fails=False),
        app("two", "atrium.testing.v1.BareService", fails=True),
    ]
    with pytest.raises(RuntimeError, match="no disk"):
        await _server(apps, service=IDENTITY).start()
    assert events == ["start one", "start two", "stop one"]


async def test_all_apps_stop_when_one_of_them_fails_to(echo: Any) -> None:
    stopped: list[str] = []

    def app(name: str, service: str) -> Any:
        async def stop() -> None:
            stopped.append(name)
            raise RuntimeError(name)

        access = {"atrium.testing.v1.BareService/Say": ANONYMOUS}
        return echo.app(service, name=name, stop=stop, extra_access=access)

    server = _server(
        [
            app("one", "atrium.testing.v1.EchoService"),
            app("two", "atrium.testing.v1.BareService"),
        ],
        service=IDENTITY,
    )
    await server.start()
    with pytest.raises(ExceptionGroup):
        await server.stop(1)
    assert stopped == ["two", "one"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_the_server(echo: Any, number: signal.Signals) -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    async def start() -> None:
        started.set()

    async def stop() -> None:
        stopped.set()

    server = _server(echo.app(start=start, stop=stop), service=IDENTITY)
    serving = asyncio.create_task(serve_until_signal(server, grace_seconds=1))
    await started.wait()
    await asyncio.sleep(0.05)
    os.kill(os.getpid(), number)
    async with asyncio.timeout(3):
        await serving
    assert stopped.is_set()


async def test_a_channel_of_a_service_carries_its_assertion(echo: Any) -> None:
    async with running_server([echo.app()], PRINCIPALS) as server:
        identity = ServiceIdentity("gateway", TEST_SECRET)
        channel = open_channel(server.target, service=identity)
        async with channel:
            for method in ("Tell", "Feed"):
                assert (await invoke(echo, channel, method))[0].text == "hello"
            # What a call brings itself is kept.
            call = echo.call(channel, "Say")(
                echo.words(text="mine"), metadata=(("authorization", "Bearer lin"),)
            )
            assert (await call).text == "mine"


async def test_an_idempotent_call_is_repeated_when_the_server_is_unavailable(echo: Any) -> None:
    calls = {"WhoAmI": 0, "Say": 0}

    def flaky(method: str) -> Any:
        async def behaviour(request: Any, context: Any) -> Any:
            calls[method] += 1
            if calls[method] == 1:
                raise Unavailable("not yet")
            return request

        return behaviour

    app = echo.app(WhoAmI=flaky("WhoAmI"), Say=flaky("Say"))
    async with running_server([app], PRINCIPALS) as server:
        channel = open_channel(server.target, idempotent=["atrium.testing.v1.EchoService/WhoAmI"])
        async with channel:
            metadata = (("authorization", "Bearer lin"),)
            who = echo.call(channel, "WhoAmI")(echo.words(text="hello"), metadata=metadata)
            assert (await who).text == "hello"
            error = await failure(
                echo.call(channel, "Say")(echo.words(text="hello"), metadata=metadata)
            )
    assert calls == {"WhoAmI": 2, "Say": 1}
    assert error.code is grpc.StatusCode.UNAVAILABLE


async def test_a_server_with_certificates_knows_its_clients(echo: Any) -> None:
    certificate, key = _self_signed()
    server = _server(
        echo.app(),
        service=IDENTITY,
        address="localhost:0",
        tls=ServerTls(certificate, key, client_ca=certificate),
    )
    port = await server.start()
    try:
        known = ChannelTls(server_ca=certificate, certificate=certificate, private_key=key)
        async with open_channel(f"localhost:{port}", tls=known) as channel:
            assert (await invoke(echo, channel, "Ping"))[0].text == "hello"
        for tls in (ChannelTls(server_ca=certificate), None):
            async with open_channel(f"localhost:{port}", tls=tls) as channel:
                error = await failure(invoke(echo, channel, "Ping"))
                assert error.code is grpc.StatusCode.UNAVAILABLE
    finally:
        await server.stop(0)


def _self_signed() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = SystemClock().now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return certificate.public_bytes(pem), key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


async def test_a_server_that_is_slow_to_greet_is_waited_for(echo: Any) -> None:
    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def greet_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.5)
        target_reader, target_writer = await asyncio.open_connection(*server.target.split(":"))
        await asyncio.gather(copy(reader, target_writer), copy(target_reader, writer))

    async with (
        running_server([echo.app()], PRINCIPALS) as server,
        await asyncio.start_server(greet_late, "127.0.0.1", 0) as busy,
    ):
        port = busy.sockets[0].getsockname()[1]
        async with open_channel(f"127.0.0.1:{port}") as channel:
            assert (await invoke(echo, channel, "Ping"))[0].text == "hello"


async def test_a_server_that_is_not_there_is_unavailable(echo: Any) -> None:
    async with open_channel("127.0.0.1:1") as channel:
        error = await failure(echo.call(channel, "Say")(echo.words(text="hello")))
    assert isinstance(error, Unavailable)
    assert error.reason == "UNAVAILABLE"


async def test_an_expired_assertion_is_refused(echo: Any) -> None:
    clock = FixedClock()
    verifier = ServiceIdentity("test", TEST_SECRET, clock)
    assertion = ServiceIdentity("gateway", TEST_SECRET, clock).assertion()
    async with running_server([echo.app()], service=verifier) as server:
        channel = server.open_channel(assertion)
        await invoke(echo, channel, "Tell")
        clock.advance(timedelta(seconds=75).total_seconds())
        error = await failure(invoke(echo, channel, "Tell"))
    assert error.reason == "SERVICE_ASSERTION_INVALID"
