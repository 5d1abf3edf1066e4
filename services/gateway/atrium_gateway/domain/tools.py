"""What a conversation with tools must look like, and how parts of calls become calls."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from atrium_gateway.domain.generation import (
    ChatMessage,
    Prompt,
    Role,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolMode,
)
from atrium_gateway.domain.tool_errors import (
    ToolChoiceInvalid,
    ToolMessageInvalid,
    ToolRepeated,
    ToolSchemaInvalid,
)

TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What a tool may be called."""

_NO_ARGUMENTS: Mapping[str, Any] = {
    "type": "object",
    "properties": {},
    "additionalProperties": False,
}


def check_tools(prompt: Prompt) -> None:
    """Refuse tools, a choice or a conversation that cannot be meant.

    Raises:
        ToolRepeated: Two tools have one name.
        ToolSchemaInvalid: A tool's parameters are no schema of an object.
        ToolChoiceInvalid: The choice needs tools that are not there.
        ToolMessageInvalid: A result without its call, a call without its result.
    """
    names: set[str] = set()
    for index, tool in enumerate(prompt.tools):
        if tool.name in names:
            raise ToolRepeated(index, tool.name)
        names.add(tool.name)
        _check_object(index, tool)
    choice = prompt.tool_choice
    if choice.tool and choice.tool not in names:
        raise ToolChoiceInvalid(
            f"`tool_choice` names tool {choice.tool!r}, which is not among `tools`.",
            field="tool_choice.tool",
            tool=choice.tool,
        )
    if choice.mode is ToolMode.REQUIRED and not names:
        raise ToolChoiceInvalid("`tool_choice` requires a call, and there are no `tools`.")
    _check_conversation(prompt.messages)


def schema_of(tool: Tool) -> Mapping[str, Any]:
    """Return the JSON schema of a tool's arguments, always one of an object."""
    if tool.parameters is None:
        return _NO_ARGUMENTS
    if tool.parameters.get("type") == "object" and "properties" in tool.parameters:
        return tool.parameters
    # Servers expect both keys, and arguments are an object in any case.
    return {"type": "object", "properties": {}, **tool.parameters}


def allowed_tools(prompt: Prompt) -> tuple[str, ...]:
    """Return the names of the tools that the model may call."""
    choice = prompt.tool_choice
    if choice.tool:
        return (choice.tool,)
    if choice.mode is ToolMode.NONE:
        return ()
    return tuple(tool.name for tool in prompt.tools)


def must_call(prompt: Prompt) -> bool:
    """Return whether a reply without a call is wrong."""
    return bool(prompt.tool_choice.tool) or prompt.tool_choice.mode is ToolMode.REQUIRED


class CallAssembler:
    """Puts the parts of a reply's calls together. Calls come one after the other, from 0."""

    def __init__(self) -> None:
        self._heads: list[tuple[str, str]] = []
        self._arguments: list[list[str]] = []

    def __len__(self) -> int:
        return len(self._heads)

    def take(self, delta: ToolCallDelta) -> None:
        """Add a part; the first of a call carries its id and name.

        Raises:
            IndexError: It belongs to no call of this reply.
        """
        if delta.index == len(self._heads):
            self._heads.append((delta.id, delta.name))
            self._arguments.append([])
        self._arguments[delta.index].append(delta.arguments)

    def blanks(self) -> list[int]:
        """Return which calls have no word of arguments."""
        return [
            index for index, parts in enumerate(self._arguments) if not any(map(str.strip, parts))
        ]

    def calls(self) -> tuple[ToolCall, ...]:
        """Return the calls so far. One without a word of arguments has the empty object."""
        return tuple(
            ToolCall(id_, name, "".join(parts) if any(map(str.strip, parts)) else "{}")
            for (id_, name), parts in zip(self._heads, self._arguments, strict=True)
        )


def repair_after_calls(
    text: str, calls: Sequence[ToolCall], faults: Mapping[str, str]
) -> tuple[ChatMessage, ...]:
    """Return the messages that ask a model to make its calls again.

    Each call gets a result, as the templates of models expect it: what is wrong with it, or that
    it was not run. Arguments that are no JSON object are left out, for the same reason.

    Args:
        text: What the model said beside its calls.
        calls: Its calls.
        faults: What is wrong and what to do, by the id of the call.
    """
    asked = tuple(
        ToolCall(
            call.id,
            call.name if TOOL_NAME.fullmatch(call.name) else "unknown",
            call.arguments if _is_object(call.arguments) else "{}",
        )
        for call in calls
    )
    results = (
        ChatMessage(
            Role.TOOL,
            f"Error: {faults[call.id]}"
            if call.id in faults
            else "Not run, because another call of this turn was wrong.",
            tool_call_id=call.id,
        )
        for call in asked
    )
    return (ChatMessage(Role.ASSISTANT, text, asked), *results)


def repair_without_calls(text: str, tools: Sequence[str]) -> tuple[ChatMessage, ...]:
    """Return the messages that ask a model to call one of ``tools`` after all."""
    which = f"the tool {tools[0]}" if len(tools) == 1 else f"one of the tools {', '.join(tools)}"
    return (
        ChatMessage(Role.ASSISTANT, text or "..."),
        ChatMessage(Role.USER, f"You have to call {which}. Answer with a tool call and no text."),
    )


def _check_object(index: int, tool: Tool) -> None:
    if tool.parameters is None:
        return
    kind = tool.parameters.get("type", "object")
    if kind != "object":
        raise ToolSchemaInvalid(index, tool.name, 'its "type" is not "object"')
    if not isinstance(tool.parameters.get("properties", {}), Mapping):
        raise ToolSchemaInvalid(index, tool.name, 'its "properties" are no object')


def _check_conversation(messages: Sequence[ChatMessage]) -> None:
    open_calls: list[str] = []  # calls that still wait for their result
    for index, message in enumerate(messages):
        if not (open_calls or message.tool_calls or message.tool_call_id) and (
            message.role is not Role.TOOL
        ):
            continue  # nearly always
        place = f"messages[{index}]"
        if message.role is Role.TOOL:
            if not message.tool_call_id:
                raise ToolMessageInvalid(
                    f"{place}.tool_call_id", "A TOOL message does not say which call it answers."
                )
            if message.tool_call_id not in open_calls:
                raise ToolMessageInvalid(
                    f"{place}.tool_call_id",
                    f"There is no call {message.tool_call_id!r} before this message that has no "
                    "result yet.",
                    call=message.tool_call_id,
                )
            open_calls.remove(message.tool_call_id)
        elif open_calls:
            raise ToolMessageInvalid(
                place, f"Call {open_calls[0]!r} has no result.", call=open_calls[0]
            )
        elif message.tool_call_id:
            raise ToolMessageInvalid(f"{place}.tool_call_id", "Only a TOOL message answers a call.")
        if message.tool_calls:
            open_calls = _calls(place, message)
    if open_calls:
        raise ToolMessageInvalid(
            "messages", f"Call {open_calls[0]!r} has no result.", call=open_calls[0]
        )


def _calls(place: str, message: ChatMessage) -> list[str]:
    if message.role is not Role.ASSISTANT:
        raise ToolMessageInvalid(f"{place}.tool_calls", "Only the assistant calls tools.")
    ids: list[str] = []
    for index, call in enumerate(message.tool_calls):
        field = f"{place}.tool_calls[{index}]"
        if call.id in ids:
            raise ToolMessageInvalid(
                f"{field}.id", f"Two calls have the id {call.id!r}.", call=call.id
            )
        if not _is_object(call.arguments):
            raise ToolMessageInvalid(
                f"{field}.arguments",
                f"The arguments of call {call.id!r} are no JSON object.",
                call=call.id,
            )
        ids.append(call.id)
    return ids


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
