"""Vectors of the product's encoder, kept in a file so that a second run is quick."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from atrium_gateway.adapters.fair_threads import FairThreads
from atrium_gateway.adapters.onnx_encoder import OnnxEncoder

_AT_ONCE = 64


class Encoder:
    """Texts to vectors, as the gateway makes them of passages.

    Args:
        folder: The encoder, as the model store holds it.
        cache: Where vectors are kept.
        threads: Texts that run at once.
    """

    def __init__(self, folder: Path, cache: Path, threads: int = 1) -> None:
        cache.parent.mkdir(parents=True, exist_ok=True)
        self._runner = asyncio.Runner()
        self._threads = FairThreads(threads)
        self._encoder = self._runner.run(OnnxEncoder.load(folder, self._threads))
        self._cache = sqlite3.connect(cache)
        self._cache.execute("create table if not exists vectors(k blob primary key, v blob)")

    def __call__(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return a row for each text."""
        keys = [hashlib.sha256(text.encode()).digest() for text in texts]
        known = {key: row for key in set(keys) if (row := self._kept(key)) is not None}
        new = {k: text for k, text in zip(keys, texts, strict=True) if k not in known}
        for start in range(0, len(new), _AT_ONCE):
            some = dict(list(new.items())[start : start + _AT_ONCE])
            made = self._runner.run(self._encoder.embed(list(some.values()), "passage")).vectors
            rows = [np.asarray(row, np.float32) for row in made]
            known |= dict(zip(some, rows, strict=True))
            self._cache.executemany(
                "insert into vectors values (?, ?)",
                [(key, row.tobytes()) for key, row in zip(some, rows, strict=True)],
            )
            self._cache.commit()
        return np.array([known[key] for key in keys], np.float32)

    def close(self) -> None:
        """Stop the encoder's threads."""
        self._runner.run(self._threads.close())
        self._runner.close()
        self._cache.close()

    def _kept(self, key: bytes) -> npt.NDArray[np.float32] | None:
        row = self._cache.execute("select v from vectors where k = ?", (key,)).fetchone()
        return None if row is None else np.frombuffer(row[0], np.float32)
