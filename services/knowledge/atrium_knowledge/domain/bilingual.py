"""A Chinese-English dictionary that lets a question meet a passage in the other language.

Derived from CC-CEDICT (see ``DATA_CARD.md`` beside this file). It serves as evidence beside the
encoder, and alone where there is no encoder: "Rotterdam" meets 鹿特丹, 报销 meets "reimbursement".
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import resources
from typing import Final

_LONGEST_PHRASE: Final = 3


class Dictionary:
    """English phrases (as stems) and the Chinese words (simplified) that they translate."""

    def __init__(self, pairs: Iterable[tuple[str, Sequence[str]]]) -> None:
        self._chinese: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._english: dict[str, list[tuple[str, ...]]] = {}
        for phrase, words in pairs:
            stems = tuple(phrase.split(" "))
            self._chinese[stems] = tuple(words)
            for word in words:
                self._english.setdefault(word, []).append(stems)

    def chinese_for(self, stems: Sequence[str], at: int) -> tuple[tuple[str, ...], int]:
        """Return the Chinese for the longest phrase that begins at ``stems[at]``.

        Returns:
            The words, the most frequent first, and how many stems they translate; no words and 1
            when the dictionary lacks the stem.
        """
        for length in range(min(_LONGEST_PHRASE, len(stems) - at), 0, -1):
            words = self._chinese.get(tuple(stems[at : at + length]))
            if words:
                return words, length
        return (), 1

    def english_for(self, word: str) -> list[tuple[str, ...]]:
        """Return the English phrases, each as its stems, for a Chinese word (simplified)."""
        return self._english.get(word, [])


@cache
def dictionary() -> Dictionary:
    """Return the dictionary that ships with the service; it is read on the first call."""
    packed = resources.files("atrium_knowledge.domain").joinpath("zh_en.tsv.gz")
    lines = gzip.decompress(packed.read_bytes()).decode("utf-8").splitlines()
    rows = (line.split("\t") for line in lines)
    return Dictionary((phrase, words.split(" ")) for phrase, words in rows)
