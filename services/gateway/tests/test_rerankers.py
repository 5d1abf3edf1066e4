"""Rerankers behind vLLM: scores, what servers can do wrong, and how ``Rerank`` uses them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from atrium.engine.v1 import engine_pb2
from atrium.gateway.v1 import gateway_pb2
from atrium_gateway.adapters.openai_reranker import OpenAIReranker
from atrium_gateway.adapters.openai_server import OpenAIServer
from atrium_gateway.domain.errors import UpstreamFailed
from atrium_gateway.testing import (
    Answer,
    FakeUpstream,
    ServedGateway,
    failure,
    json_answer,
    refusal,
    serve_gateway,
)
from atrium_shared.principal import Residency


@pytest.fixture
async def reranker(upstream: FakeUpstream) -> AsyncIterator[OpenAIReranker]:
    server = OpenAIServer(upstream.url, None, attempts=1)
    yield OpenAIReranker("models/tiny", "tiny", server, context_tokens=100)
    await server.close()


def ranked(*scores: float, **usage: int) -> Answer:
    rows = [{"index": place, "relevance_score": score} for place, score in enumerate(scores)]
    return json_answer({"results": rows[::-1], "usage": usage})


async def test_scores_come_back_in_the_order_of_the_texts(
    upstream: FakeUpstream, reranker: OpenAIReranker
) -> None:
    upstream.enqueue(ranked(0.1, 0.9, 0.5, total_tokens=31))
    relevance = await reranker.rerank("leave", ["pay", "annual leave", "days"])
    assert relevance.scores == [0.1, 0.9, 0.5]
    assert relevance.tokens == 31
    (request,) = upstream.posted
    assert request.path == "/v1/rerank"
    assert request.body == {
        "model": "tiny",
        "query": "leave",
        "documents": ["pay", "annual leave", "days"],
        "top_n": 3,
    }


async def test_a_server_without_rerank_is_asked_for_scores(
    upstream: FakeUpstream, reranker: OpenAIReranker
) -> None:
    rows = [{"index": 1, "score": 0.75}, {"index": 0, "score": 0.25}]
    upstream.enqueue(json_answer({"detail": "Not Found"}, 404))
    upstream.enqueue(*[json_answer({"data": rows})] * 2)
    for _ in range(2):
        relevance = await reranker.rerank("leave", ["pay", "leave"])
        assert relevance.scores == [0.25, 0.75]
        assert relevance.tokens == 7  # estimated: the query is read with each text
    paths = [request.path for request in upstream.posted]
    assert paths == ["/v1/rerank", "/v1/score", "/v1/score"]
    assert upstream.posted[1].body["text_2"] == ["pay", "leave"]


async def test_many_texts_are_sent_in_groups(
    upstream: FakeUpstream, reranker: OpenAIReranker
) -> None:
    upstream.enqueue(ranked(*[0.5] * 64, prompt_tokens=10), ranked(0.25, prompt_tokens=1))
    relevance = await reranker.rerank("q", ["text"] * 65)
    assert relevance.scores == [*[0.5] * 64, 0.25]
    assert relevance.tokens == 11


async def test_what_is_longer_than_the_window_is_cut(
    upstream: FakeUpstream, reranker: OpenAIReranker
) -> None:
    upstream.enqueue(ranked(0.5))
    await reranker.rerank("query " * 200, ["text " * 200])
    body = upstream.posted[0].body
    assert 0 < len(body["query"].split()) <= 40
    assert 0 < len(body["documents"][0].split()) <= 50


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (ranked(0.5), "did not send 2 scores"),
        (json_answer({"results": "none"}), "no scores"),
        (json_answer({"results": [{"index": 0}] * 2}), "no scores"),
        (json_answer({"results": [{"index": -1, "relevance_score": 1}] * 2}), "no scores"),
        (json_answer({"results": [{"index": 7, "relevance_score": 1}] * 2}), "no scores"),
        (ranked(float("nan"), 1.0), "no scores"),
        (Answer([b"garbage"], 200, "application/json"), "not a JSON object"),
        (failure(404, type="NotFoundError", message="secret"), "does not know the model"),
        (failure(500, message="secret"), "HTTP 500"),
        (Answer(silent=True), "connection"),
    ],
)
async def test_what_is_no_scores_is_told(
    upstream: FakeUpstream, reranker: OpenAIReranker, answer: Answer, why: str
) -> None:
    upstream.enqueue(answer)
    with pytest.raises(UpstreamFailed, match=why) as raised:
        await reranker.rerank("q", ["a", "b"])
    assert "secret" not in str(raised.value)


def reranking_server(folder: Path, upstream: FakeUpstream, **more: Any) -> dict[str, str]:
    model = {"name": "models/tiny", "upstream_model": "tiny", "capability": "rerank"}
    entry = {"url": upstream.url, "models": [model], **more}
    path = folder / "servers.yaml"
    path.write_text(json.dumps({"servers": [entry]}))
    return {"GATEWAY_SERVERS_FILE": str(path)}


async def rerank(
    served: ServedGateway, query: str, texts: Sequence[str]
) -> gateway_pb2.RerankResponse:
    request = gateway_pb2.RerankRequest(task="knowledge.search", query=query, texts=texts)
    response: gateway_pb2.RerankResponse = await served.models.Rerank(request)
    return response


ROUTES = {"rerank": [{"model": "models/tiny"}]}


async def test_a_reranker_alone_orders_texts(tmp_path: Path, upstream: FakeUpstream) -> None:
    variables = reranking_server(tmp_path, upstream, location="resident")
    async with serve_gateway(tmp_path, routes=ROUTES, **variables) as served:
        upstream.enqueue(ranked(0.2, 0.1, total_tokens=9))
        response = await rerank(served, "leave", ["other words", "leave leave"])
    # Words would have put the second first.
    assert [(row.index, round(row.score, 3)) for row in response.results] == [(0, 0.2), (1, 0.1)]
    assert response.engine.kind == engine_pb2.Engine.ENCODER
    assert response.usage.encoder_tokens == 9


async def test_without_its_reranker_words_decide(tmp_path: Path, upstream: FakeUpstream) -> None:
    variables = reranking_server(tmp_path, upstream, location="resident")
    async with serve_gateway(tmp_path, routes=ROUTES, **variables) as served:
        upstream.enqueue(*[failure(500)] * 3)
        response = await rerank(served, "leave", ["other words", "leave leave"])
    assert [row.index for row in response.results] == [1, 0]
    assert response.engine.kind == engine_pb2.Engine.RULES
    assert response.engine.degraded


async def test_private_texts_go_to_no_reranker_outside(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    variables = reranking_server(tmp_path, upstream)
    residency = Residency.PRIVATE_ONLY
    async with serve_gateway(tmp_path, routes=ROUTES, residency=residency, **variables) as here:
        request = gateway_pb2.RerankRequest(task="a.b", query="canary", texts=["canary", "b"])
        assert (await refusal(here.models.Rerank(request))).reason == "RESIDENCY_FORBIDS"
    assert not upstream.posted


async def test_a_reranker_outside_sees_personal_data_replaced(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    variables = reranking_server(tmp_path, upstream)
    residency, mail = Residency.HYBRID, "someone@example.com"
    async with serve_gateway(tmp_path, routes=ROUTES, residency=residency, **variables) as here:
        upstream.enqueue(ranked(0.1, 0.2))
        response = await rerank(here, f"who is {mail}", [f"{mail} signs", "b"])
    assert [row.index for row in response.results] == [1, 0]
    sent = upstream.posted[0].body
    assert mail not in json.dumps(sent)
    # One value, one placeholder: the reranker still sees that both name the same.
    replaced = sent["query"].removeprefix("who is ")
    assert sent["documents"][0] == f"{replaced} signs"
