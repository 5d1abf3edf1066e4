"""Cut a text into the units that an answer quotes: sentences, table rows and list items.

Every unit is a slice of the text, so quotes are verbatim and their offsets exact. Documents are
laid out with one block a line or paragraph; a table row is one line whose cells are set apart by
" | " and carry their column's name (``atrium_documents``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final


class UnitKind(StrEnum):
    """What a unit is."""

    SENTENCE = "sentence"
    LIST_ITEM = "list_item"
    TABLE_ROW = "table_row"


@dataclass(frozen=True, slots=True)
class Unit:
    """A sentence, list item or table row."""

    start: int
    """First code point in the text."""
    end: int
    """One past the last; the slice has no space at either side."""
    kind: UnitKind
    line: int
    """Number of the line (block) it is from, from 0; sentences of one paragraph share it."""


_LONGEST_LIST_ITEM: Final = 240
"""A list item with more code points is cut into its sentences."""

_CELL_GAP: Final = " | "
_MAY_END: Final = "。！？….!?\n"
_LINE: Final = re.compile(r"[^\n]+")
_LIST_MARK: Final = re.compile(
    r"\s*(?:[-*•·●○◦▪‣–—]\s+|\(?\d{1,3}[.)]\s+|\d{1,3}、\s*|[(（][一二三四五六七八九十\d]{1,3}[)）]\s*"
    r"|[一二三四五六七八九十]{1,3}、\s*|[①-⑳]\s*|\(?[a-zA-Z][.)]\s+)(?=\S)"
)
_CLOSERS: Final = "\"'”’」』）)】》]"
_CHINESE_END: Final = re.compile(rf"[。！？…]+[{re.escape(_CLOSERS)}]*")
_LATIN_END: Final = re.compile(rf"[.!?]+[{re.escape(_CLOSERS)}]*(?=\s|$|[\u3040-\u9fff])")
_HAN: Final = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
_LAST_WORD: Final = re.compile(r"(\S+)$")
# What a full stop follows without ending the sentence.
_ABBREVIATIONS: Final = frozenset(
    "mr mrs ms dr prof st sr jr vs etc e.g i.e eg ie cf al approx no nos fig vol pp p dept "
    "inc ltd co corp est art sec para ca resp max min incl excl jan feb mar apr jun jul aug "
    "sep sept oct nov dec mon tue wed thu fri sat sun a.m p.m u.s u.k z.b d.h bzw ggf abs nr "
    "str tel".split()
)
_NEVER_LAST: Final = _ABBREVIATIONS - {"etc", "al", "inc", "ltd", "co", "corp", "a.m", "p.m"}


def split_units(text: str) -> list[Unit]:
    """Return the units of ``text`` in order; they do not overlap and leave out only white space."""
    units: list[Unit] = []
    for number, (start, end) in enumerate(_lines(text)):
        line = text[start:end]
        if _CELL_GAP in line:
            spans, kind = [(0, len(line))], UnitKind.TABLE_ROW
        elif _LIST_MARK.match(line):
            kind = UnitKind.LIST_ITEM
            short = len(line) <= _LONGEST_LIST_ITEM
            spans = [(0, len(line))] if short else list(_sentences(line))
        else:
            spans, kind = list(_sentences(line)), UnitKind.SENTENCE
        for first, last in spans:
            while first < last and line[first].isspace():
                first += 1
            while last > first and line[last - 1].isspace():
                last -= 1
            if first < last:
                units.append(Unit(start + first, start + last, kind, number))
    return units


def _lines(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of lines; a line that goes on in lower case is joined with the next."""
    pending: tuple[int, int] | None = None
    for match in _LINE.finditer(text):
        start, end = match.span()
        if match.group().isspace():
            continue
        if pending is None:
            pending = (start, end)
        elif _goes_on(text, pending, start, end):
            pending = (pending[0], end)
        else:
            yield pending
            pending = (start, end)
    if pending is not None:
        yield pending


def _goes_on(text: str, before: tuple[int, int], start: int, end: int) -> bool:
    """Tell a line break inside a sentence (wrapped text) from one between two blocks."""
    if text.count("\n", before[1], start) != 1:
        return False
    line = text[start:end]
    if _CELL_GAP in line or _CELL_GAP in text[before[0] : before[1]] or _LIST_MARK.match(line):
        return False
    last = text[before[1] - 1]
    return line[0].islower() and last.isascii() and (last.isalnum() or last in ",;-(")


def _sentences(line: str) -> Iterator[tuple[int, int]]:
    start = 0
    position = 0
    while position < len(line):
        chinese = _CHINESE_END.search(line, position)
        latin = _LATIN_END.search(line, position)
        ends = [match for match in (chinese, latin) if match]
        if not ends:
            break
        match = min(ends, key=lambda found: found.start())
        position = match.end()
        if match.group()[0] == "." and not _ends_sentence(line, start, match):
            continue
        if match.group()[0] == "…" and position < len(line):
            continue
        yield start, position
        start = position
    if start < len(line):
        yield start, len(line)


def _ends_sentence(line: str, start: int, stop: re.Match[str]) -> bool:
    """Tell a full stop from the point of an abbreviation, an initial or a list number."""
    rest = line[stop.end() :].lstrip()
    if not rest:
        return True
    word = _LAST_WORD.search(line[start : stop.start()])
    last = word.group().lstrip("(（[\"'“‘").lower() if word else ""
    following = rest[0]
    if last in _NEVER_LAST:
        return False
    if last in _ABBREVIATIONS:
        return following.isupper() or bool(_HAN.match(following))
    if len(last) == 1 and last.isalpha() and last != "i":
        return False
    if last.isdigit() and stop.start() - start <= len(last):
        return False
    return not following.islower()


class SentenceCutter:
    """Cuts a text into units as it grows.

    A unit is given once what follows can no longer change it. The spaces between two units go with
    the later one, so that what is given, joined, is the text.
    """

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, part: str) -> list[str]:
        """Return the units that are complete now."""
        self._rest += part
        # Only behind these can a unit end: a long sentence is not cut anew for every word of it.
        if not any(mark in self._rest for mark in _MAY_END):
            return []
        ends = [0, *(unit.end for unit in split_units(self._rest))][:-1]  # the last may go on
        done = [self._rest[a:b] for a, b in pairwise(ends)]
        self._rest = self._rest[ends[-1] :] if ends else self._rest
        return done

    def end(self) -> list[str]:
        """Return what is left, complete or not; white space alone is left out."""
        rest, self._rest = self._rest, ""
        ends = [0, *(unit.end for unit in split_units(rest))]
        return [rest[a:b] for a, b in pairwise(ends)]
