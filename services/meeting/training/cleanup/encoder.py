"""Train the encoder that reads Chinese beside the small network, and write it as an ONNX graph.

    python encoder.py --encoder DIR --tagger zh.npz --data DIR --out zh.onnx

The lower half of multilingual-e5-small (Wang et al. 2024), one token a character, is fine-tuned on
CS2W's train part and on fluent text with disfluencies put in. It sees the same features as the
small network. Its words stay as they are, so that only those of Chinese ship, in four bits; its
layers ship in seven bits and a sign. The thresholds, and how much the encoder counts beside
the small network, are chosen on the part held out, with the very graph that ships.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import chinese
import numpy as np
import onnx
import torch
from chinese import Example
from onnx import TensorProto, helper
from torch.nn import functional
from train import as_units, best_threshold

from atrium_meeting.adapters.onnx_tagger import SETTINGS, OnnxTagger, agree
from atrium_meeting.adapters.tagger_cleaner import FORMAT
from atrium_meeting.domain.cleanup import guards, lexicon
from atrium_meeting.domain.cleanup.network import unpack
from atrium_meeting.domain.cleanup.reading import DIGITS, FEATURE_SIZES, LATIN, OTHER, read
from atrium_meeting.domain.cleanup.tokens import BEGIN, END, MARKS, tokens
from atrium_meeting.domain.cleanup.units import Unit
from atrium_models.conversions.e5 import SOURCE_NAME, EncoderWriter, WeightFile

LAYERS = 6
POSITIONS = 384
_MATRICES = ("q", "k", "v", "ao", "fi", "fo")
_CLASSES = {BEGIN: "<s>", END: "</s>", OTHER: "<unk>", DIGITS: "5", LATIN: "▁app"}
"""Pieces of the encoder that stand for classes of words."""
_POOL = 20
"""Batches that are drawn together, so that each holds texts of like length."""
_SHARES = (0.5, 0.6, 0.7)
_LOWS = (0.3, 0.4, 0.5, 1.0)


@dataclass(frozen=True)
class Lesson:
    """An utterance as the encoder takes it, and the label of each token; -100 where there is none.

    Args:
        ids: Shape (tokens,).
        columns: (tokens, features).
        labels: (tokens,).
    """

    ids: np.ndarray
    columns: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Decision:
    """When a word goes: above the threshold, or above ``low`` beside such a word.

    ``share`` is how much the encoder counts beside the small network.
    """

    threshold: float = 0.5
    low: float = 0.5
    share: float = 0.5


class Words:
    """The pieces of the encoder that are kept.

    Args:
        weights: The encoder.
        seen: Words of the training part that are not one Chinese character.
    """

    def __init__(self, weights: WeightFile, seen: Sequence[str]) -> None:
        own = {piece: row for row, (piece, _) in enumerate(weights.vocabulary)}
        own["<unk>"] = weights.shape.unknown
        rows = {name: own[piece] for name, piece in _CLASSES.items()}
        rows |= {piece: own[piece] for piece in MARKS.values()}
        han = [chr(code) for code in range(0x4E00, 0xA000)]
        for core in [*han, *seen]:
            row = own.get(core, own.get(f"▁{core}"))
            if row is not None:
                rows.setdefault(core, row)
        self.names = list(rows)
        self.rows = np.array(list(rows.values()))
        self.places = {name: place for place, name in enumerate(self.names)}

    def lesson(self, units: Sequence[Unit], labels: Sequence[int]) -> Lesson:
        """Return an utterance as the encoder takes it."""
        ids, columns, places = tokens(units, features_of(units), self.places)
        spread = np.full(len(ids), -100)
        spread[places] = labels
        return Lesson(ids[:POSITIONS], columns[:POSITIONS], spread[:POSITIONS])


def features_of(units: Sequence[Unit]) -> np.ndarray:
    """Return the features of an utterance."""
    reading = read([units], {DIGITS: 0, LATIN: 0, OTHER: 0}, lexicon.LOOKED_PAST_ZH)
    begin = reading.starts[0]
    return reading.columns[begin : begin + len(units)]


class Layer(torch.nn.Module):
    """A layer of the encoder."""

    def __init__(self, weights: WeightFile, number: int, drop: float) -> None:
        super().__init__()
        shape = weights.shape
        for name in _MATRICES:
            inputs, outputs = shape.hidden, shape.hidden
            if name == "fi":
                outputs = shape.inner
            if name == "fo":
                inputs = shape.inner
            linear = torch.nn.Linear(inputs, outputs)
            stem = f"l{number}.{name}"
            linear.weight.data = torch.from_numpy(np.array(weights.weights(f"{stem}.w", inputs)))
            linear.bias.data = torch.from_numpy(np.array(weights.dense(f"{stem}.b")))
            setattr(self, name, linear)
        for name in ("aln", "oln"):
            setattr(self, name, _norm(weights, f"l{number}.{name}"))
        self.heads = shape.heads
        self.drop = torch.nn.Dropout(drop)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Return the next hidden states of ``x`` (texts, tokens, hidden)."""
        texts, count, size = x.shape
        query, key, value = (
            part(x).view(texts, count, self.heads, size // self.heads).transpose(1, 2)
            for part in (self.q, self.k, self.v)
        )
        mixed = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=bias.to(query.dtype),
            dropout_p=self.drop.p if self.training else 0.0,
        )
        mixed = self.ao(mixed.transpose(1, 2).reshape(texts, count, size))
        x = self.aln(self.drop(mixed) + x)
        return self.oln(self.drop(self.fo(functional.gelu(self.fi(x)))) + x)


def _norm(weights: WeightFile, name: str) -> torch.nn.LayerNorm:
    norm = torch.nn.LayerNorm(weights.shape.hidden, eps=weights.shape.epsilon)
    norm.weight.data = torch.from_numpy(np.array(weights.dense(f"{name}.w")))
    norm.bias.data = torch.from_numpy(np.array(weights.dense(f"{name}.b")))
    return norm


class EncoderTagger(torch.nn.Module):
    """The lower layers of the encoder, features beside its words, and a score for each label."""

    def __init__(self, weights: WeightFile, words: Words, drop: float) -> None:
        super().__init__()
        hidden = weights.shape.hidden
        table = weights.weights("emb.word", hidden)[words.rows]
        self.register_buffer("words", torch.from_numpy(table), persistent=False)
        first = np.array(weights.dense("emb.type")).reshape(-1, hidden)[:1]
        places = np.array(weights.dense("emb.pos")).reshape(-1, hidden) + first
        self.pos = torch.nn.Parameter(torch.from_numpy(places))
        self.ln = _norm(weights, "emb.ln")
        self.layers = torch.nn.ModuleList(Layer(weights, n, drop) for n in range(LAYERS))
        self.feat = torch.nn.EmbeddingBag(sum(FEATURE_SIZES), hidden, mode="sum")
        torch.nn.init.zeros_(self.feat.weight)
        firsts = torch.tensor((0, *FEATURE_SIZES[:-1])).cumsum(0)
        self.register_buffer("firsts", firsts, persistent=False)
        self.head = torch.nn.Linear(hidden, 3)
        torch.nn.init.normal_(self.head.weight, std=0.02)
        torch.nn.init.zeros_(self.head.bias)
        self.drop = torch.nn.Dropout(drop)

    def forward(self, ids: torch.Tensor, columns: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return scores (texts, tokens, labels) where ``mask`` is 1."""
        texts, count, each = columns.shape
        seen = self.feat((columns + self.firsts).view(texts * count, each))
        x = self.words[ids] + self.pos[:count] + seen.view(texts, count, -1)
        x = self.drop(self.ln(x))
        bias = torch.zeros(mask.shape).masked_fill(mask == 0, -1e4)[:, None, None, :]
        for layer in self.layers:
            x = layer(x, bias)
        with torch.autocast("cpu", enabled=False):
            return self.head(self.drop(x.float()))


def collate(lessons: Sequence[Lesson], end: int) -> tuple[torch.Tensor, ...]:
    """Return ids, features, mask and labels of lessons, padded with ``end``."""
    count = -(-max(len(one.ids) for one in lessons) // 8) * 8
    ids = torch.full((len(lessons), count), end)
    columns = torch.zeros((len(lessons), count, len(FEATURE_SIZES)), dtype=torch.int64)
    mask = torch.zeros((len(lessons), count))
    labels = torch.full((len(lessons), count), -100)
    for row, one in enumerate(lessons):
        length = len(one.ids)
        ids[row, :length] = torch.from_numpy(one.ids)
        columns[row, :length] = torch.from_numpy(one.columns)
        mask[row, :length] = 1
        labels[row, :length] = torch.from_numpy(one.labels)
    return ids, columns, mask, labels


def batches(
    real: Sequence[Lesson],
    made: Iterator[Lesson],
    chosen: argparse.Namespace,
    chance: random.Random,
) -> Iterator[list[Lesson]]:
    """Yield batches without end, each of texts of like length."""
    order: list[int] = []
    own = round(chosen.batch * (1 - chosen.mixed))
    while True:
        pool = list(islice(made, _POOL * (chosen.batch - own)))
        for _ in range(_POOL * own):
            if not order:
                order = list(range(len(real)))
                chance.shuffle(order)
            pool.append(real[order.pop()])
        pool.sort(key=lambda one: len(one.ids) + 2 * chance.random())
        cut = [pool[at : at + chosen.batch] for at in range(0, len(pool), chosen.batch)]
        chance.shuffle(cut)
        yield from cut


def train(
    network: EncoderTagger,
    lessons: Iterator[list[Lesson]],
    steps: int,
    words: Words,
    chosen: argparse.Namespace,
) -> None:
    """Fine-tune; lower layers learn more slowly. The last weights are averaged."""
    groups = [
        {"params": [*layer.parameters()], "part": 0.9 ** (LAYERS - 1 - number)}
        for number, layer in enumerate(network.layers)
    ]
    groups.append({"params": [network.pos, *network.ln.parameters()], "part": 0.9**LAYERS})
    groups.append({"params": [network.feat.weight, *network.head.parameters()], "part": 5.0})
    optimizer = torch.optim.AdamW(groups, lr=chosen.rate, weight_decay=0.02, fused=True)
    average: dict[str, torch.Tensor] = {}
    began, total = time.process_time(), 0.0
    network.train()
    for step in range(steps):
        ids, columns, mask, labels = collate(next(lessons), words.places[END])
        # Words left out at random, so that what is said again counts for words never seen too.
        unknown = (torch.rand(ids.shape) < 0.03) & (labels >= 0)
        ids = torch.where(unknown, words.places[OTHER], ids)
        with torch.autocast("cpu", dtype=torch.bfloat16):  # several times faster where supported
            scores = network(ids, columns, mask)
        loss = functional.cross_entropy(scores.reshape(-1, 3), labels.reshape(-1))
        for group in optimizer.param_groups:
            ramp = min(1.0, step / 50 + 0.02) * (1 - step / steps)
            group["lr"] = chosen.rate * group["part"] * ramp
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        total += float(loss.detach())
        if step >= 0.6 * steps and step % 5 == 0:
            for name, value in network.state_dict().items():
                average.setdefault(name, value.detach().clone()).lerp_(value, 0.06)
        if (step + 1) % 100 == 0:
            spent = time.process_time() - began
            print(f"{step + 1} of {steps}: loss {total / 100:.4f}, {spent:.0f} s", flush=True)
            total = 0.0
    if average:
        network.load_state_dict(average)


class _Learnt:
    """What was learnt, by the names that the writer of the encoder's graph asks for."""

    def __init__(self, weights: WeightFile, network: EncoderTagger, words: Words) -> None:
        own = weights.shape
        self.shape = SimpleNamespace(
            hidden=own.hidden,
            layers=LAYERS,
            heads=own.heads,
            inner=own.inner,
            positions=POSITIONS,
            epsilon=own.epsilon,
        )
        self._weights, self._rows = weights, words.rows
        self._state = {
            name: value.detach().float().numpy() for name, value in network.state_dict().items()
        }

    def _name(self, name: str) -> str:
        ending = {"w": "weight", "b": "bias"}[name[-1]]
        stem = name[1:-2]
        return f"ln.{ending}" if name.startswith("emb") else f"layers.{stem}.{ending}"

    def dense(self, name: str) -> np.ndarray:
        """Return a vector or a table, flat."""
        if name == "emb.pos":
            return self._state["pos"][:POSITIONS].reshape(-1)
        if name == "emb.type":  # it joined the table of positions
            return np.zeros(self.shape.hidden, np.float32)
        return self._state[self._name(name)].reshape(-1)

    def weights(self, name: str, columns: int) -> np.ndarray:
        """Return a matrix, (rows, columns)."""
        return self._state[self._name(name)].reshape(-1, columns)

    def blocks(self, name: str, columns: int) -> tuple[np.ndarray, np.ndarray]:
        """Return four-bit codes and scales of the words that are kept."""
        codes, scales = self._weights.blocks(name, columns)
        return codes[self._rows], scales[self._rows]

    def table(self, name: str) -> np.ndarray:
        """Return something that the encoder had not."""
        return self._state[name]


class _TaggerWriter(EncoderWriter):
    """Writes the graph: ids and features to probabilities (1, tokens, labels)."""

    name = "atrium-cleanup-zh"

    def __init__(self, learnt: _Learnt, settings: str) -> None:
        super().__init__(learnt)
        self._learnt, self._settings = learnt, settings

    def write(self) -> onnx.ModelProto:
        """Return the whole graph with its weights."""
        model = super().write()
        model.graph.input.append(
            helper.make_tensor_value_info(
                "columns", TensorProto.INT64, [1, "tokens", len(FEATURE_SIZES)]
            )
        )
        return model

    def _properties(self) -> dict[str, str]:
        return {SETTINGS: self._settings}

    def _embeddings(self) -> str:
        graph, learnt = self._graph, self._learnt
        codes, scales = learnt.blocks("emb.word", self._shape.hidden)
        words = graph.node(
            "GatherBlockQuantized",
            graph.constant("words", codes[:, 0::2] | (codes[:, 1::2] << 4)),
            "input_ids",
            graph.constant("words.scale", scales),
            domain="com.microsoft",
            bits=4,
            block_size=32,
            gather_axis=0,
            quantize_axis=1,
        )
        table = learnt.dense("emb.pos").reshape(-1, self._shape.hidden)
        length = graph.node("Gather", graph.node("Shape", "input_ids"), "token_axis")
        places = graph.node("Slice", graph.constant("positions", table), "zero", length, "zero")
        firsts = np.cumsum((0, *FEATURE_SIZES[:-1])).astype(np.int64)
        seen = graph.node(
            "Gather",
            graph.constant("features", learnt.table("feat.weight")),
            graph.node("Add", "columns", graph.constant("firsts", firsts)),
        )
        axis = graph.constant("feature_axis", np.array([2], np.int64))
        values = graph.node("Add", words, places)
        values = graph.node("Add", values, graph.node("ReduceSum", seen, axis, keepdims=0))
        return graph.node(
            "LayerNormalization",
            values,
            *self._norm("emb.ln"),
            axis=-1,
            epsilon=self._shape.epsilon,
        )

    def _output(self, hidden: str) -> onnx.ValueInfoProto:
        graph = self._graph
        head = graph.constant("head.w", self._learnt.table("head.weight").T)
        scores = graph.node("MatMul", hidden, head)
        scores = graph.node(
            "Add", scores, graph.constant("head.b", self._learnt.table("head.bias"))
        )
        graph.end(graph.node("Softmax", scores, axis=-1), "probabilities")
        return helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, "tokens", 3])


def graph_of(
    weights: WeightFile, network: EncoderTagger, words: Words, decision: Decision
) -> bytes:
    """Return the model file."""
    settings = {
        "format": FORMAT,
        **asdict(decision),
        "vocabulary": "\n".join(words.names),
    }
    text = json.dumps(settings, ensure_ascii=False, sort_keys=True)
    graph = _TaggerWriter(_Learnt(weights, network, words), text).write()
    return graph.SerializeToString(deterministic=True)


def opinions(
    tagger: Path, model: bytes, units: Sequence[Sequence[Unit]]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return what the small network and the encoder say of utterances."""
    with np.load(tagger) as held:
        arrays = {name: held[name] for name in held.files}
    small = unpack(arrays)
    places = {w: n for n, w in enumerate(bytes(arrays["vocabulary"]).decode().split("\n"))}
    encoder = OnnxTagger(model)
    first, second = [], []
    for own in units:
        reading = read([own], places, lexicon.LOOKED_PAST_ZH)
        begin, end = reading.starts[0], reading.starts[0] + len(own)
        rows = small.probabilities(reading.ids, reading.columns, reading.here)
        first.append(rows[begin:end])
        second.append(encoder.probabilities(own, reading.columns[begin:end]))
    return first, second


def choose(
    first: Sequence[np.ndarray],
    second: Sequence[np.ndarray],
    tuning: Sequence[Example],
    precision: float,
) -> Decision:
    """Return what gives the best F1 at this precision or more, rules on."""
    best = (0.0, Decision())
    for share in _SHARES:
        found = [agree(a, b, share) for a, b in zip(first, second, strict=True)]
        for low in _LOWS:
            print(f"share {share}, low {low}: ", end="")
            threshold, f1 = best_threshold(found, tuning, guards.chinese(), precision, low)
            if f1 > best[0]:
                best = (f1, Decision(threshold, low, share))
    return best[1]


def main() -> None:
    """Train, choose when a word goes, write the model file."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--encoder", type=Path, required=True, help="folder of e5-small-q4.bin")
    options.add_argument("--tagger", type=Path, required=True, help="zh.npz")
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--start", type=Path, help="weights (.pt) to go on from")
    options.add_argument("--keep", type=Path, help="where to keep the weights (.pt)")
    options.add_argument("--epochs", type=float, default=3.5)
    options.add_argument("--mixed", type=float, default=0.16, help="share of made-up text")
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--rate", type=float, default=2.5e-4)
    options.add_argument("--drop", type=float, default=0.1)
    options.add_argument("--precision", type=float, default=0.90)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(chosen.seed)
    chance = random.Random(chosen.seed)
    weights = WeightFile((chosen.encoder / SOURCE_NAME).read_bytes())
    rows, dropped = chinese.read_cs2w(chosen.data / "disfluency/cs2w_train.jsonl.gz")
    print(f"CS2W train: {len(rows)} rows, {dropped} dropped")
    learned = [row for row in rows if not row.held_out]
    tuning = [row.example for row in rows if row.held_out]
    real = [(as_units(one.words), one.labels) for one in (row.example for row in learned)]
    seen = sorted({
        unit.core for units, _ in real for unit in units if unit.core.isascii()
    })  # fmt: skip
    words = Words(weights, seen)
    network = EncoderTagger(weights, words, chosen.drop)
    if chosen.start is not None:
        state = torch.load(chosen.start, weights_only=True)
        state["feat.weight"] = state["feat.weight"][: sum(FEATURE_SIZES)]
        network.load_state_dict({name: state[name] for name in network.state_dict()})
    own = round(chosen.batch * (1 - chosen.mixed))
    steps = int(len(real) * chosen.epochs / own)
    if steps:
        fluent = chinese.read_fluent(chosen.data)
        spoilt = chinese.Disfluencies(
            [row.written for row in learned if row.written], fluent, chance
        )
        made = (words.lesson(as_units(one.words), one.labels) for one in spoilt)
        lessons = batches([words.lesson(*one) for one in real], made, chosen, chance)
        train(network, lessons, steps, words, chosen)
    if chosen.keep is not None:
        torch.save(network.state_dict(), chosen.keep)
    units = [as_units(one.words) for one in tuning]
    draft = graph_of(weights, network, words, Decision())
    decision = choose(*opinions(chosen.tagger, draft, units), tuning, chosen.precision)
    chosen.out.write_bytes(graph_of(weights, network, words, decision))
    size = chosen.out.stat().st_size / 1e6
    print(f"{chosen.out}: {size:.2f} MB, {decision}")


if __name__ == "__main__":
    main()
