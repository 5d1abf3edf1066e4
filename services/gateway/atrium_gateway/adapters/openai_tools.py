"""Tools in the words of OpenAI's chat API: what is sent, and the many ways in which calls come."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from atrium_gateway.domain.generation import ChatMessage, Prompt, Role, ToolCallDelta, ToolMode
from atrium_gateway.domain.tools import allowed_tools, schema_of

_MOST_CALLS = 128
_MOST_NAME = 256
_MOST_ID = 256


class CallsMalformed(Exception):
    """What the server sent as calls has none of the shapes that calls come in."""


def message_to_body(message: ChatMessage) -> dict[str, Any]:
    """Return a message as the API takes it."""
    body: dict[str, Any] = {"role": message.role.value, "content": message.content}
    if message.role is Role.TOOL:
        body["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        # As servers themselves write a turn of calls alone.
        body["content"] = message.content or None
        body["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    return body


def tools_to_body(prompt: Prompt, *, named_choice: bool) -> dict[str, Any]:
    """Return the fields ``tools`` and ``tool_choice`` of a request; none without tools.

    Args:
        prompt: What is asked.
        named_choice: Whether the server heeds every choice. One that does not is given the tools
            that may be called alone, and none where none may be.
    """
    choice, tools = prompt.tool_choice, prompt.tools
    if not tools or (choice.mode is ToolMode.NONE and not choice.tool and not named_choice):
        return {}
    if choice.tool and not named_choice:
        only = allowed_tools(prompt)
        tools = tuple(tool for tool in tools if tool.name in only)
    body: dict[str, Any] = {
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    **({"description": tool.description} if tool.description else {}),
                    "parameters": dict(schema_of(tool)),
                },
            }
            for tool in tools
        ]
    }
    if choice.tool and named_choice:
        body["tool_choice"] = {"type": "function", "function": {"name": choice.tool}}
    elif choice.tool:
        body["tool_choice"] = ToolMode.REQUIRED.value
    elif choice.mode is not ToolMode.AUTO:
        # Left out where the model decides: that is the default, and servers without a parser for
        # calls refuse the word.
        body["tool_choice"] = choice.mode.value
    return body


class CallReader:
    """Reads the calls of one reply, streamed or whole.

    Servers differ: whole calls in one event, several in one, an index that is missing, has gaps or
    is 0 for all, no id or the same for all, arguments as an object, a name repeated in each event.
    What comes out is regular: calls count from 0 without gaps, the first part of each has its id
    and name, and ids differ.
    """

    def __init__(self) -> None:
        self._places: dict[int, int] = {}  # the server's index -> ours, of the call written last
        self._calls: list[_Call] = []
        self._ids: set[str] = set()

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def text(self) -> str:
        """All that was written of calls, for an estimate of its tokens."""
        return "".join(part for call in self._calls for part in (call.name, *call.arguments))

    def read(self, parts: object) -> Iterator[ToolCallDelta]:
        """Give the parts of calls in the field ``tool_calls`` of a delta or message.

        Raises:
            CallsMalformed: They cannot be understood.
        """
        if not isinstance(parts, list):
            raise CallsMalformed
        for part in parts:
            if not isinstance(part, Mapping):
                raise CallsMalformed
            delta = self._part(part)
            if delta is not None:
                yield delta

    def _part(self, part: Mapping[str, Any]) -> ToolCallDelta | None:
        function = part.get("function") or {}
        if not isinstance(function, Mapping):
            raise CallsMalformed
        id_, name = _text(part.get("id"), _MOST_ID), _text(function.get("name"), _MOST_NAME)
        arguments = _arguments(function.get("arguments"))
        index = part.get("index")
        place = self._place(index, id_, name, arguments)
        if place is None:
            return self._begin(index, id_, name, arguments)
        if not arguments:
            return None
        self._calls[place].arguments.append(arguments)
        return ToolCallDelta(place, arguments)

    def _place(self, index: object, id_: str, name: str, arguments: str) -> int | None:
        """Return the call that a part goes on with, or None when it begins one."""
        if isinstance(index, int):
            place = self._places.get(index)
        else:
            # Without an index, what has a name begins a call and what has none goes on.
            place = None if name or not self._calls else len(self._calls) - 1
        if place is None or not name:
            return place
        call = self._calls[place]
        another = (id_ and id_ != call.id) or name != call.name or (arguments and call.is_whole())
        return None if another else place

    def _begin(self, index: object, id_: str, name: str, arguments: str) -> ToolCallDelta:
        place = len(self._calls)
        if not name or place >= _MOST_CALLS:
            raise CallsMalformed
        if isinstance(index, int):
            self._places[index] = place
        self._calls.append(_Call(id_, name, [arguments]))
        if not id_ or id_ in self._ids:
            id_ = f"call_{secrets.token_hex(12)}"
        self._ids.add(id_)
        return ToolCallDelta(place, arguments, id_, name)


@dataclass(slots=True)
class _Call:
    """A call as the server wrote it so far."""

    id: str
    name: str
    arguments: list[str]

    def is_whole(self) -> bool:
        """Return whether its arguments are an object already."""
        try:
            return isinstance(json.loads("".join(self.arguments)), dict)
        except (ValueError, RecursionError):
            return False


def storable(text: str) -> str:
    """Return a text of a server with halves of surrogate pairs, which JSON may hold, replaced."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _text(value: object, most: int) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > most:
        raise CallsMalformed
    return storable(value)


def _arguments(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, Mapping):
        return storable(json.dumps(value, ensure_ascii=False))
    raise CallsMalformed
