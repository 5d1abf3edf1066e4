"""The tagger itself: a small convolutional network over words, in plain array arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from atrium_meeting.domain.cleanup.features import Ints

Floats = npt.NDArray[np.float32]
DILATIONS: Final = (1, 2, 4)
"""How far the layers look to both sides, in words, in turn. None looks past a gap."""


@dataclass(frozen=True)
class Layer:
    """One look at the neighbours: (3 x width, inner), (inner), (inner, width), (width)."""

    wide: Floats
    wide_bias: Floats
    back: Floats
    back_bias: Floats


@dataclass(frozen=True)
class Network:
    """A trained tagger.

    Args:
        words: Numbers of each word of the vocabulary, shape (words, width).
        features: Numbers of each value of each feature, (values, width) each.
        layers: In order; the n-th looks ``DILATIONS[n % 3]`` words to both sides.
        head: (width, labels).
        head_bias: (labels,).
    """

    words: Floats
    features: Sequence[Floats]
    layers: Sequence[Layer]
    head: Floats
    head_bias: Floats

    def probabilities(self, ids: Ints, columns: Ints, here: npt.NDArray[np.bool_]) -> Floats:
        """Return the probability of each label of each word.

        Args:
            ids: Places in the vocabulary, shape (n,).
            columns: Values of the features, (n, features).
            here: False in gaps; between two utterances lie at least four places of gap, (n,).

        Returns:
            Shape (n, labels).
        """
        mask = here.astype(np.float32)[:, None]
        x = self.words[ids]
        for number, table in enumerate(self.features):
            x += table[columns[:, number]]
        x *= mask
        count, width = x.shape
        for number, layer in enumerate(self.layers):
            reach = DILATIONS[number % len(DILATIONS)]
            seen = np.zeros((count, 3 * width), dtype=np.float32)
            seen[reach:, :width] = x[:-reach]
            seen[:, width : 2 * width] = x
            seen[:-reach, 2 * width :] = x[reach:]
            inner = seen @ layer.wide
            inner += layer.wide_bias
            np.maximum(inner, 0, out=inner)
            x += inner @ layer.back
            x += layer.back_bias
            x *= mask
        scores = x @ self.head + self.head_bias
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        return scores


def decide(rows: Floats, threshold: float, low: float) -> list[int]:
    """Return a label for each word: 0 stays, 1 filler, 2 said again or given up.

    Of a stretch of words that go with more than the probability ``low`` all go, if one of them
    does with more than ``threshold`` (hysteresis): people repeat and give up words, not characters.

    Args:
        rows: Probability of each label of each word, shape (words, labels).
        threshold: Probability above which a word goes.
        low: The same beside such a word.
    """
    gone = 1 - rows[:, 0]
    goes = gone > threshold
    if low < threshold and goes.any():
        maybe = gone > low
        stretch = np.cumsum(np.diff(maybe, prepend=False))
        goes = maybe & np.isin(stretch, stretch[goes])
    labels: list[int] = np.where(goes, 1 + rows[:, 1:].argmax(axis=1), 0).tolist()
    return labels


def unpack(arrays: Mapping[str, npt.NDArray[np.generic]]) -> Network:
    """Return the network of a model file.

    Matrices are kept as ``NAME`` in eight bits and ``NAME.scale`` for each column (for tables: for
    each row); everything else as it is.

    Raises:
        KeyError: A part is missing.
    """

    def part(name: str) -> Floats:
        values = np.asarray(arrays[name]).astype(np.float32)
        if f"{name}.scale" in arrays:
            values = values * np.asarray(arrays[f"{name}.scale"]).astype(np.float32)
        return np.ascontiguousarray(values)

    layers: list[Layer] = []
    while f"layer{len(layers)}.wide" in arrays:
        stem = f"layer{len(layers)}"
        layers.append(
            Layer(*(part(f"{stem}.{name}") for name in ("wide", "wide_bias", "back", "back_bias")))
        )
    features: list[Floats] = []
    while f"feature{len(features)}" in arrays:
        features.append(part(f"feature{len(features)}"))
    return Network(part("words"), features, layers, part("head"), part("head_bias"))
