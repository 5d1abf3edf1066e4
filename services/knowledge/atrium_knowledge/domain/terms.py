"""Terms of passages and queries, as the keyword index matches them.

Chinese contributes dictionary words and character bigrams: words rank well, bigrams find what the
dictionary cuts otherwise. English contributes Snowball stems. Numbers and codes such as "p5" stay
whole. A query brings the translations of its words too.
"""

from __future__ import annotations

from collections import Counter

from atrium_grounding.lexicon import lexicon
from atrium_grounding.tokens import all_terms


def preload() -> None:
    """Read the dictionaries now, off the path of the first question."""
    query_terms("预热 warm")


def index_terms(text: str) -> Counter[str]:
    """Return the terms of a passage with how often each occurs."""
    return Counter(all_terms(text))


def query_terms(text: str) -> dict[str, float]:
    """Return the terms of a query with their weights.

    A term that stands in the query weighs as often as it occurs. Translations follow, so that
    keywords alone find a passage in the other language; the more of them a word has, the less each
    weighs.
    """
    weights = {term: float(count) for term, count in Counter(all_terms(text)).items()}
    for slot in lexicon().slots(text):
        senses = slot.translations
        if senses:
            terms = {term for sense in senses for term in all_terms(sense)}
            for term in terms:
                weights[term] = weights.get(term, 0.0) + len(senses) ** -0.5
    return weights
