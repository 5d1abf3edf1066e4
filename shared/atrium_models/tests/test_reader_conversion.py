"""The converted reader against the same network in plain NumPy, from the same weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
import yaml
from onnx import numpy_helper
from tokenizers import Tokenizer

from atrium_models import ModelConversionFailed
from atrium_models.conversions import reader as reader_module
from atrium_models.conversions.reader import ADAPTER_NAME, convert_reader, read_adapter

HIDDEN, LAYERS, HEADS, KV_HEADS, INNER, RANK, WIDTH = 64, 2, 4, 2, 96, 4, 8
SIZE = HIDDEN // HEADS
EPSILON, BASE = 1e-6, 10_000.0
TOKENS = ["a", "b", "c", "Ġ", "Ċ", "ab", "Ġa", "ç", "º", "¢", "çº", "çº¢", "<|end|>"]
MERGES = ["a b", "Ġ a", "ç º", "çº ¢"]
PROJECTIONS = {
    "attn_q": (HIDDEN, HIDDEN),
    "attn_k": (KV_HEADS * SIZE, HIDDEN),
    "attn_v": (KV_HEADS * SIZE, HIDDEN),
    "attn_output": (HIDDEN, HIDDEN),
    "ffn_gate": (INNER, HIDDEN),
    "ffn_up": (INNER, HIDDEN),
    "ffn_down": (HIDDEN, INNER),
}

Floats = npt.NDArray[np.float32]


def write_gguf(path: Path, *, without: str = "") -> dict[str, Floats]:
    """A small file of random weights, some in blocks; returns the weights as it has them."""
    random = np.random.default_rng(3)
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_block_count(LAYERS)
    writer.add_embedding_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_rope_freq_base(BASE)
    writer.add_token_list(TOKENS)
    writer.add_token_merges(MERGES)
    stored: dict[str, Floats] = {}

    def add(name: str, values: npt.NDArray[Any], kind: gguf.GGMLQuantizationType) -> None:
        raw = gguf.quants.quantize(values.astype(np.float32), kind)
        stored[name] = gguf.quants.dequantize(raw, kind)
        if name != without:
            writer.add_tensor(name, raw, raw_dtype=kind)

    plain, blocks = gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.Q8_0
    add("token_embd.weight", random.normal(0, 1, (len(TOKENS), HIDDEN)), blocks)
    add("output_norm.weight", random.uniform(0.5, 1.5, HIDDEN), plain)
    for layer in range(LAYERS):
        stem = f"blk.{layer}."
        for name in ("attn_norm", "ffn_norm"):
            add(f"{stem}{name}.weight", random.uniform(0.5, 1.5, HIDDEN), plain)
        for name, (rows, columns) in PROJECTIONS.items():
            scale = 1.5 / np.sqrt(columns)
            add(f"{stem}{name}.weight", random.normal(0, scale, (rows, columns)), blocks)
            if name in ("attn_q", "attn_k", "attn_v"):
                add(f"{stem}{name}.bias", random.normal(0, 0.3, rows), plain)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return stored


def adapter() -> dict[str, npt.NDArray[Any]]:
    """What might have been learnt for the upper layer, and the last one."""
    random = np.random.default_rng(4)
    arrays: dict[str, npt.NDArray[Any]] = {
        "head.w": random.normal(0, 0.2, (3 * WIDTH + 1, HIDDEN)).astype(np.float16),
        "head.b": random.normal(size=3 * WIDTH + 1).astype(np.float32),
    }
    for name, (rows, columns) in PROJECTIONS.items():
        stem = f"blk.{LAYERS - 1}.{name}.weight"
        arrays[f"{stem}.in"] = random.integers(-127, 128, (RANK, columns)).astype(np.int8)
        arrays[f"{stem}.out"] = random.integers(-127, 128, (rows, RANK)).astype(np.int8)
        arrays[f"{stem}.in.scale"] = random.uniform(0.002, 0.004, columns).astype(np.float16)
        arrays[f"{stem}.out.scale"] = random.uniform(0.002, 0.004, rows).astype(np.float16)
    return arrays


def with_learnt(stored: Mapping[str, Floats]) -> dict[str, Floats]:
    """The weights with what was learnt added."""
    learnt = {name: values.astype(np.float32) for name, values in adapter().items()}
    weights = {**stored, "head.w": learnt["head.w"], "head.b": learnt["head.b"]}
    for name in PROJECTIONS:
        stem = f"blk.{LAYERS - 1}.{name}.weight"
        out = learnt[f"{stem}.out"] * learnt[f"{stem}.out.scale"][:, None]
        weights[stem] = stored[stem] + out @ (learnt[f"{stem}.in"] * learnt[f"{stem}.in.scale"])
    return weights


def rotated(x: Floats) -> Floats:
    """Rotary positions (Su et al. 2021) of ``(heads, tokens, size)``."""
    speeds = BASE ** (-np.arange(0, SIZE, 2) / SIZE)
    angles = np.arange(x.shape[1])[:, None] * speeds
    first, second = np.split(x, 2, axis=-1)
    turned = [
        first * np.cos(angles) - second * np.sin(angles),
        second * np.cos(angles) + first * np.sin(angles),
    ]
    return np.concatenate(turned, axis=-1)


def network(ids: list[int], weights: Mapping[str, Floats]) -> Floats:
    """Qwen2 (Yang et al. 2024) in float arithmetic, and the last layer: (tokens, numbers)."""

    def norm(x: Floats, name: str) -> Floats:
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + EPSILON) * weights[name]

    x = weights["token_embd.weight"][ids]
    future = np.triu(np.full((len(ids), len(ids)), -np.inf), 1)
    for layer in range(LAYERS):
        p = f"blk.{layer}."
        normed = norm(x, p + "attn_norm.weight")
        q, k, v = (
            (normed @ weights[f"{p}attn_{n}.weight"].T + weights[f"{p}attn_{n}.bias"])
            .reshape(len(ids), -1, SIZE)
            .transpose(1, 0, 2)
            for n in "qkv"
        )
        k, v = (np.repeat(one, HEADS // KV_HEADS, axis=0) for one in (rotated(k), v))
        scores = rotated(q) @ k.transpose(0, 2, 1) / np.sqrt(SIZE) + future
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        mixed = (shares @ v).transpose(1, 0, 2).reshape(len(ids), HIDDEN)
        x = x + mixed @ weights[p + "attn_output.weight"].T
        normed = norm(x, p + "ffn_norm.weight")
        gate = normed @ weights[p + "ffn_gate.weight"].T
        wide = gate / (1 + np.exp(-gate)) * (normed @ weights[p + "ffn_up.weight"].T)
        x = x + wide @ weights[p + "ffn_down.weight"].T
    return norm(x, "output_norm.weight") @ weights["head.w"].T + weights["head.b"]


Converted = tuple[Path, dict[str, Floats]]


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    source, target = (tmp_path_factory.mktemp(name) for name in ("source", "target"))
    stored = write_gguf(source / "model.gguf")
    convert_reader(source, target, adapter())
    return target, stored


def session(folder: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(
        str(folder / "model.int8.onnx"), options, providers=["CPUExecutionProvider"]
    )


NOTHING = np.zeros((2 * LAYERS, KV_HEADS, 0, SIZE), np.float16)


def run(graph: ort.InferenceSession, ids: list[int], past: Any = NOTHING) -> tuple[Floats, Any]:
    feeds = {"input_ids": np.array([ids], np.int64), "past": past}
    scores, present = graph.run(["scores", "present"], feeds)
    return scores[0], present


def test_graph_computes_the_network_with_what_was_learnt(converted: Converted) -> None:
    folder, stored = converted
    graph, weights = session(folder), with_learnt(stored)
    random = np.random.default_rng(5)
    given, expected, bare = [], [], []
    for length in (1, 2, 7, 40):
        ids = random.integers(0, len(TOKENS), length).tolist()
        scores, present = run(graph, ids)
        assert scores.shape == (length, 3 * WIDTH + 1)
        assert present.shape == (2 * LAYERS, KV_HEADS, length, SIZE)
        given.append(scores)
        expected.append(network(ids, weights))
        head = {"head.w": weights["head.w"], "head.b": weights["head.b"]}
        bare.append(network(ids, {**stored, **head}))
    got, right, without = (np.concatenate(each).ravel() for each in (given, expected, bare))
    assert np.corrcoef(got, right)[0, 1] > 0.99
    assert np.abs(got - right).mean() < 0.15
    assert np.corrcoef(got, without)[0, 1] < 0.9


def test_what_was_kept_of_a_text_stands_for_the_text(converted: Converted) -> None:
    graph = session(converted[0])
    ids = np.random.default_rng(6).integers(0, len(TOKENS), 30).tolist()
    whole, kept = run(graph, ids)
    for cut in (1, 12, 29):
        before, past = run(graph, ids[:cut])
        behind, present = run(graph, ids[cut:], past)
        # Keys and values are kept with eleven bits, which moves some codes by one.
        assert np.abs(np.concatenate([before, behind]) - whole).mean() < 0.02
        assert np.abs(present.astype(np.float32) - kept).mean() < 0.02


def test_graph_says_how_it_is_used(converted: Converted) -> None:
    properties = session(converted[0]).get_modelmeta().custom_metadata_map
    assert properties == {"atrium.max_tokens": "900", "atrium.max_question_tokens": "200"}


def test_weights_leave_room_for_sums_in_sixteen_bits(converted: Converted) -> None:
    graph = onnx.load(converted[0] / "model.int8.onnx").graph
    codes = {t.name: numpy_helper.to_array(t) for t in graph.initializer if t.data_type == 3}
    assert len(codes.pop("words")) == len(TOKENS)
    assert len(codes) == LAYERS * 5
    assert all(np.abs(code).max() <= 63 for code in codes.values())


def test_tokenizer_merges_as_the_file_says_and_knows_no_marks(converted: Converted) -> None:
    tokenizer = Tokenizer.from_file(str(converted[0] / "tokenizer.json"))
    encoding = tokenizer.encode("ab a\n红")
    assert encoding.tokens == ["ab", "Ġa", "Ċ", "çº¢"]
    assert encoding.offsets == [(0, 2), (2, 4), (4, 5), (5, 6)]
    assert "<|end|>" not in tokenizer.encode("<|end|>").tokens


def test_same_file_and_adapter_give_the_same_reader(converted: Converted, tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf")
    np.savez(tmp_path / "reader.npz", **adapter())
    convert_reader(tmp_path, tmp_path, read_adapter(tmp_path / "reader.npz"))
    for name in ("model.int8.onnx", "tokenizer.json"):
        assert (tmp_path / name).read_bytes() == (converted[0] / name).read_bytes()


def misfits() -> dict[str, tuple[dict[str, Any], str]]:
    whole = adapter()
    q, down = "blk.1.attn_q.weight", "blk.1.ffn_down.weight"
    return {
        "a factor is missing": ({k: v for k, v in whole.items() if k != f"{q}.out"}, f"{q}.out"),
        "no head": ({k: v for k, v in whole.items() if k != "head.w"}, "head.w"),
        "another width": ({**whole, f"{q}.in": whole[f"{down}.in"]}, f"{q}.in"),
        "other scales": ({**whole, f"{q}.in.scale": whole[f"{q}.in.scale"][:2]}, "in.scale"),
        "not numbers": ({**whole, "head.b": whole["head.b"] * np.float32(np.nan)}, "head.b"),
        "of a deeper model": ({**whole, "blk.2.attn_q.weight.in": whole[f"{q}.in"]}, "unknown"),
    }


@pytest.mark.parametrize("why", misfits())
def test_adapter_that_does_not_fit_is_refused_by_name(tmp_path: Path, why: str) -> None:
    arrays, named = misfits()[why]
    write_gguf(tmp_path / "model.gguf")
    with pytest.raises(ModelConversionFailed, match=named) as caught:
        convert_reader(tmp_path, tmp_path, arrays)
    assert caught.value.metadata == {"model": "atrium-reader"}
    assert not (tmp_path / "model.int8.onnx").exists()


@pytest.mark.parametrize("kept", [0, 3, 40, 300, 20_000])
def test_damaged_file_is_refused(tmp_path: Path, kept: int) -> None:
    write_gguf(tmp_path / "whole.gguf")
    (tmp_path / "model.gguf").write_bytes((tmp_path / "whole.gguf").read_bytes()[:kept])
    with pytest.raises(ModelConversionFailed, match=r"model\.gguf is damaged") as caught:
        convert_reader(tmp_path, tmp_path, adapter())
    assert caught.value.reason == "MODEL_CONVERSION_FAILED"
    assert not (tmp_path / "model.int8.onnx").exists()


def test_file_without_a_tensor_is_refused(tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf", without="blk.1.ffn_up.weight")
    with pytest.raises(ModelConversionFailed, match=r"blk\.1\.ffn_up\.weight"):
        convert_reader(tmp_path, tmp_path, adapter())


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"\x93NUMPY"])
def test_damaged_adapter_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "reader.npz").write_bytes(content)
    with pytest.raises(ModelConversionFailed, match=r"reader\.npz is damaged"):
        read_adapter(tmp_path / "reader.npz")


def test_adapter_that_ships_is_of_the_models_size() -> None:
    path = Path(reader_module.__file__).with_name(ADAPTER_NAME)
    assert path.stat().st_size < 15_000_000
    arrays = read_adapter(path)
    assert arrays["head.w"].shape == (3 * 128 + 1, 896)
    assert arrays["blk.19.ffn_down.weight.in"].shape == (32, 4864)
    assert arrays["blk.19.ffn_down.weight.out"].dtype == np.int8


def test_what_the_catalogue_must_say_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "read_adapter", lambda _: adapter())
    assert reader_module.main([str(tmp_path)]) == 2
    assert "model.gguf" in capsys.readouterr().err
    write_gguf(tmp_path / "model.gguf")
    assert reader_module.main([str(tmp_path)]) == 0
    convert_reader(tmp_path, tmp_path, adapter())
    printed = yaml.safe_load(capsys.readouterr().out)
    for name in ("model.int8.onnx", "tokenizer.json"):
        content = (tmp_path / name).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        assert printed[name] == {"bytes": len(content), "sha256": digest}
    json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
