"""Minutes and catch-up without a generator: sentences of the meeting, chosen and put in order.

A sentence is worth quoting when its words are what its part is about and it says neither too little
nor too much (centrality, as in Luhn, 1958, over the part). What a reader looks for depends on the
kind of meeting, so sentences get a role by their phrases: in a stand-up what is done, next and in
the way, in an interview questions with their answers, in a brainstorm ideas, before a decision
options and arguments.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Final

from atrium_meeting.domain.analysis.actions import Action, find_actions, spans_of
from atrium_meeting.domain.analysis.decisions import Decision as FoundDecision
from atrium_meeting.domain.analysis.findings import Findings
from atrium_meeting.domain.analysis.meeting import Analysis, language_of, people_of
from atrium_meeting.domain.analysis.reading import Reading
from atrium_meeting.domain.analysis.sentences import Sentence, sentences_of
from atrium_meeting.domain.minutes import (
    ActionItem,
    CatchUp,
    Chapter,
    CitedSentence,
    Decision,
    Grouping,
    Minutes,
    MinutesType,
    Role,
    Section,
    Stretch,
)
from atrium_meeting.domain.transcript import Transcript
from atrium_shared.engines import Engine, EngineKind

ENGINE: Final = Engine(EngineKind.EXTRACTIVE, "atrium")
"""What minutes without a generator are made by."""

_WORDS_A_SENTENCE: Final = 120
"""A section quotes one sentence for so many words, within the limits below."""
_FEWEST: Final = 2
_MOST: Final = 8
_OVERVIEW: Final = 4
_MOST_LIKELY: Final = 12
"""Sentences that may say a decision and are told to who was away, the surest ones."""
_GOOD_WORDS: Final = (6, 30)
"""Sentences with fewer or more words are worth less."""

_ROLES: Final[Mapping[Role, re.Pattern[str]]] = {
    Role.BLOCKED: re.compile(
        r"\b(?:blocked|stuck|waiting (?:for|on)|can't (?:sign|start|continue|do|test|deploy|merge|"
        r"finish|go on|open|reach|use)|"
        r"cannot|depends on|(?:is|are|was|were) (?:broken|missing|down|late|ill|sick|rejected)|"
        r"rejected|failed|fails|need(?:s)? (?:help|somebody|someone)|"
        r"didn't (?:come|arrive|work)|problem|trouble|too hot|twice|out of)\b"
        r"|卡住|卡在|阻塞|受阻|等(?:着|待|他|她|对方|评审|回复|批)|没法|无法|做不了|驳回|失败|"
        r"坏了|故障|过期|缺|没到|延误|需要(?:帮|有人|一个)|问题|偏热"
    ),
    Role.NEXT: re.compile(
        r"\b(?:today i|tomorrow|next|i'll|i will|i'm going to|going to|plan(?:ning)? to|this "
        r"(?:afternoon|morning|evening|week)|by (?:\w+day|tomorrow|noon)|then i)\b"
        r"|今天(?:我|要|打算|继续|准备|把|下午|上午)|明天|接下来|下一步|打算|计划|准备|下午|"
        r"晚上之前|之前[^，。]*好|我(?:来|去|会|再|先)"
    ),
    Role.DONE: re.compile(
        r"\b(?:yesterday|finished|done|fixed|merged|reviewed|moved|sent|deployed|tested|shipped|"
        r"closed|wrote|written|completed|made|came|released|updated|spoke|called|i've|i have)\b"
        r"|昨天|做完|完成|修好|修完|评审完|迁[到完]|上线了|发了|发布了|测完|写完|改完|合并了|"
        r"搞定了|到了|做好了|弄好|通过电话|[完好]了"
    ),
}
_IDEA: Final = re.compile(
    r"\b(?:what if|how about|what about a|why not|we could|could we|could|maybe|perhaps|imagine|"
    r"or (?:a|an|we|rent|give|silent)|idea|let's|a \w+ (?:hunt|quiz|night)|should we)\b"
    r"|要不|怎么样|不如|可以|或者|搞个|弄个|做个|办个|来个|如果|想法|点子|主意|行不行|干脆|还有"
)
_OPTION: Final = re.compile(
    r"\b(?:option|either|or|alternative|offer|versus|has|costs?|is (?:three|four|five|two|one)|"
    r"could)\b|方案|选|还是|报|平米|或者|另外|每月|一个是"
)
_ARGUMENT: Final = re.compile(
    r"\b(?:because|since|but|cheaper|expensive|more|less|better|worse|afford|too|risk|advantage|"
    r"cost|would|prefer|however|love|nearly|only|than)\b"
    r"|因为|所以|但是|不过|便宜|贵|更|太|风险|优势|好处|坏处|成本|付得起|喜欢|可是|不够|划算|影响"
)


class _Numbering:
    """Gives sentences their identifiers."""

    def __init__(self) -> None:
        self._next: Counter[str] = Counter()

    def __call__(self, prefix: str) -> str:
        self._next[prefix] += 1
        return f"{prefix}{self._next[prefix]}"


def write_minutes(analysis: Analysis, grouping: Grouping = Grouping.CHAPTER) -> Minutes:
    """Return minutes that quote the meeting.

    Args:
        analysis: Of the transcript.
        grouping: What the sections are.
    """
    number = _Numbering()
    sentences = analysis.sentences
    worth = worths(sentences, [range(part.start, part.end) for part in analysis.parts])
    sections = _sections(analysis, grouping, worth, number)
    end_ms = max(analysis.transcript.end_ms, 1)
    starts = [sentences[part.start].start_ms for part in analysis.parts] + [end_ms]
    starts[:1] = [0]
    return Minutes(
        type=analysis.type,
        language=analysis.language,
        grouping=grouping,
        overview=_overview(analysis, worth, number),
        sections=sections,
        decisions=tuple(_decision(sentences, one, number) for one in analysis.decisions),
        actions=tuple(_action(sentences, one, number) for one in analysis.actions),
        chapters=tuple(
            Chapter(title.text, begin, max(end, begin + 1), title.spans)
            for title, begin, end in zip(analysis.titles, starts, starts[1:], strict=False)
        ),
        engine=ENGINE,
        transcript_version=analysis.transcript.version,
    )


def catch_up(
    transcript: Transcript,
    missed: Stretch,
    *,
    day: date | None = None,
) -> CatchUp:
    """Return what was said in a part of a meeting that may still go on.

    What came before is read, so that a repetition is no news; what comes after is not, but for
    what is refused or called off there: that is nothing to do any more. A sentence on the edge
    counts to the side where most of it lies.

    Args:
        transcript: The transcript so far.
        missed: What was missed.
        day: Of the meeting, which due dates are seen from; ``None`` where it is not known.
    """
    whole = sentences_of(transcript)
    known = tuple(s for s in whole if _middle(s) < missed.end_ms)
    inside = frozenset(s.index for s in known if _middle(s) >= missed.start_ms)
    findings = Findings(Reading(known, people_of(transcript, known), day))
    decisions = findings.decisions
    void: frozenset[int] = frozenset()
    if len(whole) > len(known):
        _, void = find_actions(Reading(whole, people_of(transcript, whole), day))
    number = _Numbering()
    worth = worths(known, [sorted(inside)])
    budget = 1 + _budget(sum(known[i].size for i in inside))
    told = {one.main for one in decisions}
    # Who was away is also told what may have been a decision, as a point.
    likely = [i for i in findings.likely if i in inside and known[i].terms and i not in told]
    likely = likely[:_MOST_LIKELY]
    rest = inside - set(likely) - told
    chosen = sorted({*likely, *_best(known, rest, worth, budget)})
    return CatchUp(
        language=language_of(known),
        missed=missed,
        sentences=tuple(_quote(known[i], number("c")) for i in chosen),
        decisions=tuple(
            _decision(known, _within(one, inside), number)
            for one in decisions
            if one.main in inside
        ),
        actions=tuple(
            _action(known, _action_within(one, inside), number)
            for one in findings.actions
            if one.main in inside and one.main not in void
        ),
        engine=ENGINE,
        transcript_version=transcript.version,
    )


def worths(sentences: Sequence[Sentence], parts: Iterable[Sequence[int]]) -> dict[int, float]:
    """Return how much each sentence is worth quoting, by its index.

    Args:
        sentences: Of the meeting.
        parts: Indexes of the sentences of each part.
    """
    spread: Counter[str] = Counter()
    counts = []
    for part in parts:
        count = Counter(term for i in part for term in set(sentences[i].terms))
        counts.append((part, count))
        spread.update(count.keys())
    found: dict[int, float] = {}
    for part, count in counts:
        for i in part:
            found[i] = _worth(sentences[i], count, spread, len(counts))
    return found


def _worth(sentence: Sentence, count: Counter[str], spread: Counter[str], parts: int) -> float:
    terms = set(sentence.terms)
    if not terms:
        return 0.0
    about = sum(math.log(count[t]) * math.log((parts + 1) / spread[t] + 1) + 0.2 for t in terms)
    least, most = _GOOD_WORDS
    size = sentence.size
    fitting = min(1.0, size / least) * min(1.0, most / max(size, 1))
    worth = about / math.sqrt(len(terms) + 2) * fitting
    if sentence.is_question:
        worth *= 0.4
    if any(character.isdigit() for character in sentence.text):
        worth *= 1.15
    return worth


def _sections(
    analysis: Analysis, grouping: Grouping, worth: Mapping[int, float], number: _Numbering
) -> tuple[Section, ...]:
    sentences = analysis.sentences
    sections = []
    if grouping is Grouping.SPEAKER:
        for speaker in analysis.transcript.speakers:
            own = [s.index for s in sentences if s.speaker == speaker.id]
            chosen = _points(analysis, own, worth, number)
            if chosen:
                title = speaker.display_name or speaker.id
                span = Stretch(sentences[own[0]].start_ms, sentences[own[-1]].end_ms)
                sections.append(Section(title, (span,), chosen, speaker.id))
        return tuple(sections)
    groups = (
        analysis.topics
        if grouping is Grouping.TOPIC
        else [(i,) for i in range(len(analysis.parts))]
    )
    for group in groups:
        parts = [analysis.parts[i] for i in group]
        own = [i for part in parts for i in range(part.start, part.end)]
        chosen = _points(analysis, own, worth, number)
        if chosen:
            stretches = tuple(
                Stretch(sentences[part.start].start_ms, sentences[part.end - 1].end_ms)
                for part in parts
            )
            largest = max(group, key=lambda i: analysis.parts[i].end - analysis.parts[i].start)
            sections.append(Section(analysis.titles[largest].text, stretches, chosen))
    return tuple(sections)


def _points(
    analysis: Analysis, own: Sequence[int], worth: Mapping[int, float], number: _Numbering
) -> tuple[CitedSentence, ...]:
    """Return what a section quotes, as fits the kind of meeting, in order."""
    sentences = analysis.sentences
    budget = _budget(sum(sentences[i].size for i in own))
    decided = {one.main for one in analysis.decisions}
    roles: dict[int, Role] = {i: Role.DECISION for i in own if i in decided}
    if analysis.type is MinutesType.STANDUP:
        roles |= _standup(sentences, own, worth, decided)
    elif analysis.type is MinutesType.INTERVIEW:
        roles |= _interview(sentences, own, worth, budget)
    elif analysis.type is MinutesType.BRAINSTORM:
        roles |= _by_cue(sentences, own, worth, {Role.IDEA: (_IDEA, budget + 2)}, decided)
    elif analysis.type is MinutesType.DECISION:
        cues = {Role.ARGUMENT: (_ARGUMENT, budget), Role.OPTION: (_OPTION, budget // 2 + 1)}
        roles |= _by_cue(sentences, own, worth, cues, decided)
    missing = max(_FEWEST, budget) - len(roles)
    if missing > 0 and analysis.type is not MinutesType.INTERVIEW:
        rest = frozenset(i for i in own if i not in roles)
        roles |= dict.fromkeys(_best(sentences, rest, worth, missing), Role.POINT)
    return tuple(_quote(sentences[i], number("s"), roles[i]) for i in sorted(roles))


def _standup(
    sentences: Sequence[Sentence],
    own: Sequence[int],
    worth: Mapping[int, float],
    taken: set[int],
) -> dict[int, Role]:
    """Choose for each speaker what is done, next and in the way."""
    roles: dict[int, Role] = {}
    for speaker in dict.fromkeys(sentences[i].speaker for i in own):
        for role, cue in _ROLES.items():
            fitting = frozenset(
                i
                for i in own
                if sentences[i].speaker == speaker
                and i not in taken
                and i not in roles
                and not sentences[i].is_question
                and sentences[i].size >= _GOOD_WORDS[0] - 2
                and cue.search(sentences[i].folded)
            )
            roles |= dict.fromkeys(_best(sentences, fitting, worth, 2), role)
    return roles


def _interview(
    sentences: Sequence[Sentence], own: Sequence[int], worth: Mapping[int, float], budget: int
) -> dict[int, Role]:
    """Choose questions with the best sentence of what is answered at once."""
    inside = frozenset(own)
    pairs: list[tuple[float, int, int]] = []
    for i in own:
        if not sentences[i].is_question:
            continue
        j = i + 1
        while j in inside and sentences[j].speaker == sentences[i].speaker:
            j += 1
        answers: list[int] = []
        while (
            j in inside
            and sentences[j].speaker != sentences[i].speaker
            and not sentences[j].is_question
            and len(answers) < 12
        ):
            answers.append(j)
            j += 1
        if answers:
            best = max(answers, key=lambda k: worth.get(k, 0.0))
            said = sum(sentences[k].size for k in answers)
            pairs.append((worth.get(best, 0.0) + 0.02 * said, i, best))
    roles: dict[int, Role] = {}
    for _, question, answer in sorted(pairs, reverse=True)[: max(_FEWEST, budget)]:
        roles[question] = Role.QUESTION
        roles[answer] = Role.ANSWER
    if not roles:  # by speaker, an answer stands without its question
        return dict.fromkeys(_best(sentences, inside, worth, budget), Role.ANSWER)
    return roles


def _by_cue(
    sentences: Sequence[Sentence],
    own: Sequence[int],
    worth: Mapping[int, float],
    cues: Mapping[Role, tuple[re.Pattern[str], int]],
    taken: set[int],
) -> dict[int, Role]:
    roles: dict[int, Role] = {}
    for role, (cue, most) in cues.items():
        fitting = frozenset(
            i
            for i in own
            if i not in taken
            and i not in roles
            and cue.search(sentences[i].folded)
            and sentences[i].size >= _GOOD_WORDS[0] - 2
        )
        # An idea is often put as a question, which is worth less elsewhere.
        asked = {i: worth.get(i, 0.0) * (2.5 if sentences[i].is_question else 1) for i in fitting}
        roles |= dict.fromkeys(_best(sentences, fitting, asked, most), role)
    return roles


def _overview(
    analysis: Analysis, worth: Mapping[int, float], number: _Numbering
) -> tuple[CitedSentence, ...]:
    """Quote the best sentence of the longest parts, and what was decided."""
    sentences = analysis.sentences
    decided = [one.main for one in sorted(analysis.decisions, key=lambda one: -one.strength)]
    chosen = set(decided[: _OVERVIEW // 2])
    by_length = sorted(analysis.parts, key=lambda part: part.start - part.end)
    for part in by_length:
        if len(chosen) >= _OVERVIEW:
            break
        rest = frozenset(range(part.start, part.end)) - chosen
        chosen |= set(_best(sentences, rest, worth, 1))
    missing = _OVERVIEW - len(chosen)
    if missing > 0:
        rest = frozenset(range(len(sentences))) - chosen
        chosen |= set(_best(sentences, rest, worth, missing))
    return tuple(
        _quote(sentences[i], number("o"), Role.DECISION if i in decided else Role.POINT)
        for i in sorted(chosen)
    )


def _best(
    sentences: Sequence[Sentence], among: frozenset[int], worth: Mapping[int, float], most: int
) -> list[int]:
    """Return the sentences most worth quoting, in order; none that repeats another."""
    chosen: list[int] = []
    said: list[set[str]] = []
    for i in sorted(among, key=lambda i: (-worth.get(i, 0.0), i)):
        if len(chosen) >= most:
            break
        terms = set(sentences[i].terms)
        if not terms or worth.get(i, 0.0) <= 0:
            continue
        if any(len(terms & other) > 0.6 * min(len(terms), len(other)) for other in said):
            continue
        chosen.append(i)
        said.append(terms)
    return sorted(chosen)


def _budget(words: int) -> int:
    return max(_FEWEST, min(_MOST, round(words / _WORDS_A_SENTENCE)))


def _quote(sentence: Sentence, name: str, role: Role = Role.POINT) -> CitedSentence:
    return CitedSentence(name, sentence.text, sentence.spans, role, sentence.speaker)


def _decision(sentences: Sequence[Sentence], found: FoundDecision, number: _Numbering) -> Decision:
    main = sentences[found.main]
    spans = spans_of(sentences, found.sentences)
    quote = _quote(main, number("d"), Role.DECISION)
    return Decision(replace(quote, spans=spans))


def _action(sentences: Sequence[Sentence], found: Action, number: _Numbering) -> ActionItem:
    main = sentences[found.main]
    quote = _quote(main, number("a"))
    return ActionItem(
        sentence=replace(quote, spans=spans_of(sentences, found.sentences)),
        owner_name=found.owner.name if found.owner else "",
        owner_speaker=found.owner.speaker if found.owner else "",
        due_text=found.due.text if found.due else "",
        due_date=found.due.day if found.due else None,
    )


def _middle(sentence: Sentence) -> float:
    return (sentence.start_ms + sentence.end_ms) / 2


def _within(found: FoundDecision, inside: frozenset[int]) -> FoundDecision:
    return replace(found, sentences=[i for i in found.sentences if i in inside])


def _action_within(found: Action, inside: frozenset[int]) -> Action:
    return replace(found, sentences=[i for i in found.sentences if i in inside])
