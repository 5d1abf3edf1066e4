"""Which words mean about the same: a Chinese-English dictionary and a thesaurus of the workplace.

A question and the passage that answers it seldom use the same words, and may not even be in one
language. The dictionary is derived from CC-CEDICT and parallel texts, the thesaurus was written for
this project; ``DATA_CARD.md`` beside this file says more. They serve beside the encoder, and alone
where there is none: "Rotterdam" meets 鹿特丹, "lay off" meets 裁员.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Final

from atrium_grounding import tokens

_LONGEST_PHRASE: Final = 4
_MOST_TRANSLATIONS: Final = 8
"""Of one word, for a keyword query; further senses are rare."""
_SYNONYM_TRUST: Final = 0.9
_BEST_DIGIT: Final = 9


@dataclass(frozen=True, slots=True)
class Slot:
    """A word or phrase of a text, with what else may stand in its place."""

    surface: str
    """As it stands there, folded."""
    stems: tuple[str, ...]
    """Its words (``tokens.words``)."""
    chinese: Mapping[str, float] = field(default_factory=dict)
    """Chinese words (folded) and how surely each means the same, 0 to 1."""
    english: Mapping[tuple[str, ...], float] = field(default_factory=dict)
    """English phrases, as their stems, and how surely each means the same."""
    translations: tuple[str, ...] = ()
    """The likeliest counterparts in the other language, for a keyword query."""


class Lexicon:
    """Finds the slots of a text.

    Args:
        dictionary: English phrases, as stems set apart by spaces, each with Chinese words and a
            digit (1 to 9) that says how usual the translation is.
        thesaurus: Groups of terms that mean about the same: English terms, Chinese terms.
    """

    def __init__(
        self,
        dictionary: Iterable[tuple[str, Sequence[tuple[str, int]]]],
        thesaurus: Iterable[tuple[Sequence[str], Sequence[str]]],
    ) -> None:
        self._chinese: dict[tuple[str, ...], list[tuple[str, int]]] = {}
        self._english: dict[str, list[tuple[tuple[str, ...], int]]] = {}
        for phrase, translations in dictionary:
            stems = tuple(phrase.split(" "))
            self._chinese[stems] = list(translations)
            for word, digit in translations:
                self._english.setdefault(word, []).append((stems, digit))
        for senses in self._english.values():
            senses.sort(key=lambda sense: -sense[1])
        self._groups: list[tuple[list[tuple[str, ...]], list[str]]] = []
        self._groups_of_english: dict[tuple[str, ...], list[int]] = {}
        self._groups_of_chinese: dict[str, list[int]] = {}
        for english, chinese in thesaurus:
            number = len(self._groups)
            phrases = [stems for term in english if (stems := tuple(tokens.words(term)))]
            folded = [tokens.fold(term) for term in chinese]
            self._groups.append((phrases, folded))
            for stems in phrases:
                self._groups_of_english.setdefault(stems, []).append(number)
            for word in folded:
                self._groups_of_chinese.setdefault(word, []).append(number)
        self._longest_chinese = max(map(len, self._groups_of_chinese), default=1)

    def slots(self, text: str) -> list[Slot]:
        """Return the content words of ``text`` in order, phrases that are known as one."""
        found: list[Slot] = []
        run: list[str] = []
        for token, is_chinese in tokens.split(text):
            if is_chinese:
                found.extend(self._english_slots(run))
                run = []
                found.extend(self._chinese_slots(token))
            else:
                run.extend(tokens.latin_words(token))
        found.extend(self._english_slots(run))
        return found

    def same_kind(self, word: str) -> tuple[str, ...]:
        """Return the Chinese for an English stem, or the word itself when it is Chinese."""
        if not word.isascii():
            return (word,)
        return tuple(chinese for chinese, _ in self._chinese.get((word,), ()))

    def _english_slots(self, run: Sequence[str]) -> list[Slot]:
        slots: list[Slot] = []
        at = 0
        while at < len(run):
            for length in range(min(_LONGEST_PHRASE, len(run) - at), 0, -1):
                stems = tuple(run[at : at + length])
                groups = self._groups_of_english.get(stems, [])
                if groups or length == 1:
                    senses = [*self._chinese.get(stems, [])]
                    # A phrase of the dictionary may be a chance meeting: it adds to its words.
                    for first in (at - 1, at):
                        senses += self._chinese.get(tuple(run[max(first, 0) : first + 2]), [])
                    slots.append(self._slot(" ".join(stems), stems, groups, senses, []))
                    at += length
                    break
        return slots

    def _chinese_slots(self, run: str) -> list[Slot]:
        slots: list[Slot] = []
        plain = 0
        at = 0
        while at < len(run):
            for length in range(min(self._longest_chinese, len(run) - at), 1, -1):
                word = run[at : at + length]
                if word in self._groups_of_chinese and word not in tokens.CHINESE_STOP_WORDS:
                    slots.extend(self._segmented(run[plain:at]))
                    groups = self._groups_of_chinese[word]
                    english = self._english.get(word, [])
                    slots.append(self._slot(word, (word,), groups, [], english))
                    at += length
                    plain = at
                    break
            else:
                at += 1
        slots.extend(self._segmented(run[plain:]))
        return slots

    def _segmented(self, run: str) -> list[Slot]:
        slots = []
        for word in tokens.words(run):
            groups = self._groups_of_chinese.get(word, [])
            slots.append(self._slot(word, (word,), groups, [], self._english.get(word, [])))
        return slots

    def _slot(
        self,
        surface: str,
        stems: tuple[str, ...],
        groups: Sequence[int],
        senses: Sequence[tuple[str, int]],
        phrases: Sequence[tuple[tuple[str, ...], int]],
    ) -> Slot:
        chinese: dict[str, float] = {word: _trust(digit) for word, digit in senses}
        english: dict[tuple[str, ...], float] = {stem: _trust(digit) for stem, digit in phrases}
        # Groups come first: they hold what the word means at work.
        group_chinese: list[str] = []
        group_english: list[tuple[str, ...]] = []
        for number in groups:
            group_english.extend(self._groups[number][0])
            group_chinese.extend(self._groups[number][1])
        chinese.update(dict.fromkeys(group_chinese, _SYNONYM_TRUST))
        english.update(dict.fromkeys(group_english, _SYNONYM_TRUST))
        if surface.isascii():
            english[stems] = 1.0
            others = [*group_chinese, *(word for word, _ in senses)]
        else:
            chinese[surface] = 1.0
            others = [" ".join(phrase) for phrase in group_english]
            others += [" ".join(phrase) for phrase, _ in phrases]
        translations = tuple(dict.fromkeys(others))[:_MOST_TRANSLATIONS]
        return Slot(surface, stems, chinese, english, translations)


def _trust(digit: int) -> float:
    return 0.5 + 0.3 * digit / _BEST_DIGIT


@cache
def lexicon() -> Lexicon:
    """Return the lexicon that ships with the service; it is read on the first call."""
    folder = resources.files("atrium_grounding")
    rows = gzip.decompress(folder.joinpath("zh_en.tsv.gz").read_bytes()).decode("utf-8")
    groups = folder.joinpath("thesaurus.txt").read_text(encoding="utf-8")
    return Lexicon(
        (_dictionary_row(row) for row in rows.splitlines()),
        (_group(row) for row in groups.splitlines() if row and not row.startswith("#")),
    )


def _dictionary_row(row: str) -> tuple[str, list[tuple[str, int]]]:
    phrase, words = row.split("\t")
    return phrase, [(word[:-1], int(word[-1])) for word in words.split(" ")]


def _group(row: str) -> tuple[list[str], list[str]]:
    english, chinese = row.split("|")
    return [t.strip() for t in english.split(",")], [t.strip() for t in chinese.split(",")]
