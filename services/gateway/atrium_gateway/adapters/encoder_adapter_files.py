"""An adapter of an encoder as peft saves it, read and checked before anything runs it.

``adapter_config.json`` and ``adapter_model.safetensors`` of a LoRA adapter over query and value of
a BERT or XLM-R. The weights may hold a linear head, ``classifier.weight`` of shape
``(labels, hidden)`` and ``classifier.bias``; the configuration then names its ``labels`` in order.
The head reads the encoder's own sentence vector: mean over tokens, scaled to length 1, of
``"query: "`` and the text. The heads of transformers' own classes read other numbers, so adapters
of the task ``SEQ_CLS`` are refused.

Neither file can carry code. Everything is checked, since weights that merely look right would make
vectors that look right.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from safetensors import SafetensorError, deserialize

from atrium_gateway.adapters.onnx_lora import (
    PROJECTIONS,
    Attention,
    Projection,
    down_input,
    up_input,
)
from atrium_gateway.domain.adapters import CONFIG_FILE, WEIGHTS_FILE

_MAX_CONFIG_BYTES = 1 << 20
_MAX_WEIGHTS_BYTES = 64 << 20
_SHOWN_ERRORS = 3
_BRANCH = re.compile(
    r"base_model\.model\.(?:(?:bert|roberta)\.)?encoder\.layer\.(?P<layer>[0-9]{1,4})\."
    r"attention\.self\.(?P<projection>[a-z]+)\.lora_(?P<side>[AB])\.weight"
)
_HEAD = re.compile(r"(?:base_model\.model\.)?classifier\.(?P<part>weight|bias)")

Floats = npt.NDArray[np.float32]
Label = Annotated[str, StringConstraints(min_length=1, max_length=128, strip_whitespace=True)]


class UnfitAdapter(Exception):
    """The files are not those of an adapter that this encoder can serve.

    Args:
        why: What was found, what was expected, and what to do, as part of a sentence.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, eq=False)
class Head:
    """A linear classifier over sentence vectors.

    Attributes:
        labels: What its rows stand for.
        weights: ``(labels, hidden)``.
        bias: ``(labels,)``.
    """

    labels: tuple[str, ...]
    weights: Floats
    bias: Floats

    def scores(self, vectors: Floats) -> Floats:
        """Return the softmax over labels, ``(texts, labels)``, for ``vectors (texts, hidden)``."""
        # In double precision no finite weights leave the range of numbers.
        logits = vectors.astype(np.float64) @ self.weights.T.astype(np.float64) + self.bias
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores: Floats = (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
        return scores


@dataclass(frozen=True, eq=False)
class AdapterWeights:
    """An adapter in memory; never changed.

    Attributes:
        rank: Rank of its matrices.
        inputs: Matrices by the graph's input names.
        head: Its classifier, where it has one.
        nbytes: Memory that it takes.
    """

    rank: int
    inputs: Mapping[str, Floats]
    head: Head | None
    nbytes: int


class _Config(BaseModel):
    """What of ``adapter_config.json`` decides whether it can be served."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    peft_type: Literal["LORA"]
    base_model_name_or_path: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    r: Annotated[int, Field(strict=True, ge=1)]
    lora_alpha: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
    use_rslora: bool | None = None
    target_modules: list[str] | str
    task_type: Literal["FEATURE_EXTRACTION"] | None = None
    modules_to_save: list[Literal["classifier"]] | None = None
    labels: Annotated[list[Label], Field(min_length=2, max_length=256)] | None = None
    rank_pattern: Annotated[dict[str, int], Field(max_length=0)] | None = None
    alpha_pattern: Annotated[dict[str, float], Field(max_length=0)] | None = None
    bias: Literal["none"] = "none"
    use_dora: Literal[False] | None = None
    lora_bias: Literal[False] | None = None
    fan_in_fan_out: Literal[False] | None = None
    init_lora_weights: bool | Literal["gaussian", "orthogonal"] | None = None

    @property
    def scale(self) -> float:
        """What B is multiplied with (rsLoRA: Kalajdzievski 2023)."""
        return self.lora_alpha / (math.sqrt(self.r) if self.use_rslora else self.r)


def read_adapter(folder: Path, *, base: str, attention: Attention) -> AdapterWeights:
    """Read an adapter's folder; blocks.

    Args:
        folder: Holds ``adapter_config.json`` and ``adapter_model.safetensors``.
        base: Id of the encoder, ``"multilingual-e5-small"``.
        attention: Where adapters fit on it.

    Raises:
        UnfitAdapter: It cannot be served; ``why`` says why.
    """
    config = _read(folder / CONFIG_FILE, _MAX_CONFIG_BYTES)
    return parse_adapter(config, folder / WEIGHTS_FILE, base=base, attention=attention)


def parse_adapter(told: bytes, weights: Path, *, base: str, attention: Attention) -> AdapterWeights:
    """Read an adapter whose configuration was read already; otherwise as :func:`read_adapter`."""
    config = _read_config(told, base)
    tensors = _read_tensors(_read(weights, _MAX_WEIGHTS_BYTES))
    head = _take_head(tensors, config, attention)
    branches = _take_branches(tensors, config, attention)
    inputs: dict[str, Floats] = {}
    for (layer, projection), sides in sorted(branches.items()):
        with np.errstate(over="ignore"):  # told below
            down, up = sides["A"].T, sides["B"].T * np.float32(config.scale)
        if not np.isfinite(up).all():
            raise UnfitAdapter(
                f"its weights of layer {layer}, {projection} leave float32 when scaled by "
                f"{config.scale:g} (lora_alpha and r)"
            )
        inputs[down_input(layer, projection)] = np.ascontiguousarray(down)
        inputs[up_input(layer, projection)] = np.ascontiguousarray(up)
    nbytes = sum(each.nbytes for each in inputs.values())
    if head is not None:
        nbytes += head.weights.nbytes + head.bias.nbytes
    return AdapterWeights(config.r, inputs, head, nbytes)


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise UnfitAdapter(f"{path.name} cannot be read ({error.strerror})") from error
    if len(content) > most:
        raise UnfitAdapter(f"{path.name} is larger than {most} bytes")
    return content


def _read_config(content: bytes, base: str) -> _Config:
    try:
        config = _Config.model_validate_json(content)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, each['loc'])) or 'the file'}: {each['msg']}"
            for each in error.errors(include_url=False, include_input=False)
        ]
        raise UnfitAdapter(f"{CONFIG_FILE}: {'; '.join(problems[:_SHOWN_ERRORS])}") from error
    named = config.base_model_name_or_path
    if named.rstrip("/").rpartition("/")[2].lower() != base.lower():
        raise UnfitAdapter(
            f"it was trained on {named[:100]!r}, not on {base!r}; deploy it on that base, or "
            f"correct base_model_name_or_path in {CONFIG_FILE}"
        )
    if isinstance(config.target_modules, list):
        for target in config.target_modules:
            if target.rpartition(".")[2] not in PROJECTIONS:
                raise UnfitAdapter(
                    f"it targets {target[:100]!r}; adapters of encoders change "
                    f"{' and '.join(PROJECTIONS)} of the attention alone"
                )
    if config.labels is not None and len(set(config.labels)) != len(config.labels):
        raise UnfitAdapter(f"{CONFIG_FILE}: labels: a label is there twice")
    return config


def _read_tensors(content: bytes) -> dict[str, Floats]:
    try:
        found: list[tuple[str, dict[str, Any]]] = deserialize(content)  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise UnfitAdapter(f"{WEIGHTS_FILE} is damaged or cut short ({error})") from error
    tensors: dict[str, Floats] = {}
    for name, told in found:
        values = _floats(name, told["dtype"], told["data"]).reshape(told["shape"])
        if not np.isfinite(values).all():
            raise UnfitAdapter(
                f"{_shown(name)} holds values that are no numbers; train it again, with a lower "
                "learning rate"
            )
        tensors[name] = values
    return tensors


def _floats(name: str, dtype: str, data: bytes) -> Floats:
    if dtype == "F32":
        return np.frombuffer(data, "<f4")
    if dtype == "F16":
        return np.frombuffer(data, "<f2").astype(np.float32)
    if dtype == "BF16":  # the upper half of a float32
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    raise UnfitAdapter(f"{_shown(name)} is of type {dtype}, expected F32, F16 or BF16")


def _take_head(tensors: dict[str, Floats], config: _Config, attention: Attention) -> Head | None:
    parts: dict[str, Floats] = {}
    for name in list(tensors):
        if (found := _HEAD.fullmatch(name)) is not None:
            parts[found["part"]] = tensors.pop(name)
    if not parts and config.labels is None:
        return None
    if config.labels is None:
        raise UnfitAdapter(
            f"it has a classifier, and {CONFIG_FILE} does not say what its rows stand for; add "
            '"labels": [...] there, in the order of the rows'
        )
    labels = len(config.labels)
    weights = parts.get("weight", np.zeros((0, 0), np.float32))
    bias = parts.get("bias", np.zeros(labels, np.float32))
    if weights.shape != (labels, attention.hidden) or bias.shape != (labels,):
        raise UnfitAdapter(
            f"its classifier has weights {list(weights.shape)} and biases {list(bias.shape)}; "
            f"{labels} labels need {[labels, attention.hidden]} and {[labels]}"
        )
    return Head(tuple(config.labels), weights, bias)


def _take_branches(
    tensors: Mapping[str, Floats], config: _Config, attention: Attention
) -> dict[tuple[int, Projection], dict[str, Floats]]:
    branches: dict[tuple[int, Projection], dict[str, Floats]] = {}
    shapes = {"A": (config.r, attention.hidden), "B": (attention.hidden, config.r)}
    for name, values in tensors.items():
        found = _BRANCH.fullmatch(name)
        projection = next((p for p in PROJECTIONS if found and p == found["projection"]), None)
        if found is None or projection is None:
            raise UnfitAdapter(
                f"its weights change {_shown(name)}; adapters of encoders change "
                f"{' and '.join(PROJECTIONS)} of BERT's or XLM-R's attention "
                "(base_model.model.encoder.layer.0.attention.self.query.lora_A.weight)"
            )
        layer = int(found["layer"])
        if layer >= attention.layers:
            raise UnfitAdapter(
                f"its weights change layer {layer}; the base has {attention.layers} layers, "
                "counted from 0"
            )
        if values.shape != shapes[found["side"]]:
            raise UnfitAdapter(
                f"{_shown(name)} has shape {list(values.shape)}, expected "
                f"{list(shapes[found['side']])} of rank {config.r} on a base of width "
                f"{attention.hidden}"
            )
        sides = branches.setdefault((layer, projection), {})
        if found["side"] in sides:
            raise UnfitAdapter(f"{_shown(name)} is there under two names")
        sides[found["side"]] = values
    for (layer, projection), sides in branches.items():
        if len(sides) != 2:
            missing = "B" if "A" in sides else "A"
            raise UnfitAdapter(f"layer {layer}, {projection} lacks its matrix lora_{missing}")
    if not branches:
        raise UnfitAdapter(f"{WEIGHTS_FILE} holds no matrices of a LoRA adapter")
    return branches


def _shown(name: str) -> str:
    return repr(name if len(name) <= 120 else f"{name[:117]}...")
