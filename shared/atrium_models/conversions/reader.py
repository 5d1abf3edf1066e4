"""atrium-reader: the lower layers of Qwen2.5-Coder-0.5B plus what was learnt on top -> ONNX.

A decoder (Qwen2, Yang et al. 2024) that reads a passage once and every question by itself behind
it, and points at the unit of the passage that answers (pointer networks, Vinyals et al. 2015). The
graph takes

    input_ids  int64 (1, tokens)
    past       float16 (2 * layers, heads, before, size)    keys and values of what stands before;
                                                            layer i has rows 2i and 2i + 1

and answers

    scores     float32 (1, tokens, 3 * width + 1)    see READER_CARD.md
    present    float16 (2 * layers, heads, before + tokens, size)

so that what was made of a passage can be kept for the next question. What was learnt ships with
this package as ``reader.npz``: additions of low rank (LoRA, Hu et al. 2021) to the matrices of the
upper layers, each in two factors of int8, and the last layer:

    {matrix}.in, .in.scale     int8 (rank, inputs), float32 (inputs,)
    {matrix}.out, .out.scale   int8 (outputs, rank), float32 (outputs,)
    head.w, head.b             float16 (3 * width + 1, hidden), float32 (3 * width + 1,)

with the names that the matrices have in the GGUF file. A sum of ``rank`` products of such codes is
a whole number below 2**24, exact in float32 in whatever order it is added up: the same bytes come
out on every machine.

Run as a module, it prints what ``models.yaml`` must say after ``reader.npz`` has changed.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from atrium_models.checking import sha256_of
from atrium_models.conversions.graphs import (
    GRAPH_NAME,
    MICROSOFT,
    TOKENIZER_NAME,
    Floats,
    Graph,
    write_files,
)
from atrium_models.errors import ModelConversionFailed

MODEL = "atrium-reader"
ADAPTER_NAME = "reader.npz"
SOURCE_NAME = "model.gguf"

LAYERS = 20
"""How many of the model's layers are read with."""
MAX_PASSAGE_TOKENS = 900
"""Longest passage with its heading; no longer one was learnt from."""
MAX_QUESTION_TOKENS = 200
"""Longest question with what stands around it."""

_ADDED_TO = (
    *("attn_q", "attn_k", "attn_v", "attn_output"),
    *("ffn_gate", "ffn_up", "ffn_down"),
)
_WORDS = (
    # How Qwen2 cuts text into words before the merges: letters with what stands before them, single
    # digits, punctuation, line ends.
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

Adapter = Mapping[str, npt.NDArray[Any]]
"""The arrays of ``reader.npz`` by their names."""


class _Weights:
    """The matrices and settings of a GGUF file, with what was learnt added to them.

    Raises:
        ValueError, KeyError: The file or the adapter lacks something or does not fit.
    """

    def __init__(self, path: Path, adapter: Adapter) -> None:
        self.file = gguf.GGUFReader(path)
        self._tensors = {tensor.name: tensor for tensor in self.file.tensors}
        self._adapter = adapter
        self.hidden = int(self.setting("qwen2.embedding_length"))
        self.heads = int(self.setting("qwen2.attention.head_count"))
        self.kv_heads = int(self.setting("qwen2.attention.head_count_kv"))
        self.epsilon = float(self.setting("qwen2.attention.layer_norm_rms_epsilon"))
        self.base = float(self.setting("qwen2.rope.freq_base"))
        self.layers = min(LAYERS, int(self.setting("qwen2.block_count")))
        known = {f"blk.{i}.{name}.weight" for i in range(self.layers) for name in _ADDED_TO}
        for name in adapter:
            stem = name.removesuffix(".scale").removesuffix(".in").removesuffix(".out")
            if stem not in known and name not in ("head.w", "head.b"):
                raise ModelConversionFailed(MODEL, f"{ADAPTER_NAME} has the unknown array {name!r}")

    def setting(self, name: str) -> Any:
        """The value of the setting ``name``."""
        return self.file.fields[name].contents()

    def tensor(self, name: str) -> Floats:
        """The tensor ``name`` in float32: (outputs, inputs) or (values,)."""
        stored = self._tensors[name]
        plain = gguf.quants.dequantize(stored.data, stored.tensor_type).astype(np.float32)
        if not any(key.startswith(f"{name}.") for key in self._adapter):
            return plain
        outputs, inputs = plain.shape
        factor_in = self.learnt(f"{name}.in", (None, inputs))
        factor_out = self.learnt(f"{name}.out", (outputs, len(factor_in)))
        rows = self.learnt(f"{name}.out.scale", (outputs,))
        columns = self.learnt(f"{name}.in.scale", (inputs,))
        return plain + (factor_out @ factor_in) * rows[:, None] * columns

    def learnt(self, name: str, shape: tuple[int | None, ...]) -> Floats:
        """The array ``name`` of the adapter in float32; ``None`` in ``shape`` is any size."""
        found = self._adapter.get(name)
        if (
            found is None
            or found.ndim != len(shape)
            or any(
                wanted not in (None, got) for got, wanted in zip(found.shape, shape, strict=True)
            )
        ):
            got = "nothing" if found is None else f"{found.shape}"
            raise ModelConversionFailed(
                MODEL, f"{ADAPTER_NAME} holds {got} under {name!r}, expected the shape {shape}"
            )
        values = found.astype(np.float32)
        if not np.isfinite(values).all():
            raise ModelConversionFailed(
                MODEL, f"{ADAPTER_NAME} holds no finite numbers in {name!r}"
            )
        return values


class _Writer:
    """Writes the reader's graph, layer by layer."""

    def __init__(self, weights: _Weights) -> None:
        self._weights = weights
        self._graph = Graph()
        self._size = weights.hidden // weights.heads

    def write(self) -> onnx.ModelProto:
        weights, graph = self._weights, self._graph
        layers, states = weights.layers, 2 * weights.layers
        hidden = self._words()
        past = graph.split(graph.node("Cast", "past", to=TensorProto.FLOAT), states, axis=0)
        places = self._places()
        present: list[str] = []
        update = ""
        for layer in range(layers):
            stem = f"blk.{layer}."
            normed, hidden = self._add_and_norm(hidden, update, f"{stem}attn_norm.weight")
            update, *kept = self._attention(stem, normed, past[2 * layer : 2 * layer + 2], places)
            present += kept
            normed, hidden = self._add_and_norm(hidden, update, f"{stem}ffn_norm.weight")
            update = self._feed_forward(stem, normed)
        last, _ = self._add_and_norm(hidden, update, "output_norm.weight")
        width = self._head(last)
        joined = graph.node("Concat", *present, axis=0)
        graph.end(graph.node("Cast", joined, to=TensorProto.FLOAT16), "present")

        def state(name: str) -> onnx.ValueInfoProto:
            # The number of tokens has no name: ONNX Runtime would take it for the same before and
            # after, and put the longer keys where the shorter ones lay.
            shape = [states, weights.kv_heads, None, self._size]
            return helper.make_tensor_value_info(name, TensorProto.FLOAT16, shape)

        return graph.model(
            MODEL,
            [
                helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "tokens"]),
                state("past"),
            ],
            [
                helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, "tokens", width]),
                state("present"),
            ],
            {
                "atrium.max_tokens": str(MAX_PASSAGE_TOKENS),
                "atrium.max_question_tokens": str(MAX_QUESTION_TOKENS),
            },
        )

    def _words(self) -> str:
        """The vectors of the tokens, of eight bits and a scale a word."""
        graph = self._graph
        words = self._weights.tensor("token_embd.weight")
        scales = np.maximum(np.abs(words).max(axis=1), np.float32(1e-12)) / np.float32(127)
        words /= scales[:, None]
        codes = np.rint(words, out=words).astype(np.int8)
        del words
        found = graph.node("Gather", graph.constant("words", codes), "input_ids", axis=0)
        scale = graph.node("Gather", graph.constant("words.scale", scales), "input_ids")
        return graph.node(
            "Mul",
            graph.node("Cast", found, to=TensorProto.FLOAT),
            graph.node("Unsqueeze", scale, "last_axis"),
        )

    def _places(self) -> tuple[str, str, str, str]:
        """Index of the last token, number of tokens, and cosines and sines of all places."""
        graph = self._graph
        tokens = graph.node("Gather", graph.node("Shape", "input_ids"), "token_axis")
        state_axis = graph.constant("state_axis", np.array([2], np.int64))
        before = graph.node("Gather", graph.node("Shape", "past"), state_axis)
        total = graph.node("Squeeze", graph.node("Add", tokens, before))
        counted = graph.node("Cast", total, to=TensorProto.INT32)
        last = graph.node("Sub", counted, graph.constant("one", np.array(1, np.int32)))
        # Rotary positions (Su et al. 2021). Cosines are made while it runs: tables of them would
        # not have the same last bits on every machine.
        steps = range(0, self._size, 2)
        speeds = np.array([self._weights.base ** (-i / self._size) for i in steps], np.float32)
        every = graph.node(
            "Range",
            graph.constant("first_place", np.array(0, np.int64)),
            total,
            graph.constant("next_place", np.array(1, np.int64)),
        )
        column = graph.node(
            "Unsqueeze", graph.node("Cast", every, to=TensorProto.FLOAT), "last_axis"
        )
        angles = graph.node("Mul", column, graph.constant("speeds", speeds))
        lasts = graph.node("Unsqueeze", graph.node("Unsqueeze", last, "zero"), "last_axis")
        return lasts, counted, graph.node("Cos", angles), graph.node("Sin", angles)

    def _attention(
        self, stem: str, value: str, past: list[str], places: tuple[str, str, str, str]
    ) -> list[str]:
        """What attention adds, and the keys and values to keep."""
        weights, graph = self._weights, self._graph
        names = [f"{stem}attn_{part}" for part in "qkv"]
        packed = graph.project_by_row(
            value,
            f"{stem}attn_qkv",
            np.concatenate([weights.tensor(f"{name}.weight") for name in names]),
            np.concatenate([weights.tensor(f"{name}.bias") for name in names]),
        )
        attended, key, found = graph.nodes_of(
            "GroupQueryAttention",
            *(packed, "", "", *past, *places),
            outputs=3,
            domain=MICROSOFT,
            num_heads=weights.heads,
            kv_num_heads=weights.kv_heads,
            do_rotary=1,
            rotary_interleaved=0,
        )
        name = f"{stem}attn_output"
        return [graph.project_by_row(attended, name, weights.tensor(f"{name}.weight")), key, found]

    def _feed_forward(self, stem: str, value: str) -> str:
        weights, graph = self._weights, self._graph

        def project(to: str, name: str) -> str:
            return graph.project_by_row(to, stem + name, weights.tensor(f"{stem}{name}.weight"))

        # SwiGLU (Shazeer 2020); QuickGelu with alpha 1 is SiLU.
        gate = graph.node("QuickGelu", project(value, "ffn_gate"), domain=MICROSOFT, alpha=1.0)
        return project(graph.node("Mul", gate, project(value, "ffn_up")), "ffn_down")

    def _add_and_norm(self, value: str, update: str, name: str) -> tuple[str, str]:
        """Root mean square norm (Zhang & Sennrich 2019) of the sum, and the sum."""
        graph = self._graph
        weight = graph.constant(name, self._weights.tensor(name))
        epsilon = self._weights.epsilon
        if not update:
            normed = graph.node(
                "SimplifiedLayerNormalization", value, weight, axis=-1, epsilon=epsilon
            )
            return normed, value
        normed, _, _, summed = graph.nodes_of(
            "SkipSimplifiedLayerNormalization",
            *(value, update, weight),
            outputs=4,
            domain=MICROSOFT,
            epsilon=epsilon,
        )
        return normed, summed

    def _head(self, value: str) -> int:
        """Add the last layer; return how many numbers it gives a token."""
        graph = self._graph
        head = self._weights.learnt("head.w", (None, self._weights.hidden))
        product = graph.node("MatMul", value, graph.constant("head.w", head.T))
        bias = graph.constant("head.b", self._weights.learnt("head.b", (len(head),)))
        graph.end(graph.node("Add", product, bias), "scores")
        return len(head)


def tokenizer_of(file: gguf.GGUFReader) -> dict[str, Any]:
    """The byte-level BPE tokenizer (Sennrich et al. 2016) for the ``tokenizers`` library.

    It has no special tokens: text that spells one out is read as the characters that it is.
    """
    tokens = file.fields["tokenizer.ggml.tokens"].contents()
    merges = file.fields["tokenizer.ggml.merges"].contents()
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": _WORDS},
                    "behavior": "Isolated",
                    "invert": False,
                },
                {
                    "type": "ByteLevel",
                    "add_prefix_space": False,
                    "trim_offsets": True,
                    "use_regex": False,
                },
            ],
        },
        "post_processor": None,
        "decoder": {
            "type": "ByteLevel",
            "add_prefix_space": True,
            "trim_offsets": True,
            "use_regex": True,
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in merges],
        },
    }


def convert_reader(source: Path, target: Path, adapter: Adapter | None = None) -> None:
    """Write ``model.int8.onnx`` and ``tokenizer.json`` from ``model.gguf`` and the adapter.

    Args:
        source: Folder of the model qwen2.5-0.5b, with ``model.gguf`` (491 MB).
        target: Folder that receives the graph (439 MB) and the tokenizer (7 MB).
        adapter: What was learnt; None takes what ships with this package.

    Raises:
        ModelConversionFailed: The file is not what its name says, or the adapter does not fit it.
    """
    if adapter is None:
        path = resources.files("atrium_models.conversions").joinpath(ADAPTER_NAME)
        with resources.as_file(path) as file:
            adapter = read_adapter(file)
    try:
        weights = _Weights(source / SOURCE_NAME, adapter)
        graph = _Writer(weights).write()
        tokenizer = tokenizer_of(weights.file)
    except (OSError, ValueError, KeyError, IndexError, TypeError) as exc:
        raise ModelConversionFailed(MODEL, f"{SOURCE_NAME} is damaged ({exc})") from exc
    write_files(target, graph, tokenizer)


def read_adapter(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an adapter file.

    Raises:
        ModelConversionFailed: It cannot be read as one.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as exc:
        raise ModelConversionFailed(MODEL, f"{path.name} is damaged ({exc})") from exc


def main(arguments: list[str]) -> int:
    """Print the sizes and digests of the converted files, as ``models.yaml`` has them."""
    if len(arguments) != 1 or not (Path(arguments[0]) / SOURCE_NAME).is_file():
        sys.stderr.write(f"Expected one argument, the folder that holds {SOURCE_NAME}.\n")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder)
        convert_reader(Path(arguments[0]), target)
        for name in (GRAPH_NAME, TOKENIZER_NAME):
            size, digest = (target / name).stat().st_size, sha256_of(target / name)
            sys.stdout.write(f"      {name}:\n        bytes: {size}\n        sha256: {digest}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
