"""The passage index on Qdrant Edge, embedded in this process.

One folder is one shard is one collection. A shard is opened when it is first needed and closed
when too many are open. Points carry two numbers to filter on (access class, revision), a sparse
keyword vector and, per encoder, a dense vector. Both legs run exact over the permitted points, and
the inverse document frequency is counted over them alone (``IdfParams(corpus=...)``), so that
nothing in a reply depends on points that the asker may not know of.

Qdrant Edge blocks while it works, so everything runs in threads of its own; it releases the
interpreter meanwhile.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections import OrderedDict, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from collections.abc import Collection as AnyCollection
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from math import fsum, inf
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from qdrant_edge import (
    CountRequest,
    Distance,
    EdgeConfig,
    EdgeOptimizersConfig,
    EdgeShard,
    EdgeSparseVectorParams,
    FacetRequest,
    FieldCondition,
    Filter,
    HasIdCondition,
    IdfParams,
    IntegerIndexParams,
    MatchAny,
    Modifier,
    Point,
    PointVectors,
    Query,
    QueryBatchRequest,
    QueryRequest,
    SearchParams,
    SparseVector,
    UpdateOperation,
)

from atrium_knowledge.app.ports import IndexPoint, View
from atrium_knowledge.domain.collections import VectorSpace
from atrium_knowledge.domain.fusion import SCORE_DIGITS, Scored, ranked
from atrium_shared.errors import Unavailable

_KEYWORDS: Final = "keywords"
_CLASS: Final = "class"
_REVISION: Final = "revision"
_NEVER_KB: Final = 1 << 40
_SEARCH_THREADS: Final = 2
"""Threads that one shard searches with."""
_WIDE_VIEW: Final = 1 / 8
"""Share of a shard's points from which on a search walks through all of them in order. Below it, it
gathers the permitted ones class by class: few, but from all over the memory. Measured with
`make bench BENCH=retrieval`: they cost the same at about a fifth, and at a twelfth while revisions
are hidden."""
_KEYWORD_TIE: Final = 2e-5
"""Keyword scores nearer than this may come in either order: sums of 32 bits end in noise."""
_VECTOR_TIE: Final = 10**-SCORE_DIGITS
_KEYWORD_TIES: Final = 4
"""How many times as deep the keyword leg asks. Passages that share one word with the query, once in
a text of the same length, tie: most searches would have to be repeated for the last place."""

T = TypeVar("T")


class IndexUnavailable(Unavailable):
    """The index cannot be opened: its disk is full or broken, or another process holds it."""

    reason = "INDEX_UNAVAILABLE"

    def __init__(self, shard: str) -> None:
        super().__init__(
            f"The index {shard!r} cannot be opened. Check its disk, and that no second process "
            "uses the same index folder.",
            shard=shard,
        )


class QdrantEdgeIndex:
    """Shards in a folder. Implements ``ports.PassageIndex``.

    Args:
        folder: Where the shards lie. One process alone may use it.
        max_open: Most shards open at a time.
        threads: Most calls that work at a time.
    """

    def __init__(self, folder: Path, *, max_open: int = 64, threads: int = 4) -> None:
        self._folder = folder
        self._max_open = max_open
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="passage-index")
        self._open: OrderedDict[str, _Shard] = OrderedDict()
        self._opening: dict[str, asyncio.Lock] = {}

    async def upsert(
        self, shard: str, points: Sequence[IndexPoint], space: VectorSpace | None
    ) -> None:
        """Add or replace points."""
        if not points:
            return
        async with self._opened(shard, create=True) as held:
            assert held is not None
            await self._run(held.upsert, points, space)

    async def set_vectors(
        self, shard: str, vectors: Mapping[int, NDArray[np.float32]], space: VectorSpace
    ) -> None:
        """Give existing points vectors of another space; points that are gone are left out."""
        async with self._opened(shard) as held:
            if held is not None and vectors:
                await self._run(held.set_vectors, vectors, space)

    async def set_classes(self, shard: str, classes: Mapping[int, int]) -> None:
        """Change the access class of existing points; points that are gone are left out."""
        async with self._opened(shard) as held:
            if held is not None and classes:
                await self._run(held.set_classes, classes)

    async def remove_revisions(self, shard: str, revisions: AnyCollection[int]) -> None:
        """Remove all points of some revisions."""
        async with self._opened(shard) as held:
            if held is not None and revisions:
                await self._run(held.remove_revisions, sorted(revisions))

    async def remove_space(self, shard: str, space: VectorSpace) -> None:
        """Remove all vectors of a space."""
        async with self._opened(shard) as held:
            if held is not None:
                await self._run(held.remove_space, space)

    async def revisions(self, shard: str) -> Mapping[int, int]:
        """Return the revisions that have points, and how many."""
        async with self._opened(shard) as held:
            return {} if held is None else await self._run(held.revisions)

    async def flush(self, shard: str) -> None:
        """Return when all writes are on disk. A shard that is not open has been flushed."""
        held = self._open.get(shard)
        if held is not None and held.unflushed:
            async with self._using(held):
                await self._run(held.flush)

    async def drop(self, shard: str) -> None:
        """Remove a shard. Callers see to it that nobody uses it any more."""
        async with self._opening.setdefault(shard, asyncio.Lock()):
            held = self._open.pop(shard, None)
            if held is not None:
                await held.idle.wait()
                await self._run(held.edge.close)
            for path in (self._folder / shard, self._unborn(shard)):
                await self._run(lambda path=path: shutil.rmtree(path, ignore_errors=True))
        self._opening.pop(shard, None)

    async def find_keywords(
        self, shard: str, query: Mapping[int, float], view: View, depth: int
    ) -> list[Scored]:
        """Return the best points by BM25."""
        async with self._opened(shard) as held:
            if held is None or not query or not view.classes:
                return []
            return await self._run(held.find_keywords, query, view, depth)

    async def find_vectors(
        self, shard: str, query: NDArray[np.float32], space: VectorSpace, view: View, depth: int
    ) -> list[Scored]:
        """Return the nearest points by cosine."""
        async with self._opened(shard) as held:
            if held is None or not view.classes:
                return []
            return await self._run(held.find_vectors, query, space, view, depth)

    async def close(self) -> None:
        """Close every shard and end the threads."""
        for shard in list(self._open):
            held = self._open.pop(shard)
            await held.idle.wait()
            await self._run(held.edge.close)
        self._executor.shutdown()

    @asynccontextmanager
    async def _opened(self, shard: str, *, create: bool = False) -> AsyncIterator[_Shard | None]:
        held = self._open.get(shard)
        if held is None:
            async with self._opening.setdefault(shard, asyncio.Lock()):
                held = self._open.get(shard)
                if held is None:
                    held = await self._run(self._load, shard, create)
                    if held is not None:
                        self._open[shard] = held
        if held is None:
            yield None
            return
        self._open.move_to_end(shard)
        async with self._using(held):
            yield held

    @asynccontextmanager
    async def _using(self, held: _Shard) -> AsyncIterator[None]:
        held.enter()
        try:
            yield
        finally:
            held.leave()
            await self._close_surplus()

    async def _close_surplus(self) -> None:
        idle = [shard for shard, held in self._open.items() if held.idle.is_set()]
        for shard in idle[: max(0, len(self._open) - self._max_open)]:
            async with self._opening.setdefault(shard, asyncio.Lock()):
                held = self._open.get(shard)
                # While this waited for the lock, somebody may have come back to it.
                if held is not None and held.idle.is_set():
                    del self._open[shard]
                    await self._run(held.edge.close)

    def _load(self, shard: str, create: bool) -> _Shard | None:
        path = self._folder / shard
        try:
            if path.is_dir():
                return _Shard(EdgeShard.load(str(path)))
            if not create:
                return None
            # A crash while it is made must leave no half shard under its name.
            unborn = self._unborn(shard)
            shutil.rmtree(unborn, ignore_errors=True)
            unborn.mkdir(parents=True)
            edge = EdgeShard.create(str(unborn), _config())
            for field in (_CLASS, _REVISION):
                exact_match = IntegerIndexParams(lookup=True, range=False)
                edge.update(UpdateOperation.create_field_index(field, exact_match))
            edge.flush()
            edge.close()
            unborn.rename(path)
            return _Shard(EdgeShard.load(str(path)))
        except Exception as error:  # the library raises nothing more precise
            raise IndexUnavailable(shard) from error

    def _unborn(self, shard: str) -> Path:
        return self._folder / f"{shard}.new"

    async def _run(self, function: Callable[..., T], *arguments: object) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, function, *arguments)


class _Shard:
    """One open shard and how many calls use it. Its methods block."""

    def __init__(self, edge: EdgeShard) -> None:
        self.edge = edge
        self.idle = asyncio.Event()
        self.idle.set()
        self.unflushed = False
        self._users = 0
        self._spaces: set[VectorSpace] = set()

    def enter(self) -> None:
        self._users += 1
        self.idle.clear()

    def leave(self) -> None:
        self._users -= 1
        if self._users == 0:
            self.idle.set()

    def upsert(self, points: Sequence[IndexPoint], space: VectorSpace | None) -> None:
        self._update(UpdateOperation.upsert_points([self._point(one, space) for one in points]))

    def set_vectors(self, vectors: Mapping[int, NDArray[np.float32]], space: VectorSpace) -> None:
        name = self._space(space)
        alive = self._alive(vectors)
        if alive:
            self._update(
                UpdateOperation.update_vectors(
                    [PointVectors(point, {name: vectors[point].tolist()}) for point in alive]
                )
            )

    def set_classes(self, classes: Mapping[int, int]) -> None:
        alive = self._alive(classes)
        for access_class in sorted({classes[point] for point in alive}):
            points: list[int | UUID | str] = [
                point for point in alive if classes[point] == access_class
            ]
            self._update(UpdateOperation.set_payload(points, {_CLASS: access_class}))

    def remove_revisions(self, revisions: Sequence[int]) -> None:
        chosen = Filter(must=[FieldCondition(_REVISION, match=MatchAny(any=list(revisions)))])
        self._update(UpdateOperation.delete_points_by_filter(chosen))
        self.edge.optimize()

    def remove_space(self, space: VectorSpace) -> None:
        self._update(UpdateOperation.delete_vector_name(self._space(space)))
        self._spaces.discard(space)

    def flush(self) -> None:
        # Writes that come while it runs are perhaps not in it.
        self.unflushed = False
        self.edge.flush()

    def revisions(self) -> dict[int, int]:
        count = self.edge.count(CountRequest(exact=True))
        found = self.edge.facet(FacetRequest(_REVISION, limit=max(1, count), exact=True))
        # Values of points that were removed stay in it for a while, with a count of 0.
        return {int(hit.value): hit.count for hit in found.hits if hit.count}

    def find_keywords(self, query: Mapping[int, float], view: View, depth: int) -> list[Scored]:
        indices = sorted(query)
        vector = SparseVector(indices, [query[index] for index in indices])
        permitted = self._permitted(view)
        params = SearchParams(exact=True, idf=IdfParams(permitted))
        nearest = Query.Nearest(vector, using=_KEYWORDS)
        limit = _KEYWORD_TIES * depth + 1
        found = self._find(nearest, permitted, params, depth, limit, _KEYWORD_TIE)
        return ranked(self._summed(query, found, params), depth)

    def find_vectors(
        self, query: NDArray[np.float32], space: VectorSpace, view: View, depth: int
    ) -> list[Scored]:
        nearest = Query.Nearest(query.tolist(), using=self._space(space))
        params = SearchParams(exact=True)
        permitted = self._permitted(view)
        return ranked(self._find(nearest, permitted, params, depth, depth + 1, _VECTOR_TIE), depth)

    def _find(
        self,
        query: Query,
        permitted: Filter,
        params: SearchParams,
        depth: int,
        limit: int,
        tie: float,
    ) -> list[Scored]:
        """Return the best points, and all that come close to the last one of ``depth``."""
        while True:
            found = [
                Scored(int(point.id), point.score)
                for point in self.edge.query(
                    QueryRequest(limit=limit, query=query, filter=permitted, params=params)
                )
            ]
            # Which of several equal points the library returns first is not told, so ask for all
            # that tie with the last place and let `ranked` choose.
            lowest = found[depth - 1].score - tie if len(found) > depth else -inf
            if len(found) < limit or found[-1].score < lowest:
                return [one for one in found if one.score >= lowest]
            limit *= 4

    def _summed(
        self, query: Mapping[int, float], found: Sequence[Scored], params: SearchParams
    ) -> list[Scored]:
        """Return keyword scores whose last bits do not tell what else the index holds.

        The library adds up the terms of a passage in the order in which the shard saw them first.
        So it is asked for each term's part alone, and these are added up here, exactly.
        """
        if len(query) == 1 or not found:
            return list(found)
        among = Filter(must=[HasIdCondition({one.point for one in found})])
        parts: defaultdict[int, list[float]] = defaultdict(list)
        for points in self.edge.query_batch(
            QueryBatchRequest([
                QueryRequest(
                    limit=len(found),
                    query=Query.Nearest(SparseVector([term], [weight]), using=_KEYWORDS),
                    filter=among,
                    params=params,
                )
                for term, weight in query.items()
            ])
        ):  # fmt: skip
            for point in points:
                parts[int(point.id)].append(point.score)
        return [Scored(point, fsum(scores)) for point, scores in parts.items()]

    def _permitted(self, view: View) -> Filter:
        permitted = FieldCondition(_CLASS, match=MatchAny(any=sorted(view.classes)))
        hidden = (
            [FieldCondition(_REVISION, match=MatchAny(any=sorted(view.hidden)))]
            if view.hidden
            else []
        )
        in_classes = CountRequest(filter=Filter(must=[permitted]), exact=False)
        everything = CountRequest(exact=False)
        if self.edge.count(in_classes) < _WIDE_VIEW * self.edge.count(everything):
            return Filter(must=[permitted], must_not=[*hidden])
        # The same points, but a negation is never gathered from the index of the field.
        return Filter(must_not=[Filter(must_not=[permitted]), *hidden])

    def _update(self, operation: UpdateOperation) -> None:
        self.edge.update(operation)
        self.unflushed = True

    def _point(self, one: IndexPoint, space: VectorSpace | None) -> Point:
        indices = sorted(one.keywords)
        vectors: dict[str, list[float] | SparseVector | list[list[float]]] = {
            _KEYWORDS: SparseVector(indices, [one.keywords[index] for index in indices])
        }
        if space is not None and one.vector is not None:
            vectors[self._space(space)] = one.vector.tolist()
        payload = {_CLASS: one.access_class, _REVISION: one.revision}
        return Point(one.point, vectors, payload)

    def _alive(self, points: Mapping[int, object]) -> list[int]:
        """The library refuses an update of points of which one is gone."""
        found = self.edge.retrieve(list(points), with_payload=False, with_vector=False)
        return sorted(int(record.id) for record in found)

    def _space(self, space: VectorSpace) -> str:
        """Return the name of a space's vectors, after seeing to it that the shard knows it."""
        key = f"{space.encoder}/{space.dimensions}".encode()
        name = f"v{hashlib.blake2b(key, digest_size=8).hexdigest()}"
        if space not in self._spaces:
            # Vectors have length 1, so that the dot product is the cosine.
            create = UpdateOperation.create_dense_vector(name, space.dimensions, Distance.Dot)
            self._update(create)
            self._spaces.add(space)
        return name


def _config() -> EdgeConfig:
    return EdgeConfig(
        sparse_vectors={_KEYWORDS: EdgeSparseVectorParams(modifier=Modifier.Idf)},
        # No approximate graph is ever built: search stays exact.
        optimizers=EdgeOptimizersConfig(indexing_threshold=_NEVER_KB),
        max_search_threads=_SEARCH_THREADS,
    )
