"""Many tenants' adapters on one encoder in memory.

One graph with low-rank branches (:mod:`onnx_lora`) serves all of them: every run is handed the
matrices of its own adapter, so calls of different adapters run side by side and cannot mix, and
nothing is swapped. Matrices stay in memory up to a limit; the least recently used go first and are
read again from their folder. The graph without branches, which serves the base, is another session
and stays untouched. It is opened when the first adapter comes.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import structlog

from atrium_gateway.adapters.encoder_adapter_files import (
    AdapterWeights,
    UnfitAdapter,
    read_adapter,
)
from atrium_gateway.adapters.fair_threads import FairThreads
from atrium_gateway.adapters.local_model import LocalModel
from atrium_gateway.adapters.onnx_encoder import PROPERTIES, EmbedResult, Kind, OnnxEncoder
from atrium_gateway.adapters.onnx_files import open_files
from atrium_gateway.adapters.onnx_lora import Attention, NoAttention, add_branches
from atrium_gateway.app.ports import Classification, Embedding, TextKind
from atrium_gateway.domain.errors import ModelUnavailable
from atrium_gateway.domain.models import MODEL_PREFIX, ModelState, ModelStatus
from atrium_gateway.domain.similarity import SimilarityScale

if TYPE_CHECKING:
    import onnx

_PROBE = "1"
"""A text that every new adapter encodes once, before anybody is served by it."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class LoadedAdapter:
    """What a loaded adapter is.

    Attributes:
        rank: Rank of its matrices.
        labels: Labels of its classifier; empty without one.
        nbytes: Memory that it takes.
    """

    rank: int
    labels: tuple[str, ...]
    nbytes: int


@dataclass(frozen=True)
class _Engine:
    """The graph with branches."""

    encoder: OnnxEncoder
    attention: Attention

    @classmethod
    async def open(cls, folder: Path, threads: FairThreads) -> _Engine:
        return await asyncio.to_thread(cls._open, folder, threads)

    @classmethod
    def _open(cls, folder: Path, threads: FairThreads) -> _Engine:
        found: list[Attention] = []

        def rewrite(model: onnx.ModelProto) -> None:
            try:
                found.append(add_branches(model))
            except NoAttention as error:
                why = f"adapters do not fit on its graph: {error}"
                raise ModelUnavailable(folder.name, why) from error

        files = open_files(folder, *PROPERTIES, rewrite=rewrite)
        name = f"{folder.name} with adapters"
        return cls(OnnxEncoder(folder, threads, files=files, name=name), found[0])


@dataclass(eq=False)
class _Entry:
    """An adapter that was loaded, whether or not its matrices are in memory now."""

    folder: Path
    loaded: LoadedAdapter
    reading: asyncio.Task[AdapterWeights] | None = field(default=None)


class OnnxAdapters:
    """The adapters of one encoder of the model store. Used from one event loop.

    Args:
        base: Resource name of the encoder.
        pull: What to pull when its files are missing.
        locate: Returns the encoder's folder; raises AtriumError while its files are missing.
        threads: Where texts run and wait; shared by all models of the process.
        similarity_scale: What the encoder's cosines mean.
        memory_bytes: Most memory for matrices. One adapter is always taken.
    """

    def __init__(
        self,
        base: str,
        pull: str,
        locate: Callable[[], Path],
        *,
        threads: FairThreads,
        similarity_scale: SimilarityScale,
        memory_bytes: int,
    ) -> None:
        self.base = base
        self.similarity_scale = similarity_scale
        self._memory_bytes = memory_bytes
        self._entries: dict[str, _Entry] = {}
        self._weights: OrderedDict[str, AdapterWeights] = OrderedDict()
        self._used_bytes = 0
        self._local = LocalModel(
            base,
            pull,
            locate,
            lambda folder: _Engine.open(folder, threads),
            lambda engine: engine.encoder.close(),
        )

    async def start(self) -> None:
        """Return; the graph is opened when the first adapter comes."""

    @property
    def names(self) -> frozenset[str]:
        """Names of the adapters that are loaded."""
        return frozenset(self._entries)

    @property
    def used_bytes(self) -> int:
        """Memory that matrices take now."""
        return self._used_bytes

    async def load(self, name: str, folder: Path) -> LoadedAdapter:
        """Check an adapter and serve it under ``name`` from now on.

        Args:
            name: Unique over tenants and versions. One that is loaded already is replaced once the
                new one was checked; calls that run keep what they began with.
            folder: Its two files; read again whenever its matrices were dropped from memory.

        Raises:
            UnfitAdapter: It cannot be served by this encoder; nothing has changed.
            ModelUnavailable: The encoder itself cannot be used.
        """
        engine = await self._local.engine()
        weights = await asyncio.to_thread(self._read, folder, engine.attention)
        probe = await engine.encoder.embed([_PROBE], "query", weights.inputs)
        if not np.isfinite(probe.vectors).all():
            raise UnfitAdapter(
                "its weights are so large that the vector of a text holds no numbers; train it "
                "again, with a lower learning rate"
            )
        labels = weights.head.labels if weights.head else ()
        loaded = LoadedAdapter(weights.rank, labels, weights.nbytes)
        self.unload(name)
        self._entries[name] = _Entry(folder, loaded)
        self._keep(name, weights)
        return loaded

    def unload(self, name: str) -> None:
        """Serve an adapter no longer; one that is not loaded is no error."""
        self._entries.pop(name, None)
        self._drop(name)

    def encoder(self, name: str, model: str) -> AdapterEncoder:
        """Return what makes vectors with an adapter, whether it is loaded yet or not.

        Args:
            name: Under which it is or will be loaded.
            model: Resource name of the adapter as a model, for errors.
        """
        return AdapterEncoder(self, name, model)

    async def status(self, name: str) -> ModelStatus:
        """Return whether an adapter can be used now."""
        if name not in self._entries:
            return ModelStatus(ModelState.STARTING, "it is not loaded yet")
        return await self._local.status()

    def labels(self, name: str, model: str) -> tuple[str, ...]:
        """Return the labels of an adapter's classifier; empty without one.

        Raises:
            ModelUnavailable: It is not loaded.
        """
        return self._entry(name, model).loaded.labels

    async def bring(self, name: str) -> None:
        """Have an adapter's matrices in memory, as its next call will want them.

        Raises:
            ModelUnavailable: It is not loaded, or its folder is gone.
        """
        await self._weights_of(name, self.base, await self._local.engine())

    async def embed(
        self, name: str, model: str, texts: Sequence[str], kind: Kind
    ) -> tuple[EmbedResult, AdapterWeights]:
        """Encode texts with an adapter; also return its weights, the same for the whole call.

        Raises:
            ModelUnavailable: It is not loaded, its folder is gone, or a vector holds no numbers.
            EncoderQueueFull: Too many texts wait already; none of these was taken.
            TextNotUnicode: A text cannot be encoded in UTF-8.
        """
        engine = await self._local.engine()
        weights = await self._weights_of(name, model, engine)
        made = await engine.encoder.embed(texts, kind, weights.inputs)
        if not np.isfinite(made.vectors).all():
            raise ModelUnavailable(model, "its weights gave a vector that holds no numbers")
        return made, weights

    async def close(self) -> None:
        """Stop."""
        self._entries.clear()
        self._weights.clear()
        self._used_bytes = 0
        await self._local.close()

    def _entry(self, name: str, model: str) -> _Entry:
        entry = self._entries.get(name)
        if entry is None:
            raise ModelUnavailable(model, "the adapter is not loaded")
        return entry

    async def _weights_of(self, name: str, model: str, engine: _Engine) -> AdapterWeights:
        entry = self._entry(name, model)
        weights = self._weights.get(name)
        if weights is not None:
            self._weights.move_to_end(name)
            return weights
        if entry.reading is None:
            reading = asyncio.to_thread(self._read, entry.folder, engine.attention)
            entry.reading = asyncio.create_task(reading, name=f"read adapter {name}")
            entry.reading.add_done_callback(partial(self._came, name, entry))
        try:
            # One who gives up must not stop the reading for the others.
            return await asyncio.shield(entry.reading)
        except UnfitAdapter as error:
            why = f"its files were changed or removed after it was deployed ({error.why})"
            raise ModelUnavailable(model, why) from error

    def _came(self, name: str, entry: _Entry, reading: asyncio.Task[AdapterWeights]) -> None:
        entry.reading = None
        if reading.cancelled():
            return
        if (error := reading.exception()) is not None:
            _log.warning("adapter_not_read", base=self.base, adapter=name, why=str(error))
        elif self._entries.get(name) is entry:  # else it was unloaded or replaced meanwhile
            self._keep(name, reading.result())

    def _read(self, folder: Path, attention: Attention) -> AdapterWeights:
        return read_adapter(folder, base=self.base.removeprefix(MODEL_PREFIX), attention=attention)

    def _keep(self, name: str, weights: AdapterWeights) -> None:
        self._drop(name)
        self._weights[name] = weights
        self._used_bytes += weights.nbytes
        while self._used_bytes > self._memory_bytes and len(self._weights) > 1:
            self._drop(next(iter(self._weights)))

    def _drop(self, name: str) -> None:
        dropped = self._weights.pop(name, None)
        if dropped is not None:
            self._used_bytes -= dropped.nbytes


class AdapterEncoder:
    """One adapter as an encoder and, where it has a head, a classifier.

    Args:
        adapters: Holds it.
        name: Under which it is loaded.
        model: Resource name of the adapter as a model.
    """

    def __init__(self, adapters: OnnxAdapters, name: str, model: str) -> None:
        self._adapters = adapters
        self._name = name
        self._model = model

    @property
    def similarity_scale(self) -> SimilarityScale:
        """What its cosines mean: what the base's do, since nobody measured the adapter's."""
        return self._adapters.similarity_scale

    async def labels(self) -> tuple[str, ...]:
        """Return the labels that its classifier knows; empty without one."""
        return self._adapters.labels(self._name, self._model)

    async def status(self) -> ModelStatus:
        """Return whether it can be used now."""
        return await self._adapters.status(self._name)

    async def embed(self, texts: Sequence[str], kind: TextKind) -> Embedding:
        """Return one vector a text; see ``EncoderBackend``."""
        made, _ = await self._adapters.embed(self._name, self._model, texts, kind.value)
        return Embedding(made.vectors, made.tokens, made.truncated)

    async def classify(self, texts: Sequence[str]) -> Classification:
        """Return how well each label fits each text; see ``ClassifierBackend``."""
        made, weights = await self._adapters.embed(self._name, self._model, texts, "query")
        if weights.head is None:
            raise ModelUnavailable(self._model, "the adapter has no classifier")
        scores = weights.head.scores(made.vectors)
        return Classification(weights.head.labels, scores, made.tokens)
