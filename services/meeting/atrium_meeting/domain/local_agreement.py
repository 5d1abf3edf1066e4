"""Which words of a growing recording will not change any more."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest

from atrium_meeting.domain.transcript import Word


class LocalAgreement:
    """Follows the hypotheses about one stretch of speech, each of which has heard more of it.

    LocalAgreement-2 (Macháček, Dabre, Bojar, 2023, "Turning Whisper into Real-Time Transcription
    System"): the longest common prefix of two hypotheses in a row is stable. What is stable stays
    as it is, text and time, whatever later hypotheses say of it.

    Args:
        last: The words with which the first hypothesis has to agree.
    """

    def __init__(self, last: Sequence[Word] = ()) -> None:
        self._stable: list[Word] = []
        self._open: list[Word] = list(last)

    @property
    def stable(self) -> tuple[Word, ...]:
        """The words that do not change any more."""
        return tuple(self._stable)

    @property
    def words(self) -> tuple[Word, ...]:
        """The stable words, and what the last hypothesis says after them."""
        return (*self._stable, *self._open)

    def accept(self, hypothesis: Sequence[Word]) -> None:
        """Take what was recognised of all that was heard so far."""
        rest = _in_order(hypothesis[self._known(hypothesis) :], self._end_ms)
        agreed = 0
        for before, now in zip_longest(self._open, rest):
            if before is None or now is None or before.text != now.text:
                break
            agreed += 1
        self._stable += rest[:agreed]
        self._open = rest[agreed:]

    def after(self, count: int) -> LocalAgreement:
        """Return what is known of the speech after the first ``count`` words."""
        rest = LocalAgreement(self.words[count:] if count > len(self._stable) else self._open)
        rest._stable = self._stable[count:]
        return rest

    @property
    def _end_ms(self) -> int:
        return max((word.end_ms for word in self._stable), default=0)

    def _known(self, hypothesis: Sequence[Word]) -> int:
        """Return how many words of a hypothesis stand for those that are stable."""
        stable = [_plain(word.text) for word in self._stable]
        heard = [_plain(word.text) for word in hypothesis]
        if heard[: len(stable)] == stable:
            return len(stable)
        # The edit distance of all stable words to each prefix of the hypothesis; the nearest prefix
        # counts, of equally near ones that after which the next word begins at the right time.
        distances = list(range(len(heard) + 1))
        for place, word in enumerate(stable):
            above, distances[0] = distances[0], place + 1
            for at, other in enumerate(heard, 1):
                kept = above + (word != other)
                above = distances[at]
                distances[at] = min(kept, above + 1, distances[at - 1] + 1)
        starts = [word.start_ms for word in hypothesis]
        starts.append(hypothesis[-1].end_ms if hypothesis else 0)
        return min(
            range(len(distances)), key=lambda at: (distances[at], abs(starts[at] - self._end_ms))
        )


def _plain(text: str) -> str:
    """Return a word without case and punctuation, which change from hypothesis to hypothesis."""
    letters = "".join(one for one in text if unicodedata.category(one)[0] in "LMN")
    return (letters or text).casefold()


def _in_order(words: Sequence[Word], end_ms: int) -> list[Word]:
    """Return words of which none begins before ``end_ms``."""
    return [
        word
        if word.start_ms >= end_ms
        else replace(word, start_ms=end_ms, end_ms=max(end_ms, word.end_ms))
        for word in words
    ]
