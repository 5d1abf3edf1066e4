"""Utterances as the encoder reads them: one token a word (a character), one for what follows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from atrium_meeting.domain.cleanup.features import Ints
from atrium_meeting.domain.cleanup.reading import DIGITS, FEATURE_SIZES, LATIN, OTHER
from atrium_meeting.domain.cleanup.units import Mark, Unit

BEGIN: Final = "<s>"
END: Final = "</s>"
MARKS: Final[Mapping[Mark, str]] = {
    Mark.COMMA: ",",
    Mark.STOP: "。",
    Mark.QUESTION: "?",
    Mark.BREAK: "...",
    Mark.OTHER: "、",
}
"""The token of what follows a word."""
MOST_WORDS: Final = 160
"""Longest stretch that the encoder reads at once."""
_CUT_WITHIN: Final = 60
"""A longer one is cut at the last pause among so many words, if there is one."""


def tokens(
    units: Sequence[Unit], columns: Ints, vocabulary: Mapping[str, int]
) -> tuple[Ints, Ints, Ints]:
    """Return a stretch as the encoder takes it.

    Args:
        units: The words, at most :data:`MOST_WORDS`.
        columns: Values of their features, shape (words, features).
        vocabulary: Row of each token, with the classes of :mod:`.reading` and those above.

    Returns:
        Rows of the tokens, (tokens,); values of their features, (tokens, features), zeros but for
        words; which tokens are the words, (words,).
    """
    ids = [vocabulary[BEGIN]]
    places = []
    for unit in units:
        places.append(len(ids))
        ids.append(row_of(unit.core, vocabulary))
        if unit.mark is not Mark.NONE:
            ids.append(vocabulary[MARKS[unit.mark]])
    ids.append(vocabulary[END])
    spread = np.zeros((len(ids), len(FEATURE_SIZES)), dtype=np.int64)
    spread[places] = columns
    return np.array(ids, dtype=np.int64), spread, np.array(places, dtype=np.int64)


def row_of(core: str, vocabulary: Mapping[str, int]) -> int:
    """Return the row of a word, or of its class."""
    found = vocabulary.get(core)
    if found is not None:
        return found
    first = core[:1]
    return vocabulary[DIGITS if first.isdigit() else LATIN if first.isascii() else OTHER]


def stretches(units: Sequence[Unit]) -> list[tuple[int, int]]:
    """Return where to cut an utterance so that no part is longer than :data:`MOST_WORDS`."""
    found = []
    begin = 0
    while len(units) - begin > MOST_WORDS:
        end = begin + MOST_WORDS
        end = next(
            (place + 1 for place in range(end - 1, end - _CUT_WITHIN, -1) if units[place].mark),
            end,
        )
        found.append((begin, end))
        begin = end
    return [*found, (begin, len(units))]
