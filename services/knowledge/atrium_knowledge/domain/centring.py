"""Take the language out of sentence vectors.

Multilingual encoders place Chinese and English texts in two clouds: an English question is nearer
to every English passage than to the Chinese one that answers it. Subtracting each language's mean
(Libovický et al., "On the Language Neutrality of Pre-trained Multilingual Representations", 2020)
brings the clouds together. Where both languages stand in one text, its means are mixed by share.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_HAN: Final = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_LATIN_WORD: Final = re.compile("[A-Za-z\u00c0-\u024f]+")
_HAN_PER_WORD: Final = 1.5

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LanguageCentre:
    """Where an encoder puts Chinese and English."""

    chinese: NDArray[np.float32]
    """(dimensions,): mean vector of texts in Chinese."""
    english: NDArray[np.float32]
    """(dimensions,): mean vector of the same texts in English."""

    @classmethod
    def of(
        cls, chinese: Sequence[NDArray[np.float32]], english: Sequence[NDArray[np.float32]]
    ) -> LanguageCentre:
        """Return the centre from the vectors of parallel texts."""
        return cls(np.mean(chinese, axis=0), np.mean(english, axis=0))

    def centred(self, vectors: Vectors, texts: Sequence[str]) -> Vectors:
        """Return ``vectors`` without their language, each again of length 1.

        Args:
            vectors: (texts, dimensions).
            texts: What they were made of.
        """
        share = np.array([chinese_share(text) for text in texts], dtype=np.float32)[:, None]
        moved = vectors - (share * self.chinese + (1 - share) * self.english)
        length = np.linalg.norm(moved, axis=1, keepdims=True)
        return np.asarray(moved / np.maximum(length, 1e-6), dtype=np.float32)


def chinese_share(text: str) -> float:
    """Return which share of the words of ``text`` is Chinese, 0 to 1; 0 when there are none."""
    chinese = len(_HAN.findall(text)) / _HAN_PER_WORD
    english = len(_LATIN_WORD.findall(text))
    return chinese / (chinese + english) if chinese + english else 0.0
