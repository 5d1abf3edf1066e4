"""Scripted meetings with planted decisions and actions, frozen; README.md tells what they hold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from atrium_meeting.domain.transcript import Speaker, Transcript, Utterance, Word, split_words

FOLDER: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody says."""

    id: str
    speaker: str
    text: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Topic:
    """A stretch about one thing: utterances `start` to `end`, the end left out."""

    title: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What the meeting decides, with the utterances that support it."""

    id: str
    text: str
    utterances: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Action:
    """What somebody will do; an empty `due_date`: none is said, or no day."""

    id: str
    text: str
    owner: str
    due_text: str
    due_date: str
    utterances: tuple[str, ...]
    topic: str


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence for a scripted generator; `kind` says how an invented one is wrong."""

    text: str
    utterances: tuple[str, ...]
    faithful: bool
    kind: str


@dataclass(frozen=True, slots=True)
class Window:
    """A time in which somebody was away."""

    left_at_ms: int
    joined_at_ms: int
    missed_decisions: tuple[str, ...]
    other_decisions: tuple[str, ...]
    missed_actions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Meeting:
    """A meeting and what is planted in it."""

    id: str
    language: str
    type: str
    split: str
    date: str
    title: str
    agenda: tuple[str, ...]
    speakers: tuple[Speaker, ...]
    utterances: tuple[Said, ...]
    topics: tuple[Topic, ...]
    decisions: tuple[Decision, ...]
    actions: tuple[Action, ...]
    sentences: tuple[Sentence, ...] = ()
    windows: tuple[Window, ...] = ()
    hotwords: tuple[str, ...] = field(default=())


def load(split: str | None = None, folder: Path = FOLDER) -> list[Meeting]:
    """Return the meetings of a split ("dev", "test"); None: all.

    Raises:
        ValueError: The file is not the frozen one.
    """
    text = (folder / "meetings.jsonl").read_bytes()
    frozen = (folder / "meetings.sha256").read_text(encoding="utf-8").split()[0]
    if hashlib.sha256(text).hexdigest() != frozen:
        raise ValueError("meetings.jsonl is not the frozen set; see README.md")
    meetings = read(text.decode())
    return [meeting for meeting in meetings if split in (None, meeting.split)]


def read(text: str) -> list[Meeting]:
    """Return the meetings of a set, one JSON object a line."""
    return [_meeting(json.loads(line)) for line in text.splitlines()]


def _meeting(raw: dict[str, Any]) -> Meeting:
    def each(name: str, kind: type[Any]) -> tuple[Any, ...]:
        return tuple(
            kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in item.items()})
            for item in raw[name]
        )

    return Meeting(
        **{name: raw[name] for name in ("id", "language", "type", "split", "date", "title")},
        agenda=tuple(raw["agenda"]),
        speakers=tuple(Speaker(item["id"], item["name"]) for item in raw["speakers"]),
        utterances=each("utterances", Said),
        topics=each("topics", Topic),
        decisions=each("decisions", Decision),
        actions=each("actions", Action),
        sentences=each("sentences", Sentence),
        windows=each("windows", Window),
        hotwords=tuple(raw["hotwords"]),
    )


def transcript(meeting: Meeting) -> Transcript:
    """Return a meeting as the service knows it; words share the time of their utterance."""
    return Transcript(
        1,
        meeting.speakers,
        tuple(
            Utterance(said.id, said.speaker, meeting.language, _words(said))
            for said in meeting.utterances
        ),
    )


def _words(said: Said) -> tuple[Word, ...]:
    words = split_words(said.text)
    length = (said.end_ms - said.start_ms) / len(words)
    return tuple(
        Word(
            word,
            said.start_ms + round(i * length),
            said.start_ms + round((i + 1) * length),
            confidence=1.0,
        )
        for i, word in enumerate(words)
    )


def chain(meetings: Sequence[Meeting], hours: float = 3.0) -> Meeting:
    """Return one long meeting: the given ones, of one language, one after another and again.

    Ids are numbered anew; speakers are the same where the name is. It ends with the meeting during
    which `hours` have passed, has the date of the first, and keeps no sentences and windows.
    """
    names: dict[str, str] = {}
    utterances: list[Said] = []
    topics: list[Topic] = []
    decisions: list[Decision] = []
    actions: list[Action] = []
    offset = number = 0
    while offset < hours * 3_600_000:
        meeting = meetings[number % len(meetings)]
        number += 1
        first = len(utterances)
        ids = {said.id: f"u{first + i}" for i, said in enumerate(meeting.utterances, 1)}
        own = {speaker.id: speaker.display_name for speaker in meeting.speakers}
        for said in meeting.utterances:
            speaker = names.setdefault(own[said.speaker], f"S{len(names) + 1}")
            utterances.append(
                Said(
                    ids[said.id],
                    speaker,
                    said.text,
                    offset + said.start_ms,
                    offset + said.end_ms,
                )
            )
        topics += [Topic(t.title, first + t.start, first + t.end) for t in meeting.topics]
        for decision in meeting.decisions:
            cited = tuple(ids[u] for u in decision.utterances)
            decisions.append(replace(decision, id=f"d{len(decisions) + 1}", utterances=cited))
        for action in meeting.actions:
            cited = tuple(ids[u] for u in action.utterances)
            actions.append(replace(action, id=f"a{len(actions) + 1}", utterances=cited))
        offset = utterances[-1].end_ms + 600
    return replace(
        meetings[0],
        id=f"{meetings[0].language}-long",
        speakers=tuple(Speaker(identifier, name) for name, identifier in names.items()),
        utterances=tuple(utterances),
        topics=tuple(topics),
        decisions=tuple(decisions),
        actions=tuple(actions),
        sentences=(),
        windows=(),
        hotwords=tuple(dict.fromkeys(word for m in meetings for word in m.hotwords)),
    )
