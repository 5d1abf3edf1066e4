"""What can be wrong with the tools of a request, or with a model's calls of them, by reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from atrium_shared.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from atrium_gateway.domain.generation import ChatMessage

_MOST_SHOWN_NAMES = 8


class ToolRepeated(Invalid):
    """Two tools have the same name."""

    reason = "TOOL_REPEATED"

    def __init__(self, index: int, tool: str) -> None:
        super().__init__(
            f"Tool {tool!r} is given twice, so a call of it could mean either. Name each tool "
            "once.",
            field=f"tools[{index}].name",
            tool=tool,
        )


class ToolSchemaInvalid(Invalid):
    """The JSON schema of a tool's arguments is none, or not one of an object."""

    reason = "TOOL_SCHEMA_INVALID"

    def __init__(self, index: int, tool: str, why: str) -> None:
        super().__init__(
            f"The parameters of tool {tool!r} cannot be used: {why}. Send a JSON Schema (2020-12) "
            'of an object ("type": "object") without remote references.',
            field=f"tools[{index}].parameters",
            tool=tool,
        )


class ToolChoiceInvalid(Invalid):
    """``tool_choice`` asks for what the request's tools cannot give."""

    reason = "TOOL_CHOICE_INVALID"

    def __init__(self, why: str, *, field: str = "tool_choice", tool: str = "") -> None:
        super().__init__(
            f"{why} Send the tools that the model may call, or leave `tool_choice` out.",
            field=field,
        )
        if tool:
            self.metadata["tool"] = tool


class ToolMessageInvalid(Invalid):
    """Calls and results of tools in the conversation do not fit together."""

    reason = "TOOL_MESSAGE_INVALID"

    def __init__(self, field: str, why: str, *, call: str = "") -> None:
        super().__init__(
            f"{why} A message of the assistant with `tool_calls` is followed by exactly one TOOL "
            "message for each of them, which repeats the call's id.",
            field=field,
        )
        if call:
            self.metadata["call"] = call


class ToolsUnsupported(Invalid):
    """A model's server takes no tools. The next candidate is tried."""

    reason = "TOOLS_UNSUPPORTED"

    def __init__(self, model: str) -> None:
        super().__init__(
            f"The server of model {model!r} takes no tools. Route the task to a model that calls "
            "tools; vLLM does with --enable-auto-tool-choice and a --tool-call-parser.",
            field="tools",
            model=model,
        )
        self.why = "its server takes no tools"


class ToolCallRefused(Unavailable):
    """A model's reply calls tools in a way that the request does not allow. The next one is tried.

    Args:
        message: What was wrong.
        model: Resource name of the model.
        why: The same in short, for the reasons of a degraded reply.
        tool: Which tool.
        repair: What to append to the conversation to ask the model once more; empty where asking
            again cannot help. Holds what the model said: never shown or logged.
        **metadata: Further values of the message.
    """

    def __init__(
        self,
        message: str,
        *,
        model: str,
        why: str,
        tool: str = "",
        repair: Sequence[ChatMessage] = (),
        **metadata: str,
    ) -> None:
        super().__init__(message, model=model)
        self.metadata |= metadata
        if tool:
            self.metadata["tool"] = tool
        self.why = why
        self.repair = tuple(repair)


class ToolArgumentsInvalid(ToolCallRefused):
    """A model called a tool with arguments that do not fit its schema."""

    reason = "TOOL_ARGUMENTS_INVALID"

    def __init__(
        self, model: str, tool: str, why: str, *, path: str, repair: Sequence[ChatMessage] = ()
    ) -> None:
        super().__init__(
            f"Model {model!r} called tool {tool!r} with arguments that do not fit its schema: "
            f"{why}. Ask again, describe the tool's parameters more closely, or route the task to "
            "a larger model.",
            model=model,
            why=f"its arguments for tool {tool!r} did not fit ({why})",
            tool=tool,
            repair=repair,
            path=path,
        )


class ToolUnknown(ToolCallRefused):
    """A model called a tool that the request does not have."""

    reason = "TOOL_UNKNOWN"

    def __init__(
        self, model: str, tool: str, allowed: Sequence[str], *, repair: Sequence[ChatMessage] = ()
    ) -> None:
        super().__init__(
            f"Model {model!r} called a tool {tool!r}, which this request does not let it call "
            f"({_names(allowed)}). Ask again, or route the task to a larger model.",
            model=model,
            why=f"it called a tool {tool!r} that it was not given",
            tool=tool,
            repair=repair,
        )


class ToolNotCalled(ToolCallRefused):
    """A model had to call a tool and did not."""

    reason = "TOOL_NOT_CALLED"

    def __init__(self, model: str, tool: str, *, repair: Sequence[ChatMessage] = ()) -> None:
        wanted = f"tool {tool!r}" if tool else "a tool"
        super().__init__(
            f"Model {model!r} had to call {wanted} and did not. Ask again, leave the choice to the "
            "model, or route the task to a larger model.",
            model=model,
            why=f"it did not call {wanted}",
            tool=tool,
            repair=repair,
        )


def _names(allowed: Sequence[str]) -> str:
    if not allowed:
        return "it may call none"
    shown = ", ".join(allowed[:_MOST_SHOWN_NAMES])
    return f"it may call {shown}{', ...' if len(allowed) > _MOST_SHOWN_NAMES else ''}"
