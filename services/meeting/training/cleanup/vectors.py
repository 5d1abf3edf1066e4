"""Vectors of characters to begin with, from the word table of multilingual-e5-small."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from atrium_models.conversions.e5 import SOURCE_NAME, WeightFile, tokenizer_of


def character_vectors(source: Path, characters: Sequence[str], width: int) -> np.ndarray:
    """Return a row of ``width`` numbers for each character: the main axes of the encoder's own.

    Args:
        source: The folder with ``e5-small-q4.bin``.
        characters: What is wanted; unknown ones lie at the centre.
        width: How many axes.

    Returns:
        Shape (characters, width), of standard deviation 0.3.
    """
    weights = WeightFile((source / SOURCE_NAME).read_bytes())
    pieces = {piece: at for at, (piece, _) in enumerate(tokenizer_of(weights)["model"]["vocab"])}
    table = weights.weights("emb.word", weights.shape.hidden)
    rows = np.zeros((len(characters), table.shape[1]), dtype=np.float32)
    known = np.zeros(len(characters), dtype=np.bool_)
    for row, character in enumerate(characters):
        found = pieces.get(character, pieces.get(f"▁{character}"))
        if found is not None:
            rows[row], known[row] = table[found], True
    rows[known] -= rows[known].mean(axis=0)
    _, _, axes = np.linalg.svd(rows[known], full_matrices=False)
    turned = rows @ axes[:width].T
    return (turned * (0.3 / turned[known].std())).astype(np.float32)
