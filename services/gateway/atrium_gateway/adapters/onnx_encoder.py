"""Sentence vectors from an ONNX graph of the model store, in this process.

Every text runs alone: a graph that quantises activations takes its scales from everything that it
sees at once, so a text in a batch would get a vector that depends on its neighbours (ADR 0003).
Several threads run one text each, which needs no padding and loses no speed on a CPU.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt

from atrium_gateway.adapters.fair_threads import FairThreads
from atrium_gateway.adapters.onnx_files import (
    CHARACTERS_PER_TOKEN,
    OnnxFiles,
    check_unicode,
    open_files,
)

PROPERTIES = ("atrium.dimensions", "atrium.query_prefix", "atrium.passage_prefix")
"""What the graph of an encoder must say of itself."""

_NO_INPUTS: Mapping[str, npt.NDArray[np.float32]] = MappingProxyType({})

Kind = Literal["query", "passage"]
"""What a text is: one that searches, or one that is searched. E5-like encoders mark them apart."""


@dataclass(frozen=True)
class EmbedResult:
    """The vectors of one call.

    Attributes:
        vectors: float32 of shape ``(texts, dimensions)``, each of length 1.
        tokens: Tokens that the model read, prefixes and end marks included.
        truncated: For each text, whether it was longer than the model's window and was cut there.
    """

    vectors: npt.NDArray[np.float32]
    tokens: int
    truncated: list[bool]


class OnnxEncoder:
    """An encoder of the model store: texts in, vectors out; safe to call from many tasks.

    Questions run before passages.

    Args:
        model_dir: Folder with ``model.int8.onnx`` (``input_ids`` int64 ``(1, tokens)`` ->
            ``embedding`` float32 ``(1, dimensions)``) and ``tokenizer.json``.
        threads: Where texts run; may be shared with other models.
        files: The opened folder, with :data:`PROPERTIES`; opened when None.
        name: For errors, and unlike that of any other model on ``threads``; the folder's when None.

    Raises:
        ModelUnavailable: A file is missing or damaged.
    """

    def __init__(
        self,
        model_dir: Path,
        threads: FairThreads,
        *,
        files: OnnxFiles | None = None,
        name: str | None = None,
    ) -> None:
        self.name = name or model_dir.name
        files = files or open_files(model_dir, *PROPERTIES)
        self.dimensions = int(files.properties["atrium.dimensions"])
        self.max_tokens = files.max_tokens
        self._prefixes = {
            "query": files.properties["atrium.query_prefix"],
            "passage": files.properties["atrium.passage_prefix"],
        }
        self._session, self._tokenizer = files.session, files.tokenizer
        self._tokenizer.enable_truncation(self.max_tokens)
        self._max_characters = self.max_tokens * CHARACTERS_PER_TOKEN
        self._threads = threads
        threads.open_model(self.name)

    @classmethod
    async def load(cls, model_dir: Path, threads: FairThreads) -> OnnxEncoder:
        """Build an encoder without stopping the event loop for the half second that it takes.

        Raises:
            ModelUnavailable: A file is missing or damaged.
        """
        return await asyncio.to_thread(cls, model_dir, threads)

    async def embed(
        self,
        texts: Sequence[str],
        kind: Kind,
        inputs: Mapping[str, npt.NDArray[np.float32]] = _NO_INPUTS,
    ) -> EmbedResult:
        """Encode ``texts``; the vector of a text depends on that text and the arguments alone.

        Args:
            texts: What to encode.
            kind: What they are.
            inputs: Further inputs of the graph, not to be changed before this returns.

        Raises:
            EncoderQueueFull: Too many texts wait already; none of these was taken.
            ModelUnavailable: The encoder is closed, or failed on a text.
            TextNotUnicode: A text cannot be encoded in UTF-8.
        """
        for index, text in enumerate(texts):
            check_unicode(text, f"texts[{index}]", index)
        prefix = self._prefixes[kind]
        rows = await self._threads.run(
            self.name,
            partial(self._encode, inputs),
            [prefix + text for text in texts],
            background=kind == "passage",
        )
        vectors = np.zeros((len(texts), self.dimensions), np.float32)
        for index, (vector, _, _) in enumerate(rows):
            vectors[index] = vector
        return EmbedResult(vectors, sum(row[1] for row in rows), [row[2] for row in rows])

    async def close(self) -> None:
        """Take no more texts; waiting calls end with ``ModelUnavailable``."""
        self._threads.close_model(self.name)

    def _encode(
        self, inputs: Mapping[str, npt.NDArray[np.float32]], text: str
    ) -> tuple[npt.NDArray[np.float32], int, bool]:
        head = text[: self._max_characters]
        # The batch method lets go of the interpreter lock, the one for a single text does not.
        encoding = self._tokenizer.encode_batch_fast([head])[0]
        ids = np.array([encoding.ids], np.int64)
        (vectors,) = self._session.run(["embedding"], {"input_ids": ids, **inputs})
        cut = len(head) < len(text) or bool(encoding.overflowing)
        return vectors[0], ids.size, cut
