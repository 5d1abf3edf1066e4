"""Checks sentences about a meeting against the words that they cite.

A sentence must be carried by one exchange: what it cites side by side, not by facts from here and
there. Every name, number and date must stand there; who says or does something must be who says or
does it there; no clause may say the opposite of what is said; and most of its words must be met by
words that mean the same, in Chinese or English. (Cf. Honovich et al., "TRUE: Re-evaluating Factual
Consistency Evaluation", 2022, on why overlap alone does not do.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from itertools import pairwise, takewhile
from typing import Final

from atrium_grounding import tokens
from atrium_grounding.languages import detect_language
from atrium_grounding.lexicon import Lexicon, Slot
from atrium_grounding.matching import Folded, mentions
from atrium_grounding.names import names_in
from atrium_grounding.quantities import Quantity, supported_by
from atrium_grounding.sentences import split_units
from atrium_meeting.domain.faithfulness.base_forms import base_forms
from atrium_meeting.domain.faithfulness.moments import Moment, Stated
from atrium_meeting.domain.faithfulness.people import (
    GROUP,
    Named,
    Part,
    People,
    agrees,
    asks,
    beside,
    calls,
    doers,
    goes_on,
    joins,
    obliged,
    parts_in,
    takes,
    to_come,
)
from atrium_meeting.domain.faithfulness.polarity import (
    Poles,
    answers_no,
    answers_yes,
    denies_all,
    without_denials,
)
from atrium_meeting.domain.transcript import is_unspaced

_SIDE_BY_SIDE: Final = 6
"""Cited utterances so far from each other are still one exchange."""
_CLOSE_SECOND: Final = 0.85
_OWN_SHARE: Final = 0.3
"""Of the words of a sentence that what it cites must meet."""
_ALL_SHARE: Final = 0.75
"""The same when the talk around it counts too."""
_BOTH_SHARES: Final = 1.25
"""More than this the two must be together: what is barely met twice is made up."""
_OTHER_LANGUAGE: Final = 0.75
"""Both are lower by this factor across languages."""
_ROOT: Final = 4
"""Letters at the beginning that words of one root share."""
_ANSWERED_WITHIN: Final = 2
_OF_NUMBERS: Final = frozenset(
    "cost price pay month year week day euro amount number figur total 元 每月 每年 价格 报价 "
    "报 费用 花费 每天 每人 每次 每周 per apiec singl "
    "金额 人 个 有 要 大概".split()
)
"""What is said of any number: it tells not which thing it is of."""
_SAME_SUBJECT: Final = 2
"""Words of a clause that tell which thing it is about."""
_JUST_BEFORE: Final = 4
"""Utterances before what is cited in which a number may have been said."""
_ELSEWHERE: Final = 0.5
"""A line that meets so much of a clause is what the clause tells of."""
_SAME_THING: Final = 0.5
"""A clause of the talk of which so much is told by a sentence is about the same."""
_ELSEWHERE_MORE: Final = 0.3
"""So much more of a clause in another exchange that is cited, and it is said there, not here."""
_WEEKDAY: Final = re.compile(r"(?:mon|tues|wednes|thurs|fri|satur|sun)days?")
_CLAUSE: Final = re.compile(r"[，。；！？、\n]|[,;.!?:](?=\s|$)")
_CLAIM_CLAUSE: Final = re.compile(
    r"[，。；！？\n]|[,;.!?:](?=\s|$)"
    r"|(?<!hundred)(?<!thousand)(?<!million)\s"
    r"(?:and|but|while|whereas|because|so that|so|although)(?=\s)"
    r"|(?:但是|但|而且|因为|所以|因此|同时|并且|并(?![不非没未列行排存购])|然后)"
)
_MARK: Final = re.compile(r"\s*[\[【(（](?:u?\d{1,5}\s*[,，、]?\s*)+[\]】)）]")
# What any sentence of minutes may say without a word for it in the talk.
_NEUTRAL: Final = frozenset(
    "think thought go travel get give come show includ list contain team meet group discuss "
    "discussion talk said say agre decid decis "
    "will plan mention report "
    "ask want propos suggest state note explain confirm need also accord about around "
    "approxim cannot current today everyon everybodi particip member speaker person peopl whole "
    "final "
    "topic item point question answer idea matter thing issu action task respons take set would "
    "inform prepar make made arrang organ organis handl provid receiv hold held choos chosen "
    "select togeth goe happen occur place total former "
    "committe board colleagu there two three four five six seven eight nine ten hundr thousand "
    "会议 讨论 决定 表示 认为 提出 提到 指出 建议 同意 大家 团队 小组 参会 参会者 介绍 说明 "
    "汇报 确认 将 会 需要 "
    "计划 负责 关于 进行 问题 事项 议题 任务 目前 现在 约 大约 左右 说 询问 问 希望 打算 准备 "
    "一致 今天 这次 本次 "
    "暂时 考虑 会议上 方面 情况 相关 完成 通过 已经 已 并 由 成员 发言人 用 做 把 后 前 才 "
    "只 共 共计 总共 一共 出现 发生 已有 仍 仍旧 依然 仍然 另 另外 从事 最终 最后 选定 稍后 随后 "
    "先 再 交给 即可 届时 各自 该 其 其中 此 均 予以 征求 意见 得到 采取".split()
)


_SUPPOSES: Final = re.compile(r"\b(?:could|might|what if)\b|要不|如果|要是|万一")
_ADDRESSES: Final = re.compile(r"\byou(?:r|rs|'ll|'re|'ve)?\b|[你您]")
_TITLES: Final = frozenset("dr mr mrs ms prof professor sir madam".split())
_GOES_ON: Final = re.compile(r"(?:it|that|this|they|those|these)(?:'s|'re|\s)|[那这它]")


class Fault(StrEnum):
    """Why a sentence is not published."""

    EMPTY = "empty"
    """It says nothing that could be checked."""
    NAME = "name"
    NUMBER = "number"
    DATE = "date"
    UNSUPPORTED = "unsupported"
    """Its words are not met."""
    NEGATION = "negation"
    """It says the opposite."""
    OWNER = "owner"
    """Somebody else says or does it."""
    MERGED = "merged"
    """It joins facts that are not said together."""


@dataclass(frozen=True, slots=True)
class Said:
    """An utterance, or words of one.

    Args:
        index: Number of the utterance in the meeting, from 0.
        speaker: Who speaks, "S1".
        text: The clean view.
    """

    index: int
    speaker: str
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found.

    Args:
        fault: Why the sentence must not be published; ``None``: it may be.
        detail: The word, number or name that is not carried; may be empty.
        support: Indices (`Said.index`) of what carries it.
    """

    fault: Fault | None
    detail: str = ""
    support: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Clause:
    text: str
    slots: tuple[Slot, ...]
    poles: Poles
    parts: tuple[Named, ...]


@dataclass(frozen=True, slots=True)
class _Claim:
    text: str
    language: str
    slots: tuple[Slot, ...]
    stated: Stated
    clauses: tuple[_Clause, ...]
    people: tuple[Named, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Line:
    """A sentence as said."""

    said: Said
    text: str
    folded: Folded
    clauses: tuple[tuple[Folded, Poles], ...]
    poles: Poles
    named: tuple[Named, ...]
    stated: Stated
    asks: bool
    requests: bool

    @property
    def pieces(self) -> tuple[tuple[Folded, Poles], ...]:
        """Clauses, and the whole sentence where none of them denies anything."""
        if len(self.clauses) > 1 and not any(poles.denied for _, poles in self.clauses):
            return (*self.clauses, (self.folded, self.poles))
        return self.clauses


_REQUEST: Final = re.compile(
    r"\b(?:can|could|would|will) you\b|\bplease\b|\bwho (?:can|could|will|takes|wants|does|is)\b|"
    r"\bshall we\b|[你您].{0,6}(?:能|可以|负责|来|去|帮)|麻烦|能不能|能.{1,12}吗|可以.{0,12}吗|"
    r"行吗|好吗|"
    r"谁(?:来|去|负责|能|可以)"
)


@dataclass(frozen=True, slots=True)
class _Nearby:
    """Talk around what is cited."""

    folded: Folded
    stated: Stated
    lines: tuple[_Line, ...]


_READ_AT_MOST: Final = 512
_ASKS_OF: Final = re.compile(
    r"\b(?:how|what|when|where|which|who|whom|whose|why)\b|多少|几|哪|谁|什么|怎么|为何|何时|"
    r"多久|多大"
)


@dataclass(frozen=True, slots=True)
class _Exchange:
    cited: tuple[int, ...]
    said: tuple[Said, ...]
    lines: tuple[_Line, ...]
    whole: Folded
    around: Folded
    stated: Stated
    stated_around: Stated
    lines_around: tuple[_Line, ...]
    before: tuple[_Nearby, ...]
    beside: frozenset[str]
    """Who speaks just before or after: whom "you" may mean."""


class FaithfulnessChecker:
    """Checks sentences about one meeting.

    Args:
        names: Display names of the speakers by identifier.
        day: Day of the meeting, where it is known.
        lexicon: Tells which words mean the same, across languages too.
        about: What the meeting is about: its title and agenda.
    """

    def __init__(
        self, names: Mapping[str, str], day: date | None, lexicon: Lexicon, about: str = ""
    ) -> None:
        self._people = People(names)
        self._day = day
        self._lexicon = lexicon
        self._about = about
        self._read_lines: dict[Said, tuple[_Line, ...]] = {}
        self._read: dict[tuple[bool, tuple[Said, ...]], _Nearby] = {}

    def check(self, sentence: str, cited: Sequence[Said], around: Sequence[Said] = ()) -> Verdict:
        """Return whether what a sentence cites carries it.

        Args:
            sentence: One sentence; "[3]" marks in it are ignored.
            cited: What it cites; at least one.
            around: The talk around; it may explain words ("the contract"), and carries no fact.
        """
        claim = self._claim(base_forms(plain(sentence)))
        if not claim.slots and not claim.stated.quantities and not claim.stated.moments:
            return Verdict(Fault.EMPTY)
        exchanges = [
            self._exchange(said, _asked_before(said, around), around) for said in _exchanges(cited)
        ]
        best: tuple[float, Verdict] | None = None
        for exchange in exchanges:
            verdict = self._judge(claim, exchange, [one for one in exchanges if one != exchange])
            if verdict.fault is None:
                return verdict
            share = _share(claim.slots, exchange.whole)
            if best is None or share > best[0]:
                best = share, verdict
        return best[1] if best else Verdict(Fault.UNSUPPORTED)

    def _judge(self, claim: _Claim, exchange: _Exchange, others: Sequence[_Exchange]) -> Verdict:
        checks = (
            self._name, self._moment, self._quantity, self._content, self._polarity, self._owner,
        )  # fmt: skip
        for check in checks:
            verdict = check(claim, exchange)
            if verdict is not None:
                return verdict
        for clause in claim.clauses:
            here = _share(clause.slots, exchange.whole)
            if len(claim.clauses) > 1 and len(clause.slots) >= _SAME_SUBJECT and here == 0:
                return Verdict(Fault.MERGED, clause.text.strip())
            met = _met_words(clause.slots, exchange.whole)
            if any(
                len(there - met) >= _SAME_SUBJECT and len(there) > len(met)
                for other in others
                for there in [_met_words(clause.slots, other.whole)]
            ):
                return Verdict(Fault.MERGED, clause.text.strip())
        return Verdict(None, support=exchange.cited)

    # What must stand there.

    def _name(self, claim: _Claim, exchange: _Exchange) -> Verdict | None:
        present = {said.speaker for said in exchange.said}
        present |= {one.key for line in exchange.lines for one in line.named}
        if any(_ADDRESSES.search(said.text.lower()) for said in exchange.said):
            present |= exchange.beside
        for person in claim.people:
            if person.key not in present:
                return Verdict(Fault.NAME, claim.text[person.start : person.end])
        for name in claim.names:
            if not (
                self._mentioned(name, exchange.whole) or self._mentioned(name, exchange.around)
            ):
                return Verdict(Fault.NAME, name)
        return None

    def _mentioned(self, name: str, folded: Folded) -> bool:
        if folded.mentions(name):
            return True
        return any(mentions(slot, folded) > 0 for slot in self._lexicon.slots(name)[:1])

    def _moment(self, claim: _Claim, exchange: _Exchange) -> Verdict | None:
        for lacking in claim.stated.lacking_moments(exchange.stated, exchange.stated_around):
            if not self._known_day(lacking, claim, exchange):
                return Verdict(Fault.DATE, claim.text[lacking.start : lacking.end])
        given_up = self._given_up(claim, exchange)
        if given_up is not None:
            return Verdict(Fault.DATE, claim.text[given_up.start : given_up.end])
        return None

    def _known_day(self, lacking: Moment, claim: _Claim, exchange: _Exchange) -> bool:
        """Tell whether a day was said just before, and no other is said in what is cited."""
        if exchange.stated.days - (claim.stated.days - {lacking.key}):
            return False
        return any(lacking.key in near.stated.days for near in exchange.before)

    def _given_up(self, claim: _Claim, exchange: _Exchange) -> Moment | None:
        """Return a moment that was asked about or denied, and another was said after it."""
        if not claim.stated.moments or any(clause.poles.denied for clause in claim.clauses):
            return None
        for moment in claim.stated.moments:
            saying = [line for line in exchange.lines if moment.key in line.stated.days]
            if not saying or not all(
                (line.asks and not self._agreed(line, exchange)) or line.poles.denied
                for line in saying
            ):
                continue
            last = max(line.said.index for line in saying)
            if any(
                0 < line.said.index - last <= _ANSWERED_WITHIN
                and line.stated.days
                and moment.key not in line.stated.days
                for line in exchange.lines
            ):
                return moment
        return None

    def _agreed(self, line: _Line, exchange: _Exchange) -> bool:
        answer = _answer(line, exchange)
        return answer is not None and (answers_yes(answer.text) or takes(answer.text))

    def _quantity(self, claim: _Claim, exchange: _Exchange) -> Verdict | None:
        for lacking in claim.stated.lacking_quantities(exchange.stated, exchange.stated_around):
            if not self._told_before(lacking, claim, exchange):
                kind = Fault.DATE if lacking.kind in ("date", "time") else Fault.NUMBER
                return Verdict(kind, claim.text[lacking.start : lacking.end])
        for quantity in claim.stated.loose:
            if self._rivalled(quantity, claim, exchange):
                return Verdict(Fault.NUMBER, claim.text[quantity.start : quantity.end])
            if not self._in_its_place(quantity, claim, exchange):
                return Verdict(Fault.MERGED, claim.text[quantity.start : quantity.end])
        return None

    def _rivalled(self, quantity: Quantity, claim: _Claim, exchange: _Exchange) -> bool:
        """Tell whether what is said of the same thing is another number.

        "A small stand costs two thousand, a corner stand three": each number has its own piece.
        """
        clause = _around(claim, quantity.start)
        if clause is None:
            return False
        telling = [slot for slot in clause.slots if slot.surface not in _OF_NUMBERS]
        mine: list[tuple[_Line, set[str], Stated]] = []
        rivals: list[tuple[_Line, set[str]]] = []
        for line in exchange.lines:
            for start, end in _cut(line.text):
                piece = line.text[start:end]
                stated = Stated(piece, self._day)
                met = _met_words(telling, _folded(piece))
                same = [one for one in stated.loose if _comparable(one, quantity)]
                if supported_by(quantity, stated.loose):
                    if _was_before(quantity, stated.loose, piece) and not _was_before(
                        quantity, claim.stated.loose, claim.text
                    ):
                        return True
                    mine.append((line, met, stated))
                elif same and not any(supported_by(one, claim.stated.loose) for one in same):
                    rivals.append((line, met))
        if not mine:
            return False
        if all(line.asks for line, _, _ in mine) and any(
            not rival.asks and 0 < rival.said.index - line.said.index <= _ANSWERED_WITHIN
            for rival, _ in rivals
            for line, _, _ in mine
        ):
            return True  # "Is it forty?" "Thirty."
        line, best, _ = max(mine, key=lambda item: len(item[1]))
        there = max(
            (met for other, met in rivals if other.said == line.said), key=len, default=set()
        )
        if there - best and len(best - there) <= len(there - best):
            return True
        said = claim.stated.days
        return bool(said) and all(stated.days and not said & stated.days for _, _, stated in mine)

    def _in_its_place(self, quantity: Quantity, claim: _Claim, exchange: _Exchange) -> bool:
        """Tell whether a number is said of what the sentence says it of."""
        clause = _around(claim, quantity.start)
        if clause is None or not clause.slots:
            return True
        best = max(_share(clause.slots, line.folded) for line in exchange.lines)
        for i, line in enumerate(exchange.lines):
            if not supported_by(quantity, line.stated.quantities):
                continue
            previous = exchange.lines[i - 1] if i else None
            # The line that says the number says something else of the clause too, or answers.
            others = [one for one in claim.stated.quantities if one.start != quantity.start]
            if (
                best < _ELSEWHERE
                or _share(clause.slots, line.folded) > 0
                or any(supported_by(one, line.stated.quantities) for one in others)
                or (previous is not None and previous.asks)
                or (
                    previous is not None
                    and _GOES_ON.match(line.text.lower())
                    and _share(clause.slots, previous.folded) > 0
                )
                or _share(clause.slots, _folded(line.said.text)) >= best
            ):
                return True
        return not any(supported_by(quantity, line.stated.quantities) for line in exchange.lines)

    def _told_before(self, quantity: Quantity, claim: _Claim, exchange: _Exchange) -> bool:
        """Tell whether a number was said of the same just before: "fifty vouchers", "them"."""
        clause = _around(claim, quantity.start)
        if clause is None:
            return False
        if self._beside_its_word(quantity, claim, exchange):
            return True
        if len(clause.slots) < _SAME_SUBJECT or any(
            _comparable(one, quantity) for one in exchange.stated.loose
        ):
            return False
        return any(
            supported_by(quantity, one.stated.quantities)
            and sum(mentions(slot, one.folded) > 0 for slot in clause.slots) >= _SAME_SUBJECT
            for one in exchange.before
        )

    def _beside_its_word(self, quantity: Quantity, claim: _Claim, exchange: _Exchange) -> bool:
        """Tell whether the talk around says a number beside the word it stands beside here.

        "Silo three" and "the nine aunts" are known by then, and no number of the exchange.
        """
        words = _neighbours(claim.text, quantity)
        if any(
            _comparable(other, quantity) and words & _neighbours(line.text, other)
            for line in exchange.lines
            for other in line.stated.quantities
        ):
            return False
        return any(
            supported_by(quantity, [other]) and words & _neighbours(line.text, other)
            for line in exchange.lines_around
            for other in line.stated.quantities
        )

    def _content(self, claim: _Claim, exchange: _Exchange) -> Verdict | None:
        own, near = self.shares(claim, exchange)
        factor = 1.0 if self._same_language(claim, exchange) else _OTHER_LANGUAGE
        bare = len(claim.slots) >= _SAME_SUBJECT or not claim.stated.loose
        if claim.slots and bare and _share(claim.slots, exchange.whole) == 0:
            return Verdict(Fault.UNSUPPORTED, claim.slots[0].surface)
        enough = (own + near) > _BOTH_SHARES * factor
        if enough and own >= _OWN_SHARE * factor and near >= _ALL_SHARE * factor:
            return None
        lacking = [
            slot.surface for slot in claim.slots
            if not mentions(slot, exchange.whole) and not mentions(slot, exchange.around)
        ]  # fmt: skip
        return Verdict(Fault.UNSUPPORTED, ", ".join(lacking[:4]))

    def shares(self, claim: _Claim, exchange: _Exchange) -> tuple[float, float]:
        """Return which share of a sentence is said in an exchange, and with the talk around it.

        Numbers and days that are said count like two words each.
        """
        stated = 2 * (len(claim.stated.loose) + len(claim.stated.moments))
        telling = [
            slot for slot in claim.slots if not (claim.stated.loose and slot.surface in _OF_NUMBERS)
        ]
        total = len(telling) + stated
        if not total:
            return 0.0, 0.0
        own = [_met(slot, exchange.whole) for slot in telling]
        near = [
            max(met, _met(slot, exchange.around)) for slot, met in zip(telling, own, strict=True)
        ]
        lacking = claim.stated.lacking_quantities(exchange.stated, exchange.stated_around)
        lacking_days = claim.stated.lacking_moments(exchange.stated, exchange.stated_around)
        here = stated - 2 * (len(lacking) + len(lacking_days))
        return (sum(own) + here) / total, (sum(near) + stated) / total

    def _same_language(self, claim: _Claim, exchange: _Exchange) -> bool:
        return any(detect_language(said.text) == claim.language for said in exchange.said)

    # What it must not turn round.

    def _polarity(self, claim: _Claim, exchange: _Exchange) -> Verdict | None:
        for clause in claim.clauses:
            if not clause.slots:
                continue
            stated = Stated(clause.text, self._day)
            shares = [
                (
                    _share(clause.slots, folded) + self._shared_days(stated, folded),
                    poles,
                    line,
                    folded,
                )
                for line in exchange.lines
                if not line.asks or self._answered(line, exchange)
                for folded, poles in (line.clauses if clause.poles.denied % 2 else line.pieces)
            ]
            best = max((item[0] for item in shares), default=0.0)
            if best == 0:
                if clause.poles.denied % 2:
                    return Verdict(Fault.NEGATION, clause.text.strip())
                continue
            near = [item for item in shares if item[0] >= _CLOSE_SECOND * best]
            # What is denied must be denied where it is spoken of.
            if clause.poles.denied % 2 and not any(
                poles.denied or clause.poles.opposes(poles) == self._turned(line, exchange)
                for _, poles, line, _ in near
            ):
                return Verdict(Fault.NEGATION, clause.text.strip())
            if self._opposed(clause, near, exchange) or self._denied_around(clause, best, exchange):
                return Verdict(Fault.NEGATION, clause.text.strip())
        return None

    def _shared_days(self, stated: Stated, folded: Folded) -> float:
        if not stated.loose and not stated.moments:
            return 0.0
        return _shared_days(stated, Stated(folded.text, self._day))

    def _opposed(
        self,
        clause: _Clause,
        near: Sequence[tuple[float, Poles, _Line, Folded]],
        exchange: _Exchange,
    ) -> bool:
        """Tell whether the nearest clauses say the opposite.

        What is only supposed or asked says nothing, nor does a clause that shares one word and is
        about something else. Where some do and some do not, those count that hold more words of
        the clause: "We don't need the corner stand. Let's book the small one."
        """
        stated = Stated(clause.text, self._day)
        told = _folded(clause.text)
        sides: dict[bool, set[str]] = {}
        said_flatly = denied_flatly = False
        for _, poles, line, folded in near:
            opposite = clause.poles.opposes(poles) != self._turned(line, exchange)
            met = _met_words(clause.slots, folded)
            met |= _said_too(stated, Stated(folded.text, self._day))
            covered = _share(self._content_slots(folded.text), told)
            if opposite and (
                _supposes(line)
                or (len(met) < min(_SAME_SUBJECT, len(clause.slots)) and covered < _SAME_THING)
            ):
                continue
            sides.setdefault(opposite, set()).update(met)
            # All that it says is told here: "it never rose", and nothing else.
            if covered == 1 and not opposite:
                said_flatly = True
            elif covered == 1 and poles.denied and not clause.poles.denied:
                denied_flatly = True
        if denied_flatly and not said_flatly:
            return True
        if True not in sides or False not in sides:
            return True in sides
        against, agreeing = sides[True], sides[False]
        return len(against) > len(agreeing)

    def _denied_around(self, clause: _Clause, best: float, exchange: _Exchange) -> bool:
        """Tell whether what is said much nearer to a clause, beside what is cited, denies it."""
        shares = [
            (_share(clause.slots, folded), poles)
            for line in exchange.lines_around
            if not line.asks
            for folded, poles in line.clauses
        ]
        nearest = max((share for share, _ in shares), default=0.0)
        if nearest < best + _ELSEWHERE_MORE:
            return False
        return all(clause.poles.opposes(poles) for share, poles in shares if share == nearest)

    def _answered(self, line: _Line, exchange: _Exchange) -> bool:
        """Tell whether a question says what holds: it is cited alone, or yes or no follows.

        What "how", "when" or "who" ask of holds anyway.
        """
        if _ASKS_OF.search(line.text.lower()):
            return True
        answer = _answer(line, exchange)
        return answer is None or answers_no(answer.text) or answers_yes(answer.text)

    def _turned(self, line: _Line, exchange: _Exchange) -> bool:
        """Tell whether a question is answered with a no, or a supposition with "we don't"."""
        if not line.asks:
            after = next((two for one, two in pairwise(exchange.lines) if one is line), None)
            return after is not None and after.said == line.said and denies_all(after.text)
        answer = _answer(line, exchange)
        return answer is not None and answers_no(answer.text) and not answers_yes(answer.text)

    # Who it is that says or does it.

    def _owner(self, claim: _Claim, exchange: _Exchange) -> Verdict | None:
        speakers = {said.speaker for said in exchange.said}
        before: list[Named] = []
        for clause in claim.clauses:
            acting = [one for one in clause.parts if one.part is not Part.MENTIONED]
            lines = self._nearest(clause, exchange) if acting or before else []
            for one in acting:
                telling = [line for line in lines if not line.asks] or lines
                allowed = {line.said.speaker for line in telling if one.part is Part.SAYS}
                if one.part is Part.SAYS and agrees(clause.text):
                    allowed |= speakers
                if one.part is Part.DOES or asks(clause.text):
                    alone = len(claim.clauses) == 1
                    allowed |= self._allowed(clause, lines, exchange, alone=alone)
                if one.key not in allowed:
                    return Verdict(Fault.OWNER, clause.text[one.start : one.end])
            # "Anna will write the report and call the bank": who calls the bank?
            if not acting and before and clause.slots and goes_on(clause.text):
                allowed = self._allowed(clause, lines, exchange)
                if not any(one.key in allowed for one in before):
                    return Verdict(Fault.MERGED, clause.text.strip())
            if acting:
                before = [one for one in acting if one.part is Part.DOES]
        return None

    def _nearest(self, clause: _Clause, exchange: _Exchange) -> list[_Line]:
        stated = Stated(clause.text, self._day)
        shares = [
            _share(clause.slots, line.folded) + _shared_days(stated, line.stated)
            for line in exchange.lines
        ]
        best = max(shares, default=0.0)
        if best == 0:
            return list(exchange.lines)
        return [
            line
            for line, share in zip(exchange.lines, shares, strict=True)
            if share >= _CLOSE_SECOND * best
        ]

    def _allowed(
        self,
        clause: _Clause,
        lines: Sequence[_Line],
        exchange: _Exchange,
        *,
        alone: bool = False,
    ) -> set[str]:
        """Return who may be told to do something.

        Of what is still to be done it is who takes it on or is asked to, where anybody does: in
        the nearest lines, and if it is all that is told, anywhere in the exchange. Of all else it
        is who speaks of it.
        """
        if to_come(clause.text):
            taking = self._taking(lines, exchange)
            if not taking:
                here = self._doers(lines, exchange)
                told = alone or all(GROUP.search(line.text.lower()) or line.asks for line in lines)
                taking = self._taking(exchange.lines, exchange) if told else here
            if taking:
                return taking
        return self._doers(lines, exchange)

    def _taking(self, lines: Iterable[_Line], exchange: _Exchange) -> set[str]:
        """Return who takes something on in these lines, or is asked to."""
        found: set[str] = set()
        for line in lines:
            if takes(line.text) and not line.asks:
                found.add(line.said.speaker)
                found |= {one.key for one in line.named if joins(line.text, one)}
            others = [one for one in exchange.said if one.speaker != line.said.speaker]
            later = [one for one in others if one.index > line.said.index]
            if later and not answers_no(later[0].text):
                # "Hana, you have the best words of us." "You get a draft on Tuesday."
                called = {one.key for one in line.named if calls(line.text, one)}
                found |= called & {later[0].speaker}
            if line.requests:
                found |= {one.key for one in line.named if not beside(line.text, one)}
                if not line.named:
                    yes = [one.speaker for one in later if answers_yes(one.text) or takes(one.text)]
                    found |= set(yes or [one.speaker for one in later[:1]])
            elif any(obliged(line.text, one) for one in line.named):
                found |= {one.key for one in line.named if obliged(line.text, one)}
        return found

    def _doers(self, lines: Iterable[_Line], exchange: _Exchange) -> set[str]:
        found: set[str] = set()
        for line in lines:
            found |= self._doers_of(line, exchange)
        if found:
            return found
        # "Who pays for it?" says nothing of who does; the rest of the exchange may.
        for line in exchange.lines:
            found |= self._doers_of(line, exchange)
        return found

    def _doers_of(self, line: _Line, exchange: _Exchange) -> set[str]:
        others = [one for one in exchange.said if one.speaker != line.said.speaker]
        later = [one.speaker for one in others if one.index > line.said.index]
        before = [one.speaker for one in others if one.index < line.said.index]
        addressed = later[:1] or before[-1:]
        mine = doers(line.text, line.said.speaker, addressed, line.named, alone=not line.asks)
        if line.requests and not mine:
            mine = set(later[:1])
        if line.said.speaker in mine and not takes(line.text):
            # "We need somebody to do that." "I can." - "Could you send it?" "Sure."
            taken = [
                one.speaker for one in others
                if one.index > line.said.index
                and (takes(one.text) or (line.requests and answers_yes(one.text)))
            ]  # fmt: skip
            if taken:
                mine = (mine - {line.said.speaker}) | set(taken)
        return mine

    # How both sides are read.

    def _claim(self, text: str) -> _Claim:
        people = self._people.find(text)
        stated = Stated(text, self._day)
        clauses = []
        for start, end in _cut(text):
            clause = text[start:end]
            named = [
                Named(one.key, one.start - start, one.end - start)
                for one in people
                if start <= one.start < end
            ]
            clauses.append(
                _Clause(
                    clause,
                    tuple(self._content_slots(clause)),
                    Poles(clause),
                    tuple(parts_in(clause, named)),
                )
            )
        bare = self._people.without(text)
        return _Claim(
            text,
            detect_language(text),
            tuple(self._content_slots(text)),
            stated,
            tuple(clauses),
            tuple(people),
            tuple(self._names(bare)),
        )

    def _names(self, text: str) -> list[str]:
        """Return what else is named; a word at the beginning counts when no dictionary knows it."""
        found = list(names_in(text))
        first = re.match(r"\W*([A-Z][a-z]+)\b", text)
        if first and all(not slot.chinese for slot in self._lexicon.slots(first[1])[:1]):
            word = tokens.fold(first[1])
            if word not in tokens.ENGLISH_STOP_WORDS and word not in found:
                found.append(word)
        return [
            name
            for name in found
            if not name.isdigit() and name not in _TITLES and not _WEEKDAY.fullmatch(name)
        ]

    def _content_slots(self, text: str) -> list[Slot]:
        bare = self._people.without(text)
        taken = [(q.start, q.end) for q in Stated(bare, self._day).quantities]
        taken += [(m.start, m.end) for m in Stated(bare, self._day).moments]
        kept = "".join(
            " " if any(start <= i < end for start, end in taken) else character
            for i, character in enumerate(bare)
        )
        return [
            slot for slot in self._lexicon.slots(without_denials(kept)) if not _is_neutral(slot)
        ]

    def _exchange(
        self, cited: Sequence[Said], asked: Sequence[Said], around: Sequence[Said]
    ) -> _Exchange:
        said = [
            replace(one, text=base_forms(one.text))
            for one in sorted((*asked, *cited), key=lambda said: said.index)
        ]
        lines = [line for one in said for line in self._lines(one)]
        whole = "\n".join(one.text for one in said)
        nearby = self._nearby(around)
        return _Exchange(
            tuple(one.index for one in cited),
            tuple(said),
            tuple(lines),
            _folded(whole),
            nearby.folded,
            Stated(whole, self._day),
            nearby.stated,
            nearby.lines,
            tuple(
                self._nearby([one], about=False)
                for one in around
                if cited[0].index - _JUST_BEFORE <= one.index < cited[0].index
            ),
            frozenset(
                one.speaker
                for one in around
                if any(abs(one.index - other.index) == 1 for other in cited)
            ),
        )

    def _nearby(self, around: Sequence[Said], *, about: bool = True) -> _Nearby:
        """Return talk as it is looked into; neighbouring sentences ask for the same."""
        key = (about, tuple(around))
        found = self._read.get(key)
        if found is None:
            texts = [one.text for one in around]
            text = base_forms("\n".join([self._about, *texts] if about else texts))
            lines = [
                line
                for one in around
                for line in self._lines(replace(one, text=base_forms(one.text)))
            ]
            found = _Nearby(_folded(text), Stated(text, self._day), tuple(lines))
            if len(self._read) >= _READ_AT_MOST:
                self._read.clear()
            self._read[key] = found
        return found

    def _lines(self, said: Said) -> tuple[_Line, ...]:
        found = self._read_lines.get(said)
        if found is None:
            found = self._cut_lines(said)
            if len(self._read_lines) >= _READ_AT_MOST:
                self._read_lines.clear()
            self._read_lines[said] = found
        return found

    def _cut_lines(self, said: Said) -> tuple[_Line, ...]:
        lines = []
        for unit in split_units(said.text):
            text = said.text[unit.start : unit.end]
            asks = text.rstrip("\"'”’ ").endswith(("?", "？"))
            lines.append(
                _Line(
                    said,
                    text,
                    _folded(text),
                    tuple(
                        (_folded(clause), Poles(clause))
                        for clause in _CLAUSE.split(text)
                        if clause.strip()
                    ),
                    Poles(text),
                    tuple(self._people.find(text)),
                    Stated(text, self._day),
                    asks,
                    _REQUEST.search(text.lower()) is not None,
                )
            )
        return tuple(lines)


def plain(sentence: str) -> str:
    """Return a sentence without source marks."""
    return _MARK.sub("", sentence).strip()


def _exchanges(cited: Sequence[Said]) -> list[list[Said]]:
    """Put what is cited side by side together."""
    found: list[list[Said]] = []
    for one in sorted(cited, key=lambda said: said.index):
        if found and one.index - found[-1][-1].index <= _SIDE_BY_SIDE:
            found[-1].append(one)
        else:
            found.append([one])
    return found


def _asked_before(said: Sequence[Said], around: Sequence[Said]) -> list[Said]:
    """Return questions to which what is cited is the answer: their words are part of it."""
    cited = {one.index for one in said}
    return [
        one
        for one in around
        if one.index + 1 in cited
        and one.index not in cited
        and one.text.rstrip("\"'”’ ").endswith(("?", "？"))
    ]


def _shared_days(one: Stated, other: Stated) -> float:
    """Return how many days and numbers two texts share, each worth a part of their words."""
    return 0.25 * len(_said_too(one, other))


def _answer(line: _Line, exchange: _Exchange) -> Said | None:
    """Return what is said after a line, by whomever."""
    return next((one for one in exchange.said if one.index > line.said.index), None)


def _said_too(one: Stated, other: Stated) -> set[str]:
    """Return the days and numbers that two texts share, as words."""
    numbers = {f"{each.start}" for each in one.loose if supported_by(each, other.loose)}
    return numbers | (one.days & other.days)


def _neighbours(text: str, quantity: Quantity) -> set[str]:
    """Return the words that a number stands between, but for those of any number."""
    before = tokens.words(text[: quantity.start])[-1:]
    after = tokens.words(text[quantity.end :])[:1]
    return {word for word in (*before, *after) if word not in _OF_NUMBERS}


def _comparable(one: Quantity, other: Quantity) -> bool:
    """Tell whether two quantities could be said of the same thing."""
    plain = ("number", "count")
    return (one.kind == other.kind and one.unit == other.unit) or (
        one.kind in plain and other.kind in plain
    )


_OLD: Final = re.compile(
    r"\b(?:instead of|rather than|not|no longer)\s+\W*$|(?:不是|而不是|原来|原先)\W*$"
)
_FROM: Final = re.compile(r"\bfrom\s+\W*$|[从由]\W*$")
_TO: Final = re.compile(r"^[^,.;，。；]{0,12}(?:\bto\b|[到至改换变涨降调])")


def _supposes(line: _Line) -> bool:
    """Tell whether a line says what might be, or asks how something is."""
    text = line.text.lower()
    return _SUPPOSES.search(text) is not None or (line.asks and _ASKS_OF.search(text) is not None)


def _was_before(quantity: Quantity, stated: Sequence[Quantity], text: str) -> bool:
    """Tell whether a number is the one that another takes the place of: "from ten to twelve"."""
    found = [one for one in stated if supported_by(quantity, [one])]
    return bool(found) and all(
        _OLD.search(text[: one.start].lower()) is not None
        or (_FROM.search(text[: one.start].lower()) and _TO.search(text[one.end :].lower()))
        for one in found
    )


def _cut(text: str) -> list[tuple[int, int]]:
    spans, start = [], 0
    for match in _CLAIM_CLAUSE.finditer(text):
        if text[start : match.start()].strip():
            spans.append((start, match.start()))
        start = match.end()
    if text[start:].strip():
        spans.append((start, len(text)))
    return spans


def _around(claim: _Claim, at: int) -> _Clause | None:
    for (start, end), clause in zip(_cut(claim.text), claim.clauses, strict=True):
        if start <= at < end:
            return clause
    return None


def _is_neutral(slot: Slot) -> bool:
    if slot.surface in _NEUTRAL or all(stem in _NEUTRAL for stem in slot.stems):
        return True
    return (
        len(slot.surface) == 1
        and is_unspaced(slot.surface)
        and slot.surface in "是为年月日号点上下中掉到出起好完过成给里时这那现家都"
    )


def _folded(text: str) -> Folded:
    return Folded(without_denials(text))


def _one_root(one: str, other: str) -> bool:
    pairs = zip(one, other, strict=False)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return shared >= _ROOT and 2 * shared >= max(len(one), len(other))


def _met_words(slots: Sequence[Slot], folded: Folded) -> set[str]:
    return {slot.surface for slot in slots if mentions(slot, folded) > 0}


def _met(slot: Slot, folded: Folded) -> float:
    """Return how far a text meets a word: 1, or half where it has half of a Chinese word."""
    if mentions(slot, folded) > 0:
        return 1.0
    surface = slot.surface
    if not is_unspaced(surface[0]):
        # "Student" and "studies": of one root, mostly.
        return 0.5 if any(_one_root(surface, word) for word in folded.words) else 0.0
    if len(surface) == 1:
        return float(surface in folded.text)
    return (
        0.5 if 2 * sum(character in folded.text for character in surface) >= len(surface) else 0.0
    )


def _share(slots: Sequence[Slot], folded: Folded) -> float:
    if not slots:
        return 0.0
    return sum(mentions(slot, folded) > 0 for slot in slots) / len(slots)
