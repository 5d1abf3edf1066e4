"""Encoders and adapters for tests: a tiny encoder, random adapters, and merged weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from safetensors.numpy import save_file

from atrium_models.conversions.e5 import EncoderWriter
from atrium_models.conversions.graphs import GRAPH_NAME, TOKENIZER_NAME

HIDDEN, LAYERS, POSITIONS = 64, 2, 32
WORDS = "[unk] query: passage: red green blue 红 绿 蓝 1 2 3".split()
TINY = "tiny-encoder"

Floats = NDArray[np.float32]


class RandomWeights:
    """Random weights where a converter expects those of a file."""

    def __init__(self, hidden: int, layers: int) -> None:
        self.shape = SimpleNamespace(
            hidden=hidden, layers=layers, heads=4, inner=2 * hidden, vocabulary=len(WORDS),
            positions=POSITIONS, epsilon=1e-12,
        )  # fmt: skip
        self._random = np.random.default_rng(5)
        self.drawn: dict[str, Floats] = {}

    def blocks(self, name: str, columns: int) -> tuple[NDArray[np.uint8], Floats]:
        """Codes and scales of word embeddings."""
        codes = self._random.integers(0, 16, (len(WORDS), columns), np.uint8)
        return codes, np.full((len(WORDS), columns // 32), 0.1, np.float32)

    def dense(self, name: str) -> Floats:
        """Biases, norms and positions."""
        rows = {"emb.pos": POSITIONS, "emb.type": 2}.get(name, 1)
        width = self.shape.inner if name.endswith("fi.b") else self.shape.hidden
        values = self._random.normal(0, 0.1, rows * width).astype(np.float32)
        return values + 1 if name.endswith("ln.w") else values

    def weights(self, name: str, columns: int) -> Floats:
        """The weights of a projection, ``(outputs, inputs)``."""
        outputs = self.shape.inner if name.endswith("fi.w") else self.shape.hidden
        drawn = self._random.normal(0, 0.15, (outputs, columns)).astype(np.float32)
        return self.drawn.setdefault(name, drawn)


def write_encoder(folder: Path, *, hidden: int = HIDDEN, layers: int = LAYERS) -> Path:
    """Write a random encoder into ``folder``, by the converter of the real one."""
    folder.mkdir(parents=True)
    weights: Any = RandomWeights(hidden, layers)
    (folder / GRAPH_NAME).write_bytes(EncoderWriter(weights).write().SerializeToString())
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
    (folder / TOKENIZER_NAME).write_text(json.dumps(tokenizer))
    return folder


def adapter_tensors(
    *,
    seed: int = 0,
    rank: int = 4,
    strength: float = 0.3,
    hidden: int = HIDDEN,
    layers: int = LAYERS,
    prefix: str = "",
) -> dict[str, Floats]:
    """Random matrices under the names that peft gives them."""
    random = np.random.default_rng(seed)
    tensors: dict[str, Floats] = {}
    for layer in range(layers):
        for projection in ("query", "value"):
            name = f"base_model.model.{prefix}encoder.layer.{layer}.attention.self.{projection}"
            down = random.normal(0, hidden**-0.5, (rank, hidden))
            tensors[f"{name}.lora_A.weight"] = down.astype(np.float32)
            up = random.normal(0, strength, (hidden, rank))
            tensors[f"{name}.lora_B.weight"] = up.astype(np.float32)
    return tensors


def write_adapter(
    folder: Path,
    tensors: dict[str, Any] | None = None,
    *,
    base: str = TINY,
    rank: int = 4,
    labels: Sequence[str] = (),
    head: bool = True,
    **config: Any,
) -> Path:
    """Write an adapter as peft saves it; ``labels`` need a ``head``, random unless it is given."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = dict(tensors if tensors is not None else adapter_tensors(rank=rank))
    if labels:
        config = {"labels": list(labels), "modules_to_save": ["classifier"], **config}
    if labels and head:
        hidden = next(iter(tensors.values())).shape[1]
        random = np.random.default_rng(len(labels))
        rows = random.normal(0, 4, (len(labels), hidden)).astype(np.float32)
        tensors.setdefault("base_model.model.classifier.weight", rows)
        tensors.setdefault("base_model.model.classifier.bias", np.zeros(len(labels), np.float32))
    told = {
        "peft_type": "LORA",
        "base_model_name_or_path": f"example/{base}",
        "r": rank,
        "lora_alpha": rank,
        "target_modules": ["query", "value"],
        "bias": "none",
        **config,
    }
    (folder / "adapter_config.json").write_text(json.dumps(told))
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def in_floats(model: onnx.ModelProto, changes: dict[str, NDArray[Any]]) -> onnx.ModelProto:
    """Rewrite an encoder's graph in place to one that rounds nothing, and return it.

    Args:
        model: As the converter writes it.
        changes: What to add to weights ``(in, out)``, by their names in the graph.
    """
    constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    maker = {output: node for node in model.graph.node for output in node.output}
    nodes = []

    def weights(codes: str, scale: str) -> str:
        merged = constants[codes] * constants[scale] + changes.get(codes, np.float32(0))
        name = f"{codes}.float"
        model.graph.initializer.append(numpy_helper.from_array(merged.astype(np.float32), name))
        return name

    for node in model.graph.node:
        if node.op_type == "DynamicQuantizeMatMul":
            value, codes, scale, _, bias = node.input
            product = f"{node.name}.product"
            nodes.append(helper.make_node("MatMul", [value, weights(codes, scale)], [product]))
            nodes.append(helper.make_node("Add", [product, bias], list(node.output)))
        elif node.op_type == "MatMulIntegerToFloat":
            value = maker[node.input[0]].input[0]  # before it was rounded
            merged = weights(node.input[1], node.input[3])
            nodes.append(helper.make_node("MatMul", [value, merged], list(node.output)))
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def merged_changes(
    tensors: dict[str, Any], scale: float, *, hidden: int = HIDDEN, layers: int = LAYERS
) -> dict[str, NDArray[Any]]:
    """What an adapter adds to the weights of each layer, for :func:`in_floats`."""
    changes = {}
    for layer in range(layers):
        change = np.zeros((hidden, 3 * hidden), np.float32)
        for at, projection in ((0, "query"), (2 * hidden, "value")):
            name = f"base_model.model.encoder.layer.{layer}.attention.self.{projection}.lora_"
            down, up = tensors[f"{name}A.weight"], tensors[f"{name}B.weight"]
            change[:, at : at + hidden] = scale * (up @ down).T
        changes[f"l{layer}.q.w"] = change
    return changes
