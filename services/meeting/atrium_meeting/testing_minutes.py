"""What tests of minutes need: a meeting in memory, stores in memory, a generator with a script."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

from atrium_meeting.app.ports import ReadableMeeting
from atrium_meeting.domain.audio import Region
from atrium_meeting.domain.errors import MeetingNotFound, MinutesNotFound
from atrium_meeting.domain.minutes_records import Feedback, MinutesRecord
from atrium_meeting.domain.transcript import Speaker, Transcript, Utterance
from atrium_meeting.testing import language_of, timed_words
from atrium_shared.engines import Engine, EngineKind, Usage
from atrium_shared.models import ChatMessage, Generated, Role
from atrium_shared.principal import Principal

SCRIPTED: Final = Engine(EngineKind.GENERATIVE, "scripted", "scripted")
_SHOWN: Final = re.compile(r"^\[(\d+)\] ([^:]*): (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ShownLine:
    """A line that a prompt shows."""

    number: int
    speaker: str
    text: str


Reply = Callable[[str, Sequence[ShownLine], Sequence[ChatMessage]], Iterable[tuple[str, list[int]]]]
"""Gets the task, the lines shown and the conversation; returns sentences with line numbers."""


class ScriptedWriter:
    """A generator that says what a function tells it to.

    Attributes:
        asked: Every conversation, with its task.
        failure: Raised instead, while it is set.
        seconds: How long each reply takes.
    """

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self.asked: list[tuple[str, tuple[ChatMessage, ...]]] = []
        self.failure: Exception | None = None

    async def generate(
        self,
        principal: Principal,
        task: str,
        messages: Sequence[ChatMessage],
        max_tokens: int,
        *,
        temperature: float = 0.0,
        stop: Sequence[str] = (),
        response_schema: Mapping[str, Any] | None = None,
    ) -> Generated:
        """Return what the script says, as JSON."""
        self.asked.append((task, tuple(messages)))
        if self.failure is not None:
            raise self.failure
        shown = shown_lines(messages)
        said = [
            {"text": text, "lines": lines} for text, lines in self._reply(task, shown, messages)
        ]
        text = json.dumps({"sentences": said}, ensure_ascii=False)
        return Generated(text, SCRIPTED, Usage(prompt_tokens=100, completion_tokens=20))

    async def stream(
        self,
        principal: Principal,
        task: str,
        messages: Sequence[ChatMessage],
        max_tokens: int,
        *,
        temperature: float = 0.0,
        stop: Sequence[str] = (),
        response_schema: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[str | Generated]:
        """Yield the same a few characters at a time."""
        whole = await self.generate(
            principal,
            task,
            messages,
            max_tokens,
            temperature=temperature,
            stop=stop,
            response_schema=response_schema,
        )
        for start in range(0, len(whole.text), 7):
            yield whole.text[start : start + 7]
        yield whole


def shown_lines(messages: Sequence[ChatMessage]) -> list[ShownLine]:
    """Return the lines that a conversation shows."""
    user = next(one.content for one in messages if one.role is Role.USER)
    return [ShownLine(int(n), who, text) for n, who, text in _SHOWN.findall(user)]


def talk(*said: tuple[str, str], day: date = date(2026, 3, 9), title: str = "") -> ReadableMeeting:
    """Return a meeting of what people say one after another.

    Args:
        *said: Name and words.
        day: When.
        title: What about.
    """
    names = list(dict.fromkeys(name for name, _ in said))
    utterances, at = [], 0
    for number, (name, words) in enumerate(said, 1):
        length = 300 * max(1, len(words.split()) if words.isascii() else len(words))
        utterances.append(
            Utterance(
                f"u{number}",
                f"S{names.index(name) + 1}",
                language_of(words),
                timed_words(words, Region(at, at + length)),
            )
        )
        at += length + 500
    speakers = tuple(Speaker(f"S{i}", name) for i, name in enumerate(names, 1))
    transcript = Transcript(1, speakers, tuple(utterances))
    return ReadableMeeting("m1", title, (), day, transcript, transcript.end_ms)


class OneMeeting:
    """Implements ``ports.MeetingReader`` for one meeting, of which some may know."""

    def __init__(self, meeting: ReadableMeeting, readers: Sequence[str] = ("users/lin",)) -> None:
        self.meeting = meeting
        self.readers = readers

    async def read(self, principal: Principal, meeting: str) -> ReadableMeeting:
        """Return the meeting."""
        if meeting != f"meetings/{self.meeting.id}" or principal.subject not in self.readers:
            raise MeetingNotFound(meeting)
        return self.meeting


class MemoryMinutes:
    """Implements ``ports.MinutesStore``."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str, str], MinutesRecord] = {}

    async def save(self, record: MinutesRecord) -> None:
        """Store minutes."""
        self.records.setdefault((record.tenant, record.meeting, record.id), record)

    async def get(self, tenant: str, meeting: str, minutes: str) -> MinutesRecord:
        """Return minutes."""
        record = self.records.get((tenant, meeting, minutes))
        if record is None:
            raise MinutesNotFound(f"meetings/{meeting}/minutes/{minutes}")
        return record

    async def list(
        self, tenant: str, meeting: str, *, before: str, limit: int
    ) -> Sequence[MinutesRecord]:
        """Return minutes of a meeting, newest first."""
        found = [one for key, one in self.records.items() if key[:2] == (tenant, meeting)][::-1]
        ids = [one.id for one in found]
        first = ids.index(before) + 1 if before else 0
        return found[first : first + limit]


class MemoryFeedback:
    """Implements ``ports.FeedbackStore``."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str, str, str, str], Feedback] = {}

    async def save(self, feedback: Feedback) -> Feedback:
        """Store feedback in place of the same user's on the same sentence."""
        key = (
            feedback.tenant,
            feedback.meeting,
            feedback.minutes,
            feedback.sentence,
            feedback.subject,
        )
        before = self.kept.get(key)
        self.kept[key] = replace(feedback, id=before.id) if before else feedback
        return self.kept[key]
