"""Puts texts into classes that are told by words or by examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from atrium_gateway.app.audit_calls import AuditCalls
from atrium_gateway.app.caller import Caller
from atrium_gateway.app.dispatch import Dispatch
from atrium_gateway.app.ports import ClassifierBackend, EncoderBackend, TextKind
from atrium_gateway.domain import lexical
from atrium_gateway.domain.errors import LabelRepeated, LabelUnknown, LabelWithoutMeaning
from atrium_gateway.domain.models import Capability
from atrium_gateway.domain.tokens import most_encoder_tokens
from atrium_shared.engines import NO_USAGE, Engine, EngineKind, Usage
from atrium_shared.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Label:
    """A class.

    Attributes:
        id: What comes back.
        description: What belongs to it, in words; may be empty.
        examples: Texts that belong to it.
    """

    id: str
    description: str = ""
    examples: tuple[str, ...] = ()

    @property
    def texts(self) -> list[str]:
        """Everything that tells what it means."""
        return [text for text in (self.description, *self.examples) if text.strip()]


@dataclass(frozen=True, slots=True)
class LabelScore:
    """How well a label fits, 0 to 1."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Classified:
    """For each text all labels, best first; what said so and what it cost."""

    results: list[list[LabelScore]]
    engine: Engine
    usage: Usage


class ClassifyTexts:
    """Use case of ``Classify``: a trained classifier, or the likeness to what tells a label.

    Where a route leads to a tenant's adapter with a classifier, that one says how well its labels
    fit, and the request chooses among them. With any other encoder a label's score is that of the
    most alike of its description and examples: examples of one label often differ more among
    themselves than from another label's, so their mean says less. Cosines become 0 to 1 on the
    encoder's own scale. Without an encoder that answers, shared words decide.

    Args:
        dispatch: Runs the call on an encoder.
        audit: Records it.
    """

    def __init__(self, dispatch: Dispatch, audit: AuditCalls) -> None:
        self._dispatch = dispatch
        self._audit = audit

    async def __call__(
        self, caller: Caller, texts: Sequence[str], labels: Sequence[Label]
    ) -> Classified:
        """Return for each text all labels, best first; equal ones in the order of the request.

        Raises:
            LabelWithoutMeaning: A label has neither description nor example, and no trained
                classifier knows it.
            LabelUnknown: The tenant's classifier knows no such label.
            LabelRepeated: Two labels have the same id.
            Unavailable: No model answers, and a label has no meaning to go by.
            AtriumError: See :meth:`Dispatch.encode`.
        """
        _check_ids(labels)
        meanings = [text for label in labels for text in label.texts]
        starts = np.cumsum([0, *(len(label.texts) for label in labels[:-1])])

        async def run(encoder: EncoderBackend) -> tuple[list[list[float]], int]:
            if isinstance(encoder, ClassifierBackend) and await encoder.labels():
                return await _by_classifier(encoder, texts, labels)
            _check_meanings(labels)
            # Both sides say things, neither asks: the same mark on both makes them comparable.
            told = await encoder.embed(meanings, TextKind.QUERY)
            given = await encoder.embed(texts, TextKind.QUERY)
            best = np.maximum.reduceat(given.vectors @ told.vectors.T, starts, axis=1)
            fit = encoder.similarity_scale.fit
            return [[fit(cosine) for cosine in row] for row in best.tolist()], (
                told.tokens + given.tokens
            )

        async with self._audit.call(caller, "gateway.Classify") as call:
            try:
                rows, engine, usage = await self._dispatch.encode(
                    caller, Capability.CLASSIFY, run, most_encoder_tokens([*meanings, *texts])
                )
            except Unavailable as error:
                if not all(label.texts for label in labels):
                    raise  # a classifier that will be back may know these without
                rows, usage = [_by_words(text, labels) for text in texts], NO_USAGE
                engine = Engine(EngineKind.RULES, "atrium").degraded_because(error.message)
            call.answered(engine, usage)
        return Classified([_ordered(labels, row) for row in rows], engine, usage)


def _check_meanings(labels: Sequence[Label]) -> None:
    for index, label in enumerate(labels):
        if not label.texts:
            raise LabelWithoutMeaning(index, label.id)


def _check_ids(labels: Sequence[Label]) -> None:
    seen = set()
    for index, label in enumerate(labels):
        if label.id in seen:
            raise LabelRepeated(index, label.id)
        seen.add(label.id)


async def _by_classifier(
    classifier: ClassifierBackend, texts: Sequence[str], labels: Sequence[Label]
) -> tuple[list[list[float]], int]:
    made = await classifier.classify(texts)
    for index, label in enumerate(labels):
        if label.id not in made.labels:
            raise LabelUnknown(index, label.id, made.labels)
    places = [made.labels.index(label.id) for label in labels]
    return made.scores[:, places].tolist(), made.tokens


def _by_words(text: str, labels: Sequence[Label]) -> list[float]:
    return [max(lexical.likeness(text, told) for told in label.texts) for label in labels]


def _ordered(labels: Sequence[Label], scores: Sequence[float]) -> list[LabelScore]:
    pairs = [LabelScore(label.id, score) for label, score in zip(labels, scores, strict=True)]
    return sorted(pairs, key=lambda pair: -pair.score)
