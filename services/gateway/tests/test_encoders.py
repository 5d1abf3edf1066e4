"""What every encoder does, run on each backend; and what only a remote one can do wrong."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import numpy as np
import pytest

from atrium_gateway.adapters.openai_encoder import OpenAIEncoder
from atrium_gateway.adapters.openai_server import OpenAIServer
from atrium_gateway.adapters.scripted_backend import ScriptedBackend
from atrium_gateway.app.ports import EncoderBackend, TextKind
from atrium_gateway.domain.errors import UpstreamFailed
from atrium_gateway.domain.models import ModelState
from atrium_gateway.testing import Answer, FakeUpstream, failure, json_answer


@pytest.fixture
async def remote(upstream: FakeUpstream) -> AsyncIterator[OpenAIEncoder]:
    server = OpenAIServer(lambda: upstream.url, None)
    prefixes = {TextKind.QUERY: "query: "}
    yield OpenAIEncoder("models/tiny", "tiny", server, context_tokens=100, prefixes=prefixes)
    await server.close()


@pytest.fixture(params=["scripted", "openai"])
def encoder(request: pytest.FixtureRequest) -> EncoderBackend:
    if request.param == "scripted":
        return ScriptedBackend("models/tiny")
    backend: EncoderBackend = request.getfixturevalue("remote")
    return backend


async def test_every_text_gets_a_vector_of_length_one(encoder: EncoderBackend) -> None:
    made = await encoder.embed(["annual leave", "", "pay", "年假"], TextKind.PASSAGE)
    assert made.vectors.shape[0] == 4
    assert made.vectors.dtype == np.float32
    assert np.linalg.norm(made.vectors, axis=1) == pytest.approx(1, abs=1e-6)
    assert list(made.truncated) == [False] * 4
    assert made.tokens > 0


async def test_the_same_text_gets_the_same_vector_in_any_company(encoder: EncoderBackend) -> None:
    alone = await encoder.embed(["annual leave"], TextKind.PASSAGE)
    together = await encoder.embed(["pay", "annual leave", "x"] * 60, TextKind.PASSAGE)
    assert (together.vectors[1] == alone.vectors[0]).all()
    assert (together.vectors[-2] == alone.vectors[0]).all()


async def test_alike_texts_are_nearer_than_others(encoder: EncoderBackend) -> None:
    made = await encoder.embed(["annual leave", "leave, annual", "pay"], TextKind.QUERY)
    assert made.vectors[0] @ made.vectors[1] > made.vectors[0] @ made.vectors[2]


async def test_a_text_beyond_the_window_is_cut_and_marked(encoder: EncoderBackend) -> None:
    made = await encoder.embed(["short", "word " * 2000], TextKind.PASSAGE)
    assert list(made.truncated) == [False, True]


async def test_the_encoder_is_ready(encoder: EncoderBackend) -> None:
    assert (await encoder.status()).state is ModelState.READY


async def test_questions_and_passages_are_marked_apart_at_the_server(
    upstream: FakeUpstream, remote: OpenAIEncoder
) -> None:
    await remote.embed(["a"], TextKind.QUERY)
    await remote.embed(["a"], TextKind.PASSAGE)
    assert [request.body["input"] for request in upstream.posted] == [["query: a"], ["a"]]
    assert upstream.posted[0].body["encoding_format"] == "base64"


async def test_vectors_as_numbers_in_another_order_are_put_right(
    upstream: FakeUpstream, remote: OpenAIEncoder
) -> None:
    data = [{"index": 1, "embedding": [0, 2]}, {"index": 0, "embedding": [3, 4]}]
    upstream.enqueue(json_answer({"data": data}))
    made = await remote.embed(["eight more", "words"], TextKind.PASSAGE)
    assert made.vectors.tolist() == [pytest.approx([0.6, 0.8]), [0, 1]]
    assert made.tokens == 5  # estimated, as the server did not count


BROKEN = base64.b64encode(b"abc").decode()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (json_answer({}), "did not send 2 vectors"),
        (json_answer({"data": [{"embedding": [1]}]}), "did not send 2 vectors"),
        (json_answer({"data": [{"embedding": [1]}, {}]}), "no vectors"),
        (json_answer({"data": [{"embedding": [1]}, "x"]}), "no vectors"),
        (json_answer({"data": [{"embedding": [1]}, {"embedding": [1, 2]}]}), "no vectors"),
        (json_answer({"data": [{"embedding": BROKEN}] * 2}), "no vectors"),
        (json_answer({"data": [{"embedding": "?"}] * 2}), "no vectors"),
        (json_answer({"data": [{"embedding": ["x"]}] * 2}), "no vectors"),
        (json_answer({"data": [{"embedding": []}] * 2}), "no vectors"),
        (json_answer({"data": [{"index": 5, "embedding": [1]}] * 2}), "no vectors"),
        (json_answer({"data": [{"index": 0, "embedding": [1]}] * 2}), "missing, zero"),
        (json_answer({"data": [{"embedding": [0, 0]}] * 2}), "missing, zero"),
        (json_answer({"data": [{"embedding": [float("nan"), 1]}] * 2}), "missing, zero"),
        (Answer([b"<html>"]), "not a JSON object"),
        (Answer([b"{"], cut=True), "broke off"),
        (failure(500), "HTTP 500"),
        (failure(400, code="x"), "refused the request (HTTP 400, x)"),
    ],
)
async def test_what_a_server_does_wrong_is_named(
    upstream: FakeUpstream, remote: OpenAIEncoder, answer: Answer, why: str
) -> None:
    upstream.enqueue(answer)
    with pytest.raises(UpstreamFailed) as caught:
        await remote.embed(["a", "b"], TextKind.PASSAGE)
    assert why in caught.value.why


async def test_vectors_that_change_their_length_between_groups_are_refused(
    upstream: FakeUpstream, remote: OpenAIEncoder
) -> None:
    for dimensions in (2, 3):
        rows = [{"index": index, "embedding": [1] * dimensions} for index in range(64)]
        upstream.enqueue(json_answer({"data": rows}))
    with pytest.raises(UpstreamFailed, match="different lengths"):
        await remote.embed(["a"] * 128, TextKind.PASSAGE)
