"""Models of the store that the gateway can run, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from atrium_gateway.domain.similarity import SimilarityScale


@dataclass(frozen=True, slots=True)
class LocalEncoder:
    """An ONNX encoder; it also reranks and classifies.

    Attributes:
        window_tokens: Longest text that it reads.
        similarity_scale: What its cosines mean.
    """

    window_tokens: int
    similarity_scale: SimilarityScale


# Medians over 300 Chinese-English sentence pairs (Tatoeba) and over their shuffled halves.
_E5_SCALE = SimilarityScale(unrelated=0.78, same=0.89)

LOCAL_GENERATORS = ("qwen2.5-0.5b", "qwen2.5-1.5b")
"""GGUF models, run by llama.cpp, by their ids in the store."""

LOCAL_ENCODERS: Mapping[str, LocalEncoder] = {
    "multilingual-e5-small": LocalEncoder(512, _E5_SCALE),
}
"""ONNX encoders, by their ids in the store."""

LOCAL_READERS: Mapping[str, int] = {"atrium-reader": 448}
"""ONNX readers, by their ids in the store: the longest question and passage that each reads."""

SMALL = frozenset({"qwen2.5-0.5b", "multilingual-e5-small", "atrium-reader"})
"""What the set ``small`` has for the gateway."""
