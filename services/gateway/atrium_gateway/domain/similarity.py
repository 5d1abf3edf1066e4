"""What the cosines of an encoder mean."""

from __future__ import annotations

import math
from dataclasses import dataclass

# How fast a fit turns from "no" to "yes" around the middle of the scale.
_STEEPNESS = 4.0


@dataclass(frozen=True, slots=True)
class SimilarityScale:
    """Two points of an encoder's scale: e5 gives strangers a cosine of .78, others 0.

    Attributes:
        unrelated: Median cosine of two texts that have nothing to do with each other.
        same: Median cosine of two texts that say the same in other words.
    """

    unrelated: float
    same: float

    def normalised(self, cosine: float) -> float:
        """Return 0 for an unrelated text and 1 for one that says the same; both may be passed."""
        return (cosine - self.unrelated) / (self.same - self.unrelated)

    def fit(self, cosine: float) -> float:
        """Return how well two texts fit, 0 to 1: .5 halfway between unrelated and the same."""
        return 1 / (1 + math.exp(-_STEEPNESS * (self.normalised(cosine) - 0.5)))


PLAIN_SCALE = SimilarityScale(0.0, 1.0)
"""For encoders of which nothing is known."""
