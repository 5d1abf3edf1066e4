"""Which tools, conversations and calls are right, and what is said of those that are not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from atrium_gateway.adapters.json_schemas import JsonSchemaCompiler
from atrium_gateway.app.tool_rules import ToolRules, ToolTurn
from atrium_gateway.domain.errors import SchemaUnsupported
from atrium_gateway.domain.generation import (
    ChatMessage,
    Delta,
    FinishReason,
    Prompt,
    Role,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolChoice,
    ToolMode,
)
from atrium_gateway.domain.tokens import estimate_prompt_tokens, most_prompt_tokens
from atrium_gateway.domain.tool_errors import (
    ToolArgumentsInvalid,
    ToolCallRefused,
    ToolChoiceInvalid,
    ToolMessageInvalid,
    ToolNotCalled,
    ToolRepeated,
    ToolSchemaInvalid,
    ToolUnknown,
)
from atrium_shared.errors import AtriumError

LEAVE = {
    "type": "object",
    "properties": {
        "days": {"type": "integer", "maximum": 40},
        "who": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["days"],
    "additionalProperties": False,
}
BOOK = Tool("book_leave", "Books leave.", LEAVE)
CLOCK = Tool("clock")
USER = ChatMessage(Role.USER, "Book 3 days.")
CALL = ToolCall("c1", "book_leave", '{"days": 3}')
ASKED = ChatMessage(Role.ASSISTANT, "", (CALL,))
TOLD = ChatMessage(Role.TOOL, "booked", tool_call_id="c1")


def rules(
    *messages: ChatMessage, tools: tuple[Tool, ...] = (BOOK, CLOCK), **choice: Any
) -> ToolRules:
    prompt = Prompt(messages or (USER,), tools=tools, tool_choice=ToolChoice(**choice))
    return ToolRules(prompt, JsonSchemaCompiler())


def begin(name: str, arguments: str = "", index: int = 0) -> ToolCallDelta:
    return ToolCallDelta(index, arguments, f"c{index + 1}", name)


def refused(turn: ToolTurn, *events: Any, reason: FinishReason = FinishReason.TOOL_CALLS) -> Any:
    try:
        for event in events:
            turn.take(event)
        turn.finish(reason)
    except ToolCallRefused as error:
        return error
    raise AssertionError("the calls were accepted")


# Requests


@pytest.mark.parametrize(
    ("make", "error", "field"),
    [
        (lambda: rules(tools=(BOOK, CLOCK, BOOK)), ToolRepeated, "tools[2].name"),
        (
            lambda: rules(tools=(CLOCK, Tool("x", "", {"type": "array"}))),
            ToolSchemaInvalid,
            "tools[1].parameters",
        ),
        (
            lambda: rules(tools=(Tool("x", "", {"type": ["object", "null"]}),)),
            ToolSchemaInvalid,
            "tools[0].parameters",
        ),
        (
            lambda: rules(tools=(Tool("x", "", {"type": "object", "properties": [1]}),)),
            ToolSchemaInvalid,
            "tools[0].parameters",
        ),
        (
            lambda: rules(tools=(Tool("x", "", {"properties": {"a": {"type": "strin"}}}),)),
            ToolSchemaInvalid,
            "tools[0].parameters",
        ),
        (
            lambda: rules(tools=(Tool("x", "", {"$ref": "http://127.0.0.1:9/s.json"}),)),
            ToolSchemaInvalid,
            "tools[0].parameters",
        ),
        (
            lambda: rules(tools=(Tool("x", "", {"$ref": "file:///etc/passwd"}),)),
            ToolSchemaInvalid,
            "tools[0].parameters",
        ),
        (
            lambda: rules(tools=(Tool("x", "", {"description": "d" * 70_000}),)),
            ToolSchemaInvalid,
            "tools[0].parameters",
        ),
        (
            lambda: rules(
                tools=tuple(Tool(f"t{i}", "", {"description": f"{i}" * 60_000}) for i in range(6))
            ),
            ToolSchemaInvalid,
            "tools[4].parameters",
        ),
        (lambda: rules(tools=(), mode=ToolMode.REQUIRED), ToolChoiceInvalid, "tool_choice"),
        (lambda: rules(tools=(), tool="x"), ToolChoiceInvalid, "tool_choice.tool"),
        (lambda: rules(tool="x"), ToolChoiceInvalid, "tool_choice.tool"),
        (
            lambda: rules(ChatMessage(Role.TOOL, "12")),
            ToolMessageInvalid,
            "messages[0].tool_call_id",
        ),
        (lambda: rules(USER, TOLD), ToolMessageInvalid, "messages[1].tool_call_id"),
        (lambda: rules(USER, ASKED, TOLD, TOLD), ToolMessageInvalid, "messages[3].tool_call_id"),
        (
            lambda: rules(USER, ASKED, ChatMessage(Role.TOOL, "x", tool_call_id="c2")),
            ToolMessageInvalid,
            "messages[2].tool_call_id",
        ),
        (lambda: rules(USER, ASKED), ToolMessageInvalid, "messages"),
        (lambda: rules(USER, ASKED, USER), ToolMessageInvalid, "messages[2]"),
        (
            lambda: rules(ChatMessage(Role.USER, "x", (CALL,))),
            ToolMessageInvalid,
            "messages[0].tool_calls",
        ),
        (
            lambda: rules(ChatMessage(Role.USER, "x", tool_call_id="c1")),
            ToolMessageInvalid,
            "messages[0].tool_call_id",
        ),
        (
            lambda: rules(USER, ChatMessage(Role.ASSISTANT, "", (CALL, CALL))),
            ToolMessageInvalid,
            "messages[1].tool_calls[1].id",
        ),
        (
            lambda: rules(
                USER, ChatMessage(Role.ASSISTANT, "", (ToolCall("c1", "clock", "[1]"),)), TOLD
            ),
            ToolMessageInvalid,
            "messages[1].tool_calls[0].arguments",
        ),
    ],
)
def test_a_request_that_cannot_be_meant_is_refused_with_its_field(
    make: Any, error: type[AtriumError], field: str
) -> None:
    with pytest.raises(error) as caught:
        make()
    assert caught.value.field == field
    assert caught.value.message.endswith(".")


def test_rounds_of_calls_and_results_may_use_an_id_again() -> None:
    two = ChatMessage(Role.ASSISTANT, "a", (CALL, ToolCall("c2", "clock", "{}")))
    other = ChatMessage(Role.TOOL, "12:00", tool_call_id="c2")
    rules(USER, two, other, TOLD, ASKED, TOLD, ChatMessage(Role.ASSISTANT, "Done."), USER)


def test_a_conversation_with_calls_needs_no_tools_any_more() -> None:
    rules(USER, ASKED, TOLD, tools=())


# Calls


@pytest.mark.parametrize(
    ("arguments", "path", "why"),
    [
        ("{", "", "they are not JSON"),
        ("[" * 100_000, "", "they are not JSON"),
        ("3", "", "they are not a JSON object"),
        ('{"days": 3, "days": 4}', "", "they have a key twice"),
        ('{"days": NaN}', "", "they hold NaN, which JSON does not have"),
        ("{}", "", '/ lacks "days"'),
        ("", "", '/ lacks "days"'),
        ('{"days": "3"}', "/days", "/days breaks the rule at /properties/days/type"),
        ('{"days": 41}', "/days", "/days breaks the rule at /properties/days/maximum"),
        (
            '{"days": 1, "who": ["a", 7]}',
            "/who/1",
            "/who/1 breaks the rule at /properties/who/items/type",
        ),
        ('{"days": 1, "why": "secret"}', "", "/ breaks the rule at /additionalProperties"),
        ('{"days": 1, "who": ["' + "x" * 1_000_000 + '"]}', "", "more than 1,000,000 characters"),
    ],
)
def test_arguments_that_do_not_fit_are_named_by_tool_path_and_reason(
    arguments: str, path: str, why: str
) -> None:
    error = refused(rules().turn("models/tiny"), begin("book_leave", arguments))
    assert isinstance(error, ToolArgumentsInvalid)
    assert error.metadata == {"model": "models/tiny", "tool": "book_leave", "path": path}
    assert why in error.message
    assert "secret" not in error.message
    assert "Book 3 days" not in error.message
    asked, told = error.repair
    assert (asked.role, told.role, told.tool_call_id) == (Role.ASSISTANT, Role.TOOL, "c1")
    assert isinstance(json.loads(asked.tool_calls[0].arguments), dict)
    assert why in told.content


def test_only_what_is_wrong_is_told_as_wrong() -> None:
    turn = rules().turn("models/tiny")
    events = [begin("book_leave", '{"days": 3}'), begin("clock", '{"a": 1}', 1)]
    error = refused(turn, Delta("Ok."), *events)
    assert error.metadata["tool"] == "clock"
    asked, first, second = error.repair
    assert (asked.content, len(asked.tool_calls)) == ("Ok.", 2)
    assert first.content == "Not run, because another call of this turn was wrong."
    assert second.content.startswith("Error: the arguments do not fit the schema of clock")


def test_a_tool_that_is_not_there_is_refused_as_soon_as_it_is_named() -> None:
    turn = rules().turn("models/tiny")
    with pytest.raises(ToolUnknown) as caught:
        turn.take(begin("rm_rf", "{"))
    assert caught.value.metadata == {"model": "models/tiny", "tool": "rm_rf"}
    assert "it may call book_leave, clock" in caught.value.message
    assert "The tools are book_leave, clock." in caught.value.repair[-1].content


@pytest.mark.parametrize("name", ["", "a b", "x" * 900, "工具"])
def test_a_name_that_no_tool_can_have_does_not_come_back_in_the_repair(name: str) -> None:
    error = refused(rules().turn("models/tiny"), begin(name))
    assert isinstance(error, ToolUnknown)
    assert error.repair[0].tool_calls[0].name == "unknown"
    assert len(error.message) < 400


def test_no_call_is_allowed_where_the_choice_says_so() -> None:
    turn = rules(mode=ToolMode.NONE).turn("models/tiny")
    error = refused(turn, begin("clock"))
    assert isinstance(error, ToolUnknown)
    assert "it may call none" in error.message


def test_a_call_out_of_nowhere_is_refused_where_there_are_no_tools() -> None:
    assert isinstance(refused(rules(tools=()).turn("models/tiny"), begin("clock")), ToolUnknown)


@pytest.mark.parametrize("choice", [{"mode": ToolMode.REQUIRED}, {"tool": "clock"}])
def test_a_reply_without_the_call_it_must_have_is_refused_unseen(choice: dict[str, Any]) -> None:
    turn = rules(**choice).turn("models/tiny")
    assert list(turn.take(Delta("I would rather talk."))) == []
    with pytest.raises(ToolNotCalled) as caught:
        turn.finish(FinishReason.STOP)
    said, told = caught.value.repair
    assert (said.role, said.content) == (Role.ASSISTANT, "I would rather talk.")
    assert told.role is Role.USER
    assert "clock" in told.content
    assert "rather" not in caught.value.message


def test_another_tool_than_the_named_one_does_not_do() -> None:
    error = refused(rules(tool="clock").turn("models/tiny"), begin("book_leave", "{"))
    assert isinstance(error, ToolNotCalled)
    assert error.metadata["tool"] == "clock"


def test_text_before_a_required_call_comes_with_the_call() -> None:
    turn = rules(mode=ToolMode.REQUIRED).turn("models/tiny")
    first, call, last = Delta("Sure. "), begin("clock", "{}"), Delta("Done.")
    assert list(turn.take(first)) == []
    assert list(turn.take(call)) == [first, call]
    assert list(turn.take(last)) == [last]
    calls, reason = turn.finish(FinishReason.STOP)
    assert calls == (ToolCall("c1", "clock", "{}"),)
    assert reason is FinishReason.TOOL_CALLS


def test_a_call_that_was_cut_is_not_asked_for_again() -> None:
    turn = rules().turn("models/tiny")
    error = refused(turn, begin("book_leave", '{"da'), reason=FinishReason.LENGTH)
    assert isinstance(error, ToolArgumentsInvalid)
    assert "raise max_tokens" in error.message
    assert error.repair == ()


def test_a_reply_that_was_cut_after_a_whole_call_keeps_it() -> None:
    turn = rules().turn("models/tiny")
    turn.take(begin("book_leave", '{"days": 3}'))
    assert turn.finish(FinishReason.LENGTH) == ((CALL,), FinishReason.LENGTH)


def test_a_server_that_speaks_of_calls_and_makes_none_just_stopped() -> None:
    turn = rules().turn("models/tiny")
    turn.take(Delta("Hello."))
    assert turn.finish(FinishReason.TOOL_CALLS) == ((), FinishReason.STOP)


# What is kept of schemas


def test_a_schema_is_compiled_once_by_its_content() -> None:
    compiler = JsonSchemaCompiler()
    assert compiler.compile(LEAVE) is compiler.compile(json.loads(json.dumps(LEAVE)))
    assert compiler.compile({"const": 1}) is not compiler.compile({"const": True})
    assert compiler.compile({"const": 1}).mismatch("true")


def test_kept_schemas_are_bounded_by_number_and_by_size() -> None:
    compiler = JsonSchemaCompiler()
    first = compiler.compile({"const": "first"})
    for number in range(511):
        compiler.compile({"const": number})
    assert compiler.compile({"const": "first"}) is first
    compiler.compile({"const": "one more"})
    compiler.compile({"const": "and one"})
    assert compiler.compile({"const": "first"}) is first
    for number in range(70):
        compiler.compile({"description": f"{number}" + "x" * 62_000})
    assert compiler.compile({"const": "first"}) is not first


def test_a_schema_that_is_refused_is_not_kept() -> None:
    compiler = JsonSchemaCompiler()
    for _ in range(2):
        with pytest.raises(SchemaUnsupported):
            compiler.compile({"type": "strin"})


def test_a_pattern_that_runs_away_ends() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+\\1$"}}}
    tool = Tool("x", "", schema)
    error = refused(rules(tools=(tool,)).turn("m"), begin("x", json.dumps({"a": "a" * 5000 + "b"})))
    assert error.metadata["path"] == "/a"


# How much they cost


def test_tools_and_calls_count_in_a_prompt() -> None:
    described = json.dumps({"name": BOOK.name, "description": BOOK.description, "p": LEAVE})
    plain = estimate_prompt_tokens((USER,))
    assert estimate_prompt_tokens((USER,), (BOOK,)) - plain > len(described) / 4
    assert most_prompt_tokens((USER,), (BOOK,)) > estimate_prompt_tokens((USER,), (BOOK,))
    assert estimate_prompt_tokens((USER, ASKED)) > plain
    indented = json.dumps({"function": {"parameters": LEAVE}}, indent=4)
    assert most_prompt_tokens((), (Tool("t", "说" * 100, LEAVE),)) > len(indented) + 600
