"""Does a text hold a word, or one that means the same?"""

from __future__ import annotations

import re

from atrium_grounding import tokens
from atrium_grounding.lexicon import Slot


class Folded:
    """A text as words are looked for in it."""

    __slots__ = ("pairs", "text", "words")

    def __init__(self, text: str) -> None:
        self.text = tokens.fold(text)
        self.words = frozenset(tokens.words(text))

    def mentions(self, name: str) -> bool:
        """Tell whether a folded name or code occurs as a whole."""
        if not name.isascii():
            return name in self.text
        joined = r"[-_/ ]?".join(map(re.escape, re.findall(r"\d+|\D+", name)))
        return tokens.stem(name) in self.words or (
            re.search(rf"(?<![a-z0-9]){joined}(?![a-z0-9])", self.text) is not None
        )


def mentions(slot: Slot, folded: Folded) -> float:
    """Return how surely a text holds a word or one that means the same, 0 to 1."""
    best = 0.0
    for word, trust in slot.chinese.items():
        if trust > best and (word in folded.words or (len(word) > 1 and word in folded.text)):
            best = trust
    for stems, trust in slot.english.items():
        if trust > best and all(stem in folded.words for stem in stems):
            best = trust
    return best
