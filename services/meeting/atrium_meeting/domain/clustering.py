"""Tell speakers apart: group embeddings of voices.

Agglomerative clustering with average linkage over cosine similarities. The similarity of two groups
is the mean over all their pairs, weighted by how much speech each embedding stands for; with unit
vectors that is the product of the groups' weighted means, so groups can be put together in blocks
first and whole later without any change of what is compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Vectors: TypeAlias = npt.NDArray[np.float32]
Labels: TypeAlias = npt.NDArray[np.int64]

_NEVER: Final = np.float32(-2.0)
"""Similarity to itself and to what is gone; below any cosine."""
_TIE: Final = 1e-6
"""Similarities that differ by less are rounding: without this a chain might run in a circle."""
_BLOCK: Final = 2000
"""Embeddings that are compared with one another at once: 16 MB of similarities."""
_MOST: Final = 10_000
"""Groups that are compared at once where blocks hold nothing alike: 400 MB."""
_LOOSENING: Final = 0.05
"""How much less alike groups may be for each further round of blocks."""


def unit(vectors: npt.ArrayLike) -> Vectors:
    """Return vectors of length one; a vector of zeros stays."""
    array = np.asarray(vectors, np.float32)
    lengths = np.linalg.norm(array, axis=-1, keepdims=True)
    return np.asarray(array / np.maximum(lengths, 1e-12), np.float32)


def cluster(embeddings: Vectors, weights: Vectors, *, threshold: float) -> Labels:
    """Return a label for each embedding: 0 for the first one, then by first appearance.

    Takes 16 MB for similarities, however many embeddings there are, and more only where thousands
    of them have nothing in common; beyond 10,000 such, less and less alike ones are put together.

    Args:
        embeddings: Shape [embeddings, dimensions]; of any length.
        weights: Seconds of speech of each; above 0.
        threshold: Least mean similarity of what is put together.
    """
    labels: Labels = np.arange(len(embeddings))
    means, heavy = unit(embeddings), np.asarray(weights, np.float32)
    least = 1.0 - (1.0 - threshold) / 2
    while (many := len(means)) > _BLOCK and (least >= threshold or many > _MOST):
        part = np.empty(many, np.int64)
        given = 0
        for start in range(0, many, _BLOCK):
            block = slice(start, start + _BLOCK)
            part[block] = given + _cut(
                _merges(means[block], heavy[block]), least, len(means[block])
            )
            given = int(part[block].max()) + 1
        means, heavy = _means(means, heavy, part)
        labels = part[labels]
        if given > 0.7 * many:  # neighbours in time have little in common: compare others, and more
            order = np.argsort(-means[:, int(means.var(0).argmax())], kind="stable")
            means, heavy = means[order], heavy[order]
            labels = np.argsort(order, kind="stable")[labels]
            least -= _LOOSENING
    return _in_order(_cut(_merges(means, heavy), threshold, len(means))[labels].tolist())


def _means(means: Vectors, weights: Vectors, labels: Labels) -> tuple[Vectors, Vectors]:
    """Return the weighted mean and the weight of what has one label."""
    count = int(labels.max()) + 1
    sums = np.zeros((count, means.shape[1]), np.float32)
    total = np.zeros(count, np.float32)
    np.add.at(sums, labels, means * weights[:, None])
    np.add.at(total, labels, weights)
    return sums / total[:, None], total


def _merges(means: Vectors, weights: Vectors) -> list[tuple[float, int, int]]:
    """Return what is put together and how alike it is, most alike first.

    Nearest-neighbour chain (Murtagh 1983): average linkage is reducible, so groups that are each
    other's nearest can be put together at once, in any order; n merges cost n rows each.
    """
    alike: Vectors = means @ means.T
    np.fill_diagonal(alike, _NEVER)
    weights = weights.copy()
    found: list[tuple[float, int, int]] = []
    chain: list[int] = []
    left = np.ones(len(means), bool)
    while len(found) < len(means) - 1:
        if not chain:
            chain.append(int(left.argmax()))
        last = chain[-1]
        nearest = int(alike[last].argmax())
        similarity = float(alike[last, nearest])
        if len(chain) > 1 and alike[last, chain[-2]] >= similarity - _TIE:
            gone = chain[-2]
            del chain[-2:]
            found.append((similarity, last, gone))
            _put_together(alike, weights, last, gone)
            left[gone] = False
        else:
            chain.append(nearest)
    return sorted(found, key=lambda merge: -merge[0])


def _put_together(alike: Vectors, weights: Vectors, kept: int, gone: int) -> None:
    """Let ``kept`` stand for both: the mean by weight."""
    share = weights[kept] / (weights[kept] + weights[gone])
    both = share * alike[kept] + (1 - share) * alike[gone]
    both[[kept, gone]] = _NEVER
    alike[gone] = _NEVER
    alike[:, gone] = _NEVER
    both[alike[kept] == _NEVER] = _NEVER
    alike[kept] = both
    alike[:, kept] = both
    weights[kept] += weights[gone]


def _cut(merges: Sequence[tuple[float, int, int]], threshold: float, many: int) -> Labels:
    """Return a label for each of ``many`` groups after the merges that are alike enough."""
    parents = list(range(many))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    for similarity, kept, gone in merges:
        if similarity < threshold:
            break
        parents[root(gone)] = root(kept)
    return _in_order([root(index) for index in range(many)])


def _in_order(names: list[int]) -> Labels:
    """Return names as numbers from 0, in the order in which they appear."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], np.int64)
