"""Low-rank branches for an encoder's graph, their matrices fed with each run.

The base stays quantised as it is; each branch adds ``(x A) B`` to a projection, in float32 (LoRA,
Hu et al. 2021). The matrices are optional inputs of rank 0, so a run without them computes what the
graph computed before, bit for bit. Why this way: ADR 0008.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import onnx

Projection = Literal["query", "value"]
PROJECTIONS: tuple[Projection, ...] = ("query", "value")
"""What of each layer's attention has a branch, by the names of transformers' BERT."""


@dataclass(frozen=True)
class Attention:
    """Where adapters fit on a graph.

    Attributes:
        layers: Layers with attention.
        hidden: Width of their inputs and projections.
    """

    layers: int
    hidden: int


class NoAttention(ValueError):
    """The graph has no attention whose projections come from one product."""


def down_input(layer: int, projection: Projection) -> str:
    """Name of the input for A, float32 of shape ``(hidden, rank)``."""
    return f"lora.{layer}.{projection}.down"


def up_input(layer: int, projection: Projection) -> str:
    """Name of the input for B with its scale, float32 of shape ``(rank, hidden)``."""
    return f"lora.{layer}.{projection}.up"


def add_branches(model: onnx.ModelProto) -> Attention:
    """Add branches to the query and value of every layer, in place.

    Expects what :mod:`atrium_models.conversions.e5` writes: one product makes query, key and value
    side by side, a ``Split`` parts them, and ``MultiHeadAttention`` takes the parts.

    Raises:
        NoAttention: The graph is not like that.
    """
    graph = model.graph
    maker = {output: node for node in graph.node for output in node.output}
    shapes = {each.name: tuple(each.dims) for each in graph.initializer}
    branches: dict[str, list[onnx.NodeProto]] = {}
    widths: set[int] = set()
    layer = 0
    for attention in graph.node:
        if attention.op_type != "MultiHeadAttention":
            continue
        split = maker.get(attention.input[0])
        product = maker.get(split.input[0]) if split is not None else None
        if (
            split is None
            or product is None
            or split.op_type != "Split"
            or list(attention.input[:3]) != list(split.output)
            or product.op_type != "DynamicQuantizeMatMul"
        ):
            raise NoAttention(f"layer {layer}: query, key and value do not come from one product")
        width = shapes[product.input[1]][0]
        widths.add(width)
        branches[split.name] = []
        for place, projection in ((0, PROJECTIONS[0]), (2, PROJECTIONS[1])):
            down, up = down_input(layer, projection), up_input(layer, projection)
            branches[split.name] += _branch(product.input[0], attention.input[place], down, up)
            attention.input[place] = f"{up}.sum"
            _add_optional_input(graph, down, (width, 0), (width, f"{projection}.{layer}.rank"))
            _add_optional_input(graph, up, (0, width), (f"{projection}.{layer}.rank", width))
        layer += 1
    if len(widths) != 1:
        raise NoAttention("it has no attention of one width")
    nodes = [each for node in graph.node for each in (node, *branches.get(node.name, ()))]
    del graph.node[:]
    graph.node.extend(nodes)
    return Attention(layer, widths.pop())


def _branch(value: str, projected: str, down: str, up: str) -> Iterable[onnx.NodeProto]:
    from onnx import helper  # here, as a gateway without local models has no use for it

    yield helper.make_node("MatMul", [value, down], [f"{down}.low"], f"{down}.low")
    yield helper.make_node("MatMul", [f"{down}.low", up], [f"{up}.change"], f"{up}.change")
    yield helper.make_node("Add", [projected, f"{up}.change"], [f"{up}.sum"], f"{up}.sum")


def _add_optional_input(
    graph: onnx.GraphProto, name: str, default: tuple[int, int], shape: tuple[int | str, int | str]
) -> None:
    from onnx import TensorProto, helper, numpy_helper

    graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    graph.initializer.append(numpy_helper.from_array(np.zeros(default, np.float32), name))
