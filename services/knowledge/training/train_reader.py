"""Train the reader: additions of low rank to the upper layers of Qwen2.5-Coder-0.5B, and a head.

    python train_reader.py --model DIR --data FILE ... --out reader.npz

Runs in the training environment (``requirements/train.txt``), on the lines that
``prepare_reader.py`` writes. A text stands first and its questions behind it, each of which sees
the text and itself alone, so that many questions cost little more than one. The unit that answers
is pointed at (Vinyals et al. 2015): its score is the product of what its tokens and what the
question's last token are mapped to, and competes with "nothing here answers", as the null answer of
SQuAD 2.0 readers does (Rajpurkar et al. 2018), under one softmax. The model's own weights stay as
they are and only the additions (LoRA, Hu et al. 2021) ship, in eight bits. One text in ten is held
out and reported on.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional
from transformers import Qwen2Config, Qwen2Model

from atrium_gateway.adapters.onnx_reader import PROMPTS, tokens_of_units
from atrium_gateway.domain.reading import ReadPassage, Relation, Segment
from atrium_models.conversions.reader import (
    LAYERS,
    MAX_PASSAGE_TOKENS,
    SOURCE_NAME,
    read_adapter,
    tokenizer_of,
)

FIRST_LEARNT = 8
"""The first layer that gets additions."""
RANK = 32
SCALE = 2.0
"""What the product of the two factors is multiplied with."""
WIDTH = 128
"""Numbers that a unit and a question are compared by."""
MOST_TOKENS = 1100
"""Longest text with some of its questions."""
HEAD_RATE = 3.0
"""How much faster the head learns than the additions."""
REPORTED = {"answers": 60, "concerns": 40, "states": 60}
"""How many texts that were held out are reported on."""
_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
_ADDED_TO = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


@dataclass(frozen=True)
class Sheet:
    """A text and what is asked of it, as tokens."""

    relation: str
    source: str
    """Name of the file that it comes from."""
    ids: list[int]
    units: list[tuple[int, int]]
    """Tokens of each unit."""
    questions: list[list[int]]
    answers: list[list[int]]
    """For each question the indices of the units that answer."""
    held: bool

    def batches(self, chance: random.Random | None = None) -> Iterator[list[int]]:
        """Yield indices of questions that are read together, all of them once."""
        order = list(range(len(self.questions)))
        if chance is not None:
            chance.shuffle(order)
        batch: list[int] = []
        tokens = len(self.ids)
        for index in order:
            if batch and tokens + len(self.questions[index]) > MOST_TOKENS:
                yield batch
                batch, tokens = [], len(self.ids)
            batch.append(index)
            tokens += len(self.questions[index])
        yield batch


def load(file: Path, tokenizer: Tokenizer) -> Iterator[Sheet]:
    """Yield the texts of a file that fit the window."""
    for line in file.read_text(encoding="utf-8").splitlines():
        given = json.loads(line)
        segments = tuple(Segment(*one) for one in given["segments"])
        passage = ReadPassage(given["heading"], given["text"], segments)
        encoding = tokenizer.encode(f"{passage.heading}\n{passage.text}")
        units = [(one[0], one[1] + 1) for one in tokens_of_units(passage, encoding) if one]
        if len(encoding) > MAX_PASSAGE_TOKENS or len(units) < len(segments):
            continue
        prompt = PROMPTS[Relation(given["relation"])]
        yield Sheet(
            given["relation"],
            file.stem,
            encoding.ids,
            units,
            [tokenizer.encode(prompt[0] + one + prompt[1]).ids for one, _ in given["questions"]],
            [answers for _, answers in given["questions"]],
            given["held"],
        )


class Added(nn.Module):
    """A matrix with an addition of low rank."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.a = nn.Parameter(torch.randn(RANK, base.in_features) / math.sqrt(base.in_features))
        self.b = nn.Parameter(torch.zeros(base.out_features, RANK))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the product with both."""
        low = functional.linear(x, self.a.to(x.dtype))
        return self.base(x) + functional.linear(low, (self.b * SCALE).to(x.dtype))


class Reader(nn.Module):
    """The model's lower layers with additions, and the head.

    Args:
        source: The model's GGUF file.
    """

    def __init__(self, source: Path) -> None:
        super().__init__()
        file = gguf.GGUFReader(source)

        def setting(name: str) -> float:
            return file.fields[f"qwen2.{name}"].contents()

        config = Qwen2Config(
            vocab_size=len(file.fields["tokenizer.ggml.tokens"].contents()),
            hidden_size=setting("embedding_length"),
            intermediate_size=setting("feed_forward_length"),
            num_hidden_layers=LAYERS,
            num_attention_heads=setting("attention.head_count"),
            num_key_value_heads=setting("attention.head_count_kv"),
            rms_norm_eps=setting("attention.layer_norm_rms_epsilon"),
            rope_parameters={"rope_theta": setting("rope.freq_base"), "rope_type": "default"},
        )
        self.model = Qwen2Model(config).to(torch.bfloat16)
        self.model.load_state_dict(_tensors(file))
        self.model.requires_grad_(requires_grad=False)
        for layer in self.model.layers[FIRST_LEARNT:]:
            for name in _ADDED_TO:
                part, _, matrix = _NAMES[name].partition(".")
                block = getattr(layer, part)
                setattr(block, matrix, Added(getattr(block, matrix)))
        hidden = config.hidden_size
        self.query = nn.Linear(hidden, WIDTH)
        self.key = nn.Linear(2 * hidden, WIDTH)
        self.nothing = nn.Linear(hidden, 1)
        for linear in (self.query, self.key):
            nn.init.normal_(linear.weight, std=0.05 / math.sqrt(linear.in_features))
            nn.init.zeros_(linear.bias)
        nn.init.zeros_(self.nothing.weight)
        nn.init.zeros_(self.nothing.bias)

    def forward(self, sheet: Sheet, batch: Sequence[int]) -> torch.Tensor:
        """Return (questions, 1 + units): the score of "nothing", then those of the units."""
        ids, belongs, places, ends = list(sheet.ids), [0] * len(sheet.ids), [], []
        places += range(len(ids))
        for number, index in enumerate(batch, 1):
            question = sheet.questions[index]
            belongs += [number] * len(question)
            places += range(len(sheet.ids), len(sheet.ids) + len(question))
            ids += question
            ends.append(len(ids) - 1)
        owner = torch.tensor(belongs)
        seen = torch.ones(len(ids), len(ids), dtype=torch.bool).tril()
        seen &= (owner == 0) | (owner == owner[:, None])
        mask = torch.zeros(seen.shape, dtype=torch.bfloat16).masked_fill(~seen, -1e4)
        last = self.model(
            input_ids=torch.tensor([ids]),
            attention_mask={"full_attention": mask[None, None]},
            position_ids=torch.tensor([places]),
            use_cache=False,
        ).last_hidden_state[0]
        last = last.float()
        asked = last[torch.tensor(ends)]
        units = [torch.cat([last[a:b].mean(0), last[b - 1]]) for a, b in sheet.units]
        scores = self.query(asked) @ self.key(torch.stack(units)).T / math.sqrt(WIDTH)
        return torch.cat([self.nothing(asked), scores], 1)

    def learnt(self) -> dict[str, torch.Tensor]:
        """Return what is learnt, by name."""
        return {name: p.detach() for name, p in self.named_parameters() if p.requires_grad}


def _tensors(file: gguf.GGUFReader) -> dict[str, torch.Tensor]:
    found = {}
    for tensor in file.tensors:
        name, _, kind = tensor.name.rpartition(".")
        if name == "output":
            continue
        if name.startswith("blk."):
            _, layer, part = name.split(".")
            if int(layer) >= LAYERS:
                continue
            name = f"layers.{layer}.{_NAMES[part]}"
        else:
            name = {"token_embd": "embed_tokens", "output_norm": "norm"}[name]
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        found[f"{name}.{kind}"] = torch.from_numpy(values).to(torch.bfloat16)
    return found


def loss_of(scores: torch.Tensor, answers: Sequence[Sequence[int]]) -> torch.Tensor:
    """Return what the questions of a batch lose together."""
    rows = torch.log_softmax(scores, 1)
    right = [[one + 1 for one in units] or [0] for units in answers]
    return -torch.stack(
        [torch.logsumexp(row[units], 0) for row, units in zip(rows, right, strict=True)]
    ).sum()


@torch.no_grad()
def report(reader: Reader, sheets: Sequence[Sheet]) -> None:
    """Print how the texts that were held out fare."""
    for relation, most in REPORTED.items():
        kept = [one for one in sheets if one.relation == relation]
        random.Random(1).shuffle(kept)
        odds: list[float] = []
        known: list[bool] = []
        first: list[bool] = []
        for sheet in kept[:most]:
            for batch in sheet.batches():
                rows = reader(sheet, batch)
                odds += (torch.logsumexp(rows[:, 1:], 1) - rows[:, 0]).tolist()
                for row, index in zip(rows, batch, strict=True):
                    known.append(bool(sheet.answers[index]))
                    if known[-1]:
                        first.append(int(row[1:].argmax()) in sheet.answers[index])
        if first:
            print(
                f"  held out, {relation}: ROC AUC {_auc(odds, known):.4f} of {len(odds)}, "
                f"the answering unit first {np.mean(first):.3f}",
                flush=True,
            )


def _auc(scores: Sequence[float], right: Sequence[bool]) -> float:
    order = np.argsort(scores, kind="stable")
    ranks = np.empty(len(scores))
    ranks[order] = np.arange(1, len(scores) + 1)
    good = np.array(right)
    pairs = good.sum() * (~good).sum()
    return float((ranks[good].sum() - good.sum() * (good.sum() + 1) / 2) / max(pairs, 1))


def save(reader: Reader, out: Path) -> None:
    """Write what was learnt as ``atrium_models.conversions.reader`` reads it."""
    learnt = {name: value.double().numpy() for name, value in reader.learnt().items()}
    mixing = np.array([[1.0]])
    while len(mixing) < RANK:
        mixing = np.block([[mixing, mixing], [mixing, -mixing]])
    mixing /= math.sqrt(RANK)
    arrays: dict[str, np.ndarray] = {}
    for layer in range(FIRST_LEARNT, LAYERS):
        for name in _ADDED_TO:
            stem = f"model.layers.{layer}.{_NAMES[name]}"
            # Both factors get the same share of the product, spread evenly over the rank, so that
            # eight bits lose as little as possible.
            into, out_of = learnt[f"{stem}.a"], SCALE * learnt[f"{stem}.b"]
            q_out, r_out = np.linalg.qr(out_of)
            q_in, r_in = np.linalg.qr(into.T)
            left, sizes, right = np.linalg.svd(r_out @ r_in.T)
            out_of = (q_out @ left) * np.sqrt(sizes) @ mixing.T
            into = mixing @ (np.sqrt(sizes)[:, None] * right) @ q_in.T
            stem = f"blk.{layer}.{name}.weight"
            for kind, factor, axis in (("in", into, 0), ("out", out_of, 1)):
                scale = (np.abs(factor).max(axis, keepdims=True) / 126.5).astype(np.float16)
                arrays[f"{stem}.{kind}"] = np.rint(factor / scale).astype(np.int8)
                arrays[f"{stem}.{kind}.scale"] = scale.ravel()
    width = learnt["query.weight"].shape[1]
    divided = {name: learnt[f"query.{name}"] / math.sqrt(WIDTH) for name in ("weight", "bias")}
    key = learnt["key.weight"]
    parts = [divided["weight"], key[:, :width], key[:, width:], learnt["nothing.weight"]]
    biases = [divided["bias"], learnt["key.bias"], np.zeros(WIDTH), learnt["nothing.bias"]]
    arrays["head.w"] = np.concatenate(parts).astype(np.float16)
    arrays["head.b"] = np.concatenate(biases).astype(np.float32)
    np.savez_compressed(out, **arrays)


def resume(reader: Reader, adapter: Path) -> None:
    """Go on from what ``save`` wrote; eight bits of each factor are enough for that."""
    arrays = {name: array.astype(np.float64) for name, array in read_adapter(adapter).items()}
    learnt: dict[str, np.ndarray] = {}
    for layer in range(FIRST_LEARNT, LAYERS):
        for name in _ADDED_TO:
            kept = f"blk.{layer}.{name}.weight"
            into = arrays[f"{kept}.in"] * arrays[f"{kept}.in.scale"]
            out_of = arrays[f"{kept}.out"] * arrays[f"{kept}.out.scale"][:, None]
            # The first factor gets back the size that it began with, so that a step of training
            # changes the product as much as it did before.
            sizes = np.linalg.norm(into, axis=1)
            stem = f"model.layers.{layer}.{_NAMES[name]}"
            learnt[f"{stem}.a"] = into / sizes[:, None]
            learnt[f"{stem}.b"] = out_of * sizes / SCALE
    query, left, right, nothing = np.split(arrays["head.w"], np.cumsum([WIDTH] * 3))
    query_bias, key_bias, _, nothing_bias = np.split(arrays["head.b"], np.cumsum([WIDTH] * 3))
    learnt["query.weight"] = query * math.sqrt(WIDTH)
    learnt["query.bias"] = query_bias * math.sqrt(WIDTH)
    learnt["key.weight"] = np.concatenate([left, right], axis=1)
    learnt["key.bias"] = key_bias
    learnt["nothing.weight"], learnt["nothing.bias"] = nothing, nothing_bias
    values = {name: torch.from_numpy(value) for name, value in learnt.items()}
    reader.load_state_dict(values, strict=False)


def train(reader: Reader, sheets: Sequence[Sheet], chosen: argparse.Namespace) -> None:
    """Learn for one pass over the chosen share of the texts, or until the time is up."""
    chance = random.Random(chosen.seed)
    shares = {name: float(share) for name, _, share in (one.partition("=") for one in chosen.share)}
    work = []
    by_share: dict[str, list[Sheet]] = defaultdict(list)
    for sheet in sheets:
        if not sheet.held:
            named = next((one for one in shares if sheet.source.startswith(one)), "")
            by_share[named].append(sheet)
    for named, some in by_share.items():
        taken = chance.sample(some, round(len(some) * shares.get(named, 1.0)))
        work += [(sheet, batch) for sheet in taken for batch in sheet.batches(chance)]
    chance.shuffle(work)

    def size(sheet: Sheet, batch: Sequence[int]) -> int:
        return len(sheet.ids) + sum(len(sheet.questions[index]) for index in batch)

    whole = sum(size(*one) for one in work)
    print(f"{len(work)} texts, {whole} tokens", flush=True)
    head = [p for name, p in reader.named_parameters() if p.requires_grad and "model." not in name]
    added = [p for name, p in reader.named_parameters() if p.requires_grad and "model." in name]
    optimizer = torch.optim.AdamW(
        [{"params": added, "times": 1.0}, {"params": head, "times": HEAD_RATE}], weight_decay=0.01
    )
    begun, read, gathered, asked, steps = time.monotonic(), 0, 0, 0, 0
    smooth: float | None = None
    for sheet, batch in work:
        loss = loss_of(reader(sheet, batch), [sheet.answers[index] for index in batch])
        loss.backward()
        read += size(sheet, batch)
        gathered += size(sheet, batch)
        asked += len(batch)
        value = float(loss.detach()) / len(batch)
        smooth = value if smooth is None else 0.99 * smooth + 0.01 * value
        if gathered < chosen.tokens:
            continue
        passed = (time.monotonic() - begun) / 60 / chosen.minutes if chosen.minutes else 0.0
        done = max(passed, read / whole)
        for parameter in (*added, *head):
            parameter.grad /= asked
        nn.utils.clip_grad_norm_([*added, *head], 1.0)
        for group in optimizer.param_groups:
            warm = min(1.0, (steps + 1) / 20)
            group["lr"] = chosen.rate * group["times"] * warm * max(0.02, 1 - done)
        optimizer.step()
        optimizer.zero_grad()
        gathered, asked, steps = 0, 0, steps + 1
        if steps % 10 == 0:
            speed = read / (time.monotonic() - begun)
            print(f"{done:.2f}  step {steps}  loss {smooth:.3f}  {speed:.0f} tokens/s", flush=True)
        if done >= 1:
            break


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder with model.gguf")
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--resume", type=Path, help="go on from the --out of an earlier training")
    parser.add_argument("--minutes", type=float, default=0.0, help="0: one pass, however long")
    parser.add_argument("--share", nargs="*", default=["topics=0.4", "cmrc=0.5", "drcd=0.5"])
    parser.add_argument("--tokens", type=int, default=3500, help="a step")
    parser.add_argument("--rate", type=float, default=2.5e-4)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch.manual_seed(chosen.seed)
    source = chosen.model / SOURCE_NAME
    tokenizer = Tokenizer.from_str(json.dumps(tokenizer_of(gguf.GGUFReader(source))))
    sheets = [sheet for file in chosen.data for sheet in load(file, tokenizer)]
    reader = Reader(source)
    if chosen.resume:
        resume(reader, chosen.resume)
    train(reader, sheets, chosen)
    save(reader, chosen.out)
    report(reader, [sheet for sheet in sheets if sheet.held])


if __name__ == "__main__":
    main()
