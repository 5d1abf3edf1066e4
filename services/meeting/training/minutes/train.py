"""Fit the score of sentences that decide, or give somebody something to do.

`python services/meeting/training/minutes/train.py --out FILE`, from the root of the repository. It
reads the talks beside it, the part `dev` of `tests/eval/meeting_scripts`, and the small pieces of
talk of the service's tests. `--without-held` leaves out the talks that are held out, which is how
thresholds were chosen; without it the weights that are shipped come out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from atrium_meeting.domain.analysis.acts import PLACES, hashed
from atrium_meeting.domain.analysis.meeting import people_of
from atrium_meeting.domain.analysis.reading import Reading
from atrium_meeting.domain.analysis.sentences import Sentence, sentences_of
from atrium_meeting.domain.transcript import Speaker, Transcript, Utterance, Word, split_words
from tests.eval.meeting_scripts import Meeting, load, read, transcript
from tests.eval.meeting_scripts.build import build

TALKS: Final = Path(__file__).parent / "talks"
PIECES: Final = (
    Path(__file__).parent / "pieces.txt",
    Path(__file__).parents[2] / "tests" / "analysis" / "talk.txt",
)
_ROUNDS: Final = 10
_PIECES_COUNT: Final = 1.0
"""How many times a sentence of a small piece of talk counts: near misses stand there."""
_PENALTY: Final = 0.01
"""Of the squared weights, to a sentence."""

Labelled = tuple[Sequence[Sentence], Reading, list[bool], list[bool], list[bool], float]
"""Sentences, what is read of them, whether each decides and acts, which of these are known, and
how many times they count."""


def labelled(meeting: Meeting) -> Labelled:
    """Return a scripted meeting as it is learned from."""
    talk = transcript(meeting)
    sentences = sentences_of(talk)
    said = [sentence.spans[0].utterance for sentence in sentences]
    return (
        sentences,
        Reading(sentences, people_of(talk, sentences), date.fromisoformat(meeting.date)),
        [any(u in one.utterances for one in meeting.decisions) for u in said],
        [any(u in one.utterances for one in meeting.actions) for u in said],
        [True, True],
        1.0,
    )


def pieces() -> Iterator[Labelled]:
    """Yield the small pieces of talk; each tells of decisions or of actions."""
    group = ""
    for line in (one for file in PIECES for one in file.read_text("utf-8").splitlines()):
        if line.startswith("# "):
            group = line[2:]
            continue
        deciding = "decisions" in group
        chinese = group.startswith("chinese")
        lines = line.partition(" => ")[0].split("|")
        mark = "*" if deciding else "+"
        if deciding:
            lines = [
                f"{one[:1] if one.startswith(mark) else ''}{'ABC'[i % 3]}: {one.lstrip(mark)}"
                for i, one in enumerate(lines)
            ]
        talk = _talk([one.lstrip(mark) for one in lines], "zh" if chinese else "en")
        sentences = sentences_of(talk)
        marked = [lines[int(one.spans[0].utterance[1:]) - 1].startswith(mark) for one in sentences]
        none = [False] * len(sentences)
        yield (
            sentences,
            Reading(sentences, people_of(talk, sentences), date(2026, 3, 9)),
            marked if deciding else none,
            none if deciding else marked,
            [deciding, not deciding],
            _PIECES_COUNT,
        )


def _talk(lines: Sequence[str], language: str) -> Transcript:
    names: dict[str, str] = {}
    utterances = []
    at = 0
    for number, line in enumerate(lines, 1):
        name, text = line.split(":", 1)
        speaker = names.setdefault(name, f"S{len(names) + 1}")
        words = []
        for word in split_words(text.strip()):
            words.append(Word(word, at, at + 200, confidence=1.0))
            at += 250
        utterances.append(Utterance(f"u{number}", speaker, language, tuple(words)))
        at += 500
    speakers = tuple(Speaker(identifier, name) for name, identifier in names.items())
    return Transcript(1, speakers, tuple(utterances))


def matrix(reading: Reading) -> npt.NDArray[np.float32]:
    """Return the features of sentences, shape (sentences, PLACES)."""
    rows = list(hashed(reading))
    found = np.zeros((len(rows), PLACES), np.float32)
    for i, row in enumerate(rows):
        found[i, list(row)] = list(row.values())
    return found


def fit(
    features: npt.NDArray[np.float32],
    labels: npt.NDArray[np.float64],
    counts: npt.NDArray[np.float64],
) -> npt.NDArray[np.float32]:
    """Return the weights of a logistic regression, by Newton's method over the sentences.

    Args:
        features: Shape (sentences, PLACES).
        labels: 1 or 0 for each sentence.
        counts: How many times each sentence counts.
    """
    kernel = (features @ features.T).astype(np.float64)
    odds = np.zeros(len(labels))
    for _ in range(_ROUNDS):
        sure = 1 / (1 + np.exp(-np.clip(odds, -30, 30)))
        spread = np.maximum(sure * (1 - sure), 1e-4)
        system = kernel + np.diag(_PENALTY * len(labels) / (counts * spread))
        dual = np.linalg.solve(system, odds + (labels - sure) / spread)
        odds = kernel @ dual
    return np.asarray(features.T @ dual, np.float32)


def learn(talks: Sequence[Labelled]) -> dict[str, npt.NDArray[np.float32]]:
    """Return the weights of both scores."""
    found = {}
    for which, name in enumerate(("decision", "action")):
        known = [one for one in talks if one[4][which]]
        features = np.concatenate([matrix(one[1]) for one in known])
        labels = np.concatenate([np.array(one[2 + which], np.float64) for one in known])
        counts = np.concatenate([np.full(len(one[0]), one[5]) for one in known])
        found[name] = fit(features, labels, counts)
    return found


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--without-held", action="store_true")
    chosen = parser.parse_args()
    sources = [
        one for one in sorted(TALKS.glob("*.txt"))
        if not (chosen.without_held and one.stem.endswith("held"))
    ]  # fmt: skip
    meetings = [*read(build(sources)), *load("dev")]
    learned = learn([*map(labelled, meetings), *pieces()])
    stored = {name: weights.astype(np.float16) for name, weights in learned.items()}
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(chosen.out, **stored)
    print(f"{chosen.out}: from {len(meetings)} meetings, {chosen.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
