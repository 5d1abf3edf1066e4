"""Make a follow-up question stand alone, by rules, in Chinese and English.

"And in Germany?" means the question before with another place; "how do I apply for it?" means what
that question was about. The rules read parts of speech (of Chinese directly, of English through the
dictionary) and look for three things: something that takes the place of its like in the question
before, a pronoun, or a question that names no subject. They see questions only, never an answer:
an answer holds text that its reader may no longer be permitted to read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import cache
from itertools import pairwise
from typing import Final

import rjieba

from atrium_grounding import tokens
from atrium_grounding.languages import detect_language
from atrium_grounding.lexicon import lexicon


class Kind(Enum):
    """What a word stands for."""

    SMALL = auto()
    """Grammar: it says nothing about a subject."""
    GENERIC = auto()
    """What may be asked of anything: days, limit, apply."""
    THING = auto()
    ACT = auto()
    """A verb that names a subject by itself: resign."""
    PLACE = auto()
    TIME = auto()
    GROUP = auto()
    """Sorts of people: interns, part-time staff."""
    CODE = auto()
    """P5, SEV-1."""


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    start: int
    end: int
    kind: Kind
    nominal: bool
    chinese: bool


@dataclass(frozen=True, slots=True)
class _Phrase:
    """Adjoining nominal words."""

    words: tuple[_Word, ...]
    preposition: str

    @property
    def start(self) -> int:
        return self.words[0].start

    @property
    def end(self) -> int:
        return self.words[-1].end

    @property
    def kind(self) -> Kind:
        """That of its most telling word."""
        for kind in (Kind.THING, Kind.GROUP, Kind.CODE, Kind.PLACE, Kind.TIME):
            if any(word.kind is kind for word in self.words):
                return kind
        return Kind.GENERIC

    @property
    def head(self) -> str:
        """What two phrases of one sort share: annual *leave*, sick *leave*; 年*假*, 病*假*."""
        last = self.words[-1]
        return last.text[-1] if last.chinese else tokens.stem(last.text.lower())


_ENGLISH_GENERIC_VERBS: Final = frozenset(
    tokens.stem(word)
    for word in (
        "apply approve need submit take get pay start expire include sign contact ask change "
        "cancel use last know happen send decide handle do go receive allow entitle require give "
        "begin finish keep carry become cover mean matter differ depend explain help find see look "
        "say hold make own choose paid allowed eligible qualify usually normally exactly also "
        "possible mandatory required available same long often soon far early late"
    ).split()
)
_ENGLISH_GENERIC_NOUNS: Final = frozenset(
    tokens.stem(word)
    for word in (
        "day week month year hour minute time amount limit maximum minimum cap deadline document "
        "form approval step process procedure rule policy requirement condition exception cost "
        "price fee date reason detail example person email phone number link company people "
        "anything something someone else thing way case difference first next max min end count "
        "work claim request"
    ).split()
)
_CHINESE_GENERIC: Final = frozenset(
    "申请 审批 批准 需要 提交 通知 办理 开始 结束 有效 报销 使用 取消 修改 联系 负责 处理 "
    "准备 提前 享受 适用 规定 计算 发放 支付 收费 生效 过期 延长 材料 流程 步骤 条件 要求 "
    "期限 截止 截止日期 日期 时间 上限 限额 额度 最多 最少 标准 金额 费用 价格 钱 天数 次数 "
    "数量 人 例外 表格 表 文件 手续 方式 方法 渠道 邮箱 电话 联系人 原因 情况 政策 问题 地方 "
    "天 年 月 周 小时 分钟 公司 我们 员 同意 允许 有 是 做 用 算 拿 交 找 问 说 给 发 领 "
    "领取 享有 保留 超过 去 去掉 来 到 必须 规则 制度 办法 区别 不同 一样 相同 包括 包含 "
    "结转 例子 说明 理由 资格 条款 有效期 人数 举行".split()
)
_ENGLISH_GROUPS: Final = frozenset(
    tokens.stem(word)
    for word in (
        "employee staff intern contractor manager director worker student freelancer consultant "
        "executive engineer hire joiner timer trainee supervisor lead colleague temp father mother "
        "parent volunteer apprentice vendor supplier guest"
    ).split()
)
_CHINESE_GROUPS: Final = re.compile(
    "(?:员工|人员|实习生|经理|主管|总监|顾问|合同工|外包|新人|管理层|兼职|全职|正式工|学生|高管|同事|"
    "工程师|销售|志愿者|供应商|访客|应届生|学徒)$"
)
_CHINESE_ENDINGS: Final = frozenset("假费金率期卡证表书权险薪贴补奖岗班款")
"""Characters that make a noun of the word before: 育儿 | 假."""
_ENGLISH_VERBS: Final = frozenset(
    tokens.stem(word)
    for word in "expense book report leave order return reimburse share store print travel".split()
)
"""Verbs after a pronoun, an auxiliary or "to", nouns elsewhere."""
_ENGLISH_TIMES: Final = frozenset(
    "january february march april june july august september october november december today "
    "tomorrow yesterday weekend weekends monday tuesday wednesday thursday friday saturday sunday "
    "christmas q1 q2 q3 q4 summer winter spring autumn".split()
)
_ENGLISH_PLACES: Final = frozenset(
    "us usa uk eu emea apac germany france china japan india spain italy poland singapore austria "
    "switzerland netherlands ireland canada brazil mexico australia berlin munich paris london "
    "dublin madrid shanghai beijing shenzhen hangzhou guangzhou tokyo rotterdam hamburg".split()
)
_CODE: Final = re.compile(r"[A-Za-z]{1,5}[- ]?\d{1,4}")
_YEAR: Final = re.compile(r"(?:19|20)\d\d年?")
_RELATIVE_TIME: Final = re.compile(
    r"\b(?:this|last|next|previous|current|coming) (?:year|month|week|quarter)\b", re.IGNORECASE
)
_TOKEN: Final = re.compile(
    "(?P<han>[\u3400-\u9fff]+)|(?P<latin>[A-Za-z0-9]+(?:[-'’/&.][A-Za-z0-9]+)*)"
)
_BEFORE_A_VERB: Final = frozenset(
    "i you we they he she it to can could may must shall should will would do does did not".split()
)
_PREPOSITIONS: Final = frozenset(
    "in for at on from during under with of about to by after before".split()
)
_DETERMINERS: Final = r"(?:(?:the|an?|my|our|your|their|its|all|any)\s+)*"
_PLACED: Final = (Kind.PLACE, Kind.TIME, Kind.GROUP, Kind.CODE)
_NAMING: Final = (Kind.THING, Kind.ACT)

_ENGLISH_LEAD: Final = re.compile(
    r"^(?:(?:and|but|or|so|then|ok|okay|also|well|great|thanks|thank you)\b[\s,.!]*)+",
    re.IGNORECASE,
)
_CHINESE_LEAD: Final = re.compile(
    "^(?:那么|那(?![个些里边儿位种天时])|然后|还有(?=[^吗呢么])|另外|以及|顺便问一下|好的?|嗯|谢谢|"
    "明白了|请问)+[，,。、\\s]*"
)
_WHAT_ABOUT: Final = re.compile(r"^(?:what|how) about\s+(?P<x>.+)$", re.IGNORECASE)
_WHAT_IF: Final = re.compile(r"^(?:what\s+)?(?P<x>if\s+.+)$", re.IGNORECASE)
_SAME_FOR: Final = re.compile(
    r"^(?:is|are|does|do|would|will)\s+(?:it|that|this|the same|they|those|these|the rules?)\b.*?"
    r"\b(?:same|apply|applies|hold|true|valid|work)\b.*?\b(?P<p>in|for|to|at|with|on)\s+(?P<x>.+)$",
    re.IGNORECASE,
)
_CHINESE_SAME: Final = re.compile(
    "^(?P<x>.{1,14}?)(?:也|是否也|是不是也)?(?:都|是)?(?:一样|相同|适用|这样|如此)(?:的)?(?:吗|么|嘛)?$"
)
_CHINESE_WHAT_ABOUT: Final = re.compile("^(?P<x>.{1,16}?)(?:的话)?(?:呢|怎么样|咋样|又如何)$")
_CHINESE_WHAT_IF: Final = re.compile("^(?P<x>(?:如果|假如|要是|万一).{2,40}?)(?:的话)?呢?$")
_CHINESE_ASKING: Final = re.compile(
    "什么|多少|多久|多长|几|怎么|怎样|如何|哪|谁|何时|为何|吗|是否|能否|可否|可不可以|能不能|有没有|"
    "是不是|需不需要|要不要"
)
_ENGLISH_ASKING: Final = re.compile(
    r"^(?:who|whom|whose|what|when|where|which|why|how|is|are|was|were|do|does|did|can|could|may|"
    r"must|shall|should|will|would|has|have|had|am|i|we|you|they|he|she|it|tell|please|explain|show)"
    r"\b",
    re.IGNORECASE,
)
_TOO: Final = re.compile(r"[\s,]+(?:too|as well|instead|then|please|though)$", re.IGNORECASE)
_THOSE: Final = re.compile(
    r"^(?:(?:those|people|the ones?|everyone|anyone|someone)\s+(?=(?:in|at|from|on|with)\b))",
    re.IGNORECASE,
)
_ENGLISH_WHY: Final = re.compile(
    r"^(?:why(?:\s+(?:is|was|are|not|so|exactly|that|this|it|though))*|how (?:so|come)|"
    r"for what reason|what(?:'s| is) the reason)$",
    re.IGNORECASE,
)
_CHINESE_WHY: Final = re.compile(
    "^(?:这|那)?(?:是)?(?:为什么|为何|为啥|什么原因|原因呢|怎么会这样)(?:呢|这样|是这样)*$"
)
_ENGLISH_PRONOUN: Final = re.compile(
    r"\b(?P<own>its|their|his)\b|\b(?P<it>it|they|them|he|she|him|this|that|these|those|the same|"
    r"one)\b(?!['’])",
    re.IGNORECASE,
)
_EXPLETIVE: Final = re.compile(
    r"\b(?:does|will|did|would)\s+it\s+(?:usually\s+|normally\s+)?(?:take|cost)\b", re.IGNORECASE
)
_THERE: Final = re.compile(r"(?<!\bis )(?<!\bare )\bthere\b(?!['’])", re.IGNORECASE)
_CHINESE_PRONOUN: Final = re.compile(
    "(?P<place>那里|那边|那儿|这里|这边|这儿|当地)|(?P<own>其(?=[中实他余它])|)"
    "(?P<it>它们|它|他们|她们|他|她|这个|那个|这些|那些|这种|那种|这项|该项|前者|后者|(?<![那这])这(?=[是要能会可需])"
    "|那(?=[是要能会可需]))"
)
_ENGLISH_PEOPLE: Final = frozenset("he she him his their".split())
_CHINESE_PEOPLE: Final = frozenset("他 她 他们 她们".split())
_DEMONSTRATIVE: Final = re.compile(r"(?:this|that|these|those)", re.IGNORECASE)
_ELSE: Final = re.compile(
    "^(?:还有别的|还有其他|还有吗|还有什么|别的呢|其他呢|anything else|what else)", re.I
)
_GREETINGS: Final = frozenset("你好 您好 早上好 谢谢 hello hi thanks".split())
_END: Final = "?？。.!！ \t\n,，"
_LONGEST_ELLIPSIS: Final = 6
"""Words of an English question without a verb that stands for something of the one before."""
_LONGEST_WITHOUT_SUBJECT: Final = 9


def stand_alone(question: str, earlier: Sequence[str]) -> str:
    """Return a question that means the same without its conversation.

    Args:
        question: As it was asked.
        earlier: The questions before it, each standing alone, the latest first.

    Returns:
        ``question`` itself when it stands alone, or when nothing came before it.
    """
    for before in earlier:
        words = _read(before)
        if before.strip(_END).lower() not in _GREETINGS and any(
            word.kind not in (Kind.SMALL, Kind.GENERIC) for word in words
        ):
            return _Rewrite(before, words).of(question.strip())
    return question


def depends(question: str) -> bool:
    """Say whether a question seems to lean on one before it."""
    probe = "What is the quondam?"
    return _Rewrite(probe, _read(probe)).of(question.strip()) != question.strip()


class _Rewrite:
    """Completes questions from the one before."""

    def __init__(self, before: str, words: Sequence[_Word]) -> None:
        self._before = before
        self._chinese = detect_language(before) == "zh"
        self._words = words
        self._phrases = _phrases(before, words)
        self._main = self._choose_main()

    def of(self, question: str) -> str:
        chinese = detect_language(question) == "zh"
        core = question.strip(_END)
        lead = (_CHINESE_LEAD if chinese else _ENGLISH_LEAD).match(core)
        rest = core[lead.end() :] if lead is not None else core
        if not rest:
            return question
        if chinese:
            return self._of_chinese(question, rest)
        return self._of_english(question, rest, led=lead is not None)

    def _of_chinese(self, question: str, rest: str) -> str:
        if _CHINESE_WHY.match(rest):
            return f"为什么{self._topic((), whole=True)}？"
        if _ELSE.match(rest):
            return f"{self._topic(())}，{rest}？"
        if (condition := _CHINESE_WHAT_IF.match(rest)) and not _CHINESE_ASKING.search(rest):
            return f"{condition['x']}，{self._before}"
        for pattern in (_CHINESE_SAME, _CHINESE_WHAT_ABOUT):
            match = pattern.match(rest)
            if match is not None and not _CHINESE_ASKING.search(match["x"]):
                return self._with(_bare_chinese(match["x"]), "", question)
        asking = _CHINESE_ASKING.search(rest)
        words = _read(rest)
        if not asking and len(rest) <= 2 * _LONGEST_ELLIPSIS and not _acts(words):
            return self._with(_bare_chinese(rest), "", question)
        return self._complete_chinese(question, rest.removesuffix("呢"), words)

    def _of_english(self, question: str, rest: str, *, led: bool) -> str:
        rest = _TOO.sub("", rest)
        if _ENGLISH_WHY.match(rest):
            return f"Why {self._topic((), whole=True)}?"
        if _ELSE.match(rest):
            return f"{rest} about {self._topic(())}?"
        if condition := _WHAT_IF.match(rest):
            return f"{self._before.rstrip(_END)} {condition['x']}?"
        if same := _SAME_FOR.match(rest):
            preposition = same["p"].lower()
            return self._with(same["x"], "for" if preposition == "to" else preposition, question)
        about = _WHAT_ABOUT.match(rest)
        core = _THOSE.sub("", about["x"] if about is not None else rest)
        first = core.split(" ", 1)[0].lower()
        short = len(core.split()) <= _LONGEST_ELLIPSIS
        if about is None and (_ENGLISH_ASKING.match(core) or not (short or led)):
            return self._complete_english(question, rest)
        if first in _PREPOSITIONS and " " in core:
            return self._with(core.split(" ", 1)[1], first, question)
        if about is None and not led and len(_read(core)) > _LONGEST_ELLIPSIS // 2:
            return self._complete_english(question, rest)
        return self._with(core, "", question)

    def _with(self, new: str, preposition: str, question: str) -> str:
        """Put ``new`` in the place of its like in the question before."""
        new = re.sub(f"^{_DETERMINERS}", "", new.strip(_END), flags=re.IGNORECASE)
        given = _read(new)
        phrases = _phrases(new, given)
        if not phrases and not any(word.kind in _NAMING for word in given):
            acts = any(word.kind is Kind.GENERIC for word in given)
            return f"{new} {self._topic(())}?" if acts else question
        kind = phrases[-1].kind if phrases else Kind.ACT
        if kind is Kind.GENERIC:
            # Another side of the same thing: "and the deadline?"
            if detect_language(new) == "zh":
                return f"{self._topic(())}的{new}是什么？"
            return f"What is the {new} for {self._topic(())}?"
        span = self._like(kind, phrases[-1] if phrases else None, preposition)
        if span is not None:
            start, end = span
            return self._before[:start] + new + self._before[end:]
        if kind in _PLACED:
            return self._added(new, kind, preposition)
        main = self._replaceable()
        if main is not None:
            return self._before[: main.start] + new + self._before[main.end :]
        return self._added(new, kind, preposition)

    def _like(self, kind: Kind, phrase: _Phrase | None, preposition: str) -> tuple[int, int] | None:
        """Return the part of the question before that is of the same sort."""
        if kind in (Kind.PLACE, Kind.TIME, Kind.CODE):
            same = [word for word in self._words if word.kind is kind]
            if same:
                return same[0].start, same[-1].end if _joined(same) else same[0].end
        if kind is Kind.GROUP:
            for one in self._phrases:
                if one.kind is Kind.GROUP:
                    return one.start, one.end
        if phrase is not None and kind in (Kind.THING, Kind.CODE):
            for one in self._phrases:
                if one.kind is Kind.THING and one.head == phrase.head:
                    return one.start, one.end
        if preposition and kind is Kind.THING:
            for one in self._phrases:
                if one.preposition == preposition and one.kind in (Kind.THING, kind):
                    return one.start, one.end
        return None

    def _added(self, new: str, kind: Kind, preposition: str) -> str:
        core = self._before.rstrip(_END)
        if self._chinese:
            joint = "的" if self._words and self._words[0].nominal else "，"
            return f"{new}{joint}{core}？"
        if _RELATIVE_TIME.match(new):
            return f"{core} {new}?"
        before = preposition or ("in" if kind is Kind.PLACE else "for")
        return f"{core} {before} {new}?"

    def _complete_chinese(self, question: str, rest: str, words: Sequence[_Word]) -> str:
        pronoun = _CHINESE_PRONOUN.search(rest)
        if pronoun is not None and (pronoun["it"] or pronoun["place"]):
            following = next((w for w in words if w.start >= pronoun.end()), None)
            adjoins = following is not None and following.start == pronoun.end()
            if following is None or not adjoins or following.kind is not Kind.THING:
                topic = self._topic(_kinds(words))
                if pronoun["place"]:
                    topic = self._place()
                elif pronoun["it"] in _CHINESE_PEOPLE:
                    topic = self._person()
                owned = adjoins and following is not None and following.nominal
                joint = "的" if owned and not pronoun["place"] else ""
                return f"{rest[: pronoun.start()]}{topic}{joint}{rest[pronoun.end() :]}？"
        if any(word.kind in _NAMING for word in words):
            return question
        acts = "" if any(w.kind is Kind.GENERIC and not w.nominal for w in words) else self._act()
        return f"{acts}{self._topic(_kinds(words))}{rest}？"

    def _complete_english(self, question: str, rest: str) -> str:
        words = _read(rest)
        if there := _THERE.search(rest):
            return f"{rest[: there.start()]}in {self._place()}{rest[there.end() :]}?"
        if _EXPLETIVE.search(rest) and (act := self._english_act()):
            return f"{rest} to {act}?"
        for pronoun in _ENGLISH_PRONOUN.finditer(rest):
            if pronoun.group() == "IT":
                continue
            following = next((w for w in words if w.start >= pronoun.end()), None)
            if following is not None and _DEMONSTRATIVE.fullmatch(pronoun.group()):
                adjoins = following.start == pronoun.end() + 1
                if adjoins and following.kind is Kind.THING:
                    continue
                if adjoins and following.kind is Kind.GENERIC and following.nominal:
                    break
            people = pronoun.group().lower() in _ENGLISH_PEOPLE
            topic = self._person() if people else self._topic(_kinds(words))
            mark = "'s" if pronoun["own"] else ""
            return f"{rest[: pronoun.start()]}{topic}{mark}{rest[pronoun.end() :]}?"
        if any(word.kind in _NAMING for word in words):
            return question
        if len(rest.split()) > _LONGEST_WITHOUT_SUBJECT:
            return question
        return f"{rest} for {self._topic(_kinds(words))}?"

    def _choose_main(self) -> _Phrase | None:
        """Return what the question before is about."""
        things = [one for one in self._phrases if one.kind is Kind.THING]
        if not things:
            codes = [one for one in self._phrases if one.kind is Kind.CODE]
            return codes[0] if codes else None
        if self._chinese:
            main = things[0]
            for one in things[1:]:
                if self._before[main.end : one.start] == "的":
                    main = one
            return main
        direct = [one for one in things if not one.preposition]
        return (direct or things)[-1]

    def _replaceable(self) -> _Phrase | None:
        """Return what another thing would take the place of."""
        things = [one for one in self._phrases if one.kind is Kind.THING]
        about = [one for one in things if one.preposition in ("for", "of", "about")]
        return about[-1] if about else self._main

    def _topic(self, without: Sequence[Kind], *, whole: bool = False) -> str:
        """Return the subject of the question before, with its place, time and people.

        Args:
            without: Kinds that the new question brings itself.
            whole: What it asks of the subject (days, limit) too.
        """
        chosen = [
            one
            for one in self._phrases
            if one is self._main
            or (one.kind in _PLACED and one.kind not in without)
            or (one.kind is Kind.THING and one.preposition)
            or (whole and one.kind is Kind.GENERIC)
        ]
        if self._main is None and not whole:
            acts = [word.text for word in self._words if word.kind is Kind.ACT]
            if acts:
                chosen = [one for one in chosen if one.kind in _PLACED]
                parts = [self._text(one) for one in chosen]
                return ("" if self._chinese else " ").join([*parts, *acts])
        if self._chinese:
            main = self._main.start if self._main is not None else len(self._before)
            placed = [one for one in chosen if one.start <= main or whole]
            return "的".join(self._text(one) for one in placed) or self._before.rstrip(_END)
        if not chosen:
            return self._before.rstrip(_END)
        chosen.sort(key=lambda one: (one is not self._main, one.start))
        topic = self._determined(chosen[0])
        for one in chosen[1:]:
            usual = {Kind.PLACE: "in", Kind.TIME: "in", Kind.GENERIC: "with"}.get(one.kind, "for")
            topic += f" {one.preposition or usual} {self._determined(one)}"
        return topic

    def _determined(self, phrase: _Phrase) -> str:
        """Return an English phrase with its article: "a taxi"."""
        article = re.search(_DETERMINERS + "$", self._before[: phrase.start], re.IGNORECASE)
        return (article.group() if article is not None else "").lower() + self._text(phrase)

    def _person(self) -> str:
        """Return who is asked for: "Who approves travel?" asks for the person who does."""
        core = self._before.rstrip(_END)
        if self._chinese:
            match = re.match("(?:请问)?(?:谁|哪位|哪个人)(?:是)?(?P<act>.{2,})$", core)
            return f"{match['act']}的人" if match is not None else self._topic(())
        match = re.match(r"who (?!is\b|are\b|was\b)(?P<act>.+)$", core, re.IGNORECASE)
        return f"the person who {match['act']}" if match is not None else self._topic(())

    def _text(self, phrase: _Phrase) -> str:
        return self._before[phrase.start : phrase.end]

    def _place(self) -> str:
        places = [word.text for word in self._words if word.kind is Kind.PLACE]
        return places[0] if places else self._topic(())

    def _act(self) -> str:
        """Return the Chinese verb whose object the subject is."""
        if self._main is None:
            return ""
        for word in self._words:
            verb = word.chinese and not word.nominal and word.kind in (Kind.GENERIC, Kind.ACT)
            if verb and word.end == self._main.start and len(word.text) > 1:
                return word.text
        return ""

    def _english_act(self) -> str:
        """Return what one does in the question before: "apply for a laptop"."""
        match = re.search(r"\b(?:I|we|you|to)\s+(?P<act>[a-z].*)$", self._before.rstrip(_END))
        return match["act"] if match is not None else ""


def _kinds(words: Sequence[_Word]) -> tuple[Kind, ...]:
    return tuple({word.kind for word in words})


def _acts(words: Sequence[_Word]) -> bool:
    return any(not word.nominal and word.kind in (Kind.ACT, Kind.GENERIC) for word in words)


def _joined(words: Sequence[_Word]) -> bool:
    return all(a.end + 1 >= b.start for a, b in pairwise(words))


def _bare_chinese(text: str) -> str:
    """Return a phrase without what leads to it: 对于实习生 is 实习生."""
    bare = re.sub("^(?:换成|换做|如果是|要是|对于|关于|至于|针对|在|对|去(?!年)|是)", "", text)
    return re.sub("(?:的情况|情况|的话|的)$", "", bare) or text


def _phrases(text: str, words: Sequence[_Word]) -> list[_Phrase]:
    found: list[_Phrase] = []
    run: list[_Word] = []
    for word in words:
        adjoins = bool(run) and text[run[-1].end : word.start] in ("", " ")
        apart = bool(run) and run[-1].chinese != word.chinese and not adjoins
        if run and (not word.nominal or not adjoins or apart or _parted(run[-1], word)):
            found.append(_phrase(text, run))
            run = []
        if word.nominal:
            run.append(word)
    if run:
        found.append(_phrase(text, run))
    return found


def _parted(one: _Word, other: _Word) -> bool:
    """Say whether two adjoining words are two phrases: 上海 | 住宿标准, but Berlin office."""
    placed = (Kind.PLACE, Kind.TIME)
    apart = one.kind is not other.kind and (one.kind in placed or other.kind in placed)
    return apart and one.chinese


def _phrase(text: str, run: Sequence[_Word]) -> _Phrase:
    before = re.search(rf"\b([a-z]+)\s+{_DETERMINERS}$", text[: run[0].start], re.IGNORECASE)
    preposition = before[1].lower() if before is not None else ""
    return _Phrase(tuple(run), preposition if preposition in _PREPOSITIONS else "")


def _read(text: str) -> list[_Word]:
    words: list[_Word] = []
    relative = [match.span() for match in _RELATIVE_TIME.finditer(text)]
    for match in _TOKEN.finditer(text):
        if match["han"]:
            words += _read_chinese(match["han"], match.start())
            continue
        if any(start < match.start() < end for start, end in relative):
            # "last year" is one word.
            words[-1] = replace(
                words[-1], text=text[words[-1].start : match.end()], end=match.end()
            )
            continue
        is_time = any(start == match.start() for start, _ in relative)
        previous = words[-1].text.lower() if words else ""
        kind, nominal = (Kind.TIME, True) if is_time else _english(match.group(), previous)
        words.append(_Word(match.group(), match.start(), match.end(), kind, nominal, False))
    return words


def _english(word: str, previous: str) -> tuple[Kind, bool]:
    lower = word.lower()
    stem = tokens.stem(lower)
    if _YEAR.fullmatch(word) or lower in _ENGLISH_TIMES:
        return Kind.TIME, True
    if _CODE.fullmatch(word):
        return Kind.CODE, True
    if lower in _ENGLISH_PLACES and (lower != "us" or word == "US"):
        return Kind.PLACE, True
    if lower in tokens.ENGLISH_STOP_WORDS or lower in _PREPOSITIONS or len(lower) == 1:
        return Kind.SMALL, False
    if stem in _ENGLISH_GENERIC_VERBS:
        return Kind.GENERIC, False
    if word.isdigit() or stem in _ENGLISH_GENERIC_NOUNS:
        return Kind.GENERIC, previous not in _BEFORE_A_VERB
    if stem in _ENGLISH_GROUPS or tokens.stem(lower.rpartition("-")[2]) in _ENGLISH_GROUPS:
        return Kind.GROUP, True
    tags = [_tag(chinese) for chinese in lexicon().same_kind(stem)[:2]]
    if word[0].isupper() and previous and "ns" in tags:
        return Kind.PLACE, True
    if previous in _BEFORE_A_VERB and (stem in _ENGLISH_VERBS or "v" in tags):
        return Kind.ACT, False
    return Kind.THING, True


def _read_chinese(run: str, offset: int) -> list[_Word]:
    merged = {slot.surface for slot in lexicon().slots(run)}
    pieces = [(text, tag) for text, tag in _tagger().tag(run, False)]
    words: list[_Word] = []
    at = 0
    while at < len(pieces):
        text, tag = pieces[at]
        size = 1
        # The dictionary of the workplace knows words that the general one takes apart: 年假.
        for length in (3, 2):
            joined = "".join(piece for piece, _ in pieces[at : at + length])
            if len(pieces) >= at + length and joined in merged:
                text, tag, size = joined, "n", length
                break
        else:
            following = pieces[at + 1][0] if at + 1 < len(pieces) else ""
            short = len(text) == 1 and tag == "v" and len(following) > 1
            if following in _CHINESE_ENDINGS or (short and following[-1] in _CHINESE_ENDINGS):
                text, tag, size = text + following, "n", 2
        kind, nominal = _chinese(text, tag)
        words.append(_Word(text, offset, offset + len(text), kind, nominal, True))
        offset += len(text)
        at += size
    return words


def _chinese(word: str, tag: str) -> tuple[Kind, bool]:
    if tag == "ns":
        return Kind.PLACE, True
    if tag == "t" or _YEAR.fullmatch(word):
        return Kind.TIME, True
    if _CHINESE_GROUPS.search(word):
        return Kind.GROUP, True
    if word in _CHINESE_GENERIC:
        return Kind.GENERIC, tag.startswith(("n", "b"))
    if word in tokens.CHINESE_STOP_WORDS or _CHINESE_ASKING.search(word):
        return Kind.SMALL, False
    if tag.startswith("n") or tag in ("vn", "an", "j", "l", "i", "b", "eng"):
        return Kind.THING, True
    if tag == "v":
        return Kind.ACT, False
    return Kind.SMALL, False


@cache
def _tag(word: str) -> str:
    tagged = _tagger().tag(word)
    return tagged[0][1] if len(tagged) == 1 else ""


@cache
def _tagger() -> rjieba.Jieba:
    return rjieba.Jieba()
