import asyncio

import grpc
import pytest
from google.rpc import code_pb2, status_pb2

from atrium_client import AtriumCallError, AtriumClient, readable_errors
from atrium_client.credentials import credential_interceptors
from atrium_shared.errors import Invalid
from atrium_shared.rpc.status import error_to_status


class PageMissing(Invalid):
    reason = "PAGE_MISSING"


def status() -> status_pb2.Status:
    error = PageMissing("Page 3 is missing. Send it.", field="document.pages", page=3)
    return error_to_status(error, "a" * 32)


def test_a_status_reads_back_with_reason_fields_data_and_trace():
    error = AtriumCallError.from_status(status())
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.reason == "PAGE_MISSING"
    assert error.metadata == {"page": "3"}
    assert list(error.fields) == ["document.pages"]
    assert error.trace_id == "a" * 32
    assert str(error) == "Page 3 is missing. Send it. (PAGE_MISSING)"


def test_a_cancelled_operation_reads_as_cancelled():
    error = AtriumCallError.from_status(
        status_pb2.Status(code=code_pb2.CANCELLED, message="It was cancelled.")
    )
    assert (error.code, error.reason) == (grpc.StatusCode.CANCELLED, "CANCELLED")


@pytest.mark.parametrize(
    ("key", "user"),
    [
        ("", None),
        (" \n", None),
        ("钥匙", None),
        ("atr_a b", None),
        ("atr_a\nb", None),
        ("atr_x", ""),
        ("atr_x", "林"),
        ("atr_x", "lin ma"),
        ("atr_x", "lin\n"),
    ],
)
def test_what_cannot_be_a_key_or_a_user_is_told_before_anything_is_sent(key, user):
    with pytest.raises(AtriumCallError) as caught:
        AtriumClient(key, on_behalf_of=user)
    assert caught.value.reason == "CREDENTIAL_MALFORMED"
    assert caught.value.code is grpc.StatusCode.UNAUTHENTICATED
    assert (repr(user) in caught.value.message) is (key == "atr_x")


def test_the_line_end_of_a_file_is_no_part_of_the_key():
    credentials = credential_interceptors("atr_x\n", None)
    assert credentials[0]._metadata == [("authorization", "Bearer atr_x")]


async def test_a_server_that_is_not_there_is_named_in_plain_words():
    async with AtriumClient("atr_x", target="127.0.0.1:1") as client:
        with pytest.raises(AtriumCallError, match="atrium up") as caught:
            await client.answer("collections/handbook", "Who?")
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    assert "127.0.0.1:1 (connection refused)." in caught.value.message
    async with AtriumClient("atr_x", target="no-such-host.invalid:1") as client:
        with pytest.raises(AtriumCallError, match=r"no host 'no-such-host\.invalid:?1?'"):
            await client.answer("collections/handbook", "Who?")


async def test_the_port_of_http_is_told_from_nothing_at_all():
    async def answer(reader, writer):
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        async with AtriumClient("atr_x", target=f"127.0.0.1:{port}") as client:
            with pytest.raises(AtriumCallError, match="does not speak gRPC"):
                await client.answer("collections/handbook", "Who?")


async def test_a_server_that_knows_no_such_call_is_told_in_plain_words():
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with AtriumClient("atr_x", target=f"127.0.0.1:{port}") as client:
            with pytest.raises(AtriumCallError, match="does not know this call") as caught:
                await client.answer("collections/handbook", "Who?")
    finally:
        await server.stop(None)
    assert caught.value.reason == "UNIMPLEMENTED"


def test_other_errors_pass_unchanged():
    with pytest.raises(ZeroDivisionError), readable_errors():
        raise ZeroDivisionError
