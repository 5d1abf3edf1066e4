"""Fit the score of sentences that decide, or give somebody something to do.

`python -m services.meeting.training.minutes.train --out FILE`, from the root of the repository. It
reads the talks beside it, the part `dev` of `tests/eval/meeting_scripts`, and the small pieces of
talk of the service's tests. `--without-held` leaves out some talks of the first hand, to look at
a fit on them; without it the weights that are shipped come out.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from atrium_meeting.domain.analysis.acts import ENCODER, PLACES, around, hashed
from atrium_meeting.domain.analysis.meeting import people_of
from atrium_meeting.domain.analysis.reading import Reading
from atrium_meeting.domain.analysis.sentences import Sentence, sentences_of
from atrium_meeting.domain.transcript import Speaker, Transcript, Utterance, Word, split_words
from atrium_models.store import ModelStore
from tests.eval.chapters.encoding import Encoder
from tests.eval.meeting_scripts import Meeting, load, read, transcript
from tests.eval.meeting_scripts.build import build

TALKS: Final = Path(__file__).parent / "talks"
PIECES: Final = (
    *sorted(Path(__file__).parent.glob("pieces*.txt")),
    Path(__file__).parents[2] / "tests" / "analysis" / "talk.txt",
)
VECTORS: Final = Path("var/training/minutes-vectors.db")
"""Where vectors are kept, so that a second fit is quick."""
_ROUNDS: Final = 10
_SMALL: Final = 1e-3
"""A step that changes no weight by more is the last one."""
_TURNS: Final = 100
"""Of conjugate gradients to a step, at most."""
_NEAR_ENOUGH: Final = 1e-6
"""Which part of the squared slope may be left."""
_PIECES_COUNT: Final = 2.0
"""How many times a sentence of a small piece of talk counts: near misses stand there."""
_PENALTY: Final = 0.002
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


@dataclass(frozen=True, slots=True)
class Rows:
    """Features of sentences, of which each has few.

    Args:
        firsts: Where the features of each sentence begin, shape (sentences,).
        sizes: How many each has, the same shape; none has no feature.
        places: Which they are, shape (features,).
        values: What they are, the same shape.
        width: How many features there are.
    """

    firsts: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    width: int

    @classmethod
    def of(cls, readings: Iterable[Reading]) -> Rows:
        """Return the features of all sentences of several talks."""
        rows = [row for reading in readings for row in hashed(reading)]
        sizes = np.array([len(row) for row in rows])
        return cls(
            np.concatenate([[0], np.cumsum(sizes)[:-1]]),
            sizes,
            np.fromiter((place for row in rows for place in row), np.int64),
            np.fromiter((value for row in rows for value in row.values()), np.float64),
            PLACES,
        )

    def beside(self, dense: npt.NDArray[np.float32]) -> Rows:
        """Return the same sentences with further features: shape (sentences, features)."""
        sizes = self.sizes + dense.shape[1]
        firsts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        places = np.empty(sizes.sum(), np.int64)
        values = np.empty(sizes.sum())
        hashed_ones = np.ones(len(places), bool)
        hashed_ones[(firsts + self.sizes)[:, None] + np.arange(dense.shape[1])] = False
        places[hashed_ones], values[hashed_ones] = self.places, self.values
        places[~hashed_ones] = np.tile(self.width + np.arange(dense.shape[1]), len(dense))
        values[~hashed_ones] = dense.ravel()
        return Rows(firsts, sizes, places, values, self.width + dense.shape[1])

    def times(self, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the log odds of each sentence: weights (width,) -> (sentences,)."""
        return np.add.reduceat(self.values * weights[self.places], self.firsts)

    def added(self, shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the sum of the features, each sentence so many times: -> (width,)."""
        worth = self.values * np.repeat(shares, self.sizes)
        return np.bincount(self.places, worth, self.width)


def fit(
    rows: Rows, labels: npt.NDArray[np.float64], counts: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Return the weights of a logistic regression, by Newton's method.

    Each step is found by conjugate gradients (Lin, Weng and Keerthi, "Trust Region Newton Method
    for Large-Scale Logistic Regression", 2008), for which no matrix is ever made.

    Args:
        rows: Features.
        labels: 1 or 0 for each sentence.
        counts: How many times each sentence counts.
    """
    penalty = _PENALTY * len(labels)
    weights = np.zeros(rows.width)
    for _ in range(_ROUNDS):
        sure = 1 / (1 + np.exp(-np.clip(rows.times(weights), -30, 30)))
        spread = counts * np.maximum(sure * (1 - sure), 1e-4)
        slope = rows.added(counts * (labels - sure)) - penalty * weights
        step = _solved(lambda v, s=spread: rows.added(s * rows.times(v)) + penalty * v, slope)
        weights += step
        if np.abs(step).max() < _SMALL:
            break
    return np.asarray(weights, np.float32)


def _solved(
    curved: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
    slope: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return where a curvature undoes a slope, nearly."""
    found = np.zeros_like(slope)
    left = slope.copy()
    way = left.copy()
    size = first = float(left @ left)
    for _ in range(_TURNS):
        if size <= _NEAR_ENOUGH * first:
            break
        bent = curved(way)
        length = size / float(way @ bent)
        found += length * way
        left -= length * bent
        size, before = float(left @ left), size
        way = left + size / before * way
    return found


def learn(
    talks: Sequence[Labelled], vectors: Sequence[npt.NDArray[np.float32]]
) -> dict[str, npt.NDArray[np.float32]]:
    """Return the weights of both scores, without vectors and with them, and what centres these.

    Args:
        talks: What is learned from.
        vectors: Of the sentences of each.
    """
    found = _centres(talks, vectors)
    centred_by = {"zh": found["centre_zh"], "en": found["centre_en"]}
    for which, name in enumerate(("decision", "action")):
        known = [i for i, one in enumerate(talks) if one[4][which]]
        rows = Rows.of(talks[i][1] for i in known)
        dense = [around(talks[i][0], vectors[i], centred_by) for i in known]
        labels = np.concatenate([np.array(talks[i][2 + which], np.float64) for i in known])
        counts = np.concatenate([np.full(len(talks[i][0]), talks[i][5]) for i in known])
        found[name] = fit(rows, labels, counts)
        with_vectors = rows.beside(np.concatenate(dense))
        found[f"{name}_with_vectors"] = fit(with_vectors, labels, counts)
    return found


def encoded(talks: Sequence[Labelled]) -> list[npt.NDArray[np.float32]]:
    """Return the vectors of the sentences of each talk, from the encoder that meetings have."""
    encode = Encoder(ModelStore.from_environment().path(ENCODER), VECTORS, threads=2)
    try:
        return [encode([one.text for one in talk[0]]) for talk in talks]
    finally:
        encode.close()


def _centres(
    talks: Sequence[Labelled], vectors: Sequence[npt.NDArray[np.float32]]
) -> dict[str, npt.NDArray[np.float32]]:
    chinese = np.array([one.language == "zh" for talk in talks for one in talk[0]])
    every = np.concatenate(vectors)
    return {"centre_zh": every[chinese].mean(axis=0), "centre_en": every[~chinese].mean(axis=0)}


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
    talks = [*map(labelled, meetings), *pieces()]
    learned = learn(talks, encoded(talks))
    stored = {name: found.astype(np.float16) for name, found in learned.items()}
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(chosen.out, **stored)
    print(f"{chosen.out}: from {len(meetings)} meetings, {chosen.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
