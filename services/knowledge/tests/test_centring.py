"""Vectors without their language."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest

from atrium_knowledge.app.centred_embedder import CentredEmbedder
from atrium_knowledge.domain.centring import LanguageCentre, chinese_share
from atrium_knowledge.domain.parallel_sentences import PARALLEL_SENTENCES
from atrium_shared.engines import Engine, EngineKind
from atrium_shared.models import Embedding
from atrium_shared.principal import AllowSet, Principal

ASKER = Principal(
    tenant="t", actor="users/a", on_behalf_of=None, allow_set=AllowSet([]), credential="k"
)


class TwoClouds:
    """An encoder that sees the language first, and a little of the subject."""

    def __init__(self) -> None:
        self.calls = 0

    async def embed(
        self, principal: Principal, texts: Sequence[str], kind: Literal["query", "passage"]
    ) -> Embedding:
        self.calls += 1
        rows = []
        for text in texts:
            row = np.zeros(4, dtype=np.float32)
            row[0 if chinese_share(text) > 0.5 else 1] = 1.0
            row[2] = 0.1 if "dog" in text or "狗" in text else -0.1
            rows.append(row / np.linalg.norm(row))
        return Embedding(np.array(rows), len(texts), Engine(EngineKind.ENCODER, "fake", "clouds"))


async def test_a_question_is_nearer_to_its_subject_than_to_its_language() -> None:
    embedder = CentredEmbedder(TwoClouds())
    (question,) = (await embedder.embed(ASKER, ["Where is the dog?"], "query")).vectors
    texts = ["狗在院子里", "The contract is signed."]
    same_subject, same_language = (await embedder.embed(ASKER, texts, "passage")).vectors
    assert question @ same_subject > 0.9 > question @ same_language


async def test_the_centre_is_measured_once_however_many_ask_at_a_time() -> None:
    inner = TwoClouds()
    embedder = CentredEmbedder(inner)
    await asyncio.gather(*(embedder.embed(ASKER, ["dog"], "query") for _ in range(5)))
    assert inner.calls == 5 + 4
    again = await embedder.embed(ASKER, ["dog"], "query")
    assert again.tokens == 1


async def test_the_first_caller_is_charged_for_the_measurement() -> None:
    first = await CentredEmbedder(TwoClouds()).embed(ASKER, ["dog"], "query")
    assert first.tokens == 1 + 2 * len(PARALLEL_SENTENCES)


def test_centred_vectors_have_length_one() -> None:
    centre = LanguageCentre.of([np.array([1, 0], np.float32)], [np.array([0, 1], np.float32)])
    vectors = np.array([[0.6, 0.8], [1.0, 0.0]], np.float32)
    lengths = np.linalg.norm(centre.centred(vectors, ["mixed 中文 words", "en"]), axis=1)
    assert lengths == pytest.approx([1, 1])


@pytest.mark.parametrize(
    ("text", "share"), [("", 0), ("word", 0), ("中文字", 1), ("中文字 a b", 0.5)]
)
def test_the_share_of_chinese_is_by_words(text: str, share: float) -> None:
    assert chinese_share(text) == share
