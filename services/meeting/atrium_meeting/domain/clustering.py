"""Tell speakers apart: group embeddings of voices.

Agglomerative clustering with average linkage over cosine similarities. The similarity of two groups
is the mean over all their pairs, weighted by how much speech each embedding stands for; with unit
vectors that is the product of the groups' weighted sums, so groups can be put together in blocks
first and whole later without any change of what is compared. Pairs that cannot be one speaker, two
that speak in the same window, never come together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Vectors: TypeAlias = npt.NDArray[np.float32]
Labels: TypeAlias = npt.NDArray[np.int64]

_NEVER: Final = np.float32(-2.0)
"""Similarity of what must stay apart; below any cosine."""
_TIE: Final = 1e-6
"""Similarities that differ by less are rounding: without this a chain might run in a circle."""
_BLOCK: Final = 2000
"""Groups that are compared with one another at once: 16 MB of similarities."""
_LOOSENING: Final = 0.05
"""How much less alike groups may be for each further round of blocks."""


@dataclass
class _Groups:
    """Groups of embeddings that are put together step by step.

    Args:
        sums: Weighted sums of unit vectors, [groups, dimensions].
        weights: Seconds of speech, [groups].
        members: Which embeddings each group holds.
        windows: In which windows each group speaks: what shares one stays apart.
    """

    sums: Vectors
    weights: Vectors
    members: list[list[int]]
    windows: list[set[int]]

    def chosen(self, indices: Sequence[int]) -> _Groups:
        """Return some of the groups."""
        return _Groups(
            self.sums[list(indices)],
            self.weights[list(indices)],
            [self.members[index] for index in indices],
            [self.windows[index] for index in indices],
        )

    def merged(self, labels: Labels) -> _Groups:
        """Return the groups put together by label, in order of label."""
        count = int(labels.max()) + 1
        sums = np.zeros((count, self.sums.shape[1]), np.float32)
        weights = np.zeros(count, np.float32)
        np.add.at(sums, labels, self.sums)
        np.add.at(weights, labels, self.weights)
        members: list[list[int]] = [[] for _ in range(count)]
        windows: list[set[int]] = [set() for _ in range(count)]
        for label, some, where in zip(labels.tolist(), self.members, self.windows, strict=True):
            members[label] += some
            windows[label] |= where
        return _Groups(sums, weights, members, windows)


def unit(vectors: npt.ArrayLike) -> Vectors:
    """Return vectors of length one; a vector of zeros stays."""
    array = np.asarray(vectors, np.float32)
    lengths: Vectors = np.linalg.norm(array, axis=-1, keepdims=True)
    return array / np.maximum(lengths, np.float32(1e-12))


def cluster(
    embeddings: Vectors,
    weights: Vectors,
    windows: Sequence[int],
    *,
    threshold: float,
    count: int = 0,
) -> Labels:
    """Return a label from 0 for each embedding.

    Args:
        embeddings: Shape [embeddings, dimensions]; of any length.
        weights: Seconds of speech of each.
        windows: In which window each one speaks; those of one window stay apart.
        threshold: Least mean similarity of what is put together.
        count: How many speakers there are; 0: what the threshold says. More than can be told apart
            gives fewer; two of one window stay apart even if that gives more.
    """
    if not len(embeddings):
        return np.zeros(0, np.int64)
    groups = _Groups(
        unit(embeddings) * weights[:, None],
        np.asarray(weights, np.float32),
        [[index] for index in range(len(embeddings))],
        [{window} for window in windows],
    )
    groups = _reduce(groups, threshold)
    groups = groups.merged(_cut(_merges(groups), len(groups.weights), threshold, count))
    labels = np.empty(len(embeddings), np.int64)
    for label, members in enumerate(groups.members):
        labels[members] = label
    return labels


def _reduce(groups: _Groups, threshold: float) -> _Groups:
    """Put together what is much alike, block by block, until one block holds everything."""
    least = 1.0 - (1.0 - threshold) / 2
    while (many := len(groups.weights)) > _BLOCK:
        labels = np.empty(many, np.int64)
        given = 0
        for start in range(0, many, _BLOCK):
            block = range(start, min(many, start + _BLOCK))
            part = _cut(_merges(groups.chosen(block)), len(block), least, 0)
            labels[start : start + _BLOCK] = part + given
            given += int(part.max()) + 1
        groups = groups.merged(labels)
        if (
            given > 0.7 * many
        ):  # little is alike: neighbours in time differ, or blocks are too strict
            least -= _LOOSENING
            order = np.argsort(groups.sums[:, 0] / groups.weights, kind="stable")
            groups = groups.chosen(order.tolist())
    return groups


def _similarities(groups: _Groups) -> Vectors:
    means = groups.sums / groups.weights[:, None]
    similarities: Vectors = means @ means.T
    np.fill_diagonal(similarities, _NEVER)
    inside: dict[int, list[int]] = {}
    for index, windows in enumerate(groups.windows):
        for window in windows:
            inside.setdefault(window, []).append(index)
    for together in inside.values():
        if len(together) > 1:
            similarities[np.ix_(together, together)] = _NEVER
    return similarities


def _merges(groups: _Groups) -> list[tuple[float, int, int]]:
    """Return what is put together and how alike it is, most alike first.

    Nearest-neighbour chain (Murtagh 1983): average linkage is reducible, so groups that are each
    other's nearest can be put together at once, in any order; n merges cost n rows each.
    """
    alike = _similarities(groups)
    weights = groups.weights.copy()
    found: list[tuple[float, int, int]] = []
    alive = np.ones(len(weights), bool)
    for first in range(len(weights)):
        chain = [first] if alive[first] else []
        while chain:
            last = chain[-1]
            nearest = int(alike[last].argmax())
            similarity = float(alike[last, nearest])
            if similarity <= _NEVER:  # nothing is left that may come to it
                alive[last] = False
                chain.pop()
                continue
            if len(chain) > 1 and alike[last, chain[-2]] >= similarity - _TIE:
                nearest = chain[-2]
                del chain[-2:]
                found.append((similarity, last, nearest))
                _put_together(alike, weights, last, nearest)
                alive[nearest] = False
                if not chain:
                    chain = [last]
            else:
                chain.append(nearest)
    return sorted(found, key=lambda merge: -merge[0])


def _put_together(alike: Vectors, weights: Vectors, kept: int, gone: int) -> None:
    """Let ``kept`` stand for both: the mean by weight, and apart from whatever either is."""
    share = weights[kept] / (weights[kept] + weights[gone])
    both = share * alike[kept] + (1 - share) * alike[gone]
    both[(alike[kept] <= _NEVER) | (alike[gone] <= _NEVER)] = _NEVER
    alike[kept] = both
    alike[:, kept] = both
    alike[gone] = _NEVER
    alike[:, gone] = _NEVER
    weights[kept] += weights[gone]


def _cut(
    merges: Sequence[tuple[float, int, int]], many: int, threshold: float, count: int
) -> Labels:
    """Return a label for each of ``many`` groups after the merges that hold."""
    parents = list(range(many))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    left = many
    for similarity, kept, gone in merges:
        if left <= count or (not count and similarity < threshold):
            break
        parents[root(gone)] = root(kept)
        left -= 1
    roots = [root(index) for index in range(many)]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(roots))}
    return np.array([numbers[name] for name in roots], np.int64)
