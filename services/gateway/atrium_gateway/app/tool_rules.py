"""Holds a model's calls of tools against what the request allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from atrium_gateway.app.ports import ReplySchema, SchemaCompiler
from atrium_gateway.domain.errors import SchemaUnsupported
from atrium_gateway.domain.generation import (
    Delta,
    FinishReason,
    Prompt,
    ToolCall,
    ToolCallDelta,
)
from atrium_gateway.domain.tool_errors import (
    ToolArgumentsInvalid,
    ToolCallRefused,
    ToolNotCalled,
    ToolSchemaInvalid,
    ToolUnknown,
)
from atrium_gateway.domain.tools import (
    CallAssembler,
    allowed_tools,
    check_tools,
    must_call,
    repair_after_calls,
    repair_without_calls,
    schema_of,
)

_MOST_SHOWN_NAME = 64
_MOST_ARGUMENTS = 1_000_000
# Compiling holds up everybody: a quarter of a second at most for a request of nothing but schemas.
_MOST_SCHEMA_CHARACTERS = 256 * 1024
_AGAIN = "Make all calls of this turn again."


class ToolRules:
    """Which calls a request allows. Made once a request, used by every attempt.

    Args:
        prompt: The request.
        compiler: Reads the tools' schemas.

    Raises:
        ToolRepeated, ToolSchemaInvalid, ToolChoiceInvalid, ToolMessageInvalid: See
            :func:`check_tools`.
    """

    def __init__(self, prompt: Prompt, compiler: SchemaCompiler) -> None:
        check_tools(prompt)
        self.allowed = allowed_tools(prompt)
        self.must_call = must_call(prompt)
        self.wanted = prompt.tool_choice.tool
        self.schemas: Mapping[str, ReplySchema] = _compile(prompt, compiler)

    def turn(self, model: str) -> ToolTurn:
        """Return what watches one reply of a model."""
        return ToolTurn(self, model)


class ToolTurn:
    """Watches the calls of one reply while it is written.

    Args:
        rules: What the request allows.
        model: Resource name of the model, for errors.
    """

    def __init__(self, rules: ToolRules, model: str) -> None:
        self._rules = rules
        self._model = model
        self._assembler = CallAssembler()
        self._text: list[str] = []
        self._held: list[Delta] = []

    def take(self, event: Delta | ToolCallDelta) -> Sequence[Delta | ToolCallDelta]:
        """Take a part of the reply in, and return what may be shown now.

        Where a call is required, text is held until the first call: a reply without one can then
        still be asked for again.

        Raises:
            ToolUnknown: A call of a tool that is not allowed begins.
        """
        if isinstance(event, Delta):
            self._text.append(event.text)
            if self._rules.must_call and not self._assembler:
                self._held.append(event)
                return ()
            return (event,)
        begins = event.index == len(self._assembler)
        self._assembler.take(event)
        if begins and event.name not in self._rules.allowed:
            raise self._unknown(event)
        if not (begins or event.arguments):
            return ()
        shown: list[Delta | ToolCallDelta] = [*self._held, event]
        self._held.clear()
        return shown

    def rest(self) -> list[ToolCallDelta]:
        """Return what is still to be shown of calls that were made without a word of arguments."""
        return [ToolCallDelta(index, "{}") for index in self._assembler.blanks()]

    def take_whole(self, text: str, calls: Sequence[ToolCall]) -> None:
        """Take a reply in one piece in.

        Raises:
            ToolUnknown: A tool is called that is not allowed.
        """
        if text:
            self.take(Delta(text))
        for index, call in enumerate(calls):
            self.take(ToolCallDelta(index, call.arguments, call.id, call.name))

    def finish(self, reason: FinishReason) -> tuple[tuple[ToolCall, ...], FinishReason]:
        """Return the calls of the whole reply, and why it ended.

        Raises:
            ToolArgumentsInvalid: Arguments do not fit their tool's schema.
            ToolNotCalled: A call was required and none was made.
        """
        calls = self._assembler.calls()
        if not calls:
            if self._rules.must_call:
                raise self._not_called(reason)
            return (), FinishReason.STOP if reason is FinishReason.TOOL_CALLS else reason
        cut = reason in (FinishReason.LENGTH, FinishReason.FILTERED)
        faults: dict[str, tuple[ToolCall, str, str]] = {}
        for call in calls:
            fault = self._fault(call)
            if fault is not None:
                faults[call.id] = (call, *fault)
        if faults:
            raise self._invalid(calls, faults, cut=cut)
        # What was cut is the text after whole calls, or nothing.
        return calls, reason if cut else FinishReason.TOOL_CALLS

    def _fault(self, call: ToolCall) -> tuple[str, str] | None:
        """Return path and reason of what is wrong with a call's arguments."""
        if len(call.arguments) > _MOST_ARGUMENTS:
            return "", f"they have more than {_MOST_ARGUMENTS:,} characters"
        fault = self._rules.schemas[call.name].fault(call.arguments)
        return None if fault is None else (fault.path, fault.why)

    def _invalid(
        self,
        calls: tuple[ToolCall, ...],
        faults: Mapping[str, tuple[ToolCall, str, str]],
        *,
        cut: bool,
    ) -> ToolCallRefused:
        call, path, why = next(iter(faults.values()))
        if cut:
            why = f"{why}; the reply was cut, so raise max_tokens"
        return ToolArgumentsInvalid(
            self._model,
            call.name,
            why,
            path=path,
            # One that was cut would be cut again.
            repair=()
            if cut
            else repair_after_calls(
                "".join(self._text),
                calls,
                {
                    id_: f"the arguments do not fit the schema of {each.name}: {wrong}. {_AGAIN}"
                    for id_, (each, _, wrong) in faults.items()
                },
            ),
        )

    def _unknown(self, event: ToolCallDelta) -> ToolCallRefused:
        name, allowed = event.name[:_MOST_SHOWN_NAME], self._rules.allowed
        calls = self._assembler.calls()
        wrong = f"there is no tool {name!r} to call. "
        wrong += f"The tools are {', '.join(allowed)}. {_AGAIN}" if allowed else "Answer in words."
        repair = repair_after_calls("".join(self._text), calls, {event.id: wrong})
        if self._rules.wanted:
            return ToolNotCalled(self._model, self._rules.wanted, repair=repair)
        return ToolUnknown(self._model, name, allowed, repair=repair)

    def _not_called(self, reason: FinishReason) -> ToolCallRefused:
        repair = repair_without_calls("".join(self._text), self._rules.allowed)
        if reason is FinishReason.FILTERED:
            repair = ()
        return ToolNotCalled(self._model, self._rules.wanted, repair=repair)


def _compile(prompt: Prompt, compiler: SchemaCompiler) -> dict[str, ReplySchema]:
    schemas: dict[str, ReplySchema] = {}
    characters = 0
    for index, tool in enumerate(prompt.tools):
        try:
            schema = compiler.compile(schema_of(tool))
        except SchemaUnsupported as error:
            raise ToolSchemaInvalid(index, tool.name, error.why) from error
        characters += schema.characters
        if characters > _MOST_SCHEMA_CHARACTERS:
            why = f"with those before it has more than {_MOST_SCHEMA_CHARACTERS:,} characters"
            raise ToolSchemaInvalid(index, tool.name, why)
        schemas[tool.name] = schema
    return schemas
