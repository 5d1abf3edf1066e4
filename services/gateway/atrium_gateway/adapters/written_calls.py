"""Calls of tools that a small model writes as text.

Half a billion parameters know what a call looks like and forget its marks, so that llama.cpp takes
the call for words. Where a call is required, the model is held to one by a schema instead, which
the marks cannot escape; where it is not, a reply that is a call and nothing else is taken for one.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from typing import Any

from atrium_gateway.domain.generation import (
    Delta,
    Finished,
    FinishReason,
    Prompt,
    ToolCall,
    ToolCallDelta,
    ToolChoice,
)
from atrium_gateway.domain.tools import allowed_tools, must_call, schema_of

_MAY_BEGIN_CALL = ("{", "`", "<")
_AROUND = (("```json", "```"), ("```", "```"), ("<tool_call>", "</tool_call>"))
_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(?=\{)')

Events = AsyncGenerator[Delta | ToolCallDelta | Finished, None]


def held_to_call(prompt: Prompt) -> Prompt | None:
    """Return the prompt with a schema that leaves nothing but one call.

    None where no call is required, or a tool's schema refers to parts of itself, which it could
    not do from inside of another.
    """
    if not must_call(prompt):
        return None
    allowed = allowed_tools(prompt)
    tools = tuple(tool for tool in prompt.tools if tool.name in allowed)
    shapes: list[Mapping[str, Any]] = []
    for tool in tools:
        schema = dict(schema_of(tool))
        if '"$ref"' in json.dumps(schema) or '"$dynamicRef"' in json.dumps(schema):
            return None
        shapes.append(
            {
                "type": "object",
                "properties": {"name": {"const": tool.name}, "arguments": schema},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
        )
    shape = shapes[0] if len(shapes) == 1 else {"anyOf": shapes}
    return replace(prompt, tools=tools, tool_choice=ToolChoice(), response_schema=shape)


async def read_held_call(events: Events) -> Events:
    """Read the reply to a prompt of :func:`held_to_call`: its text is one call, as it comes."""
    text, shown, started = "", 0, False
    async for event in events:
        if isinstance(event, Delta):
            text += event.text
            head = None if started else _HEAD.match(text)
            if head is not None:
                started = True
                yield ToolCallDelta(0, "", _new_id(), json.loads(head.group(1)))
                shown = head.end()
            if started:
                # What may be the end of the object around the arguments waits.
                safe = _before_closing(text, shown)
                if safe > shown:
                    yield ToolCallDelta(0, text[shown:safe])
                    shown = safe
        elif isinstance(event, Finished):
            if started:
                end = _before_closing(text, shown) if _is_json(text) else len(text)
                if end > shown:
                    yield ToolCallDelta(0, text[shown:end])
                if event.reason is FinishReason.STOP:
                    event = Finished(FinishReason.TOOL_CALLS, event.usage)
            elif text:
                yield Delta(text)
            yield event
        else:
            yield event


async def read_written_call(events: Events, prompt: Prompt) -> Events:
    """Read a reply in which a call may stand as its only text.

    Text that may become one waits for the end of the reply; other text does not.
    """
    allowed = allowed_tools(prompt)
    held: list[str] = []
    waits: bool | None = None  # None: only white space came so far
    async for event in events:
        if isinstance(event, Delta) and waits is not False:
            held.append(event.text)
            if waits is None and event.text.strip():
                waits = "".join(held).lstrip().startswith(_MAY_BEGIN_CALL)
            if waits is not False:
                continue
            event = Delta("".join(held))
            held.clear()
        elif held:
            text = "".join(held)
            held.clear()
            waits = False
            if isinstance(event, Finished) and event.reason is FinishReason.STOP:
                call = _written_call(text, allowed)
                if call is not None:
                    yield ToolCallDelta(0, call.arguments, call.id, call.name)
                    yield Finished(FinishReason.TOOL_CALLS, event.usage)
                    return
            yield Delta(text)
        yield event


def _written_call(text: str, allowed: tuple[str, ...]) -> ToolCall | None:
    text = text.strip()
    for opening, closing in _AROUND:
        if text.startswith(opening) and text.endswith(closing):
            text = text[len(opening) : -len(closing)]
            break
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or set(value) != {"name", "arguments"}:
        return None
    if value["name"] not in allowed or not isinstance(value["arguments"], dict):
        return None
    arguments = json.dumps(value["arguments"], ensure_ascii=False)
    return ToolCall(_new_id(), value["name"], arguments)


def _before_closing(text: str, start: int) -> int:
    """Return where the brace that ends ``text`` and the white space around it begin."""
    inside = text[start:].rstrip()
    return start + len(inside[:-1].rstrip()) if inside.endswith("}") else len(text)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _new_id() -> str:
    return f"call_{secrets.token_hex(12)}"
