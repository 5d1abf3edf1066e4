"""Answers a question that needs a calculation: the model writes a program, a sandbox runs it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from atrium_gateway.app.caller import Caller
from atrium_gateway.app.dispatch import Dispatch
from atrium_gateway.app.ports import Sandbox
from atrium_gateway.domain.calculation import (
    AGAIN,
    INSTRUCTIONS,
    SCHEMA,
    missing_text,
    needs_calculation,
    read_draft,
    result_text,
    show,
)
from atrium_gateway.domain.errors import CalculationFailed, CalculationWithSchema, SchemaUnsupported
from atrium_gateway.domain.generation import (
    Aid,
    Calculation,
    ChatMessage,
    FinishReason,
    Generated,
    Prompt,
    Role,
)
from atrium_gateway.domain.programs import (
    Given,
    Guessed,
    ProgramFailed,
    ProgramRefused,
    exact,
    given_by,
)
from atrium_shared.engines import NO_USAGE, Usage

_ROUNDS = 2
_MOST_TOKENS = 512
_NO_JSON = "the reply was not the JSON asked for"


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What became of one draft: a calculation, or why there is none."""

    calculation: Calculation | None = None
    why: str = ""
    guessed: tuple[str, ...] = ()


class Calculate:
    """The aid ``CALCULATE``.

    Args:
        dispatch: Asks the model for a program.
        sandbox: Runs it.
    """

    def __init__(self, dispatch: Dispatch, sandbox: Sandbox) -> None:
        self._dispatch = dispatch
        self._sandbox = sandbox

    def question(self, prompt: Prompt) -> str | None:
        """Return the question of a call that asks for the aid and needs it. Asks no model.

        Raises:
            CalculationWithSchema: The reply would have to follow a schema, too.
        """
        if Aid.CALCULATE not in prompt.aids:
            return None
        if prompt.response_schema is not None:
            raise CalculationWithSchema
        *context, asked = prompt.messages
        if asked.role is not Role.USER:
            return None
        known = [each.content for each in context] + [each.text for each in prompt.sources]
        return asked.content if needs_calculation(asked.content, known) else None

    async def answer(self, caller: Caller, question: str, prompt: Prompt) -> Generated:
        """Return the result, or the sentence that names what the question does not give.

        A program that cannot be used is told to the model once.

        Args:
            caller: Whose call.
            question: What is asked.
            prompt: Its last message holds the question, and what is read with it.

        Raises:
            CalculationFailed: The model wrote no program that could be run.
            CalculationQueueFull: Too many calculations run already.
            AtriumError: See :meth:`Dispatch.generate`.
        """
        sources = [source.text for source in prompt.sources]
        texts = [*sources, *(each.content for each in prompt.messages)]
        given = await asyncio.to_thread(given_by, texts)  # long texts take a while to read
        messages = list(_conversation(prompt))
        usage = NO_USAGE
        attempt = _Attempt()
        for _ in range(_ROUNDS):
            asked = Prompt(
                tuple(messages),
                max_tokens=_MOST_TOKENS,
                temperature=prompt.temperature,
                response_schema=SCHEMA,
                seed=prompt.seed,
            )
            try:
                generated = await self._dispatch.generate(caller, asked)
            except SchemaUnsupported:
                if attempt.why:
                    raise
                attempt = _Attempt(why=_NO_JSON)
                continue
            usage += generated.usage
            attempt = await self._try(generated.text, question, given)
            if attempt.calculation is not None:
                return _reply(generated, attempt.calculation, question, usage)
            messages.append(ChatMessage(Role.ASSISTANT, generated.text))
            messages.append(ChatMessage(Role.USER, AGAIN.format(why=attempt.why)))
        if attempt.guessed:
            named = Calculation(missing=attempt.guessed)
            return _reply(generated, named, question, usage)
        raise CalculationFailed(attempt.why)

    async def _try(self, reply: str, question: str, given: Given) -> _Attempt:
        draft = read_draft(reply)
        if draft is None:
            return _Attempt(why=_NO_JSON)
        if draft.missing:
            return _Attempt(Calculation(missing=draft.missing))
        try:
            shown = await self._sandbox.run(exact(draft.program, given))
        except Guessed as error:
            names = error.names
            return _Attempt(why=f"the question does not give {', '.join(names)}", guessed=names)
        except (ProgramRefused, ProgramFailed) as error:
            return _Attempt(why=str(error))
        return _Attempt(Calculation(draft.program, show(shown, question, draft.unit)))


def _conversation(prompt: Prompt) -> list[ChatMessage]:
    """Return the conversation as it is put to the model that writes the program."""
    said = [each.content for each in prompt.messages if each.role is Role.SYSTEM]
    system = ChatMessage(Role.SYSTEM, "\n\n".join([INSTRUCTIONS, *said]))
    *before, asked = [each for each in prompt.messages if each.role is not Role.SYSTEM]
    known = "".join(f"{source.text}\n\n" for source in prompt.sources)
    last = ChatMessage(Role.USER, f"{known}Question: {asked.content}")
    turns = [
        ChatMessage(each.role if each.role is Role.ASSISTANT else Role.USER, each.content)
        for each in before
        if each.content
    ]
    return [system, *turns, last]


def _reply(
    generated: Generated, calculation: Calculation, question: str, usage: Usage
) -> Generated:
    text = (
        missing_text(question, calculation.missing)
        if calculation.missing
        else result_text(question, calculation.result)
    )
    return replace(
        generated, text=text, reason=FinishReason.STOP, usage=usage, calculation=calculation
    )
