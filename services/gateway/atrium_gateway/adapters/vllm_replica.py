"""Adapters on one vLLM server: its list of models, its calls to load and unload.

The server must run with ``--enable-lora`` and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1. Never
``load_inplace``: replies under way would change their weights; names carry the version instead.
"""

from __future__ import annotations

from collections.abc import Callable

from atrium_gateway.adapters.openai_server import OpenAIServer, RequestRefused
from atrium_gateway.app.adapter_ports import AdapterBackend, ReplicaRefused, ReplicaUnreachable
from atrium_gateway.app.upstreams import Upstream
from atrium_gateway.domain.adapters import SERVED_PREFIX
from atrium_gateway.domain.errors import UpstreamFailed

# Of these another attempt may get a different answer; a 500 is how vLLM refuses what it read.
_BUSY = frozenset({"408", "425", "429", "502", "503", "504"})

MakeGenerator = Callable[[str, str], AdapterBackend]
"""Makes what writes text on the server: resource name of the model, its name at the server."""


class VllmReplica:
    """Loads and unloads; see ``AdapterReplica``.

    Args:
        upstream: What dispatch knows of the server.
        server: The connection.
        generator: Makes what writes text with an adapter.
    """

    def __init__(self, upstream: Upstream, server: OpenAIServer, generator: MakeGenerator) -> None:
        self._upstream = upstream
        self._server = server
        self._generator = generator

    @property
    def upstream(self) -> Upstream:
        """What dispatch knows of the server."""
        return self._upstream

    async def held(self) -> frozenset[str]:
        """Return the names of the adapters of ours that it holds now."""
        try:
            listed = await self._server.list_models()
        except UpstreamFailed as error:
            raise ReplicaUnreachable(error.why) from error
        return frozenset(name for name in listed if name.startswith(SERVED_PREFIX))

    async def load(self, served_name: str, folder: str) -> None:
        """Hold an adapter."""
        try:
            await self._post("/load_lora_adapter", {"lora_name": served_name, "lora_path": folder})
        except RequestRefused as refused:
            # It says the same of a name that it holds already, because another gateway was faster.
            if refused.status == 400 and served_name in await self.held():
                return
            raise ReplicaRefused(_why(refused)) from refused

    async def unload(self, served_name: str) -> None:
        """Hold an adapter no longer."""
        try:
            await self._post("/unload_lora_adapter", {"lora_name": served_name})
        except RequestRefused as refused:
            if served_name in await self.held():
                raise ReplicaRefused(_why(refused)) from refused

    def generator(self, model: str, served_name: str) -> AdapterBackend:
        """Return what writes text with an adapter on this server alone."""
        return self._generator(model, served_name)

    def encoder(self, model: str, served_name: str) -> None:
        """Return None: adapters of vLLM write text."""

    async def _post(self, path: str, body: dict[str, str]) -> None:
        name = self._upstream.name
        try:
            async with self._server.post(name, path, body):
                return
        except UpstreamFailed as error:
            status = error.metadata.get("status")
            if status is None or status in _BUSY:
                raise ReplicaUnreachable(error.why) from error
            raise ReplicaRefused(f"it refused the adapter ({error.why})") from error


def _why(refused: RequestRefused) -> str:
    if refused.status in (401, 403):
        return f"it refused the operator's key (HTTP {refused.status})"
    if refused.status == 404 and refused.code:
        return (
            "it does not find the adapter's files; the folder of adapters must be the same on both "
            "sides (HTTP 404)"
        )
    if refused.status in (404, 405):
        return (
            "it does not load adapters while it runs; start vLLM with --enable-lora and "
            f"VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 (HTTP {refused.status})"
        )
    code = f", {refused.code}" if refused.code else ""
    return f"it refused the adapter (HTTP {refused.status}{code})"
