"""Model calls over gRPC."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc
import jwt
import numpy as np
import pytest
from google.protobuf import struct_pb2
from google.protobuf.json_format import ParseDict

from atrium.engine.v1 import engine_pb2
from atrium.gateway.v1 import gateway_pb2, gateway_service_pb2
from atrium.gateway.v1.gateway_service_pb2_grpc import ModelGatewayStub
from atrium_gateway.adapters.scripted_backend import ScriptedReply
from atrium_gateway.domain.errors import UpstreamFailed
from atrium_gateway.domain.generation import ChatMessage, Role
from atrium_gateway.testing import (
    Answer,
    FakeUpstream,
    ServedGateway,
    delta,
    event,
    failure,
    json_answer,
    refusal,
    reply,
    serve_gateway,
)
from atrium_shared.audit import Decision
from atrium_shared.testing import eventually

SCHEMA = {
    "type": "object",
    "properties": {"days": {"type": "integer", "minimum": 3}, "city": {"type": "string"}},
    "required": ["days", "city"],
}


def ask(text: str = "How many days?", task: str = "knowledge.answer", **more: Any) -> Any:
    messages = [gateway_pb2.Message(role=gateway_pb2.Message.USER, content=text)]
    return gateway_pb2.GenerateRequest(task=task, messages=messages, **more)


def with_schema(schema: dict[str, Any], **more: Any) -> Any:
    return ask(response_schema=ParseDict(schema, struct_pb2.Struct()), **more)


def remote(upstream: FakeUpstream, **more: str) -> dict[str, str]:
    return {"LLM_URL": upstream.url, "LLM_MODEL": "tiny", **more}


def route_to(*models: str, **more: object) -> dict[str, Any]:
    return {"default": [{"model": f"models/{name}", **more} for name in models]}


def servers(folder: Path, upstream: FakeUpstream, **more: object) -> dict[str, str]:
    model = {"name": "models/tiny", "upstream_model": "tiny", **more}
    path = folder / "servers.yaml"
    path.write_text(json.dumps({"servers": [{"url": upstream.url, "models": [model]}]}))
    return {"GATEWAY_SERVERS_FILE": str(path)}


# Generate and StreamGenerate


async def test_generate_returns_the_text_what_made_it_and_what_it_cost(
    served: ServedGateway,
) -> None:
    served.scripted.enqueue("Twenty days.")
    response = await served.models.Generate(
        gateway_pb2.GenerateRequest(
            task="knowledge.answer",
            messages=[
                gateway_pb2.Message(role=gateway_pb2.Message.SYSTEM, content="Be brief."),
                gateway_pb2.Message(role=gateway_pb2.Message.USER, content="How many?"),
                gateway_pb2.Message(role=gateway_pb2.Message.ASSISTANT, content="Of what?"),
            ],
            max_tokens=9,
            temperature=0.5,
            stop=["##"],
            seed=0,
        )
    )
    assert response.generation.startswith("generations/")
    assert response == gateway_pb2.GenerateResponse(
        generation=response.generation,
        text="Twenty days.",
        finish_reason=gateway_pb2.GenerateResponse.STOP,
        engine=engine_pb2.Engine(
            kind=engine_pb2.Engine.GENERATIVE, backend="scripted", model="scripted"
        ),
        usage=engine_pb2.Usage(prompt_tokens=6, completion_tokens=2),
    )
    (prompt,) = served.scripted.prompts
    assert prompt.messages == (
        ChatMessage(Role.SYSTEM, "Be brief."),
        ChatMessage(Role.USER, "How many?"),
        ChatMessage(Role.ASSISTANT, "Of what?"),
    )
    assert (prompt.max_tokens, prompt.temperature) == (9, 0.5)
    assert (prompt.stop, prompt.seed, prompt.response_schema) == (("##",), 0, None)


async def test_a_stream_gives_the_parts_and_then_the_whole(served: ServedGateway) -> None:
    served.scripted.enqueue("二十天 a year.")
    events = [each async for each in served.models.StreamGenerate(ask())]
    assert [each.delta for each in events[:-1]] == ["二", "十", "天", " ", "a ", "year."]
    assert events[-1].done.text == "二十天 a year."
    assert events[-1].done.usage.completion_tokens == 6
    assert events[-1].done.engine.model == "scripted"


async def test_a_reply_that_reaches_max_tokens_says_so(served: ServedGateway) -> None:
    served.scripted.enqueue("one two three")
    response = await served.models.Generate(ask(max_tokens=2))
    assert response.finish_reason == gateway_pb2.GenerateResponse.LENGTH


async def test_the_routes_default_sets_max_tokens_where_the_request_does_not(
    tmp_path: Path,
) -> None:
    async with serve_gateway(tmp_path, routes=route_to("scripted", max_tokens=77)) as served:
        await served.models.Generate(ask())
        await served.models.Generate(ask(max_tokens=5))
        assert [prompt.max_tokens for prompt in served.scripted.prompts] == [77, 5]


async def test_a_schema_reaches_the_model_in_the_order_of_its_required_properties(
    served: ServedGateway,
) -> None:
    response = await served.models.Generate(with_schema(SCHEMA))
    assert json.loads(response.text) == {"days": 3, "city": "scripted"}
    schema = served.scripted.prompts[0].response_schema
    assert schema == SCHEMA
    assert list(schema["properties"]) == ["days", "city"]
    assert isinstance(schema["properties"]["days"]["minimum"], int)


async def test_a_remote_server_answers_through_its_url(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    variables = remote(upstream, LLM_API_KEY="the key")
    async with serve_gateway(tmp_path, with_scripted=False, **variables) as served:
        response = await served.models.Generate(ask("one two"))
        assert response.text == "one two"
        assert response.engine.backend == "openai"
        assert response.engine.model == "tiny"
        assert not response.engine.degraded
    assert upstream.posted[0].headers["authorization"] == "Bearer the key"


# What goes wrong


async def test_without_a_model_a_call_says_what_to_do(tmp_path: Path) -> None:
    async with serve_gateway(tmp_path, with_scripted=False) as served:
        calls = [
            served.models.Generate(ask()),
            served.models.StreamGenerate(ask()),
            served.models.Embed(embedding("a")),
        ]
        for call in calls:
            error = await refusal(call)
            assert error.code is grpc.StatusCode.UNAVAILABLE
            assert error.reason == "TASK_HAS_NO_MODEL"
            assert error.metadata["task"].startswith("knowledge.")
            assert "atrium models pull small" in error.message
            assert "GATEWAY_MODELS=none" in error.message
            assert "LLM_URL" in error.message


async def test_a_model_whose_files_are_missing_says_what_to_pull(tmp_path: Path) -> None:
    variables = {"GATEWAY_MODELS": "small"}
    async with serve_gateway(tmp_path, with_scripted=False, **variables) as served:
        error = await refusal(served.models.Generate(ask()))
        assert error.reason == "TASK_HAS_NO_MODEL"
        assert "run `atrium models pull small`" in error.message


@pytest.mark.parametrize(
    ("answer", "reason", "metadata"),
    [
        (failure(500), "UPSTREAM_FAILED", {"model": "models/tiny", "status": "500"}),
        (Answer([b"data: garbage\n\n"]), "UPSTREAM_FAILED", {"model": "models/tiny"}),
        (Answer(), "UPSTREAM_FAILED", {"model": "models/tiny"}),
        (Answer(cut=True), "UPSTREAM_FAILED", {"model": "models/tiny"}),
        (
            Answer(hang=True),
            "UPSTREAM_TIMED_OUT",
            {"model": "models/tiny", "timeout_seconds": "0.2"},
        ),
        (
            Answer([delta("never ends"), *[event({"choices": []}), 0.05] * 99]),
            "UPSTREAM_TIMED_OUT",
            {"model": "models/tiny", "timeout_seconds": "0.2"},
        ),
    ],
)
async def test_a_failing_server_is_named_in_both_forms_of_a_call(
    tmp_path: Path,
    upstream: FakeUpstream,
    answer: Answer,
    reason: str,
    metadata: dict[str, str],
) -> None:
    # On a busy machine a server that fails at once may take long to say so.
    routes = route_to("tiny", timeout_seconds=0.2 if reason == "UPSTREAM_TIMED_OUT" else 20)
    async with serve_gateway(tmp_path, routes=routes, **remote(upstream)) as served:
        for call in (served.models.Generate, served.models.StreamGenerate):
            upstream.enqueue(answer)
            error = await refusal(call(ask()))
            assert error.code is grpc.StatusCode.UNAVAILABLE
            assert error.reason == reason
            assert error.metadata == metadata


async def test_a_prompt_that_does_not_fit_is_refused_with_its_sizes(served: ServedGateway) -> None:
    error = await refusal(served.models.Generate(ask("word " * 9000, max_tokens=100)))
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.reason == "PROMPT_TOO_LONG"
    assert error.field == "messages"
    assert error.metadata == {
        "model": "models/scripted",
        "prompt_tokens": "9000",
        "max_tokens": "100",
        "context_tokens": "8192",
    }


async def test_a_full_queue_refuses_and_an_empty_one_takes_calls_again(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    variables = servers(tmp_path, upstream, concurrent=1) | {"GATEWAY_QUEUE_CAPACITY": "1"}
    async with serve_gateway(tmp_path, routes=route_to("tiny"), **variables) as served:
        upstream.enqueue(Answer([delta("on its way")], hang=True))
        first = served.models.StreamGenerate(ask())
        await first.read()
        two = [asyncio.ensure_future(served.models.Generate(ask("second"))) for _ in range(2)]
        (refused,), (waits,) = await asyncio.wait(two, return_when=asyncio.FIRST_COMPLETED)
        error = await refusal(refused)
        assert error.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert error.reason == "GENERATOR_QUEUE_FULL"
        assert error.metadata == {"model": "models/tiny", "waiting": "1"}
        first.cancel()
        assert (await waits).text == "second"
        assert (await served.models.Generate(ask("third"))).text == "third"


async def test_calls_that_wait_too_long_for_their_turn_time_out(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    variables = servers(tmp_path, upstream, concurrent=1)
    slow = [{"model": "models/tiny", "timeout_seconds": 30}]
    routes = route_to("tiny", timeout_seconds=0.2) | {"slow": slow}
    async with serve_gateway(tmp_path, routes=routes, **variables) as served:
        upstream.enqueue(Answer([delta("on its way")], hang=True))
        first = served.models.StreamGenerate(ask(task="slow"))
        await first.read()
        errors = await asyncio.gather(*(refusal(served.models.Generate(ask())) for _ in range(3)))
        assert {error.reason for error in errors} == {"UPSTREAM_TIMED_OUT"}
        assert len(upstream.posted) == 1
        first.cancel()
        assert (await served.models.Generate(ask("next"))).text == "next"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "no such type"},
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"$ref": "file:///etc/hostname"},
        {"properties": {"a": {"$ref": "#/nowhere"}}},
        {"properties": {"a": {"pattern": "("}}},
        {"description": "x" * 70_000},
    ],
)
async def test_what_is_no_usable_schema_is_refused_before_a_model_is_asked(
    served: ServedGateway, schema: dict[str, Any]
) -> None:
    error = await refusal(served.models.Generate(with_schema(schema)))
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.reason == "SCHEMA_UNSUPPORTED"
    assert error.field == "response_schema"
    assert not served.scripted.prompts


@pytest.mark.parametrize("text", ["Sure! Here it is.", '{"days": "three"}', '{"days": 3}'])
async def test_a_reply_that_breaks_its_schema_is_refused_without_its_words(
    served: ServedGateway, text: str
) -> None:
    served.scripted.enqueue(text, text)
    for call in (served.models.Generate, served.models.StreamGenerate):
        error = await refusal(call(with_schema(SCHEMA)))
        assert error.reason == "SCHEMA_UNSUPPORTED"
        assert error.metadata == {"model": "models/scripted"}
        assert "Sure" not in error.message
        assert "three" not in error.message


async def test_a_reply_cut_at_max_tokens_is_not_held_to_the_schema(served: ServedGateway) -> None:
    served.scripted.enqueue('{"days": 3, "city": "far')
    response = await served.models.Generate(with_schema(SCHEMA, max_tokens=2))
    assert response.finish_reason == gateway_pb2.GenerateResponse.LENGTH


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (ask(task=""), "task"),
        (ask(task="Not A Task"), "task"),
        (gateway_pb2.GenerateRequest(task="t"), "messages"),
        (
            gateway_pb2.GenerateRequest(task="t", messages=[gateway_pb2.Message(content="x")]),
            "messages[0].role",
        ),
        (ask(max_tokens=-1), "max_tokens"),
        (ask(temperature=3), "temperature"),
        (ask(stop=[""]), "stop[0]"),
    ],
)
async def test_fields_outside_their_limits_are_named(
    served: ServedGateway, request_: Any, field: str
) -> None:
    error = await refusal(served.models.Generate(request_))
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.reason == "FIELD_INVALID"
    assert error.field == field


async def test_who_may_not_use_models_is_denied(served: ServedGateway) -> None:
    guest = ModelGatewayStub(served.open_channel("guest"))
    error = await refusal(guest.Generate(ask()))
    assert error.code is grpc.StatusCode.PERMISSION_DENIED
    assert error.metadata["permission"] == "gateway.models:use"
    error = await refusal(ModelGatewayStub(served.open_channel()).Generate(ask()))
    assert error.code is grpc.StatusCode.UNAUTHENTICATED


# Fallbacks


async def test_the_next_candidate_answers_when_the_first_fails_and_says_so(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    routes = route_to("tiny", "scripted", timeout_seconds=0.3)
    async with serve_gateway(tmp_path, routes=routes, **remote(upstream)) as served:
        upstream.enqueue(failure(500))
        response = await served.models.Generate(ask("hello"))
        assert response.text == "scripted: hello"
        assert response.engine.model == "scripted"
        assert response.engine.degraded
        assert response.engine.degraded_reason == "models/tiny: HTTP 500"
        upstream.enqueue(Answer(hang=True))
        response = await served.models.Generate(ask("hello"))
        reason = "models/tiny: took longer than 0.3 s for the reply"
        assert response.engine.degraded_reason == reason


async def test_a_stream_falls_back_before_its_first_part_and_not_after(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    routes = route_to("tiny", "scripted")
    async with serve_gateway(tmp_path, routes=routes, **remote(upstream)) as served:
        upstream.enqueue(Answer(cut=True))
        assert (await collect(served.models.StreamGenerate(ask()))).engine.degraded
        upstream.enqueue(Answer([delta("shown")], cut=True))
        stream = served.models.StreamGenerate(ask())
        assert (await stream.read()).delta == "shown"
        error = await refusal(stream)
        assert error.reason == "UPSTREAM_FAILED"
        assert len(served.scripted.prompts) == 1


async def test_a_whole_reply_falls_back_even_after_a_part(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    routes = route_to("tiny", "scripted")
    async with serve_gateway(tmp_path, routes=routes, **remote(upstream)) as served:
        upstream.enqueue(Answer([delta("half")], cut=True))
        assert (await served.models.Generate(ask("hello"))).text == "scripted: hello"


async def test_a_prompt_too_long_for_the_first_goes_to_a_larger_model(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    routes = route_to("scripted", "tiny")
    async with serve_gateway(tmp_path, routes=routes, **remote(upstream)) as served:
        response = await served.models.Generate(ask("word " * 9000))
        assert response.engine.model == "tiny"
        assert response.engine.degraded_reason == "models/scripted: PROMPT_TOO_LONG"


async def test_when_all_candidates_fail_the_failed_server_is_what_is_told(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    routes = route_to("multilingual-e5-small", "qwen2.5-0.5b", "tiny", "scripted")
    async with serve_gateway(tmp_path, routes=routes, **remote(upstream)) as served:
        upstream.enqueue(failure(500))
        error = await refusal(served.models.Generate(ask("word " * 9000)))
        assert error.reason == "UPSTREAM_FAILED"
        assert error.metadata["model"] == "models/tiny"


# Streams that are left


@pytest.mark.parametrize("sent", [[], [delta("on its way")]])
async def test_cancelling_a_stream_stops_the_server_within_100_ms(
    tmp_path: Path, upstream: FakeUpstream, sent: list[bytes]
) -> None:
    async with serve_gateway(tmp_path, with_scripted=False, **remote(upstream)) as served:
        upstream.enqueue(Answer(sent, hang=True))
        call = served.models.StreamGenerate(ask())
        if sent:
            await call.read()
        await eventually(lambda: upstream.posted)
        cancelled_at = asyncio.get_running_loop().time()
        call.cancel()
        await eventually(lambda: upstream.left_at)
        assert upstream.left_at[0] - cancelled_at < 0.1
        usage = await used(served)
        assert [(each.requests, each.failures) for each in usage] == [(1, 0)]


async def test_a_whole_reply_is_asked_for_in_one_piece(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    choice = {"index": 0, "message": {"content": "all of it"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 4}
    async with serve_gateway(tmp_path, with_scripted=False, **remote(upstream)) as served:
        upstream.enqueue(json_answer({"choices": [choice], "usage": usage}))
        response = await served.models.Generate(ask())
        assert (response.text, response.usage.completion_tokens) == ("all of it", 4)
        async for _ in served.models.StreamGenerate(ask()):
            pass
    assert [request.body.get("stream") for request in upstream.posted] == [None, True]


async def test_leaving_a_whole_reply_stops_the_server_and_costs_all_it_could(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    async with serve_gateway(tmp_path, with_scripted=False, **remote(upstream)) as served:
        upstream.enqueue(Answer(hang=True))
        call = served.models.Generate(ask(max_tokens=33))
        await eventually(lambda: upstream.posted)
        call.cancel()
        await eventually(lambda: upstream.left_at)
        [usage] = await used(served)
        assert (usage.requests, usage.usage.completion_tokens) == (1, 33)


async def test_cancelling_a_fast_stream_stops_the_server(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    async with serve_gateway(tmp_path, with_scripted=False, **remote(upstream)) as served:
        upstream.enqueue(Answer([part for _ in range(5000) for part in (delta("x"), 0.0005)]))
        call = served.models.StreamGenerate(ask(max_tokens=10_000))
        for _ in range(10):
            await call.read()
        cancelled_at = asyncio.get_running_loop().time()
        call.cancel()
        await eventually(lambda: upstream.left_at)
        assert upstream.left_at[0] - cancelled_at < 0.1
        (usage,) = await used(served)
        assert 0 < usage.usage.completion_tokens < 200


async def test_a_call_past_its_deadline_stops_the_server(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    async with serve_gateway(tmp_path, with_scripted=False, **remote(upstream)) as served:
        upstream.enqueue(Answer(hang=True))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await served.models.Generate(ask(), timeout=0.2)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await eventually(lambda: upstream.left_at)


# Embed


def embedding(*texts: str, **more: Any) -> Any:
    fields = {"kind": gateway_pb2.EmbedRequest.PASSAGE, **more}
    return gateway_pb2.EmbedRequest(task="knowledge.embed", texts=texts, **fields)


async def test_vectors_come_as_bytes_row_after_row(served: ServedGateway) -> None:
    response = await served.models.Embed(embedding("annual leave", "leave annual", "pay"))
    vectors = np.frombuffer(response.vectors, "<f4").reshape(3, response.dimensions)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-6)
    assert vectors[0] @ vectors[1] == pytest.approx(1)
    assert abs(vectors[0] @ vectors[2]) < 0.5
    assert list(response.truncated) == [False] * 3
    assert response.engine.kind == engine_pb2.Engine.ENCODER
    assert response.usage.encoder_tokens == 5


async def test_a_text_beyond_the_window_is_cut_and_marked(served: ServedGateway) -> None:
    response = await served.models.Embed(embedding("a", "word " * 1000))
    assert list(response.truncated) == [False, True]


async def test_an_encoder_behind_a_url_embeds(tmp_path: Path, upstream: FakeUpstream) -> None:
    variables = servers(tmp_path, upstream, capability="embed", query_prefix="query: ")
    async with serve_gateway(tmp_path, routes=route_to("tiny"), **variables) as served:
        query = embedding("leave", kind=gateway_pb2.EmbedRequest.QUERY)
        response = await served.models.Embed(query)
        assert response.dimensions == 26
        assert response.engine.backend == "openai"
        assert upstream.posted[0].body["input"] == ["query: leave"]
        upstream.enqueue(json_answer({"data": []}))
        error = await refusal(served.models.Embed(query))
        assert error.reason == "UPSTREAM_FAILED"
        upstream.enqueue(Answer(hang=True))


async def test_an_encoder_that_hangs_times_out(tmp_path: Path, upstream: FakeUpstream) -> None:
    variables = servers(tmp_path, upstream, capability="embed", concurrent=1)
    routes = route_to("tiny", timeout_seconds=1)
    variables["GATEWAY_QUEUE_CAPACITY"] = "0"
    async with serve_gateway(tmp_path, routes=routes, **variables) as served:
        upstream.enqueue(Answer(hang=True))
        first = asyncio.ensure_future(refusal(served.models.Embed(embedding("a"))))
        await eventually(lambda: upstream.posted)
        error = await refusal(served.models.Embed(embedding("a")))
        assert error.reason == "ENCODER_QUEUE_FULL"
        assert error.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await first).reason == "UPSTREAM_TIMED_OUT"


async def test_embed_names_fields_outside_their_limits(served: ServedGateway) -> None:
    assert (await refusal(served.models.Embed(embedding()))).field == "texts"
    assert (await refusal(served.models.Embed(embedding(*["a"] * 513)))).field == "texts"
    assert (await refusal(served.models.Embed(embedding("a", kind=0)))).field == "kind"


# Rerank and Classify


def ranking(query: str, *texts: str, top_n: int = 0) -> Any:
    return gateway_pb2.RerankRequest(task="knowledge.rank", query=query, texts=texts, top_n=top_n)


TEXTS = ["Travel is paid back.", "Annual leave is twenty days.", "The annual report.", ""]


async def test_rerank_puts_the_best_text_first(served: ServedGateway) -> None:
    response = await served.models.Rerank(ranking("annual leave days", *TEXTS))
    assert [result.index for result in response.results][:2] == [1, 2]
    assert len(response.results) == 4
    scores = [result.score for result in response.results]
    assert scores == sorted(scores, reverse=True)
    assert response.engine.kind == engine_pb2.Engine.ENCODER
    assert not response.engine.degraded
    response = await served.models.Rerank(ranking("annual leave days", *TEXTS, top_n=1))
    assert [result.index for result in response.results] == [1]


async def test_without_an_encoder_words_order_texts_and_the_reply_is_degraded(
    tmp_path: Path,
) -> None:
    async with serve_gateway(tmp_path, with_scripted=False) as served:
        response = await served.models.Rerank(ranking("annual leave days", *TEXTS))
        assert [result.index for result in response.results] == [1, 2, 0, 3]
        assert response.engine.kind == engine_pb2.Engine.RULES
        assert response.engine.backend == "atrium"
        assert response.engine.degraded
        assert "multilingual-e5-small" in response.engine.degraded_reason


def classing(*texts: str, labels: dict[str, tuple[str, list[str]]]) -> Any:
    return gateway_pb2.ClassifyRequest(
        task="knowledge.topic",
        texts=texts,
        labels=[
            gateway_pb2.ClassifyRequest.Label(id=id_, description=description, examples=examples)
            for id_, (description, examples) in labels.items()
        ],
    )


LABELS = {
    "pay": ("Salary and bonus", ["How much does a senior engineer earn?"]),
    "leave": ("", ["How many days of annual leave do I get?", "Can I take leave in May?"]),
}


@pytest.mark.parametrize("with_scripted", [True, False])
async def test_classify_finds_the_label_with_and_without_an_encoder(
    tmp_path: Path, with_scripted: bool
) -> None:
    async with serve_gateway(tmp_path, with_scripted=with_scripted) as served:
        texts = ("How many days of leave do I get?", "How much salary and bonus")
        response = await served.models.Classify(classing(*texts, labels=LABELS))
        leave, pay = response.results
        assert [score.label for score in leave.scores] == ["leave", "pay"]
        assert [score.label for score in pay.scores] == ["pay", "leave"]
        for result in response.results:
            assert all(0 <= score.score <= 1 for score in result.scores)
            assert result.scores[0].score > result.scores[1].score + 0.2
        assert response.engine.degraded is not with_scripted


async def test_an_encoder_that_fails_leaves_words_to_decide(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    variables = servers(tmp_path, upstream, capability="embed")
    async with serve_gateway(tmp_path, routes=route_to("tiny"), **variables) as served:
        upstream.enqueue(failure(500), failure(500))
        classified = await served.models.Classify(classing("leave", labels=LABELS))
        ranked = await served.models.Rerank(ranking("annual", *TEXTS))
        for engine in (classified.engine, ranked.engine):
            assert engine.kind == engine_pb2.Engine.RULES
            assert "HTTP 500" in engine.degraded_reason


async def test_a_label_without_meaning_is_named(served: ServedGateway) -> None:
    labels = {**LABELS, "blank": ("  ", [])}
    error = await refusal(served.models.Classify(classing("x", labels=labels)))
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.reason == "LABEL_WITHOUT_MEANING"
    assert error.field == "labels[2]"
    assert error.metadata == {"label": "blank"}


async def test_a_label_given_twice_is_named(served: ServedGateway) -> None:
    request = classing("x", labels=LABELS)
    request.labels.add(id="pay", description="again")
    error = await refusal(served.models.Classify(request))
    assert error.reason == "LABEL_REPEATED"
    assert error.field == "labels[2].id"
    assert error.metadata == {"label": "pay"}


# Read


def reading(*passages: tuple[str, list[tuple[int, int]]], **more: Any) -> Any:
    fields = {"task": "knowledge.read", "question": "How many days of leave?", **more}
    return gateway_pb2.ReadRequest(
        passages=[
            gateway_pb2.ReadPassage(
                heading="Time off",
                text=text,
                segments=[gateway_pb2.ReadPassage.Segment(start=a, end=b) for a, b in segments],
            )
            for text, segments in passages
        ],
        **fields,
    )


LEAVE = "Days of leave: 25. 工资保密。"


async def test_read_scores_every_segment_of_every_passage(served: ServedGateway) -> None:
    request = reading(
        (LEAVE, [(0, 18), (19, 24)]), ("", []), ("word " * 1000, [(0, 4), (4000, 4004)])
    )
    response = await served.models.Read(request)
    first, empty, long = response.passages
    assert first.segment_scores[0] > first.segment_scores[1]
    assert first.score > first.segment_scores[0]
    assert not first.truncated
    assert (list(empty.segment_scores), empty.score) == ([], -100)
    assert (long.truncated, long.segment_scores[1]) == (True, -100)
    assert response.engine.kind == engine_pb2.Engine.ENCODER
    assert response.engine.model == "scripted"
    assert 512 < response.usage.encoder_tokens < 600
    assert list(served.scripted.read_questions) == ["How many days of leave?"]
    (record,) = await used(served)
    assert (record.task, record.usage) == ("knowledge.read", response.usage)


async def test_without_a_reader_read_has_no_model(tmp_path: Path) -> None:
    async with serve_gateway(tmp_path, with_scripted=False, GATEWAY_MODELS="small") as served:
        error = await refusal(served.models.Read(reading((LEAVE, [(0, 3)]))))
    assert error.code is grpc.StatusCode.UNAVAILABLE
    assert error.reason == "TASK_HAS_NO_MODEL"
    assert error.metadata == {"task": "knowledge.read", "capability": "read"}
    assert "models/atrium-reader: its files are missing" in error.message


async def test_a_server_behind_a_url_does_not_read(tmp_path: Path, upstream: FakeUpstream) -> None:
    routes = route_to("tiny")
    async with serve_gateway(tmp_path, routes=routes, **remote(upstream)) as served:
        error = await refusal(served.models.Read(reading((LEAVE, [(0, 3)]))))
    assert error.reason == "TASK_HAS_NO_MODEL"
    assert upstream.posted == []


@pytest.mark.parametrize(
    ("segments", "bound", "at"),
    [
        ([(0, 25)], "end", 0),
        ([(3, 3)], "end", 0),
        ([(0, 4), (5, 4)], "end", 1),
        ([(0, 4), (3, 8)], "start", 1),
        ([(9, 12), (0, 4)], "start", 1),
    ],
)
async def test_a_segment_outside_its_passage_or_out_of_order_is_named(
    served: ServedGateway, segments: list[tuple[int, int]], bound: str, at: int
) -> None:
    error = await refusal(served.models.Read(reading((LEAVE, [(0, 24)]), (LEAVE, segments))))
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.reason == "SEGMENT_INVALID"
    assert error.field == f"passages[1].segments[{at}].{bound}"
    assert error.metadata == {"passage": "1", "segment": str(at)}
    assert not served.scripted.read_questions


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (reading(), "passages"),
        (reading(*[(LEAVE, [])] * 65), "passages"),
        (reading((LEAVE, []), question=""), "question"),
        (reading((LEAVE, []), task="No Task"), "task"),
        (reading((LEAVE, [(-1, 2)])), "passages[0].segments[0].start"),
        (reading((LEAVE, [(0, 1)] * 2001)), "passages[0].segments"),
    ],
)
async def test_read_names_fields_outside_their_limits(
    served: ServedGateway, request_: Any, field: str
) -> None:
    error = await refusal(served.models.Read(request_))
    assert (error.reason, error.field) == ("FIELD_INVALID", field)


# Usage and audit


async def used(served: ServedGateway) -> list[gateway_pb2.UsageRecord]:
    page = await served.catalog.ListUsage(gateway_service_pb2.ListUsageRequest())
    return list(page.records)


async def collect(stream: Any) -> gateway_pb2.GenerateResponse:
    events = [each async for each in stream]
    done: gateway_pb2.GenerateResponse = events[-1].done
    return done


async def test_every_call_is_counted_by_task_and_model(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    routes = route_to("tiny", "scripted")
    async with serve_gateway(tmp_path, routes=routes, **remote(upstream)) as served:
        upstream.enqueue(reply("a", "b"), failure(500), Answer([delta("half")], cut=True))
        await served.models.Generate(ask())
        await served.models.Generate(ask("one two"))
        await refusal(served.models.StreamGenerate(ask("x" * 40, task="docs.continue")))
        await served.models.Embed(embedding("three words here"))
        await refusal(served.models.Generate(with_schema({"type": "nonsense"})))
        records = {(each.task, each.model): each for each in await used(served)}
        assert records.keys() == {
            ("knowledge.answer", "models/tiny"),
            ("knowledge.answer", "models/scripted"),
            ("docs.continue", "models/tiny"),
            ("knowledge.embed", "models/scripted"),
        }
        tiny = records["knowledge.answer", "models/tiny"]
        assert (tiny.requests, tiny.failures) == (1, 1)
        assert tiny.usage == engine_pb2.Usage(prompt_tokens=7, completion_tokens=2)
        scripted = records["knowledge.answer", "models/scripted"]
        assert (scripted.requests, scripted.failures) == (1, 0)
        broken = records["docs.continue", "models/tiny"]
        assert (broken.requests, broken.failures) == (0, 1)
        assert broken.usage == engine_pb2.Usage(prompt_tokens=14, completion_tokens=1)
        embedded = records["knowledge.embed", "models/scripted"]
        assert embedded.usage == engine_pb2.Usage(encoder_tokens=3)


async def test_calls_from_outside_are_audited_without_their_words(tmp_path: Path) -> None:
    async with serve_gateway(tmp_path) as served:
        served.scripted.enqueue(
            "a secret", UpstreamFailed("models/x", "why"), ScriptedReply("a b c", 0.05)
        )
        await served.models.Generate(ask("what is secret?"))
        await refusal(served.models.Generate(ask()))
        stream = served.models.StreamGenerate(ask())
        await stream.read()
        stream.cancel()
        await eventually(lambda: served.scripted.cancelled)
        await served.models.Embed(embedding("secret"))
    events = [
        (each.action, each.decision, each.detail, each.model, each.tokens)
        for each in served.audit.events
    ]
    assert events == [
        ("gateway.Generate", Decision.ALLOWED, "", "scripted", 5),
        ("gateway.Generate", Decision.FAILED, "UPSTREAM_FAILED", "", 0),
        ("gateway.StreamGenerate", Decision.ALLOWED, "CANCELLED", "", 0),
        ("gateway.Embed", Decision.ALLOWED, "", "scripted", 1),
    ]
    assert {each.resource for each in served.audit.events} == {
        "tasks/knowledge.answer",
        "tasks/knowledge.embed",
    }
    assert "secret" not in repr(served.audit.events)


async def test_calls_of_other_services_are_left_to_them_to_audit(tmp_path: Path) -> None:
    token = jwt.encode({}, "k" * 32, headers={"typ": "atrium-token+jwt"})
    async with serve_gateway(tmp_path, tokens={token: "acme"}) as served:
        await ModelGatewayStub(served.open_channel(token)).Generate(ask())
    assert served.audit.events == []
