"""Is a sentence that a model wrote supported by the sources it was given?

Sentence by sentence, and by one source alone, so that facts of two are not merged: every number,
date and amount must stand there (in either language), every name and code, the words must largely
meet, and the sentence must not deny what its source affirms. The checks are rules: what a model
wrote is never judged by a model. (Cf. Honovich et al., "TRUE: Re-evaluating Factual Consistency
Evaluation", 2022, on why overlap alone does not do.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from atrium_grounding import tokens
from atrium_grounding.languages import detect_language
from atrium_grounding.lexicon import Lexicon, Slot
from atrium_grounding.matching import Folded, mentions
from atrium_grounding.names import names_in
from atrium_grounding.quantities import Quantity, find_quantities, supported_by
from atrium_grounding.sentences import Unit, split_units

_SHARE_SAME_LANGUAGE: Final = 0.6
_SHARE_OTHER_LANGUAGE: Final = 0.45
_CLOSE_SECOND: Final = 0.85
_EDGES: Final = " \t\n.。:：#*“”\"'"
_CLAUSE: Final = re.compile(r"[，。；！？\n]|[,;.!?](?=\s|$)")
_MARK: Final = re.compile(r"\s*[\[【](?:\d{1,2}\s*[,，、]?\s*)+[\]】]")
_ENUMERATION: Final = re.compile(r"^\s*(?:\d{1,2}[.)、]|[-*•])\s+")
_NEGATION: Final = {
    "zh": re.compile(
        r"不(?:能|可|得|会|需|用|必|允许|支持|包括|包含|适用|属于|予|享受|应|准|提供|发放|接受|存在|再)|"
        r"没有|无需|无须|无法|禁止|严禁|未(?!来|成年)|并非|不是|而非|勿"
    ),
    "en": re.compile(
        r"\b(?:not|never|no|none|cannot|without|neither|nor|forbidden|prohibited|excluded|"
        r"unable|ineligible)\b|n't\b"
    ),
}
# "at most" and "at least" are no denials.
_LIMITS: Final = re.compile(
    r"\bno (?:more|less|fewer|later|earlier) than\b|\bnot (?:more|less|fewer|later|earlier) than\b|"
    r"\bnot exceed(?:ing)?\b|不(?:超过|少于|多于|低于|高于|晚于|早于|迟于)"
)


@dataclass(frozen=True, slots=True)
class Support:
    """The source that supports a sentence."""

    source: int
    """Index among the sources given."""
    unit: Unit
    """The sentence, row or item of the source that is nearest; offsets within its text."""


@dataclass(frozen=True, slots=True)
class Source:
    """A text that may support sentences."""

    text: str
    headings: tuple[str, ...] = ()
    """What stands above it, such as the title of its document; outermost first."""


@dataclass(frozen=True, slots=True)
class _Read:
    source: Source
    units: tuple[tuple[Unit, Folded], ...]
    clauses: tuple[tuple[Folded, int], ...]
    """Clauses with the number of denials in each."""
    headings: frozenset[str]
    whole: Folded
    quantities: list[Quantity]


class SentenceVerifier:
    """Checks sentences against the sources of one question.

    Args:
        question: As asked; its own words need no support.
        sources: What the model was given, in the order of their numbers.
        lexicon: Tells which words mean the same, across languages too.
    """

    def __init__(self, question: str, sources: Sequence[Source], lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._asked = Folded(question)
        self._sources = [_read(source) for source in sources]

    def support(self, sentence: str, cited: Sequence[int] = ()) -> Support | None:
        """Return what supports a sentence, or ``None``.

        Args:
            sentence: One sentence; "[1]" marks in it are ignored.
            cited: Indices of the sources that it cites; they are tried first.
        """
        order = [i for i in cited if 0 <= i < len(self._sources)]
        order += [i for i in range(len(self._sources)) if i not in order]
        return next(self._supports(sentence, order), None)

    def supporters(self, sentence: str) -> list[int]:
        """Return the indices of all sources that support a sentence, each by itself."""
        return [found.source for found in self._supports(sentence, range(len(self._sources)))]

    def _supports(self, sentence: str, order: Iterable[int]) -> Iterator[Support]:
        text = plain(sentence)
        if not any(character.isalnum() for character in text):
            return
        slots = self._lexicon.slots(text)
        if not any(character.isalpha() for slot in slots for character in slot.surface):
            return  # a bare number says nothing that could be checked
        if any(tokens.fold(text).strip(_EDGES) in source.headings for source in self._sources):
            return  # neither does a heading
        quantities = find_quantities(text)
        names = [name for name in names_in(text) if not self._asked.mentions(name)]
        if self._denied(text):
            return
        for index in order:
            unit = self._supported_by(index, text, slots, quantities, names)
            if unit is not None:
                yield Support(index, unit)

    def _supported_by(
        self,
        index: int,
        text: str,
        slots: Sequence[Slot],
        quantities: Sequence[Quantity],
        names: Sequence[str],
    ) -> Unit | None:
        source = self._sources[index]
        if not source.units:
            return None
        if not all(supported_by(quantity, source.quantities) for quantity in quantities):
            return None
        if not all(self._named(name, source.whole) for name in names):
            return None
        same_language = detect_language(text) == detect_language(source.source.text)
        new = [slot for slot in slots if mentions(slot, self._asked) == 0]
        needed = _SHARE_SAME_LANGUAGE if same_language else _SHARE_OTHER_LANGUAGE
        if new and _share(new, source.whole) < needed:
            return None
        shares = [_unit_share(slots, quantities, folded) for _, folded in source.units]
        best = max(range(len(shares)), key=shares.__getitem__)
        if shares[best] == 0:
            return None
        return source.units[best][0]

    def _denied(self, text: str) -> bool:
        """Tell whether the clause of any source that is nearest to a clause says the opposite."""
        for clause in _CLAUSE.split(text):
            slots = self._lexicon.slots(clause)
            if not slots:
                continue
            shares = [
                (_share(slots, folded), denied % 2)
                for source in self._sources
                for folded, denied in source.clauses
            ]
            best = max((share for share, _ in shares), default=0.0)
            if best < _SHARE_OTHER_LANGUAGE:
                continue
            near = {denied for share, denied in shares if share >= _CLOSE_SECOND * best}
            if denials(clause) % 2 not in near:
                return True
        return False

    def _named(self, name: str, folded: Folded) -> bool:
        if folded.mentions(name):
            return True
        return any(mentions(slot, folded) > 0 for slot in self._lexicon.slots(name)[:1])


def plain(sentence: str) -> str:
    """Return a sentence without source marks and list marks."""
    return _ENUMERATION.sub("", _MARK.sub("", sentence)).strip()


def _read(source: Source) -> _Read:
    whole = f"{' '.join(source.headings)}\n{source.text}"
    return _Read(
        source=source,
        units=tuple(
            (unit, Folded(source.text[unit.start : unit.end])) for unit in split_units(source.text)
        ),
        clauses=tuple(
            (Folded(clause), denials(clause))
            for clause in _CLAUSE.split(source.text)
            if clause.strip()
        ),
        headings=frozenset(tokens.fold(heading).strip(_EDGES) for heading in source.headings),
        whole=Folded(whole),
        quantities=find_quantities(whole),
    )


def _share(slots: Sequence[Slot], folded: Folded) -> float:
    return sum(mentions(slot, folded) > 0 for slot in slots) / len(slots)


def _unit_share(slots: Sequence[Slot], quantities: Sequence[Quantity], folded: Folded) -> float:
    """Return how near a unit of the source is to a sentence; a shared quantity counts double."""
    found = find_quantities(folded.text)
    shared = sum(supported_by(quantity, found) for quantity in quantities)
    total = len(slots) + 2 * len(quantities)
    return (sum(mentions(slot, folded) for slot in slots) + 2 * shared) / total if total else 0.0


def denials(text: str) -> int:
    """Return how many words of ``text`` deny something, in Chinese and English."""
    folded = _LIMITS.sub(" ", tokens.fold(text))
    return sum(len(pattern.findall(folded)) for pattern in _NEGATION.values())
