"""Fit the score of sentences that decide, or give somebody something to do.

`python -m services.meeting.training.minutes.train --out FILE`, from the root of the repository. It
reads the talks beside it, the part `dev` of `tests/eval/meeting_scripts`, and the small pieces of
talk of the service's tests. `--without-held` leaves out some talks of the first hand, to look at
a fit on them; without it the weights that are shipped come out.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from atrium_meeting.domain.analysis.acts import ENCODER, PLACES, around, has_context, hashed
from atrium_meeting.domain.analysis.context import in_context
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
_FEW_ROUNDS: Final = 12
_DOUBT: Final = 50.0
"""That neighbours matter: for their weights to be others than those of no neighbours."""
_KEPT: Final = (0.1, 0.8)
"""Which part of what decides nothing is left in a denser meeting, from and to."""
_PLANTED: Final = 0.5
"""Which part of decisions and actions is left in a sparser one."""
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

Floats = npt.NDArray[np.float64]
Learned = dict[str, npt.NDArray[np.float32]]
"""Weights by the names under which the service keeps them, and the vectors that centre others."""

_FIRST_HAND: Final = ("fit", "fit_more", "held")
"""What the names of files end in that one person wrote; else it is the person."""
_KINDS: Final = ("", "_with_vectors")
_SOUGHT: Final = ("decision", "action")


@dataclass(frozen=True, eq=False)
class Talk:
    """What is learned from one talk.

    Args:
        hand: Who wrote it; "" for the first hand, which wrote the frozen test meetings as well,
            and for small pieces of talk, which are always learned from.
        sentences: Its sentences.
        reading: What is read of them.
        labels: Whether each decides, and whether it acts; shape (2, sentences).
        known: Which of the two is known.
        counts: How many times each sentence counts.
        meeting: With what was planted; `None` for a piece of talk.
    """

    hand: str
    sentences: Sequence[Sentence]
    reading: Reading
    labels: Floats
    known: tuple[bool, bool] = (True, True)
    counts: float = 1.0
    meeting: Meeting | None = None

    @cached_property
    def rows(self) -> Rows:
        """Features of its sentences, without vectors."""
        return Rows.of(self.reading)


def talks_of(meetings: Iterable[Meeting], hand: str) -> Iterator[Talk]:
    """Yield scripted meetings as they are learned from."""
    for meeting in meetings:
        talk = transcript(meeting)
        sentences = sentences_of(talk)
        said = [sentence.spans[0].utterance for sentence in sentences]
        labels = [
            [any(u in one.utterances for one in planted) for u in said]
            for planted in (meeting.decisions, meeting.actions)
        ]
        day = date.fromisoformat(meeting.date)
        reading = Reading(sentences, people_of(talk, sentences), day)
        yield Talk(hand, sentences, reading, np.array(labels, np.float64), meeting=meeting)


def pieces() -> Iterator[Talk]:
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
        labels = np.zeros((2, len(sentences)))
        labels[0 if deciding else 1] = marked
        reading = Reading(sentences, people_of(talk, sentences), date(2026, 3, 9))
        known = (deciding, not deciding)
        yield Talk("", sentences, reading, labels, known, _PIECES_COUNT)


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
    """Features of sentences: some of many, of which each has few, and some that all have.

    Args:
        sizes: How many of the many each has, shape (sentences,); none has no feature.
        places: Which they are, shape (features,).
        values: What they are, the same shape.
        dense: Those that all have, shape (sentences, 0 or more).
    """

    sizes: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    values: Floats
    dense: npt.NDArray[np.float32]

    @classmethod
    def of(cls, reading: Reading) -> Rows:
        """Return the features of the sentences of a talk."""
        rows = list(hashed(reading))
        return cls(
            np.array([len(row) for row in rows]),
            np.fromiter((place for row in rows for place in row), np.int64),
            np.fromiter((value for row in rows for value in row.values()), np.float64),
            np.zeros((len(rows), 0), np.float32),
        )

    @classmethod
    def joined(cls, rows: Sequence[Rows]) -> Rows:
        """Return the features of the sentences of several talks."""
        return cls(
            np.concatenate([one.sizes for one in rows]),
            np.concatenate([one.places for one in rows]),
            np.concatenate([one.values for one in rows]),
            np.concatenate([one.dense for one in rows]),
        )

    @property
    def width(self) -> int:
        """How many features there are."""
        return PLACES + self.dense.shape[1]

    def times(self, weights: Floats) -> Floats:
        """Return the log odds of each sentence: weights (width,) -> (sentences,)."""
        firsts = np.concatenate([[0], np.cumsum(self.sizes)[:-1]])
        few = np.add.reduceat(self.values * weights[self.places], firsts)
        return np.asarray(few + self.dense @ weights[PLACES:].astype(np.float32))

    def added(self, shares: Floats) -> Floats:
        """Return the sum of the features, each sentence so many times: -> (width,)."""
        worth = self.values * np.repeat(shares, self.sizes)
        few = np.bincount(self.places, worth, PLACES)
        return np.concatenate([few, shares.astype(np.float32) @ self.dense])


def fit(rows: Rows, labels: Floats, counts: Floats, start: Floats | None = None) -> Floats:
    """Return the weights of a logistic regression, by Newton's method.

    Each step is found by conjugate gradients (Lin, Weng and Keerthi, "Trust Region Newton Method
    for Large-Scale Logistic Regression", 2008), for which no matrix is ever made.

    Args:
        rows: Features.
        labels: 1 or 0 for each sentence.
        counts: How many times each sentence counts.
        start: Weights that are nearly right; ``None``: nothing is known.
    """
    penalty = _PENALTY * len(labels)
    weights = np.zeros(rows.width) if start is None else start.copy()
    for _ in range(_ROUNDS):
        sure = _share(rows.times(weights))
        spread = counts * np.maximum(sure * (1 - sure), 1e-4)
        slope = rows.added(counts * (labels - sure)) - penalty * weights
        step = _solved(lambda v, s=spread: rows.added(s * rows.times(v)) + penalty * v, slope)
        weights += step
        if np.abs(step).max() < _SMALL:
            break
    return weights


def _share(log_odds: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -30, 30))))


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


def varied(talks: Iterable[Talk]) -> Iterator[Talk]:
    """Yield each meeting twice more: with less talk in between, and with less of what is planted.

    Scripted meetings decide about as often as one another, and what is learned of neighbours would
    hold them to that.
    """
    chance = random.Random(0)
    for talk in talks:
        if talk.meeting is not None:
            yield from talks_of([_denser(talk.meeting, chance)], talk.hand)
            yield from talks_of([_sparser(talk.meeting, chance)], talk.hand)


def _denser(meeting: Meeting, chance: random.Random) -> Meeting:
    planted = {u for one in (*meeting.decisions, *meeting.actions) for u in one.utterances}
    share = chance.uniform(*_KEPT)
    said = [one for one in meeting.utterances if one.id in planted or chance.random() < share]
    return replace(meeting, utterances=tuple(said))


def _sparser(meeting: Meeting, chance: random.Random) -> Meeting:
    items = [*meeting.decisions, *meeting.actions]
    kept = {one.id for one in items if chance.random() < _PLANTED}
    left = {u for one in items if one.id in kept for u in one.utterances}
    gone = {u for one in items for u in one.utterances} - left
    return replace(
        meeting,
        utterances=tuple(one for one in meeting.utterances if one.id not in gone),
        decisions=tuple(one for one in meeting.decisions if one.id in kept),
        actions=tuple(one for one in meeting.actions if one.id in kept),
    )


class Training:
    """Learns from talks; vectors and features of each are made once.

    Args:
        talks: Of all hands.
        varied: The same meetings, made denser and sparser, from which is learned what a sentence
            is worth beside its neighbours.
    """

    def __init__(self, talks: Sequence[Talk], varied: Sequence[Talk]) -> None:
        self.talks, self.varied = talks, varied
        self.vectors = _encoded([*talks, *varied])
        chinese = np.array([one.language == "zh" for talk in talks for one in talk.sentences])
        every = np.concatenate([self.vectors[one] for one in talks])
        self.centres = {"zh": every[chinese].mean(axis=0), "en": every[~chinese].mean(axis=0)}
        self._rows: dict[str, dict[Talk, Rows]] = {"": {}, "_with_vectors": {}}
        for talk, vectors in self.vectors.items():
            dense = around(talk.sentences, vectors, self.centres)
            self._rows[""][talk] = talk.rows
            self._rows["_with_vectors"][talk] = replace(talk.rows, dense=dense)

    @cached_property
    def alone(self) -> dict[str, Floats]:
        """The weights of sentences by themselves."""
        return self._fit(None, {})

    @cached_property
    def alone_without(self) -> dict[str, dict[str, Floats]]:
        """The same, by the hand whose meetings they never saw."""
        hands = sorted({one.hand for one in self.talks})
        return {hand: self._fit(hand, self.alone) for hand in hands}

    def _fit(self, without: str | None, start: dict[str, Floats]) -> dict[str, Floats]:
        kept = [one for one in self.talks if one.meeting is None or one.hand != without]
        found = {}
        for kind in _KINDS:
            for which, name in enumerate(_SOUGHT):
                talks = [one for one in kept if one.known[which]]
                found[name + kind] = fit(
                    Rows.joined([self._rows[kind][one] for one in talks]),
                    np.concatenate([one.labels[which] for one in talks]),
                    np.concatenate([np.full(len(one.sentences), one.counts) for one in talks]),
                    start.get(name + kind),
                )
        return found

    def in_context(self, without: str | None = None) -> dict[str, Floats]:
        """Return the weights of sentences beside their neighbours.

        What they see of each hand's meetings are scores by weights that never saw that hand, for
        those of meetings to come will be of that kind.

        Args:
            without: A hand that is left out; ``None``: all are learned from.
        """
        found = {}
        talks = [one for one in (*self.talks, *self.varied) if one.meeting is not None]
        talks = [one for one in talks if has_context(one.reading) and one.hand != without]
        for kind in _KINDS:
            features = np.concatenate([self._seen(one, kind) for one in talks])
            for which, name in enumerate(_SOUGHT):
                labels = np.concatenate([one.labels[which] for one in talks])
                found[f"{name}_in_context{kind}"] = _fit_few(features, labels, 1 + which)
        return found

    def _seen(self, talk: Talk, kind: str) -> Floats:
        rows, weights = self._rows[kind][talk], self.alone_without[talk.hand]
        return in_context(*(rows.times(weights[name + kind]) for name in _SOUGHT))

    def learned(self, *found: dict[str, Floats]) -> Learned:
        """Return weights as the service has them, with what centres vectors."""
        every = {name: one for each in found for name, one in each.items()}
        every |= {f"centre_{language}": one for language, one in self.centres.items()}
        return {name: np.asarray(one, np.float32) for name, one in every.items()}


def _fit_few(features: Floats, labels: Floats, own: int) -> Floats:
    """Return the weights of a logistic regression of few features, by Newton's method.

    Args:
        features: Shape (sentences, features).
        labels: 1 or 0 for each sentence.
        own: Which feature is the sentence's own score: without reason to think otherwise, its
            weight is 1 and that of the others 0.
    """
    before = np.zeros(features.shape[1])
    before[own] = 1
    weights = before
    for _ in range(_FEW_ROUNDS):
        sure = _share(features @ weights)
        spread = np.maximum(sure * (1 - sure), 1e-6)
        bent = (features * spread[:, None]).T @ features + _DOUBT * np.eye(len(weights))
        slope = features.T @ (labels - sure) - _DOUBT * (weights - before)
        weights = weights + np.linalg.solve(bent, slope)
    return weights


def _encoded(talks: Sequence[Talk]) -> dict[Talk, npt.NDArray[np.float32]]:
    encode = Encoder(ModelStore.from_environment().path(ENCODER), VECTORS, threads=2)
    try:
        return {talk: encode([one.text for one in talk.sentences]) for talk in talks}
    finally:
        encode.close()


def all_talks(*, without_held: bool = False) -> list[Talk]:
    """Return what there is to learn from.

    Args:
        without_held: Leave out the first hand's meetings that a fit may be looked at with.
    """
    talks: list[Talk] = []
    for file in sorted(TALKS.glob("*.txt")):
        language, _, hand = file.stem.partition("_")
        if not (without_held and hand == "held"):
            hand = "" if hand in _FIRST_HAND else f"{language} {hand}"
            talks += talks_of(read(build([file])), hand)
    return [*talks, *talks_of(load("dev"), ""), *pieces()]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--without-held", action="store_true")
    chosen = parser.parse_args()
    talks = all_talks(without_held=chosen.without_held)
    training = Training(talks, list(varied(talks)))
    learned = training.learned(training.alone, training.in_context())
    stored = {name: found.astype(np.float16) for name, found in learned.items()}
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(chosen.out, **stored)
    meetings = sum(talk.meeting is not None for talk in training.talks)
    print(f"{chosen.out}: from {meetings} meetings, {chosen.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
