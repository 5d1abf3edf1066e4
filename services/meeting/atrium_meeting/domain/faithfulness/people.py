"""Who says and who does what a sentence tells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from atrium_grounding.languages import detect_language
from atrium_meeting.domain.titles import TITLE_ZH

_HAN: Final = re.compile("[\u3400-\u9fff]")
_SURNAME_SHORT: Final = "(?:老|小|阿)"

_SAYS: Final = {
    "en": re.compile(
        r"^(?:\s+(?:has|had|have|also|then|first|again|only|clearly|briefly|later))*\s+"
        r"(?:sa(?:id|ys?)|reports?|reported|explain(?:s|ed)?|ask(?:s|ed)|suggest(?:s|ed)?|"
        r"propos(?:es?|ed)|think(?:s)?|thought|mention(?:s|ed)?|not(?:es?|ed)|point(?:s|ed) out|"
        r"argu(?:es?|ed)|want(?:s|ed)?|confirm(?:s|ed)?|prefer(?:s|red)?|worr(?:ies|ied)|"
        r"warn(?:s|ed)?|recall(?:s|ed)?|add(?:s|ed)|remind(?:s|ed)?|told|tells|describ(?:es|ed)|"
        r"answer(?:s|ed)|repl(?:ies|ied)|doubt(?:s|ed)?|believ(?:es|ed)|recommend(?:s|ed)?|"
        r"object(?:s|ed)|complain(?:s|ed)?|hop(?:es|ed)|expect(?:s|ed)?|stress(?:es|ed)|"
        r"announc(?:es|ed)|agre(?:es|ed)|support(?:s|ed)?|oppos(?:es|ed)|would (?:like|rather|"
        r"prefer)|"
        r"is (?:worried|afraid|against|for|in favour|in favor|sure|concerned|happy|not sure)|"
        r"was (?:worried|afraid|against|for|in favour|in favor|sure|concerned|happy|not sure))\b"
    ),
    "zh": re.compile(
        r"^(?!.{0,3}(?:之?[前后]|负责|会|要|将|去|得|需|应|来|再|先)).{0,4}?(?:说|表示|提到|"
        r"提出|提议|建议|认为|指出|问|询问|汇报|介绍|解释|强调|觉得|担心|确认|补充|希望|"
        r"反映|透露|告诉|回答|提醒|主张|反对|支持|同意|赞成|质疑|报告|分享|想)"
    ),
}
_AGREES: Final = re.compile(
    r"\b(?:agre(?:es?|ed)|confirm(?:s|ed)?|support(?:s|ed)?|accept(?:s|ed)?)\b|同意|赞成|支持|确认"
)
_ASKS_TO: Final = re.compile(
    r"\b(?:ask(?:s|ed)?|tell|told|get|have|let|remind(?:s|ed)?|want(?:s|ed)?|expect(?:s|ed)?)\s+$"
    r"|(?:让|请|叫|由|安排|指派|要求|麻烦|委托|通知|提醒|交给|分给|派)$",
    re.IGNORECASE,
)
_BY: Final = re.compile(
    r"\b(?:by|assigned to|task of|owner is|owned by|responsible is|up to)\s+$", re.IGNORECASE
)
_BESIDE: Final = re.compile(
    r"\b(?:with|for|to|from|of|than|about|at|like|behind|after|before|on|via|against|besides)\s+"
    r"(?:(?:mr|mrs|ms|dr)\.? )?$|(?:和|跟|与|给|向|对|为|替|帮|找|比|同|从|在|发|问|以及|及)$",
    re.IGNORECASE,
)
_JOINED: Final = re.compile(
    r"(?:^|\s)(?:and|or|&)\s+$|,\s*$|(?:和|与|跟|、|及|以及)$", re.IGNORECASE
)
_OWNS: Final = re.compile(r"^(?:['’]s\b|['’](?=\s)|的)")
_OPENING: Final = re.compile(
    r"^\W*(?:(?:and|but|so|also|then|meanwhile|finally|first|next|afterwards|while|because|"
    r"since|as|"
    r"that|which|if|when|until|whether|later|instead|however|therefore|in addition|"
    r"on \w+|by \w+|at the \w+|this \w+|next \w+|today|tomorrow)\W+)*$"
    r"|^\W*(?:另外|此外|然后|同时|最后|首先|其次|之后|随后|会后|接下来|而|但|所以|因此|由于|"
    r"因为|并且|不过|其中|"
    r"会议决定|大家决定|决定|要求|确定|(?:[^，。]{0,10}?(?:之?前|之?后|"
    r"[周月][一二三四五六日天底末]|[日号天])))*$",
    re.IGNORECASE,
)
FIRST: Final = re.compile(
    r"\b(?:i|i'll|i'd|i'm|i've|myself|let me|leave it to me)\b|"
    r"(?<![给发帮让诉找跟和问教为替陪等把叫])我(?!们)|本人|咱(?!们)"
)
GROUP: Final = re.compile(r"\b(?:we|we'll|we'd|we're|we've|us|our|ours|let's)\b|我们|咱们|大家")
SECOND: Final = re.compile(
    r"(?:^\W*|[,;]\s*|\b(?:can|could|will|would|should|do|did|are|if|so|then|that|and|please|maybe|"
    r"yes|no|ok|okay|perhaps|thanks)\W+)(?:you|you'll|you'd|you're)\b|\bplease\b|"
    r"(?<![给跟向对把帮为诉问替找谢])[你您](?!们)"
)
"""Somebody is spoken to who is to do something; not "I'll send you the list", 报给你."""
THIRD: Final = re.compile(r"\b(?:he|she|him|her|his|they|them|their)\b|他(?!们)|她(?!们)")
_TAKES: Final = re.compile(
    r"\b(?:i'll|i will|i can|i could|i'd be|i'm on it|let me|i'm happy|i would|i am going|i'm "
    r"going|"
    r"leave (?:\w+ ){1,4}?(?:to|with) me|on my list|that's me|"
    r"(?:can|may as well|might as well|has to|will|would|'d) be me|"
    r"you(?:'ll| will) (?:get|have)|you (?:get|have) (?:it|them|that|this|an?)|"
    r"promised?|will do|on it|"
    r"consider it done|i (?!think|guess|mean|know|believe|hope|wish|see|saw|hear|feel|agree|"
    r"like|love|hate|want|"
    r"need|miss|was|were|am|have|had|did|do|don't|can't|couldn't|would|used|said|told|remember|"
    r"wonder|doubt|"
    r"suppose|prefer|care|understand|never|always|already|just|still|got|went|came|made|found|"
    r"\w+ed\b|also|only|"
    r"really|complained)\w+|i'm (?!not|sure|afraid|sorry|fine|happy with|good|glad|relieved|"
    r"against|for\b|in\b)\w+ing)\b|"
    r"一定|给你|给您|发你|发您|放心|我就|我现在|我马上|我一会|我今晚|我晚上|我月底|我尽快|"
    r"我争取|我来|我去|我会|我负责|我可以|交给我|"
    r"我这边|我尽|我今|我明|我下|我周|我先|"
    r"我后天|我大后天|我打听|我正好|我这就|我顺便|我上午|我中午|我下午|还是我[吧呗来]|"
    r"我弄|我搞定|我盯|我查|我拿|我问问|"
    r"我把|我跟|我再|我回头|我能|我写|我发|我安排|我联系|包在我"
)
_DELEGATES: Final = re.compile(
    r"\b(?:ask|have|get|let|tell|remind|want)\s+$|(?:让|请|叫|找|安排|麻烦|通知|提醒|派|由)$",
    re.IGNORECASE,
)


class Part(StrEnum):
    """What somebody does in a clause."""

    SAYS = "says"
    DOES = "does"
    MENTIONED = "mentioned"


@dataclass(frozen=True, slots=True)
class Named:
    """Somebody who is named.

    Args:
        key: A speaker's identifier, or the folded name of somebody else.
        start: First code point.
        end: One past the last.
        part: What they do there.
    """

    key: str
    start: int
    end: int
    part: Part = Part.MENTIONED


class People:
    """The speakers of a meeting by all their names.

    Args:
        names: Display names by identifier; an empty name leaves the identifier alone.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        forms: dict[str, set[str]] = {}
        for key, name in names.items():
            for form in _forms(name) | {key}:
                forms.setdefault(form, set()).add(key)
        self._keys = {form: next(iter(keys)) for form, keys in forms.items() if len(keys) == 1}
        patterns = [
            re.escape(form)
            if _HAN.search(form)
            else rf"(?<![A-Za-z0-9]){re.escape(form)}(?![A-Za-z0-9])"
            for form in sorted(self._keys, key=len, reverse=True)
        ]
        surnames: dict[str, set[str]] = {}
        for key, name in names.items():
            if _HAN.match(name) and 2 <= len(name) <= 4:
                surnames.setdefault(name[0], set()).add(key)
        self._surnames = {one: next(iter(keys)) for one, keys in surnames.items() if len(keys) == 1}
        if self._surnames:
            any_surname = "".join(map(re.escape, self._surnames))
            patterns.append(
                f"{_SURNAME_SHORT}[{any_surname}](?!{TITLE_ZH})|[{any_surname}]{TITLE_ZH}"
            )
        self._pattern = re.compile("|".join(patterns)) if patterns else None

    def find(self, text: str) -> list[Named]:
        """Return who is named in a text, in order."""
        if self._pattern is None:
            return []
        found = []
        for match in self._pattern.finditer(text):
            key = self._keys.get(match.group())
            if key is None:
                key = next(self._surnames[c] for c in match.group() if c in self._surnames)
            found.append(Named(key, match.start(), match.end()))
        return found

    def without(self, text: str) -> str:
        """Return a text without the names."""
        return text if self._pattern is None else self._pattern.sub(" ", text)


def _forms(name: str) -> set[str]:
    if not name:
        return set()
    forms = {name}
    if _HAN.search(name):
        if len(name) == 3 and all(_HAN.match(character) for character in name):
            forms.add(name[1:])
        return forms
    parts = [part for part in name.split() if len(part.strip(".")) > 1]
    return forms | set(parts[:1]) | set(parts[-1:])


def parts_in(clause: str, named: Sequence[Named]) -> list[Named]:
    """Return who is named in a clause with what they do there.

    Args:
        clause: A clause of a sentence about a meeting.
        named: Who is named in it, in order.
    """
    language = detect_language(clause)
    found: list[Named] = []
    for one in named:
        before, after = clause[: one.start], clause[one.end :]
        joined = bool(found) and _JOINED.search(clause[found[-1].end : one.start]) is not None
        part = Part.MENTIONED
        if _OWNS.match(after):
            part = Part.MENTIONED
        elif joined and clause[found[-1].end : one.start].strip(" ,、和与跟及以andor&") == "":
            part = found[-1].part
        elif _ASKS_TO.search(before) or _BY.search(before):
            part = Part.DOES
        elif _OPENING.match(before) and not _BESIDE.search(before):
            part = Part.SAYS if _SAYS[language].match(after) else Part.DOES
        found.append(Named(one.key, one.start, one.end, part))
    # "Anna and Ben said": both say what the last of them says.
    for i in range(len(found) - 2, -1, -1):
        between = clause[found[i].end : found[i + 1].start].strip(" ,、和与跟及以andor&")
        if not between and found[i].part is Part.DOES:
            found[i] = Named(found[i].key, found[i].start, found[i].end, found[i + 1].part)
    return found


_ASKS: Final = re.compile(
    r"\b(?:asks?|tells?|reminds?|reports?|confirms?|will)\b|问|告诉|提醒|汇报|介绍|确认|通知|报告"
)
_NEW_SUBJECT: Final = re.compile(
    r"^\W*(?:the|an?|it|they|he|she|we|this|that|there|these|those|his|her|their|its|all|both|"
    r"some|most|"
    r"many|no|nobody|everyone|everybody|each|one|two|three|four|five|who|which|what|if|when|while|"
    r"because|since|as|then the|so the|not|only|with|for|in|on|at|from|to|by|until)\b",
    re.IGNORECASE,
)


def asks(clause: str) -> bool:
    """Tell whether to say something may be what somebody is to do."""
    return _ASKS.search(clause) is not None


_BEFORE_CALL: Final = re.compile(
    r"(?:^|[,.;:!?，。；：！？、]\s*|\b(?:ok|okay|so|and|well|then)\s+)$"
)
_AFTER_CALL: Final = re.compile(r"\s*(?:$|[,.;:!?，。；：！？、])|[你您]")


def calls(text: str, person: Named) -> bool:
    """Tell whether somebody is called by name, and not told of: "Hana, could you?"."""
    return (
        _BEFORE_CALL.search(text[: person.start].lower()) is not None
        and _AFTER_CALL.match(text[person.end :]) is not None
    )


def takes(text: str) -> bool:
    """Tell whether somebody says that they will do something."""
    return _TAKES.search(text.lower().replace("’", "'")) is not None


_PAST_OR_STATE: Final = re.compile(
    r"\b(?:was|were|has|have|had|is|are|did|does|came|said|\w+ed|read|wrote|sent|bought|found|"
    r"sold|got|took|"
    r"made|knows|thinks|likes|wants)\b|了|过|已|认为|觉得|说|表示|担心|是|在"
)
_OBLIGED: Final = re.compile(
    r"^\s*(?:will|has to|have to|should|must|needs to|is going to|is to|'ll|can|does|takes|"
    r"writes|sends|calls|"
    r"prepares|books|could)\b|^\s*[,，]\s*(?:你|您|please|can|could|would|will)|^(?:来|去|负责|"
    r"要|得|会|你来|你去|你负责|把|先|再|周|明|下|今)",
    re.IGNORECASE,
)


def to_come(clause: str) -> bool:
    """Tell whether a clause of minutes tells of something that is still to be done."""
    if re.search(r"\b(?:will|has to|should|must|needs to|is to|is going to)\b|负责", clause):
        return True
    return _PAST_OR_STATE.search(clause) is None


def beside(text: str, named: Named) -> bool:
    """Tell whether somebody is named beside what is done: with, for or to whom."""
    return _BESIDE.search(text[: named.start]) is not None


def joins(text: str, named: Named) -> bool:
    """Tell whether somebody is named as one who does it too: "together with Tom", 我和何伟."""
    before = text[: named.start]
    return re.search(r"(?:together with|and|with)\s+$|[和跟与]$", before) is not None


def obliged(text: str, named: Named) -> bool:
    """Tell whether somebody is named as who is to do it: "Ben has to", 让小王."""
    after, before = text[named.end :], text[: named.start]
    asked = _DELEGATES.search(before) or _BY.search(before)
    return asked is not None or (_OBLIGED.match(after) is not None and not beside(text, named))


def goes_on(clause: str) -> bool:
    """Tell whether a clause begins with what is done, so that who does it was named before."""
    return _NEW_SUBJECT.match(clause) is None and re.search(r"\w", clause) is not None


def agrees(clause: str) -> bool:
    """Tell whether a clause tells of agreement; who agrees need not say what with."""
    return _AGREES.search(clause) is not None


def doers(
    sentence: str,
    speaker: str,
    addressed: Iterable[str],
    named: Sequence[Named],
    *,
    alone: bool = True,
) -> set[str]:
    """Return who may be meant to do what a spoken sentence tells.

    Args:
        sentence: As said.
        speaker: Who says it.
        addressed: Whom "you" may mean.
        named: Who is named in it.
        alone: Where nobody is named, it is the speaker.
    """
    text = sentence.lower().replace("’", "'")
    found: set[str] = set()
    subjects = [
        one for one in named
        if not (_BESIDE.search(sentence[: one.start]) or _OWNS.match(sentence[one.end :]))
        or _JOINED.search(sentence[: one.start])
    ]  # fmt: skip
    found.update(one.key for one in subjects)
    first = FIRST.search(text)
    delegated = any(_DELEGATES.search(sentence[: one.start]) for one in named)
    found.update(one.key for one in named if _DELEGATES.search(sentence[: one.start]))
    if first and not (delegated and not _TAKES.search(text)):
        found.add(speaker)
    if SECOND.search(text):
        here = {one.key for one in named}
        found.update(here or addressed)
    if THIRD.search(text):
        found.update(one.key for one in named)
    if (not found and alone) or (GROUP.search(text) and not subjects):
        found.add(speaker)
    return found
