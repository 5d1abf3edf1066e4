"""Sentences with the names and days in them, each looked for once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import Final

from atrium_meeting.domain.analysis.dates import DuePhrase, due_phrases
from atrium_meeting.domain.analysis.people import Mention, People
from atrium_meeting.domain.analysis.sentences import Sentence

_NAME: Final = "NAME"
_DAY: Final = "DAY"
_NUMBER: Final = "NUMBER"
_WORD: Final = re.compile(rf"{_NAME}|{_DAY}|[a-z]+(?:'[a-z]+)?|[0-9]+|[\u3400-\u9fff]|[?？!！]")
_NUMBERS: Final = frozenset(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety "
    "hundred thousand million 零 一 二 三 四 五 六 七 八 九 十 百 千 万 两".split()
)


class Reading:
    """Sentences of a meeting as they are read for what is decided and to be done.

    Args:
        sentences: Of the meeting.
        people: Who may be meant by a name.
        today: Day of the meeting, where it is known.
    """

    def __init__(self, sentences: Sequence[Sentence], people: People, today: date | None) -> None:
        self.sentences = sentences
        self.people = people
        self.today = today
        self._mentions: dict[int, list[Mention]] = {}
        self._dues: dict[int, list[DuePhrase]] = {}

    def mentions(self, i: int) -> list[Mention]:
        """Return the names in a sentence, in order."""
        if i not in self._mentions:
            self._mentions[i] = self.people.mentions(self.sentences[i].text)
        return self._mentions[i]

    def dues(self, i: int) -> list[DuePhrase]:
        """Return the days of a sentence; the end of a name may begin none (小本 周五)."""
        if i not in self._dues:
            text = self.sentences[i].text
            for mention in self.mentions(i):
                if mention.person.speaker:
                    blank = " " * (mention.end - mention.start)
                    text = text[: mention.start] + blank + text[mention.end :]
            self._dues[i] = due_phrases(text, self.today)
        return self._dues[i]

    def words(self, i: int) -> list[str]:
        """Return the words of a sentence, characters in Chinese; names, days, numbers as such."""
        dues = [(due.start, due.end, f" {_DAY} ") for due in self.dues(i)]
        names = [
            (mention.start, mention.end, f" {_NAME} ")
            for mention in self.mentions(i)
            if all(mention.end <= start or mention.start >= end for start, end, _ in dues)
        ]
        text = self.sentences[i].folded
        for start, end, name in sorted(dues + names, reverse=True):
            text = text[:start] + name + text[end:]
        found: list[str] = []
        for word in _WORD.findall(text):
            plain = _NUMBER if word[0].isdigit() or word in _NUMBERS else word
            if plain != _NUMBER or found[-1:] != [_NUMBER]:
                found.append(plain)
        return found
