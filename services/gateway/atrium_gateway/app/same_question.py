"""Whether two questions ask the same, judged by their words: the strict half of the semantic cache.

Vectors alone hold "sick leave in Berlin" and "annual leave in Shanghai" for nearly the same. So
whatever a question says must stand in the other one too, at most in other words.
"""

from __future__ import annotations

import re

from atrium_grounding.languages import detect_language
from atrium_grounding.lexicon import lexicon
from atrium_grounding.matching import Folded, mentions
from atrium_grounding.names import names_in
from atrium_grounding.quantities import find_quantities, supported_by
from atrium_grounding.tokens import fold
from atrium_grounding.verification import denials

# What is asked for stands in small words that the comparison of content words passes over.
_ENGLISH = (
    r"who|whom|whose|what|which|when|where|why|how(?: (?:many|much|long|often|far|old))?|"
    r"is|are|was|were|do|does|did|can|may|must|should|will|would|before|after|since|until|"
    r"more|less|most|least|first|last|all|any|only"
)
_CHINESE = (
    "什么时候 什么 谁 哪些 哪 何时 几 多少 多久 多长 为什么 为何 怎么 怎样 如何 是否 吗 "
    "能 可以 必须 应该 需要 之前 之后 以前 以后 以上 以下 最 第一 最后 全部 所有 只"
).split()
_ASKED_FOR = re.compile(rf"\b(?:{_ENGLISH})\b|{'|'.join(map(fold, _CHINESE))}")


def same_question(one: str, other: str) -> bool:
    """Return whether two texts ask the same thing in nearly the same words.

    They do when language, numbers, dates, names, denials and question words agree, and the content
    words do in their order, each the same or one of the same meaning.

    Args:
        one: A question.
        other: Another one.
    """
    if fold(one) == fold(other):
        return True
    if detect_language(one) != detect_language(other) or denials(one) != denials(other):
        return False
    if _ASKED_FOR.findall(fold(one)) != _ASKED_FOR.findall(fold(other)):
        return False
    return _numbers_and_names(one, other) and _numbers_and_names(other, one) and _words(one, other)


def _numbers_and_names(text: str, other: str) -> bool:
    """Return whether every number, date and name of ``other`` stands in ``text``."""
    folded, quantities = Folded(text), find_quantities(text)
    return all(supported_by(quantity, quantities) for quantity in find_quantities(other)) and all(
        folded.mentions(name) for name in names_in(other)
    )


def _words(one: str, other: str) -> bool:
    """Return whether the content words agree one by one: who comes first may matter."""
    ours, theirs = lexicon().slots(one), lexicon().slots(other)
    return len(ours) == len(theirs) and all(
        mine.surface == yours.surface or mentions(mine, Folded(yours.surface)) > 0
        for mine, yours in zip(ours, theirs, strict=True)
    )
