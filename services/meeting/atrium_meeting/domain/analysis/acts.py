"""Which sentences decide something, and which give somebody something to do: a learned score.

A logistic regression over cues, who speaks and who answers, the sentences around, and words with
the pairs and triples of them (in Chinese: characters), put into a fixed number of places by their
hash (Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", 2009). Where an
encoder is at hand, the vectors of the sentence and of its neighbours count as well: they know what
is said in words that nobody wrote down for training. Made by ``make train-minutes``; figures stand
beside the weights. Neither torch nor an encoder is needed.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

import numpy as np
import numpy.typing as npt

from atrium_meeting.domain.analysis import actions as acting
from atrium_meeting.domain.analysis import decisions as deciding
from atrium_meeting.domain.analysis.context import Floats, in_context
from atrium_meeting.domain.analysis.reading import Reading
from atrium_meeting.domain.analysis.sentences import Sentence

PLACES: Final = 1 << 13
"""Of hashed features."""
ENCODER: Final = "multilingual-e5-small"
"""Whose vectors the weights know; those of another encoder mean nothing to them."""
_AROUND: Final = ((0, 4.0), (-1, 2.8), (1, 2.8), (-2, 2.0), (2, 2.0))
"""Which neighbours' vectors count for a sentence, and how long each is made."""
_SIZES: Final = (3, 6, 10, 16, 25)
_SHORT: Final = 8
"""Sentences of so many words and fewer may be answers that come one after another."""
_ANSWERS: Final = 4
_FEW: Final = 12
"""Of so few sentences most say something: a short talk holds a decision oftener than not."""
_LONG: Final = 24
"""Of so many it is known how what is planted lies among the rest; shorter ones differ too much."""
_BEGINNING: Final = 3
"""Sentences in which people greet each other, or part."""
_STRONGEST: Final = 3.0
_FIRST_WORDS: Final = 6
"""Words of the sentences beside one that count for it."""


Vectors = npt.NDArray[np.float32]
"""Of the sentences of a meeting, shape (sentences, dimensions)."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What each feature is worth.

    Args:
        decision: For being part of a decision, shape (PLACES,), or with vectors
            (PLACES + 5 * dimensions,).
        action: For being part of an action, the same.
        decision_in_context: For the former beside its neighbours, as :mod:`context` has them.
        action_in_context: For the latter.
    """

    decision: npt.NDArray[np.float32]
    action: npt.NDArray[np.float32]
    decision_in_context: npt.NDArray[np.float32]
    action_in_context: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scores:
    """Log odds of each sentence.

    Args:
        decision: That it is part of a decision.
        action: That it is part of an action.
        decision_alone: The first, before its neighbours' scores are looked at.
        action_alone: The second, the same way.
    """

    decision: tuple[float, ...]
    action: tuple[float, ...]
    decision_alone: tuple[float, ...]
    action_alone: tuple[float, ...]


@cache
def weights(*, with_vectors: bool = False) -> Weights:
    """Return the weights that come with the service."""
    kind = "_with_vectors" if with_vectors else ""
    stored = _stored()
    return Weights(
        *(
            stored[f"{name}{kind}"]
            for name in ("decision", "action", "decision_in_context", "action_in_context")
        )
    )


@cache
def _stored() -> dict[str, npt.NDArray[np.float32]]:
    file = files("atrium_meeting.domain.analysis") / "models" / "acts.npz"
    with file.open("rb") as stream, np.load(stream) as stored:
        return {name: stored[name].astype(np.float32) for name in stored}


def centres() -> dict[str, npt.NDArray[np.float32]]:
    """Return the mean vector of what is said in "zh" and "en", by which vectors are centred."""
    stored = _stored()
    return {"zh": stored["centre_zh"], "en": stored["centre_en"]}


def understands(encoder: str, dimensions: int) -> bool:
    """Return whether the weights know the vectors of an encoder.

    Args:
        encoder: The name of its model.
        dimensions: Of its vectors; a server may give any model that name.
    """
    return encoder == ENCODER and dimensions == len(centres()["en"])


def score(reading: Reading, vectors: Vectors | None = None) -> Scores:
    """Return how sure it is of each sentence that it decides, or gives something to do.

    Args:
        reading: The sentences.
        vectors: Of each, as `ENCODER` makes them of passages; ``None`` without it.

    Raises:
        ValueError: There are more or fewer vectors than sentences.
    """
    learned = weights(with_vectors=vectors is not None)
    alone = _score_alone(reading, vectors, learned)
    scores = alone
    if has_context(reading):
        features = in_context(*alone)
        scores = features @ learned.decision_in_context, features @ learned.action_in_context
    decision, action, decision_alone, action_alone = (
        tuple(each.tolist()) for each in (*scores, *alone)
    )
    return Scores(decision, action, decision_alone, action_alone)


def has_context(reading: Reading) -> bool:
    """Return whether a talk is long enough for its sentences to be weighed by their neighbours."""
    return len(reading.sentences) >= _LONG


def _score_alone(
    reading: Reading, vectors: Vectors | None, learned: Weights
) -> tuple[Floats, Floats]:
    """Return both log odds of each sentence before its neighbours' scores are looked at.

    Args:
        reading: The sentences.
        vectors: Of each; ``None`` without the encoder, as the weights must be.
        learned: The weights.

    Raises:
        ValueError: There are more or fewer vectors than sentences.
    """
    rows = [
        (
            np.fromiter(row.keys(), dtype=np.int64, count=len(row)),
            np.fromiter(row.values(), dtype=np.float32, count=len(row)),
        )
        for row in hashed(reading)
    ]
    decision, action = (
        np.array([float(sought[places] @ values) for places, values in rows])
        for sought in (learned.decision, learned.action)
    )
    if vectors is not None and len(reading.sentences):
        dense = around(reading.sentences, vectors, centres())
        decision = decision + dense @ learned.decision[PLACES:]
        action = action + dense @ learned.action[PLACES:]
    return decision, action


def around(
    sentences: Sequence[Sentence], vectors: Vectors, centred_by: Mapping[str, Vectors]
) -> npt.NDArray[np.float32]:
    """Return the vectors of each sentence and of its neighbours, centred by language.

    Args:
        sentences: Of a meeting.
        vectors: Of each.
        centred_by: Mean vector of a language.

    Returns:
        Shape (sentences, 5 * dimensions).

    Raises:
        ValueError: There are more or fewer vectors than sentences.
    """
    if len(vectors) != len(sentences):
        raise ValueError(f"{len(vectors)} vectors for {len(sentences)} sentences")
    mean = np.stack([centred_by["zh" if one.language == "zh" else "en"] for one in sentences])
    own = vectors - mean
    own /= np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-6)
    far = max(step for step, _ in _AROUND)
    padded = np.pad(own, ((far, far), (0, 0)))
    count = len(sentences)
    return np.concatenate(
        [length * padded[far + step : far + step + count] for step, length in _AROUND], axis=1
    )


def hashed(reading: Reading) -> Iterator[dict[int, float]]:
    """Yield the features of each sentence by their places.

    Those of a short talk count twice, once as in any talk and once as in a short one: what is
    learned from long meetings holds there as far as short ones do not say otherwise (Daumé,
    "Frustratingly Easy Domain Adaptation", 2007).
    """
    kinds = ("", "short ") if len(reading.sentences) < _FEW else ("",)
    for features in _features(reading):
        row: dict[int, float] = {}
        for name, value in features:
            for kind in kinds:
                code = zlib.crc32(f"{kind}{name}".encode())
                place = code % PLACES
                row[place] = row.get(place, 0.0) + (value if code & 0x80000000 else -value)
        yield row


def _features(reading: Reading) -> Iterator[Iterator[tuple[str, float]]]:
    sentences = reading.sentences
    words = [reading.words(i) for i in range(len(sentences))]
    signs = [_signs(reading, i) for i in range(len(sentences))]
    chair = deciding.chair_of(sentences)
    for i in range(len(sentences)):
        yield _features_of(sentences, words, signs, chair, i)


def _features_of(
    sentences: Sequence[Sentence],
    words: Sequence[Sequence[str]],
    signs: Sequence[Sequence[str]],
    chair: str,
    i: int,
) -> Iterator[tuple[str, float]]:
    sentence = sentences[i]
    language = sentence.language
    yield f"any:{language}", 1.0
    yield "any", 2.0
    if len(sentences) < _FEW:
        yield f"few:{language}", 3.0
    for sign in signs[i]:
        yield f"sign:{sign}", 1.0
    for gram in _grams(words[i]):
        yield f"{language}:{gram}", 1.0
    yield f"first:{language}:{' '.join(words[i][:2])}", 1.0
    yield f"size:{_size(sentence)}", 1.0
    if sentence.speaker == chair:
        yield "chair", 1.0
    if i < _BEGINNING:
        yield "begin", 1.0
    if i >= len(sentences) - _BEGINNING:
        yield "end", 1.0
    for step in (-2, -1, 1, 2):
        j = i + step
        if not 0 <= j < len(sentences):
            yield f"none:{step}", 1.0
            continue
        side = f"{step}{'' if sentences[j].speaker == sentence.speaker else ' other'}"
        yield f"{side}:is", 1.0
        for sign in signs[j]:
            yield f"{side}:{sign}", 1.0
        if abs(step) == 1:
            for word in words[j][:_FIRST_WORDS]:
                yield f"{side}:{language}:{word}", 0.5
            yield f"{side}:size:{_size(sentences[j])}", 1.0
            if set(sentences[j].terms) & set(sentence.terms):
                yield f"{side}:shared", 1.0
    after = _answerers(sentences, i, range(i + 1, min(i + 1 + _ANSWERS, len(sentences))))
    before = _answerers(sentences, i, range(i - 1, max(-1, i - 1 - _ANSWERS), -1))
    strength = deciding.strength_of(sentences, i, chair)
    if strength > -math.inf:
        yield "rule", 1.0
        yield "rule:strength", max(-_STRONGEST, min(_STRONGEST, strength)) / 2
    yield f"after:{after}", 1.0
    yield f"before:{before}", 1.0


def _signs(reading: Reading, i: int) -> list[str]:
    """Return what the rules see of a sentence alone."""
    sentence = reading.sentences[i]
    language = "zh" if sentence.language == "zh" else "en"
    found = [
        f"{kind}:{name}"
        for kind, cues in (("decision", deciding.CUES), ("action", acting.CUES))
        for name, cue in cues[language].items()
        if cue.search(sentence.folded)
    ]
    if sentence.is_question:
        found.append("question")
    dues = reading.dues(i)
    if dues:
        found.append("day")
    if any(due.deadline for due in dues):
        found.append("deadline")
    following = reading.sentences[i + 1].speaker if i + 1 < len(reading.sentences) else ""
    for mention in reading.mentions(i):
        if mention.person.speaker == sentence.speaker:
            found.append("names self")
        elif mention.person.speaker:
            found.append("names speaker")
            if mention.person.speaker == following:
                found.append("names next")
        else:
            found.append("names other")
        if mention.start <= 1:
            found.append("begins with name")
    return list(dict.fromkeys(found))


def _size(sentence: Sentence) -> int:
    return sum(sentence.size > size for size in _SIZES)


def _answerers(sentences: Sequence[Sentence], i: int, near: Sequence[int]) -> int:
    """Return how many others say something short, one after another; 3 for more."""
    found: set[str] = set()
    for j in near:
        if sentences[j].size > _SHORT or sentences[j].is_question:
            break
        if sentences[j].speaker != sentences[i].speaker:
            found.add(sentences[j].speaker)
    return min(len(found), 3)


def _grams(words: Sequence[str]) -> Iterator[str]:
    seen: set[str] = set()
    for size in (1, 2, 3):
        for begin in range(len(words) - size + 1):
            gram = " ".join(words[begin : begin + size])
            if gram not in seen:
                seen.add(gram)
                yield gram
