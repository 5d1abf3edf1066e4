"""Encoders and readers of the model store as backends, run by ONNX Runtime in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from atrium_gateway.adapters.fair_threads import FairThreads
from atrium_gateway.adapters.local_model import LocalModel
from atrium_gateway.adapters.onnx_encoder import OnnxEncoder
from atrium_gateway.adapters.onnx_reader import OnnxReader
from atrium_gateway.app.ports import Embedding, Reading, TextKind
from atrium_gateway.domain.models import ModelStatus
from atrium_gateway.domain.reading import ReadPassage, Relation
from atrium_gateway.domain.similarity import SimilarityScale


class OnnxBackend:
    """Makes vectors with an :class:`OnnxEncoder`.

    Args:
        name: Resource name of the model, for errors.
        pull: What to pull when the files are missing.
        locate: Returns the model's folder; raises AtriumError while its files are missing.
        threads: Where texts run and wait; shared by all models of the process.
        similarity_scale: What its cosines mean.
    """

    def __init__(
        self,
        name: str,
        pull: str,
        locate: Callable[[], Path],
        *,
        threads: FairThreads,
        similarity_scale: SimilarityScale,
    ) -> None:
        self._similarity_scale = similarity_scale
        self._local = LocalModel(
            name,
            pull,
            locate,
            lambda folder: OnnxEncoder.load(folder, threads),
            lambda encoder: encoder.close(),
        )

    @property
    def similarity_scale(self) -> SimilarityScale:
        """What its cosines mean."""
        return self._similarity_scale

    async def start(self) -> None:
        """Start loading, and return."""
        self._local.start()

    async def close(self) -> None:
        """Stop."""
        await self._local.close()

    async def status(self) -> ModelStatus:
        """Return whether the encoder is loaded."""
        return await self._local.status()

    async def embed(self, texts: Sequence[str], kind: TextKind) -> Embedding:
        """Return one vector a text; see ``EncoderBackend``."""
        encoder = await self._local.engine()
        result = await encoder.embed(texts, kind.value)
        return Embedding(result.vectors, result.tokens, result.truncated)


class OnnxReaderBackend:
    """Reads passages with an :class:`OnnxReader`.

    Args:
        name: Resource name of the model, for errors.
        pull: What to pull when the files are missing.
        locate: Returns the model's folder; raises AtriumError while its files are missing.
        threads: Where pairs run and wait; shared by all models of the process.
    """

    def __init__(
        self, name: str, pull: str, locate: Callable[[], Path], *, threads: FairThreads
    ) -> None:
        self._local = LocalModel(
            name,
            pull,
            locate,
            lambda folder: OnnxReader.load(folder, threads),
            lambda reader: reader.close(),
        )

    async def start(self) -> None:
        """Start loading, and return."""
        self._local.start()

    async def close(self) -> None:
        """Stop."""
        await self._local.close()

    async def status(self) -> ModelStatus:
        """Return whether the reader is loaded."""
        return await self._local.status()

    async def read(
        self, question: str, passages: Sequence[ReadPassage], relation: Relation, scope: str
    ) -> Reading:
        """Read a question with passages; see ``ReaderBackend``."""
        reader = await self._local.engine()
        return await reader.read(question, passages, relation, scope)
