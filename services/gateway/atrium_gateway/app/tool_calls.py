"""Tool calls that come in parts: put together, and held to the tools' schemas."""

from __future__ import annotations

import json

from atrium_gateway.app.ports import SchemaCompiler
from atrium_gateway.domain.errors import ToolArgumentsInvalid
from atrium_gateway.domain.generation import Prompt, ToolCall, ToolCallDelta


class ToolCallParts:
    """The tool calls of one reply, part after part."""

    def __init__(self) -> None:
        self._calls: dict[int, tuple[str, str, list[str]]] = {}

    def take(self, part: ToolCallDelta) -> None:
        """Add a part; id and name count with the first part of a call."""
        call = self._calls.get(part.index)
        if call is None:
            self._calls[part.index] = (part.id, part.name, [part.arguments])
        else:
            call[2].append(part.arguments)

    def whole(self) -> tuple[ToolCall, ...]:
        """Return the calls, in order."""
        return tuple(
            ToolCall(id_, name, "".join(parts))
            for _, (id_, name, parts) in sorted(self._calls.items())
        )


def check_tool_calls(
    model: str, prompt: Prompt, calls: tuple[ToolCall, ...], schemas: SchemaCompiler
) -> None:
    """Hold the tool calls of a reply to what the request offers.

    Raises:
        ToolArgumentsInvalid: A call names another tool, or its arguments do not fit the schema.
    """
    if not calls:
        return
    tools = {tool.name: tool for tool in prompt.tools}
    for call in calls:
        tool = tools.get(call.name)
        if tool is None:
            raise ToolArgumentsInvalid(model, call.name, "the request offers no such tool")
        try:
            arguments = json.loads(call.arguments)
        except (ValueError, RecursionError) as error:
            raise ToolArgumentsInvalid(model, call.name, "they are no JSON") from error
        if not isinstance(arguments, dict):
            raise ToolArgumentsInvalid(model, call.name, "they are no JSON object")
        if tool.parameters is not None:
            mismatch = schemas.compile(tool.parameters).mismatch(call.arguments)
            if mismatch:
                raise ToolArgumentsInvalid(model, call.name, mismatch)
