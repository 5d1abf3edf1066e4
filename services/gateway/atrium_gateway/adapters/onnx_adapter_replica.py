"""Adapters of an encoder in this process, as the fleet of adapters sees them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from atrium_gateway.adapters.encoder_adapter_files import UnfitAdapter, parse_adapter
from atrium_gateway.adapters.onnx_adapters import OnnxAdapters
from atrium_gateway.adapters.onnx_files import GRAPH_FILE
from atrium_gateway.adapters.onnx_lora import Attention, NoAttention, add_branches
from atrium_gateway.app.adapter_ports import (
    AdapterFacts,
    ReplicaRefused,
    ReplicaUnreachable,
    UnreadableAdapter,
)
from atrium_gateway.app.ports import ClassifierBackend
from atrium_gateway.app.upstreams import Upstream
from atrium_gateway.domain.errors import EncoderQueueFull, ModelUnavailable
from atrium_shared.errors import AtriumError


class OnnxAdapterReplica:
    """Loads and unloads; see ``AdapterReplica``.

    Args:
        upstream: What dispatch knows of the encoder.
        adapters: Holds adapters of it.
    """

    def __init__(self, upstream: Upstream, adapters: OnnxAdapters) -> None:
        self._upstream = upstream
        self._adapters = adapters

    @property
    def upstream(self) -> Upstream:
        """What dispatch knows of the encoder."""
        return self._upstream

    async def held(self) -> frozenset[str]:
        """Return the names of the adapters that are loaded."""
        return self._adapters.names

    async def load(self, served_name: str, folder: str) -> None:
        """Hold an adapter."""
        if served_name in self._adapters.names:
            return
        try:
            await self._adapters.load(served_name, Path(folder))
        except UnfitAdapter as error:
            raise ReplicaRefused(error.why) from error
        except ModelUnavailable as error:
            raise ReplicaUnreachable(error.why) from error
        except EncoderQueueFull as error:
            raise ReplicaUnreachable("too many texts wait for the encoder") from error

    async def unload(self, served_name: str) -> None:
        """Hold an adapter no longer."""
        self._adapters.unload(served_name)

    def generator(self, model: str, served_name: str) -> None:
        """Return None: encoders write no text."""

    def encoder(self, model: str, served_name: str) -> ClassifierBackend:
        """Return what makes vectors, and classes, with an adapter."""
        return self._adapters.encoder(served_name, model)


class EncoderAdapterReader:
    """Reads adapters of one encoder wholly, weights included; see ``AdapterReader``.

    Args:
        base: Id of the encoder.
        locate: Returns the encoder's folder; raises AtriumError while its files are missing.
    """

    def __init__(self, base: str, locate: Callable[[], Path]) -> None:
        self._base = base
        self._locate = locate

    def read(self, config: bytes, weights: Path) -> AdapterFacts:
        """Return what an adapter's files say.

        Raises:
            UnreadableAdapter: They are not those of an adapter that this encoder can serve.
            ModelUnavailable: The encoder is not there, so nothing can be compared with it.
        """
        try:
            read = parse_adapter(config, weights, base=self._base, attention=self._attention)
        except UnfitAdapter as error:
            raise UnreadableAdapter(error.why) from error
        # Shapes and ranks were compared with those of the encoder.
        return AdapterFacts(self._base, read.rank, {}, {})

    @cached_property
    def _attention(self) -> Attention:
        import onnx  # here, as a gateway without local models has no use for it

        try:
            return add_branches(onnx.load(self._locate() / GRAPH_FILE))
        except (NoAttention, OSError, AtriumError) as error:
            why = f"its graph cannot be read, or takes no adapters ({error})"
            raise ModelUnavailable(self._base, why) from error
