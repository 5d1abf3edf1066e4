"""Puts texts into another language."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from atrium_gateway.app.audit_calls import AuditCalls
from atrium_gateway.app.caller import Caller
from atrium_gateway.app.dispatch import Dispatch
from atrium_gateway.domain.generation import ChatMessage, FinishReason, Generated, Prompt, Role
from atrium_gateway.domain.translation import (
    Job,
    Term,
    Translated,
    Translation,
    again,
    clean,
    instructions,
    most_tokens,
    not_kept,
    pieces,
    same_language,
    says_something,
    wrong,
)
from atrium_grounding.scripts import Script, in_script, script_of
from atrium_shared.engines import NO_USAGE, Engine, EngineKind, Usage
from atrium_shared.errors import Invalid

_AT_ONCE = 4
_RULES = Engine(EngineKind.RULES, "opencc")


@dataclass(slots=True)
class _Made:
    """What models made of one call's texts."""

    usage: Usage = NO_USAGE
    engine: Engine | None = None
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    def add(self, generated: Generated) -> None:
        self.usage += generated.usage
        if self.engine is None or generated.engine.degraded:
            self.engine = generated.engine


class _Failed(Exception):
    """A piece has no translation; the message tells why."""


class TranslateTexts:
    """Use case of ``Translate``.

    Args:
        dispatch: Runs calls on a model.
        audit: Records them.
    """

    def __init__(self, dispatch: Dispatch, audit: AuditCalls) -> None:
        self._dispatch = dispatch
        self._audit = audit

    async def __call__(self, caller: Caller, job: Job) -> Translated:
        """Return the texts in the language wanted, in order.

        A text that is in that language already stays as it is, and one in the other Chinese script
        is converted; no model is asked then. A text of which the model makes nothing usable is
        told in its own ``failure``.

        Raises:
            TaskHasNoModel: No generator can be used.
            AtriumError: See :meth:`Dispatch.generate`.
        """
        async with self._audit.call(caller, "gateway.Translate") as call:
            made = _Made()
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [
                        group.create_task(self._text(caller, text, job, made)) for text in job.texts
                    ]
            except ExceptionGroup as failed:
                raise failed.exceptions[0] from failed  # the others were cancelled for it
            engine = made.engine or _RULES
            call.answered(engine, made.usage)
            return Translated(tuple(task.result() for task in tasks), engine, made.usage)

    async def _text(self, caller: Caller, text: str, job: Job, made: _Made) -> Translation:
        source = job.source or script_of(text)
        if same_language(source, job.target) or not says_something(text):
            return Translation(in_script(text, job.target), source)
        parts: list[str] = []
        missing: list[str] = []
        try:
            for piece in pieces(text):
                if not says_something(piece):
                    parts.append(piece)
                    continue
                part, lacking = await self._piece(caller, piece, source, job, made)
                parts.append(part)
                missing += lacking
        except _Failed as failed:
            return Translation("", source, failure=str(failed))
        return Translation("".join(parts), source, tuple(dict.fromkeys(missing)))

    async def _piece(
        self, caller: Caller, piece: str, source: Script, job: Job, made: _Made
    ) -> tuple[str, tuple[str, ...]]:
        """Return a piece's translation and what it lacks; the model may mend it once."""
        messages = [
            ChatMessage(Role.SYSTEM, instructions(piece, source, job.target, job.terms)),
            ChatMessage(Role.USER, piece),
        ]
        first = await self._ask(caller, messages, piece, job, made)
        best = _Checked.of(piece, first, job.target, job.terms)
        if best.problems:
            messages.append(ChatMessage(Role.ASSISTANT, first))
            messages.append(ChatMessage(Role.USER, again(best.problems) + f"\n\n{piece}"))
            second = await self._ask(caller, messages, piece, job, made)
            best = min(
                best, _Checked.of(piece, second, job.target, job.terms), key=_Checked.badness
            )
        if best.failure:
            raise _Failed(best.failure)
        return best.text, best.missing

    async def _ask(
        self, caller: Caller, messages: list[ChatMessage], piece: str, job: Job, made: _Made
    ) -> str:
        prompt = Prompt(tuple(messages), max_tokens=most_tokens(piece))
        try:
            async with made.turns:
                generated = await self._dispatch.generate(caller, prompt)
        except Invalid as error:  # of this text alone: the others may fit
            raise _Failed(error.message) from error
        made.add(generated)
        if generated.reason is FinishReason.LENGTH:
            raise _Failed("the model's translation was longer than expected and was cut")
        text = clean(generated.text)
        return text if job.target is Script.EN else in_script(text, job.target)


@dataclass(frozen=True, slots=True)
class _Checked:
    """A translation with what is wrong with it."""

    text: str
    failure: str
    missing: tuple[str, ...]

    @classmethod
    def of(cls, piece: str, text: str, target: Script, terms: tuple[Term, ...]) -> _Checked:
        failure = wrong(piece, text, target)
        return cls(text, failure, () if failure else not_kept(piece, text, terms))

    @property
    def problems(self) -> list[str]:
        if self.failure:
            return [self.failure]
        return [f"it lacks {', '.join(self.missing)}"] if self.missing else []

    def badness(self) -> tuple[bool, int]:
        return bool(self.failure), len(self.missing)
