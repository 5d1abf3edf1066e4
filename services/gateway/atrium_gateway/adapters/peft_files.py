"""Adapters as peft saves them: a JSON configuration and matrices in safetensors.

Neither file can carry code, and no pickle is ever read. Patterns of the configuration are compared
as plain names: a regular expression of a stranger could take for ever.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from safetensors import SafetensorError, safe_open

from atrium_gateway.app.adapter_ports import AdapterFacts, UnreadableAdapter

_TENSOR = re.compile(r"base_model\.model\.(?P<module>[A-Za-z0-9_.]+)\.lora_(?P<side>[AB])\.weight")
_DTYPES = ("F16", "BF16", "F32")
_MOST_TENSORS = 50_000
_MOST_ERRORS = 3
# These only choose how training begins; all others change the weights of the base model.
_PLAIN_BEGINNINGS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")

PlainName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.]{1,256}$")]
Rank = Annotated[int, Field(strict=True, ge=1, le=65_536)]


class _LoraConfig(BaseModel):
    """What of ``adapter_config.json`` decides whether it can be served."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    peft_type: Literal["LORA"]
    base_model_name_or_path: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    r: Rank
    lora_alpha: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
    target_modules: Annotated[list[PlainName], Field(min_length=1, max_length=10_000)]
    rank_pattern: dict[PlainName, Rank] | None = None
    alpha_pattern: dict[PlainName, Annotated[float, Field(gt=0)]] | None = None
    task_type: Literal["CAUSAL_LM"] | None = None
    bias: Literal["none"] = "none"
    use_dora: Literal[False] | None = None
    lora_bias: Literal[False] | None = None
    fan_in_fan_out: Literal[False] | None = None
    modules_to_save: Annotated[list[str], Field(max_length=0)] | None = None
    target_parameters: Annotated[list[str], Field(max_length=0)] | None = None
    layer_replication: None = None
    alora_invocation_tokens: None = None
    use_bdlora: None = None
    use_qalora: Literal[False] | None = None
    init_lora_weights: bool | str | None = None


class PeftFiles:
    """Reads LoRA adapters; see ``AdapterReader``."""

    def read(self, config: bytes, weights: Path) -> AdapterFacts:
        """Return what an adapter's files say.

        Raises:
            UnreadableAdapter: They are not those of an adapter that can be served.
        """
        read = _read_config(config)
        pairs = _read_shapes(weights)
        ranks: dict[str, int] = {}
        for module in pairs:
            if not any(_names(target, module) for target in read.target_modules):
                raise UnreadableAdapter(
                    f"its weights change {module}, which `target_modules` does not name"
                )
            ranks[module] = _rank(read, module)
        rank = max([read.r, *(read.rank_pattern or {}).values()])
        return AdapterFacts(read.base_model_name_or_path, rank, ranks, pairs)


def _read_config(config: bytes) -> _LoraConfig:
    try:
        read = _LoraConfig.model_validate_json(config)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, problem['loc'])) or 'the file'}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)
        ]
        raise UnreadableAdapter(
            f"adapter_config.json: {'; '.join(problems[:_MOST_ERRORS])}"
        ) from error
    begins = read.init_lora_weights
    if isinstance(begins, str) and begins.lower() not in _PLAIN_BEGINNINGS:
        raise UnreadableAdapter(
            "adapter_config.json: init_lora_weights: this way to begin changes the base model; "
            "convert it with peft's path_initial_model_for_weight_conversion"
        )
    return read


def _read_shapes(weights: Path) -> Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    sides: dict[str, dict[str, tuple[int, ...]]] = {}
    try:
        with safe_open(weights, framework="np") as file:
            names = file.keys()
            if not names:
                raise UnreadableAdapter("adapter_model.safetensors holds no matrices")
            if len(names) > _MOST_TENSORS:
                raise UnreadableAdapter(
                    f"adapter_model.safetensors holds more than {_MOST_TENSORS} matrices"
                )
            for name in names:
                found = _TENSOR.fullmatch(name)
                if found is None:
                    raise UnreadableAdapter(
                        f"adapter_model.safetensors: {_shown(name)} is no matrix of a LoRA adapter "
                        "(base_model.model.MODULE.lora_A.weight)"
                    )
                part: Any = file.get_slice(name)
                if part.get_dtype() not in _DTYPES:
                    raise UnreadableAdapter(
                        f"adapter_model.safetensors: {name} is of type {part.get_dtype()}, "
                        f"expected {', '.join(_DTYPES)}"
                    )
                side = sides.setdefault(found["module"], {})
                side[found["side"]] = tuple(part.get_shape())
    except SafetensorError as error:
        raise UnreadableAdapter(
            f"adapter_model.safetensors is damaged or cut short ({_kind(error)})"
        ) from error
    except OSError as error:
        # An empty file cannot be mapped into memory.
        raise UnreadableAdapter("adapter_model.safetensors cannot be read") from error
    for module, both in sides.items():
        if len(both) != 2:
            missing = "B" if "A" in both else "A"
            raise UnreadableAdapter(f"{module} lacks its matrix lora_{missing}")
    return {module: (both["A"], both["B"]) for module, both in sides.items()}


def _rank(config: _LoraConfig, module: str) -> int:
    for pattern, rank in (config.rank_pattern or {}).items():
        if _names(pattern, module):
            return rank
    return config.r


def _names(pattern: str, module: str) -> bool:
    return module == pattern or module.endswith(f".{pattern}")


def _shown(name: str) -> str:
    return repr(name if len(name) <= 120 else f"{name[:117]}...")


def _kind(error: SafetensorError) -> str:
    return re.sub(r"[^A-Za-z0-9 _:,.-]", "", str(error))[:120]
