"""A service of all arities and all access rules, made for the tests of the RPC chain."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from buf.validate import validate_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc

from atrium.authz.v1 import annotations_pb2
from atrium_shared.rpc.server import ServiceApp

ECHO = "atrium.testing.v1.EchoService"
BARE = "atrium.testing.v1.BareService"
PROTO = """
syntax = "proto3";
package atrium.testing.v1;
import "atrium/authz/v1/annotations.proto";
import "buf/validate/validate.proto";

service EchoService {
  rpc Say(Words) returns (Words) {
    option (atrium.authz.v1.access).permission = "testing.echo:use";
  }
  rpc Repeat(Words) returns (stream Words) {
    option (atrium.authz.v1.access).permission = "testing.echo:use";
  }
  rpc Collect(stream Words) returns (Words) {
    option (atrium.authz.v1.access).permission = "testing.echo:use";
  }
  rpc Chat(stream Words) returns (stream Words) {
    option (atrium.authz.v1.access).permission = "testing.echo:use";
  }
  rpc WhoAmI(Words) returns (Words) {
    option (atrium.authz.v1.access).authenticated = true;
  }
  rpc Ping(Words) returns (Words) {
    option (atrium.authz.v1.access).anonymous = true;
  }
  rpc Tell(Words) returns (Words) {
    option (atrium.authz.v1.access).service = true;
  }
  rpc Feed(Words) returns (stream Words) {
    option (atrium.authz.v1.access).service = true;
  }
}

service BareService {
  rpc Say(Words) returns (Words);
}

message Words {
  string text = 1 [(buf.validate.field).string.max_len = 40];
  repeated Number numbers = 2;
}

message Number {
  int32 value = 1 [(buf.validate.field).int32.gt = 0];
}
"""


def _compile() -> type[Any]:
    known = descriptor_pb2.FileDescriptorSet()
    seen: set[str] = set()

    def add(file: Any) -> None:
        for dependency in file.dependencies:
            add(dependency)
        if file.name not in seen:
            seen.add(file.name)
            file.CopyToProto(known.file.add())

    add(annotations_pb2.DESCRIPTOR)
    add(validate_pb2.DESCRIPTOR)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        (scratch / "known").write_bytes(known.SerializeToString())
        (scratch / "echo.proto").write_text(PROTO)
        arguments = [
            f"--descriptor_set_in={scratch / 'known'}",
            f"--proto_path={scratch}",
            f"--descriptor_set_out={scratch / 'echo'}",
            "echo.proto",
        ]
        assert protoc.main(["protoc", *arguments]) == 0
        files = descriptor_pb2.FileDescriptorSet.FromString((scratch / "echo").read_bytes())
    pool = descriptor_pool.Default()
    pool.Add(files.file[0])
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("atrium.testing.v1.Words"))


@pytest.fixture(scope="session")
def words() -> type[Any]:
    """The message that every method takes and returns."""
    return _compile()


async def _nothing() -> None:
    return None


@dataclass
class Echo:
    """The service: methods of a servicer by name, and stubs to call them."""

    words: type[Any]

    def app(
        self,
        service: str = ECHO,
        *,
        name: str = "echo",
        start: Any = _nothing,
        stop: Any = _nothing,
        extra_access: Any = None,
        **methods: Callable[..., Any],
    ) -> ServiceApp:
        """Return an app that serves ``methods``; the others of the service answer the request."""
        every: dict[str, Callable[..., Any]] = {"Say": _same}
        if service == ECHO:
            every |= {
                "Repeat": _same_thrice,
                "Collect": _joined,
                "Chat": _each,
                "WhoAmI": _same,
                "Ping": _same,
                "Tell": _same,
                "Feed": _same_thrice,
            }
        every |= methods
        handlers = {method: self._handler(method, every[method]) for method in every}

        def add(server: grpc.aio.Server) -> None:
            server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(service, handlers),)
            )

        return ServiceApp(
            name=name,
            services={service: add},
            start=start,
            stop=stop,
            extra_access=extra_access or {},
        )

    def _handler(self, method: str, behaviour: Callable[..., Any]) -> Any:
        make = {
            "Repeat": grpc.unary_stream_rpc_method_handler,
            "Feed": grpc.unary_stream_rpc_method_handler,
            "Collect": grpc.stream_unary_rpc_method_handler,
            "Chat": grpc.stream_stream_rpc_method_handler,
        }.get(method, grpc.unary_unary_rpc_method_handler)
        return make(behaviour, self.words.FromString, self.words.SerializeToString)

    def call(self, channel: grpc.aio.Channel, method: str, service: str = ECHO) -> Any:
        """Return the stub of a method."""
        make = {
            "Repeat": channel.unary_stream,
            "Feed": channel.unary_stream,
            "Collect": channel.stream_unary,
            "Chat": channel.stream_stream,
        }.get(method, channel.unary_unary)
        return make(
            f"/{service}/{method}",
            request_serializer=lambda m: m if isinstance(m, bytes) else m.SerializeToString(),
            response_deserializer=self.words.FromString,
        )


async def _same(request: Any, context: Any) -> Any:
    return request


async def _same_thrice(request: Any, context: Any) -> AsyncIterator[Any]:
    for _ in range(3):
        yield request


async def _joined(requests: AsyncIterator[Any], context: Any) -> Any:
    texts = [request.text async for request in requests]
    return request_type(" ".join(texts))


async def _each(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
    async for request in requests:
        yield request


def request_type(text: str) -> Any:
    pool = descriptor_pool.Default()
    words = pool.FindMessageTypeByName("atrium.testing.v1.Words")
    return message_factory.GetMessageClass(words)(text=text)


@pytest.fixture
def echo(words: type[Any]) -> Echo:
    """The echo service."""
    return Echo(words)
