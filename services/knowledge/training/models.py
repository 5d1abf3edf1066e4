"""Encoder and reader as training asks them: what they said is kept in a file."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atrium_gateway.adapters.fair_threads import FairThreads
from atrium_gateway.adapters.onnx_encoder import OnnxEncoder
from atrium_gateway.adapters.onnx_reader import OnnxReader
from atrium_gateway.domain.reading import ReadPassage, Relation, Segment
from atrium_knowledge.domain.answering.extraction import PassageToRead
from atrium_knowledge.domain.centring import LanguageCentre
from atrium_knowledge.domain.parallel_sentences import PARALLEL_SENTENCES

THREADS = 2


class Encoder:
    """Centred vectors, kept in a file."""

    def __init__(self, cache: Path) -> None:
        folder = Path(os.environ["ATRIUM_MODELS_DIR"]) / "multilingual-e5-small"
        self._loop = asyncio.Runner()
        self._threads = FairThreads(2)
        self._encoder = self._loop.run(OnnxEncoder.load(folder, self._threads))
        self._cache = _table(cache, "e")
        self._centres: dict[str, LanguageCentre] = {}

    def __call__(self, texts: Sequence[str], kind: str) -> np.ndarray:
        """Return (texts, dimensions): the vectors of queries or of passages, as ``kind`` says."""
        if kind not in self._centres:
            chinese, english = zip(*PARALLEL_SENTENCES, strict=True)
            self._centres[kind] = LanguageCentre.of(
                list(self._raw(chinese, kind)), list(self._raw(english, kind))
            )
        return self._centres[kind].centred(self._raw(texts, kind), texts)

    def _raw(self, texts: Sequence[str], kind: str) -> np.ndarray:
        keys = [hashlib.sha256(f"{kind}\0{text}".encode()).digest() for text in texts]
        known = {key: row for key in keys if (row := self._kept(key)) is not None}
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if new:
            made = self._loop.run(self._encoder.embed(list(new.values()), kind)).vectors
            known |= dict(zip(new, made, strict=True))
            self._cache.executemany(
                "insert into e values (?, ?)",
                [(key, row.astype("<f4").tobytes()) for key, row in zip(new, made, strict=True)],
            )
            self._cache.commit()
        return np.array([known[key] for key in keys])

    def _kept(self, key: bytes) -> np.ndarray | None:
        row = self._cache.execute("select v from e where k = ?", (key,)).fetchone()
        return None if row is None else np.frombuffer(row[0], "<f4")

    def close(self) -> None:
        """Stop the encoder's threads."""
        self._loop.run(self._threads.close())
        self._loop.close()


class Reader:
    """What the reader says, kept in a file."""

    def __init__(self, cache: Path) -> None:
        folder = Path(os.environ["ATRIUM_MODELS_DIR"]) / "atrium-reader"
        self._model = hashlib.sha256((folder / "model.int8.onnx").read_bytes()).digest()
        self._loop = asyncio.Runner()
        self._threads = FairThreads(THREADS)
        self._reader = self._loop.run(OnnxReader.load(folder, self._threads))
        self._cache = _table(cache, "r")

    def __call__(
        self, question: str, passages: Sequence[PassageToRead], relation: Relation
    ) -> list[NDArray[np.float64]]:
        """Return the log-odds of the segments of each passage."""
        self.prepare([(question, passage) for passage in passages], relation)
        return [self._kept(question, passage, relation) for passage in passages]

    def prepare(self, pairs: Iterable[tuple[str, PassageToRead]], relation: Relation) -> None:
        """Read what was not read before, all questions of a passage one after the other."""
        asked: dict[PassageToRead, list[str]] = defaultdict(list)
        for question, passage in dict.fromkeys(pairs):
            if self._kept(question, passage, relation) is None:
                asked[passage].append(question)
        self._loop.run(self._read_all(asked, relation))

    async def _read_all(
        self, asked: Mapping[PassageToRead, Sequence[str]], relation: Relation
    ) -> None:
        free = asyncio.Semaphore(THREADS)

        async def read(passage: PassageToRead, first: str, *others: str) -> None:
            async with free:
                await self._read(passage, [first], relation)  # What it makes of it is kept.
                await self._read(passage, others, relation)
                self._cache.commit()

        await asyncio.gather(*(read(passage, *questions) for passage, questions in asked.items()))

    async def _read(
        self, passage: PassageToRead, questions: Sequence[str], relation: Relation
    ) -> None:
        segments = tuple(Segment(*segment) for segment in passage.segments)
        given = [ReadPassage(passage.heading, passage.text, segments)]
        made = await asyncio.gather(
            *(self._reader.read(question, given, relation, "") for question in questions)
        )
        for question, read in zip(questions, made, strict=True):
            row = np.array(read.passages[0].segment_scores, "<f8")
            key = self._key(question, passage, relation)
            self._cache.execute("insert into r values (?, ?)", (key, row.tobytes()))

    def _kept(
        self, question: str, passage: PassageToRead, relation: Relation
    ) -> NDArray[np.float64] | None:
        key = self._key(question, passage, relation)
        row = self._cache.execute("select v from r where k = ?", (key,)).fetchone()
        return None if row is None else np.frombuffer(row[0], "<f8")

    def _key(self, question: str, passage: PassageToRead, relation: Relation) -> bytes:
        return hashlib.sha256(self._model + repr((question, passage, relation)).encode()).digest()

    def close(self) -> None:
        """Stop the reader's threads."""
        self._loop.run(self._threads.close())
        self._loop.close()


def _table(file: Path, name: str) -> sqlite3.Connection:
    file.parent.mkdir(parents=True, exist_ok=True)
    opened = sqlite3.connect(file)
    opened.execute(f"create table if not exists {name}(k blob primary key, v blob)")
    return opened
