"""Train the tagger of one language.

    python train.py --language zh --data DIR --out zh.npz

Runs in the training environment (``requirements/train.txt``), a few minutes on one core. Chinese
learns from CS2W's train part (one row in nine is held out, for choosing the threshold) and from
fluent text with disfluencies put in; English from the latter alone.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import chinese
import english
import numpy as np
import torch
from chinese import Example
from network import Tagger, as_bytes, write
from opencc import OpenCC
from torch.nn import functional
from vectors import character_vectors

from atrium_meeting.domain.cleanup import guards, lexicon
from atrium_meeting.domain.cleanup.guards import Language, guard
from atrium_meeting.domain.cleanup.network import decide
from atrium_meeting.domain.cleanup.reading import DIGITS, FEATURE_SIZES, LATIN, OTHER, read
from atrium_meeting.domain.cleanup.units import Case, Mark, Unit, read_word

UTTERANCES_A_STEP = 64
_USUAL = {
    "zh": {"width": 96, "drop": 0.15, "precision": 0.90},
    "en": {"width": 64, "drop": 0.10, "precision": 0.986},
}
AVERAGED_EVERY = 5
_AVERAGED = 0.95
"""The weights that ship are a running average; this much stays of it every five steps."""


@dataclass(frozen=True)
class Batch:
    """Utterances as the network reads them, and the label of each row; -100 in gaps."""

    ids: torch.Tensor
    columns: torch.Tensor
    here: torch.Tensor
    labels: torch.Tensor


class Course:
    """A network on its way, and what it needs to read."""

    def __init__(self, language: str, words: Sequence[str], chosen: argparse.Namespace) -> None:
        self.words = [DIGITS, LATIN, OTHER, *words]
        self.vocabulary = {word: place for place, word in enumerate(self.words)}
        self.looked_past = lexicon.LOOKED_PAST_ZH if language == "zh" else lexicon.LOOKED_PAST_EN
        self.network = Tagger(
            len(self.words), FEATURE_SIZES, chosen.width, chosen.inner, chosen.layers, chosen.drop
        )
        if chosen.start is not None:
            self.network.load(dict(np.load(chosen.start)))
        self.average = {
            name: value.detach().clone() for name, value in self.network.state_dict().items()
        }
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=chosen.rate, weight_decay=0.02, fused=True
        )
        self.rate = chosen.rate
        self.steps = 0

    def arrays(
        self, units: Sequence[Sequence[Unit]]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[int]]:
        """Return what the network takes, and the row of each utterance's first word."""
        reading = read(units, self.vocabulary, self.looked_past)
        return (
            torch.from_numpy(reading.ids),
            torch.from_numpy(reading.columns),
            torch.from_numpy(reading.here.astype(np.float32))[:, None],
            reading.starts,
        )

    def prepare(self, batch: Sequence[tuple[Sequence[Unit], Sequence[int]]]) -> Batch:
        """Return utterances and their labels as arrays."""
        ids, columns, here, starts = self.arrays([units for units, _ in batch])
        labels = torch.full((len(ids),), -100)
        for start, (_, own) in zip(starts, batch, strict=True):
            labels[start : start + len(own)] = torch.tensor(own)
        return Batch(ids, columns, here, labels)

    def step(self, batch: Batch, share: float) -> float:
        """Learn from a batch; ``share`` is how much of the training is done. Return the loss."""
        # Words left out at random, so that what is said again counts for words never seen too.
        unknown = torch.rand(len(batch.ids)) < 0.03
        ids = torch.where(unknown, self.vocabulary[OTHER], batch.ids)
        with torch.autocast("cpu", dtype=torch.bfloat16):  # several times faster where supported
            scores = self.network(ids, batch.columns, batch.here)
        loss = functional.cross_entropy(scores.float(), batch.labels)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * min(1.0, share * 30 + 0.05) * (1 - share)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.steps += 1
        if self.steps % AVERAGED_EVERY == 0:
            kept = min(_AVERAGED, share * 5)
            for name, value in self.network.state_dict().items():
                self.average[name].lerp_(value, 1 - kept)
        return float(loss.detach())

    def settle(self) -> None:
        """Take the average as the network."""
        self.network.load_state_dict(self.average)

    @torch.no_grad()
    def probabilities(self, units: Sequence[Sequence[Unit]]) -> list[np.ndarray]:
        """Return the probability of each label of each word."""
        self.network.eval()
        found = []
        for begin in range(0, len(units), 256):
            part = units[begin : begin + 256]
            ids, columns, here, starts = self.arrays(part)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                scores = self.network(ids, columns, here)
            rows = torch.softmax(scores.float(), dim=1).numpy()
            found += [rows[at : at + len(own)] for at, own in zip(starts, part, strict=True)]
        self.network.train()
        return found


def as_units(words: Sequence[str]) -> list[Unit]:
    """Return words as the tagger reads them."""
    return [read_word(word) for word in words]


def figures(
    found: Sequence[np.ndarray], labels: Sequence[Sequence[int]], threshold: float
) -> tuple[float, float, float]:
    """Return precision, recall and F1 of what goes, over words."""
    right = claimed = true = 0
    for rows, own in zip(found, labels, strict=True):
        gone = 1 - rows[:, 0] > threshold
        meant = np.array(own) > 0
        right += int((gone & meant).sum())
        claimed += int(gone.sum())
        true += int(meant.sum())
    precision, recall = right / max(claimed, 1), right / max(true, 1)
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-9)


def best_threshold(
    found: Sequence[np.ndarray],
    tuning: Sequence[Example],
    rules: Language,
    precision: float,
    low: float = 1.0,
) -> tuple[float, float]:
    """Return the threshold of the best F1, rules on, at this precision or more, and the F1."""
    units = [as_units(one.words) for one in tuning]
    best = (0.0, 0.0, 0.5)
    for threshold in np.arange(0.2, 0.96, 0.02):
        right = claimed = true = 0
        for rows, own, one in zip(found, units, tuning, strict=True):
            left = np.array(guard(own, decide(rows, threshold, low), rules)) > 0
            meant = np.array(one.labels) > 0
            right += int((left & meant).sum())
            claimed += int(left.sum())
            true += int(meant.sum())
        reached, f1 = right / max(claimed, 1), 2 * right / max(claimed + true, 1)
        if (best[0] < precision and reached > best[0]) or (reached >= precision and f1 > best[1]):
            best = (reached, f1, float(threshold))
    print(f"threshold {best[2]:.2f}: precision {best[0]:.4f}, F1 {best[1]:.4f}, guard rails on")
    return best[2], best[1]


def simplified(words: Sequence[str]) -> dict[str, str]:
    """Return for traditional characters the simplified one, where the tagger knows that one."""
    convert = OpenCC("t2s").convert
    known = set(words)
    pairs = {
        character: convert(character)
        for character in map(chr, range(0x4E00, 0x9FFF))
        if character not in known
    }
    rules = lexicon.NEGATIONS_ZH | lexicon.NUMBERS_ZH | lexicon.SURNAMES_ZH | lexicon.GIVEN_ZH
    return {one: to for one, to in pairs.items() if one != to and (to in known or to in rules)}


def learn_chinese(chosen: argparse.Namespace) -> tuple[Course, float, dict[str, Any]]:
    """Train on CS2W and fluent text; return the course, the threshold and simpler characters."""
    rows, dropped = chinese.read_cs2w(chosen.data / "disfluency/cs2w_train.jsonl.gz")
    print(f"CS2W train: {len(rows)} rows, {dropped} dropped")
    learned = [row for row in rows if not row.held_out]
    tuning = [row.example for row in rows if row.held_out]
    fluent = chinese.read_fluent(chosen.data)
    counts = Counter(c for text in [*fluent, *(row.text for row in learned)] for c in text)
    words = [c for c, n in counts.most_common() if n >= 3 and "\u4e00" <= c <= "\u9fff"]
    course = Course("zh", words, chosen)
    if chosen.encoder is not None:
        rows_of = torch.from_numpy(character_vectors(chosen.encoder, words, chosen.width))
        course.network.words.weight.data[-len(words) :] = rows_of
    chance = random.Random(chosen.seed)
    made = iter(
        chinese.Disfluencies([row.written for row in learned if row.written], fluent, chance)
    )
    real = [(as_units(row.example.words), row.example.labels) for row in learned]
    batches = lessons(course, chosen, real, made, chance)
    found = train(course, batches, tuning, chosen.report)
    threshold, _ = best_threshold(found, tuning, guards.chinese(), chosen.precision)
    return course, threshold, {"aliases": simplified(words)}


def learn_english(chosen: argparse.Namespace) -> tuple[Course, float, dict[str, Any]]:
    """Train on made-up disfluencies; return the course, the threshold and what is no name."""
    spoken, written = english.read_fluent(chosen.data)
    print(f"{len(spoken)} utterances of meetings, {len(written)} other sentences")
    counts: Counter[str] = Counter()
    plain: Counter[str] = Counter()
    inside: Counter[str] = Counter()
    plain_inside: Counter[str] = Counter()
    for text in [*spoken, *spoken, *written]:
        begins = True
        for word in text.split():
            unit = read_word(word)
            counts[unit.core] += 1
            plain[unit.core] += unit.case is Case.PLAIN
            # A capital at the beginning of a sentence says nothing about a word.
            inside[unit.core] += not begins
            plain_inside[unit.core] += not begins and unit.case is Case.PLAIN
            begins = unit.mark in (Mark.STOP, Mark.QUESTION, Mark.BREAK)
    words = [
        word
        for word, n in counts.most_common()
        if n >= 3 and plain[word] >= 0.5 * n and word[0].isalpha() and word.isascii()
        and word not in lexicon.NAMES_EN
    ]  # fmt: skip
    common = sorted(
        word
        for word, n in counts.items()
        if (plain[word] > 0.8 * n or plain_inside[word] > 0.95 * inside[word] >= 4)
        and word.isascii()
        and word.isalpha()
    )
    words = sorted({*words, "i", "i'm", "i've", "i'll", "i'd", *lexicon.SOUNDS_EN, "ah", "eh"})
    course = Course("en", words, chosen)
    chance = random.Random(chosen.seed)
    held = (
        [spoken[i] for i in range(0, len(spoken), 25)],
        [written[i] for i in range(0, len(written), 25)],
    )
    kept = (
        [text for i, text in enumerate(spoken) if i % 25],
        [text for i, text in enumerate(written) if i % 25],
    )
    made = iter(english.Disfluencies(*kept, chance))
    tuning = list(islice(iter(english.Disfluencies(*held, random.Random(7))), 1500))
    batches = lessons(course, chosen, [], made, chance)
    found = train(course, batches, tuning, chosen.report)
    rules = guards.english(frozenset([*words, *common]))
    threshold, _ = best_threshold(found, tuning, rules, chosen.precision)
    return course, threshold, {"common": " ".join(common)}


def lessons(
    course: Course,
    chosen: argparse.Namespace,
    real: Sequence[tuple[Sequence[Unit], Sequence[int]]],
    made: Iterator[Example],
    chance: random.Random,
) -> list[Batch]:
    """Return all batches: of made-up utterances at first, then with real ones among them."""
    order: list[int] = []
    prepared = []
    for step in range(chosen.steps):
        batch: list[tuple[Sequence[Unit], Sequence[int]]] = []
        if real and step >= chosen.steps * chosen.warm:
            while len(batch) < UTTERANCES_A_STEP * (1 - chosen.mixed):
                if not order:
                    order = list(range(len(real)))
                    chance.shuffle(order)
                batch.append(real[order.pop()])
        for one in islice(made, UTTERANCES_A_STEP - len(batch)):
            batch.append((as_units(one.words), one.labels))
        prepared.append(course.prepare(batch))
    return prepared


def train(
    course: Course,
    batches: Sequence[Batch],
    tuning: Sequence[Example],
    report: int,
) -> list[np.ndarray]:
    """Go through the batches; return what the network says of the tuning part."""
    judged = [as_units(one.words) for one in tuning]
    labels = [one.labels for one in tuning]
    began = time.process_time()
    total = 0.0
    for step, batch in enumerate(batches):
        total += course.step(batch, step / len(batches))
        if (step + 1) % report == 0:
            shown = [f"{each:.3f}" for each in figures(course.probabilities(judged), labels, 0.5)]
            spent = time.process_time() - began
            print(f"{step + 1} loss {total / report:.4f} P R F {shown} {spent:.0f} s", flush=True)
            total = 0.0
    course.settle()
    found = course.probabilities(judged)
    for threshold in np.arange(0.3, 0.95, 0.05):
        print(f"{threshold:.2f}", [f"{each:.4f}" for each in figures(found, labels, threshold)])
    return found


def main() -> None:
    """Train, choose the threshold, write the model file."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--language", choices=("zh", "en"), required=True)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--encoder", type=Path, help="folder with e5-small-q4.bin")
    options.add_argument("--start", type=Path, help="a model file of the same words to go on from")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--width", type=int, help="zh 96, en 64")
    options.add_argument("--inner", type=int, default=96)
    options.add_argument("--layers", type=int, default=4)
    options.add_argument("--drop", type=float, help="zh .15, en .10")
    options.add_argument("--rate", type=float, default=4e-3)
    options.add_argument("--steps", type=int, default=600)
    options.add_argument("--warm", type=float, default=0.1, help="share with made-up text alone")
    options.add_argument("--mixed", type=float, default=0.25, help="share of made-up text after")
    options.add_argument(
        "--precision", type=float, help="least precision of tuning: zh .90, en .986"
    )
    options.add_argument("--report", type=int, default=100)
    chosen = options.parse_args()
    usual = _USUAL[chosen.language]
    for name, value in usual.items():
        if getattr(chosen, name) is None:
            setattr(chosen, name, value)
    torch.set_num_threads(1)
    torch.manual_seed(chosen.seed)
    learn = learn_chinese if chosen.language == "zh" else learn_english
    course, threshold, more = learn(chosen)
    settings = {"format": 1, "language": chosen.language, "threshold": threshold, **more}
    arrays = course.network.arrays()
    arrays["vocabulary"] = as_bytes("\n".join(course.words))
    arrays["settings"] = as_bytes(json.dumps(settings, ensure_ascii=False, sort_keys=True))
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    write(chosen.out, arrays)
    print(f"{chosen.out}: {chosen.out.stat().st_size / 1e6:.2f} MB, threshold {threshold:.2f}")


if __name__ == "__main__":
    main()
