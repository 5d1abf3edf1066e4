"""Where one subject ends and the next begins: `make eval EVAL=chapters`.

Meetings are put together from public transcripts as `sets.py` states: `vcsum_joined` (Chinese, the
segments of different recordings one after the other), `vcsum_whole` (Chinese, whole recordings) and
`qmsum` (English, val part). The weights of the segmentation were learned on other recordings and
meetings. Engines: `plain` has no model, `encoder` has vectors of the pulled model set.

A found boundary is right when it lies within a tolerance of a known one, one to one: one utterance
in VCSum, whose utterances take a minute; five in QMSum (about twenty seconds), reported within two
as well. A cut inside an utterance lies between it and the next. Pk and WindowDiff look at windows
of half a mean part. The baselines know how many boundaries there are: `even` cuts at even
distances, `random` anywhere (mean of 20 seeds).

Run it with ATRIUM_DATA_DIR, where the sets lie, and ATRIUM_MODELS_DIR for the encoder. README.md
says what was tried.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from atrium_meeting.domain.analysis.blocks import blocks_of
from atrium_meeting.domain.analysis.chapters import find_parts
from atrium_meeting.domain.analysis.sentences import sentences_of
from tests.figures import ROOT, Figures

from .encoding import Encoder
from .measures import f1, matches, pk, window_diff
from .sets import Meeting, load_qmsum, load_vcsum

SETS: Final = ("vcsum_joined", "vcsum_whole", "qmsum")
TOLERANCES: Final = {"vcsum_joined": (1,), "vcsum_whole": (1,), "qmsum": (5, 2)}
"""In utterances; the target is for the first."""
AIM: Final = 0.45
_SEEDS: Final = 20

Cut = Callable[[Meeting], Sequence[float]]


def load(name: str, folder: Path) -> list[Meeting]:
    """Read the part of a set that figures are reported on.

    Raises:
        OSError: It is not there.
    """
    if name == "qmsum":
        return load_qmsum(folder / "qmsum_val.jsonl.gz")
    return load_vcsum(folder / "vcsum_short_dev.jsonl.gz", "report", name.removeprefix("vcsum_"))


def found_by_product(encode: Callable[[list[str]], npt.NDArray[np.float32]] | None) -> Cut:
    """Return the segmentation that the product ships."""

    def cut(meeting: Meeting) -> list[float]:
        sentences = sentences_of(meeting.transcript)
        vectors = encode([block.text for block in blocks_of(sentences)]) if encode else None
        starts = [sentences[part.start] for part in find_parts(sentences, vectors=vectors)[1:]]
        return [start.utterance + (0.0 if start.first else 0.5) for start in starts]

    return cut


def evenly(meeting: Meeting) -> list[float]:
    """Cut at even distances."""
    n, parts = len(meeting.transcript.utterances), len(meeting.starts) + 1
    return [round(n * i / parts) for i in range(1, parts)]


def at_random(seed: int) -> Cut:
    """Return cuts anywhere."""

    def cut(meeting: Meeting) -> list[float]:
        rng = random.Random(f"{seed} {meeting.id}")
        n = len(meeting.transcript.utterances)
        return [float(i) for i in rng.sample(range(1, n), min(len(meeting.starts), n - 1))]

    return cut


def measure(
    meetings: Sequence[Meeting], cut: Cut, tolerances: Sequence[int]
) -> tuple[list[float], float, float]:
    """Return F1 at each tolerance, Pk and WindowDiff (means over meetings)."""
    right = [0] * len(tolerances)
    found = known = 0
    errors, differences = [], []
    for meeting in meetings:
        starts = cut(meeting)
        n = len(meeting.transcript.utterances)
        for i, tolerance in enumerate(tolerances):
            right[i] += matches(starts, meeting.starts, tolerance)
        found += len(starts)
        known += len(meeting.starts)
        whole = {int(-(-start // 1)) for start in starts if 0 < -(-start // 1) < n}
        errors.append(pk(whole, meeting.starts, n))
        differences.append(window_diff(whole, meeting.starts, n))
    return (
        [f1(one, found, known) for one in right],
        statistics.fmean(errors),
        statistics.fmean(differences),
    )


def report(name: str, engine: str, meetings: Sequence[Meeting], cut: Cut, figures: Figures) -> None:
    """Add the figures of one set and engine, beside the better of the baselines."""
    tolerances = TOLERANCES[name]
    scores, error, difference = measure(meetings, cut, tolerances)
    even = measure(meetings, evenly, tolerances)
    chance = [measure(meetings, at_random(seed), tolerances) for seed in range(_SEEDS)]
    boundaries = sum(len(meeting.starts) for meeting in meetings)
    for i, tolerance in enumerate(tolerances):
        by_chance = statistics.fmean(one[0][i] for one in chance)
        figures.add(
            f"{name}.{engine}.f1_within_{tolerance}",
            scores[i],
            "F1",
            n=boundaries,
            target=AIM if i == 0 else None,
            baseline=max(even[0][i], by_chance),
        )
    for what, value, number in (("pk", error, 1), ("window_diff", difference, 2)):
        by_chance = statistics.fmean(float(one[number]) for one in chance)
        figures.add(
            f"{name}.{engine}.{what}",
            value,
            "share",
            n=len(meetings),
            baseline=min(float(even[number]), by_chance),
        )


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--engines", nargs="+", choices=("plain", "encoder"), default=None)
    chosen = parser.parse_args()
    data = Path(os.environ.get("ATRIUM_DATA_DIR") or ROOT.parent / "shared" / "data") / "meetings"
    if not data.is_dir():
        print(f"Skipped: there is no {data}. Set ATRIUM_DATA_DIR to the folder of the public sets.")
        return 0
    encoder = None
    models = os.environ.get("ATRIUM_MODELS_DIR")
    engines = chosen.engines or ("plain", "encoder")
    if "encoder" in engines:
        folder = Path(models) / "multilingual-e5-small" if models else None
        if folder is None or not folder.is_dir():
            print("Without an encoder: set ATRIUM_MODELS_DIR to a folder of pulled models.")
            engines = tuple(engine for engine in engines if engine != "encoder")
        else:
            encoder = Encoder(folder, ROOT / "var" / "eval" / "chapters.vectors.sqlite")
    figures = Figures("eval", "chapters")
    for name in chosen.sets:
        meetings = load(name, data)
        for engine in engines:
            cut = found_by_product(encoder if engine == "encoder" else None)
            report(name, engine, meetings, cut, figures)
    if encoder:
        encoder.close()
    return 1 if figures.missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
