"""How much two texts share, by their words alone."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

# Chinese and Japanese run without spaces: pairs of neighbouring characters stand for words.
_UNSPACED = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_RUN = re.compile(rf"[{_UNSPACED}]+|[^\W_{_UNSPACED}]+")


def terms(text: str) -> list[str]:
    """Return the words of a text, folded in width and case; runs without spaces as bigrams."""
    found: list[str] = []
    for run in _RUN.findall(unicodedata.normalize("NFKC", text).casefold()):
        if "\u3040" <= run[0] <= "\u9fff" or "\uf900" <= run[0] <= "\ufaff":
            found.extend(run[i : i + 2] for i in range(max(1, len(run) - 1)))
        else:
            found.append(run)
    return found


def coverage(query: str, texts: Sequence[str]) -> list[float]:
    """Return for each text which share of the query's words it has, 0 to 1.

    Words that few of ``texts`` have weigh more (inverse document frequency over ``texts``).
    """
    wanted = set(terms(query))
    if not wanted:
        return [0.0] * len(texts)
    found = [wanted.intersection(terms(text)) for text in texts]
    having = Counter(term for each in found for term in each)
    weight = {term: math.log(1 + len(texts) / (1 + having[term])) for term in wanted}
    whole = sum(weight.values())
    return [sum(weight[term] for term in each) / whole if whole else 0.0 for each in found]


def likeness(left: str, right: str) -> float:
    """Return how alike two texts are by their words, 0 to 1 (Dice coefficient)."""
    one, other = Counter(terms(left)), Counter(terms(right))
    size = one.total() + other.total()
    return 2 * (one & other).total() / size if size else 0.0
