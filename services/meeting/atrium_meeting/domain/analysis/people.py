"""Who is meant by a name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from atrium_grounding import tokens
from atrium_grounding.names import tagger
from atrium_meeting.domain.titles import TITLES_ZH
from atrium_meeting.domain.transcript import Speaker, is_unspaced

_SURNAMES: Final = (
    "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦许何吕施张孔曹严华金魏陶姜戚谢邹喻苏潘葛范彭郎鲁韦马"
    "苗方俞任袁柳鲍史唐费薛雷贺倪汤罗毕郝安常于傅齐康余顾孟黄穆萧尹姚邵汪毛米贝戴宋庞熊纪舒屈"
    "项祝董梁杜阮蓝季贾江童颜郭梅盛林钟徐邱骆高夏蔡田樊胡凌霍万柯卢莫丁邓单洪包左石崔吉龚程邢"
    "裴陆荣翁甄曲段侯全班秋仲宁仇甘武符刘景叶白蒲从赖卓屠池乔闻党翟谭申牛边温庄柴瞿阎连习艾容"
    "向古易廖耿寇广欧聂关"
)
_VAGUE: Final = frozenset("董 先生 女士 小姐 同学 工程师 总监 主管 主席 书记".split())
"""Titles that follow the end of another word, too, which looks like a surname: 对于女士."""
_OTHER_WORDS: Final = {"总": "(?![体结共之算数额量])", "工": "(?!作|程|人|地|资|具)"}
_TITLED: Final = re.compile(
    rf"[{_SURNAMES}]"
    f"(?:{'|'.join(one + _OTHER_WORDS.get(one, '') for one in TITLES_ZH if one not in _VAGUE)})"
    rf"|(?<![大中微])[小老阿][{_SURNAMES}](?![时组区学板师家年])"
)
_NO_NAMES: Final = frozenset(
    "师傅 老师 经理 同学 老板 大家 明白 高兴 安排 今天下午 时间 学徒 小时 小组 老人 小孩 孩子 "
    "阿姨 叔叔 公司 "
    "周五 周一 周二 周三 周四 周六 周日 周末 马上 温室 满月 和平 文件 白天 高铁 方案 任务 "
    "小区 金额".split()
)
_LATIN_TITLE: Final = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|Prof)\.? [A-Z][\w'-]+")
_LOWER_WORD: Final = re.compile(r"\b[a-z]{2,}\b")
_LATIN_NAME: Final = re.compile(r"[^\W\d_]{2,}(?:[-'’][^\W\d_]{2,})*")
_ALIKE: Final = 0.75
"""Share of letters by which a misheard name is still one of the speakers' (Ratcliff, Metzener)."""
# Capitalised words that name nobody.
_NO_PEOPLE: Final = frozenset(
    "i i'm i'll i'd i've ok okay yes no so and but well sure great thanks thank right now then "
    "monday tuesday wednesday thursday friday saturday sunday january february march april may "
    "june july august september october november december the this that these those there here "
    "we we'll you they he she it it's that's let's let what when where who why how which if "
    "action next first second third last finally also please maybe perhaps actually anyway "
    "everyone everybody somebody someone nobody anyone all today tomorrow tonight yesterday "
    "good alright hi hello hey um uh my our your their his her not just can could would will "
    "do does did is are was were have has had be been for from with without in on at to of by "
    "as or because since until after before once while though although even only still yet "
    "should oh see add ah well yeah yep "
    "decision decided agreed item items recap summary reminder question answer idea team".split()
)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may own an action.

    Args:
        name: For people.
        speaker: The same as a speaker, "S1"; empty for somebody who is not one of them.
    """

    name: str
    speaker: str = ""


@dataclass(frozen=True, slots=True)
class Mention:
    """A name in a text.

    Args:
        start: Its first code point.
        end: One past its last.
        person: Who is meant.
    """

    start: int
    end: int
    person: Person


class People:
    """Finds names.

    Args:
        speakers: Of the meeting; those without a name are found by what they say alone.
        usual_words: Words that are written in lower case in the meeting, and so name nobody.
    """

    def __init__(
        self, speakers: Iterable[Speaker], usual_words: frozenset[str] = frozenset()
    ) -> None:
        self._usual = usual_words
        self._names: dict[str, str] = {}
        self._aliases: dict[str, Person] = {}
        shared: set[str] = set()
        for speaker in speakers:
            name = speaker.display_name.strip()
            self._names[speaker.id] = name
            whole = tokens.fold(name)
            for alias in dict.fromkeys(_aliases(name)):
                first = self._aliases.setdefault(alias, Person(name, speaker.id))
                if first.speaker != speaker.id and whole != alias != tokens.fold(first.name):
                    shared.add(alias)
        # What two people may be called names neither: 王经理 where both are called Wang.
        for alias in shared:
            del self._aliases[alias]
        ranked = sorted(self._aliases, key=len, reverse=True)
        self._known = re.compile("|".join(_bounded(alias) for alias in ranked)) if ranked else None
        self._latin = [alias for alias in self._aliases if alias.isascii() and len(alias) > 2]

    def of(self, speaker: str) -> Person:
        """Return a speaker; the name is empty where it is not known."""
        return Person(self._names.get(speaker, ""), speaker)

    def mentions(self, text: str) -> list[Mention]:
        """Return the names in a text, in order; of people who are not speakers too."""
        folded = tokens.fold_keeping_length(text)
        found: list[Mention] = []
        if self._known:
            found = [
                Mention(match.start(), match.end(), self._aliases[match.group()])
                for match in self._known.finditer(folded)
            ]
        for start, end in _strangers(text):
            if any(start < mention.end and mention.start < end for mention in found):
                continue
            if text[start:end].lower() in self._usual:
                continue
            found.append(Mention(start, end, self._heard(text[start:end])))
        return sorted(found, key=lambda mention: mention.start)

    def _heard(self, name: str) -> Person:
        """Return the speaker whose name was nearly said, or somebody else of that name."""
        alike = difflib.get_close_matches(tokens.fold(name), self._latin, 1, _ALIKE)
        return self._aliases[alike[0]] if alike and name.isascii() else Person(name)


def usual_words(texts: Iterable[str]) -> frozenset[str]:
    """Return the words that stand in lower case somewhere in the texts."""
    return frozenset(word for text in texts for word in _LOWER_WORD.findall(text))


def _aliases(name: str) -> list[str]:
    folded = tokens.fold(name)
    if not folded:
        return []
    if is_unspaced(folded[0]):
        aliases = [folded]
        if len(folded) == 3:
            aliases.append(folded[1:])
        if 2 <= len(folded) <= 3:
            surname = folded[0]
            aliases += [f"小{surname}", f"老{surname}", f"阿{folded[-1]}", f"小{folded[-1]}"]
            aliases += [f"{surname}{title}" for title in TITLES_ZH]
        return aliases
    parts = folded.split()
    return [folded, *(part for part in parts if len(part) > 2 and part not in _NO_PEOPLE)]


def _bounded(alias: str) -> str:
    return re.escape(alias) if is_unspaced(alias[0]) else rf"(?<!\w){re.escape(alias)}(?!\w)"


def _strangers(text: str) -> Iterable[tuple[int, int]]:
    """Yield where a name may stand: a capitalised word, or what the segmenter takes for one."""
    titled = [match.span() for match in (_TITLED.finditer(text))]
    titled += [match.span() for match in _LATIN_TITLE.finditer(text)]
    yield from titled
    if any(is_unspaced(character) for character in text):
        position = 0
        for word, tag in tagger().tag(text):
            start = text.index(word, position)
            position = start + len(word)
            named = tag in ("nr", "nrfg", "nrt") and 2 <= len(word) <= 4 and word not in _NO_NAMES
            if named and not any(a < position and start < b for a, b in titled):
                yield start, position
    for match in _LATIN_NAME.finditer(text):
        word = match.group()
        named = word[0].isupper() and word[1:].islower() and word.lower() not in _NO_PEOPLE
        if named and not any(a < match.end() and match.start() < b for a, b in titled):
            yield match.span()
