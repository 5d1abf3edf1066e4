"""Which lines of a meeting answer a question: by words, by vectors, by who spoke, by what was said.

Keywords are weighed as in BM25 (Robertson and Zaragoza, 2009) without its length norm: lines are of
about one length. Words that mean the same count, across Chinese and English too. A question is no
answer: what is said to it counts as if it held the question's words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from atrium_grounding.languages import detect_language
from atrium_grounding.lexicon import Lexicon, Slot
from atrium_grounding.matching import Folded, mentions
from atrium_grounding.names import names_in
from atrium_grounding.sentences import split_units
from atrium_meeting.domain.analysis.sentences import asks
from atrium_meeting.domain.faithfulness.base_forms import base_forms
from atrium_meeting.domain.faithfulness.moments import Stated
from atrium_meeting.domain.faithfulness.people import People
from atrium_meeting.domain.writing.lines import Line

MOST_QUESTION_CHARACTERS: Final = 4_000

_ENOUGH: Final = 0.55
"""Weighed share of the question's words that the lines of an answer must meet."""
_ENOUGH_WITH_VECTORS: Final = 0.35
_LIKE: Final = 0.86
"""A line so near to the question in meaning needs fewer of its words."""
_BESIDE: Final = 0.5
"""What the line before and after count of a word."""
_SECOND: Final = 0.75
"""A further line is part of the answer from this share of the best one's score."""
_SAME: Final = 0.9
"""Share of a question's words from which on another question asks the same."""
_TOLD: Final = 0.4
"""What is added for the words said to the same question."""
_HINT: Final = 0.35
"""What the words that only tell how it is asked ("cost") add, where they are met."""
_LOOKED_AT: Final = 24
"""Lines in which the amount or the time is looked for that is asked for."""
_SAYING: Final = re.compile(
    r"\b(?:did|does|do|has|have|was|is|were)\b.{0,40}\b(?:say|said|think|mention|suggest|"
    r"propose|report|ask|"
    r"answer|explain|want|argue|opinion|view|tell|talk)\w*|\baccording to\b|"
    r"说|认为|提到|提出|建议|觉得|表示|汇报|问了|讲|看法|意见|回答|介绍",
    re.IGNORECASE,
)
_DECIDED: Final = re.compile(
    r"\b(?:decid\w*|decision\w*|agreed on|resolution|conclu\w+|outcome)\b|决定|决议|结论|定下|"
    r"定了|拍板|通过了",
    re.IGNORECASE,
)
_TO_DO: Final = re.compile(
    r"\bwho (?:is|'s|has|does|will|takes|should|must|can|sends?|writes?|calls?|books?|prepares?|"
    r"does|owns?)\b|"
    r"\b(?:action items?|to-?dos?|tasks?|next steps?|responsible|assigned|deadline|due|in "
    r"charge)\b|"
    r"\bwhat (?:does|do|should|must|has|is|will|did) .{1,30}(?:have to|need to|to do|do next|"
    r"promise|going to do|take on)\b|"
    r"\bby when\b|谁(?:来|去|负责|要|会|写|做|发|问|订|联系|跟进|安排|准备|改|修|买|打)|"
    r"待办|行动项|任务|负责|要做什么|做什么|截止|什么时候(?:之?前|完成|交|要|做)|哪天(?:之?前|"
    r"完成|交)|几号(?:之?前|完成|交)",
    re.IGNORECASE,
)
_AMOUNT: Final = re.compile(
    r"\bhow (?:much|many|long|far|big|large|high|old|often)\b|\bwhat (?:price|amount)\b"
    r"|多少|多久|多长|多远|多大|多高|几(?!点|号|月|时|乎|率)",
    re.IGNORECASE,
)
_TIME: Final = re.compile(
    r"\bwhen\b|\b(?:what|which) (?:time|day|date|week|month|year)\b"
    r"|什么时[候间]|何时|几点|几号|几月|哪[一]?[天年月]|周几|星期几|礼拜几",
    re.IGNORECASE,
)
_ASKING_WORDS: Final = frozenset(
    "say said think mention suggest propos report ask answer explain decid decis agre meet tell "
    "talk happen "
    "discuss opinion view action item task todo due deadlin respons charg owner assign next "
    "step plan "
    "conclus outcom want argu anyth someth cost much mani long far "
    "会议 会上 说 提到 提出 建议 认为 表示 决定 决议 结论 负责 任务 待办 行动项 截止 讨论 大家 "
    "觉得 看法 意见 什么时候 "
    "怎么 多少 为什么 哪 谁 吗 呢 什么 讲 汇报 介绍 做".split()
)


class Intent(StrEnum):
    """What kind of thing a question is after."""

    FACT = "fact"
    DECISION = "decision"
    ACTION = "action"


class Wanted(StrEnum):
    """What an answer must hold."""

    ANYTHING = "anything"
    AMOUNT = "amount"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it is understood.

    Args:
        text: As asked.
        intent: What it is after.
        slots: Its content words.
        people: Speakers that it names, by identifier.
        names: What else it names.
        said_by: Speakers whose words alone can answer; empty: anybody's.
        hints: Words that tell how it is asked: "cost", 花.
        wanted: What an answer must hold.
    """

    text: str
    intent: Intent
    slots: tuple[Slot, ...]
    people: tuple[str, ...]
    names: tuple[str, ...]
    said_by: frozenset[str]
    hints: tuple[Slot, ...] = ()
    wanted: Wanted = Wanted.ANYTHING


def understand(question: str, people: People, lexicon: Lexicon) -> Asked:
    """Read a question."""
    named = tuple(dict.fromkeys(one.key for one in people.find(question)))
    bare = people.without(question)
    slots: list[Slot] = []
    hints: list[Slot] = []
    for slot in lexicon.slots(base_forms(bare)):
        idle = slot.surface in _ASKING_WORDS or all(s in _ASKING_WORDS for s in slot.stems)
        (hints if idle else slots).append(slot)
    saying = _SAYING.search(question) is not None
    if _TO_DO.search(question):
        intent = Intent.ACTION
    elif _DECIDED.search(question):
        intent = Intent.DECISION
    else:
        intent = Intent.FACT
    said_by = frozenset(named if saying and intent is Intent.FACT else ())
    names = tuple(name for name in names_in(bare) if not name.isdigit())
    return Asked(
        question, intent, tuple(slots), named, names, said_by, tuple(hints), _wanted(question)
    )


def _wanted(question: str) -> Wanted:
    if _TIME.search(question):
        return Wanted.TIME
    return Wanted.AMOUNT if _AMOUNT.search(question) else Wanted.ANYTHING


@dataclass(frozen=True, slots=True)
class _Unit:
    """A sentence of a line."""

    line: int
    text: str
    folded: Folded
    asks: bool


class Finder:
    """Finds the lines of one meeting that answer questions.

    Args:
        lines: All lines, in order.
        names: Display names of speakers by identifier.
    """

    def __init__(self, lines: Sequence[Line], names: Mapping[str, str]) -> None:
        self._lines = lines
        self._folded = [Folded(base_forms(line.text)) for line in lines]
        self.people = People(names)

    @cached_property
    def _units(self) -> list[_Unit]:
        found = []
        for line in self._lines:
            for unit in split_units(line.text):
                text = line.text[unit.start : unit.end]
                question = asks(text, detect_language(text))
                found.append(_Unit(line.number, text, Folded(base_forms(text)), question))
        return found

    @cached_property
    def _replies(self) -> dict[int, int]:
        """Lines that state what is said to a question, with the line that asks it."""
        states = {unit.line for unit in self._units if not unit.asks}
        found = {}
        for unit in self._units:
            reply = unit.line + 1
            if not unit.asks or reply not in states:
                continue
            if self._lines[reply].speaker != self._lines[unit.line].speaker:
                found[reply] = unit.line
        return found

    def share(self, asked: Asked, numbers: Sequence[int]) -> float:
        """Return which weighed share of a question's words some lines meet together."""
        weights = self._weights(asked.slots)
        total = sum(weights)
        if not total:
            return 1.0
        met = sum(
            weight * max((mentions(slot, self._folded[number]) for number in numbers), default=0.0)
            for slot, weight in zip(asked.slots, weights, strict=True)
        )
        return met / total

    def find(self, asked: Asked, likeness: npt.NDArray[np.float32] | None, most: int) -> list[Line]:
        """Return the lines that answer, best first; none where nothing does.

        Args:
            asked: The question.
            likeness: Cosine of the question to each line, shape [lines]; ``None`` without vectors.
            most: Most lines.
        """
        if not self._lines or not self._known(asked):
            return []
        weights = np.array(self._weights(asked.slots), dtype=np.float64)
        scores = self._scores(asked, weights)
        if likeness is not None:
            near = np.clip(likeness.astype(np.float64) - _LIKE + 0.06, 0, None) * 5
            scores = np.where(scores >= 0, scores + near, scores)
        allowed = np.array(
            [not asked.said_by or line.speaker in asked.said_by for line in self._lines]
        )
        if not allowed.any():
            return []
        scores = np.where(allowed & (scores >= 0), scores, -1.0)
        if not asked.said_by:
            self._without_what_is_wanted(asked, scores)
        if not len(weights) and likeness is None:
            # "What did Lena say?": all that she said.
            found = [
                line for line in self._lines if asked.said_by and line.speaker in asked.said_by
            ]
            return sorted(found, key=lambda line: -len(line.text))[:most]
        order = [int(i) for i in np.argsort(-scores, kind="stable")[: 4 * most]]
        best = order[0]
        if scores[best] < 0:
            return []
        around = [i for i in (best - 1, best, best + 1) if 0 <= i < len(self._lines)]
        enough = _ENOUGH
        if likeness is not None and likeness[best] >= _LIKE:
            enough = _ENOUGH_WITH_VECTORS
        if self.share(asked, around) < enough:
            return []
        least = max(0.0, _SECOND * scores[best])
        return [self._lines[i] for i in order if scores[i] >= least][:most]

    def with_questions(self, lines: Iterable[Line]) -> list[Line]:
        """Return lines with the questions that they answer among them, in order."""
        found = {line.number for line in lines}
        found |= {self._replies[number] for number in found if number in self._replies}
        return [self._lines[number] for number in sorted(found)]

    def _scores(self, asked: Asked, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return for each line how well its best sentence that states something answers.

        Lines that only ask have -1, unless the question is for what somebody said.
        """
        units, count = self._units, len(self._lines)
        states = np.array([bool(asked.said_by) or not unit.asks for unit in units], dtype=bool)
        found = np.full(count, -1.0)
        if not len(weights):
            found[[unit.line for unit, stated in zip(units, states, strict=True) if stated]] = 0
            return found
        met = np.array([[mentions(slot, unit.folded) for slot in asked.slots] for unit in units])
        # What a question asks counts for what is said to it, and for nothing else beside it.
        stated = met * states[:, None]
        beside = np.zeros_like(met)
        beside[1:] = np.maximum(beside[1:], stated[:-1])
        beside[:-1] = np.maximum(beside[:-1], stated[1:])
        told = np.zeros(count)
        asking = np.zeros((count, len(asked.slots)))
        for unit, row in zip(units, met, strict=True):
            if unit.asks:
                asking[unit.line] = np.maximum(asking[unit.line], row)
                share = float((row * weights).sum() / weights.sum())
                if asked.wanted is not Wanted.ANYTHING and _wanted(unit.text) is asked.wanted:
                    told[unit.line] = max(told[unit.line], _TOLD * (share >= _SAME))
        for number, (unit, row) in enumerate(zip(units, met, strict=True)):
            if not states[number]:
                continue
            question = self._replies.get(unit.line)
            whole = np.maximum(row, _BESIDE * beside[number])
            if question is not None:
                whole = np.maximum(whole, asking[question])
            score = float((whole * weights).sum() / weights.sum())
            if asked.hints and not asked.said_by:
                score += _HINT * max(mentions(slot, unit.folded) for slot in asked.hints)
            if question is not None:
                score += told[question]
            found[unit.line] = max(found[unit.line], score)
        return found

    def _without_what_is_wanted(self, asked: Asked, scores: npt.NDArray[np.float64]) -> None:
        """Take out the lines that lack the amount or the time that is asked for.

        What is said to the same question stays, whatever it holds.
        """
        if asked.wanted is Wanted.ANYTHING:
            return
        for i in map(int, np.argsort(-scores, kind="stable")[:_LOOKED_AT]):
            if scores[i] < 0:
                return
            states = [unit.text for unit in self._units if unit.line == i and not unit.asks]
            stated = Stated(" ".join(states), None)
            held = stated.moments if asked.wanted is Wanted.TIME else stated.quantities
            if not held and not (i in self._replies and self._asks_the_same(asked, i)):
                scores[i] = -1.0

    def _asks_the_same(self, asked: Asked, reply: int) -> bool:
        question = self._replies[reply]
        return self.share(asked, [question]) >= _SAME and any(
            unit.asks and _wanted(unit.text) is asked.wanted
            for unit in self._units
            if unit.line == question
        )

    def _known(self, asked: Asked) -> bool:
        """Tell whether everything that a question names is mentioned at all."""
        return all(
            any(folded.mentions(name) for folded in self._folded)
            or any(
                any(mentions(slot, folded) > 0 for folded in self._folded)
                for slot in asked.slots
                if slot.surface == name
            )
            for name in asked.names
        )

    def _weights(self, slots: Sequence[Slot]) -> list[float]:
        """Return how much each word tells: the fewer lines have it, the more."""
        total = len(self._folded)
        return [
            math.log(1 + (total + 0.5) / (0.5 + sum(mentions(slot, f) > 0 for f in self._folded)))
            for slot in slots
        ]
