"""Tools and web pages through the whole gateway, over gRPC."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import struct_pb2
from google.protobuf.json_format import ParseDict

from atrium.gateway.v1 import gateway_pb2, gateway_service_pb2
from atrium_gateway.adapters.scripted_backend import ScriptedReply
from atrium_gateway.domain.errors import UpstreamFailed
from atrium_gateway.domain.generation import Role, ToolCall
from atrium_gateway.domain.web_pages import WebPage, WebPageForbidden
from atrium_gateway.testing import (
    Answer,
    FakeUpstream,
    ServedGateway,
    delta,
    event,
    failure,
    refusal,
    reply,
    serve_gateway,
)
from atrium_shared.principal import Residency

Message = gateway_pb2.Message
LEAVE = {
    "type": "object",
    "properties": {"days": {"type": "integer", "maximum": 40}, "who": {"type": "string"}},
    "required": ["days"],
    "additionalProperties": False,
}
MOBILE = "13800138000"
RIGHT = ToolCall("c1", "book_leave", '{"days": 3}')
WRONG = ToolCall("c1", "book_leave", '{"days": "a secret"}')
UNKNOWN = ToolCall("c1", "rm_rf", '{"path": "/"}')


def tool(name: str = "book_leave", schema: Mapping[str, Any] | None = LEAVE) -> gateway_pb2.Tool:
    parameters = None if schema is None else ParseDict(schema, struct_pb2.Struct())
    return gateway_pb2.Tool(name=name, description="Books leave.", parameters=parameters)


def message(role: Any, content: str = "", **more: Any) -> gateway_pb2.Message:
    return Message(role=role, content=content, **more)


USER = message(Message.USER, "Book 3 days, my PIN is 4711.")


def ask(*messages: Any, tools: Any = None, **more: Any) -> gateway_pb2.GenerateRequest:
    return gateway_pb2.GenerateRequest(
        task="knowledge.answer",
        messages=messages or [USER],
        tools=[tool(), tool("clock", None)] if tools is None else tools,
        **more,
    )


REQUIRED = gateway_pb2.ToolChoice(mode=gateway_pb2.ToolChoice.REQUIRED)


def calls(*made: ToolCall, finish: str = "tool_calls") -> Answer:
    parts = [
        {"index": i, "id": c.id, "function": {"name": c.name, "arguments": c.arguments}}
        for i, c in enumerate(made)
    ]
    choice = {"delta": {"tool_calls": parts}, "finish_reason": finish}
    return Answer([event({"choices": [choice]}), event("[DONE]")])


async def streamed(served: ServedGateway, request: Any) -> tuple[list[Any], Any]:
    events = [each async for each in served.models.StreamGenerate(request)]
    assert events[-1].HasField("done")
    return events[:-1], events[-1].done


# Bad requests


@pytest.mark.parametrize(
    ("request_", "reason", "field"),
    [
        (ask(tools=[tool(), tool()]), "TOOL_REPEATED", "tools[1].name"),
        (ask(tools=[tool(schema={"type": "array"})]), "TOOL_SCHEMA_INVALID", "tools[0].parameters"),
        (ask(tools=[tool(schema={"minimum": "x"})]), "TOOL_SCHEMA_INVALID", "tools[0].parameters"),
        (ask(tools=[], tool_choice=REQUIRED), "TOOL_CHOICE_INVALID", "tool_choice"),
        (
            ask(tool_choice=gateway_pb2.ToolChoice(tool="other")),
            "TOOL_CHOICE_INVALID",
            "tool_choice.tool",
        ),
        (
            ask(USER, message(Message.TOOL, "12", tool_call_id="c9")),
            "TOOL_MESSAGE_INVALID",
            "messages[1].tool_call_id",
        ),
        (ask(tools=[], web_pages=["https://wiki.example/"]), "WEB_PAGES_OFF", "web_pages"),
    ],
)
async def test_a_bad_request_is_refused_with_reason_and_field(
    served: ServedGateway, request_: Any, reason: str, field: str
) -> None:
    for call in (served.models.Generate, served.models.StreamGenerate):
        error = await refusal(call(request_))
        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
        assert error.field == field
    assert not served.scripted.prompts


# Calls that do not fit


async def test_arguments_that_do_not_fit_are_asked_for_once_more(served: ServedGateway) -> None:
    served.scripted.enqueue(WRONG, RIGHT)
    response = await served.models.Generate(ask())
    assert [call.arguments for call in response.tool_calls] == ['{"days": 3}']
    assert not response.engine.degraded
    first, second = served.scripted.prompts
    assert second.messages[: len(first.messages)] == first.messages
    made, told = second.messages[len(first.messages) :]
    assert made.tool_calls == (WRONG,)
    assert (told.role, told.tool_call_id) == (Role.TOOL, "c1")
    assert "/days breaks the rule at /properties/days/type" in told.content


@pytest.mark.parametrize(
    ("reply_", "choice", "reason", "metadata"),
    [
        (WRONG, None, "TOOL_ARGUMENTS_INVALID", {"tool": "book_leave", "path": "/days"}),
        (UNKNOWN, None, "TOOL_UNKNOWN", {"tool": "rm_rf"}),
        ("No.", REQUIRED, "TOOL_NOT_CALLED", {}),
        (RIGHT, gateway_pb2.ToolChoice(tool="clock"), "TOOL_NOT_CALLED", {"tool": "clock"}),
    ],
)
async def test_calls_that_stay_wrong_are_refused_after_one_more_try(
    served: ServedGateway, reply_: Any, choice: Any, reason: str, metadata: dict[str, str]
) -> None:
    served.scripted.enqueue(reply_, reply_)
    error = await refusal(served.models.Generate(ask(tool_choice=choice)))
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, reason)
    assert error.metadata == {"model": "models/scripted", **metadata}
    assert len(served.scripted.prompts) == 2
    for secret in ("4711", "a secret"):
        assert secret not in error.message


async def test_a_stream_that_has_shown_a_call_cannot_be_repaired(served: ServedGateway) -> None:
    served.scripted.enqueue(WRONG)
    error = await refusal(served.models.StreamGenerate(ask()))
    assert error.reason == "TOOL_ARGUMENTS_INVALID"
    assert len(served.scripted.prompts) == 1


@pytest.mark.parametrize("first", [UNKNOWN, ScriptedReply("I would rather talk.")])
async def test_a_stream_is_repaired_while_nothing_is_shown(
    served: ServedGateway, first: Any
) -> None:
    served.scripted.enqueue(first, RIGHT)
    parts, done = await streamed(served, ask(tool_choice=REQUIRED))
    assert {part.WhichOneof("event") for part in parts} == {"tool_call_delta"}
    assert [call.name for call in done.tool_calls] == ["book_leave"]
    assert len(served.scripted.prompts) == 2


async def test_a_repair_that_does_not_fit_the_context_tells_the_first_error(
    served: ServedGateway,
) -> None:
    wrong = ToolCall("c1", "book_leave", json.dumps({"days": "x " * 2000}))
    served.scripted.enqueue(wrong)
    request = ask(message(Message.USER, "y " * 5000), max_tokens=2200)
    error = await refusal(served.models.Generate(request))
    assert error.reason == "TOOL_ARGUMENTS_INVALID"


async def test_a_call_cut_at_max_tokens_is_refused_at_once(served: ServedGateway) -> None:
    served.scripted.enqueue(ToolCall("c1", "book_leave", '{"days": 3, "who": "me and you"}'))
    error = await refusal(served.models.Generate(ask(max_tokens=3)))
    assert error.reason == "TOOL_ARGUMENTS_INVALID"
    assert "raise max_tokens" in error.message
    assert len(served.scripted.prompts) == 1


# Fallbacks


async def test_a_model_that_cannot_call_leaves_it_to_the_next(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    routes = {"default": [{"model": "models/tiny"}, {"model": "models/scripted"}]}
    async with serve_gateway(
        tmp_path, routes=routes, LLM_URL=upstream.url, LLM_MODEL="tiny"
    ) as served:
        for answers in (
            [calls(WRONG), calls(WRONG)],
            [calls(RIGHT, UNKNOWN), failure(500)],
            [reply("No."), reply("Still no.")],
        ):
            upstream.enqueue(*answers)
            served.scripted.enqueue(RIGHT)
            response = await served.models.Generate(ask(tool_choice=REQUIRED))
            assert [call.name for call in response.tool_calls] == ["book_leave"]
            assert response.engine.degraded
            assert response.engine.model == "scripted"
        assert len(upstream.posted) == 6


async def test_a_server_that_takes_no_tools_is_passed_over_and_stays_well(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    routes = {"default": [{"model": "models/tiny"}, {"model": "models/scripted"}]}
    async with serve_gateway(
        tmp_path, routes=routes, LLM_URL=upstream.url, LLM_MODEL="tiny"
    ) as served:
        for _ in range(30):
            upstream.enqueue(failure(400, message="no tool-call-parser"))
            response = await served.models.Generate(ask())
            assert response.engine.model == "scripted"
            assert "its server takes no tools" in response.engine.degraded_reason
        response = await served.models.Generate(ask(tools=[]))
        assert response.engine.model == "tiny"


@pytest.mark.parametrize("shown", [False, True])
async def test_a_server_that_breaks_off_within_tools_behaves_as_within_text(
    tmp_path: Path, upstream: FakeUpstream, shown: bool
) -> None:
    routes = {"default": [{"model": "models/tiny"}, {"model": "models/scripted"}]}
    async with serve_gateway(
        tmp_path, routes=routes, LLM_URL=upstream.url, LLM_MODEL="tiny"
    ) as served:
        whole = calls(ToolCall("c1", "book_leave", '{"days'), finish=None).chunks[0]  # type: ignore[arg-type]
        upstream.enqueue(Answer([whole] if shown else [delta("")], cut=True))
        served.scripted.enqueue(RIGHT)
        if shown:
            error = await refusal(served.models.StreamGenerate(ask()))
            assert error.reason == "UPSTREAM_FAILED"
        else:
            _, done = await streamed(served, ask())
            assert done.engine.model == "scripted"
        upstream.enqueue(Answer([whole], cut=True))
        response = await served.models.Generate(ask())  # nothing is shown before the end
        assert response.engine.model == "scripted"


# What may leave


async def test_arguments_come_back_with_the_values_that_did_not_leave(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    schema = {
        "type": "object",
        "properties": {"to": {"type": "string", "pattern": "^1[0-9]{10}$"}},
        "required": ["to"],
    }
    request = ask(message(Message.USER, f"Ring {MOBILE}."), tools=[tool("ring", schema)])
    wrong = ToolCall("c1", "ring", '{"to": "an ⟦PHONE_1⟧"}')
    right = ToolCall("c1", "ring", '{"to": "⟦PHONE_1⟧"}')
    async with serve_gateway(
        tmp_path,
        with_scripted=False,
        residency=Residency.HYBRID,
        LLM_URL=upstream.url,
        LLM_MODEL="tiny",
    ) as served:
        upstream.enqueue(calls(wrong), calls(right))
        response = await served.models.Generate(request)
        assert json.loads(response.tool_calls[0].arguments) == {"to": MOBILE}
        upstream.enqueue(calls(right))
        parts, done = await streamed(served, request)
        assert "".join(each.tool_call_delta.arguments for each in parts) == f'{{"to": "{MOBILE}"}}'
        assert done.redacted_values == 1
    _, repair, _ = upstream.posted
    sent = json.dumps([each.body for each in upstream.posted], ensure_ascii=False)
    assert MOBILE not in sent
    made, told = repair.body["messages"][-2:]
    assert made["tool_calls"][0]["function"]["arguments"] == wrong.arguments
    assert "/to breaks the rule at /properties/to/pattern" in told["content"]


# Rounds


async def test_several_rounds_end_in_an_answer(served: ServedGateway) -> None:
    two = ScriptedReply("Let me see.", calls=(RIGHT, ToolCall("c2", "clock", "{}")))
    served.scripted.enqueue(two, ToolCall("c1", "clock", "{}"))
    conversation = [USER]
    first = await served.models.Generate(ask(*conversation))
    assert first.finish_reason == gateway_pb2.GenerateResponse.TOOL_CALLS
    assert (first.text, len(first.tool_calls)) == ("Let me see.", 2)
    conversation += [
        message(Message.ASSISTANT, first.text, tool_calls=first.tool_calls),
        message(Message.TOOL, "12:00", tool_call_id="c2"),
        message(Message.TOOL, "booked", tool_call_id="c1"),
    ]
    parts, second = await streamed(served, ask(*conversation))
    assert "".join(part.tool_call_delta.arguments for part in parts) == "{}"
    assert (parts[0].tool_call_delta.id, parts[0].tool_call_delta.name) == ("c1", "clock")
    conversation += [
        message(Message.ASSISTANT, "", tool_calls=second.tool_calls),
        message(Message.TOOL, "12:01", tool_call_id="c1"),
    ]
    parts, last = await streamed(served, ask(*conversation))
    assert last.text == "scripted: 12:01"
    assert last.finish_reason == gateway_pb2.GenerateResponse.STOP
    prompt = served.scripted.prompts[-1]
    assert [each.tool_call_id for each in prompt.messages] == ["", "", "c2", "c1", "", "c1"]
    assert prompt.messages[1].tool_calls == two.calls


async def test_streamed_calls_come_in_parts_and_again_whole(served: ServedGateway) -> None:
    both = (ToolCall("c1", "book_leave", '{"days": 3, "who": "你"}'), ToolCall("c2", "clock", "{}"))
    served.scripted.enqueue(ScriptedReply("One moment.", calls=both))
    parts, done = await streamed(served, ask())
    arguments: dict[int, str] = {}
    for part in parts:
        if part.WhichOneof("event") == "tool_call_delta":
            piece = part.tool_call_delta
            begins = piece.index not in arguments
            assert begins == bool(piece.id and piece.name)
            arguments[piece.index] = arguments.get(piece.index, "") + piece.arguments
    assert list(arguments.values()) == [call.arguments for call in both]
    assert [call.arguments for call in done.tool_calls] == list(arguments.values())
    assert done.finish_reason == gateway_pb2.GenerateResponse.TOOL_CALLS


async def test_a_call_without_a_word_of_arguments_has_the_empty_object(
    served: ServedGateway,
) -> None:
    served.scripted.enqueue(ToolCall("c1", "clock", ""))
    parts, done = await streamed(served, ask())
    assert "".join(part.tool_call_delta.arguments for part in parts) == "{}"
    assert done.tool_calls[0].arguments == "{}"


async def test_instructions_and_tools_reach_the_server_as_they_are(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    block = (
        "## 规则 “1”\r\n\t- a\u00a0b  \n```json\n"
        '{"k": ["\\u00e9", null]}\n```\n<x a=\'1\'>&amp;</x>\u2028\ufeff👩‍👩‍👧 e\u0301\n'
    )
    system = block * (30_000 // len(block.encode()) + 1) + " \n"
    async with serve_gateway(
        tmp_path, with_scripted=False, LLM_URL=upstream.url, LLM_MODEL="tiny"
    ) as served:
        upstream.enqueue(calls(RIGHT))
        response = await served.models.Generate(ask(message(Message.SYSTEM, system), USER))
        assert response.tool_calls[0].id == "c1"
    body = upstream.posted[0].body
    assert body["messages"][0]["content"].encode() == system.encode()
    assert body["tools"][0]["function"]["description"] == "Books leave."
    assert body["tools"][0]["function"]["parameters"] == LEAVE
    assert list(body["tools"][0]["function"]["parameters"]["properties"]) == ["days", "who"]


async def test_what_repaired_calls_cost_is_counted(served: ServedGateway) -> None:
    served.scripted.enqueue(WRONG, RIGHT)
    await served.models.Generate(ask())
    listed = await served.catalog.ListUsage(gateway_service_pb2.ListUsageRequest())
    (record,) = listed.records
    assert (record.requests, record.failures) == (1, 1)
    one = await served.models.Generate(ask())
    assert record.usage.prompt_tokens > 2 * one.usage.prompt_tokens - 30


# Web pages


class Pages:
    """Two pages, and one that is forbidden."""

    async def read(self, address: str) -> WebPage:
        if "forbidden" in address:
            raise WebPageForbidden(address, "the operator does not allow its host")
        return WebPage(address, "Leave", "Annual leave is 23 days. " * 2000)


async def test_a_web_page_is_read_with_the_last_message(tmp_path: Path) -> None:
    async with serve_gateway(tmp_path, pages=Pages()) as served:
        request = ask(
            message(Message.SYSTEM, "Be brief."),
            USER,
            tools=[],
            web_pages=["https://wiki.example/leave"],
        )
        await served.models.Generate(request)
        await streamed(served, request)
        first, second = served.scripted.prompts
        assert first == second
        system, user = first.messages
        assert system.content == "Be brief."
        assert user.content.endswith("\n\nBook 3 days, my PIN is 4711.")
        assert 'address="https://wiki.example/leave"' in user.content
        assert "Annual leave is 23 days." in user.content
        assert len(user.content) / 4 < 8192 * 0.55
        forbidden = "https://forbidden.example/"
        error = await refusal(served.models.Generate(ask(tools=[], web_pages=[forbidden])))
        assert error.reason == "WEB_PAGE_FORBIDDEN"
        assert error.metadata["address"] == forbidden


async def test_pages_are_fetched_where_the_operator_names_hosts(tmp_path: Path) -> None:
    async with serve_gateway(tmp_path, GATEWAY_WEB_HOSTS="localhost, *.docs.example") as served:
        for address in ("https://localhost/", "https://other.example/"):
            error = await refusal(served.models.Generate(ask(tools=[], web_pages=[address])))
            assert (error.code, error.reason) == (
                grpc.StatusCode.INVALID_ARGUMENT,
                "WEB_PAGE_FORBIDDEN",
            )
            assert error.field == "web_pages"
        error = await refusal(served.models.Generate(ask(tools=[], web_pages=["https://a b/"])))
        assert error.reason == "WEB_PAGE_FORBIDDEN"


async def test_an_error_after_shown_text_is_the_streams(served: ServedGateway) -> None:
    broken = ScriptedReply("Wait.", calls=(RIGHT,), error=UpstreamFailed("models/x", "why"))
    served.scripted.enqueue(broken)
    error = await refusal(served.models.StreamGenerate(ask()))
    assert error.reason == "UPSTREAM_FAILED"
