"""multilingual-e5-small: 4-bit weights in one file -> an int8 ONNX graph and a tokenizer.

The graph reads one text at a time, ``input_ids`` of shape ``(1, tokens)``, and answers
``embedding`` of shape ``(1, 384)``: mean over tokens, scaled to length 1 (Wang et al. 2024,
"Multilingual E5 Text Embeddings"). It is a BERT encoder (Devlin et al. 2019) written straight into
ONNX Runtime's fused operators. Word embeddings keep their 4-bit blocks; the other weights are
rounded to seven bits a column. Activations are quantised to eight bits while it
runs: by the range of the text, and row by row in front of the second feed-forward product, whose
GELU outputs have the widest range.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from atrium_models.conversions.graphs import MICROSOFT, Floats, Graph, write_files
from atrium_models.errors import ModelConversionFailed

MODEL = "multilingual-e5-small"
SOURCE_NAME = "e5-small-q4.bin"

_MAGIC = b"E5S1"
_BLOCK = 32
_BLOCK_BYTES = 18  # one float16 scale and 32 four-bit codes

_Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Shape:
    hidden: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    positions: int
    epsilon: float
    bos: int
    eos: int
    unknown: int


class WeightFile:
    """The parts of one ``E5S1`` file: header, vocabulary, character map, tensors by name.

    Little endian. Four-bit tensors come in blocks of 32 along a row: a float16 scale, then 16
    bytes whose low halves are the first 16 codes and whose high halves are the last 16; a weight is
    ``(code - 8) * scale``.

    Args:
        data: The file.

    Raises:
        ValueError: It does not begin as such a file does.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        if data[:4] != _MAGIC:
            raise ValueError(f"it starts with {data[:4]!r}, expected {_MAGIC!r}")
        self._at = 8
        hidden, layers, heads, inner, vocabulary, positions, _types = self._take("7i")
        epsilon, _block = self._take("fi")
        pieces, bos, eos, _pad, unknown = self._take("5i")
        self.shape = _Shape(
            hidden, layers, heads, inner, vocabulary, positions, epsilon, bos, eos, unknown
        )
        self.vocabulary = self._read_vocabulary(pieces)
        _entries, map_bytes = self._take("iI")
        self._at += map_bytes
        self._tensors = self._read_table()

    def _take(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + layout, self._data, self._at)
        self._at += struct.calcsize("<" + layout)
        return values

    def _array(self, dtype: str, count: int) -> npt.NDArray[Any]:
        values = np.frombuffer(self._data, dtype, count, self._at)
        self._at += values.nbytes
        return values

    def _read_vocabulary(self, pieces: int) -> list[tuple[str, float]]:
        (text_bytes,) = self._take("Q")
        offsets = self._array("<u4", pieces + 1).tolist()
        scores = self._array("<f4", pieces).tolist()
        text = self._data[self._at : self._at + text_bytes]
        self._at += text_bytes
        spans = zip(offsets, offsets[1:], scores, strict=False)
        return [(text[a:b].decode("utf-8", "replace"), score) for a, b, score in spans]

    def _read_table(self) -> dict[str, tuple[int, int]]:
        (count,) = self._take("i")
        table = {}
        for _ in range(count):
            (length,) = self._take("H")
            name = self._data[self._at : self._at + length].decode()
            self._at += length
            _dtype, values, offset, _size = self._take("BIQQ")
            table[name] = (values, offset)
        return table

    def dense(self, name: str) -> Floats:
        """The float32 tensor ``name``, flat."""
        count, offset = self._tensors[name]
        return np.frombuffer(self._data, "<f4", count, offset)

    def blocks(self, name: str, columns: int) -> tuple[_Bytes, Floats]:
        """Codes ``(rows, columns)`` in 0..15 and scales ``(rows, columns / 32)`` of ``name``."""
        count, offset = self._tensors[name]
        raw = np.frombuffer(self._data, np.uint8, count // _BLOCK * _BLOCK_BYTES, offset)
        raw = raw.reshape(-1, _BLOCK_BYTES)
        scales = raw[:, :2].copy().view("<f2").astype(np.float32)
        codes = np.concatenate([raw[:, 2:] & 15, raw[:, 2:] >> 4], axis=1)
        return codes.reshape(-1, columns), scales.reshape(-1, columns // _BLOCK)

    def weights(self, name: str, columns: int) -> Floats:
        """The four-bit tensor ``name`` as float32 ``(rows, columns)``."""
        codes, scales = self.blocks(name, columns)
        return (codes.astype(np.float32) - 8) * np.repeat(scales, _BLOCK, axis=1)


class EncoderWriter:
    """Writes the encoder's graph, layer by layer; what follows the last layer can be replaced.

    Args:
        weights: The weights.
    """

    name = MODEL

    def __init__(self, weights: WeightFile) -> None:
        self.file = weights
        self._shape = weights.shape
        self._graph = Graph()

    def write(self) -> onnx.ModelProto:
        """Return the whole graph with its weights.

        Raises:
            KeyError, ValueError: A tensor is missing or has another size.
        """
        shape, graph = self._shape, self._graph
        hidden = self._embeddings()
        for layer in range(shape.layers):
            hidden = self._layer(f"l{layer}.", hidden)
        output = self._output(hidden)
        ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "tokens"])
        return graph.model(self.name, [ids], [output], self._properties())

    def _output(self, hidden: str) -> onnx.ValueInfoProto:
        """Add what follows the last layer, ``hidden`` of shape ``(1, tokens, 384)``."""
        mean = self._graph.node("ReduceMean", hidden, "token_axis", keepdims=0)
        unit = self._graph.node("LpNormalization", mean, axis=-1, p=2)
        self._graph.end(unit, "embedding")
        return helper.make_tensor_value_info(
            "embedding", TensorProto.FLOAT, [1, self._shape.hidden]
        )

    def _properties(self) -> dict[str, str]:
        """What an engine must know to use the graph."""
        return {
            "atrium.dimensions": str(self._shape.hidden),
            "atrium.max_tokens": str(self._shape.positions),
            "atrium.passage_prefix": "passage: ",
            "atrium.query_prefix": "query: ",
        }

    def _embeddings(self) -> str:
        graph, shape = self._graph, self._shape
        codes, scales = self.file.blocks("emb.word", shape.hidden)
        words = graph.node(
            "GatherBlockQuantized",
            graph.constant("words", codes[:, 0::2] | (codes[:, 1::2] << 4)),
            "input_ids",
            graph.constant("words.scale", scales),
            domain=MICROSOFT,
            bits=4,
            block_size=_BLOCK,
            gather_axis=0,
            quantize_axis=1,
        )
        # Every token has type 0, so its row joins the table of positions.
        table = self.file.dense("emb.pos").reshape(-1, shape.hidden)
        table = table + self.file.dense("emb.type").reshape(-1, shape.hidden)[:1]
        length = graph.node("Gather", graph.node("Shape", "input_ids"), "token_axis")
        positions = graph.node("Slice", graph.constant("positions", table), "zero", length, "zero")
        return graph.node(
            "LayerNormalization",
            graph.node("Add", words, positions),
            *self._norm("emb.ln"),
            axis=-1,
            epsilon=shape.epsilon,
        )

    def _layer(self, prefix: str, hidden: str) -> str:
        graph, shape = self._graph, self._shape
        packed = self._project_by_text(hidden, [prefix + name for name in "qkv"])
        attended = graph.node(
            "MultiHeadAttention", *graph.split(packed, 3), domain=MICROSOFT, num_heads=shape.heads
        )
        hidden = self._add_and_norm(
            hidden, self._project_by_text(attended, [prefix + "ao"]), prefix + "aln"
        )
        wide = graph.node("Gelu", self._project_by_text(hidden, [prefix + "fi"]), domain=MICROSOFT)
        return self._add_and_norm(hidden, self._project_by_row(wide, prefix + "fo"), prefix + "oln")

    def _norm(self, name: str) -> tuple[str, str]:
        weight = self._graph.constant(name + ".w", self.file.dense(name + ".w"))
        return weight, self._graph.constant(name + ".b", self.file.dense(name + ".b"))

    def _add_and_norm(self, hidden: str, update: str, norm: str) -> str:
        return self._graph.node(
            "SkipLayerNormalization",
            hidden,
            update,
            *self._norm(norm),
            domain=MICROSOFT,
            epsilon=self._shape.epsilon,
        )

    def _project_by_text(self, value: str, names: list[str]) -> str:
        """``value`` times the weights ``names`` side by side, plus biases."""
        weights = np.concatenate([self.file.weights(n + ".w", self._shape.hidden) for n in names])
        bias = np.concatenate([self.file.dense(n + ".b") for n in names])
        return self._graph.project_by_text(value, names[0], weights, bias)

    def _project_by_row(self, value: str, name: str) -> str:
        weights = self.file.weights(name + ".w", self._shape.inner)
        return self._graph.project_by_row(value, name, weights, self.file.dense(name + ".b"))


def tokenizer_of(weights: WeightFile) -> dict[str, Any]:
    """The Unigram tokenizer (Kudo 2018) in the format of the ``tokenizers`` library.

    Its normaliser is SentencePiece's ``nmt_nfkc``: NFKC without the full-width tilde, control
    characters dropped, every kind of white space one space.
    """
    bos = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    eos = {"SpecialToken": {"id": "</s>", "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}

    def replace(pattern: str, content: str) -> dict[str, Any]:
        return {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}

    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                # A private-use character carries the full-width tilde past NFKC.
                replace("\uff5e", "\ue000"),
                {"type": "NFKC"},
                replace("\ue000", "\uff5e"),
                replace(r"[\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f]", ""),
                replace(r"[\s\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]+", " "),
                {"type": "Strip", "strip_left": True, "strip_right": True},
            ],
        },
        "pre_tokenizer": metaspace,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [bos, first, eos],
            "pair": [bos, first, eos, eos, second, eos],
            "special_tokens": {
                "<s>": {"id": "<s>", "ids": [weights.shape.bos], "tokens": ["<s>"]},
                "</s>": {"id": "</s>", "ids": [weights.shape.eos], "tokens": ["</s>"]},
            },
        },
        "decoder": metaspace,
        "model": {
            "type": "Unigram",
            "unk_id": weights.shape.unknown,
            "byte_fallback": False,
            "vocab": weights.vocabulary,
        },
    }


def convert_e5(source: Path, target: Path) -> None:
    """Write ``model.int8.onnx`` and ``tokenizer.json`` from ``e5-small-q4.bin``.

    Args:
        source: Folder that holds ``e5-small-q4.bin`` (72 MB).
        target: Folder that receives the graph (82 MB) and the tokenizer (9 MB).

    Raises:
        ModelConversionFailed: The file is not what its name says.
    """
    try:
        weights = WeightFile((source / SOURCE_NAME).read_bytes())
        graph = EncoderWriter(weights).write()
    except (struct.error, ValueError, KeyError) as exc:
        raise ModelConversionFailed(MODEL, f"{SOURCE_NAME} is damaged ({exc})") from exc
    write_files(target, graph, tokenizer_of(weights))
