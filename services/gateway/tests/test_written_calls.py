"""Calls that a small model writes as text."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator

import pytest

from atrium_gateway.adapters.written_calls import held_to_call, read_held_call, read_written_call
from atrium_gateway.domain.generation import (
    ChatMessage,
    Delta,
    Finished,
    FinishReason,
    Prompt,
    Role,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolChoice,
    ToolMode,
)
from atrium_gateway.domain.tools import CallAssembler
from atrium_shared.engines import NO_USAGE

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = (Tool("weather", "", CITY), Tool("clock"))
WRITTEN = '{"name": "weather", "arguments": {"city": "Oslo {"}}'


def ask(tools: tuple[Tool, ...] = TOOLS, **choice: object) -> Prompt:
    prompt = Prompt((ChatMessage(Role.USER, "?"),), 64, tools=tools)
    return Prompt(prompt.messages, 64, tools=tools, tool_choice=ToolChoice(**choice))  # type: ignore[arg-type]


async def reply(
    text: str, reason: FinishReason = FinishReason.STOP, step: int = 0
) -> AsyncGenerator[Delta | ToolCallDelta | Finished, None]:
    step = step or max(3, len(text) // 100)
    for start in range(0, len(text), step):
        yield Delta(text[start : start + step])
    yield Finished(reason, NO_USAGE)


async def collect(
    events: AsyncGenerator[Delta | ToolCallDelta | Finished, None],
) -> tuple[list[str], tuple[ToolCall, ...], FinishReason]:
    texts, assembler = [], CallAssembler()
    async for event in events:
        if isinstance(event, Delta):
            texts.append(event.text)
        elif isinstance(event, ToolCallDelta):
            assembler.take(event)
        else:
            return texts, assembler.calls(), event.reason
    raise AssertionError("it did not end")


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "weather"}',
        '{"name": "rm", "arguments": {}}',
        '{"name": ["clock"], "arguments": {}}',
        '{"name": "clock", "arguments": [1]}',
        '{"name": "clock", "arguments": {}, "more": 1}',
        WRITTEN + "\nIt is 12 degrees.",
        "```json\n" + "[" * 50_000,
        "{ not JSON }",
        "{}" + " " * 100_000 + "x",
        "```",
        "<b>bold</b>",
        "Call: " + WRITTEN,
        "   ",
        "",
    ],
)
async def test_text_that_is_no_call_stays_text(text: str) -> None:
    texts, calls, reason = await collect(read_written_call(reply(text), ask()))
    assert ("".join(texts), calls, reason) == (text, (), FinishReason.STOP)


async def test_text_that_cannot_become_a_call_does_not_wait() -> None:
    texts, _, _ = await collect(read_written_call(reply("  It is { cold }."), ask()))
    assert len(texts) > 3


@pytest.mark.parametrize(
    "text",
    [WRITTEN, f"\n```json\n{WRITTEN}\n```\n", f"<tool_call>\n{WRITTEN}\n</tool_call>"],
)
async def test_a_call_as_the_only_text_is_a_call(text: str) -> None:
    texts, (call,), reason = await collect(read_written_call(reply(text), ask()))
    assert (texts, reason) == ([], FinishReason.TOOL_CALLS)
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Oslo {"})
    assert re.fullmatch("call_[0-9a-f]{24}", call.id)


async def test_a_written_call_that_was_cut_stays_text() -> None:
    events = read_written_call(reply(WRITTEN, FinishReason.LENGTH), ask())
    texts, calls, reason = await collect(events)
    assert ("".join(texts), calls, reason) == (WRITTEN, (), FinishReason.LENGTH)


def test_nothing_is_held_to_a_call_that_need_not_be_one() -> None:
    assert held_to_call(ask()) is None
    assert held_to_call(ask(mode=ToolMode.NONE)) is None


def test_a_schema_that_refers_to_itself_cannot_be_held_to() -> None:
    tool = Tool("x", "", {"type": "object", "properties": {"a": {"$ref": "#"}}})
    assert held_to_call(ask((tool,), mode=ToolMode.REQUIRED)) is None


def test_a_required_call_is_held_to_by_a_schema_of_all_tools() -> None:
    held = held_to_call(ask(mode=ToolMode.REQUIRED))
    assert held is not None
    assert held.tool_choice == ToolChoice()
    assert held.response_schema is not None
    shapes = held.response_schema["anyOf"]
    assert [shape["properties"]["name"]["const"] for shape in shapes] == ["weather", "clock"]
    named = held_to_call(ask(tool="weather"))
    assert named is not None
    assert [tool.name for tool in named.tools] == ["weather"]
    assert named.response_schema is not None
    assert named.response_schema["properties"]["arguments"] == CITY


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    "arguments", ["{}", '{"city": "Oslo"}', '{\n "a": {"b": {}},\n "c": "} }"\n}', '{"a": "\\"}"}']
)
async def test_a_held_call_comes_as_it_is_written(arguments: str, step: int) -> None:
    text = f'{{ "name": "weather" ,\n"arguments": {arguments} }}\n'
    texts, (call,), reason = await collect(read_held_call(reply(text, step=step)))
    assert (texts, reason) == ([], FinishReason.TOOL_CALLS)
    assert (call.name, call.arguments) == ("weather", arguments)


async def test_a_held_call_that_was_cut_keeps_what_was_written() -> None:
    text = '{"name": "weather", "arguments": {"city": {"a": 1}'
    _, (call,), reason = await collect(read_held_call(reply(text, FinishReason.LENGTH)))
    assert (call.arguments, reason) == ('{"city": {"a": 1}', FinishReason.LENGTH)


async def test_a_held_reply_without_a_call_is_text() -> None:
    texts, calls, _ = await collect(read_held_call(reply("No.")))
    assert ("".join(texts), calls) == ("No.", ())
