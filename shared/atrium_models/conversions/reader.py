"""atrium-reader: the weights of multilingual-e5-small plus what was learnt on top -> an ONNX graph.

A cross-encoder that reads a question together with one passage. The graph takes ``input_ids`` of
shape ``(1, tokens)`` and answers ``scores`` of shape ``(1, tokens, 2)``: for each token how much
the unit of text that it stands in answers the question, and, at the first token alone, how much
nothing does. The upper layers and the last one were learnt, and ship with this package as
``reader.npz``, the matrices in seven bits and a sign a row; the lower layers and the words are the
encoder's own:

    l{i}.{p}.codes  int8 (outputs, inputs)    i: layer; p: q, k, v, ao, fi, fo
    l{i}.{p}.scale  float32 (outputs,)        W = codes times scale, row by row
    l{i}.{p}.b      float32 (outputs,)
    l{i}.{n}.w, .b  float32 (384,)            n: aln, oln
    head.w, head.b  float32 (2, 384) and (2,)

Run as a module, it prints what ``models.yaml`` must say after ``reader.npz`` has changed.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from collections.abc import Mapping
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from atrium_models.checking import sha256_of
from atrium_models.conversions.e5 import (
    GRAPH_NAME,
    SOURCE_NAME,
    TOKENIZER_NAME,
    EncoderWriter,
    Floats,
    WeightFile,
    convert,
)
from atrium_models.errors import ModelConversionFailed

MODEL = "atrium-reader"
ADAPTER_NAME = "reader.npz"
MAX_TOKENS = 448
"""Longest question and passage together; no longer pair was learnt from."""

_MATRICES = ("q", "k", "v", "ao", "fi", "fo")
_NORMS = ("aln", "oln")

Adapter = Mapping[str, npt.NDArray[Any]]
"""The arrays of ``reader.npz`` by their names."""


class _ReaderWeights(WeightFile):
    """The encoder's weights, those that were learnt in place of its own."""

    def __init__(self, data: bytes, adapter: Adapter) -> None:
        super().__init__(data)
        self.adapter = adapter
        self._learnt = {name.partition(".")[0] for name in adapter}

    def dense(self, name: str) -> Floats:
        """The float32 tensor ``name``, flat."""
        own = super().dense(name)
        return _array(self.adapter, name, (own.size,)) if self._is_learnt(name) else own

    def weights(self, name: str, columns: int) -> Floats:
        """The matrix ``name`` as float32 ``(rows, columns)``."""
        own = super().weights(name, columns)
        if not self._is_learnt(name):
            return own
        stem = name.removesuffix(".w")
        codes = _array(self.adapter, stem + ".codes", own.shape)
        return codes * _array(self.adapter, stem + ".scale", (len(own),))[:, None]

    def _is_learnt(self, name: str) -> bool:
        return name.partition(".")[0] in self._learnt


class _ReaderWriter(EncoderWriter):
    name = MODEL

    def __init__(self, weights: _ReaderWeights) -> None:
        super().__init__(weights)
        self._adapter = weights.adapter

    def _output(self, hidden: str) -> onnx.ValueInfoProto:
        graph = self._graph
        head = _array(self._adapter, "head.w", (2, self._shape.hidden))
        product = graph.node("MatMul", hidden, graph.constant("head.w", head.T))
        bias = graph.constant("head.b", _array(self._adapter, "head.b", (2,)))
        graph.end(graph.node("Add", product, bias), "scores")
        return helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, "tokens", 2])

    def _properties(self) -> dict[str, str]:
        return {"atrium.max_tokens": str(min(MAX_TOKENS, self._shape.positions))}


def convert_reader(source: Path, target: Path, adapter: Adapter | None = None) -> None:
    """Write ``model.int8.onnx`` and ``tokenizer.json`` from ``e5-small-q4.bin`` and the adapter.

    Args:
        source: Folder that holds ``e5-small-q4.bin`` (72 MB).
        target: Folder that receives the graph (82 MB) and the tokenizer (9 MB).
        adapter: What was learnt; None takes what ships with this package.

    Raises:
        ModelConversionFailed: The file is not what its name says, or the adapter does not fit it.
    """
    if adapter is None:
        path = resources.files("atrium_models.conversions").joinpath(ADAPTER_NAME)
        with resources.as_file(path) as file:
            adapter = read_adapter(file)
    make = partial(_writer, adapter=adapter)
    convert(MODEL, source, target, make)


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


def _writer(data: bytes, adapter: Adapter) -> _ReaderWriter:
    weights = _ReaderWeights(data, adapter)
    parts = [f"{p}.{x}" for p in _MATRICES for x in ("codes", "scale", "b")]
    parts += [f"{n}.{x}" for n in _NORMS for x in "wb"]
    known = {f"l{layer}.{part}" for layer in range(weights.shape.layers) for part in parts}
    unknown = sorted(adapter.keys() - known - {"head.w", "head.b"})
    if unknown:
        raise ModelConversionFailed(MODEL, f"{ADAPTER_NAME} has the unknown array {unknown[0]!r}")
    return _ReaderWriter(weights)


def _array(adapter: Adapter, name: str, shape: tuple[int, ...]) -> Floats:
    """The array ``name`` as float32."""
    found = adapter.get(name)
    if found is None or found.shape != shape:
        got = "nothing" if found is None else f"{found.shape}"
        raise ModelConversionFailed(
            MODEL, f"{ADAPTER_NAME} holds {got} under {name!r}, expected the shape {shape}"
        )
    values = found.astype(np.float32)
    if not np.isfinite(values).all():
        raise ModelConversionFailed(MODEL, f"{ADAPTER_NAME} holds no finite numbers in {name!r}")
    return values


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
