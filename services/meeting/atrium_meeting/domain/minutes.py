"""Minutes: what a reader wants to know of a meeting, each sentence with the words it rests on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from atrium_meeting.domain.transcript import Span
from atrium_shared.engines import Engine


class MinutesType(StrEnum):
    """What kind of meeting it was; the minutes' form follows it."""

    AGENDA = "agenda"
    """Items are gone through one after the other."""
    BRAINSTORM = "brainstorm"
    """Ideas are collected."""
    STANDUP = "standup"
    """Everybody tells what is done, what is next and what is in the way."""
    INTERVIEW = "interview"
    """One side asks, the other answers."""
    DECISION = "decision"
    """Options are weighed against each other until one is chosen."""


class Grouping(StrEnum):
    """What a section of the minutes is about."""

    CHAPTER = "chapter"
    """A stretch of time."""
    SPEAKER = "speaker"
    """What one person said."""
    TOPIC = "topic"
    """A subject, with all stretches in which it came up."""


class Role(StrEnum):
    """What a sentence is to the meeting; a reader sees it as a label before the sentence."""

    POINT = "point"
    """Worth knowing; shown without a label."""
    DONE = "done"
    NEXT = "next"
    BLOCKED = "blocked"
    QUESTION = "question"
    ANSWER = "answer"
    IDEA = "idea"
    OPTION = "option"
    ARGUMENT = "argument"
    DECISION = "decision"


@dataclass(frozen=True, slots=True)
class CitedSentence:
    """A sentence of the minutes.

    Args:
        id: Identifier within the minutes, such as "s12"; feedback names it.
        text: The sentence; words that the clean view leaves out are not in it.
        spans: What it rests on, at least one, in order of time.
        role: What it is to the meeting.
        speaker: Who said it, "S1"; empty where it joins several.
    """

    id: str
    text: str
    spans: tuple[Span, ...]
    role: Role = Role.POINT
    speaker: str = ""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time of the meeting.

    Args:
        start_ms: Where it begins, in milliseconds from the beginning of the recording.
        end_ms: Where it ends; after ``start_ms``.
    """

    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Chapter:
    """A part of the meeting; chapters follow each other and leave out nothing that was said.

    Args:
        title: A few words of what it is about.
        start_ms: Where it begins, in milliseconds from the beginning of the recording.
        end_ms: Where the next one begins, or the meeting ends; after ``start_ms``.
        spans: The words that the title rests on; empty where it is a line of the agenda alone.
    """

    title: str
    start_ms: int
    end_ms: int
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """Sentences that belong together: of one chapter, speaker or topic.

    Args:
        title: Title of the chapter or topic, or the speaker's name ("S1" where there is none).
        stretches: When, at least one, in order; a topic that comes up twice has two.
        sentences: At least one, in the order to read them in.
        speaker: Of a section by speaker: who, "S1".
    """

    title: str
    stretches: tuple[Stretch, ...]
    sentences: tuple[CitedSentence, ...]
    speaker: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided.

    Args:
        sentence: What, with every spot where it was said, a recap among them.
    """

    sentence: CitedSentence


@dataclass(frozen=True, slots=True)
class ActionItem:
    """What somebody is to do.

    Args:
        sentence: What, with every spot where it was said, a recap among them.
        owner_name: Who does it, as named in the meeting or the speaker's name; empty: not said.
        owner_speaker: The same as a speaker of the transcript, "S1"; empty where the owner is not
            one of them, or not said.
        due_text: Until when, in the words that were said; empty: not said.
        due_date: The day meant, seen from the day of the meeting; ``None`` where it is not known.
    """

    sentence: CitedSentence
    owner_name: str = ""
    owner_speaker: str = ""
    due_text: str = ""
    due_date: date | None = None


@dataclass(frozen=True, slots=True)
class Minutes:
    """Minutes of one version of a transcript.

    Args:
        type: What kind of meeting it was.
        language: Language of the text, "zh" or "en".
        grouping: What the sections are.
        overview: The meeting in a few sentences.
        sections: In order of time, or of the speakers' first words.
        decisions: In order of time.
        actions: In order of time.
        chapters: In order; whatever the grouping is.
        engine: What wrote it.
        transcript_version: The version of the transcript that the spans point into.
    """

    type: MinutesType
    language: str
    grouping: Grouping
    overview: tuple[CitedSentence, ...]
    sections: tuple[Section, ...]
    decisions: tuple[Decision, ...]
    actions: tuple[ActionItem, ...]
    chapters: tuple[Chapter, ...]
    engine: Engine
    transcript_version: int

    def sentences(self) -> Iterator[CitedSentence]:
        """Yield every sentence, wherever it stands."""
        yield from self.overview
        for section in self.sections:
            yield from section.sentences
        yield from (decision.sentence for decision in self.decisions)
        yield from (action.sentence for action in self.actions)


@dataclass(frozen=True, slots=True)
class CatchUp:
    """What somebody missed; nothing in it was said before or after.

    Args:
        language: Language of the text, "zh" or "en".
        missed: What it covers.
        sentences: What was said, in a few sentences.
        decisions: In order of time.
        actions: In order of time.
        engine: What wrote it.
        transcript_version: The version of the transcript that the spans point into.
    """

    language: str
    missed: Stretch
    sentences: tuple[CitedSentence, ...]
    decisions: tuple[Decision, ...]
    actions: tuple[ActionItem, ...]
    engine: Engine
    transcript_version: int
