"""Classify where a route leads to a trained classifier. With other encoders: test_model_calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import pytest

from atrium_gateway.adapters.scripted_backend import ScriptedBackend
from atrium_gateway.app.audit_calls import AuditCalls
from atrium_gateway.app.caller import Caller
from atrium_gateway.app.classify_texts import ClassifyTexts, Label
from atrium_gateway.app.ports import Classification, Embedding, TextKind
from atrium_gateway.domain.errors import (
    LabelRepeated,
    LabelUnknown,
    LabelWithoutMeaning,
    ModelUnavailable,
)
from atrium_gateway.domain.models import READY, Capability, ModelStatus
from atrium_gateway.domain.similarity import SimilarityScale
from atrium_shared.audit import MemoryAuditSink
from atrium_shared.engines import Engine, EngineKind, Usage
from atrium_shared.principal import AllowSet, Principal


class FakeClassifier:
    """Finds the label whose first letter a text begins with."""

    similarity_scale = SimilarityScale(0.0, 1.0)

    def __init__(self, *labels: str) -> None:
        self._labels = labels

    async def labels(self) -> tuple[str, ...]:
        return self._labels

    async def status(self) -> ModelStatus:
        return READY

    async def embed(self, texts: Sequence[str], kind: TextKind) -> Embedding:
        return Embedding(np.ones((len(texts), 4), np.float32) / 2, len(texts), [False] * len(texts))

    async def classify(self, texts: Sequence[str]) -> Classification:
        found = np.array([[text[0] == label[0] for label in self._labels] for text in texts])
        return Classification(self._labels, np.where(found, 0.8, 0.1).astype(np.float32), 7)


class AwayClassifier(FakeClassifier):
    """Cannot be used now."""

    async def classify(self, texts: Sequence[str]) -> Classification:
        raise ModelUnavailable("models/adapters/risk", "it is being loaded")


class OneEncoder:
    """Dispatch to one encoder."""

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder

    async def encode(
        self,
        caller: Caller,
        capability: Capability,
        run: Callable[[Any], Awaitable[Any]],
        most_tokens: int,
    ) -> Any:
        result, tokens = await run(self._encoder)
        assert tokens <= most_tokens
        return result, Engine(EngineKind.ENCODER, "fake", "m"), Usage(encoder_tokens=tokens)


CALLER = Caller(Principal("acme", "users/lin", None, AllowSet(), "apiKeys/k1"), "contract.risk")


def classify(encoder: Any) -> ClassifyTexts:
    dispatch: Any = OneEncoder(encoder)
    return ClassifyTexts(dispatch, AuditCalls(MemoryAuditSink()))


async def test_a_label_that_the_classifier_does_not_know_is_named_with_those_that_it_does() -> None:
    with pytest.raises(LabelUnknown, match="It knows: high, low") as caught:
        await classify(FakeClassifier("high", "low"))(CALLER, ["x"], [Label("low"), Label("odd")])
    assert caught.value.reason == "LABEL_UNKNOWN"
    assert caught.value.field == "labels[1].id"
    assert caught.value.metadata == {"label": "odd"}


async def test_a_label_given_twice_is_refused_here_too() -> None:
    with pytest.raises(LabelRepeated):
        await classify(FakeClassifier("high", "low"))(CALLER, ["x"], [Label("low"), Label("low")])


@pytest.mark.parametrize("encoder", [FakeClassifier(), ScriptedBackend()])
async def test_labels_need_a_meaning_where_nothing_was_trained_on_them(encoder: Any) -> None:
    with pytest.raises(LabelWithoutMeaning):
        await classify(encoder)(CALLER, ["x"], [Label("low")])


async def test_a_trained_classifier_needs_no_meaning_and_answers_for_the_labels_asked() -> None:
    classifier = FakeClassifier("high", "low", "none")
    asked = [Label("none"), Label("low", description="little to lose"), Label("high")]
    made = await classify(classifier)(CALLER, ["lost", "no"], asked)
    lost, no = made.results
    assert [score.label for score in lost] == ["low", "none", "high"]
    assert [score.label for score in no] == ["none", "low", "high"]
    assert lost[0].score == pytest.approx(0.8)
    assert made.usage == Usage(encoder_tokens=7)
    two = await classify(classifier)(CALLER, ["lost"], asked[1:])
    assert [score.label for score in two.results[0]] == ["low", "high"]


async def test_while_the_classifier_is_away_labels_without_meaning_can_be_asked_again() -> None:
    away = AwayClassifier("high", "low")
    with pytest.raises(ModelUnavailable):
        await classify(away)(CALLER, ["x"], [Label("low"), Label("high")])
    told = [Label("low", description="little"), Label("high", examples=("much to lose",))]
    made = await classify(away)(CALLER, ["much to lose"], told)
    assert made.engine.degraded
    assert made.results[0][0].label == "high"
