"""Measure the cleanup of English: text with disfluencies put in, and real fillers.

`make eval EVAL=cleanup_en`; `SABOTAGE=1` leaves the guard rails out, and names, numbers or
negations must then change (`tests/sabotage.py`).

- Fluent sentences (FLORES, QMSum's validation part, a handbook; `ATRIUM_DATA_DIR`) with fillers,
  repetitions, repairs and false starts put in by `make.py`, frozen before the tagger was trained.
  The tagger learned from other texts with disfluencies put in by other code. *Deletion* counts
  words: what goes and should, over what goes, over what should. *Changed* counts utterances in
  which a name, a number or a negation of the fluent text is missing, or comes in another order.
- `um`, `uh`, `mm`, `hmm` of QMSum's validation part, as transcribed from real meetings.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from atrium_meeting.adapters.tagger_cleaner import TaggerCleaner
from atrium_meeting.domain.transcript import Disfluency
from tests.figures import ROOT, Figures
from tests.sabotage import REACHED, exit_code, guard_removed

from . import make
from .make import Row

FROZEN: Final = "47c994dc0d5a3a4401677dc985b3e5439c40a8e695519f8a2ca3ad00dbf11d95"
"""SHA-256 of the rows that figures are compared by."""
_SOUNDS: Final = frozenset({"um", "uh", "mm", "hmm"})


@dataclass
class Score:
    """Counts over rows."""

    right: int = 0
    claimed: int = 0
    true: int = 0
    fluent: int = 0
    changed: list[str] = field(default_factory=list)
    """Utterances that lost a protected word."""

    @property
    def precision(self) -> float:
        """Share of the words that go that should."""
        return self.right / max(self.claimed, 1)

    @property
    def recall(self) -> float:
        """Share of the words that should go that do."""
        return self.right / max(self.true, 1)

    @property
    def f1(self) -> float:
        """Harmonic mean of the two."""
        return 2 * self.right / max(self.claimed + self.true, 1)

    @property
    def false_deletions(self) -> float:
        """Share of the fluent words that go."""
        return (self.claimed - self.right) / max(self.fluent, 1)


def data_folder() -> Path:
    """Return where the public data is, if it is there."""
    return Path(os.environ.get("ATRIUM_DATA_DIR", ROOT.parent / "shared" / "data"))


def read_rows(folder: Path) -> list[Row]:
    """Return the frozen rows.

    Raises:
        FileNotFoundError: The public data is not there.
        ValueError: The data or the generator is not what figures are compared by.
    """
    rows = list(make.disfluent(make.read_texts(folder), make.read_ordinary(folder)))
    if make.fingerprint(rows) != FROZEN:
        raise ValueError(
            f"The rows are {make.fingerprint(rows)}, not what figures are compared by."
        )
    return rows


def keeps_order(wanted: Sequence[str], kept: Sequence[str]) -> bool:
    """Tell whether all words of the one list are in the other in the same order."""
    rest = iter(kept)
    return all(word in rest for word in wanted)


def judge(rows: Sequence[Row], cleaner: TaggerCleaner) -> Score:
    """Return the counts; rows with traps count for protected words only."""
    score = Score()
    marked = cleaner.mark("en", [row.words for row in rows])
    for row, labels in zip(rows, marked, strict=True):
        gone = [label is not None for label in labels]
        bare = [re.sub(r"[^\w']", "", word).lower() for word in row.words]
        wanted = [word for word, must in zip(bare, row.protected, strict=True) if must]
        kept = [word for word, out in zip(bare, gone, strict=True) if not out]
        if not keeps_order(wanted, kept):
            score.changed.append(
                " ".join(f"[{w}]" if out else w for w, out in zip(row.words, gone, strict=True))
            )
        if "trap" in row.kinds:
            continue
        score.true += sum(row.gone)
        score.claimed += sum(gone)
        score.right += sum(out and bool(true) for out, true in zip(gone, row.gone, strict=True))
        score.fluent += len(gone) - sum(row.gone)
    return score


def kind_recall(rows: Sequence[Row], cleaner: TaggerCleaner, kind: str) -> tuple[float, int]:
    """Return recall, and words, over the rows in which only one kind was put in."""
    only = [row for row in rows if row.kinds and set(row.kinds) == {kind}]
    score = judge(only, cleaner)
    return score.recall, score.true


def words_per_second(rows: Sequence[Row], cleaner: TaggerCleaner) -> float:
    """Return the speed on many utterances at once, on one processor."""
    texts = [row.words for row in rows]
    began = time.thread_time()
    cleaner.mark("en", texts)
    return sum(map(len, texts)) / (time.thread_time() - began)


def milliseconds_an_utterance(rows: Sequence[Row], cleaner: TaggerCleaner) -> float:
    """Return the time of one utterance of fifty words, as live speech asks for; the median."""
    words = [word for row in rows for word in row.words]
    spent = []
    for begin in range(0, 5_000, 50):
        began = time.thread_time()
        cleaner.mark("en", [words[begin : begin + 50]])
        spent.append(1000 * (time.thread_time() - began))
    return sorted(spent)[len(spent) // 2]


def real_sounds(folder: Path) -> list[list[str]]:
    """Return utterances of QMSum's validation part as words."""
    with gzip.open(folder / "meetings/qmsum_val.jsonl.gz", "rt", encoding="utf-8") as lines:
        turns = [
            turn["content"] for line in lines for turn in json.loads(line)["meeting_transcripts"]
        ]
    texts = (make.tidy(re.sub(r"\{[^}]*\}", " ", turn)).replace(" - ", "-") for turn in turns)
    return [words for text in texts if (words := text.split())]


def sound_recall(utterances: Iterable[Sequence[str]], cleaner: TaggerCleaner) -> tuple[int, int]:
    """Return how many sounds are marked, of how many."""
    texts = list(utterances)
    found = total = 0
    for words, labels in zip(texts, cleaner.mark("en", texts), strict=True):
        for word, label in zip(words, labels, strict=True):
            if word.strip(".,?!-;:").lower() in _SOUNDS:
                total += 1
                found += label is Disfluency.FILLER
    return found, total


def main() -> int:
    """Measure and print the figures; return the exit code."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.parse_args()
    folder = data_folder()
    if not folder.is_dir():
        print(f"cleanup_en is left out: {folder} is not there (ATRIUM_DATA_DIR).")
        return REACHED
    removed = guard_removed()
    rows = read_rows(folder)
    cleaner = TaggerCleaner(guarded=not removed)
    figures = Figures("eval", "cleanup_en.sabotaged" if removed else "cleanup_en")
    score = judge(rows, cleaner)
    figures.add("deletion.f1", score.f1, "share", n=score.true, target=0.96)
    figures.add("deletion.precision", score.precision, "share", n=score.claimed)
    figures.add("deletion.recall", score.recall, "share", n=score.true)
    figures.add(
        "false_deletions",
        score.false_deletions,
        "share",
        n=score.fluent,
        target=0.005,
        at_most=True,
    )
    figures.add(
        "changed_names_numbers_negations",
        len(score.changed),
        "utterances",
        n=len(rows),
        target=0,
        at_most=True,
    )
    for kind in ("filler", "repetition", "repair", "false_start"):
        recall, count = kind_recall(rows, cleaner, kind)
        figures.add(f"{kind}.recall", recall, "share", n=count)
    found, total = sound_recall(real_sounds(folder), cleaner)
    figures.add("qmsum_val.sounds.recall", found / total, "share", n=total, target=0.99)
    figures.add(
        "words_per_second", words_per_second(rows, cleaner), "1/s", n=len(rows), target=20_000
    )
    figures.add(
        "fifty_words", milliseconds_an_utterance(rows, cleaner), "ms", n=100, target=2, at_most=True
    )
    for text in score.changed[:10]:
        print("changed:", text)
    return exit_code(figures, removed, found=len(score.changed))


if __name__ == "__main__":
    raise SystemExit(main())
