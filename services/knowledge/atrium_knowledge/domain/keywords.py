"""Sparse keyword vectors (BM25 without anything global in them).

A stored weight is BM25's term saturation with length normalisation. The average length in it is a
constant: an average over the real passages would carry the lengths of forbidden ones into every
score. The other statistic, the inverse document frequency, is left to the index, which counts it
over the permitted passages of each query. (Robertson & Zaragoza, "The Probabilistic Relevance
Framework: BM25 and Beyond", 2009.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

SATURATION: Final = 1.2
LENGTH_NORMALISATION: Final = 0.75
TYPICAL_LENGTH: Final = 120
"""Terms of a typical passage. A constant of the index format, not a statistic."""


def passage_vector(terms: Mapping[str, int]) -> dict[int, float]:
    """Return the weights of a passage's terms, by term id.

    Args:
        terms: How often each term occurs in the passage.
    """
    length = sum(terms.values())
    norm = SATURATION * (1 - LENGTH_NORMALISATION + LENGTH_NORMALISATION * length / TYPICAL_LENGTH)
    weights: dict[int, float] = {}
    for term, count in terms.items():
        weight = count * (SATURATION + 1) / (count + norm)
        key = term_id(term)
        weights[key] = max(weight, weights.get(key, 0.0))
    return weights


def query_vector(terms: Mapping[str, float]) -> dict[int, float]:
    """Return the weights of a query's terms, by term id."""
    weights: dict[int, float] = {}
    for term, weight in terms.items():
        key = term_id(term)
        weights[key] = max(weight, weights.get(key, 0.0))
    return weights


@lru_cache(maxsize=65536)
def term_id(term: str) -> int:
    """Return the term's id, the same for ever: 32 bits of BLAKE2b.

    Two terms share an id about once in 100,000 distinct terms; they then count as one.
    """
    return int.from_bytes(hashlib.blake2b(term.encode(), digest_size=4).digest(), "big")
