"""Calls of tools as model servers send them, and as every generator gives them."""

from __future__ import annotations

import json
import random
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from itertools import pairwise
from typing import Any

import pytest

from atrium_gateway.adapters.openai_generator import OpenAIGenerator
from atrium_gateway.adapters.openai_server import OpenAIServer
from atrium_gateway.adapters.openai_tools import CallReader
from atrium_gateway.adapters.scripted_backend import ScriptedBackend, ScriptedReply
from atrium_gateway.app.ports import GeneratorBackend
from atrium_gateway.domain.errors import PromptTooLong, UpstreamFailed
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
from atrium_gateway.domain.tool_errors import ToolsUnsupported
from atrium_gateway.domain.tools import CallAssembler
from atrium_gateway.testing import (
    Answer,
    FakeUpstream,
    delta,
    event,
    failure,
    json_answer,
    reply,
)

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool("get_weather", "Tells the weather — 天气.", CITY)
CLOCK = Tool("clock")


def ask(*messages: ChatMessage, tools: Sequence[Tool] = (WEATHER, CLOCK), **more: Any) -> Prompt:
    settings: dict[str, Any] = {"max_tokens": 64, **more}
    asked = messages or (ChatMessage(Role.USER, "How is Paris?"),)
    return Prompt(asked, tools=tuple(tools), **settings)


async def collect(
    generator: GeneratorBackend, prompt: Prompt
) -> tuple[str, tuple[ToolCall, ...], Finished]:
    assembler, texts = CallAssembler(), []
    async with aclosing(generator.stream(prompt)) as events:
        async for each in events:
            match each:
                case Delta(text):
                    assert text
                    texts.append(text)
                case ToolCallDelta(index=index):
                    begins = index == len(assembler)
                    assert begins == bool(each.id and each.name)
                    assembler.take(each)
                case Finished():
                    return "".join(texts), assembler.calls(), each
    raise AssertionError("it did not end")


def part(index: object = 0, id_: object = None, name: object = None, args: object = None) -> Any:
    function = {key: value for key, value in (("name", name), ("arguments", args)) if value}
    whole = {"index": index, "id": id_, "type": "function", "function": function}
    return {key: value for key, value in whole.items() if value is not None}


def calls(*parts: Mapping[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"tool_calls": list(parts)}, "finish_reason": finish}
    return event({"choices": [choice]})


@pytest.fixture
async def remote(upstream: FakeUpstream) -> AsyncIterator[OpenAIGenerator]:
    server = OpenAIServer(lambda: upstream.url, "key")
    yield OpenAIGenerator("models/tiny", "tiny", server, context_tokens=8192, idle_seconds=0.2)
    await server.close()


# What a server does wrong


@pytest.mark.parametrize(
    "parts",
    [
        "x",
        {"index": 0},
        [7],
        [{"index": 0, "function": "x"}],
        [part(0, "a", None, "{}")],
        [part(0, 7, "clock", "{}")],
        [part(0, "a", 7, "{}")],
        [part(0, "a", "clock", 7)],
        [part(0, "a", "clock", [1])],
        [part(0, "a" * 300, "clock")],
        [part(0, "a", "clock" * 100)],
        [part(index, f"c{index}", "clock", "{}") for index in range(129)],
    ],
)
async def test_calls_without_their_fields_are_a_failure_of_the_server(
    upstream: FakeUpstream, remote: OpenAIGenerator, parts: object
) -> None:
    choice = {"delta": {"tool_calls": parts}, "finish_reason": "tool_calls"}
    upstream.enqueue(Answer([event({"choices": [choice]})]))
    with pytest.raises(UpstreamFailed, match="calls of tools without the fields"):
        await collect(remote, ask())


@pytest.mark.parametrize(
    "message",
    [
        '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
        "this server follows no response_format (schema) and knows no tools",
        "Function calling is not enabled for this model",
    ],
)
async def test_a_server_that_takes_no_tools_is_told_from_one_that_fails(
    upstream: FakeUpstream, remote: OpenAIGenerator, message: str
) -> None:
    upstream.enqueue(*[failure(400, message=message)] * 3)
    with pytest.raises(ToolsUnsupported) as caught:
        await collect(remote, ask())
    assert caught.value.metadata == {"model": "models/tiny"}
    with pytest.raises(ToolsUnsupported):
        await remote.complete(ask())
    with pytest.raises(UpstreamFailed):
        await collect(remote, ask(tools=()))


async def test_a_stream_that_ends_within_a_call_broke_off(
    upstream: FakeUpstream, remote: OpenAIGenerator
) -> None:
    upstream.enqueue(Answer([calls(part(0, "a", "clock", '{"a'))]))
    with pytest.raises(UpstreamFailed, match="in the middle of its reply"):
        await collect(remote, ask())


async def test_arguments_that_never_end_are_stopped(
    upstream: FakeUpstream, remote: OpenAIGenerator
) -> None:
    begin = calls(part(0, "a", "clock", "{"))
    upstream.enqueue(Answer([begin, *[calls(part(0, args="x" * 9_000))] * 4], hang=True))
    with pytest.raises(UpstreamFailed, match="beyond max_tokens"):
        await collect(remote, ask())


async def test_tools_too_long_for_the_context_are_refused(
    upstream: FakeUpstream, remote: OpenAIGenerator
) -> None:
    with pytest.raises(PromptTooLong):
        await collect(remote, ask(tools=[Tool("clock", "word " * 20_000)]))
    assert not upstream.posted


# What is sent


async def test_tools_and_calls_and_results_are_sent_as_they_are(
    upstream: FakeUpstream, remote: OpenAIGenerator
) -> None:
    call = ToolCall("c1", "get_weather", '{ "city":"巴黎" }')
    upstream.enqueue(reply("12 °C"))
    messages = (
        ChatMessage(Role.USER, "?"),
        ChatMessage(Role.ASSISTANT, "", (call,)),
        ChatMessage(Role.TOOL, '{"t": 12}', tool_call_id="c1"),
    )
    await collect(remote, ask(*messages))
    body = upstream.posted[0].body
    assert body["messages"] == [
        {"role": "user", "content": "?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": '{ "city":"巴黎" }'},
                }
            ],
        },
        {"role": "tool", "content": '{"t": 12}', "tool_call_id": "c1"},
    ]
    weather, clock = body["tools"]
    assert weather["function"] == {
        "name": "get_weather",
        "description": "Tells the weather — 天气.",
        "parameters": CITY,
    }
    assert clock["function"]["parameters"]["type"] == "object"
    assert "tool_choice" not in body


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (ToolChoice(ToolMode.REQUIRED), "required"),
        (ToolChoice(ToolMode.NONE), "none"),
        (ToolChoice(tool="clock"), {"type": "function", "function": {"name": "clock"}}),
    ],
)
async def test_the_choice_is_sent(
    upstream: FakeUpstream, remote: OpenAIGenerator, choice: ToolChoice, sent: object
) -> None:
    await collect(remote, ask(tool_choice=choice))
    assert upstream.posted[0].body["tool_choice"] == sent


async def test_a_server_without_named_choices_is_given_that_tool_alone(
    upstream: FakeUpstream,
) -> None:
    server = OpenAIServer(lambda: upstream.url, None)
    generator = OpenAIGenerator("models/tiny", "tiny", server, named_tool_choice=False)
    await collect(generator, ask(tool_choice=ToolChoice(tool="clock")))
    body = upstream.posted[0].body
    assert [tool["function"]["name"] for tool in body["tools"]] == ["clock"]
    assert body["tool_choice"] == "required"
    await server.close()


async def test_long_instructions_arrive_byte_for_byte(
    upstream: FakeUpstream, remote: OpenAIGenerator
) -> None:
    block = (
        "# 规则 1 — “quotes”\r\n\r\n* a\u00a0b\tc  \n```json\n"
        '{"a": [1, "\\u00e9\\n", null], "é": "👩‍👩‍👧"}\n```\n'
        "<xml attr='1'>&amp; <![CDATA[ ]]> </xml>\u2028\u2029\ufeff\x0b\x7f e\u0301 \u202etxet\n"
    )
    system = block * (30_000 // len(block.encode()) + 1) + "  \n\n"
    assert len(system.encode()) > 30_000
    server = OpenAIServer(lambda: upstream.url, None)
    generator = OpenAIGenerator("models/tiny", "tiny", server)
    await collect(generator, ask(ChatMessage(Role.SYSTEM, system), ChatMessage(Role.USER, "hi")))
    assert upstream.posted[0].body["messages"][0]["content"] == system
    await server.close()


# How calls are read

VALUES = (1, "a}b", {"n": []}, " ", '{"')
PARIS, OSLO = '{"city": "Paris"}', '{"city": "Oslo"}'


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(
            [
                calls(part(0, "a", "get_weather", "")),
                *(calls(part(0, args=each)) for each in ('{"ci', 'ty": "Pa', 'ris"}')),
                calls(part(1, "b", "get_weather", "")),
                calls(part(1, args=OSLO)),
            ],
            id="as OpenAI does",
        ),
        pytest.param(
            [calls(part(0, "a", "get_weather", PARIS), part(1, "b", "get_weather", OSLO))],
            id="several whole calls in one event",
        ),
        pytest.param(
            [
                calls(part(0, "a", "get_weather", PARIS)),
                calls(part(0, "b", "get_weather", OSLO)),
            ],
            id="index 0 for all",
        ),
        pytest.param(
            [
                calls(part(0, None, "get_weather", PARIS)),
                calls(part(0, None, "get_weather", OSLO)),
            ],
            id="index 0 for all and no id",
        ),
        pytest.param(
            [
                calls(part(None, "a", "get_weather", '{"city": ')),
                calls(part(None, args='"Paris"}')),
                calls(part(None, "b", "get_weather", OSLO)),
            ],
            id="no index",
        ),
        pytest.param(
            [calls(part(1, "a", "get_weather", PARIS)), calls(part(7, "b", "get_weather", OSLO))],
            id="gaps in the index",
        ),
        pytest.param(
            [
                calls(part(0, "a", "get_weather", '{"city": ')),
                calls(part(0, "a", "get_weather", '"Paris"}')),
                calls(part(0, "a", "get_weather")),
                calls(part(1, "b", "get_weather", OSLO)),
            ],
            id="id and name repeated",
        ),
        pytest.param(
            [
                calls(part(0, None, "get_weather", PARIS)),
                calls(part(1, None, "get_weather", OSLO)),
            ],
            id="no ids",
        ),
        pytest.param(
            [
                calls(part(0, "x", "get_weather", PARIS)),
                calls(part(1, "x", "get_weather", OSLO)),
            ],
            id="the same id twice",
        ),
        pytest.param(
            [
                calls(part(0, "a", "get_weather", {"city": "Paris"})),
                calls(part(1, "b", "get_weather", {"city": "Oslo"})),
            ],
            id="arguments as an object",
        ),
        pytest.param(
            [
                calls(part(0, "a", "get_weather"), part(1, "b", "get_weather")),
                calls(part(1, args=OSLO[:5]), part(0, args=PARIS[:5])),
                calls(part(1, args=OSLO[5:]), part(0, args=PARIS[5:])),
            ],
            id="interleaved",
        ),
    ],
)
@pytest.mark.parametrize("finish", ["tool_calls", "stop", "function_call"])
async def test_calls_are_read_in_every_shape(
    upstream: FakeUpstream, remote: OpenAIGenerator, events: list[bytes], finish: str
) -> None:
    upstream.enqueue(Answer([delta("Let me see."), *events, delta(None, finish)]))
    text, made, finished = await collect(remote, ask())
    assert text == "Let me see."
    assert [(call.name, json.loads(call.arguments)) for call in made] == [
        ("get_weather", {"city": "Paris"}),
        ("get_weather", {"city": "Oslo"}),
    ]
    first, second = (call.id for call in made)
    assert first != second
    assert re.fullmatch(r"a|x|call_[0-9a-f]{24}", first)
    assert re.fullmatch(r"b|call_[0-9a-f]{24}", second)
    assert finished.reason is FinishReason.TOOL_CALLS
    assert finished.usage.completion_tokens > 8


def shapes(draw: random.Random, made: Sequence[ToolCall]) -> list[list[dict[str, Any]]]:
    """Return the parts of calls as some server might send them, in events."""
    style = draw.choice(["usual", "no index", "index 0", "gaps", "no id", "object", "repeated"])
    parts = []
    for number, call in enumerate(made):
        text = call.arguments
        cuts = sorted(draw.sample(range(1, len(text)), draw.randint(0, min(4, len(text) - 1))))
        pieces: list[Any] = [text[a:b] for a, b in pairwise([0, *cuts, len(text)])]
        if style == "object":
            pieces = [json.loads(text)]
        index = {"no index": None, "index 0": 0, "gaps": 3 * number + 1}.get(style, number)
        for place, piece in enumerate(pieces):
            begins = place == 0 or style == "repeated"
            id_ = call.id if begins and style != "no id" else None
            parts.append(part(index, id_, call.name if begins else None, piece))
    events = []
    while parts:
        size = draw.randint(1, 3)
        events.append(parts[:size])
        parts = parts[size:]
    return events


def test_calls_cut_in_any_shape_come_out_as_they_went_in() -> None:
    for seed in range(1000):
        draw = random.Random(seed)
        made = [
            ToolCall(f"c{number}", draw.choice("abc"), json.dumps({"x": draw.choice(VALUES)}))
            for number in range(draw.randint(1, 5))
        ]
        reader, assembler = CallReader(), CallAssembler()
        for parts in shapes(draw, made):
            for each in reader.read(parts):
                assembler.take(each)
        got = [(call.name, json.loads(call.arguments)) for call in assembler.calls()]
        assert got == [(call.name, json.loads(call.arguments)) for call in made], seed
        assert len({call.id for call in assembler.calls()}) == len(made)


async def test_a_whole_reply_with_calls_is_read(
    upstream: FakeUpstream, remote: OpenAIGenerator
) -> None:
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "clock", "arguments": ""}},
            {"id": "b", "function": {"name": "get_weather", "arguments": {"city": "Oslo"}}},
        ],
    }
    choice = {"message": message, "finish_reason": "tool_calls"}
    upstream.enqueue(json_answer({"choices": [choice], "usage": {"completion_tokens": 9}}))
    text, made, finished = await collect(remote, ask())
    assert (text, finished.reason) == ("", FinishReason.TOOL_CALLS)
    assert made == (ToolCall("a", "clock", "{}"), ToolCall("b", "get_weather", OSLO))
    assert finished.usage.completion_tokens == 9
    upstream.enqueue(json_answer({"choices": [choice], "usage": {"completion_tokens": 9}}))
    completed = await remote.complete(ask())
    assert (completed.tool_calls, completed.reason) == (made, FinishReason.TOOL_CALLS)
    assert completed.usage.completion_tokens == 9


async def test_halves_of_surrogate_pairs_are_replaced(
    upstream: FakeUpstream, remote: OpenAIGenerator
) -> None:
    broken = b'data: {"choices": [{"delta": {"content": "a\\ud83d", "tool_calls": %s}}]}\n\n'
    inside = b'[{"id": "a", "function": {"name": "clock", "arguments": "{\\"\\udc4b\\": 1}"}}]'
    upstream.enqueue(Answer([broken % inside, delta(None, "tool_calls")]))
    text, (call,), _ = await collect(remote, ask())
    assert (text, call.arguments) == ("a?", '{"?": 1}')


async def test_a_call_cut_at_max_tokens_says_so(
    upstream: FakeUpstream, remote: OpenAIGenerator
) -> None:
    upstream.enqueue(Answer([calls(part(0, "a", "clock", '{"a'), finish="length")]))
    _, _, finished = await collect(remote, ask())
    assert finished.reason is FinishReason.LENGTH


# The scripted one


async def test_the_scripted_model_calls_what_it_is_told_to() -> None:
    scripted = ScriptedBackend()
    call = ToolCall("c1", "get_weather", PARIS)
    scripted.enqueue(call, ScriptedReply("Wait.", calls=(call, ToolCall("c2", "clock", "{}"))))
    text, made, finished = await collect(scripted, ask())
    assert (text, made, finished.reason) == ("", (call,), FinishReason.TOOL_CALLS)
    text, made, _ = await collect(scripted, ask())
    assert text == "Wait."
    assert [each.id for each in made] == ["c1", "c2"]
    _, made, finished = await collect(scripted, ask())
    assert (made, finished.reason) == ((), FinishReason.STOP)


async def test_the_scripted_model_calls_when_it_has_to() -> None:
    scripted = ScriptedBackend()
    _, (call,), _ = await collect(scripted, ask(tool_choice=ToolChoice(ToolMode.REQUIRED)))
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "scripted"})
    _, (call,), _ = await collect(scripted, ask(tool_choice=ToolChoice(tool="clock")))
    assert (call.name, call.arguments) == ("clock", "{}")
