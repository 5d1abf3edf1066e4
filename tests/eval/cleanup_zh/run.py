"""Measure the cleanup of Chinese: which characters of CS2W are marked that annotators marked.

`make eval EVAL=cleanup_zh [ARGS="--part tuning"]`.

Reported on the validation part of CS2W (`ATRIUM_DATA_DIR`); the tagger learned from the train part
and its threshold was chosen on one in nine of that part's rows (`--part tuning`). A row is dropped
when it has not one label for each character. Every character counts, punctuation included, which
is never claimed; `typed` also wants fillers told from what is said again or given up.
`any_threshold` is what the network could reach at another threshold: chosen on these very rows, so
it says what there is to gain, not what is reached.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import time
import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from atrium_meeting.adapters.tagger_cleaner import TaggerCleaner
from atrium_meeting.domain.transcript import Disfluency, split_words
from tests.figures import ROOT, Figures

AIM_F1: Final = 0.80
AIM_PRECISION: Final = 0.90
_PROTECTED: Final = frozenset("零一二三四五六七八九十百千万亿两不没别未无非勿莫")


@dataclass(frozen=True)
class Row:
    """Characters and a label for each: "0" stays, "1" filler, "2" said again or given up."""

    text: str
    labels: str


@dataclass
class Score:
    """Counts of characters."""

    right: int = 0
    typed: int = 0
    claimed: int = 0
    true: int = 0

    @property
    def precision(self) -> float:
        """Share of what is marked that should be."""
        return self.right / max(self.claimed, 1)

    @property
    def recall(self) -> float:
        """Share of what should be marked that is."""
        return self.right / max(self.true, 1)

    @property
    def f1(self) -> float:
        """Harmonic mean of the two."""
        return 2 * self.right / max(self.claimed + self.true, 1)

    @property
    def typed_f1(self) -> float:
        """The same, where a filler must be called one and nothing else may be."""
        return 2 * self.typed / max(self.claimed + self.true, 1)


def folder() -> Path:
    """Return where the public data is, if it is there."""
    return Path(os.environ.get("ATRIUM_DATA_DIR", ROOT.parent / "shared" / "data"))


def read_rows(path: Path) -> tuple[list[Row], int]:
    """Return the rows of a part of CS2W, and how many were dropped."""
    rows, dropped = [], 0
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if len(row["content"]) == len(row["disfluency_label"]):
                rows.append(Row(row["content"], row["disfluency_label"]))
            else:
                dropped += 1
    return rows, dropped


def characters(text: str, words: Sequence[str], labels: Sequence[str]) -> str:
    """Return the label of each character of a text from those of its words."""
    found = []
    word, inside = 0, 0
    for character in text:
        if character.isspace():
            found.append("0")
            continue
        letter = unicodedata.category(character)[0] in "LMN"
        found.append(labels[word] if letter else "0")
        inside += 1
        if inside == len(words[word]):
            word, inside = word + 1, 0
    return "".join(found)


def judge(rows: Sequence[Row], found: Sequence[str]) -> Score:
    """Return the counts over all rows."""
    score = Score()
    for row, labels in zip(rows, found, strict=True):
        for true, claimed in zip(row.labels, labels, strict=True):
            score.true += true != "0"
            score.claimed += claimed != "0"
            score.right += true != "0" and claimed != "0"
            score.typed += true != "0" and claimed == true
    return score


def lost(rows: Sequence[Row], found: Sequence[str]) -> int:
    """Return how many rows lose a number or a negation altogether."""
    count = 0
    for row, labels in zip(rows, found, strict=True):
        kept = {c for c, label in zip(row.text, labels, strict=True) if label == "0"}
        gone = {c for c, label in zip(row.text, labels, strict=True) if label != "0"}
        count += bool((gone & _PROTECTED) - kept)
    return count


def mark(cleaner: TaggerCleaner, rows: Sequence[Row]) -> list[str]:
    """Return the labels of each row's characters that the cleaner gives."""
    words = [split_words(row.text) for row in rows]
    names = {None: "0", Disfluency.FILLER: "1"}
    return [
        characters(row.text, own, [names.get(label, "2") for label in labels])
        for row, own, labels in zip(rows, words, cleaner.mark("zh", words), strict=True)
    ]


def network_alone(
    cleaner: TaggerCleaner, rows: Sequence[Row], precision: float
) -> tuple[float, Score]:
    """Return the threshold of the best F1 at this precision or more, and what it reaches."""
    words = [split_words(row.text) for row in rows]
    gone = [1 - cleaner.probabilities("zh", own)[:, 0] for own in words]
    best = (1.0, Score())
    for step in range(20, 98, 2):
        found = [
            characters(row.text, own, ["2" if each > step / 100 else "0" for each in rates])
            for row, own, rates in zip(rows, words, gone, strict=True)
        ]
        score = judge(rows, found)
        if score.precision >= precision and score.f1 > best[1].f1:
            best = (step / 100, score)
    return best


def main() -> None:
    """Measure and print the figures."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--part", choices=("val", "tuning"), default="val")
    options.add_argument("--errors", type=int, default=0, help="show so many wrong rows (tuning)")
    chosen = options.parse_args()
    path = folder() / "disfluency" / f"cs2w_{'val' if chosen.part == 'val' else 'train'}.jsonl.gz"
    if not path.is_file():
        print(f"cleanup_zh is left out: {path} is not there (ATRIUM_DATA_DIR).")
        return
    rows, dropped = read_rows(path)
    if chosen.part == "tuning":
        rows = [row for row in rows if zlib.crc32(row.text.encode()) % 9 == 0]
    figures = Figures("eval", "cleanup_zh")
    cleaner = TaggerCleaner()
    began = time.thread_time()
    found = mark(cleaner, rows)
    seconds = time.thread_time() - began
    score = judge(rows, found)
    count = len(rows)
    figures.add(f"{chosen.part}.rows_dropped", dropped, "rows", n=count + dropped)
    figures.add(
        f"{chosen.part}.precision", score.precision, "share", n=score.claimed, target=AIM_PRECISION
    )
    figures.add(f"{chosen.part}.recall", score.recall, "share", n=score.true)
    figures.add(f"{chosen.part}.f1", score.f1, "share", n=score.true, target=AIM_F1)
    figures.add(f"{chosen.part}.typed_f1", score.typed_f1, "share", n=score.true)
    figures.add(
        f"{chosen.part}.rows_that_lose_a_number_or_negation",
        lost(rows, found),
        "rows",
        n=count,
        target=0,
        at_most=True,
    )
    for name, precision in (("any_threshold", 0.0), ("any_threshold_precision_90", AIM_PRECISION)):
        _, alone = network_alone(cleaner, rows, precision)
        figures.add(f"{chosen.part}.{name}.f1", alone.f1, "share", n=score.true)
    figures.add("words_per_second", sum(len(row.text) for row in rows) / seconds, "1/s", n=count)
    if chosen.part == "tuning":
        for row, labels in list(zip(rows, found, strict=True)):
            if chosen.errors and any(
                (a != "0") != (b != "0") for a, b in zip(row.labels, labels, strict=True)
            ):
                chosen.errors -= 1
                print(row.text, row.labels, labels, sep="\n")
    if figures.missed:
        print("Missed:", ", ".join(figures.missed))


if __name__ == "__main__":
    main()
