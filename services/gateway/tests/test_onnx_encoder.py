from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from atrium_gateway.adapters.fair_threads import FairThreads
from atrium_gateway.adapters.onnx_encoder import OnnxEncoder
from atrium_gateway.adapters.onnx_files import TextNotUnicode
from atrium_gateway.domain.errors import EncoderQueueFull, ModelUnavailable

WORDS = ["[unk]", "query:", "passage:", "red", "green", "blue"]
DIMENSIONS = 256
MAX_TOKENS = 64


def write_encoder(folder: Path, *, products: int = 0) -> Path:
    """A real graph over six words; each of ``products`` costs some milliseconds a text."""
    random = np.random.default_rng(7)
    table = random.normal(size=(len(WORDS), DIMENSIONS)).astype(np.float32)
    # A permutation costs as much as any matrix and keeps the numbers as they are.
    mixing = np.eye(DIMENSIONS, dtype=np.float32)[random.permutation(DIMENSIONS)]
    axis = np.array([1], np.int64)
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["x0"])]
    for i in range(products):
        nodes.append(helper.make_node("MatMul", [f"x{i}", "mixing"], [f"x{i + 1}"]))
    nodes.append(helper.make_node("ReduceMean", [f"x{products}", "axis"], ["mean"], keepdims=0))
    nodes.append(helper.make_node("LpNormalization", ["mean"], ["embedding"], axis=-1, p=2))
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "tokens"])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, DIMENSIONS])],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(mixing, "mixing"),
            numpy_helper.from_array(axis, "axis"),
        ],
    )
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    properties = {
        "atrium.dimensions": str(DIMENSIONS),
        "atrium.max_tokens": str(MAX_TOKENS),
        "atrium.query_prefix": "query: ",
        "atrium.passage_prefix": "passage: ",
    }
    helper.set_model_props(model, properties)
    onnx.save(model, folder / "model.int8.onnx")
    tokenizer = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {
            "type": "WordLevel",
            "vocab": {word: number for number, word in enumerate(WORDS)},
            "unk_token": "[unk]",
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder


@pytest.fixture
async def encoder(tmp_path: Path) -> AsyncIterator[OnnxEncoder]:
    threads = FairThreads(2)
    yield await OnnxEncoder.load(write_encoder(tmp_path), threads)
    await threads.close()


@pytest.fixture
async def slow(tmp_path: Path) -> AsyncIterator[OnnxEncoder]:
    """One thread, milliseconds a text, room for 20 waiting texts."""
    threads = FairThreads(1, queue_limit=20)
    yield await OnnxEncoder.load(write_encoder(tmp_path, products=300), threads)
    await threads.close()


LONG = "red green blue " * 20


async def test_vectors_have_length_one_and_the_order_of_the_texts(encoder: OnnxEncoder) -> None:
    texts = ["red", "green blue", "blue", ""] * 10
    result = await encoder.embed(texts, "passage")
    assert result.vectors.shape == (40, DIMENSIONS)
    assert result.vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(result.vectors, axis=1), 1, rtol=1e-5)
    for i in range(4, 40):
        np.testing.assert_array_equal(result.vectors[i], result.vectors[i % 4])
    assert abs(result.vectors[0] @ result.vectors[1]) < 0.9


async def test_tokens_are_counted_with_the_prefix(encoder: OnnxEncoder) -> None:
    assert (await encoder.embed(["red", "green blue"], "query")).tokens == 2 + 3


async def test_questions_and_passages_get_different_vectors(encoder: OnnxEncoder) -> None:
    query = (await encoder.embed(["red"], "query")).vectors
    passage = (await encoder.embed(["red"], "passage")).vectors
    assert np.abs(query - passage).max() > 0.01


async def test_long_text_is_cut_and_marked(encoder: OnnxEncoder) -> None:
    exactly, over = " ".join(["red"] * (MAX_TOKENS - 1)), " ".join(["red"] * MAX_TOKENS)
    result = await encoder.embed([exactly, over, "red " * 25_000], "query")
    assert result.truncated == [False, True, True]
    assert result.tokens == 3 * MAX_TOKENS
    np.testing.assert_array_equal(result.vectors[0], result.vectors[1])


async def test_no_texts_give_no_vectors(encoder: OnnxEncoder) -> None:
    result = await encoder.embed([], "query")
    assert result.vectors.shape == (0, DIMENSIONS)
    assert result.tokens == 0


async def test_half_a_character_is_refused_by_place(encoder: OnnxEncoder) -> None:
    with pytest.raises(TextNotUnicode) as caught:
        await encoder.embed(["red", "ab\ud800c"], "query")
    assert caught.value.field == "texts[1]"
    assert caught.value.metadata == {"index": "1", "position": "2"}


async def test_many_calls_at_once_each_get_their_own_vectors(encoder: OnnxEncoder) -> None:
    texts = ["red", "green", "blue", "red blue", "green red"]
    alone = [(await encoder.embed([text], "passage")).vectors for text in texts]
    calls = [encoder.embed([text] * 3, "passage") for text in texts * 8]
    for i, result in enumerate(await asyncio.gather(*calls)):
        for vector in result.vectors:
            np.testing.assert_array_equal(vector, alone[i % len(texts)][0])


async def test_full_queue_refuses_the_whole_call_and_recovers(slow: OnnxEncoder) -> None:
    first = asyncio.create_task(slow.embed([LONG] * 20, "passage"))
    await asyncio.sleep(0)
    with pytest.raises(EncoderQueueFull) as caught:
        await slow.embed([LONG] * 20, "passage")
    assert caught.value.reason == "ENCODER_QUEUE_FULL"
    assert (await first).vectors.shape[0] == 20
    assert (await slow.embed([LONG], "passage")).vectors.shape[0] == 1


async def test_call_larger_than_the_queue_is_taken_when_nothing_waits(slow: OnnxEncoder) -> None:
    assert (await slow.embed(["red"] * 50, "passage")).vectors.shape[0] == 50


async def test_question_overtakes_waiting_passages(slow: OnnxEncoder) -> None:
    passages = asyncio.create_task(slow.embed([LONG] * 18, "passage"))
    await asyncio.sleep(0)
    await slow.embed(["red"], "query")
    assert not passages.done()
    await passages


async def test_small_import_need_not_wait_for_a_large_one(slow: OnnxEncoder) -> None:
    large = asyncio.create_task(slow.embed([LONG] * 18, "passage"))
    await asyncio.sleep(0)
    await slow.embed([LONG], "passage")
    assert not large.done()
    await large


async def test_cancelled_call_frees_the_queue(slow: OnnxEncoder) -> None:
    call = asyncio.create_task(slow.embed([LONG] * 20, "passage"))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (await slow.embed([LONG] * 20, "passage")).vectors.shape[0] == 20


async def test_close_ends_waiting_calls_and_refuses_new_ones(tmp_path: Path) -> None:
    threads = FairThreads(1)
    encoder = await OnnxEncoder.load(write_encoder(tmp_path, products=300), threads)
    call = asyncio.create_task(encoder.embed([LONG] * 20, "passage"))
    await asyncio.sleep(0)
    await encoder.close()
    with pytest.raises(ModelUnavailable, match="closed"):
        await call
    with pytest.raises(ModelUnavailable, match="closed"):
        await encoder.embed(["red"], "query")
    again = await OnnxEncoder.load(tmp_path, threads)
    assert (await again.embed(["red"], "query")).tokens == 2
    await threads.close()


async def test_models_that_share_threads_are_closed_one_by_one(tmp_path: Path) -> None:
    threads = FairThreads(1)
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    one, other = [
        await OnnxEncoder.load(write_encoder(folder, products=300), threads) for folder in folders
    ]
    calls = [asyncio.create_task(each.embed([LONG] * 5, "passage")) for each in (one, other)]
    await asyncio.sleep(0)
    await one.close()
    with pytest.raises(ModelUnavailable, match="'one' cannot be used now: it was closed"):
        await calls[0]
    assert (await calls[1]).vectors.shape == (5, DIMENSIONS)
    waiting = asyncio.create_task(other.embed([LONG] * 20, "passage"))
    await asyncio.sleep(0)
    await threads.close()
    with pytest.raises(ModelUnavailable, match="'other' cannot be used now: it was closed"):
        await waiting


@pytest.mark.parametrize("missing", ["model.int8.onnx", "tokenizer.json"])
async def test_missing_file_says_what_to_run(tmp_path: Path, missing: str) -> None:
    (write_encoder(tmp_path) / missing).unlink()
    with pytest.raises(ModelUnavailable, match=f"{missing} is missing; run `atrium models pull"):
        await OnnxEncoder.load(tmp_path, FairThreads(1))


@pytest.mark.parametrize("damaged", ["model.int8.onnx", "tokenizer.json"])
async def test_damaged_file_says_what_to_run(tmp_path: Path, damaged: str) -> None:
    path = write_encoder(tmp_path) / damaged
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelUnavailable, match=r"is damaged .* run `atrium models remove"):
        await OnnxEncoder.load(tmp_path, FairThreads(1))


@pytest.fixture(scope="module")
def e5() -> Path:
    from atrium_models import ModelStore

    return ModelStore.from_environment().path("multilingual-e5-small")


@pytest.mark.models
async def test_real_vectors_do_not_depend_on_other_texts(e5: Path) -> None:
    texts = [
        "Employees may take fifteen days of leave a year.",
        "差旅报销须在三十天内提交。",
        "word " * 2000,
        "?",
        "",
    ]
    encoder = await OnnxEncoder.load(e5, FairThreads(2))
    alone = [(await encoder.embed([text], "passage")).vectors[0] for text in texts]
    beside = await encoder.embed(["a much longer neighbour " * 40, *texts, "短"], "passage")
    for i, vector in enumerate(alone):
        np.testing.assert_array_equal(beside.vectors[i + 1], vector)
    assert beside.truncated == [False, False, False, True, False, False, False]
    await encoder.close()


@pytest.mark.models
async def test_real_vectors_rank_translations_first(e5: Path) -> None:
    chinese = ["我每年有多少天年假？", "怎样报销差旅费？", "服务器宕机了该找谁？"]
    english = [
        "Annual leave: every employee has fifteen paid days off a year.",
        "Travel expenses are paid back when the receipts are handed in.",
        "When a server goes down, page the engineer on call.",
    ]
    encoder = await OnnxEncoder.load(e5, FairThreads(2))
    questions = (await encoder.embed(chinese, "query")).vectors
    passages = (await encoder.embed(english, "passage")).vectors
    assert (questions @ passages.T).argmax(axis=1).tolist() == [0, 1, 2]
    await encoder.close()
