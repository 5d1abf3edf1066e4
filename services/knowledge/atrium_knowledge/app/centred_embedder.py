"""Sentence vectors without their language, so that question and passage may differ in it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal

from atrium_knowledge.domain.centring import LanguageCentre
from atrium_knowledge.domain.collections import VectorSpace
from atrium_knowledge.domain.parallel_sentences import PARALLEL_SENTENCES
from atrium_shared.models import Embedder, Embedding
from atrium_shared.principal import Principal

_Kind = Literal["query", "passage"]
_AT_ONCE: Final = 32


class CentredEmbedder:
    """Wraps an encoder and centres what it makes; itself an ``Embedder``.

    Where the encoder puts each language is measured once per encoder, kind of text and process, on
    :data:`PARALLEL_SENTENCES` (about 4,000 tokens, on the account of whoever comes first).

    Args:
        inner: The encoder.
    """

    def __init__(self, inner: Embedder) -> None:
        self._inner = inner
        self._centres: dict[tuple[VectorSpace, _Kind], LanguageCentre] = {}
        self._measuring: defaultdict[_Kind, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def embed(self, principal: Principal, texts: Sequence[str], kind: _Kind) -> Embedding:
        """Return one centred vector a text, in the order of the texts.

        Raises:
            Unavailable: There is no encoder, or it does not answer.
        """
        while True:
            raw = await self._inner.embed(principal, texts, kind)
            space = VectorSpace.of(raw)
            spent = 0
            if (space, kind) not in self._centres:
                spent = await self._measure(principal, space, kind)
            centre = self._centres.get((space, kind))
            # Without a centre the encoder was changed meanwhile: begin again with the new one.
            if centre is not None:
                vectors = centre.centred(raw.vectors, texts)
                return replace(raw, vectors=vectors, tokens=raw.tokens + spent)

    async def _measure(self, principal: Principal, space: VectorSpace, kind: _Kind) -> int:
        async with self._measuring[kind]:
            if (space, kind) in self._centres:
                return 0
            tokens = 0
            halves = []
            spaces = set()
            for language in (0, 1):
                sentences = [pair[language] for pair in PARALLEL_SENTENCES]
                parts = [
                    await self._inner.embed(principal, sentences[i : i + _AT_ONCE], kind)
                    for i in range(0, len(sentences), _AT_ONCE)
                ]
                tokens += sum(part.tokens for part in parts)
                spaces |= {VectorSpace.of(part) for part in parts}
                halves.append([row for part in parts for row in part.vectors])
            if len(spaces) == 1:
                self._centres[(spaces.pop(), kind)] = LanguageCentre.of(halves[0], halves[1])
            return tokens
