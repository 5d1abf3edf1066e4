"""The small models through the whole service: gRPC, routes, llama.cpp, ONNX Runtime."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from google.protobuf import struct_pb2
from google.protobuf.json_format import ParseDict

from atrium.engine.v1 import engine_pb2
from atrium.gateway.v1 import gateway_pb2, gateway_service_pb2
from atrium_gateway.testing import ServedGateway, refusal, serve_gateway
from atrium_models import ModelStore

pytestmark = [
    pytest.mark.models,
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def real(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedGateway]:
    """A gateway with the models that `atrium models pull small` brings."""
    store = ModelStore.from_environment()
    async with serve_gateway(
        tmp_path_factory.mktemp("gateway"),
        with_scripted=False,
        locate=store.path,
        GATEWAY_MODELS="small",
        GATEWAY_GENERATOR_CONTEXT_TOKENS="2048",
    ) as served:
        yield served


def ask(text: str, **more: Any) -> gateway_pb2.GenerateRequest:
    message = gateway_pb2.Message(role=gateway_pb2.Message.USER, content=text)
    fields = {"max_tokens": 40, **more}
    return gateway_pb2.GenerateRequest(task="knowledge.answer", messages=[message], **fields)


async def test_a_real_generator_answers_from_a_source(real: ServedGateway) -> None:
    response = await real.models.Generate(
        ask("Source: Annual leave is 23 days. Question: How many days? Answer in one sentence.")
    )
    assert "23" in response.text
    assert response.engine.kind == engine_pb2.Engine.GENERATIVE
    assert response.engine.backend == "llama.cpp"
    assert response.engine.model == "qwen2.5-0.5b"
    assert not response.engine.degraded
    assert 20 < response.usage.prompt_tokens < 100
    assert 0 < response.usage.completion_tokens <= 40


async def test_a_real_stream_comes_in_parts(real: ServedGateway) -> None:
    events = [each async for each in real.models.StreamGenerate(ask("从一数到十。"))]
    deltas = [each.delta for each in events[:-1]]
    assert len(deltas) > 5
    assert events[-1].done.text == "".join(deltas)
    assert events[-1].done.usage.completion_tokens >= len(deltas)


WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("mode", ["AUTO", "REQUIRED"])
async def test_a_real_generator_calls_a_tool(real: ServedGateway, mode: str) -> None:
    request = ask(
        "What is the weather in Paris, in celsius?",
        max_tokens=80,
        tools=[
            gateway_pb2.Tool(
                name="get_weather",
                description="Tells the weather of a city.",
                parameters=ParseDict(WEATHER, struct_pb2.Struct()),
            ),
            gateway_pb2.Tool(name="clock", description="Tells the time."),
        ],
        tool_choice=gateway_pb2.ToolChoice(mode=mode),
    )
    events = [each async for each in real.models.StreamGenerate(request)]
    (call,) = events[-1].done.tool_calls
    assert call.name == "get_weather"
    assert json.loads(call.arguments) == {"city": "Paris", "unit": "celsius"}
    parts = [each.tool_call_delta for each in events[:-1]]
    assert (parts[0].id, parts[0].name) == (call.id, "get_weather")
    assert "".join(part.arguments for part in parts) == call.arguments
    assert events[-1].done.finish_reason == gateway_pb2.GenerateResponse.TOOL_CALLS


async def test_a_real_generator_is_held_to_the_tool_that_is_named(real: ServedGateway) -> None:
    request = ask(
        "Tell me a joke.",
        max_tokens=80,
        tools=[gateway_pb2.Tool(name="clock", description="Tells the time.")],
        tool_choice=gateway_pb2.ToolChoice(tool="clock"),
    )
    (call,) = (await real.models.Generate(request)).tool_calls
    assert (call.name, json.loads(call.arguments)) == ("clock", {})


async def test_a_real_generator_follows_a_schema(real: ServedGateway) -> None:
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string", "maxLength": 20},
            "days": {"type": "integer", "minimum": 0, "maximum": 40},
        },
        "required": ["city", "days"],
        "additionalProperties": False,
    }
    response = await real.models.Generate(
        ask(
            "Lin works in Shanghai and has 12 days of leave. Fill in city and days.",
            max_tokens=60,
            response_schema=ParseDict(schema, struct_pb2.Struct()),
        )
    )
    filled = json.loads(response.text)
    assert list(filled) == ["city", "days"]
    assert filled["days"] == 12


async def test_a_prompt_beyond_a_real_context_is_refused_with_its_exact_size(
    real: ServedGateway,
) -> None:
    error = await refusal(real.models.Generate(ask("leave " * 2040)))
    assert error.reason == "PROMPT_TOO_LONG"
    assert 2040 < int(error.metadata["prompt_tokens"]) < 2090
    assert "about" not in error.message
    assert error.metadata["context_tokens"] == "2048"


async def test_leaving_a_real_stream_frees_the_generator(real: ServedGateway) -> None:
    call = real.models.StreamGenerate(ask("Write a very long story.", max_tokens=1500))
    await call.read()
    call.cancel()
    async with asyncio.timeout(10):
        await real.models.Generate(ask("Hi", max_tokens=1))


async def test_real_vectors_bring_both_languages_together(real: ServedGateway) -> None:
    async def embed(kind: Any, *texts: str) -> np.ndarray[Any, Any]:
        request = gateway_pb2.EmbedRequest(task="knowledge.embed", kind=kind, texts=texts)
        response = await real.models.Embed(request)
        assert response.engine.model == "multilingual-e5-small"
        return np.frombuffer(response.vectors, "<f4").reshape(len(texts), response.dimensions)

    questions = await embed(
        gateway_pb2.EmbedRequest.QUERY, "我每年有多少天年假？", "谁来修服务器？"
    )
    passages = await embed(
        gateway_pb2.EmbedRequest.PASSAGE,
        "Employees have fifteen paid days off a year.",
        "The engineer on call repairs servers.",
    )
    assert (questions @ passages.T).argmax(axis=1).tolist() == [0, 1]


async def test_real_rerank_and_classify_tell_topics_apart(real: ServedGateway) -> None:
    ranked = await real.models.Rerank(
        gateway_pb2.RerankRequest(
            task="t",
            query="How long is parental leave?",
            texts=["Deploy on weekdays only.", "Eltern bekommen 14 Wochen frei.", "产假为98天。"],
        )
    )
    assert ranked.results[-1].index == 0
    labels = {
        "pay": ["How much does a senior engineer earn?", "级别P6的工资是多少？"],
        "leave": ["How many days of annual leave do I have?", "年假有几天？"],
    }
    classified = await real.models.Classify(
        gateway_pb2.ClassifyRequest(
            task="t",
            texts=["What is the salary range of a manager?", "我还剩几天假期？"],
            labels=[
                gateway_pb2.ClassifyRequest.Label(id=id_, examples=examples)
                for id_, examples in labels.items()
            ],
        )
    )
    best = [result.scores[0] for result in classified.results]
    assert [score.label for score in best] == ["pay", "leave"]
    assert all(score.score > 0.5 for score in best)


async def test_real_models_are_ready(real: ServedGateway) -> None:
    page = await real.catalog.ListModels(gateway_service_pb2.ListModelsRequest())
    states = {model.name: model.state for model in page.models}
    assert states["models/qwen2.5-0.5b"] == gateway_pb2.Model.READY
    assert states["models/multilingual-e5-small"] == gateway_pb2.Model.READY
    assert states["models/qwen2.5-1.5b"] == gateway_pb2.Model.UNAVAILABLE


async def test_a_real_generator_writes_a_program_that_is_run_exactly(real: ServedGateway) -> None:
    question = "How many days are there from 5 January 2024 to 1 March 2024?"
    request = ask(question, aids=[gateway_pb2.CALCULATE])
    response = await real.models.Generate(request)
    assert "days_between" in response.calculation.program
    assert response.calculation.result.split(" ")[0] == "56"
    assert response.text == f"Result: {response.calculation.result}"


async def test_a_real_generator_translates(real: ServedGateway) -> None:
    texts = ["我们星期一下午三点开会。", "会议室在二楼。"]
    request = gateway_pb2.TranslateRequest(
        task="translate.zh-en", texts=texts, target_language="en"
    )
    response = await real.models.Translate(request)
    assert any("meeting" in each.text.lower() for each in response.translations)
    for each in response.translations:
        assert each.source_language == "zh"
        assert bool(each.text) != bool(each.failure)
