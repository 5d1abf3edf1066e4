"""Let a model write sentences about lines of a meeting, and keep what the lines carry."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from atrium_meeting.domain.faithfulness.checking import Fault
from atrium_meeting.domain.writing.lines import Line
from atrium_meeting.domain.writing.meeting_text import MeetingText
from atrium_meeting.domain.writing.prompts import (
    Proposed,
    Request,
    ask_again,
    read_reply,
    schema,
)
from atrium_shared.engines import Engine, EngineKind, Usage
from atrium_shared.errors import Unavailable
from atrium_shared.models import ChatMessage, Role, WholeTextGenerator
from atrium_shared.principal import Principal

MINUTES_TASK: Final = "meeting.minutes"
CATCH_UP_TASK: Final = "meeting.catchup"
_MOST_READ: Final = 40
"""Sentences of a reply that are looked at, from a model that writes more than it was asked for."""
ASK_TASK: Final = "meeting.ask"


class TooSlow(Unavailable):
    """A model did not write in the time that somebody waits."""

    reason = "GENERATOR_TOO_SLOW"

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"The model did not finish within {seconds:g} s. Ask for the words as they were said, "
            "or try again.",
            seconds=seconds,
        )


@dataclass(frozen=True, slots=True)
class Kept:
    """A sentence that its lines carry.

    Args:
        text: The sentence.
        lines: Numbers of the lines that carry it, in order.
    """

    text: str
    lines: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """What came of one request; it survives JSON.

    Args:
        sentences: In the order of the lines that carry them.
        dropped: How many sentences were not carried, after one chance to repair them.
        usage: Tokens spent.
        engine: What wrote; ``None``: nothing did.
        failure: Why nothing did, in plain words.
    """

    sentences: tuple[Kept, ...] = ()
    dropped: int = 0
    usage: Usage = field(default_factory=Usage)
    engine: Engine | None = None
    failure: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Written:
        """Return it from JSON."""
        engine = data["engine"]
        if engine is not None:
            engine = Engine(**{**engine, "kind": EngineKind(engine["kind"])})
        return cls(
            tuple(Kept(one["text"], tuple(one["lines"])) for one in data["sentences"]),
            data["dropped"],
            Usage(**data["usage"]),
            engine,
            data["failure"],
        )


class WriteSentences:
    """Asks a model, checks its sentences, asks once more for those that fail.

    Args:
        generator: Writes.
    """

    def __init__(self, generator: WholeTextGenerator) -> None:
        self._generator = generator

    async def __call__(
        self, principal: Principal, task: str, text: MeetingText, request: Request, language: str
    ) -> Written:
        """Return the sentences that their lines carry.

        Args:
            principal: On whose account.
            task: What for, such as "meeting.minutes".
            text: The meeting.
            request: What is asked.
            language: "zh" or "en".

        Raises:
            Unavailable: Nothing writes, or it failed.
        """
        messages = [
            ChatMessage(Role.SYSTEM, request.system),
            ChatMessage(Role.USER, request.user),
        ]
        form = schema(request.most)
        reply = await self._generator.generate(
            principal, task, messages, request.max_tokens, response_schema=form
        )
        kept: list[Kept] = []
        wrong = await self._sort(text, read_reply(reply.text, request)[:_MOST_READ], kept)
        usage = reply.usage
        dropped = len(wrong)
        if wrong:
            messages += [
                ChatMessage(Role.ASSISTANT, reply.text),
                ChatMessage(Role.USER, ask_again(wrong, language)),
            ]
            before = len(kept)
            again = await self._generator.generate(
                principal, task, messages, request.max_tokens, response_schema=schema(len(wrong))
            )
            await self._sort(text, read_reply(again.text, request)[: len(wrong)], kept)
            usage += again.usage
            dropped -= len(kept) - before
        kept.sort(key=lambda one: one.lines)
        return Written(tuple(kept), dropped, usage, reply.engine)

    async def _sort(
        self, text: MeetingText, proposed: Sequence[Proposed], kept: list[Kept]
    ) -> list[tuple[Proposed, Fault, str]]:
        """Keep what is carried and return the rest."""
        wrong: list[tuple[Proposed, Fault, str]] = []
        for one in proposed:
            if any(one.text == other.text for other in kept):
                continue
            verdict = await asyncio.to_thread(text.check, one.text, one.lines)
            if verdict.fault is None:
                kept.append(Kept(one.text, verdict.support))
            else:
                wrong.append((one, verdict.fault, verdict.detail))
        return wrong


def carried(text: MeetingText, kept: Kept) -> list[Line]:
    """Return the lines that carry a sentence."""
    return text.numbered(kept.lines)
