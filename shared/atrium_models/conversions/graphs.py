"""Writes ONNX graphs node by node, and weights as the int8 products of ONNX Runtime take them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

MICROSOFT = "com.microsoft"
"""Domain of ONNX Runtime's fused operators."""

GRAPH_NAME = "model.int8.onnx"
TOKENIZER_NAME = "tokenizer.json"

Floats = npt.NDArray[np.float32]

_MAX_CODE = 63
"""Seven bits and a sign: ``vpmaddubsw``, on processors without VNNI, adds two products in sixteen
bits and would saturate with eight."""


class Graph:
    """Collects nodes and constants; every method returns the name of what it added."""

    def __init__(self) -> None:
        # Everything is put where it ends up: weights are large, and each copy would count.
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid(MICROSOFT, 1)]
        self._model = onnx.ModelProto(
            ir_version=10, producer_name="atrium_models", opset_import=opsets
        )
        self.constant("last_axis", np.array([-1], np.int64))
        self.constant("token_axis", np.array([1], np.int64))
        self.constant("zero", np.array([0], np.int64))
        self.constant("row_step", np.array(1 / 127, np.float32))
        self.constant("row_middle", np.array(128, np.uint8))
        self.constant("row_floor", np.array(1e-9, np.float32))

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        """Add a constant."""
        tensor = numpy_helper.from_array(np.asarray(value, order="C"), name)
        self._model.graph.initializer.append(tensor)
        return name

    def node(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output."""
        (output,) = self.nodes_of(operator, *inputs, domain=domain, outputs=1, **attributes)
        return output

    def nodes_of(
        self, operator: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any
    ) -> list[str]:
        """Add a node with several outputs."""
        name = f"{operator}_{len(self._model.graph.node)}"
        names = [name] if outputs == 1 else [f"{name}_{i}" for i in range(outputs)]
        self._model.graph.node.append(
            helper.make_node(operator, inputs, names, name, domain=domain, **attributes)
        )
        return names

    def end(self, value: str, name: str) -> None:
        """Make ``value`` the graph's output ``name``."""
        self._model.graph.node.append(helper.make_node("Identity", [value], [name], name))

    def split(self, value: str, parts: int, axis: int = -1) -> list[str]:
        """Cut ``value`` into equal parts along an axis."""
        outputs = [f"{value}_part{i}" for i in range(parts)]
        self._model.graph.node.append(
            helper.make_node(
                "Split", [value], outputs, f"{value}_split", axis=axis, num_outputs=parts
            )
        )
        return outputs

    def project_by_text(self, value: str, name: str, weights: Floats, bias: Floats) -> str:
        """``value`` times ``weights (outputs, inputs)``, plus ``bias``; one scale a text."""
        codes, scales = _column_codes(weights)
        return self.node(
            "DynamicQuantizeMatMul",
            value,
            self.constant(name + ".w", codes),
            self.constant(name + ".scale", scales),
            "",
            self.constant(name + ".b", bias),
            domain=MICROSOFT,
        )

    def project_by_row(
        self, value: str, name: str, weights: Floats, bias: Floats | None = None
    ) -> str:
        """``value`` times ``weights (outputs, inputs)``, plus ``bias``; one scale a token."""
        codes, scales = _column_codes(weights)
        highest = self.node("ReduceMax", value, "last_axis", keepdims=1)
        lowest = self.node("ReduceMin", value, "last_axis", keepdims=1)
        range_ = self.node("Max", highest, self.node("Neg", lowest), "row_floor")
        rows = self.node(
            "QuantizeLinear", self.node("Div", value, range_), "row_step", "row_middle"
        )
        product = self.node(
            "MatMulIntegerToFloat",
            rows,
            self.constant(name + ".w", codes),
            "row_step",
            self.constant(name + ".scale", scales),
            "row_middle",
            domain=MICROSOFT,
        )
        product = self.node("Mul", product, range_)
        return (
            product if bias is None else self.node("Add", product, self.constant(name + ".b", bias))
        )

    def model(
        self,
        name: str,
        inputs: list[onnx.ValueInfoProto],
        outputs: list[onnx.ValueInfoProto],
        properties: dict[str, str],
    ) -> onnx.ModelProto:
        """Return the whole graph; ``properties`` are what an engine must know to use it."""
        graph = self._model.graph
        graph.name = name
        graph.input.extend(inputs)
        graph.output.extend(outputs)
        helper.set_model_props(self._model, properties)
        return self._model


def write_files(target: Path, graph: onnx.ModelProto, tokenizer: dict[str, Any]) -> None:
    """Write a model's graph and tokenizer into folder ``target``; the same bytes everywhere."""
    (target / GRAPH_NAME).write_bytes(graph.SerializeToString(deterministic=True))
    text = json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":"))
    (target / TOKENIZER_NAME).write_text(text, encoding="utf-8")


def _column_codes(weights: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """Int8 codes ``(inputs, outputs)`` and one scale an output of ``weights (outputs, inputs)``."""
    scales = np.maximum(np.abs(weights).max(axis=1), np.float32(1e-12)) / np.float32(_MAX_CODE)
    codes = np.rint(weights / scales[:, None]).astype(np.int8)
    return codes.T, scales.astype(np.float32)
