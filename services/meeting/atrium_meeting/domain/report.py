"""A meeting as a document: what stands in it and in which order, without a file format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Final, TypeAlias

from atrium_meeting.domain.minutes import (
    ActionItem,
    CitedSentence,
    Minutes,
    MinutesType,
    Role,
    Section,
)
from atrium_meeting.domain.transcript import Span, Transcript, Utterance, clock, join

_WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "untitled": "Meeting",
        "date": "Date",
        "length": "Length",
        "people": "Speakers",
        "type": "Type",
        "overview": "Overview",
        "decisions": "Decisions",
        "actions": "Actions",
        "what": "What",
        "who": "Who",
        "due": "Due",
        "where": "Said at",
        "chapters": "Chapters",
        "transcript": "Transcript",
        "nobody": "not said",
        "engine": "Written by",
        "extractive": "Taken word for word from what was said, no model",
        Role.DONE: "Done",
        Role.NEXT: "Next",
        Role.BLOCKED: "Blocked",
        Role.QUESTION: "Question",
        Role.ANSWER: "Answer",
        Role.IDEA: "Idea",
        Role.OPTION: "Option",
        Role.ARGUMENT: "Argument",
        Role.DECISION: "Decided",
    },
    "zh": {
        "untitled": "会议",
        "date": "日期",
        "length": "时长",
        "people": "发言人",
        "type": "类型",
        "overview": "概要",
        "decisions": "决定",
        "actions": "待办事项",
        "what": "事项",
        "who": "负责人",
        "due": "期限",
        "where": "出处",
        "chapters": "章节",
        "transcript": "逐字稿",
        "nobody": "未提及",
        "engine": "撰写",
        "extractive": "逐字摘自发言，未用模型",
        Role.DONE: "已完成",
        Role.NEXT: "接下来",
        Role.BLOCKED: "受阻",
        Role.QUESTION: "问",
        Role.ANSWER: "答",
        Role.IDEA: "想法",
        Role.OPTION: "方案",
        Role.ARGUMENT: "理由",
        Role.DECISION: "决定",
    },
}
_TYPES: Final[Mapping[str, Mapping[MinutesType, str]]] = {
    "en": {
        MinutesType.AGENDA: "Agenda",
        MinutesType.BRAINSTORM: "Brainstorm",
        MinutesType.STANDUP: "Stand-up",
        MinutesType.INTERVIEW: "Interview",
        MinutesType.DECISION: "Decision",
    },
    "zh": {
        MinutesType.AGENDA: "议程会议",
        MinutesType.BRAINSTORM: "头脑风暴",
        MinutesType.STANDUP: "站会",
        MinutesType.INTERVIEW: "访谈",
        MinutesType.DECISION: "决策会议",
    },
}
"""Apart from the words: a kind of meeting and a role are of one value, "decision"."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was said, for a link to it.

    Args:
        utterance: Identifier of the utterance, "u12".
        start_ms: When, in milliseconds from the beginning.
        speaker: Name of who said it.
    """

    utterance: str
    start_ms: int
    speaker: str


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of level 1 (the document's title) to 3."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Fact:
    """A line such as "Date: 2026-11-22"."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Point:
    """A sentence with where it was said; ``label`` stands before it, where there is one."""

    text: str
    places: tuple[Place, ...]
    label: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under a header; each row's places stand in its last cell."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    places: tuple[tuple[Place, ...], ...]


@dataclass(frozen=True, slots=True)
class Line:
    """What somebody said; parts that the clean view leaves out are marked.

    Args:
        place: Who and when.
        parts: Text and whether it is struck out, in order; their concatenation is the line.
    """

    place: Place
    parts: tuple[tuple[str, bool], ...]


Block: TypeAlias = Heading | Fact | Point | Table | Line


def compose_report(
    title: str,
    start_time: datetime | None,
    transcript: Transcript,
    minutes: Minutes | None,
    *,
    language: str,
    clean: bool,
) -> Iterator[Block]:
    """Yield a meeting's document, block by block.

    Args:
        title: The meeting's; may be empty.
        start_time: When it began, where that is known.
        transcript: What was said.
        minutes: Minutes of this very version of the transcript, or none.
        language: Of the headings, "zh" or "en".
        clean: Whether words that the clean view leaves out are left out; else they are struck out.
    """
    words = _WORDS[language]
    names = {speaker.id: speaker.display_name or speaker.id for speaker in transcript.speakers}
    colon = "：" if language == "zh" else ": "
    utterances = {utterance.id: utterance for utterance in transcript.utterances}

    def places(spans: Sequence[Span]) -> tuple[Place, ...]:
        found = []
        for span in spans:
            utterance = utterances[span.utterance]
            start_ms = utterance.words[span.start_word].start_ms
            found.append(Place(utterance.id, start_ms, names[utterance.speaker]))
        return tuple(dict.fromkeys(found))

    def point(sentence: CitedSentence) -> Point:
        label = words[sentence.role] + colon if sentence.role is not Role.POINT else ""
        return Point(sentence.text, places(sentence.spans), label)

    yield Heading(1, title or words["untitled"])
    if start_time is not None:
        yield Fact(words["date"], f"{start_time:%Y-%m-%d %H:%M}")
    yield Fact(words["length"], clock(transcript.end_ms))
    yield Fact(words["people"], ("、" if language == "zh" else ", ").join(names.values()))
    if minutes is not None:
        yield Fact(words["type"], _TYPES[language][minutes.type])
        yield Fact(words["engine"], minutes.engine.model or words["extractive"])
        if minutes.overview:
            yield Heading(2, words["overview"])
            yield from map(point, minutes.overview)
        if minutes.decisions:
            yield Heading(2, words["decisions"])
            for decision in minutes.decisions:
                yield Point(decision.sentence.text, places(decision.sentence.spans))
        if minutes.actions:
            yield Heading(2, words["actions"])
            yield Table(
                (words["what"], words["who"], words["due"], words["where"]),
                tuple(_action_row(action, names, words) for action in minutes.actions),
                tuple(places(action.sentence.spans) for action in minutes.actions),
            )
        for section in minutes.sections:
            yield Heading(2, _section_title(section))
            yield from map(point, section.sentences)
    yield Heading(2, words["transcript"])
    for utterance in transcript.utterances:
        parts = _parts(utterance, clean=clean)
        if parts:
            place = Place(utterance.id, utterance.start_ms, names[utterance.speaker])
            yield Line(place, parts)


def _section_title(section: Section) -> str:
    times = ", ".join(f"{clock(part.start_ms)}-{clock(part.end_ms)}" for part in section.stretches)
    return section.title if section.speaker else f"{section.title} ({times})"


def _action_row(
    action: ActionItem, names: Mapping[str, str], words: Mapping[str, str]
) -> tuple[str, ...]:
    speaker = names.get(action.owner_speaker, "")
    owner = speaker or action.owner_name or words["nobody"]
    if speaker == action.owner_speaker and speaker and action.owner_name:
        owner = f"{action.owner_name} ({speaker})"  # the name is suggested only
    due = action.due_text or words["nobody"]
    if action.due_date is not None:
        due = f"{action.due_date:%Y-%m-%d}" + (f" ({action.due_text})" if action.due_text else "")
    return (action.sentence.text, owner, due)


def _parts(utterance: Utterance, *, clean: bool) -> tuple[tuple[str, bool], ...]:
    if clean:
        return ((utterance.clean_text, False),) if utterance.clean_words else ()
    runs = [
        (struck, [word.text for word in group])
        for struck, group in groupby(utterance.words, lambda word: word.disfluency is not None)
    ]
    parts: list[tuple[str, bool]] = []
    before: list[str] = []
    for struck, run in runs:
        whole = join([*before, *run])
        # The space between two runs belongs to the later one.
        parts.append((whole[len(join(before)) :], struck))
        before = [*before, *run]
    return tuple(parts)
