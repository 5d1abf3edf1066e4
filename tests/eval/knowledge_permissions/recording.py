"""What stands around the service under test, and remembers what reaches it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal

import grpc
import numpy as np
from numpy.typing import NDArray

from atrium.knowledge.v1.knowledge_service_pb2_grpc import KnowledgeServiceStub
from atrium_knowledge.adapters.qdrant_edge_index import QdrantEdgeIndex
from atrium_knowledge.app.ports import Readings, Relation, View
from atrium_knowledge.domain.answering.extraction import PassageToRead
from atrium_knowledge.domain.collections import VectorSpace
from atrium_knowledge.domain.fusion import Scored
from atrium_knowledge.testing import HashEmbedder, WordReader
from atrium_shared.engines import Engine, EngineKind, Usage
from atrium_shared.models import ChatMessage, Embedding, Finish, Generated
from atrium_shared.principal import Principal
from atrium_shared.rpc.channel import raise_from_rpc
from atrium_shared.rpc.context import CURRENT_CALL, CallContext
from atrium_shared.rpc.server import ServiceApp
from atrium_shared.testing import FakeAuthenticator, RunningServer

_EVERY_CLASS = frozenset(range(1, 1000))


class RecordingIndex(QdrantEdgeIndex):
    """The real index; remembers the candidates that its legs return.

    Attributes:
        candidates: Points that the legs returned.
        blind: Whether it ignores whose question it is, for the sabotage of its filter.
    """

    blind = False

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.candidates: list[int] = []

    async def find_keywords(
        self, shard: str, query: Mapping[int, float], view: View, depth: int
    ) -> list[Scored]:
        found = await super().find_keywords(shard, query, self._view(view), depth)
        self.candidates += [one.point for one in found]
        return found

    async def find_vectors(
        self, shard: str, query: NDArray[np.float32], space: VectorSpace, view: View, depth: int
    ) -> list[Scored]:
        found = await super().find_vectors(shard, query, space, self._view(view), depth)
        self.candidates += [one.point for one in found]
        return found

    def _view(self, view: View) -> View:
        return View(_EVERY_CLASS, view.hidden) if self.blind else view


class RecordingEmbedder(HashEmbedder):
    """Makes vectors of words; remembers what it was given, by kind.

    Attributes:
        read: Texts since the last look.
    """

    def __init__(self) -> None:
        # Enough dimensions that texts which share no word are far from each other.
        super().__init__(dimensions=256)
        self.read: list[str] = []

    async def embed(
        self, principal: Principal, texts: Sequence[str], kind: Literal["query", "passage"]
    ) -> Embedding:
        self.read += texts
        self.texts.clear()
        return await super().embed(principal, texts, kind)


class RecordingReader(WordReader):
    """Reads by words; remembers what it was given.

    Attributes:
        shown: Passages and topics since the last look.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[str] = []

    async def read(
        self,
        principal: Principal,
        question: str,
        passages: Sequence[PassageToRead],
        relation: Relation,
    ) -> Readings:
        self.shown += [f"{one.heading}\n{one.text}" for one in passages]
        self.questions.clear()
        return await super().read(principal, question, passages, relation)


class RepeatingGenerator:
    """A model that repeats all it is shown, each line with the number of its source.

    Attributes:
        prompts: What it was shown since the last look.
    """

    def __init__(self) -> None:
        self.prompts: list[str] = []

    async def stream(
        self,
        principal: Principal,
        task: str,
        messages: Sequence[ChatMessage],
        max_tokens: int,
        *,
        temperature: float = 0.0,
        stop: Sequence[str] = (),
        response_schema: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[str | Generated]:
        shown = "\n".join(message.content for message in messages)
        self.prompts.append(shown)
        number, said = "1", ""
        for line in messages[-1].content.splitlines():
            if mark := re.match(r"\[(\d+)\]", line):
                number = mark[1]
            elif line.strip():
                part = f"{line} [{number}]\n"
                said += part
                yield part
        engine = Engine(EngineKind.GENERATIVE, "repeating", "repeating")
        yield Generated(said, engine, Usage(len(shown), len(said)), Finish.STOP)


class Loopback:
    """Calls the methods of a service as a server would, in this process and without the wire.

    Args:
        app: The service; it has been started by somebody else.
        service: Full name of the gRPC service.
    """

    def __init__(self, app: ServiceApp, service: str) -> None:
        self._methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        # It takes the place of the server to which the service adds itself.
        app.services[service](self)  # type: ignore[arg-type]

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """The older of the two ways in which generated code adds a service."""

    def add_registered_method_handlers(
        self, service: str, handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        self._methods |= handlers

    @property
    def servicers(self) -> list[object]:
        """Whatever answers, for a look at what it holds in memory."""
        return [
            handler.unary_unary or handler.unary_stream or handler.stream_unary
            for handler in self._methods.values()
        ]

    async def call(self, principal: Principal, method: str, request: Any) -> Any:
        """Return the reply of a unary method.

        Raises:
            AtriumError: The service refuses.
        """
        handler = self._methods[method]
        behaviour: Callable[..., Awaitable[Any]] = handler.unary_unary or handler.stream_unary
        _enter(principal)
        return await behaviour(request, None)

    async def stream(self, principal: Principal, method: str, request: Any) -> list[Any]:
        """Return everything that a method streams.

        Raises:
            AtriumError: The service refuses.
        """
        _enter(principal)
        return [part async for part in self._methods[method].unary_stream(request, None)]


def _enter(principal: Principal) -> None:
    call = CallContext(None)
    call.principal = principal
    CURRENT_CALL.set(call)


class Wire:
    """Calls the knowledge service over gRPC, with what :class:`Loopback` offers.

    Args:
        server: Serves it; users become known to it by their tokens.
    """

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        self._stubs: dict[str, Any] = {}

    async def call(self, principal: Principal, method: str, request: Any) -> Any:
        """Return the reply of a unary method.

        Raises:
            AtriumError: The service refuses.
        """
        try:
            return await getattr(self._stub(principal), method)(request)
        except grpc.aio.AioRpcError as error:
            raise_from_rpc(error)

    async def stream(self, principal: Principal, method: str, request: Any) -> list[Any]:
        """Return everything that a method streams.

        Raises:
            AtriumError: The service refuses.
        """
        try:
            return [part async for part in getattr(self._stub(principal), method)(request)]
        except grpc.aio.AioRpcError as error:
            raise_from_rpc(error)

    def _stub(self, principal: Principal) -> Any:
        # Permissions change between rounds, the token does not.
        authenticator = self._server.authenticator
        assert isinstance(authenticator, FakeAuthenticator)
        authenticator.principals[principal.token] = principal
        stub = self._stubs.get(principal.token)
        if stub is None:
            channel = self._server.open_channel(principal.token)
            stub = self._stubs[principal.token] = KnowledgeServiceStub(channel)
        return stub
