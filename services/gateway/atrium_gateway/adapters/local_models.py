"""Models of the store that the gateway can run, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from atrium_gateway.domain.similarity import SimilarityScale


@dataclass(frozen=True, slots=True)
class LocalGenerator:
    """A GGUF model.

    Attributes:
        million_parameters: Its size.
    """

    million_parameters: int


@dataclass(frozen=True, slots=True)
class LocalEncoder:
    """An ONNX encoder; it also reranks and classifies.

    Attributes:
        window_tokens: Longest text that it reads.
        similarity_scale: What its cosines mean.
        million_parameters: Its size.
    """

    window_tokens: int
    similarity_scale: SimilarityScale
    million_parameters: int


@dataclass(frozen=True, slots=True)
class LocalReader:
    """An ONNX reader.

    Attributes:
        window_tokens: Longest question and passage that it reads.
        million_parameters: Its size.
    """

    window_tokens: int
    million_parameters: int


# Medians over 300 Chinese-English sentence pairs (Tatoeba) and over their shuffled halves.
_E5_SCALE = SimilarityScale(unrelated=0.78, same=0.89)

LOCAL_GENERATORS: Mapping[str, LocalGenerator] = {
    "qwen2.5-0.5b": LocalGenerator(494),
    "qwen2.5-1.5b": LocalGenerator(1544),
}
"""GGUF models, run by llama.cpp, by their ids in the store."""

LOCAL_ENCODERS: Mapping[str, LocalEncoder] = {
    "multilingual-e5-small": LocalEncoder(512, _E5_SCALE, 118),
}
"""ONNX encoders, by their ids in the store."""

LOCAL_READERS: Mapping[str, LocalReader] = {"atrium-reader": LocalReader(1100, 434)}
"""ONNX readers, by their ids in the store."""

SMALL = frozenset({"qwen2.5-0.5b", "multilingual-e5-small", "atrium-reader"})
"""What the set ``small`` has for the gateway."""
