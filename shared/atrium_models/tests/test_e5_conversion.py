"""The converted graph against the same network in plain NumPy, from the same weights."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper
from tokenizers import Tokenizer

from atrium_models import ModelConversionFailed, ModelStore
from atrium_models.conversions.e5 import convert_e5

HIDDEN, LAYERS, HEADS, INNER, POSITIONS = 64, 2, 4, 128, 24
EPSILON = 1e-12
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁red", "▁green", "e", "d", "～", "红", "▁红色"]

Floats = npt.NDArray[np.float32]


def e5_file() -> tuple[bytes, dict[str, Floats]]:
    """A small ``E5S1`` file with random weights, and those weights as it stores them."""
    random = np.random.default_rng(3)
    stored: dict[str, Floats] = {}
    encoded: dict[str, tuple[int, int, bytes]] = {}

    def dense(name: str, values: npt.NDArray[Any]) -> None:
        stored[name] = values.astype("<f4")
        encoded[name] = (0, values.size, stored[name].tobytes())

    def blocks(name: str, rows: int, columns: int) -> None:
        scales = random.uniform(0.01, 0.04, (rows * columns // 32, 1)).astype("<f2")
        codes = random.integers(0, 16, (rows * columns // 32, 32), np.uint8)
        raw = np.concatenate([scales.view(np.uint8), codes[:, :16] | (codes[:, 16:] << 4)], axis=1)
        values = (codes.astype(np.float32) - 8) * scales.astype(np.float32)
        stored[name] = values.reshape(rows, columns)
        encoded[name] = (1, rows * columns, raw.tobytes())

    def norm(name: str) -> None:
        dense(name + ".w", random.uniform(0.5, 1.5, HIDDEN))
        dense(name + ".b", random.normal(0, 0.2, HIDDEN))

    blocks("emb.word", len(PIECES), HIDDEN)
    dense("emb.pos", random.normal(0, 0.1, POSITIONS * HIDDEN))
    dense("emb.type", random.normal(0, 0.1, 2 * HIDDEN))
    norm("emb.ln")
    for layer in range(LAYERS):
        for name, rows, columns in [
            ("q", HIDDEN, HIDDEN),
            ("k", HIDDEN, HIDDEN),
            ("v", HIDDEN, HIDDEN),
            ("ao", HIDDEN, HIDDEN),
            ("fi", INNER, HIDDEN),
            ("fo", HIDDEN, INNER),
        ]:
            blocks(f"l{layer}.{name}.w", rows, columns)
            dense(f"l{layer}.{name}.b", random.normal(0, 0.1, rows))
        norm(f"l{layer}.aln")
        norm(f"l{layer}.oln")

    texts = [piece.encode() for piece in PIECES]
    offsets = np.cumsum([0, *map(len, texts)]).astype("<u4")
    scores = np.array([0, 0, 0, 0, *np.linspace(-2, -6, len(PIECES) - 4)], "<f4")
    head = struct.pack(
        "<4sI7ifi5iQ",
        b"E5S1",
        1,
        *(HIDDEN, LAYERS, HEADS, INNER, len(PIECES), POSITIONS, 2),
        *(EPSILON, 32, len(PIECES), 0, 2, 1, 3, len(b"".join(texts))),
    )
    head += offsets.tobytes() + scores.tobytes() + b"".join(texts)
    head += struct.pack("<iI", 1, 9) + b"\0" * 9 + struct.pack("<i", len(encoded))
    at = len(head) + sum(2 + len(name) + 21 for name in encoded)
    table, body = b"", b""
    for name, (kind, count, data) in encoded.items():
        table += struct.pack("<H", len(name)) + name.encode()
        table += struct.pack("<BIQQ", kind, count, at + len(body), len(data))
        body += data
    return head + table + body, stored


def normalised(x: Floats, weights: Mapping[str, Floats], name: str) -> Floats:
    centred = x - x.mean(axis=-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + EPSILON)
    return centred / spread * weights[name + ".w"] + weights[name + ".b"]


def gelu(x: Floats) -> Floats:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def encode(ids: list[int], weights: Mapping[str, Floats], layers: int, heads: int) -> Floats:
    """BERT (Devlin et al. 2019) in float arithmetic; the mean of the tokens, scaled to length 1."""
    hidden = weights["emb.word"].shape[1]
    positions = weights["emb.pos"].reshape(-1, hidden)[: len(ids)]
    if "emb.type" in weights:
        positions = positions + weights["emb.type"][:hidden]
    x = normalised(weights["emb.word"][ids] + positions, weights, "emb.ln")
    for layer in range(layers):
        p = f"l{layer}."
        q, k, v = (
            (x @ weights[p + n + ".w"].T + weights[p + n + ".b"])
            .reshape(len(ids), heads, -1)
            .transpose(1, 0, 2)
            for n in "qkv"
        )
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(hidden / heads)
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        mixed = (shares @ v).transpose(1, 0, 2).reshape(len(ids), hidden)
        x = normalised(x + mixed @ weights[p + "ao.w"].T + weights[p + "ao.b"], weights, p + "aln")
        wide = gelu(x @ weights[p + "fi.w"].T + weights[p + "fi.b"])
        x = normalised(x + wide @ weights[p + "fo.w"].T + weights[p + "fo.b"], weights, p + "oln")
    mean = x.mean(axis=0)
    return mean / np.linalg.norm(mean)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Floats]]:
    source, target = (tmp_path_factory.mktemp(name) for name in ("source", "target"))
    data, weights = e5_file()
    (source / "e5-small-q4.bin").write_bytes(data)
    convert_e5(source, target)
    return target, weights


def session(folder: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(
        str(folder / "model.int8.onnx"), options, providers=["CPUExecutionProvider"]
    )


def test_graph_computes_what_the_network_computes(
    converted: tuple[Path, dict[str, Floats]],
) -> None:
    folder, weights = converted
    graph = session(folder)
    random = np.random.default_rng(5)
    for length in (1, 2, 7, POSITIONS):
        ids = random.integers(0, len(PIECES), length).tolist()
        (vectors,) = graph.run(["embedding"], {"input_ids": np.array([ids], np.int64)})
        assert vectors.shape == (1, HIDDEN)
        assert np.linalg.norm(vectors[0]) == pytest.approx(1, abs=1e-5)
        assert vectors[0] @ encode(ids, weights, LAYERS, HEADS) > 0.995


def test_graph_takes_one_text_at_a_time(converted: tuple[Path, dict[str, Floats]]) -> None:
    graph = session(converted[0])
    with pytest.raises(Exception, match="invalid dimensions"):
        graph.run(["embedding"], {"input_ids": np.zeros((2, 3), np.int64)})


def test_graph_says_how_it_is_used(converted: tuple[Path, dict[str, Floats]]) -> None:
    properties = session(converted[0]).get_modelmeta().custom_metadata_map
    assert properties == {
        "atrium.dimensions": str(HIDDEN),
        "atrium.max_tokens": str(POSITIONS),
        "atrium.passage_prefix": "passage: ",
        "atrium.query_prefix": "query: ",
    }


def test_weights_leave_room_for_sums_in_sixteen_bits(
    converted: tuple[Path, dict[str, Floats]],
) -> None:
    graph = onnx.load(converted[0] / "model.int8.onnx").graph
    codes = [numpy_helper.to_array(t) for t in graph.initializer if t.data_type == 3]
    assert len(codes) == LAYERS * 4
    assert all(np.abs(code).max() <= 63 for code in codes)


def test_tokenizer_splits_as_the_vocabulary_says(
    converted: tuple[Path, dict[str, Floats]],
) -> None:
    tokenizer = Tokenizer.from_file(str(converted[0] / "tokenizer.json"))
    assert tokenizer.encode("red green").tokens == ["<s>", "▁red", "▁green", "</s>"]
    assert tokenizer.encode("\u200bred\n\t green\x07").tokens == ["<s>", "▁red", "▁green", "</s>"]
    assert tokenizer.encode("ｒｅｄ").tokens == ["<s>", "▁red", "</s>"]
    assert tokenizer.encode("红色").ids == [0, PIECES.index("▁红色"), 2]
    assert "～" in tokenizer.encode("红～红").tokens
    assert tokenizer.encode("").ids == [0, 2]


def test_same_file_gives_the_same_bytes(
    converted: tuple[Path, dict[str, Floats]], tmp_path: Path
) -> None:
    (tmp_path / "e5-small-q4.bin").write_bytes(e5_file()[0])
    convert_e5(tmp_path, tmp_path)
    for name in ("model.int8.onnx", "tokenizer.json"):
        assert (tmp_path / name).read_bytes() == (converted[0] / name).read_bytes()


@pytest.mark.parametrize("kept", [0, 3, 40, 300, 20_000])
def test_damaged_file_is_refused(tmp_path: Path, kept: int) -> None:
    (tmp_path / "e5-small-q4.bin").write_bytes(e5_file()[0][:kept])
    with pytest.raises(ModelConversionFailed) as caught:
        convert_e5(tmp_path, tmp_path)
    assert caught.value.reason == "MODEL_CONVERSION_FAILED"
    assert not (tmp_path / "model.int8.onnx").exists()


def weights_in(graph: onnx.GraphProto) -> dict[str, Floats]:
    """The weights of a converted graph as float32, under the names of the file's tensors."""
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    packed, scales = constants["words"], constants["words.scale"]
    codes = np.stack([packed & 15, packed >> 4], axis=-1).reshape(len(packed), -1)
    words = (codes.astype(np.float32) - 8) * np.repeat(scales, 32, axis=1)
    found: dict[str, Floats] = {"emb.word": words, "emb.pos": constants["positions"].ravel()}
    hidden = words.shape[1]
    for name, value in constants.items():
        if value.dtype == np.int8:
            full = (value.astype(np.float32) * constants[name.removesuffix("w") + "scale"]).T
            bias = constants[name.removesuffix("w") + "b"]
            parts = "qkv" if name.endswith(".q.w") else [name.split(".")[1]]
            for i, part in enumerate(parts):
                rows = slice(i * hidden, (i + 1) * hidden) if len(parts) > 1 else slice(None)
                stem = f"{name.split('.')[0]}.{part}"
                found[stem + ".w"], found[stem + ".b"] = full[rows], bias[rows]
        elif "ln." in name:
            found[name] = value
    return found


@pytest.mark.models
def test_pulled_encoder_computes_what_its_weights_say() -> None:
    folder = ModelStore.from_environment(os.environ).path("multilingual-e5-small")
    weights = weights_in(onnx.load(folder / "model.int8.onnx").graph)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    graph = session(folder)
    texts = [
        "query: How many days of leave do I have?",
        "query: 我每年有多少天年假？",
        "passage: Employees in Shanghai may take fifteen days of paid leave each calendar year; "
        "what is left on 31 March lapses unless the manager agreed otherwise.",
        "passage: 员工应在出差结束后三十天内提交报销申请，并附上原始发票。",
        "passage: " + "Die Server stehen in Frankfurt. " * 5,
    ]
    for text in texts:
        ids = tokenizer.encode(text).ids
        (vectors,) = graph.run(["embedding"], {"input_ids": np.array([ids], np.int64)})
        assert vectors[0] @ encode(ids, weights, layers=12, heads=12) > 0.995
