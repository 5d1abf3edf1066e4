"""Find personal data: what is overlooked, what is taken for it, and how long it takes.

`make eval EVAL=pii [ARGS="--half tune"]`.

- `data/chinese_{tune,test}.jsonl`: texts of an office with invented data of every kind and what
  only looks like it (`make_chinese.py`), frozen before the first finder was written. Finders may be
  tuned on the first half; the second one is reported.
- `pii_presidio_small` of the public data (English sentences; `ATRIUM_DATA_DIR`), where it is there.
  Its ADDRESS counts single parts of addresses, such as a house number or a postal code alone.

A labelled piece is found when one piece of the same kind covers all of it; a piece that was found
is right when it covers a labelled one of its kind and is at most twice as long. Pieces of kinds
that a set does not label are not counted. `covered` counts a piece as soon as something hides it,
whatever it was taken for.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from atrium_gateway.domain.pii import Detector, Found, PiiKind
from tests.figures import ROOT, Figures

DATA: Final = Path(__file__).parent / "data"
FROZEN: Final = "4b0d2c3af808a1d3ca5a633bbec8ce28ab71a5191c88d2e61946bfd1c641c0a4"
"""SHA-256 of the half that is reported."""

_TARGETS: Final = {kind: 0.95 for kind in PiiKind if kind is not PiiKind.PERSON}
_MOST_MS: Final = 5.0
_PRESIDIO: Final = {
    "PERSON": PiiKind.PERSON,
    "ADDRESS": PiiKind.ADDRESS,
    "PHONE_NUMBER": PiiKind.PHONE,
    "CREDIT_CARD": PiiKind.BANK_CARD,
    "US_SSN": PiiKind.ID_CARD,
    "IP_ADDRESS": PiiKind.IP_ADDRESS,
    "EMAIL_ADDRESS": PiiKind.EMAIL,
}


@dataclass(frozen=True)
class Labelled:
    """A text and what is personal data in it."""

    text: str
    spans: Sequence[Found]


@dataclass
class Score:
    """Counts of one kind."""

    labelled: int = 0
    found: int = 0
    covered: int = 0
    claimed: int = 0
    right: int = 0


def read_chinese(half: str) -> list[Labelled]:
    """Return one half of the Chinese set.

    Raises:
        ValueError: The half that is reported was changed.
    """
    raw = (DATA / f"chinese_{half}.jsonl").read_bytes()
    if half == "test" and hashlib.sha256(raw).hexdigest() != FROZEN:
        raise ValueError("chinese_test.jsonl is not what figures are compared by.")
    rows = map(json.loads, raw.decode().splitlines())
    return [
        Labelled(
            row["text"],
            [Found(PiiKind(each["kind"]), each["start"], each["end"]) for each in row["spans"]],
        )
        for row in rows
    ]


def presidio_file() -> Path:
    """Return where the English set is, if it is there."""
    folder = Path(os.environ.get("ATRIUM_DATA_DIR", ROOT.parent / "shared" / "data"))
    return folder / "security" / "pii_presidio_small.json"


def read_presidio(path: Path) -> list[Labelled]:
    """Return the English set: the kinds that are ours, but for pieces that hold nothing."""
    return [
        Labelled(
            row["full_text"],
            [
                Found(_PRESIDIO[span["entity_type"]], span["start_position"], span["end_position"])
                for span in row["spans"]
                if span["entity_type"] in _PRESIDIO and span["entity_value"] != "nan"
            ],
        )
        for row in json.loads(path.read_text(encoding="utf-8"))
    ]


def judge(rows: Iterable[Labelled], detector: Detector) -> dict[PiiKind, Score]:
    """Return the scores of each kind."""
    scores = {kind: Score() for kind in PiiKind}
    for row in rows:
        claims = detector.find(row.text)
        for span in row.spans:
            score = scores[span.kind]
            score.labelled += 1
            covering = [c for c in claims if c.start <= span.start and c.end >= span.end]
            score.covered += bool(covering)
            score.found += any(claim.kind is span.kind for claim in covering)
        for claim in claims:
            scores[claim.kind].claimed += 1
            scores[claim.kind].right += any(
                span.kind is claim.kind
                and claim.start < span.end
                and span.start < claim.end
                and claim.end - claim.start <= 2 * (span.end - span.start)
                for span in row.spans
            )
    return scores


def milliseconds_per_1000(rows: Sequence[Labelled], detector: Detector) -> list[float]:
    """Return the processor time of texts of 1,000 characters, each put together from several."""
    times = []
    text = ""
    for row in rows:
        text += row.text + "\n"
        if len(text) >= 1_000:
            # Of this thread: what else the machine does is not counted.
            started = time.thread_time()
            detector.find(text)
            times.append((time.thread_time() - started) * 1e6 / len(text))
            text = ""
    return times


def show_errors(rows: Iterable[Labelled], detector: Detector, most: int) -> None:
    """Print what was overlooked and what was taken for personal data. Not for the test half."""
    seen: Counter[tuple[str, PiiKind]] = Counter()
    for row in rows:
        claims = detector.find(row.text)
        for what, these, those in (("missed", row.spans, claims), ("wrong", claims, row.spans)):
            for one in these:
                if not any(
                    one.kind is other.kind
                    and one.start < other.end
                    and other.start < one.end
                    and (what == "wrong" or (other.start <= one.start and other.end >= one.end))
                    for other in those
                ):
                    seen[what, one.kind] += 1
                    if seen[what, one.kind] <= most:
                        print(what, one.kind, repr(row.text[one.start : one.end]), "|", row.text)


def main() -> None:
    """Measure and print the figures."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--half", choices=("tune", "test"), default="test")
    options.add_argument("--errors", type=int, default=0, help="show so many errors a kind (tune)")
    chosen = options.parse_args()
    figures = Figures("eval", "pii")
    detector = Detector()
    rows = read_chinese(chosen.half)
    sets = {f"chinese_{chosen.half}": rows}
    if presidio_file().is_file():
        sets["presidio"] = read_presidio(presidio_file())
    else:
        print(f"pii_presidio_small is left out: {presidio_file()} is not there (ATRIUM_DATA_DIR).")
    for name, texts in sets.items():
        if chosen.errors and name != "chinese_test":
            show_errors(texts, detector, chosen.errors)
        for kind, score in judge(texts, detector).items():
            if not score.labelled:
                continue
            # Addresses and names of the English set are shreds and bare first names.
            target = _TARGETS.get(kind) if name.startswith("chinese") else None
            labelled = score.labelled
            figures.add(
                f"{name}.{kind.lower()}.recall",
                score.found / labelled,
                "share",
                n=labelled,
                target=target,
            )
            figures.add(
                f"{name}.{kind.lower()}.covered", score.covered / labelled, "share", n=labelled
            )
            if score.claimed:
                figures.add(
                    f"{name}.{kind.lower()}.precision",
                    score.right / score.claimed,
                    "share",
                    n=score.claimed,
                    target=target,
                )
    times = milliseconds_per_1000(rows, detector)
    figures.add(
        "p50_per_1000_characters",
        statistics.median(times),
        "ms",
        n=len(times),
        target=_MOST_MS,
        at_most=True,
    )
    if figures.missed:
        print("Missed:", ", ".join(figures.missed))


if __name__ == "__main__":
    main()
