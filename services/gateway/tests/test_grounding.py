"""Replies that keep to their sources: what is dropped, what stays, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import struct_pb2

from atrium.gateway.v1 import gateway_pb2, gateway_service_pb2
from atrium_gateway.adapters.scripted_backend import ScriptedReply
from atrium_gateway.testing import ServedGateway, refusal, serve_gateway

LEAVE = gateway_pb2.Source(
    id="leave",
    text="Employees in Berlin have 30 working days of paid annual leave. "
    "Unused days are not paid out. Up to 5 days may be carried over until 31 March.",
)
CHINA = gateway_pb2.Source(
    id="china", text="员工每年享有 15 个工作日的带薪年假。未休完的年假不能折算为现金。"
)
TRUE = "Employees in Berlin have 30 working days of paid annual leave."
ALSO = "Up to five days may be carried over until 31 March."
WRONG = "They also have 12 days of unpaid leave in Rotterdam."
DENIED = "Unused days are paid out."


def ask(question: str = "How much leave is there?", **more: Any) -> gateway_pb2.GenerateRequest:
    message = gateway_pb2.Message(role=gateway_pb2.Message.USER, content=question)
    fields: dict[str, Any] = {
        "sources": [LEAVE, CHINA],
        "grounding": gateway_pb2.STRICT,
        **more,
    }
    return gateway_pb2.GenerateRequest(task="default", messages=[message], **fields)


def schema() -> struct_pb2.Struct:
    schema = struct_pb2.Struct()
    schema.update({"type": "object"})
    return schema


# Bad input


@pytest.mark.parametrize(
    ("more", "reason", "field"),
    [
        ({"sources": []}, "GROUNDING_WITHOUT_SOURCES", "sources"),
        ({"response_schema": schema()}, "GROUNDING_WITH_SCHEMA", "response_schema"),
        ({"sources": [LEAVE, CHINA, LEAVE]}, "SOURCE_REPEATED", "sources[2].id"),
        (
            {"sources": [gateway_pb2.Source(id="long", text="长" * 200_001)]},
            "SOURCES_TOO_LONG",
            "sources",
        ),
    ],
)
async def test_what_cannot_be_checked_is_refused_before_a_model_is_asked(
    served: ServedGateway, more: dict[str, Any], reason: str, field: str
) -> None:
    for call in (served.models.Generate, served.models.StreamGenerate):
        error = await refusal(call(ask(**more)))
        assert (error.reason, error.metadata.get("field", field)) == (reason, field)
    assert not served.scripted.prompts


@pytest.mark.parametrize("reply", [WRONG, DENIED, "Hello!", "30", ""])
async def test_a_reply_without_any_supported_sentence_fails(
    served: ServedGateway, reply: str
) -> None:
    served.scripted.enqueue(reply, reply)
    for call in (served.models.Generate, served.models.StreamGenerate):
        error = await refusal(call(ask()))
        assert error.reason == "REPLY_UNSUPPORTED"


# What is kept


async def test_sentences_that_no_source_supports_are_dropped(served: ServedGateway) -> None:
    served.scripted.enqueue(f"Here is the answer. {TRUE} {WRONG} {DENIED}\n\n{ALSO}")
    reply = await served.models.Generate(ask())
    assert reply.text == f"{TRUE}\n\n{ALSO}"
    assert reply.dropped_sentences == 3
    assert [list(each.sources) for each in reply.supports] == [["leave"], ["leave"]]
    assert [reply.text[each.start : each.end] for each in reply.supports] == [TRUE, ALSO]


async def test_a_source_supports_a_sentence_of_the_other_language(served: ServedGateway) -> None:
    said = "Employees have 15 working days of paid annual leave."
    served.scripted.enqueue(said)
    reply = await served.models.Generate(ask())
    assert [list(each.sources) for each in reply.supports] == [["china"]]


async def test_a_stream_gives_each_sentence_once_it_is_supported(served: ServedGateway) -> None:
    served.scripted.enqueue(f"{TRUE} {WRONG} {ALSO}")
    events = [event async for event in served.models.StreamGenerate(ask())]
    assert [event.delta for event in events[:-1]] == [TRUE, f" {ALSO}"]
    done = events[-1].done
    assert done.text == f"{TRUE} {ALSO}"
    assert done.dropped_sentences == 1
    assert [done.text[each.start : each.end] for each in done.supports] == [TRUE, ALSO]


async def test_a_stream_does_not_wait_for_the_end_of_the_reply(served: ServedGateway) -> None:
    served.scripted.enqueue(ScriptedReply(f"{TRUE} {ALSO}", pause_seconds=0.02))
    stream = served.models.StreamGenerate(ask())
    first = await anext(aiter(stream))
    assert first.delta == TRUE
    stream.cancel()


async def test_a_stream_that_breaks_off_fails_with_its_own_error(served: ServedGateway) -> None:
    served.scripted.enqueue(ScriptedReply(f"{TRUE} And", error=RuntimeError("gone")))
    stream = served.models.StreamGenerate(ask())
    error = await refusal(stream)
    assert error.reason != "REPLY_UNSUPPORTED"


# Sources, and who asks for the check


async def test_the_model_reads_the_sources_before_the_last_message(served: ServedGateway) -> None:
    await served.models.Generate(ask(grounding=gateway_pb2.TOLERANT))
    last = served.scripted.prompts[-1].messages[-1].content
    assert last.index("[leave]\nEmployees") < last.index("[china]\n员工")
    assert last.endswith("\n\nHow much leave is there?")


async def test_a_tolerant_reply_stands_as_it_was_written(served: ServedGateway) -> None:
    served.scripted.enqueue(WRONG)
    reply = await served.models.Generate(ask(grounding=gateway_pb2.TOLERANT))
    assert reply.text == WRONG
    assert not reply.supports


async def test_a_route_can_ask_for_the_check_and_a_request_decide_otherwise(tmp_path: Any) -> None:
    async with serve_gateway(tmp_path) as served:
        route = gateway_pb2.Route(
            name="routes/default",
            candidates=[gateway_pb2.Route.Candidate(model="models/scripted")],
            grounding=gateway_pb2.STRICT,
        )
        await served.catalog.UpdateRoute(gateway_service_pb2.UpdateRouteRequest(route=route))
        served.scripted.enqueue(f"{WRONG} {TRUE}", WRONG)
        unsaid = gateway_pb2.GROUNDING_UNSPECIFIED
        assert (await served.models.Generate(ask(grounding=unsaid))).text == TRUE
        tolerant = await served.models.Generate(ask(grounding=gateway_pb2.TOLERANT))
        assert tolerant.text == WRONG
