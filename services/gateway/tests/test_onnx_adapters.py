from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import helper
from safetensors.numpy import load_file

from atrium_gateway.adapters.encoder_adapter_files import UnfitAdapter, read_adapter
from atrium_gateway.adapters.fair_threads import FairThreads
from atrium_gateway.adapters.onnx_adapters import OnnxAdapters
from atrium_gateway.adapters.onnx_encoder import OnnxEncoder
from atrium_gateway.adapters.onnx_lora import Attention, NoAttention, add_branches
from atrium_gateway.app.ports import ClassifierBackend, TextKind
from atrium_gateway.domain.errors import ModelUnavailable
from atrium_gateway.domain.models import ModelState
from atrium_gateway.domain.similarity import SimilarityScale
from tests.encoder_adapters import (
    HIDDEN,
    LAYERS,
    TINY,
    WORDS,
    adapter_tensors,
    in_floats,
    merged_changes,
    write_adapter,
    write_encoder,
)

TEXTS = ["red green 红", "blue", "1 2 3 绿 蓝 red", "2"]
QUERY_A = "base_model.model.encoder.layer.0.attention.self.query.lora_A.weight"
QUERY_B = "base_model.model.encoder.layer.0.attention.self.query.lora_B.weight"


@pytest.fixture
async def threads() -> AsyncIterator[FairThreads]:
    threads = FairThreads(2)
    yield threads
    await threads.close()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("models") / TINY)


def hold(base: Path, threads: FairThreads, *, memory_bytes: int = 1 << 30) -> OnnxAdapters:
    return OnnxAdapters(
        f"models/{TINY}", TINY, lambda: base, threads=threads,
        similarity_scale=SimilarityScale(0.1, 0.9), memory_bytes=memory_bytes,
    )  # fmt: skip


@pytest.fixture
async def adapters(base: Path, threads: FairThreads) -> AsyncIterator[OnnxAdapters]:
    held = hold(base, threads)
    yield held
    await held.close()


async def vectors(adapters: OnnxAdapters, name: str, texts: list[str] = TEXTS) -> NDArray[Any]:
    encoder = adapters.encoder(name, f"models/adapters/{name}")
    return (await encoder.embed(texts, TextKind.QUERY)).vectors


def run(model: onnx.ModelProto, ids: list[int], inputs: dict[str, Any]) -> NDArray[Any]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"input_ids": np.array([ids], np.int64), **inputs})[0][0]


def ids_of(text: str) -> list[int]:
    return [WORDS.index(word) for word in f"query: {text}".split()]


# Bad input first.


def changed(**tensors: Any) -> dict[str, Any]:
    return {**adapter_tensors(), **tensors}


def without(*names: str) -> dict[str, Any]:
    return {name: values for name, values in adapter_tensors().items() if name not in names}


def holed(name: str, value: float) -> dict[str, Any]:
    tensors = adapter_tensors()
    tensors[name][1, 2] = value
    return tensors


K_A = "base_model.model.encoder.layer.0.attention.self.key.lora_A.weight"
FFN_A = "base_model.model.encoder.layer.0.output.dense.lora_A.weight"
HIGH_A = "base_model.model.encoder.layer.2.attention.self.query.lora_A.weight"
MATRIX = np.zeros((4, HIDDEN), np.float32)


@pytest.mark.parametrize(
    ("tensors", "config", "why"),
    [
        (None, {"base": "other-encoder"}, "trained on 'example/other-encoder', not on 'tiny-enc"),
        (None, {"base_model_name_or_path": None}, "base_model_name_or_path"),
        (None, {"peft_type": "IA3"}, "peft_type"),
        (None, {"r": 8}, r"expected \[(8, 64|64, 8)\] of rank 8"),
        (None, {"r": 0}, "r: Input should be greater"),
        (None, {"r": "4"}, "r: Input should be a valid integer"),
        (None, {"lora_alpha": -1}, "lora_alpha"),
        (None, {"use_dora": True}, "use_dora"),
        (None, {"bias": "all"}, "bias"),
        (None, {"rank_pattern": {"query": 8}}, "rank_pattern"),
        (None, {"task_type": "SEQ_CLS"}, "task_type"),
        (None, {"target_modules": ["query", "dense"]}, "targets 'dense'"),
        (None, {"labels": ["a", "b"], "head": False}, r"2 labels need \[2, 64\]"),
        (None, {"labels": ["a", "a"]}, "there twice"),
        (changed(**{K_A: MATRIX}), {}, "key.lora_A.weight'; adapters of encoders change query and"),
        (changed(**{FFN_A: MATRIX}), {}, "output.dense"),
        (changed(**{HIGH_A: MATRIX}), {}, "layer 2; the base has 2 layers"),
        (changed(**{QUERY_A: np.zeros((4, 32), np.float32)}), {}, r"shape \[4, 32\]"),
        (changed(**{QUERY_A: np.zeros(4, np.float32)}), {}, r"shape \[4\]"),
        (changed(**{QUERY_A: MATRIX.astype(np.int8)}), {}, "type I8, expected F32, F16 or BF16"),
        (adapter_tensors(rank=2), {}, r"shape \[(2, 64|64, 2)\], expected"),
        (without(QUERY_B), {}, "layer 0, query lacks its matrix lora_B"),
        ({}, {}, "no matrices"),
        (holed(QUERY_B, np.nan), {}, "lora_B.weight' holds values that are no numbers"),
        (holed(QUERY_A, -np.inf), {}, "lora_A.weight' holds values that are no numbers"),
        (holed(QUERY_B, 1e38), {"lora_alpha": 1e5}, "leave float32"),
        (
            {name: values * np.float32(1e30) for name, values in adapter_tensors().items()},
            {},
            "so large that the vector of a text holds no numbers",
        ),
        (
            changed(**{"base_model.model.classifier.weight": np.zeros((2, HIDDEN), np.float32)}),
            {},
            "does not say what its rows stand for",
        ),
        (
            changed(**{"base_model.model.classifier.weight": np.zeros((3, HIDDEN), np.float32)}),
            {"labels": ["a", "b"]},
            r"weights \[3, 64\]",
        ),
    ],
)
async def test_what_does_not_fit_is_refused_and_said(
    adapters: OnnxAdapters, tmp_path: Path, tensors: Any, config: dict[str, Any], why: str
) -> None:
    with pytest.raises(UnfitAdapter, match=why):
        await adapters.load("a", write_adapter(tmp_path, tensors, **config))
    assert adapters.names == frozenset()
    assert adapters.used_bytes == 0


@pytest.mark.parametrize("kept", [0, 7, 100, 2000])
async def test_a_file_cut_short_is_refused(
    adapters: OnnxAdapters, tmp_path: Path, kept: int
) -> None:
    file = write_adapter(tmp_path) / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(UnfitAdapter, match="damaged or cut short"):
        await adapters.load("a", tmp_path)


async def test_a_missing_file_and_a_broken_configuration_are_refused(
    adapters: OnnxAdapters, tmp_path: Path
) -> None:
    write_adapter(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{")
    with pytest.raises(UnfitAdapter, match=r"adapter_config\.json: the file: Invalid JSON"):
        await adapters.load("a", tmp_path)
    (tmp_path / "adapter_config.json").unlink()
    with pytest.raises(UnfitAdapter, match=r"adapter_config\.json cannot be read"):
        await adapters.load("a", tmp_path)


async def test_a_refused_version_leaves_the_one_before(
    adapters: OnnxAdapters, tmp_path: Path
) -> None:
    await adapters.load("a", write_adapter(tmp_path / "1"))
    before = await vectors(adapters, "a")
    with pytest.raises(UnfitAdapter):
        await adapters.load("a", write_adapter(tmp_path / "2", holed(QUERY_A, np.nan)))
    np.testing.assert_array_equal(await vectors(adapters, "a"), before)


async def test_an_adapter_that_is_not_loaded_is_unavailable(adapters: OnnxAdapters) -> None:
    encoder = adapters.encoder("nobody", "models/adapters/nobody")
    assert (await encoder.status()).state is ModelState.STARTING
    with pytest.raises(ModelUnavailable, match="not loaded"):
        await encoder.embed(TEXTS, TextKind.QUERY)
    with pytest.raises(ModelUnavailable, match="not loaded"):
        await encoder.labels()


def test_a_graph_without_fused_attention_takes_no_adapters() -> None:
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [], [])
    with pytest.raises(NoAttention):
        add_branches(helper.make_model(graph))


# What it computes.


def test_branches_compute_what_merged_weights_compute(base: Path, tmp_path: Path) -> None:
    tensors = adapter_tensors()
    folder = write_adapter(tmp_path, tensors, lora_alpha=8)
    weights = read_adapter(folder, base=TINY, attention=Attention(LAYERS, HIDDEN))
    branched = onnx.load(base / "model.int8.onnx")
    assert add_branches(branched) == Attention(LAYERS, HIDDEN)
    branched = in_floats(branched, {})
    merged = in_floats(onnx.load(base / "model.int8.onnx"), merged_changes(tensors, 8 / 4))
    plain = in_floats(onnx.load(base / "model.int8.onnx"), {})
    for ids in ([1, 3, 4], [2, 5], list(range(12)) * 2):
        made, expected = run(branched, ids, dict(weights.inputs)), run(merged, ids, {})
        np.testing.assert_allclose(made, expected, atol=1e-5)
        assert made @ run(plain, ids, {}) < 0.999  # it does change something


async def test_rounding_costs_an_adapter_what_it_costs_the_base(
    adapters: OnnxAdapters, base: Path, threads: FairThreads, tmp_path: Path
) -> None:
    tensors = adapter_tensors(strength=0.1)
    await adapters.load("a", write_adapter(tmp_path, tensors))
    text = "red green 红"
    ids = ids_of(text)
    plain = in_floats(onnx.load(base / "model.int8.onnx"), {})
    merged = in_floats(onnx.load(base / "model.int8.onnx"), merged_changes(tensors, 1))
    encoder = await OnnxEncoder.load(base, threads)
    of_base = (await encoder.embed([text], "query")).vectors[0] @ run(plain, ids, {})
    of_adapter = (await vectors(adapters, "a", [text]))[0] @ run(merged, ids, {})
    assert of_base > 0.999
    assert of_adapter > 0.999


def test_without_an_adapter_the_branched_graph_is_the_base_bit_for_bit(base: Path) -> None:
    branched = onnx.load(base / "model.int8.onnx")
    add_branches(branched)
    for ids in ([1, 3, 4], [1, 5], [2, *range(12)]):
        plain = run(onnx.load(base / "model.int8.onnx"), ids, {})
        np.testing.assert_array_equal(run(branched, ids, {}), plain)


async def test_the_base_is_untouched_while_adapters_work(
    adapters: OnnxAdapters, base: Path, threads: FairThreads, tmp_path: Path
) -> None:
    encoder = await OnnxEncoder.load(base, threads)
    before = (await encoder.embed(TEXTS, "query")).vectors
    await adapters.load("a", write_adapter(tmp_path))
    beside = await asyncio.gather(
        *(vectors(adapters, "a") for _ in range(20)),
        *(encoder.embed(TEXTS, "query") for _ in range(20)),
    )
    for made in beside[20:]:
        np.testing.assert_array_equal(made.vectors, before)
    assert np.abs(beside[0] - before).max() > 0.01


async def test_calls_with_many_adapters_at_once_never_mix(
    base: Path, threads: FairThreads, tmp_path: Path
) -> None:
    """Room for three of twelve, so that matrices come and go between the calls."""
    one = sum(values.nbytes for values in adapter_tensors().values())
    adapters = hold(base, threads, memory_bytes=3 * one)
    names = [f"tenant-{number}" for number in range(12)]
    for number, name in enumerate(names):
        await adapters.load(name, write_adapter(tmp_path / name, adapter_tensors(seed=number)))
    alone = {name: await vectors(adapters, name) for name in names}
    assert len({made.tobytes() for made in alone.values()}) == len(names)
    asked = [name for _ in range(10) for name in names]
    np.random.default_rng(1).shuffle(asked)
    made = await asyncio.gather(*(vectors(adapters, name) for name in asked))
    for name, each in zip(asked, made, strict=True):
        np.testing.assert_array_equal(each, alone[name])
    await adapters.close()


@pytest.mark.parametrize("kind", ["F16", "BF16"])
async def test_half_precision_is_read(adapters: OnnxAdapters, tmp_path: Path, kind: str) -> None:
    tensors = adapter_tensors()
    if kind == "F16":
        tensors = {name: values.astype(np.float16) for name, values in tensors.items()}
        rounded = {name: values.astype(np.float32) for name, values in tensors.items()}
        folder = write_adapter(tmp_path / "half", tensors)
    else:
        bits = {name: values.view(np.uint32) >> 16 for name, values in tensors.items()}
        rounded = {name: (each << 16).view(np.float32) for name, each in bits.items()}
        tensors = {name: each.astype(np.uint16) for name, each in bits.items()}
        folder = write_adapter(tmp_path / "half", tensors)
        file = folder / "adapter_model.safetensors"
        content = file.read_bytes().replace(b'"U16"', b'"BF16"')
        size = int.from_bytes(content[:8], "little") + content.count(b'"BF16"')
        file.write_bytes(size.to_bytes(8, "little") + content[8:])
    await adapters.load("half", folder)
    await adapters.load("whole", write_adapter(tmp_path / "whole", rounded))
    np.testing.assert_array_equal(await vectors(adapters, "half"), await vectors(adapters, "whole"))


async def test_scale_and_names_are_read_as_peft_means_them(
    adapters: OnnxAdapters, tmp_path: Path
) -> None:
    tensors = adapter_tensors()
    doubled = {
        name: values * np.float32(2 if "lora_B" in name else 1) for name, values in tensors.items()
    }
    same = {
        "plain": write_adapter(tmp_path / "1", doubled),
        "alpha": write_adapter(tmp_path / "2", tensors, lora_alpha=8),
        "rslora": write_adapter(tmp_path / "3", tensors, lora_alpha=4, use_rslora=True),
        "bert": write_adapter(tmp_path / "4", adapter_tensors(prefix="bert."), lora_alpha=8),
        "roberta": write_adapter(tmp_path / "5", adapter_tensors(prefix="roberta."), lora_alpha=8),
    }
    for name, folder in same.items():
        await adapters.load(name, folder)
        np.testing.assert_array_equal(
            await vectors(adapters, name), await vectors(adapters, "plain")
        )


async def test_projections_that_were_not_trained_stay_as_they_are(
    adapters: OnnxAdapters, tmp_path: Path
) -> None:
    tensors = adapter_tensors()
    some = {name: values for name, values in tensors.items() if "layer.1.attention.self.v" in name}
    zeroed = {
        name: values if name in some else np.zeros_like(values) for name, values in tensors.items()
    }
    await adapters.load("some", write_adapter(tmp_path / "1", some))
    await adapters.load("zeroed", write_adapter(tmp_path / "2", zeroed))
    np.testing.assert_array_equal(
        await vectors(adapters, "some"), await vectors(adapters, "zeroed")
    )


# Memory.


async def test_the_least_recently_used_go_from_memory_and_come_back(
    base: Path, threads: FairThreads, tmp_path: Path
) -> None:
    one = sum(values.nbytes for values in adapter_tensors().values())
    adapters = hold(base, threads, memory_bytes=2 * one)
    first = write_adapter(tmp_path / "0", adapter_tensors(seed=0))
    await adapters.load("0", first)
    before = await vectors(adapters, "0")
    for number in range(1, 5):
        folder = write_adapter(tmp_path / str(number), adapter_tensors(seed=number))
        loaded = await adapters.load(str(number), folder)
        assert loaded.nbytes == one
        assert adapters.used_bytes <= 2 * one
    assert adapters.names == {"0", "1", "2", "3", "4"}
    np.testing.assert_array_equal(await vectors(adapters, "0"), before)
    assert adapters.used_bytes == 2 * one
    adapters.unload("0")
    assert adapters.used_bytes == one
    adapters.unload("0")
    await adapters.close()


async def test_files_that_vanish_make_an_adapter_unavailable_until_they_are_back(
    base: Path, threads: FairThreads, tmp_path: Path
) -> None:
    adapters = hold(base, threads, memory_bytes=0)
    await adapters.load("a", write_adapter(tmp_path / "a"))
    before = await vectors(adapters, "a")
    await adapters.load("b", write_adapter(tmp_path / "b"))
    shutil.move(tmp_path / "a", tmp_path / "gone")
    for _ in range(2):
        with pytest.raises(ModelUnavailable, match="changed or removed"):
            await vectors(adapters, "a")
    shutil.move(tmp_path / "gone", tmp_path / "a")
    np.testing.assert_array_equal(await vectors(adapters, "a"), before)
    await adapters.close()


async def test_one_that_is_unloaded_while_it_is_read_does_not_stay_in_memory(
    base: Path, threads: FairThreads, tmp_path: Path
) -> None:
    adapters = hold(base, threads, memory_bytes=0)
    await adapters.load("a", write_adapter(tmp_path / "a"))
    await adapters.load("b", write_adapter(tmp_path / "b"))
    used = adapters.used_bytes
    asked = asyncio.create_task(vectors(adapters, "a"))
    await asyncio.sleep(0)
    adapters.unload("a")
    await asyncio.wait({asked})
    assert adapters.names == {"b"}
    assert adapters.used_bytes == used
    await adapters.close()


# Heads.


async def test_a_head_tells_its_labels_apart(
    adapters: OnnxAdapters, base: Path, threads: FairThreads, tmp_path: Path
) -> None:
    labels = ["风险", "no risk", "unclear"]
    folder = write_adapter(tmp_path, labels=labels)
    loaded = await adapters.load("a", folder)
    assert loaded.labels == tuple(labels)
    classifier = adapters.encoder("a", "models/adapters/a")
    assert isinstance(classifier, ClassifierBackend)
    made = await classifier.classify(TEXTS)
    assert made.labels == tuple(labels)
    np.testing.assert_allclose(made.scores.sum(axis=1), 1, rtol=1e-5)
    tensors = load_file(folder / "adapter_model.safetensors")
    logits = await vectors(adapters, "a") @ tensors["base_model.model.classifier.weight"].T
    np.testing.assert_array_equal(made.scores.argmax(axis=1), logits.argmax(axis=1))
    assert made.tokens == sum(len(text.split()) + 1 for text in TEXTS)


async def test_without_a_head_there_are_no_labels(adapters: OnnxAdapters, tmp_path: Path) -> None:
    await adapters.load("a", write_adapter(tmp_path))
    encoder = adapters.encoder("a", "models/adapters/a")
    assert await encoder.labels() == ()
    with pytest.raises(ModelUnavailable, match="no classifier"):
        await encoder.classify(TEXTS)


async def test_the_configuration_of_peft_itself_is_taken(
    adapters: OnnxAdapters, tmp_path: Path
) -> None:
    """Every field that peft 0.21 writes, at the value that it writes for such an adapter."""
    written = json.loads(PEFT_CONFIG)
    folder = write_adapter(tmp_path, labels=["a", "b"])
    written |= {"base_model_name_or_path": f"example/{TINY}", "labels": ["a", "b"]}
    (folder / "adapter_config.json").write_text(json.dumps(written))
    assert (await adapters.load("a", folder)).rank == 4


PEFT_CONFIG = """{
"alora_invocation_tokens": null, "alpha_pattern": {}, "arrow_config": null,
"auto_mapping": {"base_model_class": "BertModel",
                 "parent_library": "transformers.models.bert.modeling_bert"},
"base_model_name_or_path": null, "bias": "none", "corda_config": null, "ensure_weight_tying": false,
"eva_config": null, "exclude_modules": null, "fan_in_fan_out": false, "inference_mode": true,
"init_lora_weights": true, "kasa_config": null, "layer_replication": null, "layers_pattern": null,
"layers_to_transform": null, "loftq_config": {}, "lora_alpha": 8, "lora_bias": false,
"lora_dropout": 0.0, "megatron_config": null, "megatron_core": "megatron.core",
"modules_to_save": ["classifier"], "peft_type": "LORA", "peft_version": "0.21.2", "r": 4,
"rank_pattern": {}, "revision": null, "target_modules": ["query", "value"],
"target_parameters": null, "task_type": null, "trainable_token_indices": null, "use_dora": false,
"use_qalora": false, "use_rslora": false}"""
