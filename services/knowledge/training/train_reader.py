"""Train the reader: the upper layers of multilingual-e5-small, and a head of two numbers a token.

    python train_reader.py --encoder DIR --data FILE ... --out reader.npz

Runs in the training environment (``requirements/train.txt``), on the lines that
``prepare_reader.py`` writes. A question and a passage are read together (a cross-encoder, Nogueira
and Cho 2019); each unit of the passage competes with "nothing here answers", as the null answer of
SQuAD 2.0 readers does (Rajpurkar et al. 2018), under one softmax. The lower layers stay as they
are, so only the upper ones ship, in eight bits. One passage in ten of the project's own texts is
held out and reported on. Half of the SQuAD-style readings, drawn anew, is seen in an epoch.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from holding_out import held_out
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import BertConfig, BertModel

from atrium_models.conversions.e5 import SOURCE_NAME, WeightFile, tokenizer_of

FROZEN_LAYERS = 6
MOST_TOKENS = 448
TOKENS_A_STEP = 7168
LENGTH_STEP = 64
"""Lengths are rounded up to this, so that there are few shapes to plan for."""
_LINEAR = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "fi": "intermediate.dense",
    "fo": "output.dense",
}
_NORMS = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}
_MOST_CODE = 63


@dataclass(frozen=True)
class Reading:
    """A question and a passage as tokens."""

    ids: list[int]
    units: list[tuple[int, int]]
    """Tokens of each unit."""
    answers: list[int]
    """Indices of the units that answer."""


def load_encoder(weights: WeightFile) -> BertModel:
    """Return the encoder with these weights."""
    shape = weights.shape
    model = BertModel(
        BertConfig(
            vocab_size=shape.vocabulary,
            hidden_size=shape.hidden,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            intermediate_size=shape.inner,
            max_position_embeddings=shape.positions,
            layer_norm_eps=shape.epsilon,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
        add_pooling_layer=False,
    )
    state = {
        "embeddings.word_embeddings.weight": weights.weights("emb.word", shape.hidden),
        "embeddings.position_embeddings.weight": weights.dense("emb.pos"),
        "embeddings.token_type_embeddings.weight": weights.dense("emb.type"),
        "embeddings.LayerNorm.weight": weights.dense("emb.ln.w"),
        "embeddings.LayerNorm.bias": weights.dense("emb.ln.b"),
    }
    for layer in range(shape.layers):
        for short, name in _LINEAR.items():
            columns = shape.inner if short == "fo" else shape.hidden
            stem = f"encoder.layer.{layer}.{name}"
            state[f"{stem}.weight"] = weights.weights(f"l{layer}.{short}.w", columns)
            state[f"{stem}.bias"] = weights.dense(f"l{layer}.{short}.b")
        for short, name in _NORMS.items():
            stem = f"encoder.layer.{layer}.{name}"
            state[f"{stem}.weight"] = weights.dense(f"l{layer}.{short}.w")
            state[f"{stem}.bias"] = weights.dense(f"l{layer}.{short}.b")
    own = model.state_dict()
    for name, values in state.items():
        tensor = torch.from_numpy(np.array(values))
        if name.endswith("token_type_embeddings.weight"):
            tensor = tensor.reshape(-1, shape.hidden)[:1].repeat(2, 1)
        own[name].copy_(tensor.reshape(own[name].shape))
    return model


class Reader(torch.nn.Module):
    """Scores of shape (texts, tokens, 2): that a token's unit answers; that nothing does."""

    def __init__(self, encoder: BertModel) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = encoder.config.num_attention_heads
        for parameter in encoder.embeddings.parameters():
            parameter.requires_grad = False
        for layer in encoder.encoder.layer[:FROZEN_LAYERS]:
            for parameter in layer.parameters():
                parameter.requires_grad = False
        self.head = torch.nn.Linear(encoder.config.hidden_size, 2)
        torch.nn.init.normal_(self.head.weight, std=0.02)
        torch.nn.init.zeros_(self.head.bias)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the scores of ``ids`` (texts, tokens) where ``mask`` is 1."""
        bias = torch.zeros(mask.shape).masked_fill(mask == 0, -1e4)[:, None, None, :]
        with torch.no_grad():
            hidden = self.encoder.embeddings(input_ids=ids)
            for layer in self.encoder.encoder.layer[:FROZEN_LAYERS]:
                hidden = self._layer(layer, hidden, bias)
        for layer in self.encoder.encoder.layer[FROZEN_LAYERS:]:
            hidden = self._layer(layer, hidden, bias)
        with torch.autocast("cpu", enabled=False):
            return self.head(hidden.float())

    def _layer(
        self, layer: torch.nn.Module, hidden: torch.Tensor, bias: torch.Tensor
    ) -> torch.Tensor:
        texts, tokens, size = hidden.shape
        attention = layer.attention
        query, key, value = (
            part(hidden).view(texts, tokens, self.heads, size // self.heads).transpose(1, 2)
            for part in (attention.self.query, attention.self.key, attention.self.value)
        )
        mixed = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=bias.to(query.dtype)
        )
        mixed = attention.output.dense(mixed.transpose(1, 2).reshape(texts, tokens, size))
        hidden = attention.output.LayerNorm(mixed + hidden)
        wide = functional.gelu(layer.intermediate.dense(hidden))
        return layer.output.LayerNorm(layer.output.dense(wide) + hidden)


def read_lines(file: Path, tokenizer: Tokenizer) -> tuple[list[Reading], list[Reading]]:
    """Return what is trained on and what is held out."""
    parts: tuple[list[Reading], list[Reading]] = ([], [])
    for line in file.read_text(encoding="utf-8").splitlines():
        one = json.loads(line)
        encoding = tokenizer.encode(one["question"], one["context"] + "\n" + one["text"])
        ids = encoding.ids[:MOST_TOKENS]
        shift = len(one["context"]) + 1
        starts = np.array([
            start if part == 1 else -1
            for part, (start, _) in zip(encoding.sequence_ids, encoding.offsets, strict=True)
        ])[: len(ids)]  # fmt: skip
        units: list[tuple[int, int]] = []
        answers: list[int] = []
        for (first, last), answer in zip(one["segments"], one["answers"], strict=True):
            inside = np.nonzero((starts >= first + shift) & (starts < last + shift))[0]
            if len(inside):
                if answer:
                    answers.append(len(units))
                units.append((int(inside[0]), int(inside[-1]) + 1))
        if units and bool(answers) == any(one["answers"]):
            parts[held_out(one["group"] or one["text"])].append(Reading(ids, units, answers))
    return parts


def batches(readings: Sequence[Reading], chance: random.Random | None) -> list[list[int]]:
    """Return batches of readings of like length; shuffled with a source of chance."""
    order = list(range(len(readings)))
    if chance is not None:
        chance.shuffle(order)
    found: list[list[int]] = []
    for first in range(0, len(order), 1500):
        batch: list[int] = []
        for index in sorted(order[first : first + 1500], key=lambda i: len(readings[i].ids)):
            if batch and (len(batch) + 1) * _rounded(len(readings[index].ids)) > TOKENS_A_STEP:
                found.append(batch)
                batch = []
            batch.append(index)
        found.append(batch)
    if chance is not None:
        chance.shuffle(found)
    return found


def _rounded(length: int) -> int:
    return -(-length // LENGTH_STEP) * LENGTH_STEP


def collate(readings: Sequence[Reading]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and mask, padded to one of few shapes."""
    width = _rounded(max(len(reading.ids) for reading in readings))
    rows = max(TOKENS_A_STEP // width, len(readings))
    ids = torch.ones(rows, width, dtype=torch.long)
    mask = torch.zeros(rows, width, dtype=torch.long)
    mask[:, 0] = 1
    for row, reading in enumerate(readings):
        ids[row, : len(reading.ids)] = torch.tensor(reading.ids)
        mask[row, : len(reading.ids)] = 1
    return ids, mask


def choices(scores: torch.Tensor, reading: Reading) -> torch.Tensor:
    """Return "nothing answers", then each unit: scores (tokens, 2) -> (1 + units,)."""
    units = [scores[first:last, 0].mean() for first, last in reading.units]
    return torch.stack([scores[0, 1], *units])


def loss_of(scores: torch.Tensor, readings: Sequence[Reading]) -> torch.Tensor:
    """Return the mean surprise at what answers."""
    total = torch.zeros(())
    for row, reading in enumerate(readings):
        shares = torch.log_softmax(choices(scores[row], reading), 0)
        wanted = [unit + 1 for unit in reading.answers] or [0]
        total = total - torch.logsumexp(shares[wanted], 0)
    return total / len(readings)


@torch.no_grad()
def report(model: Reader, readings: Sequence[Reading], name: str) -> None:
    """Print how well answered and unanswered readings, and units, are told apart."""
    best = np.zeros(len(readings))
    right: list[bool] = []
    for batch in batches(readings, None):
        with torch.autocast("cpu", torch.bfloat16):
            scores = model(*collate([readings[i] for i in batch]))
        for row, index in enumerate(batch):
            odds = choices(scores[row], readings[index])
            best[index] = float(torch.logsumexp(odds[1:], 0) - odds[0])
            if readings[index].answers:
                right.append(int(odds[1:].argmax()) in readings[index].answers)
    known = np.array([bool(reading.answers) for reading in readings])
    ranks = np.empty(len(best))
    ranks[np.argsort(best, kind="stable")] = np.arange(1, len(best) + 1)
    area = (ranks[known].sum() - known.sum() * (known.sum() + 1) / 2) / (
        known.sum() * (~known).sum()
    )
    print(
        f"{name}: n {len(readings)}, ROC AUC {area:.3f}, right at even odds "
        f"{((best > 0) == known).mean():.3f}, answering unit first {np.mean(right):.3f}",
        flush=True,
    )


def adapter(model: Reader) -> dict[str, np.ndarray]:
    """Return what ``atrium_models.conversions.reader`` puts in place of the encoder's tensors."""
    arrays: dict[str, np.ndarray] = {}
    for number, layer in enumerate(model.encoder.encoder.layer):
        if number < FROZEN_LAYERS:
            continue
        modules = dict(layer.named_modules())
        for short, name in _LINEAR.items():
            weight = modules[name].weight.detach().numpy()
            scale = np.maximum(np.abs(weight).max(axis=1), 1e-12) / _MOST_CODE
            codes = np.rint(weight / scale[:, None]).astype(np.int8)
            arrays[f"l{number}.{short}.codes"] = codes
            arrays[f"l{number}.{short}.scale"] = scale.astype(np.float32)
            arrays[f"l{number}.{short}.b"] = modules[name].bias.detach().numpy()
        for short, name in _NORMS.items():
            arrays[f"l{number}.{short}.w"] = modules[name].weight.detach().numpy()
            arrays[f"l{number}.{short}.b"] = modules[name].bias.detach().numpy()
    arrays["head.w"] = model.head.weight.detach().numpy()
    arrays["head.b"] = model.head.bias.detach().numpy()
    return arrays


def resume(model: Reader, files: Sequence[Path]) -> None:
    """Put what was trained before, adapters or checkpoints, into the model.

    Of several the mean is taken (a model soup, Wortsman et al. 2022): trainings that went out from
    the same weights.
    """
    states = [_state_of(model, file) for file in files]
    own = model.state_dict()
    for name in states[0]:
        own[name].copy_(sum(state[name] for state in states) / len(states))


def _state_of(model: Reader, file: Path) -> dict[str, torch.Tensor]:
    if file.suffix == ".pt":
        return torch.load(file)
    arrays = np.load(file)
    state = {"head.weight": arrays["head.w"], "head.bias": arrays["head.b"]}
    for number in range(FROZEN_LAYERS, len(model.encoder.encoder.layer)):
        stem = f"encoder.encoder.layer.{number}"
        for short, name in _LINEAR.items():
            codes, scale = arrays[f"l{number}.{short}.codes"], arrays[f"l{number}.{short}.scale"]
            state[f"{stem}.{name}.weight"] = codes * scale[:, None]
            state[f"{stem}.{name}.bias"] = arrays[f"l{number}.{short}.b"]
        for short, name in _NORMS.items():
            state[f"{stem}.{name}.weight"] = arrays[f"l{number}.{short}.w"]
            state[f"{stem}.{name}.bias"] = arrays[f"l{number}.{short}.b"]
    return {name: torch.from_numpy(values) for name, values in state.items()}


def kind_of(file: Path) -> str:
    """Return what the readings of a file are of: sections, topics, claims, or SQuAD-style ones."""
    kinds = {"cmrc": "others", "drcd": "others", "topics": "topics", "claims": "claims",
             "talks": "claims"}  # fmt: skip
    return next((kind for start, kind in kinds.items() if file.stem.startswith(start)), "sections")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", type=Path, required=True, help="folder of e5-small-q4.bin")
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--resume", type=Path, nargs="*", default=[],
        help="reader.npz or checkpoint to go on from; of several the mean",
    )  # fmt: skip
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument(
        "--sections-share", type=float, default=1.0,
        help="how much of the sections an epoch sees, drawn anew",
    )  # fmt: skip
    parser.add_argument("--rate", type=float, default=1.2e-4)
    chosen = parser.parse_args()
    torch.manual_seed(0)
    chance = random.Random(0)
    weights = WeightFile((chosen.encoder / SOURCE_NAME).read_bytes())
    tokenizer = Tokenizer.from_str(json.dumps(tokenizer_of(weights)))
    model = Reader(load_encoder(weights))
    if chosen.resume:
        resume(model, chosen.resume)
    known: dict[str, list[Reading]] = defaultdict(list)
    kept: dict[str, list[Reading]] = defaultdict(list)
    for file in chosen.data:
        learned, held = read_lines(file, tokenizer)
        known[kind_of(file)].extend(learned)
        kept[kind_of(file)].extend(held)
    kept.pop("others", None)
    shares = {"others": 0.5, "sections": chosen.sections_share}
    plan: list[list[Reading]] = []
    for _ in range(chosen.epochs):
        seen = [
            one
            for kind, readings in known.items()
            for one in chance.sample(readings, int(len(readings) * shares.get(kind, 1)))
        ]
        plan += [[seen[i] for i in batch] for batch in batches(seen, chance)]
    counts = ", ".join(f"{len(readings)} {kind}" for kind, readings in known.items())
    print(f"{counts}, {len(plan)} steps", flush=True)
    parameters = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(parameters, chosen.rate, weight_decay=0.01)
    begun, mean = time.time(), 0.0
    for step, batch in enumerate(plan, 1):
        rate = chosen.rate * min(1, step / (0.06 * len(plan))) * max(0.02, 1 - step / len(plan))
        for group in optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16):
            scores = model(*collate(batch))
        loss = loss_of(scores, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        mean = float(loss) if step == 1 else 0.98 * mean + 0.02 * float(loss)
        if step % 25 == 0:
            left = (time.time() - begun) / step * (len(plan) - step) / 60
            print(f"{step}/{len(plan)} loss {mean:.3f}, {left:.0f} min left", flush=True)
        if step % math.ceil(len(plan) / 4) == 0 or step == len(plan):
            for name, readings in kept.items():
                report(model, readings, name)
            trained = {k: v for k, v in model.state_dict().items() if _is_trained(k)}
            torch.save(trained, chosen.out.with_suffix(".pt"))
    np.savez_compressed(chosen.out, **adapter(model))


def _is_trained(name: str) -> bool:
    return name.startswith("head.") or any(
        f"encoder.layer.{layer}." in name for layer in range(FROZEN_LAYERS, 64)
    )


if __name__ == "__main__":
    main()
