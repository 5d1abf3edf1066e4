"""Fit the few weights with which knowledge matches restricted topics, and print them.

    python -m services.knowledge.training.fit_topics

Data: the tuning split of ``tests/eval/refusals`` and the development questions over the sample
handbook (``tests/eval/demo_answers``), each question against every topic of its collection. Never a
test split. Needs encoder and reader (``ATRIUM_MODELS_DIR``). How the questions of one collection
fare with weights fitted on the others is printed for several thresholds; the weights, fitted on
all, belong into ``domain/topics.py``. How these fare on the organisations of ``topics/`` that
nothing was trained on is printed too: harder, nearly all of what is open there is a near miss.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrium_gateway.domain.reading import Relation
from atrium_knowledge.domain.answering.evidence import scaled_log_odds
from atrium_knowledge.domain.answering.questions import understand
from atrium_knowledge.domain.topics import (
    CompiledTopic,
    TopicMatcher,
    topic_to_read,
)
from atrium_suite.demo.handbook import load_handbook
from tests.eval.demo_answers.train import development_questions, logistic
from tests.eval.refusals.questions import read_organisations, read_questions

from .holding_out import held_out
from .models import Encoder, Reader
from .prepare_reader import json_lines

NAMES = ("bias", "reading", "near", "near_three", "words", "side")
USED = {
    "_READER_WEIGHTS": ("bias", "reading", "near", "near_three", "words", "side"),
    "_READER_WORD_WEIGHTS": ("bias", "reading", "words"),
    "_WEIGHTS": ("bias", "near", "near_three", "words", "side"),
    "_WORD_WEIGHTS": ("bias", "words"),
}
THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
PENALTY = 0.5
WRITTEN = Path(__file__).parent / "topics"
QUESTIONS_A_SIDE = 5
"""Questions of each kept topic, inside and outside."""


@dataclass(frozen=True)
class Case:
    """A question with its views of every topic of its collection."""

    collection: str
    views: NDArray[np.float64]
    """(topics, len(NAMES))."""
    countered: NDArray[np.bool_]
    right: NDArray[np.bool_]
    """(topics,) at most one True."""


def compiled(topic: object, encode: Encoder) -> CompiledTopic:
    """Return a topic (a mapping or a message) with its vectors."""
    get = topic.get if isinstance(topic, dict) else lambda name: getattr(topic, name)
    examples, counters = tuple(get("examples")), tuple(get("counter_examples"))
    description = str(get("description"))
    return CompiledTopic(
        id=str(get("id")),
        description=description,
        labels=frozenset(get("labels")),
        refusals=dict(get("refusals")),
        examples=examples,
        counter_examples=counters,
        vectors=encode([description, *examples], "query"),
        counter_vectors=encode(counters, "query") if counters else None,
    )


def case(
    collection: str,
    question: str,
    topic: str | None,
    topics: Sequence[CompiledTopic],
    encode: Encoder,
    reader: Reader,
) -> Case:
    """Look at a question from all sides."""
    considered = TopicMatcher().consider(
        understand(question), encode([question], "query")[0], topics
    )
    rows = []
    for one, views in considered.viewed:
        log_odds = max(
            float(row[0]) for row in reader(question, topic_to_read(one), Relation.CONCERNS)
        )
        reading = float(scaled_log_odds(np.array([log_odds]))[0])
        rows.append([1.0, reading, *views.features])
    return Case(
        collection,
        np.array(rows),
        np.array([views.countered for _, views in considered.viewed]),
        np.array([one.id == topic for one, _ in considered.viewed]),
    )


def kept_cases(encode: Encoder, reader: Reader) -> Iterator[Case]:
    """Yield questions about organisations that the reader's training leaves out."""
    organisations: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for file in sorted(WRITTEN.glob("topics_*.jsonl")):
        for one in json_lines(file):
            if held_out(one["organisation"]):
                organisations[one["organisation"]].append(one)
    for organisation, written in sorted(organisations.items()):
        topics = [compiled(_as_declared(one), encode) for one in written]
        for one in written:
            chance = random.Random(one["id"])
            for side, topic in (("inside", one["id"]), ("outside", None)):
                for asked in chance.sample(one[side], QUESTIONS_A_SIDE):
                    yield case(organisation, asked["question"], topic, topics, encode, reader)


def _as_declared(written: dict[str, Any]) -> dict[str, Any]:
    """Return a written topic as an administrator has it: in one language, with some examples."""
    chance = random.Random(written["id"])
    counters = written.get("counter_examples", [])
    return {
        "id": written["id"],
        "description": written["description"][chance.choice(("en", "zh"))],
        "examples": chance.sample(written["examples"], 4),
        "counter_examples": chance.sample(counters, min(chance.randint(0, 3), len(counters))),
        "labels": [],
        "refusals": {},
    }


def fit(cases: Sequence[Case], names: Sequence[str]) -> NDArray[np.float64]:
    """Return weights of a logistic regression over (question, topic) pairs."""
    columns = [NAMES.index(name) for name in names]
    features = np.concatenate([one.views[:, columns] for one in cases])
    right = np.concatenate([one.right for one in cases]).astype(float)
    return logistic(features, right, np.ones(len(right)), PENALTY)


def judge(
    cases: Sequence[Case], scored: Sequence[NDArray[np.float64]], threshold: float
) -> tuple[float, float]:
    """Return which share of restricted and of other questions is refused."""
    restricted, refused, others, wrongly = 0, 0, 0, 0
    for one, scores in zip(cases, scored, strict=True):
        matched = bool(((scores >= threshold) & ~one.countered).any())
        if one.right.any():
            restricted += 1
            refused += matched
        else:
            others += 1
            wrongly += matched
    return refused / max(restricted, 1), wrongly / max(others, 1)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=Path("var/eval/training-vectors.db"))
    chosen = parser.parse_args()
    encode, reader = Encoder(chosen.cache), Reader(chosen.cache)
    cases = []
    handbook = [compiled(topic, encode) for topic in load_handbook().topics]
    for asked in development_questions():
        if asked["user"] == "lin.hr":
            continue  # who may ask is answered, so nothing tells the topic of the question
        cases.append(case("handbook", asked["question"], asked["topic"], handbook, encode, reader))
    topics = {
        one.id: [compiled(topic, encode) for topic in one.topics] for one in read_organisations()
    }
    for tune in read_questions("tune"):
        cases.append(
            case(
                tune.organisation,
                tune.question,
                tune.topic,
                topics[tune.organisation],
                encode,
                reader,
            )
        )
    kept = list(kept_cases(encode, reader))
    encode.close()
    reader.close()
    collections = sorted({one.collection for one in cases})
    for name, names in USED.items():
        columns = [NAMES.index(one) for one in names]
        tested: list[Case] = []
        scored = []
        for collection in collections:
            weights = fit([one for one in cases if one.collection != collection], names)
            for one in cases:
                if one.collection == collection:
                    tested.append(one)
                    scored.append(1 / (1 + np.exp(-(one.views[:, columns] @ weights))))
        shipped = fit(cases, names)
        print(name, [round(float(weight), 2) for weight in shipped])
        unseen = [1 / (1 + np.exp(-(one.views[:, columns] @ shipped))) for one in kept]
        for threshold in THRESHOLDS:
            refused, wrongly = judge(tested, scored, threshold)
            harder, no_less = judge(kept, unseen, threshold)
            print(
                f"  {threshold:.1f}: restricted refused {refused:.3f}, others {wrongly:.3f}; "
                f"kept organisations {harder:.3f}, {no_less:.3f} of {len(kept)}"
            )


if __name__ == "__main__":
    main()
