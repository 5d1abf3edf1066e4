"""What speakers are probably called, from what is said: a suggestion, for people to confirm.

Two things tell: that a speaker introduces themselves, and that somebody is spoken to by name and a
speaker answers, or was just speaking. One introduction is enough, or two addresses; anything that
speaks against it leaves the speaker without a suggestion.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from atrium_grounding.names import tagger
from atrium_meeting.domain.analysis.people import People, usual_words
from atrium_meeting.domain.analysis.sentences import Sentence, sentences_of
from atrium_meeting.domain.titles import TITLE_ZH
from atrium_meeting.domain.transcript import Speaker, Transcript, is_unspaced

_INTRODUCED: Final = 2
_ADDRESSED: Final = 1
_ENOUGH: Final = 2
_ANSWER_MS: Final = 4_000
"""Who speaks later than that may be somebody else than who was spoken to."""
_CAPITAL: Final = re.compile(r"\b[A-Z][\w'’-]+")
_LONGEST: Final = 60
"""Letters of the longest name that is taken out of a text."""

_CLAUSE: Final = (
    r"(?:^|[.!?;:,，。！？；：、]\s*|\b(?:and|so|hi|hello|hey|okay|ok|yes|yeah|well)\s+)"
)
_I_AM: Final = re.compile(
    rf"{_CLAUSE}(?:I'm|I’m|I am|my name is|my name's|my name’s)\s+$", re.IGNORECASE
)
_GREETED: Final = (
    r"^(?:(?:hi|hello|hey|good (?:morning|afternoon|evening))(?: (?:everyone|everybody|all))?"
    r"[,.!]?\s+)"
)
_GREETING: Final = re.compile(rf"{_GREETED}?(?:(?:this is|it's|it’s)\s+)?$", re.IGNORECASE)
_GREETING_THIS_IS: Final = re.compile(rf"{_GREETED}(?:this is|it's|it’s)\s+$", re.IGNORECASE)
_QUOTED: Final = re.compile(r"\b(?:said|says|say|told|asked|wrote|if|because)\b[^.!?]*$", re.I)
_AFTER_ME: Final = re.compile(r"\s*(?:$|[.,!?;]|(?:and I|from|here|speaking|your|the new)\b)")
_SPEAKING: Final = re.compile(r"\s+(?:speaking|here)\s*(?:$|[.,!?])")
_FROM: Final = re.compile(r"\s+from\b")
_CONTRACTED: Final = re.compile(r"['’](?:re|s|m|ll|ve|d|t)$", re.IGNORECASE)
_WO_SHI: Final = re.compile(
    r"(?:^|[，。！？；：、,.!?]|大家好|你好|您好|各位)我(?:是|叫|的名字[叫是]|名字叫)"
    r"([\u4e00-\u9fff]{2,4}?)(?=$|[，。！？；、,.!?]|来自|负责|今天|这边|我)"
)
_TITLED: Final = re.compile(
    r"^(?:Mr|Mrs|Ms|Mister|Madam|Sir|Dr|Doctor|Prof|Professor|Chair\w*|Minister|President|Speaker)\b"
    rf"|^[小老阿]|{TITLE_ZH}$"
)
_NO_CHINESE_NAME: Final = re.compile(r"谢谢|[人员者们客]$")
# The segmenter takes these words for names.
_NO_NAMES: Final = frozenset("顾问 马虎 白领 叶子 高管 单身 高兴 黄牛 温柔 平安 方圆 安卓".split())
_NAME_TAGS: Final = frozenset({"nr", "nrfg", "nrt"})

# What else may bear a capital behind "I'm".
_NO_LATIN_NAME: Final = frozenset(
    "Sorry Fine Good Glad Happy Sure Afraid Ready Done Late New Back American British English "
    "Scottish Irish Welsh French German Italian Spanish Portuguese Dutch Swedish Danish Polish "
    "Greek Turkish Russian Indian Pakistani Chinese Japanese Korean Canadian Australian Mexican "
    "Brazilian European African Asian Catholic Christian Muslim Jewish Hindu Buddhist".split()
)

_BEFORE_CALL: Final = re.compile(
    r"^(?:(?:and|so|okay|ok|then|right|now|great|good|well|over to you|next|yes|yeah|all right|"
    r"alright|go ahead|please|好|好的|那|那么|嗯|行|对了|下面|接下来)[,，.。:：\s]*)*$",
    re.IGNORECASE,
)
_ASKED: Final = re.compile(
    r"[?？]\s*$|\b(?:please|can you|could you|would you|will you|can we hear|tell us|go ahead|"
    r"go on|over to you|your turn|you're next|you are next|what about you|how about you)\b|"
    r"[吗呢]|好不好|怎么样|能不能|可不可以|请|麻烦|轮到你|到你了|该你",
    re.IGNORECASE,
)
_TOLD: Final = re.compile(r"你|您")
_GIVEN_THE_WORD: Final = re.compile(
    r"^(?:你|您)?(?:先|也|来|再)*(?:说说|讲讲|说一下|讲一下|介绍|汇报|来说|来讲|谈谈|说吧|讲吧)"
)
_AT_END: Final = re.compile(r"[,，]\s*$")
_THANKS: Final = re.compile(
    r"(?:^|[.!?,;，。！？；]\s*|\b)(?:thanks|thank you)(?: very much| so much| a lot)?,?\s+$|"
    r"(?:谢谢|感谢|多谢|辛苦)(?:你|您)?[，,]?$",
    re.IGNORECASE,
)
_NOT_THANKED: Final = re.compile(r"\s*(?:for (?:letting|having)|的|和|and\b|'s|’s)")
_ENDED: Final = re.compile(r"\s*(?:$|[.,!?;，。！？；])")


@dataclass(frozen=True, slots=True)
class _Named:
    """A name in a sentence of a turn.

    Args:
        name: As it was said.
        before: What comes before it in the sentence.
        after: What follows.
    """

    name: str
    before: str
    after: str


def suggest_names(transcript: Transcript) -> Transcript:
    """Return the transcript with suggestions for speakers whose names are not known.

    Names that people gave stand: a named speaker gets no suggestion, and their name is suggested
    for nobody else.
    """
    unnamed = {one.id for one in transcript.speakers if not one.display_name}
    if not unnamed:
        return transcript
    found = _suggestions(transcript, unnamed)
    return replace(
        transcript,
        speakers=tuple(
            replace(one, suggested_name=found.get(one.id, "")) for one in transcript.speakers
        ),
    )


def still_suggested(speakers: Sequence[Speaker]) -> tuple[Speaker, ...]:
    """Return speakers with the suggestions that hold beside the names people gave."""
    taken = {one.display_name.casefold() for one in speakers if one.display_name}
    taken |= {
        name
        for name, count in Counter(
            one.suggested_name.casefold() for one in speakers if not one.display_name
        ).items()
        if count > 1
    }
    return tuple(
        replace(one, suggested_name="")
        if one.display_name or one.suggested_name.casefold() in taken
        else one
        for one in speakers
    )


def joined(kept: Speaker, gone: Speaker) -> Speaker:
    """Return the speaker that two are: the name of either, a suggestion where they agree."""
    suggested = {one.suggested_name for one in (kept, gone)} - {""}
    return Speaker(
        kept.id,
        kept.display_name or gone.display_name,
        suggested.pop() if len(suggested) == 1 else "",
    )


def _suggestions(transcript: Transcript, unnamed: set[str]) -> Mapping[str, str]:
    sentences = sentences_of(transcript)
    people = People(transcript.speakers, usual_words(one.text for one in sentences))
    called = _inner_capitals(sentences)
    turns = [list(turn) for _, turn in groupby(sentences, key=lambda one: one.speaker)]
    points: defaultdict[str, Counter[str]] = defaultdict(Counter)
    spoken_of: defaultdict[str, set[str]] = defaultdict(set)
    for place, turn in enumerate(turns):
        before = turns[place - 1] if place else None
        after = turns[place + 1] if place + 1 < len(turns) else None
        me = turn[0].speaker
        for number, sentence in enumerate(turn):
            own = set(_introduced(people, sentence, called))
            points[me].update(dict.fromkeys(own, _INTRODUCED))
            for named in _names(people, sentence, called):
                if named.name in own:
                    continue
                spoken_of[me].add(named.name)
                if before and _thanked(named) and number == 0:
                    points[before[0].speaker][named.name] += _ADDRESSED
                elif (
                    after
                    and number >= len(turn) - 2
                    and after[0].start_ms - turn[-1].end_ms <= _ANSWER_MS
                    and _asked(named, turn[number:])
                ):
                    points[after[0].speaker][named.name] += _ADDRESSED
    found = {}
    for speaker in unnamed:
        name = _agreed(points, spoken_of[speaker], speaker)
        if name:
            found[speaker] = name
    return found


def _names(people: People, sentence: Sentence, called: AbstractSet[str]) -> Iterator[_Named]:
    """Yield the names of people who are not known as speakers, first and last name together.

    Args:
        people: Finds what may be a name.
        sentence: Where.
        called: Latin words that bear a capital inside a sentence; at its beginning each word does.
    """
    text = sentence.text
    mentions = [one for one in people.mentions(text) if not one.person.speaker]
    while mentions:
        first = mentions.pop(0)
        start, end = first.start, first.end
        while mentions and text[end : mentions[0].start] == " ":
            end = mentions.pop(0).end
        name = text[start:end]
        unlike = name in _NO_LATIN_NAME or _TITLED.search(name) or _CONTRACTED.search(name)
        if unlike or len(name) > _LONGEST:
            continue
        if _is_chinese_name(name) if is_unspaced(name[0]) else name.split()[0] in called:
            yield _Named(name, text[:start], text[end:])


def _is_chinese_name(word: str) -> bool:
    if not 2 <= len(word) <= 4 or word in _NO_NAMES or _NO_CHINESE_NAME.search(word):
        return False
    return [tag in _NAME_TAGS for _, tag in tagger().tag(word)] == [True]


def _inner_capitals(sentences: Sequence[Sentence]) -> frozenset[str]:
    """Return the words that bear a capital elsewhere than at the beginning of a sentence."""
    return frozenset(
        match.group()
        for one in sentences
        for match in _CAPITAL.finditer(one.text)
        if one.text[: match.start()].strip(" \"'“‘(")
    )


def _introduced(people: People, sentence: Sentence, called: AbstractSet[str]) -> Iterator[str]:
    """Yield the names that somebody says of themselves."""
    for match in _WO_SHI.finditer(sentence.text):
        if _is_chinese_name(match[1]) and not _TITLED.search(match[1]):
            yield match[1]
    for named in _names(people, sentence, called):
        if is_unspaced(named.name[0]) or _QUOTED.search(named.before):
            continue
        if _I_AM.search(named.before):
            if _AFTER_ME.match(named.after):
                yield named.name
        # "This is" may introduce somebody else: not where it follows a greeting.
        elif (_GREETING.match(named.before) and _SPEAKING.match(named.after)) or (
            _GREETING_THIS_IS.match(named.before) and _FROM.match(named.after)
        ):
            yield named.name


def _thanked(named: _Named) -> bool:
    """Tell whether somebody is thanked, as who has just spoken is."""
    if _NOT_THANKED.match(named.after):
        return False
    return bool(
        _THANKS.search(named.before) and (_ENDED.match(named.after) or named.after[0] in "了")
    )


def _asked(named: _Named, rest: Sequence[Sentence]) -> bool:
    """Tell whether somebody is asked, or given the word, as who speaks next is.

    Args:
        named: The name in the first of some sentences.
        rest: From that sentence to the end of the turn.
    """
    asks = any(_ASKED.search(one.text) for one in rest)
    if _BEFORE_CALL.match(named.before):
        if re.match(r"\s*[?？]\s*$", named.after):
            return True
        if is_unspaced(named.name[0]) and _GIVEN_THE_WORD.match(named.after):
            return True
        called = re.match(r"\s*[,，:：]", named.after) or _TOLD.match(named.after)
        told = is_unspaced(named.name[0]) and _TOLD.search(named.after)
        return bool(called and (asks or told))
    at_end = re.match(r"\s*[?？.。!！]?\s*$", named.after)
    return bool(_AT_END.search(named.before) and at_end and asks)


def _agreed(points: Mapping[str, Counter[str]], spoken_of: set[str], speaker: str) -> str:
    """Return the name that all that was said agrees on; empty: there is none."""
    own = points.get(speaker)
    if not own:
        return ""
    names = sorted(own, key=len)
    longest = names[-1]
    if not all(_same(name, longest) for name in names) or sum(own.values()) < _ENOUGH:
        return ""
    elsewhere = (name for other, some in points.items() if other != speaker for name in some)
    if any(_same(name, one) for name in names for one in (*elsewhere, *spoken_of)):
        return ""
    return longest


def _same(one: str, other: str) -> bool:
    """Tell whether two names may be of one person: the same, or one a part of the other."""
    short, long = sorted((one.casefold(), other.casefold()), key=len)
    if is_unspaced(short[0]):
        return long.endswith(short)
    return short in long.split() or short == long
