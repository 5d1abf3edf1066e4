"""What a search in the embedded index costs, by how much of it the asker may read.

`make bench BENCH=retrieval [ARGS="--passages 100000 --queries 100"]`. The passages are made up:
clustered vectors and terms with the frequencies of natural language. Each leg is asked alone, the
query's vector given, through the adapter that the service uses, at the depth that it uses. Recall
is against exact search by numpy over the permitted passages. The baseline is post-filtering: search
without a filter, drop what is forbidden, and search wider until ten remain.

The machine may be busy, so its load is printed, and beside a search's time on the clock the
processor's. The index is kept in var/bench and made once for each size.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import shutil
import time
from collections import Counter
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from qdrant_edge import EdgeShard, Query, QueryRequest, SearchParams, SparseVector

from atrium_knowledge.adapters.qdrant_edge_index import QdrantEdgeIndex
from atrium_knowledge.app.ports import IndexPoint, View
from atrium_knowledge.app.search_passages import LEG_DEPTH
from atrium_knowledge.domain.collections import VectorSpace
from atrium_knowledge.domain.fusion import Scored
from atrium_knowledge.domain.keywords import passage_vector
from tests.figures import ROOT, Figures

DIMENSIONS, CLUSTERS, CLASSES = 384, 400, 1000
VOCABULARY, TERMS, QUERY_TERMS = 60_000, 40, 6
VISIBLE = (0.001, 0.01, 0.05, 0.5)
"""Shares of the passages that the asker may read. Each class holds as many as any other."""
LEGS = ("dense", "keywords", "dense_hiding", "keywords_hiding")
"""`_hiding`: while documents are being ingested or replaced, so that some revisions are hidden."""
LIVE, UNDER_WAY = 1, 2
"""Revisions. The second one is hidden by the `_hiding` legs."""
UNDER_WAY_EVERY = 50
"""One passage in so many belongs to the second revision."""
TOP = 10
SPACE = VectorSpace("bench", DIMENSIONS)
SHARD = "bench"
AIM_MS = {0.001: 10, 0.01: 10, 0.05: 10, 0.5: 30}
_VERSION = 3
"""Of the made-up passages; another number makes the index anew."""
_BATCH = 2000
_FIRST_POINT = 1 << 20

T = TypeVar("T")


@dataclass
class Corpus:
    """Made-up passages. The index of a passage is its row."""

    vectors: NDArray[np.float32]
    """(passages, `DIMENSIONS`), rows of length 1."""
    terms: list[dict[int, float]]
    """Weights by term id."""
    classes: NDArray[np.int64]
    """Access class of each passage, from 1."""
    revisions: NDArray[np.int64]
    """Revision of each passage, `LIVE` or `UNDER_WAY`."""

    @classmethod
    def made_up(cls, passages: int) -> Corpus:
        """Return the same passages for the same number."""
        random = np.random.default_rng(7)
        centres = random.standard_normal((CLUSTERS, DIMENSIONS), dtype=np.float32)
        vectors = centres[random.integers(CLUSTERS, size=passages)]
        vectors = vectors + 0.8 * random.standard_normal(vectors.shape, dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        words = [f"word{number}" for number in range(VOCABULARY)]
        # Zipf: the n-th most frequent word comes up 1/n as often.
        odds = 1 / np.arange(1, VOCABULARY + 1)
        drawn = random.choice(VOCABULARY, size=(passages, TERMS), p=odds / odds.sum())
        terms = [passage_vector(Counter(words[n] for n in row)) for row in drawn.tolist()]
        classes = random.permutation(np.arange(passages) % CLASSES) + 1
        under_way = np.arange(passages) % UNDER_WAY_EVERY == 0
        return cls(vectors, terms, classes, np.where(under_way, UNDER_WAY, LIVE))

    def readable(self, view: View) -> NDArray[np.bool_]:
        """Return which passages there are in a view."""
        hidden = np.isin(self.revisions, list(view.hidden))
        readable: NDArray[np.bool_] = np.isin(self.classes, list(view.classes)) & ~hidden
        return readable

    def __len__(self) -> int:
        return len(self.terms)


class Exact:
    """Exact search over some of the passages, by numpy."""

    def __init__(self, corpus: Corpus, rows: NDArray[np.int64]) -> None:
        self._rows = rows
        self._vectors = corpus.vectors[rows]
        postings: dict[int, list[tuple[int, float]]] = {}
        for place, row in enumerate(rows.tolist()):
            for term, weight in corpus.terms[row].items():
                postings.setdefault(term, []).append((place, weight))
        self._postings = postings

    def by_vector(self, query: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the score of each of the rows."""
        scores: NDArray[np.float64] = (self._vectors @ query).astype(np.float64)
        return scores

    def by_keywords(self, query: Sequence[int]) -> NDArray[np.float64]:
        """Return the score of each of the rows, with the frequencies among them alone."""
        scores = np.zeros(len(self._rows))
        for term in query:
            found = self._postings.get(term, [])
            rarity = np.log(1 + (len(self._rows) - len(found) + 0.5) / (len(found) + 0.5))
            for place, weight in found:
                scores[place] += rarity * weight
        return scores

    def recall(self, scores: NDArray[np.float64], found: Sequence[int]) -> float:
        """Return the share of the best that was found; any that tie with the last fill its place.

        Args:
            scores: Of each of the rows.
            found: Rows, best first. One that is not among the rows counts as wrong.
        """
        possible = int(np.count_nonzero(scores > 0)) if scores.min(initial=0) >= 0 else len(scores)
        best = min(TOP, possible)
        if best == 0:
            return 1.0
        last = np.partition(scores, -best)[-best]
        margin = 1e-5 * max(1.0, abs(float(scores.max())))
        better, tied = scores > last + margin, np.abs(scores - last) <= margin
        right = np.isin(self._rows, found[:TOP])
        places = best - np.count_nonzero(better)
        filled = min(np.count_nonzero(tied & right), places)
        return float(np.count_nonzero(better & right) + filled) / best


@dataclass
class Times:
    """What searches took, in milliseconds."""

    clock: list[float]
    processor: list[float]

    def at(self, share: float) -> float:
        """Return the time on the clock that this share of the searches stays within."""
        return float(np.quantile(self.clock, share))


async def timed(times: Times, search: Awaitable[T]) -> T:
    """Await a search and note what it took; it begins here."""
    clock, processor = time.perf_counter(), time.process_time()
    found = await search
    times.clock.append((time.perf_counter() - clock) * 1000)
    times.processor.append((time.process_time() - processor) * 1000)
    return found


async def opened(corpus: Corpus, kept_in: Path) -> tuple[QdrantEdgeIndex, Path]:
    """Return the index of the corpus and its folder, made where it is not there yet."""
    folder = kept_in / f"retrieval-{_VERSION}-{len(corpus)}"
    complete = folder / "complete"
    if not complete.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        index = QdrantEdgeIndex(folder)
        begun = time.perf_counter()
        for first in range(0, len(corpus), _BATCH):
            rows = range(first, min(first + _BATCH, len(corpus)))
            points = [
                IndexPoint(
                    _FIRST_POINT + row,
                    int(corpus.revisions[row]),
                    int(corpus.classes[row]),
                    corpus.terms[row],
                    corpus.vectors[row],
                )
                for row in rows
            ]
            await index.upsert(SHARD, points, SPACE)
        await index.flush(SHARD)
        await index.close()
        complete.touch()
        print(f"made the index in {time.perf_counter() - begun:.0f} s: {folder.name}")
    return QdrantEdgeIndex(folder), folder


class PostFiltered:
    """Search without a filter, wider and wider, until enough of what was found is permitted."""

    def __init__(self, shard: EdgeShard) -> None:
        self._shard = shard

    def find(self, query: Query, readable: NDArray[np.bool_]) -> list[int]:
        """Return the best readable rows, at most `TOP`; ``readable`` is by row."""
        limit = TOP
        while True:
            request = QueryRequest(limit=limit, query=query, params=SearchParams(exact=True))
            rows = [int(point.id) - _FIRST_POINT for point in self._shard.query(request)]
            kept = [row for row in rows if readable[row]]
            if len(kept) >= TOP or len(rows) < limit:
                return kept[:TOP]
            limit *= 4


@dataclass
class Asked:
    """Questions of somebody who may read a share of the passages, and what they took."""

    views: dict[str, View]
    """By leg."""
    vectors: NDArray[np.float32]
    words: list[list[int]]
    """Term ids of each question."""
    times: dict[str, Times]
    """By leg."""


async def measure(figures: Figures, passages: int, queries: int, kept_in: Path) -> None:
    """Measure both legs at each visibility.

    Args:
        figures: Where the figures go.
        passages: How many there are, at least `CLASSES`.
        queries: Questions for each leg and visibility.
        kept_in: Folder of the indexes of such runs.
    """
    corpus = Corpus.made_up(passages)
    index, folder = await opened(corpus, kept_in)
    figures.add("load", os.getloadavg()[0], "processes", n=os.cpu_count() or 1)
    random = np.random.default_rng(8)
    asked: dict[float, Asked] = {}
    try:
        for visible in VISIBLE:
            asked[visible] = await _ask(figures, index, corpus, visible, queries, random)
    finally:
        await index.close()
    shard = EdgeShard.load(str(folder / SHARD))
    try:
        for visible, one in asked.items():
            for leg in one.times:
                readable = corpus.readable(one.views[leg])
                _compare(figures, PostFiltered(shard), readable, visible, leg, one)
    finally:
        shard.close()


async def _ask(
    figures: Figures,
    index: QdrantEdgeIndex,
    corpus: Corpus,
    visible: float,
    queries: int,
    random: np.random.Generator,
) -> Asked:
    classes = frozenset(
        (random.choice(CLASSES, size=round(visible * CLASSES), replace=False) + 1).tolist()
    )
    hidden = {leg: frozenset([UNDER_WAY] if leg.endswith("_hiding") else []) for leg in LEGS}
    views = {leg: View(classes, hidden[leg]) for leg in LEGS}
    rows = np.flatnonzero(corpus.readable(views["dense"]))
    sources = random.choice(len(corpus), size=queries)
    noise = random.standard_normal((queries, DIMENSIONS), dtype=np.float32)
    vectors = corpus.vectors[sources] + 0.03 * noise
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    words = [
        random.permutation(list(corpus.terms[row]))[:QUERY_TERMS].tolist()
        for row in random.choice(rows, size=queries)
    ]
    asked = Asked(views, vectors, words, {})
    found: dict[str, list[list[Scored]]] = {}

    def search(leg: str, number: int) -> Awaitable[list[Scored]]:
        if leg.startswith("dense"):
            return index.find_vectors(SHARD, vectors[number], SPACE, views[leg], LEG_DEPTH)
        query = dict.fromkeys(words[number], 1.0)
        return index.find_keywords(SHARD, query, views[leg], LEG_DEPTH)

    for leg in LEGS:
        for number in range(min(3, queries)):
            await search(leg, number)  # warms the caches
        times = asked.times[leg] = Times([], [])
        found[leg] = [await timed(times, search(leg, number)) for number in range(queries)]
    # Judged only now: numpy's threads go on spinning for a while, and would slow the searches.
    for leg, hits in found.items():
        exact = Exact(corpus, np.flatnonzero(corpus.readable(views[leg])))
        recalls = [
            exact.recall(
                exact.by_vector(vectors[number])
                if leg.startswith("dense")
                else exact.by_keywords(words[number]),
                [one.point - _FIRST_POINT for one in hits[number]],
            )
            for number in range(queries)
        ]
        name, recall = f"{leg}.{visible:.1%}.recall_at_10", float(np.mean(recalls))
        figures.add(name, recall, "share", n=queries, target=1.0)
    return asked


def _compare(
    figures: Figures,
    post_filtered: PostFiltered,
    readable: NDArray[np.bool_],
    visible: float,
    leg: str,
    asked: Asked,
) -> None:
    baseline = []
    for number in range(min(len(asked.words), 20)):
        if leg.startswith("dense"):
            query = Query.Nearest(asked.vectors[number].tolist(), using=_dense_name())
        else:
            terms = sorted(asked.words[number])
            query = Query.Nearest(SparseVector(terms, [1.0] * len(terms)), using="keywords")
        begun = time.perf_counter()
        post_filtered.find(query, readable)
        baseline.append((time.perf_counter() - begun) * 1000)
    taken = asked.times[leg]
    name, n = f"{leg}.{visible:.1%}", len(taken.clock)
    figures.add(f"{name}.p50_ms", taken.at(0.5), "ms", n=n, baseline=float(np.median(baseline)))
    figures.add(
        f"{name}.p95_ms", taken.at(0.95), "ms", n=n, target=AIM_MS[visible], at_most=True,
        baseline=float(np.quantile(baseline, 0.95)),
    )  # fmt: skip
    figures.add(f"{name}.processor_p50_ms", float(np.median(taken.processor)), "ms", n=n)
    figures.add(f"{name}.processor_p95_ms", float(np.quantile(taken.processor, 0.95)), "ms", n=n)
    figures.add(
        f"{name}.times_post_filtering", taken.at(0.5) / float(np.median(baseline)), "ratio", n=n
    )


def _dense_name() -> str:
    key = f"{SPACE.encoder}/{SPACE.dimensions}".encode()
    return f"v{hashlib.blake2b(key, digest_size=8).hexdigest()}"


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="make bench BENCH=retrieval", description=__doc__)
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=100)
    chosen = parser.parse_args()
    if chosen.passages < CLASSES or chosen.queries < 1:
        parser.error(f"At least {CLASSES} passages (one a class) and one query are needed.")
    kept_in = ROOT / "var" / "bench"
    asyncio.run(measure(Figures("bench", "retrieval"), chosen.passages, chosen.queries, kept_in))


if __name__ == "__main__":
    main()
