"""The passage index in memory: short and plainly right, what the real ones are compared with."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection as AnyCollection
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from atrium_knowledge.app.ports import IndexPoint, View
from atrium_knowledge.domain.collections import VectorSpace
from atrium_knowledge.domain.fusion import Scored, ranked


@dataclass(slots=True)
class _Stored:
    revision: int
    access_class: int
    keywords: Mapping[int, float]
    vectors: dict[VectorSpace, NDArray[np.float32]] = field(default_factory=dict)


class MemoryIndex:
    """Keeps points in dictionaries. Implements ``ports.PassageIndex``."""

    def __init__(self) -> None:
        self._shards: dict[str, dict[int, _Stored]] = {}

    async def upsert(
        self, shard: str, points: Sequence[IndexPoint], space: VectorSpace | None
    ) -> None:
        """Add or replace points."""
        for one in points:
            stored = _Stored(one.revision, one.access_class, dict(one.keywords))
            if space is not None and one.vector is not None:
                stored.vectors[space] = one.vector
            self._shards.setdefault(shard, {})[one.point] = stored

    async def set_vectors(
        self, shard: str, vectors: Mapping[int, NDArray[np.float32]], space: VectorSpace
    ) -> None:
        """Give existing points vectors of another space."""
        points = self._shards.get(shard, {})
        for point in vectors.keys() & points.keys():
            points[point].vectors[space] = vectors[point]

    async def set_classes(self, shard: str, classes: Mapping[int, int]) -> None:
        """Change the access class of existing points."""
        points = self._shards.get(shard, {})
        for point in classes.keys() & points.keys():
            points[point].access_class = classes[point]

    async def remove_revisions(self, shard: str, revisions: AnyCollection[int]) -> None:
        """Remove all points of some revisions."""
        points = self._shards.get(shard, {})
        for point in [one for one, stored in points.items() if stored.revision in revisions]:
            del points[point]

    async def remove_space(self, shard: str, space: VectorSpace) -> None:
        """Remove all vectors of a space."""
        for stored in self._shards.get(shard, {}).values():
            stored.vectors.pop(space, None)

    async def revisions(self, shard: str) -> Mapping[int, int]:
        """Return the revisions that have points, and how many."""
        return Counter(stored.revision for stored in self._shards.get(shard, {}).values())

    async def flush(self, shard: str) -> None:
        """Nothing is ever on disk."""

    async def drop(self, shard: str) -> None:
        """Remove a shard."""
        self._shards.pop(shard, None)

    async def find_keywords(
        self, shard: str, query: Mapping[int, float], view: View, depth: int
    ) -> list[Scored]:
        """Return the best points by BM25."""
        points = self._visible(shard, view)
        scores: dict[int, float] = {}
        for term, weight in query.items():
            having = [point for point, stored in points.items() if term in stored.keywords]
            rarity = math.log1p((len(points) - len(having) + 0.5) / (len(having) + 0.5))
            for point in having:
                gain = weight * rarity * points[point].keywords[term]
                scores[point] = scores.get(point, 0.0) + gain
        return ranked([Scored(point, score) for point, score in scores.items()], depth)

    async def find_vectors(
        self, shard: str, query: NDArray[np.float32], space: VectorSpace, view: View, depth: int
    ) -> list[Scored]:
        """Return the nearest points by cosine."""
        found = [
            Scored(point, float(stored.vectors[space] @ query))
            for point, stored in self._visible(shard, view).items()
            if space in stored.vectors
        ]
        return ranked(found, depth)

    async def close(self) -> None:
        """Nothing is open."""

    def _visible(self, shard: str, view: View) -> dict[int, _Stored]:
        return {
            point: stored
            for point, stored in self._shards.get(shard, {}).items()
            if stored.access_class in view.classes and stored.revision not in view.hidden
        }
