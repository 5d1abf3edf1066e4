"""A vLLM server for tests: it loads adapters, forgets them at a restart, and fails on demand."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from google.longrunning import operations_pb2, operations_pb2_grpc
from safetensors.numpy import save

from atrium.gateway.v1 import adapter_service_pb2, gateway_pb2, gateway_service_pb2
from atrium.gateway.v1.adapter_service_pb2_grpc import AdapterServiceStub
from atrium.gateway.v1.gateway_service_pb2_grpc import ModelCatalogStub, ModelGatewayStub
from atrium_gateway.domain.adapters import ADAPTER_FILES, CONFIG_FILE, WEIGHTS_FILE
from atrium_gateway.testing import (
    Answer,
    FakeUpstream,
    Request,
    ServedGateway,
    failure,
    json_answer,
    reply,
    serve_upstream,
)

if TYPE_CHECKING:
    from atrium.gateway.v1.adapter_service_pb2_grpc import AdapterServiceAsyncStub

HIDDEN_SIZE = 16


@dataclass(frozen=True)
class Late(Answer):
    """An answer that begins after ``after_seconds``, when ``then`` was called."""

    after_seconds: float = 0.0
    then: Callable[[], object] = lambda: None


def _set_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass
class FakeVllm(FakeUpstream):
    """One replica. Each has adapters of its own, and chat says which weights answered.

    Attributes:
        loaded: Folder of each adapter that it holds, by name.
        loads: Names in the order in which they were loaded.
        load_seconds: How long loading takes.
        may_load: Loading waits for it; set at first.
        load_failures: Answers to the next calls to load.
        down: Whether connections are closed without a word.
    """

    loaded: dict[str, str] = field(default_factory=dict)
    loads: list[str] = field(default_factory=list)
    load_seconds: float = 0.0
    may_load: asyncio.Event = field(default_factory=_set_event)
    load_failures: list[Answer] = field(default_factory=list)
    down: bool = False

    def restart(self) -> None:
        """Forget all adapters and answer again."""
        self.loaded.clear()
        self.down = False

    def _default(self, request: Request) -> Answer:
        if self.down:
            return Answer(silent=True)
        match request.path:
            case "/v1/models":
                names = [*self.models, *self.loaded]
                return json_answer({"data": [{"id": name} for name in names]})
            case "/v1/load_lora_adapter":
                return self._load(request.body["lora_name"], request.body["lora_path"])
            case "/v1/unload_lora_adapter":
                name = request.body["lora_name"]
                if self.loaded.pop(name, None) is None:
                    return _error(404, "NotFoundError")
                return Answer([b"Success"], content_type="text/plain")
            case "/v1/chat/completions":
                return self._chat(request.body["model"])
        return super()._default(request)

    def _load(self, name: str, folder: str) -> Answer:
        if self.load_failures:
            return self.load_failures.pop(0)
        if name in self.loaded:
            return _error(400, "InvalidUserInput")
        if not all((Path(folder) / file).is_file() for file in ADAPTER_FILES):
            return _error(404, "NotFoundError")

        def then() -> None:
            self.loaded[name] = folder
            self.loads.append(name)

        return Late(
            [b"Success"], content_type="text/plain", after_seconds=self.load_seconds, then=then
        )

    def _chat(self, model: str) -> Answer:
        if model in self.models:
            return reply("base")
        if model not in self.loaded:
            return _error(404, "NotFoundError")
        return reply(fingerprint((Path(self.loaded[model]) / WEIGHTS_FILE).read_bytes()))

    async def _write(
        self, answer: Answer, writer: asyncio.StreamWriter, gone: asyncio.Future[bytes]
    ) -> bool:
        if isinstance(answer, Late):
            await asyncio.sleep(answer.after_seconds)
            await self.may_load.wait()
            answer.then()
        return await super()._write(answer, writer, gone)


def _error(status: int, type_: str) -> Answer:
    return failure(status, type=type_, message="words of the server", code=status)


def fingerprint(weights: bytes) -> str:
    """Return what :class:`FakeVllm` replies with an adapter of these weights."""
    return hashlib.sha256(weights).hexdigest()[:12]


@asynccontextmanager
async def fake_vllms(count: int) -> AsyncIterator[Sequence[FakeVllm]]:
    """Serve several replicas while the block runs."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(serve_upstream(FakeVllm())) for _ in range(count)]


def adapter_files(
    seed: int = 0,
    *,
    base: str = "tiny",
    rank: int = 4,
    layers: int = 2,
    hidden_size: int = HIDDEN_SIZE,
    config: Mapping[str, object] | None = None,
) -> dict[str, bytes]:
    """Return the files of an adapter as peft saves them, by name.

    Args:
        seed: Of its numbers.
        base: Model that its configuration names.
        rank: Of its matrices.
        layers: Layers that it changes.
        hidden_size: Numbers between layers.
        config: Fields of the configuration to set besides.
    """
    random = np.random.default_rng(seed)
    tensors = {}
    for layer in range(layers):
        for target in ("q_proj", "v_proj"):
            module = f"base_model.model.model.layers.{layer}.self_attn.{target}"
            a = random.standard_normal((rank, hidden_size)).astype(np.float32)
            tensors[f"{module}.lora_A.weight"] = a
            b = random.standard_normal((hidden_size, rank)).astype(np.float32)
            tensors[f"{module}.lora_B.weight"] = b
    fields = {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": ["q_proj", "v_proj"],
        "task_type": "CAUSAL_LM",
        "bias": "none",
        "init_lora_weights": True,
    }
    return {
        CONFIG_FILE: json.dumps(fields | dict(config or {})).encode(),
        WEIGHTS_FILE: save(tensors),
    }


async def deploy_requests(
    files: Mapping[str, bytes],
    *,
    name: str = "adapters/clause-risk",
    base_model: str = "models/tiny",
    note: str = "",
    chunk_bytes: int = 1 << 10,
) -> AsyncIterator[adapter_service_pb2.DeployAdapterRequest]:
    """Give the messages of an upload."""
    request = adapter_service_pb2.DeployAdapterRequest
    yield request(header=request.Header(name=name, base_model=base_model, note=note))
    for file, content in files.items():
        for start in range(0, len(content), chunk_bytes):
            part = content[start : start + chunk_bytes]
            yield request(chunk=request.Chunk(file=file, content=part))


@dataclass
class AdapterDesk:
    """What administrators of tenants do with adapters, over gRPC.

    Attributes:
        gateway: Where they do it.
        patience_seconds: Longest wait for an Operation.
    """

    gateway: ServedGateway
    patience_seconds: int = field(default=60, kw_only=True)

    def adapters(self, who: str = "acme") -> AdapterServiceAsyncStub:
        """Return a client of a tenant's adapters."""
        return AdapterServiceStub(self.gateway.open_channel(who))

    async def deploy(
        self, files: Mapping[str, bytes], who: str = "acme", **more: Any
    ) -> operations_pb2.Operation:
        """Deploy; ``more`` goes to :func:`deploy_requests`."""
        operation: operations_pb2.Operation = await self.adapters(who).DeployAdapter(
            deploy_requests(files, **more)
        )
        return operation

    async def done(
        self, operation: operations_pb2.Operation, who: str = "acme"
    ) -> operations_pb2.Operation:
        """Wait for the end of an Operation and return it."""
        stub = operations_pb2_grpc.OperationsStub(self.gateway.open_channel(who))
        request = operations_pb2.WaitOperationRequest(name=operation.name)
        request.timeout.FromSeconds(self.patience_seconds)
        ended: operations_pb2.Operation = await stub.WaitOperation(request)
        assert ended.done
        return ended

    async def deployed(
        self, files: Mapping[str, bytes], who: str = "acme", **more: Any
    ) -> adapter_service_pb2.Adapter:
        """Deploy, wait, and return the adapter as it serves."""
        return await self.served(await self.deploy(files, who, **more), who)

    async def served(
        self, operation: operations_pb2.Operation, who: str = "acme"
    ) -> adapter_service_pb2.Adapter:
        """Wait for a roll-out and return the adapter as it serves."""
        ended = await self.done(operation, who)
        adapter = adapter_service_pb2.Adapter()
        assert ended.response.Unpack(adapter), ended
        return adapter

    def get(self, who: str = "acme") -> Any:
        """Call ``GetAdapter``."""
        request = adapter_service_pb2.GetAdapterRequest(name="adapters/clause-risk")
        return self.adapters(who).GetAdapter(request)

    def rollback(self, version: int = 0, who: str = "acme") -> Any:
        """Call ``RollbackAdapter``."""
        request = adapter_service_pb2.RollbackAdapterRequest(
            name="adapters/clause-risk", version=version
        )
        return self.adapters(who).RollbackAdapter(request)

    async def route(
        self, *models: str, task: str = "contract.clause", who: str = "acme"
    ) -> gateway_pb2.Route:
        """Route a task of a tenant to models."""
        candidates = [gateway_pb2.Route.Candidate(model=model) for model in models]
        route = gateway_pb2.Route(name=f"routes/{task}", candidates=candidates)
        stub = ModelCatalogStub(self.gateway.open_channel(who))
        request = gateway_service_pb2.UpdateRouteRequest(route=route)
        updated: gateway_pb2.Route = await stub.UpdateRoute(request)
        return updated

    async def ask(self, task: str = "contract.clause", who: str = "acme", **more: Any) -> str:
        """Generate and return the text; ``more`` are fields of the request."""
        message = gateway_pb2.Message(role=gateway_pb2.Message.USER, content="hello")
        request = gateway_pb2.GenerateRequest(task=task, messages=[message], **more)
        stub = ModelGatewayStub(self.gateway.open_channel(who))
        return str((await stub.Generate(request)).text)
