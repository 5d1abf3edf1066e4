"""The tagger in torch: the same sums as ``domain/cleanup/network.py`` does without it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from atrium_meeting.domain.cleanup.network import DILATIONS, unpack


class Tagger(torch.nn.Module):
    """Words and their features, and layers of neighbours, to a score for each label.

    Args:
        words: Size of the vocabulary.
        features: How many values each feature has.
        width: Numbers kept for each word.
        inner: Numbers inside a layer.
        layers: How many layers look at neighbours.
        drop: Share of numbers left out while training.
    """

    def __init__(
        self,
        words: int,
        features: tuple[int, ...],
        width: int,
        inner: int,
        layers: int,
        drop: float,
    ) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(words, width)
        self.sizes = features
        self.features = torch.nn.EmbeddingBag(sum(features), width, mode="sum")
        firsts = torch.tensor((0, *features[:-1])).cumsum(0)
        self.register_buffer("firsts", firsts, persistent=False)
        self.wide = torch.nn.ModuleList(torch.nn.Linear(3 * width, inner) for _ in range(layers))
        self.back = torch.nn.ModuleList(torch.nn.Linear(inner, width) for _ in range(layers))
        self.head = torch.nn.Linear(width, 3)
        self.drop = torch.nn.Dropout(drop)
        torch.nn.init.normal_(self.words.weight, std=0.3)
        torch.nn.init.normal_(self.features.weight, std=0.1)
        for layer in self.back:
            torch.nn.init.normal_(layer.weight, std=0.02)
            torch.nn.init.zeros_(layer.bias)

    def forward(self, ids: torch.Tensor, columns: torch.Tensor, here: torch.Tensor) -> torch.Tensor:
        """Return scores (n, labels) of n rows; ``here`` (n, 1) is 0 in gaps."""
        x = self.drop(self.words(ids) + self.features(columns + self.firsts)) * here
        for number, (wide, back) in enumerate(zip(self.wide, self.back, strict=True)):
            reach = DILATIONS[number % len(DILATIONS)]
            padded = functional.pad(x, (0, 0, reach, reach))
            seen = torch.cat([padded[: len(x)], x, padded[2 * reach :]], dim=1)
            x = (x + back(functional.relu(wide(seen)))) * here
        return self.head(x)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what a model file holds of the network; matrices in eight bits."""
        found: dict[str, np.ndarray] = {}

        def put(name: str, values: torch.Tensor, axis: int | None = None) -> None:
            array = values.detach().float().numpy()
            if axis is None:
                found[name] = array
                return
            scale = np.maximum(np.abs(array).max(axis=axis, keepdims=True), 1e-8) / 127
            found[name] = np.round(array / scale).astype(np.int8)
            found[f"{name}.scale"] = scale.astype(np.float32)

        put("words", self.words.weight, axis=1)
        for number, table in enumerate(self.features.weight.split(self.sizes)):
            put(f"feature{number}", table)
        for number, (wide, back) in enumerate(zip(self.wide, self.back, strict=True)):
            put(f"layer{number}.wide", wide.weight.T, axis=0)
            put(f"layer{number}.wide_bias", wide.bias)
            put(f"layer{number}.back", back.weight.T, axis=0)
            put(f"layer{number}.back_bias", back.bias)
        put("head", self.head.weight.T)
        put("head_bias", self.head.bias)
        return found

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """Take the weights of a model file."""
        held = unpack(arrays)
        for own, values in (
            (self.words.weight, held.words),
            (self.features.weight, np.concatenate(held.features)),
            (self.head.weight, held.head.T),
            (self.head.bias, held.head_bias),
        ):
            own.data = torch.from_numpy(np.array(values))
        for wide, back, layer in zip(self.wide, self.back, held.layers, strict=True):
            wide.weight.data, wide.bias.data = map(
                torch.from_numpy, (np.array(layer.wide.T), layer.wide_bias)
            )
            back.weight.data, back.bias.data = map(
                torch.from_numpy, (np.array(layer.back.T), layer.back_bias)
            )


def as_bytes(text: str) -> np.ndarray:
    """Return a text as an array of bytes, as model files hold it."""
    return np.frombuffer(text.encode(), dtype=np.uint8)


def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a model file; the same arrays make the same bytes."""
    with path.open("wb") as stream:
        np.savez_compressed(stream, **arrays)
