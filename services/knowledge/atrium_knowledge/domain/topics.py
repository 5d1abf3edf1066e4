"""Restricted topics: is a question about a subject that not everybody may ask about?

The question alone decides, so deleting the hidden documents changes no refusal. Up to four views
are weighed by a logistic model: what a reader says of the question beside the topic's description
and examples, how near the question is to the examples, which side of a kernel ridge classifier
between examples and counter-examples it falls on (Saunders et al., "Ridge Regression Learning
Algorithm in Dual Variables", 1998), and which share of its words, weighted by rarity among the
topic's own texts, one example has. A question that is clearly nearer to a counter-example is never
of the topic. Without a reader the others decide, without vectors the words alone.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from atrium_grounding.lexicon import Slot, lexicon
from atrium_grounding.matching import Folded, mentions
from atrium_knowledge.domain.answering.evidence import scaled_log_odds
from atrium_knowledge.domain.answering.extraction import PassageToRead
from atrium_knowledge.domain.answering.questions import Question

# Fitted by services/knowledge/training/fit_topics.py, which prints how each fares on organisations
# that it was not fitted on. Weights of bias, (reading,) best and mean-of-three similarity, words,
# side.
_READER_WEIGHTS: Final = (-4.51, 3.69, 2.54, 1.2, 1.8, 2.05)
_READER_WORD_WEIGHTS: Final = (-3.13, 4.14, 2.64)
_WEIGHTS: Final = (-7.47, 6.97, 5.66, 1.32, 5.49)
_WORD_WEIGHTS: Final = (-3.42, 6.17)
_READER_THRESHOLD: Final = 0.5
_THRESHOLD: Final = 0.4
_WORD_THRESHOLD: Final = 0.35
_NEARER_TO_COUNTER_EXAMPLE: Final = 0.10
_MORE_WORDS_OF_COUNTER_EXAMPLE: Final = 0.02
_RIDGE: Final = 1.0
_RIDGE_BIAS: Final = 0.3
_TOPICS_KEPT: Final = 1000
_MOST_TOPICS_READ: Final = 16
_EXAMPLES_AT_ONCE: Final = 4
"""What the reader was trained to see of a topic."""
TOPIC_HEADING: Final = "topic"
"""Tells the reader that a topic follows, not a passage."""


@dataclass(frozen=True, slots=True, eq=False)
class CompiledTopic:
    """A restricted topic with the vectors of its texts."""

    id: str
    description: str
    labels: frozenset[str]
    """Who may read any of these labels may ask."""
    refusals: dict[str, str]
    """Words of the refusal by language."""
    examples: tuple[str, ...]
    counter_examples: tuple[str, ...]
    vectors: NDArray[np.float32] | None
    """(1 + examples, dimensions): description, then examples; ``None`` without an encoder."""
    counter_vectors: NDArray[np.float32] | None
    """(counter-examples, dimensions); ``None`` without an encoder."""

    def refusal(self, language: str) -> str:
        """Return the words of the refusal: in ``language``, else in English, else any."""
        words = self.refusals.get(language) or self.refusals.get("en")
        return words or next(iter(self.refusals.values()))


@dataclass(frozen=True, slots=True)
class TopicMatch:
    """A topic that a question is about."""

    topic: CompiledTopic
    score: float
    """0 to 1."""


class _Words:
    """The words of a topic's texts; how rare a word is among them tells how much it says."""

    def __init__(self, topic: CompiledTopic) -> None:
        self._examples = [Folded(text) for text in (topic.description, *topic.examples)]
        self._counters = [Folded(text) for text in topic.counter_examples]

    def shares(self, slots: Sequence[Slot]) -> tuple[float, float]:
        """Return the largest share of the question's words in an example and a counter-example."""
        if not slots:
            return 0.0, 0.0
        texts = [*self._examples, *self._counters]
        found = np.array([[mentions(slot, text) for slot in slots] for text in texts])
        frequency = (found > 0).sum(axis=0)
        rarity = np.log(1 + (len(texts) - frequency + 0.5) / (frequency + 0.5))
        shares = found @ rarity / rarity.sum()
        middle = len(self._examples)
        return float(shares[:middle].max()), float(shares[middle:].max(initial=0.0))


class _Ridge:
    """Examples against counter-examples, both sides of equal weight."""

    def __init__(self, examples: NDArray[np.float32], counters: NDArray[np.float32]) -> None:
        self._texts = np.vstack([examples, counters])
        sides = np.r_[np.ones(len(examples)), -np.ones(len(counters))]
        share = np.where(sides > 0, 1 / max(len(examples), 1), 1 / max(len(counters), 1))
        weights = share * len(sides) / 2
        kernel = self._texts @ self._texts.T + _RIDGE_BIAS
        self._alphas = np.linalg.solve(kernel + _RIDGE * np.diag(1 / weights), sides)

    def side(self, question: NDArray[np.float32]) -> float:
        """Return about 1 for a question like the examples and -1 for one like the others."""
        return float((self._texts @ question + _RIDGE_BIAS) @ self._alphas)


@dataclass(frozen=True, slots=True)
class Views:
    """What is known of a question and a topic without a reader."""

    words: float
    counter_words: float
    near: float
    near_three: float
    near_counter: float
    side: float
    has_vectors: bool

    @property
    def countered(self) -> bool:
        """Whether the question is clearly nearer to a counter-example."""
        if not self.has_vectors:
            return self.counter_words - self.words > _MORE_WORDS_OF_COUNTER_EXAMPLE
        return self.near_counter - self.near > _NEARER_TO_COUNTER_EXAMPLE

    @property
    def features(self) -> tuple[float, ...]:
        """What is weighed when there are vectors."""
        return (self.near, self.near_three, self.words, self.side)

    @property
    def score(self) -> float:
        """How surely the topic is meant, 0 to 1."""
        if not self.has_vectors:
            return _logistic(_WORD_WEIGHTS, (1.0, self.words))
        return _logistic(_WEIGHTS, (1.0, *self.features))


def topic_text(description: str, examples: Sequence[str], counter_examples: Sequence[str]) -> str:
    """Return a topic as the reader sees it."""
    counters = [f"not: {text}" for text in counter_examples]
    return "\n".join([description, *examples, *counters])


def topic_texts(topic: CompiledTopic) -> list[str]:
    """Return the readings of a topic: its description with a few examples of each kind at a time.

    The question is about the topic when any of them says so.
    """
    some, others = topic.examples, topic.counter_examples
    parts = max(-(-len(some) // _EXAMPLES_AT_ONCE), 1)
    return [
        topic_text(
            topic.description,
            some[part * _EXAMPLES_AT_ONCE : (part + 1) * _EXAMPLES_AT_ONCE],
            [
                others[(part * _EXAMPLES_AT_ONCE + i) % len(others)]
                for i in range(min(_EXAMPLES_AT_ONCE, len(others)))
            ],
        )
        for part in range(parts)
    ]


def topic_to_read(topic: CompiledTopic) -> list[PassageToRead]:
    """Return what a reader is asked about a topic; the question is about it when any says so."""
    return [PassageToRead(TOPIC_HEADING, text, ((0, len(text)),)) for text in topic_texts(topic)]


class Considered:
    """A question before the topics of its collection.

    Attributes:
        viewed: Every topic with what is known of it and the question.
        topics: Those that a reader is to be asked about, at most sixteen.
    """

    def __init__(self, viewed: Sequence[tuple[CompiledTopic, Views]]) -> None:
        self.viewed = viewed
        likely = sorted(viewed, key=lambda one: -one[1].score)[:_MOST_TOPICS_READ]
        self.topics = [topic for topic, _ in likely]

    def match(self, readings: Sequence[float] | None) -> TopicMatch | None:
        """Return the topic that the question is about, or ``None``.

        Args:
            readings: For each of `topics` the log-odds that the question is about it, the greatest
                of its `topic_texts`; ``None`` without a reader.
        """
        log_odds = dict(zip(map(id, self.topics), readings, strict=True)) if readings else None
        best: TopicMatch | None = None
        for topic, views in self.viewed:
            score = self._score(views, None if log_odds is None else log_odds.get(id(topic)))
            if (
                not views.countered
                and score >= self._threshold(views, log_odds is not None)
                and (best is None or score > best.score)
            ):
                best = TopicMatch(topic, score)
        return best

    def _threshold(self, views: Views, read: bool) -> float:
        if read:
            return _READER_THRESHOLD
        return _THRESHOLD if views.has_vectors else _WORD_THRESHOLD

    def _score(self, views: Views, log_odds: float | None) -> float:
        if log_odds is None:
            return views.score
        reading = float(scaled_log_odds(np.array([log_odds]))[0])
        if not views.has_vectors:
            return _logistic(_READER_WORD_WEIGHTS, (1.0, reading, views.words))
        return _logistic(_READER_WEIGHTS, (1.0, reading, *views.features))


class TopicMatcher:
    """Finds the topic of a question. What it learns of a topic is kept while the topic is used."""

    def __init__(self) -> None:
        self._learned: OrderedDict[int, tuple[CompiledTopic, _Words, _Ridge | None]] = OrderedDict()

    def consider(
        self,
        question: Question,
        question_vector: NDArray[np.float32] | None,
        topics: Sequence[CompiledTopic],
    ) -> Considered:
        """Look at a question from all sides but a reader's.

        Args:
            question: From `understand`.
            question_vector: (dimensions,), length 1, in the space of the topics' vectors; ``None``
                without an encoder.
            topics: Those of the collection.
        """
        # "How much is" and "多少" are in every question; what is asked about is in the rest.
        # Nor does a code such as "P5" or a number tell what it is about.
        slots = [
            slot
            for slot in lexicon().slots(question.content)
            if not any(character.isdigit() for character in slot.surface)
        ]
        return Considered([(one, self._views(one, slots, question_vector)) for one in topics])

    def _views(
        self, topic: CompiledTopic, slots: Sequence[Slot], vector: NDArray[np.float32] | None
    ) -> Views:
        words, ridge = self._learn(topic)
        like_example, like_counter = words.shares(slots)
        if vector is None or topic.vectors is None or ridge is None:
            return Views(like_example, like_counter, 0.0, 0.0, 0.0, 0.0, has_vectors=False)
        near = np.sort(topic.vectors @ vector)[::-1]
        counters = topic.counter_vectors
        nearest_counter = (
            float((counters @ vector).max()) if counters is not None and len(counters) else -1.0
        )
        return Views(
            like_example,
            like_counter,
            float(near[0]),
            float(near[:3].mean()),
            nearest_counter,
            ridge.side(vector),
            has_vectors=True,
        )

    def _learn(self, topic: CompiledTopic) -> tuple[_Words, _Ridge | None]:
        known = self._learned.get(id(topic))
        if known is not None and known[0] is topic:
            self._learned.move_to_end(id(topic))
            return known[1], known[2]
        ridge = None
        if topic.vectors is not None:
            counters = topic.counter_vectors
            if counters is None:
                counters = np.empty((0, topic.vectors.shape[1]), dtype=np.float32)
            ridge = _Ridge(topic.vectors, counters)
        words = _Words(topic)
        self._learned[id(topic)] = (topic, words, ridge)
        if len(self._learned) > _TOPICS_KEPT:
            self._learned.popitem(last=False)
        return words, ridge


def _logistic(weights: Sequence[float], features: Sequence[float]) -> float:
    return 1 / (1 + math.exp(-sum(w * f for w, f in zip(weights, features, strict=True))))
