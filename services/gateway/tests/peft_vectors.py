"""What peft itself makes of an adapter: ``python peft_vectors.py WEIGHTS ADAPTER IDS``.

Builds transformers' BertModel from float weights (``.npz``, names of the converted graph), puts the
adapter on it and prints the unit-length mean over the tokens of each line of ids, as JSON. Runs
where torch is; ``test_peft_worker.py`` calls it.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import torch
from peft import PeftModel
from transformers import BertConfig, BertModel

_NAMES = {
    "ao": "attention.output.dense",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "aln": "attention.output.LayerNorm",
    "oln": "output.LayerNorm",
}


def bert(weights: dict[str, np.ndarray]) -> BertModel:
    hidden = weights["positions"].shape[1]
    layers = sum(name.endswith(".q.w") for name in weights)
    config = BertConfig(
        vocab_size=len(weights["words"]), hidden_size=hidden, num_hidden_layers=layers,
        num_attention_heads=4, intermediate_size=weights["l0.fi.w"].shape[1],
        max_position_embeddings=len(weights["positions"]), type_vocab_size=1,
    )  # fmt: skip
    state = {
        "embeddings.word_embeddings.weight": weights["words"],
        "embeddings.position_embeddings.weight": weights["positions"],
        "embeddings.token_type_embeddings.weight": np.zeros((1, hidden), np.float32),
        "embeddings.LayerNorm.weight": weights["emb.ln.w"],
        "embeddings.LayerNorm.bias": weights["emb.ln.b"],
    }
    for layer in range(layers):
        to = f"encoder.layer.{layer}."
        parts = np.split(weights[f"l{layer}.q.w"], 3, axis=1)
        biases = np.split(weights[f"l{layer}.q.b"], 3)
        for name, part, bias in zip(("query", "key", "value"), parts, biases, strict=True):
            state[f"{to}attention.self.{name}.weight"] = part.T
            state[f"{to}attention.self.{name}.bias"] = bias
        for short, long in _NAMES.items():
            state[f"{to}{long}.weight"] = weights[f"l{layer}.{short}.w"].T
            state[f"{to}{long}.bias"] = weights[f"l{layer}.{short}.b"]
    model = BertModel(config, add_pooling_layer=False)
    model.load_state_dict({name: torch.tensor(np.array(value)) for name, value in state.items()})
    return model.eval()


def main(weights: str, adapter: str, lines: str) -> None:
    model = PeftModel.from_pretrained(bert(dict(np.load(weights))), adapter).eval()
    made = []
    with torch.inference_mode():
        for ids in json.loads(lines):
            last = model(input_ids=torch.tensor([ids])).last_hidden_state[0].mean(dim=0)
            made.append((last / last.norm()).tolist())
    print(json.dumps(made))


main(*sys.argv[1:])
